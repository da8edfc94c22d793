//! The servers that the data-availability tests run against: an S3 server from PyPI and an Ethereum
//! node from npm, inside the build folder so that a clean removes them.

use std::process::Command;

use anyhow::{Result, bail};

use crate::python;
use crate::steps::{answers, must};

/// What the S3 server needs, with versions.
const REQUIREMENTS: &str = "da/tests/tools/requirements.txt";
/// The Ethereum node.
const NODE: &str = "@foundry-rs/anvil@1.7.1";

/// Installs both; quick when they are there already.
///
/// # Errors
/// When python or npm is absent, or their registries cannot be reached.
pub fn install() -> Result<()> {
    python::install_packages(REQUIREMENTS)?;
    let folder = crate::tasks::target().join("tools");
    let marker = folder.join(NODE.replace('/', "-"));
    if marker.exists() {
        return Ok(());
    }
    if !answers("npm", &["--version"]) {
        bail!("npm is needed by the data-availability tests; install nodejs and npm and run again");
    }
    std::fs::create_dir_all(&folder)?;
    let install = [
        "install",
        "--no-save",
        "--no-package-lock",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        NODE,
    ];
    must(
        Command::new("npm")
            .args(install)
            .arg("--prefix")
            .arg(&folder),
    )?;
    std::fs::write(marker, "")?;
    Ok(())
}
