//! Third-party data for the pricing tests, found beside the repository or where `LIFEBOAT_SHARED`
//! points.

use std::path::{Path, PathBuf};

/// A file under the shared data folder, or `None` with a message when there is none.
pub fn shared(path: &str) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../shared", "../../../shared"].map(|relative| manifest.join(relative));
    let named = std::env::var_os("LIFEBOAT_SHARED").map(PathBuf::from);
    let file = named
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("data").join(path))
        .find(|file| file.exists());
    if file.is_none() {
        println!("skipped: no third-party data; set LIFEBOAT_SHARED to test against {path}");
    }
    file
}
