//! Four validators in one process under the seeded runtime.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_engine::types::{AccountId, ChainId, Height};
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::{Answer, Verdict};
use lifeboat_node::shared::Stop;
use lifeboat_node::sim::{
    Cluster, ClusterConfig, LinkQuality, Tally, TallyBlueprint, run, user_command,
};

const CHAIN: ChainId = ChainId([9; 32]);

fn config() -> ClusterConfig {
    ClusterConfig {
        blueprint: Arc::new(TallyBlueprint {
            chain: CHAIN,
            poison: None,
            skew_at: None,
        }),
        validators: 4,
        tuning: Tuning::default(),
        link: LinkQuality::default(),
        timeout: Duration::from_secs(300),
    }
}

/// Every node has the same root at the height all have reached.
fn assert_agreement(cluster: &Cluster) {
    let lowest = (0..cluster.len()).map(|index| cluster.height(index)).min();
    let height = Height::new(lowest.expect("there are nodes"));
    let roots: Vec<_> = (0..cluster.len())
        .map(|index| cluster.root_at(index, height))
        .collect();
    assert!(roots[0].is_some(), "no root at {height}");
    assert!(
        roots.iter().all(|root| *root == roots[0]),
        "I2 broken at {height}: {roots:?}"
    );
}

#[test]
fn four_nodes_agree_and_answer() {
    let ((), _) = run(1, config(), |cluster| async move {
        let mut answers = Vec::new();
        for nonce in 0..40 {
            let command = user_command(&CHAIN, AccountId::new(1), nonce);
            answers.push(cluster.submit(0, command));
        }
        for answer in answers {
            let Ok(Answer::Outcome(outcome)) = answer.await else {
                panic!("a command was not executed");
            };
            assert_eq!(outcome.verdict, Verdict::Applied);
        }
        let height = cluster.height(0);
        assert!(cluster.reached(height + 3, 10_000).await);
        assert_agreement(&cluster);
        for index in 0..4 {
            let executed = cluster
                .node(index)
                .map(|node| node.with_machine(Tally::executed).expect("a tally"));
            assert_eq!(executed, Some(40));
        }
    });
}

/// Submits `count` commands to a node and waits until all are executed.
async fn settle(cluster: &Cluster, node: usize, account: u32, count: u64) {
    let answers: Vec<_> = (0..count)
        .map(|nonce| cluster.submit(node, user_command(&CHAIN, AccountId::new(account), nonce)))
        .collect();
    for answer in answers {
        let answer = answer.await;
        assert!(matches!(answer, Ok(Answer::Outcome(_))), "{answer:?}");
    }
}

fn executed(cluster: &Cluster, index: usize) -> usize {
    let node = cluster.last(index).expect("it was started");
    node.with_machine(Tally::executed).expect("a tally")
}

#[test]
fn same_seed_same_run() {
    let scenario = |mut cluster: Cluster| async move {
        settle(&cluster, 1, 1, 10).await;
        cluster.crash(3, 400_000).await;
        settle(&cluster, 0, 2, 5).await;
        cluster.partition(|node| node == 1).await;
        cluster.start(3).await;
        settle(&cluster, 3, 3, 5).await;
        cluster.link_all(LinkQuality::default()).await;
        settle(&cluster, 1, 4, 5).await;
        cluster.height(0)
    };
    for seed in 5..9 {
        assert_eq!(
            run(seed, config(), scenario),
            run(seed, config(), scenario),
            "seed {seed}"
        );
    }
}

#[test]
fn a_crashed_node_comes_back_from_its_disk() {
    let ((), _) = run(2, config(), |mut cluster| async move {
        settle(&cluster, 0, 1, 10).await;
        cluster.crash(3, 500_000).await;
        settle(&cluster, 0, 2, 10).await;
        cluster.start(3).await;
        settle(&cluster, 3, 3, 10).await;
        let height = cluster.height(0);
        assert!(cluster.reached(height + 1, 10_000).await);
        assert_agreement(&cluster);
        assert_eq!(executed(&cluster, 3), 30);
        assert!(
            cluster
                .node(3)
                .expect("it runs")
                .status(cluster.now())
                .ready
        );
    });
}

#[test]
fn all_nodes_killed_at_once_come_back_with_everything() {
    let mut config = config();
    config.tuning.snapshots.every = 8;
    let ((), _) = run(3, config, |mut cluster| async move {
        settle(&cluster, 0, 1, 25).await;
        cluster.sleep(3_000).await;
        let before = cluster.height(0);
        for index in 0..4 {
            cluster.crash(index, 300_000).await;
        }
        for index in 0..4 {
            cluster.start(index).await;
        }
        settle(&cluster, 2, 2, 5).await;
        assert!(cluster.reached(before + 5, 10_000).await);
        assert_agreement(&cluster);
        for index in 0..4 {
            assert_eq!(executed(&cluster, index), 30);
        }
    });
}

#[test]
fn a_wiped_node_catches_up_and_votes_only_past_what_it_may_have_voted_for() {
    let ((), _) = run(4, config(), |mut cluster| async move {
        settle(&cluster, 0, 1, 10).await;
        cluster.sleep(2_000).await;
        cluster.crash(2, 0).await;
        cluster.wipe(2);
        cluster.start(2).await;
        let tip = cluster.height(0);
        assert!(cluster.reached(tip, 20_000).await, "it did not catch up");
        let view_seen = cluster
            .node(0)
            .expect("it runs")
            .status(cluster.now())
            .finalized_view;
        let status = cluster.node(2).expect("it runs").status(cluster.now());
        assert!(
            !status.voting && !status.ready,
            "it votes at once: {status:?}"
        );
        for _ in 0..200 {
            cluster.sleep(100).await;
            cluster.rejoin().await;
            if cluster
                .node(2)
                .expect("it runs")
                .status(cluster.now())
                .voting
            {
                break;
            }
        }
        let status = cluster.node(2).expect("it runs").status(cluster.now());
        assert!(status.voting, "it never votes again: {status:?}");
        let view = cluster
            .node(0)
            .expect("it runs")
            .status(cluster.now())
            .finalized_view;
        assert!(
            view >= view_seen + 60,
            "it voted too early: {view} after {view_seen}"
        );
        // With one more node gone its vote is needed.
        cluster.crash(0, 0).await;
        settle(&cluster, 2, 2, 5).await;
        assert_eq!(executed(&cluster, 2), 15);
    });
}

#[test]
fn two_of_four_gone_stops_everything_and_their_return_resumes_it() {
    let ((), _) = run(5, config(), |mut cluster| async move {
        settle(&cluster, 0, 1, 5).await;
        cluster.crash(2, 0).await;
        cluster.crash(3, 0).await;
        cluster.sleep(2_000).await;
        let frozen = cluster.height(0);
        let mut answer = cluster.submit(0, user_command(&CHAIN, AccountId::new(2), 0));
        cluster.sleep(5_000).await;
        assert!(answer.try_recv().is_err(), "acknowledged without a quorum");
        assert_eq!(cluster.height(0), frozen);
        cluster.start(2).await;
        cluster.start(3).await;
        assert!(matches!(answer.await, Ok(Answer::Outcome(_))));
        let height = cluster.height(0);
        assert!(cluster.reached(height + 1, 10_000).await);
        assert_agreement(&cluster);
    });
}

#[test]
fn a_command_outlives_the_leader_and_lost_gossip() {
    let mut config = config();
    config.link.loss_ppm = 150_000;
    let ((), _) = run(6, config, |mut cluster| async move {
        for round in 0..8 {
            let down = round % 4;
            let submitter = (down + 1) % 4;
            cluster.crash(down, 1_000_000).await;
            settle(&cluster, submitter, 10 + round as u32, 3).await;
            cluster.start(down).await;
            cluster.sleep(500).await;
        }
        cluster.link_all(LinkQuality::default()).await;
        let height = cluster.height(1);
        assert!(cluster.reached(height + 5, 20_000).await);
        assert_agreement(&cluster);
        assert_eq!(executed(&cluster, 0), 24);
    });
}

#[test]
fn a_poison_command_is_quarantined_everywhere_and_after_restart() {
    let poison = AccountId::new(666);
    let mut config = config();
    config.blueprint = Arc::new(TallyBlueprint {
        chain: CHAIN,
        poison: Some(poison),
        skew_at: None,
    });
    config.tuning.snapshots.every = 5;
    let ((), _) = run(7, config, |mut cluster| async move {
        settle(&cluster, 0, 1, 20).await;
        let mut answers = Vec::new();
        for nonce in 0..6 {
            answers.push((
                false,
                cluster.submit(1, user_command(&CHAIN, AccountId::new(2), nonce)),
            ));
            if nonce == 2 || nonce == 4 {
                answers.push((true, cluster.submit(1, user_command(&CHAIN, poison, nonce))));
            }
        }
        for (poisoned, answer) in answers {
            let Ok(Answer::Outcome(outcome)) = answer.await else {
                panic!("no outcome");
            };
            let expected = if poisoned {
                Verdict::Quarantined
            } else {
                Verdict::Applied
            };
            assert_eq!(outcome.verdict, expected);
        }
        for index in 0..4 {
            cluster.crash(index, 0).await;
        }
        for index in 0..4 {
            cluster.start(index).await;
        }
        settle(&cluster, 3, 3, 4).await;
        let height = cluster.height(0);
        assert!(cluster.reached(height + 2, 10_000).await);
        assert_agreement(&cluster);
        assert_eq!(executed(&cluster, 1), 30);
    });
}

#[test]
fn a_diverging_node_stops_itself_and_the_others_go_on() {
    let ((), _) = run(8, config(), |mut cluster| async move {
        settle(&cluster, 0, 1, 5).await;
        let skew_at = Height::new(cluster.height(0) + 10);
        cluster.crash(3, 0).await;
        cluster.replace_blueprint(
            3,
            Arc::new(TallyBlueprint {
                chain: CHAIN,
                poison: None,
                skew_at: Some(skew_at),
            }),
        );
        cluster.start(3).await;
        // The state is restored from genesis, so the skew is in the replay's future.
        for _ in 0..100 {
            cluster.sleep(100).await;
            if cluster.stopped(3).is_some() {
                break;
            }
        }
        let Some(Stop::Diverged {
            height,
            agreed,
            own,
            ..
        }) = cluster.stopped(3)
        else {
            panic!("it did not stop: {:?}", cluster.stopped(3));
        };
        assert_eq!(height, skew_at);
        assert_eq!(Some(agreed), cluster.root_at(0, height));
        assert_eq!(Some(own), cluster.root_at(3, height));
        settle(&cluster, 0, 2, 5).await;
        assert_eq!(executed(&cluster, 0), 10);
    });
}
