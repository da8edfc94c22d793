//! The node's decoders of what clients and peers send, on bytes that came out wrong: they never panic,
//! hold a bounded amount of memory, and know one encoding for one value.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../../fuzz/src/block.rs"]
mod block;
#[path = "../../engine/tests/decoders/memory.rs"]
mod memory;
#[path = "../../engine/tests/decoders/mutations.rs"]
mod mutations;
#[path = "../../fuzz/src/request.rs"]
mod request;
#[path = "../../engine/tests/decoders/samples.rs"]
mod samples;
#[path = "../../fuzz/src/snapshot.rs"]
mod snapshot;
#[path = "../../fuzz/src/snapshot_message.rs"]
mod snapshot_message;

use std::io::Write as _;

use commonware_codec::Encode as _;
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Engine, Genesis, Parameters, Reject};
use lifeboat_node::block::{Block, Body, Claim, keccak256};
use lifeboat_node::files::Memory;
use lifeboat_node::ingress::{Reply, Request};
use lifeboat_node::shared::Frontier;
use lifeboat_node::snapshot::{Certified, Writer};
use lifeboat_node::sync::Message;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Memory for each byte read, and what a decoder may hold besides. Lists grow with what is read; for a
/// list of bytes of any stated length borsh reserves a megabyte, which it frees before anything else
/// is decoded on the thread.
const BYTES_PER_BYTE: usize = 64;
const BASE: usize = 2 << 20;

#[track_caller]
fn bounded(bytes: &[u8], check: fn(&[u8]) -> bool) -> bool {
    mutations::bounded(bytes, BASE + BYTES_PER_BYTE * bytes.len(), check)
}

#[track_caller]
fn check_all(valid: &[u8], check: fn(&[u8]) -> bool) {
    assert!(bounded(valid, check));
    mutations::each(valid, |bytes| {
        bounded(bytes, check);
    });
}

#[test]
fn wrong_frames_get_an_answer() {
    let commands = samples::commands();
    let key = Digest([7; 32]);
    let mut requests = vec![
        Request::SubmitBatch {
            first_id: u64::MAX,
            commands: commands[..3].to_vec(),
        },
        Request::Status,
        Request::Watch,
        Request::FetchOutcome { id: 1, key },
    ];
    requests.extend(
        commands
            .into_iter()
            .map(|command| Request::Submit { id: 2, command }),
    );
    for request in requests {
        check_all(&borsh::to_vec(&request).unwrap(), request::check);
    }
    for reply in [
        Reply::Refused {
            id: 3,
            reject: Reject::StaleNonce,
        },
        Reply::Expired {
            id: 4,
            height: Height::new(9),
        },
        Reply::Malformed,
        Reply::Full,
    ] {
        check_all(&borsh::to_vec(&reply).unwrap(), request::check);
    }
}

/// A block with a few commands.
fn sample() -> Block {
    let encoded = |command: lifeboat_engine::Command| {
        let bytes = borsh::to_vec(&command).unwrap();
        (keccak256(&[&bytes]), bytes.into(), command)
    };
    let genesis = Block::genesis(ChainId([1; 32]), TimeMs::new(5), Digest([2; 32]));
    let claim = Claim {
        chain: ChainId([1; 32]),
        height: Height::new(1),
        time: TimeMs::new(6),
        executed: Height::new(0),
        state_root: Digest([3; 32]),
        exit_root: Digest([4; 32]),
    };
    let context = commonware_consensus::CertifiableBlock::context(&genesis);
    let body = Body::from_encoded(
        samples::commands()
            .into_iter()
            .take(4)
            .map(encoded)
            .collect(),
    );
    Block::propose(&context, claim, body)
}

#[test]
fn wrong_messages_about_snapshots_get_an_answer() {
    let files = Memory::default();
    let genesis = sample();
    let frontier = Frontier {
        height: Height::new(7),
        time: TimeMs::new(8),
        digest: Digest([4; 32]),
        root: Digest([5; 32]),
        mode: Mode::Open,
    };
    let mut writer = Writer::begin(&files, frontier.height).unwrap();
    writer.write_all(b"a state").unwrap();
    let certified = Certified {
        headers: vec![genesis.header().encode().to_vec()],
        certificate: vec![6; 48],
        floor: vec![7; 48],
    };
    let roots = vec![(frontier.height, frontier.root)];
    let manifest = writer.finish(ChainId([1; 32]), frontier, roots, Some(certified));
    let manifest = manifest.unwrap().encode().unwrap();
    for message in [
        Message::WantManifest,
        Message::Manifest(manifest),
        Message::WantChunk {
            height: 7,
            index: 0,
        },
        Message::Chunk {
            height: 7,
            index: 0,
            bytes: b"a state".to_vec(),
        },
    ] {
        check_all(&message.encode(), snapshot_message::check);
    }
}

#[test]
fn wrong_blocks_get_an_answer() {
    let block = sample();
    check_all(&block.encode(), block::check);
    check_all(block.body().bytes(), block::check);
}

#[test]
fn wrong_snapshots_get_an_answer() {
    let genesis = Genesis {
        chain: ChainId([1; 32]),
        time: TimeMs::new(5),
        validators: vec![lifeboat_engine::types::PublicKey([4; 32])],
        parameters: Parameters::default(),
        accounts: Vec::new(),
    };
    let mut bytes = Vec::new();
    Engine::genesis(&genesis)
        .unwrap()
        .write_snapshot(&mut bytes)
        .unwrap();
    assert!(snapshot::check(&bytes));
    // Every byte, once: each attempt builds a state and its root.
    for at in 0..bytes.len() {
        let (was, bomb) = (bytes[at], if at.is_multiple_of(2) { 0xFF } else { 0x80 });
        bytes[at] ^= bomb;
        assert!(!snapshot::check(&bytes), "a changed byte at {at}");
        bytes[at] = was;
        if at.is_multiple_of(16) {
            assert!(!snapshot::check(&bytes[..at]), "cut at {at}");
        }
    }
}
