//! A snapshot of the whole state, as it lay on a disk or came from a peer.

use lifeboat_engine::Engine;

/// A snapshot is read or refused; what was read writes the same bytes again. `true` if it was read.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok(engine) = Engine::read_snapshot(&mut rest) else {
        return false;
    };
    let mut again = Vec::new();
    engine
        .write_snapshot(&mut again)
        .expect("a Vec takes any bytes");
    let read = bytes.len() - rest.len();
    assert!(
        bytes.get(..read) == Some(&again[..]),
        "two encodings of one state"
    );
    true
}
