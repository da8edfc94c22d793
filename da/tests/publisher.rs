//! The publisher against a log that grows and a layer that misbehaves.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lifeboat_da::{Batch, Layer, PublishError, Publisher, PublisherConfig, Step, Tip};
use lifeboat_engine::types::{ChainId, Height, TimeMs};
use support::{CHAIN, Log, Memory, batches, block, read_all, time_of};

const MORE: Step = Step::Published { more: true };
const ALL: Step = Step::Published { more: false };

fn publisher(layer: &Arc<Memory>, log: &Arc<Log>) -> Publisher {
    let config = PublisherConfig {
        batch_plain_bytes: 10_000,
        audit_every: 3,
        ..PublisherConfig::default()
    };
    Publisher::new(CHAIN, Arc::clone(layer) as _, Arc::clone(log) as _, config)
}

async fn step(publisher: &mut Publisher) -> Step {
    publisher.step(TimeMs::new(0)).await.unwrap()
}

async fn heights(layer: &Arc<Memory>) -> Vec<(u64, u64)> {
    let read = read_all(Arc::clone(layer) as Arc<dyn Layer>).await;
    let spans = read.iter().map(Batch::header);
    spans
        .map(|header| (header.first.get(), header.last.get()))
        .collect()
}

#[tokio::test]
async fn publishes_what_is_finalized_and_tells_its_lag() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(0, 900));
    let mut publisher = publisher(&layer, &log);
    let progress = publisher.progress();
    assert!(!progress.borrow().connected);
    assert_eq!(step(&mut publisher).await, Step::Idle);
    assert!(progress.borrow().connected);
    log.grow(25);
    // Ten blocks of 900 bytes fill a batch of 10 000.
    let now = time_of(30);
    assert_eq!(publisher.step(now).await.unwrap(), MORE);
    let seen = progress.borrow().clone();
    assert_eq!((seen.published.get(), seen.lag_blocks), (10, 15));
    assert_eq!(seen.lag_ms, now.since(time_of(11)));
    assert_eq!(step(&mut publisher).await, MORE);
    assert_eq!(step(&mut publisher).await, ALL);
    assert_eq!(step(&mut publisher).await, Step::Idle);
    let seen = progress.borrow().clone();
    assert_eq!(
        (seen.published.get(), seen.lag_blocks, seen.lag_ms),
        (25, 0, 0)
    );
    assert_eq!(seen.batches, 3);
    assert_eq!(heights(&layer).await, [(1, 10), (11, 20), (21, 25)]);
}

#[tokio::test]
async fn a_restarted_publisher_goes_on_where_the_layer_ends() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(7, 10));
    assert_eq!(step(&mut publisher(&layer, &log)).await, ALL);
    log.grow(4);
    let mut second = publisher(&layer, &log);
    assert_eq!(step(&mut second).await, ALL);
    assert_eq!(step(&mut second).await, Step::Idle);
    assert_eq!(heights(&layer).await, [(1, 7), (8, 11)]);
}

#[tokio::test]
async fn a_layer_that_is_away_is_waited_for_with_growing_patience() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(3, 10));
    layer.outage.store(4, Ordering::SeqCst);
    let mut publisher = publisher(&layer, &log);
    let progress = publisher.progress();
    for failures in 1..=4 {
        assert_eq!(step(&mut publisher).await, Step::Failed);
        assert_eq!(progress.borrow().failures, failures);
        assert!(progress.borrow().trouble.is_some());
        log.grow(100);
    }
    assert_eq!(step(&mut publisher).await, MORE);
    let seen = progress.borrow().clone();
    assert_eq!((seen.failures, seen.trouble), (0, None));
    while step(&mut publisher).await != Step::Idle {}
    assert_eq!(progress.borrow().published, Height::new(403));
    assert_eq!(heights(&layer).await.last().unwrap().1, 403);
}

/// A publish that went through without an answer is repeated as it was, though more was finalized.
#[tokio::test]
async fn a_lost_answer_is_not_published_twice() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(3, 10));
    layer.unanswered.store(1, Ordering::SeqCst);
    let mut publisher = publisher(&layer, &log);
    assert_eq!(step(&mut publisher).await, Step::Failed);
    log.grow(3);
    assert_eq!(step(&mut publisher).await, ALL);
    assert_eq!(step(&mut publisher).await, ALL);
    assert_eq!(heights(&layer).await, [(1, 3), (4, 6)]);
}

#[tokio::test]
async fn two_publishers_of_one_venue_share_a_layer() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(5, 10));
    let (mut one, mut two) = (publisher(&layer, &log), publisher(&layer, &log));
    assert_eq!(step(&mut one).await, ALL);
    assert_eq!(step(&mut two).await, Step::Idle);
    log.grow(5);
    assert_eq!(step(&mut one).await, ALL);
    log.grow(1);
    // The second comes too late for 6 to 10, and goes on behind them.
    assert_eq!(step(&mut two).await, MORE);
    assert_eq!(step(&mut two).await, ALL);
    assert_eq!(heights(&layer).await, [(1, 5), (6, 10), (11, 11)]);
}

/// A chain that drops a batch after it was accepted is found out and filled again.
#[tokio::test]
async fn what_a_layer_loses_is_published_again() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(1, 10));
    let mut publisher = publisher(&layer, &log);
    for _ in 0..3 {
        assert_eq!(step(&mut publisher).await, ALL);
        log.grow(1);
    }
    layer.held.lock().unwrap().remove(&3);
    assert_eq!(step(&mut publisher).await, ALL);
    assert_eq!(heights(&layer).await, [(1, 1), (2, 2), (3, 4)]);
}

#[tokio::test]
async fn another_history_is_never_continued() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(9, 10));
    let entries = vec![block(1, 10), block(77, 10)];
    let foreign = Batch::seal(&Tip::genesis(CHAIN), None, entries).unwrap();
    layer.put(1, foreign.encoded().clone());
    let stopped = publisher(&layer, &log)
        .step(TimeMs::new(0))
        .await
        .unwrap_err();
    let PublishError::OtherHistory { first, height } = stopped else {
        panic!("{stopped}");
    };
    assert_eq!((first.get(), height.get()), (1, 2));
    assert_eq!(layer.held.lock().unwrap().len(), 1);

    let other = Tip::genesis(ChainId([6; 32]));
    let foreign = Batch::seal(&other, None, vec![block(1, 10)]).unwrap();
    layer.put(1, foreign.encoded().clone());
    let stopped = publisher(&layer, &log)
        .step(TimeMs::new(0))
        .await
        .unwrap_err();
    assert!(
        matches!(stopped, PublishError::OtherVenue { .. }),
        "{stopped}"
    );
}

/// A node that lost its disk finds the layer ahead of its log, and publishes nothing until it is level.
#[tokio::test]
async fn a_log_behind_the_layer_is_waited_for() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(2, 10));
    for batch in batches(3, 2, 10) {
        layer.put(batch.header().first.get(), batch.encoded().clone());
    }
    let mut publisher = publisher(&layer, &log);
    assert_eq!(step(&mut publisher).await, Step::Idle);
    assert_eq!(publisher.progress().borrow().published, Height::new(6));
    log.grow(6);
    assert_eq!(step(&mut publisher).await, ALL);
    assert_eq!(heights(&layer).await, [(1, 2), (3, 4), (5, 6), (7, 8)]);
}

/// A second goes by between two batches; a full one is followed at once; a layer that is away is
/// asked after 100, 200, 400 ms.
#[tokio::test(start_paused = true)]
async fn batches_are_cut_every_second() {
    let (layer, log) = (Arc::new(Memory::default()), Log::new(1, 900));
    let publisher = publisher(&layer, &log);
    let mut progress = publisher.progress();
    let start = tokio::time::Instant::now();
    let running = tokio::spawn(publisher.run(|| TimeMs::new(0)));
    let mut reached = async |height: u64| {
        let there = progress.wait_for(|seen| seen.published.get() >= height);
        there.await.unwrap();
        start.elapsed()
    };
    assert_eq!(reached(1).await, Duration::ZERO);
    log.grow(1);
    let first = reached(2).await;
    log.grow(1);
    assert_eq!(reached(3).await - first, Duration::from_secs(1));
    log.grow(30);
    let before = reached(4).await;
    assert_eq!(reached(33).await, before, "a backlog is not paced");
    layer.outage.store(3, Ordering::SeqCst);
    log.grow(1);
    let after = reached(34).await;
    let waits = Duration::from_millis(1000 + 100 + 200 + 400);
    assert_eq!(after - before, waits);
    running.abort();
}
