//! What a batch costs on one core: sealing one (copy, compress, hash) and reading one (hash, unpack,
//! check, split), per byte of blocks.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lifeboat_da::{Batch, Entry, Tip};
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::ChainId;

/// Blocks of one second at the usual pace.
const BLOCKS: u64 = 10;
/// Commands in each: about what 6 400 orders a second make.
const COMMANDS: u64 = 640;
/// An order's fields, which resemble the last one's.
const FIELDS_BYTES: usize = 56;
/// A signature, which resembles nothing.
const SIGNATURE_BYTES: usize = 64;

fn main() {
    let batch = sealed();
    let (plain, packed) = (batch.header().plain_len, batch.header().packed_len);
    println!(
        "workload: {BLOCKS} blocks of {COMMANDS} signed orders, {plain} bytes, {packed} packed"
    );
    divan::main();
}

fn entries() -> Vec<Entry> {
    let block = |height: u64| {
        let command = |index: u64| {
            let number = height * COMMANDS + index;
            let digest = keccak256(&number.to_be_bytes()).0;
            let mut fields = [0; FIELDS_BYTES];
            fields[..8].copy_from_slice(&(number % 50).to_be_bytes());
            fields[8..16].copy_from_slice(&number.to_be_bytes());
            fields[16..18].copy_from_slice(&digest[..2]);
            fields[24] = digest[2] % 8;
            let mut signed = Vec::with_capacity(FIELDS_BYTES + SIGNATURE_BYTES);
            signed.extend_from_slice(&fields);
            signed.extend_from_slice(&digest);
            signed.extend_from_slice(&keccak256(&digest).0);
            signed
        };
        Entry {
            block: Bytes::from((0..COMMANDS).flat_map(command).collect::<Vec<_>>()),
            certificate: Bytes::from(keccak256(&height.to_le_bytes()).0.repeat(6)),
        }
    };
    (1..=BLOCKS).map(block).collect()
}

fn tip() -> Tip {
    Tip::genesis(ChainId([1; 32]))
}

fn sealed() -> Batch {
    Batch::seal(&tip(), None, entries()).unwrap()
}

#[divan::bench]
fn seal(bencher: Bencher) {
    let tip = tip();
    bencher
        .counter(BytesCount::new(sealed().header().plain_len))
        .with_inputs(entries)
        .bench_values(|entries| Batch::seal(black_box(&tip), None, entries).unwrap());
}

#[divan::bench]
fn decode(bencher: Bencher) {
    let batch = sealed();
    bencher
        .counter(BytesCount::new(batch.header().plain_len))
        .bench(|| Batch::decode(black_box(batch.encoded()).clone()).unwrap());
}
