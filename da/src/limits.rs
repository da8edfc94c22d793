//! Every bound of the format, with its reason. A change here is a change of the format.

use lifeboat_engine::limits::BLOCK_BYTES_MAX;

use crate::batch::HEADER_BYTES;

/// Bytes of one encoded block: the engine's bound on its commands and room for its header.
pub const ENTRY_BLOCK_BYTES_MAX: usize = BLOCK_BYTES_MAX + (64 << 10);

/// Bytes of one finalization certificate. A threshold certificate has under 300; the rest is room
/// for schemes that list their signers.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Blocks in one batch. A second holds 20 at the shortest pace; the rest lets a publisher that was
/// cut off catch up in few batches.
pub const BATCH_BLOCKS_MAX: usize = 1024;

/// Bytes of a batch's body before compression: what a decoder allocates for one batch at most. Three
/// of the largest blocks, so one always fits.
pub const BATCH_PLAIN_BYTES_MAX: usize = 16 << 20;

/// Bytes of a batch as published: data that does not compress grows by 1/256 and a little
/// (zstd's own bound, which is at most this for bodies over 128 KiB).
pub const BATCH_BYTES_MAX: usize =
    HEADER_BYTES + BATCH_PLAIN_BYTES_MAX + (BATCH_PLAIN_BYTES_MAX >> 8) + 1024;

const _: () = assert!(
    BATCH_PLAIN_BYTES_MAX >= 8 + ENTRY_BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX,
    "the largest block fits a batch"
);
const _: () = assert!(BATCH_BYTES_MAX < u32::MAX as usize, "lengths are u32");
