//! A node without data, or far behind, fetches the state from its peers; what a peer makes up or
//! breaks is found and the peer is named.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::{Blake3, Hasher as _};
use lifeboat_engine::types::{AccountId, ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Advanced, Block, CheckedCommand, Command, Event};
use lifeboat_node::executor::SnapshotPolicy;
use lifeboat_node::files::{Files, Memory};
use lifeboat_node::journal::Reader;
use lifeboat_node::machine::{Blueprint, Machine};
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::Answer;
use lifeboat_node::shared::Stop;
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, TallyBlueprint, run, user_command};
use lifeboat_node::snapshot::{self, CHUNK_BYTES, Manifest};
use lifeboat_node::sync::SyncPolicy;
use lifeboat_node::verify::verify;

const CHAIN: ChainId = ChainId([9; 32]);
/// Bytes that every state drags along, so that it has several chunks.
const BALLAST: usize = 3 * CHUNK_BYTES + 1_000;

/// A machine whose snapshots are large.
struct Heavy(Box<dyn Machine>);

impl Machine for Heavy {
    fn advance(&mut self, block: &Block, events: &mut Vec<Event>) -> Advanced {
        self.0.advance(block, events)
    }

    fn commit(&mut self) -> Digest {
        self.0.commit()
    }

    fn position(&self) -> (Height, TimeMs, Mode) {
        self.0.position()
    }

    fn state_root(&self) -> Digest {
        self.0.state_root()
    }

    fn write_snapshot(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for word in 0..BALLAST as u64 / 8 {
            out.write_all(&word.to_le_bytes())?;
        }
        self.0.write_snapshot(out)
    }

    fn quarantine(&mut self, height: Height, index: u32) {
        self.0.quarantine(height, index);
    }
}

struct HeavyBlueprint(TallyBlueprint);

impl Blueprint for HeavyBlueprint {
    fn chain(&self) -> ChainId {
        self.0.chain()
    }

    fn genesis_time(&self) -> TimeMs {
        self.0.genesis_time()
    }

    fn genesis(&self) -> Box<dyn Machine> {
        Box::new(Heavy(self.0.genesis()))
    }

    fn restore(&self, snapshot: &mut dyn io::Read) -> io::Result<Box<dyn Machine>> {
        io::copy(&mut snapshot.take(BALLAST as u64), &mut io::sink())?;
        Ok(Box::new(Heavy(self.0.restore(snapshot)?)))
    }

    fn check(&self, commands: Vec<Command>) -> Vec<CheckedCommand> {
        self.0.check(commands)
    }
}

fn config() -> ClusterConfig {
    let tally = TallyBlueprint {
        chain: CHAIN,
        poison: None,
        skew_at: None,
    };
    ClusterConfig {
        blueprint: Arc::new(HeavyBlueprint(tally)),
        validators: 4,
        tuning: Tuning {
            snapshots: SnapshotPolicy { every: 20 },
            sync: SyncPolicy {
                nearer_blocks: 30,
                behind_blocks: 60,
                ..SyncPolicy::default()
            },
            ..Tuning::default()
        },
        link: LinkQuality::default(),
        timeout: Duration::from_secs(300),
    }
}

async fn settle(cluster: &Cluster, account: u32, count: u64) {
    for nonce in 0..count {
        let command = user_command(&CHAIN, AccountId::new(account), nonce);
        let answer = cluster.submit(0, command).await;
        assert!(matches!(answer, Ok(Answer::Outcome(_))), "{answer:?}");
    }
}

/// Waits until the node stopped by itself and says why.
async fn stop_of(cluster: &Cluster, index: usize) -> Stop {
    for _ in 0..400 {
        if let Some(stop) = cluster.stopped(index) {
            return stop;
        }
        cluster.sleep(50).await;
    }
    panic!(
        "node {index} did not stop; it is at {}",
        cluster.height(index)
    );
}

/// Lets stopped nodes start again until this one votes.
async fn wait_for_votes(cluster: &mut Cluster, index: usize) {
    for _ in 0..300 {
        cluster.rejoin().await;
        let status = cluster.node(index).map(|node| node.status(cluster.now()));
        if status.is_some_and(|status| status.voting) {
            return;
        }
        cluster.sleep(100).await;
    }
    panic!("node {index} does not vote");
}

fn assert_agreement(cluster: &Cluster) {
    let lowest = (0..cluster.len()).map(|index| cluster.height(index)).min();
    let height = Height::new(lowest.expect("there are nodes"));
    let roots: Vec<_> = (0..4).map(|index| cluster.root_at(index, height)).collect();
    assert!(
        roots[0].is_some() && roots.iter().all(|root| *root == roots[0]),
        "{roots:?}"
    );
}

/// Runs until all have a snapshot that is worth fetching, then takes node 3's disk.
async fn lose_a_disk(cluster: &mut Cluster) {
    settle(cluster, 1, 10).await;
    assert!(cluster.reached(70, 60_000).await);
    cluster.crash(3, 0).await;
    cluster.wipe(3);
}

fn newest(files: &Memory) -> Manifest {
    let found = snapshot::newest_certified(files, CHAIN).expect("memory does not fail");
    found.expect("it has a snapshot")
}

fn state_file(manifest: &Manifest) -> String {
    format!("snapshot-{:020}.state", manifest.frontier().height.get())
}

#[test]
fn every_node_takes_the_same_snapshots() {
    let ((), _) = run(11, config(), |cluster| async move {
        settle(&cluster, 1, 10).await;
        assert!(cluster.reached(50, 60_000).await);
        let first = newest(cluster.files(0));
        for index in 1..4 {
            assert!(
                first.same_state(&newest(cluster.files(index))),
                "node {index}"
            );
        }
    });
}

#[test]
fn a_wiped_node_fetches_the_state_from_several_peers_and_votes_again() {
    let ((), _) = run(12, config(), |mut cluster| async move {
        lose_a_disk(&mut cluster).await;
        cluster.start(3).await;
        let Stop::Synced {
            height,
            served_by,
            liars,
        } = stop_of(&cluster, 3).await
        else {
            panic!("it stopped for another reason");
        };
        assert!(height.get() >= 60 && served_by > 1 && liars.is_empty());
        wait_for_votes(&mut cluster, 3).await;
        let files: Arc<dyn Files> = Arc::new(cluster.files(3).clone());
        let mut log = Reader::open(files, Height::new(1)).expect("memory does not fail");
        let first = log.next().expect("it has blocks").expect("they are whole");
        assert_eq!(
            first.block.header().height,
            height.next(),
            "its log begins at the snapshot"
        );
        let files: Arc<dyn Files> = Arc::new(cluster.files(3).clone());
        let scheme = cluster.verifier(&CHAIN);
        let verified = verify(files, &*config().blueprint, Some(&scheme), |_, _| ());
        let verified = verified.expect("what it holds is in order");
        assert_eq!(verified.base, Some(height));
        assert!(verified.certified > Some(height) && verified.roots_compared > 0);
        // With one more node gone its vote is needed.
        cluster.crash(1, 0).await;
        settle(&cluster, 2, 5).await;
        let tip = cluster.height(0);
        assert!(cluster.reached(tip, 10_000).await);
        // It comes back from what it fetched, without its peers.
        cluster.crash(3, 500_000).await;
        cluster.start(3).await;
        cluster.start(1).await;
        settle(&cluster, 3, 5).await;
        let tip = cluster.height(0);
        assert!(cluster.reached(tip, 20_000).await);
        assert_agreement(&cluster);
    });
}

#[test]
fn a_node_that_was_away_for_long_fetches_the_state() {
    let mut config = config();
    config.tuning.snapshots.every = 200;
    config.tuning.gossip.tip_ms = 100;
    config.tuning.sync.behind_blocks = 250;
    // So slow that the log cannot be here before the first peers have said where they are.
    config.link.latency_ms = 25;
    let ((), _) = run(13, config, |mut cluster| async move {
        settle(&cluster, 1, 5).await;
        // Its own snapshot is taken after those of the three others.
        assert!(cluster.reached(300, 60_000).await);
        cluster.crash(3, 500_000).await;
        let away = cluster.height(0);
        while cluster.height(0) < away + 500 {
            cluster.sleep(500).await;
        }
        cluster.start(3).await;
        let stop = stop_of(&cluster, 3).await;
        assert!(matches!(stop, Stop::Behind { .. }), "{stop:?}");
        cluster.rejoin().await;
        let stop = stop_of(&cluster, 3).await;
        assert!(matches!(stop, Stop::Synced { .. }), "{stop:?}");
        wait_for_votes(&mut cluster, 3).await;
        settle(&cluster, 2, 5).await;
        let tip = cluster.height(0);
        let reached = cluster.reached(tip, 20_000).await;
        let status = cluster.node(3).map(|node| node.status(cluster.now()));
        assert!(
            reached,
            "{tip} {stop:?} {status:?} {:?}",
            cluster.stopped(3)
        );
        assert_agreement(&cluster);
    });
}

#[test]
fn a_peer_that_serves_a_damaged_chunk_is_named_and_the_others_suffice() {
    let ((), _) = run(14, config(), |mut cluster| async move {
        lose_a_disk(&mut cluster).await;
        // Every chunk of every snapshot that node 0 holds is damaged.
        let files = cluster.files(0);
        for name in files.list().expect("memory does not fail") {
            if name.starts_with("snapshot-") && name.ends_with(".state") {
                let mut bytes = files.read(&name).expect("it reads").expect("it is there");
                bytes
                    .iter_mut()
                    .step_by(CHUNK_BYTES / 2)
                    .for_each(|byte| *byte ^= 1);
                files.replace(&name, &bytes).expect("memory does not fail");
            }
        }
        cluster.start(3).await;
        let Stop::Synced { liars, .. } = stop_of(&cluster, 3).await else {
            panic!("it stopped for another reason");
        };
        assert_eq!(liars, [cluster.peer(0).to_string()]);
        wait_for_votes(&mut cluster, 3).await;
        assert_agreement(&cluster);
    });
}

#[test]
fn a_made_up_state_behind_a_true_header_is_refused() {
    let ((), _) = run(15, config(), |mut cluster| async move {
        lose_a_disk(&mut cluster).await;
        cluster.partition(|index| index < 2).await;
        cluster.sleep(200).await;
        // Two of three conspire: another state, with chunks that fit it, under the certified root.
        for index in 0..2 {
            let files = cluster.files(index);
            let mut manifest = newest(files);
            let file = state_file(&manifest);
            let mut state = files.read(&file).expect("it reads").expect("it is there");
            let end = state.len() - 40;
            state[end..].iter_mut().for_each(|byte| *byte ^= 0x55);
            manifest.chunks = state
                .chunks(CHUNK_BYTES)
                .map(|chunk| Digest(Blake3::hash(&[chunk]).0))
                .collect();
            files.replace(&file, &state).expect("memory does not fail");
            let name = file.replace(".state", ".manifest");
            let encoded = manifest.encode().expect("memory does not fail");
            files
                .replace(&name, &encoded)
                .expect("memory does not fail");
        }
        cluster.link_all(LinkQuality::default()).await;
        cluster.start(3).await;
        let Stop::Synced { liars, .. } = stop_of(&cluster, 3).await else {
            panic!("it stopped for another reason");
        };
        let mut conspirators = [0, 1].map(|index| cluster.peer(index).to_string());
        conspirators.sort();
        assert_eq!(liars, conspirators);
        wait_for_votes(&mut cluster, 3).await;
        assert_agreement(&cluster);
    });
}
