//! The reader against layers that lost, damaged or replaced a batch.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use lifeboat_da::{Batch, BatchError, Layer, LinkError, ReadError, Reader, Start, Tip};
use lifeboat_engine::types::{ChainId, Digest, Height};
use support::{CHAIN, Memory, batches, block};

/// Ten batches of three blocks: 1–3, 4–6, …
fn filled() -> (Arc<Memory>, Vec<Batch>) {
    let (layer, made) = (Arc::new(Memory::default()), batches(10, 3, 50));
    for batch in &made {
        layer.put(batch.header().first.get(), batch.encoded().clone());
    }
    (layer, made)
}

fn reader(layer: &Arc<Memory>, start: Start) -> Reader {
    Reader::new(Arc::clone(layer) as Arc<dyn Layer>, CHAIN, start)
}

async fn walk(reader: &mut Reader) -> Result<Vec<Batch>, ReadError> {
    let mut read = Vec::new();
    while let Some(batch) = reader.next().await? {
        read.push(batch);
    }
    Ok(read)
}

/// Walks a changed layer from genesis and gives the error, after what was good before it.
async fn broken(change: impl FnOnce(&Memory, &[Batch]), good: usize) -> ReadError {
    let (layer, made) = filled();
    change(&layer, &made);
    let mut reader = reader(&layer, Start::Genesis);
    for batch in &made[..good] {
        assert_eq!(reader.next().await.unwrap().as_ref(), Some(batch));
    }
    reader.next().await.unwrap_err()
}

#[tokio::test]
async fn walks_from_anywhere_to_the_end_and_on() {
    let (layer, made) = filled();
    let mut all = reader(&layer, Start::Genesis);
    assert_eq!(walk(&mut all).await.unwrap(), made);
    let progress = *all.progress();
    assert_eq!((progress.from.get(), progress.read.get()), (1, 30));
    assert_eq!((progress.batches, progress.newest.get()), (10, 28));
    assert!((progress.fraction() - 1.0).abs() < 1e-9);
    assert_eq!(all.tip(), Some(made[9].tip()));

    for height in 13..=15 {
        let mut some = reader(&layer, Start::Containing(Height::new(height)));
        assert_eq!(walk(&mut some).await.unwrap(), made[4..]);
    }
    let mut rest = reader(&layer, Start::After(made[6].tip()));
    assert_eq!(walk(&mut rest).await.unwrap(), made[7..]);

    let next = Batch::seal(&made[9].tip(), None, vec![block(31, 5)]).unwrap();
    layer.put(31, next.encoded().clone());
    for mut reader in [all, rest] {
        assert_eq!(
            walk(&mut reader).await.unwrap(),
            std::slice::from_ref(&next)
        );
    }
}

#[tokio::test]
async fn an_empty_layer_and_one_that_ends_early_have_nothing() {
    let empty = Arc::new(Memory::default());
    assert_eq!(walk(&mut reader(&empty, Start::Genesis)).await.unwrap(), []);
    let (layer, _) = filled();
    let mut beyond = reader(&layer, Start::Containing(Height::new(31)));
    assert_eq!(walk(&mut beyond).await.unwrap(), []);
}

#[tokio::test]
async fn a_gap_is_named_by_its_heights() {
    let error = broken(|layer, _| drop(layer.held.lock().unwrap().remove(&7)), 2).await;
    let ReadError::Link { first, error } = error else {
        panic!("{error}");
    };
    assert_eq!(first, Height::new(10));
    assert_eq!(error.to_string(), "blocks 7 to 9 are missing");
    let error = broken(|layer, _| drop(layer.held.lock().unwrap().remove(&1)), 0).await;
    assert!(
        error.to_string().ends_with("blocks 1 to 3 are missing"),
        "{error}"
    );
}

#[tokio::test]
async fn a_fork_is_named_by_the_height_where_it_parts() {
    let rewrite = |layer: &Memory, made: &[Batch]| {
        let entries = vec![block(7, 9), block(8, 9), block(999, 9)];
        let other = Batch::seal(&made[1].tip(), None, entries).unwrap();
        layer.put(7, other.encoded().clone());
    };
    let (layer, made) = filled();
    rewrite(&layer, &made);
    let mut reader = reader(&layer, Start::Genesis);
    for _ in 0..3 {
        reader.next().await.unwrap();
    }
    let error = reader.next().await.unwrap_err();
    let ReadError::Link {
        error: LinkError::Fork { height, found, .. },
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((height.get(), found), (10, made[2].digest()));
}

#[tokio::test]
async fn damage_is_named_with_its_batch() {
    let first = Height::new(7);
    let flip = |layer: &Memory, made: &[Batch]| {
        let mut bytes = made[2].encoded().to_vec();
        bytes[200] ^= 1;
        layer.put(7, bytes.into());
    };
    let ReadError::Damaged { first: at, error } = broken(flip, 2).await else {
        panic!();
    };
    assert_eq!(at, first);
    assert!(matches!(error, BatchError::Altered { .. }), "{error}");

    let cut = |layer: &Memory, made: &[Batch]| layer.put(7, made[2].encoded().slice(..99));
    let error = broken(cut, 2).await;
    let truncated = |error| matches!(error, BatchError::Truncated { have: 99, .. });
    assert!(matches!(error, ReadError::Damaged { error, .. } if truncated(error)));

    let error = broken(|layer, _| layer.put(7, Bytes::from_static(b"<html>")), 2).await;
    let foreign = BatchError::NotABatch;
    assert!(matches!(error, ReadError::Damaged { error, .. } if error == foreign));
}

#[tokio::test]
async fn batches_out_of_place_are_named() {
    // Two changed places; one repeated later; one of another venue.
    let swap = |layer: &Memory, made: &[Batch]| {
        layer.put(4, made[2].encoded().clone());
        layer.put(7, made[1].encoded().clone());
    };
    let ReadError::Misplaced { listed, found } = broken(swap, 1).await else {
        panic!();
    };
    assert_eq!((listed.get(), found.get()), (4, 7));

    let overlap = |layer: &Memory, made: &[Batch]| {
        let tip = Tip {
            next: Height::new(5),
            ..made[0].tip()
        };
        let repeated = Batch::seal(&tip, None, vec![block(5, 9), block(6, 9)]).unwrap();
        layer.put(5, repeated.encoded().clone());
    };
    let ReadError::Link { first, error } = broken(overlap, 2).await else {
        panic!();
    };
    assert_eq!(first.get(), 5);
    assert_eq!(
        error.to_string(),
        "it repeats blocks 5 to 6, which earlier batches hold"
    );

    let foreign = |layer: &Memory, made: &[Batch]| {
        let tip = Tip {
            chain: ChainId([6; 32]),
            ..made[1].tip()
        };
        let theirs = Batch::seal(&tip, None, vec![block(7, 9)]).unwrap();
        layer.put(7, theirs.encoded().clone());
    };
    let ReadError::Link { error, .. } = broken(foreign, 2).await else {
        panic!();
    };
    assert!(matches!(error, LinkError::OtherChain { .. }), "{error}");
}

#[tokio::test]
async fn a_known_end_that_the_layer_does_not_have_is_a_fork() {
    let (layer, made) = filled();
    let other = Tip {
        digest: Digest([3; 32]),
        ..made[4].tip()
    };
    let error = reader(&layer, Start::After(other))
        .next()
        .await
        .unwrap_err();
    let ReadError::Link { error, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(error, LinkError::Fork { found, .. } if found == made[4].digest()));
    // An end inside a batch, as another layer would cut it.
    let inside = Tip {
        next: Height::new(14),
        ..made[4].tip()
    };
    let error = reader(&layer, Start::After(inside))
        .next()
        .await
        .unwrap_err();
    let replayed = "it repeats blocks 13 to 13, which earlier batches hold";
    assert!(error.to_string().ends_with(replayed), "{error}");
}

/// A layer that is away is asked again; one that stays away is an error, and the walk can go on later.
#[tokio::test(start_paused = true)]
async fn short_outages_are_ridden_out() {
    let (layer, made) = filled();
    let mut reader = reader(&layer, Start::Genesis);
    assert_eq!(reader.next().await.unwrap().as_ref(), Some(&made[0]));
    layer.outage.store(2, Ordering::SeqCst);
    assert_eq!(walk(&mut reader).await.unwrap(), made[1..]);
    layer.outage.store(1, Ordering::SeqCst);
    assert!(matches!(reader.next().await, Err(ReadError::Layer(error)) if error.is_transient()));
    assert!(reader.next().await.unwrap().is_none());
}
