use bytes::{Bytes, BytesMut};
use lifeboat_engine::AgreedRoot;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::{ChainId, Digest, Height};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Batch, BatchError, DIGEST_BYTES, Entry, HEADER_BYTES, SealError};
use crate::limits::{
    BATCH_BLOCKS_MAX, BATCH_BYTES_MAX, BATCH_PLAIN_BYTES_MAX, CERTIFICATE_BYTES_MAX,
    ENTRY_BLOCK_BYTES_MAX,
};
use crate::tip::{LinkError, Tip};

const CHAIN: ChainId = ChainId([7; 32]);
/// Where fields stand in the header.
const AT_VERSION: usize = 4;
const AT_FIRST: usize = 38;
const AT_LAST: usize = 46;
const AT_PREVIOUS: usize = 54;
const AT_ROOT: usize = 94;
const AT_PLAIN: usize = 126;
const AT_PACKED: usize = 130;

fn entry(block: &[u8], certificate: &[u8]) -> Entry {
    Entry {
        block: Bytes::copy_from_slice(block),
        certificate: Bytes::copy_from_slice(certificate),
    }
}

fn genesis() -> Batch {
    let entries = vec![entry(b"one", b"c1"), entry(b"two", b""), entry(b"", b"c3")];
    let root = AgreedRoot {
        height: Height::new(2),
        root: Digest([9; 32]),
    };
    Batch::seal(&Tip::genesis(CHAIN), Some(root), entries).unwrap()
}

/// `encoded` with other header fields or another body, and the digest that fits: what somebody makes
/// who knows the format.
fn forged(encoded: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = encoded[..encoded.len() - DIGEST_BYTES].to_vec();
    change(&mut bytes);
    let digest = keccak256(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes.into()
}

/// A batch of one block at height 1 with the given plain body.
fn with_body(plain_len: u32, packed: &[u8]) -> Bytes {
    forged(genesis().encoded(), |bytes| {
        bytes.truncate(HEADER_BYTES);
        bytes[AT_LAST..AT_LAST + 8].copy_from_slice(&1_u64.to_be_bytes());
        bytes[AT_PLAIN..AT_PLAIN + 4].copy_from_slice(&plain_len.to_be_bytes());
        bytes[AT_PACKED..AT_PACKED + 4].copy_from_slice(&(packed.len() as u32).to_be_bytes());
        bytes.extend_from_slice(packed);
    })
}

fn packed_body(plain: &[u8]) -> Bytes {
    let packed = zstd::bulk::compress(plain, 1).unwrap();
    with_body(plain.len() as u32, &packed)
}

#[track_caller]
fn refused(bytes: impl Into<Bytes>, expected: BatchError) {
    assert_eq!(Batch::decode(bytes).unwrap_err(), expected);
}

#[test]
fn what_was_sealed_is_what_is_read() {
    let batch = genesis();
    let read = Batch::decode(batch.encoded().clone()).unwrap();
    assert_eq!(read, batch);
    let heights: Vec<_> = read.blocks().map(|(height, _)| height.get()).collect();
    assert_eq!(heights, [1, 2, 3]);
    assert_eq!(read.header().blocks(), 3);
    let next = Batch::seal(&read.tip(), None, vec![entry(b"four", b"")]).unwrap();
    assert_eq!(read.tip().follow(&next), Ok(next.tip()));
}

#[test]
fn the_layout_is_fixed() {
    let batch = genesis();
    let bytes = batch.encoded();
    assert_eq!(&bytes[..6], b"LBDA\x00\x01");
    assert_eq!(&bytes[6..38], &CHAIN.0);
    assert_eq!(bytes[AT_FIRST..AT_LAST], 1_u64.to_be_bytes());
    assert_eq!(bytes[AT_LAST..AT_PREVIOUS], 3_u64.to_be_bytes());
    assert_eq!(bytes[AT_PREVIOUS..AT_PREVIOUS + 32], [0; 32]);
    assert_eq!(bytes[AT_ROOT - 8..AT_ROOT], 2_u64.to_be_bytes());
    assert_eq!(bytes[AT_ROOT..AT_PLAIN], [9; 32]);
    let plain = b"\0\0\0\x03\0\0\0\x02onec1\0\0\0\x03\0\0\0\0two\0\0\0\0\0\0\0\x02c3";
    assert_eq!(
        bytes[AT_PLAIN..AT_PACKED],
        (plain.len() as u32).to_be_bytes()
    );
    let body = &bytes[HEADER_BYTES..bytes.len() - DIGEST_BYTES];
    assert_eq!(zstd::bulk::decompress(body, 1024).unwrap(), plain);
    assert_eq!(
        batch.digest(),
        keccak256(&bytes[..bytes.len() - DIGEST_BYTES])
    );
}

#[test]
fn no_part_of_a_batch_passes_for_one() {
    let batch = genesis();
    let whole = batch.encoded();
    for end in 0..whole.len() {
        let found = Batch::decode(whole.slice(..end)).unwrap_err();
        assert!(
            matches!(found, BatchError::Truncated { have, .. } if have == end),
            "{end}: {found}"
        );
    }
    let mut longer = BytesMut::from(&whole[..]);
    longer.extend_from_slice(b"..");
    refused(longer, BatchError::Trailing(2));
}

#[test]
fn every_flipped_bit_is_seen() {
    let batch = genesis();
    for at in 0..batch.encoded().len() * 8 {
        let mut bytes = batch.encoded().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        let found = Batch::decode(bytes).unwrap_err();
        let as_expected = match at / 8 {
            0..4 => matches!(found, BatchError::NotABatch),
            4..6 => matches!(found, BatchError::Version(_)),
            86..AT_ROOT => matches!(found, BatchError::Root | BatchError::Altered { .. }),
            AT_PACKED..HEADER_BYTES => {
                matches!(
                    found,
                    BatchError::Truncated { .. } | BatchError::Trailing(_)
                )
            }
            _ => matches!(found, BatchError::Altered { .. }),
        };
        assert!(as_expected, "bit {at}: {found}");
    }
}

#[test]
fn a_forged_header_is_refused_by_name() {
    let batch = genesis();
    let with = |at: usize, value: &[u8]| {
        forged(batch.encoded(), |bytes| {
            bytes[at..at + value.len()].copy_from_slice(value)
        })
    };
    refused(with(AT_VERSION, &[0, 2]), BatchError::Version(2));
    let heights = |first: u64, last: u64| BatchError::Heights {
        first: Height::new(first),
        last: Height::new(last),
    };
    refused(with(AT_FIRST, &0_u64.to_be_bytes()), heights(0, 3));
    refused(with(AT_FIRST, &4_u64.to_be_bytes()), heights(4, 3));
    let far = 1 + BATCH_BLOCKS_MAX as u64;
    refused(with(AT_LAST, &far.to_be_bytes()), heights(1, far));
    refused(with(AT_LAST, &u64::MAX.to_be_bytes()), heights(1, u64::MAX));
    refused(
        with(AT_PREVIOUS, &[1]),
        BatchError::Predecessor(Height::new(1)),
    );
    let second = 2_u64.to_be_bytes();
    refused(
        with(AT_FIRST, &second),
        BatchError::Predecessor(Height::new(2)),
    );
    refused(with(AT_ROOT - 8, &[0; 8]), BatchError::Root);
    // One block more, and one less, than the body holds.
    refused(
        with(AT_LAST, &4_u64.to_be_bytes()),
        BatchError::Entry(Height::new(4)),
    );
    refused(
        with(AT_LAST, &2_u64.to_be_bytes()),
        BatchError::Entry(Height::new(2)),
    );
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let over = BATCH_PLAIN_BYTES_MAX as u64 + 1;
    let zeros = vec![0; over as usize];
    let packed = zstd::bulk::compress(&zeros, 1).unwrap();
    assert!(packed.len() < 4096, "a bomb is small: {}", packed.len());
    // It says so itself, in the header; or only its frame does.
    refused(with_body(over as u32, &packed), BatchError::Bomb(over));
    refused(with_body(64, &packed), BatchError::Bomb(over));
    // A frame that names no length, or another one than the header.
    let mut stream = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut stream, &zeros[..100]).unwrap();
    let silent = stream.finish().unwrap();
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&silent).unwrap(),
        None
    );
    refused(with_body(100, &silent), BatchError::Body(100));
    let honest = zstd::bulk::compress(&zeros[..100], 1).unwrap();
    refused(with_body(99, &honest), BatchError::Body(99));
    refused(with_body(101, &honest), BatchError::Body(101));
    // A frame that unpacks to more than it names: the length byte of a small frame, changed.
    let mut lying = honest;
    assert_eq!(lying[5], 100, "the frame's content size");
    lying[5] = 50;
    refused(with_body(50, &lying), BatchError::Body(50));
}

#[test]
fn a_body_is_one_frame_and_whole_entries() {
    let one = b"\0\0\0\x01\0\0\0\0x";
    assert!(Batch::decode(packed_body(one)).is_ok());
    let malformed = BatchError::Entry(Height::new(1));
    refused(packed_body(b"\0\0\0\x01\0\0\0"), malformed);
    refused(packed_body(b"\0\0\0\x02\0\0\0\0x"), malformed);
    refused(packed_body(b"\0\0\0\x01\0\0\0\0xx"), malformed);
    refused(packed_body(b"\xff\xff\xff\xff\xff\xff\xff\xffx"), malformed);
    let mut large = vec![0; 8 + ENTRY_BLOCK_BYTES_MAX + 1];
    large[..4].copy_from_slice(&(ENTRY_BLOCK_BYTES_MAX as u32 + 1).to_be_bytes());
    refused(packed_body(&large), malformed);
    let mut frames = zstd::bulk::compress(one, 1).unwrap();
    frames.extend(zstd::bulk::compress(b"", 1).unwrap());
    refused(
        with_body(one.len() as u32, &frames),
        BatchError::Body(one.len() as u32),
    );
    refused(with_body(9, b"not a frame"), BatchError::Body(9));
}

#[test]
fn what_breaks_a_bound_is_not_sealed() {
    let tip = Tip::genesis(CHAIN);
    let seal = |entries| Batch::seal(&tip, None, entries).unwrap_err();
    assert_eq!(seal(vec![]), SealError::Empty);
    let many = BATCH_BLOCKS_MAX + 1;
    assert_eq!(
        seal(vec![Entry::default(); many]),
        SealError::TooManyBlocks(many)
    );
    let height = Height::new(2);
    let bytes = ENTRY_BLOCK_BYTES_MAX + 1;
    let large = entry(&vec![1; bytes], b"");
    let expected = SealError::BlockTooLarge { height, bytes };
    assert_eq!(seal(vec![Entry::default(), large]), expected);
    let bytes = CERTIFICATE_BYTES_MAX + 1;
    let large = entry(b"", &vec![1; bytes]);
    let expected = SealError::CertificateTooLarge { height, bytes };
    assert_eq!(seal(vec![Entry::default(), large]), expected);
    let large = entry(&vec![1; ENTRY_BLOCK_BYTES_MAX], b"");
    let bytes = 4 * large.plain_len();
    assert_eq!(seal(vec![large; 4]), SealError::TooLarge(bytes));
    let genesis = AgreedRoot {
        height: Height::new(0),
        root: Digest([1; 32]),
    };
    let refused = Batch::seal(&tip, Some(genesis), vec![Entry::default()]);
    assert_eq!(refused.unwrap_err(), SealError::RootOfGenesis);
}

#[test]
fn the_largest_batch_is_within_its_bound() {
    // Bytes that do not compress, up to the bound.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let block: Vec<u8> = (0..(4 << 20) / 8 - 1).flat_map(|_| noise()).collect();
    let entries = vec![entry(&block, b""); 4];
    let plain: usize = entries.iter().map(Entry::plain_len).sum();
    assert_eq!(plain, BATCH_PLAIN_BYTES_MAX);
    let batch = Batch::seal(&Tip::genesis(CHAIN), None, entries).unwrap();
    assert!(batch.encoded().len() <= BATCH_BYTES_MAX);
    assert_eq!(Batch::decode(batch.encoded().clone()).unwrap(), batch);
    refused(
        vec![0; BATCH_BYTES_MAX + 1],
        BatchError::Oversized(BATCH_BYTES_MAX + 1),
    );
    // zstd's own bound for any input of this length.
    let bound = zstd::zstd_safe::compress_bound(BATCH_PLAIN_BYTES_MAX);
    assert!(HEADER_BYTES + bound + DIGEST_BYTES <= BATCH_BYTES_MAX);
}

#[test]
fn a_batch_belongs_in_one_place() {
    let tip = Tip::genesis(CHAIN);
    let seal = |tip: &Tip, block: &[u8]| Batch::seal(tip, None, vec![entry(block, b"")]).unwrap();
    let first = seal(&tip, b"1");
    let second = seal(&first.tip(), b"2");
    let third = seal(&second.tip(), b"3");
    let height = Height::new;
    assert_eq!(tip.published(), height(0));
    assert_eq!(third.tip().published(), height(3));
    let replayed = |from, to| {
        let (from, to) = (height(from), height(to));
        Err(LinkError::Replayed { from, to })
    };
    assert_eq!(second.tip().follow(&second), replayed(2, 2));
    assert_eq!(third.tip().follow(&first), replayed(1, 1));
    let gap = Err(LinkError::Gap {
        from: height(2),
        to: height(2),
    });
    assert_eq!(first.tip().follow(&third), gap);
    let other = seal(&tip, b"another 1");
    let fork = Err(LinkError::Fork {
        height: height(2),
        expected: other.digest(),
        found: first.digest(),
    });
    assert_eq!(other.tip().follow(&second), fork);
    let found = ChainId([8; 32]);
    let foreign = seal(&Tip::genesis(found), b"1");
    let expected = CHAIN;
    assert_eq!(
        tip.follow(&foreign),
        Err(LinkError::OtherChain { expected, found })
    );
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let part = |len| vec(any::<u8>(), 0..len);
    let made = (part(200), part(20)).prop_map(|(block, certificate)| entry(&block, &certificate));
    vec(made, 1..40)
}

proptest! {
    #[test]
    fn any_blocks_come_back(
        first in 1_u64..1 << 60, previous in 1_u8.., root in 0_u64..9, entries in entries(),
    ) {
        let digest = Digest(if first == 1 { [0; 32] } else { [previous; 32] });
        let tip = Tip { chain: CHAIN, next: Height::new(first), digest };
        let root = (root > 0).then_some(AgreedRoot {
            height: Height::new(root),
            root: Digest([previous; 32]),
        });
        let batch = Batch::seal(&tip, root, entries.clone()).unwrap();
        prop_assert_eq!(tip.follow(&batch), Ok(batch.tip()));
        let read = Batch::decode(batch.encoded().clone()).unwrap();
        prop_assert_eq!(&read, &batch);
        prop_assert_eq!(read.into_entries(), entries);
    }

    #[test]
    fn no_damage_passes(
        entries in entries(), at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<bool>(),
    ) {
        let batch = Batch::seal(&Tip::genesis(CHAIN), None, entries).unwrap();
        let mut bytes = batch.encoded().to_vec();
        let at = at.index(bytes.len());
        if cut {
            bytes.drain(..at.max(1));
        } else {
            bytes[at] ^= flip;
        }
        prop_assert!(Batch::decode(bytes).is_err());
    }

    #[test]
    fn no_forged_body_panics(body in vec(any::<u8>(), 0..200), packed in any::<bool>(), len in 0_u32..300) {
        let bytes = if packed { packed_body(&body) } else { with_body(len, &body) };
        if let Ok(batch) = Batch::decode(bytes) {
            let again = Batch::seal(&Tip::genesis(CHAIN), batch.header().root, batch.clone().into_entries());
            prop_assert_eq!(again.unwrap().into_entries(), batch.into_entries());
        }
    }
}
