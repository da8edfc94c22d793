//! A block and its commands, as a peer sent them: commands travel alone in gossip as well.

use bytes::Bytes;
use commonware_codec::{Encode as _, EncodeSize as _, Read as _};
use lifeboat_node::block::{Block, for_each_command};

/// A block decodes or is refused; what decodes is within its bounds and has exactly one encoding, and so
/// have commands by themselves. `true` if either decoded.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let mut joined = Vec::new();
    let mut count = 0u32;
    let commands = for_each_command(bytes, |encoded, command| {
        let again = borsh::to_vec(&command).expect("a Vec takes any bytes");
        assert!(again == encoded, "two encodings of one command");
        joined.extend_from_slice(encoded);
        count += 1;
    });
    if commands.is_ok() {
        let whole = [&count.to_le_bytes(), &joined[..]].concat();
        assert!(whole == bytes, "two encodings of one list of commands");
    }
    let mut rest = Bytes::copy_from_slice(bytes);
    let Ok(block) = Block::read_cfg(&mut rest, &()) else {
        return commands.is_ok();
    };
    let read = bytes.len() - rest.len();
    let again = block.encode();
    assert!(
        block.encode_size() == read && again == bytes[..read],
        "two encodings of one block"
    );
    true
}
