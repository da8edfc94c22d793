//! The decoder of batches, on batches that came out wrong.

#[path = "../../fuzz/src/batch.rs"]
mod batch;
#[path = "../../engine/tests/decoders/memory.rs"]
mod memory;
#[path = "../../engine/tests/decoders/mutations.rs"]
mod mutations;
mod support;

use lifeboat_da::limits::BATCH_PLAIN_BYTES_MAX;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Most memory that decoding a batch, and making one of it again, may hold: an unpacked body each,
/// and room. What zstd allocates itself is not in it.
const MEMORY_MAX: usize = 3 * BATCH_PLAIN_BYTES_MAX;

#[test]
fn wrong_batches_get_an_answer() {
    for (blocks, bytes) in [(1, 0), (3, 60)] {
        let made = support::batches(2, blocks, bytes);
        for whole in &made {
            assert!(batch::check(whole.encoded()));
            mutations::each(whole.encoded(), |bytes| {
                mutations::bounded(bytes, MEMORY_MAX, batch::check);
            });
        }
    }
}
