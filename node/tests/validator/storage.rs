//! The block log, snapshots and blocks: what is torn, flipped or foreign is found.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use lifeboat_engine::types::{AccountId, ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_node::block::{Block, Body, ENGINE_VERSION, Header, keccak256};
use lifeboat_node::files::{Disk, Files, Memory};
use lifeboat_node::journal::{JournalError, Reader, Writer};
use lifeboat_node::quarantine::Quarantine;
use lifeboat_node::shared::Frontier;
use lifeboat_node::sim::user_command;
use lifeboat_node::snapshot::{self, CHUNK_BYTES};

const CHAIN: ChainId = ChainId([1; 32]);

/// A block with `commands` commands on top of `parent`.
fn child(parent: &Header, commands: u64) -> Block {
    let list: Vec<_> = (0..commands)
        .map(|nonce| user_command(&CHAIN, AccountId::new(1), nonce))
        .collect();
    let bytes = Bytes::from(borsh::to_vec(&list).expect("memory does not fail"));
    let body = Body::decode(bytes.clone()).expect("it was just encoded");
    assert_eq!(body.commands(), list);
    let header = Header {
        height: parent.height.next(),
        time: parent.time.plus_ms(50),
        parent: parent.digest(),
        view: parent.view + 1,
        parent_view: parent.view,
        commands_root: keccak256(&[&bytes]),
        commands_len: bytes.len() as u32,
        ..parent.clone()
    };
    Block::from_parts(header, bytes).expect("the parts fit")
}

fn chain(length: u64) -> Vec<Block> {
    let mut blocks = vec![Block::genesis(CHAIN, TimeMs::new(5), Digest([2; 32]))];
    for height in 1..=length {
        let parent = blocks[height as usize - 1].header().clone();
        blocks.push(child(&parent, height % 4));
    }
    blocks.remove(0);
    blocks
}

fn write(files: &Arc<dyn Files>, blocks: &[Block]) -> Writer {
    let mut writer = Writer::open(files.clone()).expect("memory does not fail");
    for block in blocks {
        writer
            .append(block, b"certificate")
            .expect("memory does not fail");
    }
    writer.sync().expect("memory does not fail");
    writer
}

fn heights(files: &Arc<dyn Files>) -> (Vec<u64>, Option<JournalError>) {
    let mut found = Vec::new();
    for record in Reader::open(files.clone(), Height::new(0)).expect("memory does not fail") {
        match record {
            Ok(record) => {
                assert_eq!(&record.certificate[..], b"certificate");
                found.push(record.block.header().height.get());
            }
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

#[test]
fn a_block_has_one_encoding_and_its_digest_covers_all_of_it() {
    let block = chain(3).pop().expect("three blocks");
    let bytes = block.encode();
    assert_eq!(Block::decode(bytes.clone()).expect("it decodes"), block);
    assert_eq!(block.header().engine_version, ENGINE_VERSION);
    for position in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[position] ^= 1;
        if let Ok(other) = Block::decode(flipped) {
            assert_ne!(
                other.header().digest(),
                block.header().digest(),
                "byte {position}"
            );
        }
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(Block::decode(longer).is_err());
    assert!(Block::decode(bytes.slice(..bytes.len() - 1)).is_err());
}

#[test]
fn the_log_reads_back_what_was_written() {
    let disk = tempfile::tempdir().expect("a temporary folder");
    let on_disk: Arc<dyn Files> = Arc::new(Disk::open(disk.path()).expect("it opens"));
    let in_memory: Arc<dyn Files> = Arc::new(Memory::default());
    for files in [on_disk, in_memory] {
        let blocks = chain(20);
        let mut writer = write(&files, &blocks);
        writer
            .append(&blocks[4], b"again")
            .expect("it is left alone");
        assert_eq!(writer.last(), Some(Height::new(20)));
        let (found, error) = heights(&files);
        assert_eq!(found, (1..=20).collect::<Vec<_>>());
        assert!(error.is_none());
    }
}

#[test]
fn a_torn_tail_is_reported_then_cut_and_written_again() {
    let blocks = chain(6);
    let whole = {
        let files: Arc<dyn Files> = Arc::new(Memory::default());
        write(&files, &blocks);
        files
            .len(&files.list().expect("it lists")[0])
            .expect("it is there")
            .expect("it has bytes")
    };
    for cut in 1..200 {
        let files: Arc<dyn Files> = Arc::new(Memory::default());
        write(&files, &blocks);
        let name = files.list().expect("it lists").remove(0);
        files.truncate(&name, whole - cut).expect("it cuts");
        let (found, error) = heights(&files);
        assert_eq!(found, [1, 2, 3, 4, 5]);
        assert!(
            matches!(error, Some(JournalError::Torn { .. })),
            "{cut}: {error:?}"
        );
        write(&files, &blocks);
        assert_eq!(heights(&files).0, [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_flipped_bit_is_found_and_never_read_past() {
    let blocks = chain(6);
    let files: Arc<dyn Files> = Arc::new(Memory::default());
    write(&files, &blocks);
    let name = files.list().expect("it lists").remove(0);
    let good = files.read(&name).expect("it reads").expect("it is there");
    for position in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        files.replace(&name, &bad).expect("it writes");
        let (found, error) = heights(&files);
        assert!(error.is_some(), "byte {position}");
        assert!(found.len() < 6);
        write(&files, &blocks);
        assert_eq!(
            heights(&files).0,
            [1, 2, 3, 4, 5, 6],
            "byte {position} is not repaired"
        );
    }
}

/// The state of a snapshot: a whole chunk and some.
fn state(height: u64) -> Vec<u8> {
    (0..CHUNK_BYTES + 1_000)
        .map(|at| (at as u64 * 31 + height) as u8)
        .collect()
}

fn save(files: &Memory, height: u64) {
    let root = Digest([height as u8; 32]);
    let frontier = Frontier {
        height: Height::new(height),
        time: TimeMs::new(height * 50),
        digest: Digest([9; 32]),
        root,
        mode: Mode::Open,
    };
    let mut writer = snapshot::Writer::begin(files, frontier.height).expect("memory does not fail");
    writer
        .write_all(&state(height))
        .expect("memory does not fail");
    writer
        .finish(CHAIN, frontier, vec![(frontier.height, root)], None)
        .expect("memory does not fail");
}

fn load(files: &Memory, chain: ChainId) -> Option<u64> {
    let loaded = snapshot::load(files, chain, u64::MAX, |manifest, reader| {
        let mut read = Vec::new();
        reader
            .read_to_end(&mut read)
            .map_err(|error| error.to_string())?;
        assert_eq!(read, state(manifest.frontier().height.get()));
        Ok(())
    });
    loaded
        .expect("memory does not fail")
        .map(|(found, ())| found.frontier().height.get())
}

#[test]
fn the_newest_snapshot_that_verifies_is_taken() {
    let files = Memory::default();
    for height in [10, 20, 30] {
        save(&files, height);
    }
    assert_eq!(
        files.list().expect("it lists").len(),
        4,
        "two snapshots of two files"
    );
    assert_eq!(load(&files, CHAIN), Some(30));
    assert_eq!(load(&files, ChainId([8; 32])), None);
    for (kind, step) in [("manifest", 7), ("state", 100_003)] {
        let newest = format!("snapshot-{:020}.{kind}", 30);
        let good = files.read(&newest).expect("it reads").expect("it is there");
        for position in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[position] ^= 1;
            files.replace(&newest, &bad).expect("it writes");
            assert_eq!(
                load(&files, CHAIN),
                Some(20),
                "byte {position} of the {kind}"
            );
        }
        for len in [0, 1, good.len() / 2, good.len() - 1] {
            files.replace(&newest, &good[..len]).expect("it writes");
            assert_eq!(load(&files, CHAIN), Some(20), "{len} bytes of the {kind}");
        }
        files.replace(&newest, &good).expect("it writes");
        assert_eq!(load(&files, CHAIN), Some(30));
    }
}

#[test]
fn a_snapshot_without_its_manifest_is_none() {
    let files = Memory::default();
    save(&files, 10);
    let mut writer =
        snapshot::Writer::begin(&files, Height::new(20)).expect("memory does not fail");
    writer.write_all(&state(20)).expect("memory does not fail");
    drop(writer); // The crash.
    assert_eq!(load(&files, CHAIN), Some(10));
    save(&files, 20);
    assert_eq!(load(&files, CHAIN), Some(20));
}

#[test]
fn snapshots_of_another_truth_are_set_aside() {
    let files = Memory::default();
    for height in [10, 20] {
        save(&files, height);
    }
    let kept = snapshot::distrust(&files, Height::new(15)).expect("memory does not fail");
    assert_eq!(kept, Height::new(10));
    assert_eq!(load(&files, CHAIN), Some(10));
    assert!(
        files
            .list()
            .expect("it lists")
            .iter()
            .any(|name| name.ends_with(".diverged"))
    );
}

#[test]
fn the_quarantine_list_survives_a_restart() {
    let files = Memory::default();
    let mut list = Quarantine::load(&files).expect("memory does not fail");
    list.add(&files, Height::new(7), 3)
        .expect("memory does not fail");
    files.crash(0);
    let again = Quarantine::load(&files).expect("memory does not fail");
    assert_eq!(again.of(Height::new(7)).collect::<Vec<_>>(), [3]);
    assert_eq!(again.of(Height::new(8)).count(), 0);
}
