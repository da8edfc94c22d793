//! What earlier builds wrote: the block log and a snapshot's manifest read back as they were, and are
//! still written byte for byte the same. A change here is a new version of a format, with a new magic
//! or a new file, never a quiet one.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_engine::types::{AccountId, ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_node::block::{Block, Header, keccak256};
use lifeboat_node::files::{Files, Memory};
use lifeboat_node::journal;
use lifeboat_node::shared::Frontier;
use lifeboat_node::sim::user_command;
use lifeboat_node::snapshot::{self, Certified, Manifest};
use serde_json::{Value, json};

/// Regenerates the file instead of comparing it.
const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/node_formats.json");
const CHAIN: ChainId = ChainId([1; 32]);
const SEGMENT: &str = "blocks-00000000000000000001.log";
const MANIFEST: &str = "snapshot-00000000000000000007.manifest";

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("a string").trim_start_matches("0x");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Two blocks: one with a command and a certificate, one with neither.
fn blocks() -> Vec<(Block, &'static [u8])> {
    let genesis = Block::genesis(CHAIN, TimeMs::new(5), Digest([2; 32]));
    let command = user_command(&CHAIN, AccountId::new(1), 9);
    let child = |parent: &Header, commands: &[_]| {
        let bytes = Bytes::from(borsh::to_vec(commands).expect("memory does not fail"));
        let header = Header {
            height: parent.height.next(),
            time: parent.time.plus_ms(50),
            parent: parent.digest(),
            view: parent.view + 2,
            parent_view: parent.view,
            commands_root: keccak256(&[&bytes]),
            commands_len: bytes.len() as u32,
            ..parent.clone()
        };
        Block::from_parts(header, bytes).expect("the parts fit")
    };
    let first = child(genesis.header(), &[command]);
    let second = child(first.header(), &[]);
    vec![(first, b"a certificate"), (second, b"")]
}

fn write() -> Memory {
    let files = Memory::default();
    let mut log = journal::Writer::open(Arc::new(files.clone())).expect("memory does not fail");
    for (block, certificate) in blocks() {
        let appended = log.append(&block, certificate);
        appended.expect("memory does not fail");
    }
    let frontier = Frontier {
        height: Height::new(7),
        time: TimeMs::new(8),
        digest: Digest([4; 32]),
        root: Digest([5; 32]),
        mode: Mode::CancelOnly,
    };
    let certified = Certified {
        headers: blocks()
            .iter()
            .map(|(block, _)| block.header().encode().to_vec())
            .collect(),
        certificate: vec![6; 3],
        floor: vec![7; 2],
    };
    let mut writer = snapshot::Writer::begin(&files, frontier.height).expect("memory");
    writer.write_all(b"a state").expect("memory does not fail");
    let roots = vec![
        (Height::new(6), Digest([8; 32])),
        (frontier.height, frontier.root),
    ];
    let finished = writer.finish(CHAIN, frontier, roots, Some(certified));
    finished.expect("memory does not fail");
    files
}

#[test]
fn are_current() {
    let files = write();
    let file = |name: &str| files.read(name).expect("it reads").expect("it is there");
    let current = json!({
        "block_log": hex(&file(SEGMENT)),
        "snapshot_manifest": hex(&file(MANIFEST)),
    });
    if std::env::var_os(WRITE).is_some() {
        let text = serde_json::to_string_pretty(&current).expect("it is plain data");
        std::fs::write(FILE, text + "\n").expect("vectors/ can be written");
        return;
    }
    let text = std::fs::read_to_string(FILE).expect("vectors/node_formats.json is there");
    let kept: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(kept, current, "a format changed without a new version");
}

#[test]
fn what_was_written_once_reads_back() {
    let text = std::fs::read_to_string(FILE).expect("vectors/node_formats.json is there");
    let kept: Value = serde_json::from_str(&text).expect("it is JSON");
    let files: Arc<dyn Files> = Arc::new(Memory::default());
    files
        .replace(SEGMENT, &bytes(&kept["block_log"]))
        .expect("memory does not fail");
    let read = journal::Reader::open(files, Height::new(0)).expect("memory does not fail");
    let read: Vec<_> = read.map(|record| record.expect("it is whole")).collect();
    let expected = blocks();
    assert_eq!(read.len(), expected.len());
    for (record, (block, certificate)) in read.iter().zip(expected) {
        assert_eq!(
            (&record.block, &record.certificate[..]),
            (&block, certificate)
        );
    }
    let manifest = Manifest::parse(CHAIN, &bytes(&kept["snapshot_manifest"]));
    let manifest = manifest.expect("this build reads it");
    assert_eq!(manifest.frontier().mode, Mode::CancelOnly);
    assert_eq!((manifest.roots.len(), manifest.state_len), (2, 7));
    let certified = manifest.certified.expect("it was written with one");
    assert_eq!((certified.headers.len(), certified.floor), (2, vec![7; 2]));
}
