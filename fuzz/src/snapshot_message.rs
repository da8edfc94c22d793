//! What a peer says about snapshots, and the manifest in it.

use lifeboat_engine::types::ChainId;
use lifeboat_node::snapshot::Manifest;
use lifeboat_node::sync::Message;

/// A message decodes or is ignored, a manifest parses or is refused; what decodes has exactly one
/// encoding. `true` if the message decoded.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let Some(message) = Message::decode(bytes) else {
        return false;
    };
    assert!(message.encode() == bytes, "two encodings of one message");
    if let Message::Manifest(encoded) = &message
        && let Ok(manifest) = Manifest::parse(ChainId([1; 32]), encoded)
    {
        let again = manifest.encode().expect("memory takes any bytes");
        assert!(again == *encoded, "two encodings of one manifest");
    }
    true
}
