//! A batch as some layer gave it, and the digest repaired, so that checks behind it are reached too.

use lifeboat_da::limits::BATCH_PLAIN_BYTES_MAX;
use lifeboat_da::{Batch, HEADER_BYTES};
use lifeboat_engine::commitment::keccak256;

/// Bytes of the digest at a batch's end.
const DIGEST_BYTES: usize = 32;

/// A batch decodes or is refused; what decodes is exactly what was published, within its bounds, and
/// its blocks make a batch again. `true` if it decoded.
///
/// # Panics
/// Where that does not hold.
pub fn check(bytes: &[u8]) -> bool {
    let as_is = check_one(bytes);
    let Some(end) = bytes.len().checked_sub(DIGEST_BYTES) else {
        return as_is;
    };
    if end < HEADER_BYTES {
        return as_is;
    }
    let mut sealed = bytes[..end].to_vec();
    let packed = (end - HEADER_BYTES) as u32;
    sealed[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&packed.to_be_bytes());
    let digest = keccak256(&sealed);
    sealed.extend_from_slice(&digest.0);
    as_is | check_one(&sealed)
}

fn check_one(bytes: &[u8]) -> bool {
    let Ok(batch) = Batch::decode(bytes.to_vec()) else {
        return false;
    };
    assert!(batch.encoded() == bytes, "another batch than was given");
    let header = *batch.header();
    assert_eq!(header.blocks(), batch.blocks().len() as u64);
    assert!(header.plain_len as usize <= BATCH_PLAIN_BYTES_MAX);
    let plain: usize = batch.blocks().map(|(_, entry)| entry.plain_len()).sum();
    assert_eq!(plain, header.plain_len as usize);
    let mut before = batch.tip();
    (before.next, before.digest) = (header.first, header.previous);
    assert_eq!(before.follow(&batch), Ok(batch.tip()));
    assert!(
        batch.tip().follow(&batch).is_err(),
        "a batch follows itself"
    );
    let entries = batch.into_entries();
    let again = Batch::seal(&before, header.root, entries.clone());
    let again = again.expect("what was decoded is within bounds");
    assert_eq!(again.into_entries(), entries);
    true
}
