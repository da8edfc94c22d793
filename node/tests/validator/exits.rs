//! Headers carry the exits of a fixed height before them, on every validator, late ones and restarted
//! ones included; what is kept makes proofs that hold against the validators' key.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_engine::params::{
    ExitParameters, Genesis, GenesisAccount, Parameters, VaultParameters,
};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, Digest, Height, MarginModel, Mode, PublicKey,
    SettlementChain, TimeMs,
};
use lifeboat_engine::{Advanced, Block, CheckedCommand, Command, Engine, Event};
use lifeboat_node::exits::{BrokenProof, ExitArchive, check};
use lifeboat_node::files::Files;
use lifeboat_node::journal::Reader;
use lifeboat_node::machine::{Blueprint, Machine};
use lifeboat_node::node::Tuning;
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, run};
use lifeboat_node::venue::Venue;
use lifeboat_node::verify::verify;
use lifeboat_proof::exit::ExitCheckpoint;

const CHAIN: ChainId = ChainId([9; 32]);
const RULE: ExitParameters = ExitParameters { every: 20, lag: 6 };

fn genesis() -> Genesis {
    let account = |number: u8| GenesisAccount {
        owner: Address([number; 20]),
        cash: Cash::new(i64::from(number) * 1_000_000),
        model: MarginModel::Portfolio,
        sessions: Vec::new(),
    };
    Genesis {
        chain: CHAIN,
        time: TimeMs::new(0),
        validators: (0..4).map(|index| PublicKey([index; 32])).collect(),
        parameters: Parameters {
            exits: RULE,
            vaults: vec![VaultParameters {
                chain: SettlementChain::new(31_337),
                vault: Address([0xaa; 20]),
                pool: Address([0xbb; 20]),
                withdrawal_min: Cash::new(1),
            }],
            ..Parameters::default()
        },
        accounts: (1..=6).map(account).collect(),
    }
}

fn venue() -> Venue {
    Venue::new(genesis()).expect("a sound genesis")
}

fn config(blueprint: Arc<dyn Blueprint>) -> ClusterConfig {
    let mut tuning = Tuning::default();
    tuning.snapshots.every = 30;
    ClusterConfig {
        blueprint,
        validators: 4,
        tuning,
        link: LinkQuality::default(),
        timeout: Duration::from_secs(600),
    }
}

/// An engine that never comes to work its exits out: always late.
struct Late(Box<dyn Machine>);

impl Machine for Late {
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
        self.0.write_snapshot(out)
    }

    fn quarantine(&mut self, height: Height, index: u32) {
        self.0.quarantine(height, index);
    }

    fn exits(&self) -> Option<ExitCheckpoint> {
        None
    }

    fn engine(&self) -> Option<&Engine> {
        self.0.engine()
    }
}

struct LateVenue(Venue);

impl Blueprint for LateVenue {
    fn chain(&self) -> ChainId {
        self.0.chain()
    }

    fn genesis_time(&self) -> TimeMs {
        self.0.genesis_time()
    }

    fn exits(&self) -> Option<ExitParameters> {
        self.0.exits()
    }

    fn genesis(&self) -> Box<dyn Machine> {
        Box::new(Late(Blueprint::genesis(&self.0)))
    }

    fn restore(&self, snapshot: &mut dyn io::Read) -> io::Result<Box<dyn Machine>> {
        Ok(Box::new(Late(self.0.restore(snapshot)?)))
    }

    fn check(&self, commands: Vec<Command>) -> Vec<CheckedCommand> {
        self.0.check(commands)
    }
}

fn files(cluster: &Cluster, index: usize) -> Arc<dyn Files> {
    Arc::new(cluster.files(index).clone())
}

/// The heights of the exits in a node's log, as its headers carry them, each with its root.
fn carried(cluster: &Cluster, index: usize) -> Vec<(Height, Digest)> {
    let log = Reader::open(files(cluster, index), Height::new(0)).expect("a log");
    let mut all = Vec::new();
    for record in log {
        let record = record.expect("a whole record");
        let header = record.block.header();
        let height = RULE.height_for(header.executed);
        assert_eq!(height.get() == 0, header.exit_root == Digest::default());
        all.push((height, header.exit_root));
    }
    all.dedup();
    all
}

/// A stopped replay finds every root that headers carry, exits included.
fn assert_verifies(cluster: &Cluster, index: usize) {
    let scheme = cluster.verifier(&CHAIN);
    let verified = verify(files(cluster, index), &venue(), Some(&scheme), |_, _| ());
    assert!(verified.is_ok(), "{verified:?}");
}

#[test]
fn headers_carry_exits_and_proofs_hold() {
    run(1, config(Arc::new(venue())), |cluster| async move {
        assert!(cluster.reached(75, 60_000).await);
        let carried = carried(&cluster, 0);
        let heights: Vec<u64> = carried.iter().map(|(height, _)| height.get()).collect();
        assert!(heights.starts_with(&[0, 20, 40]), "{heights:?}");
        assert_verifies(&cluster, 0);
        let archive = ExitArchive::new(files(&cluster, 2));
        let newest = archive.newest().expect("files").expect("a checkpoint");
        assert!(newest.height.get() >= 40);
        let scheme = cluster.verifier(&CHAIN);
        for account in 0..=6 {
            let found = archive.account(AccountId::new(account)).expect("files");
            let saved = found.expect("an account");
            assert_eq!(check(&saved, &scheme), Ok(()), "account {account}");
            let text = serde_json::to_string(&saved).expect("JSON");
            assert_eq!(serde_json::from_str(&text).ok().as_ref(), Some(&saved));
            let mut forged = saved.clone();
            forged.leaf[14] = 0x77;
            assert!(check(&forged, &scheme).is_err());
            let mut other = saved;
            other.header[49] = 0x77;
            assert_eq!(check(&other, &scheme), Err(BrokenProof::Certificate));
        }
        assert!(archive.account(AccountId::new(7)).expect("files").is_none());
    });
}

#[test]
fn a_late_validator_does_not_hold_the_venue_up() {
    run(2, config(Arc::new(venue())), |mut cluster| async move {
        cluster.crash(3, 0).await;
        cluster.wipe(3);
        cluster.replace_blueprint(3, Arc::new(LateVenue(venue())));
        cluster.start(3).await;
        // Wiped, it follows first, and votes from its next start on.
        while cluster.stopped(3).is_none() {
            cluster.sleep(100).await;
        }
        cluster.rejoin().await;
        let voting = cluster.height(0);
        assert!(cluster.reached(voting.max(55) + 40, 120_000).await);
        let heights = carried(&cluster, 0);
        assert!(heights.len() >= 3, "{heights:?}");
        assert_eq!(carried(&cluster, 3).first(), heights.first());
        assert_verifies(&cluster, 0);
    });
}

#[test]
fn while_all_are_late_blocks_go_on_with_the_last_exits() {
    let late = Arc::new(LateVenue(venue()));
    run(3, config(late), |cluster| async move {
        assert!(cluster.reached(90, 120_000).await);
        let none = vec![(Height::new(0), Digest::default())];
        assert_eq!(carried(&cluster, 0), none);
    });
}

#[test]
fn a_restarted_validator_knows_its_exits_again() {
    run(4, config(Arc::new(venue())), |mut cluster| async move {
        // Behind the snapshot of 30 and the exits of 40, before a header carries those.
        assert!(cluster.reached(44, 60_000).await);
        for index in 0..4 {
            cluster.crash(index, 1_000_000).await;
        }
        for index in 0..4 {
            cluster.start(index).await;
        }
        assert!(cluster.reached(110, 120_000).await);
        let heights: Vec<u64> = carried(&cluster, 1)
            .iter()
            .map(|(at, _)| at.get())
            .collect();
        assert!(heights.starts_with(&[0, 20, 40, 60, 80]), "{heights:?}");
        (0..4).for_each(|index| assert_verifies(&cluster, index));
    });
}
