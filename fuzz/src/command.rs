//! A command as it comes from a client or a peer.

use lifeboat_engine::Command;

/// A command decodes or is refused; what decodes has exactly one encoding. `true` if it decoded.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(command) = borsh::from_slice::<Command>(bytes) else {
        return false;
    };
    let again = borsh::to_vec(&command).expect("a Vec takes any bytes");
    assert!(again == bytes, "two encodings of one command");
    true
}
