//! The folder layer on real files.

mod support;

use std::fs;
use std::sync::Arc;

use lifeboat_da::{Batch, Folder, Layer, LayerError, Tip};
use lifeboat_engine::types::Height;
use support::{CHAIN, batches, block, conformance, read_all};

#[tokio::test]
async fn keeps_batches() {
    let place = tempfile::tempdir().unwrap();
    let open = || Arc::new(Folder::new(place.path().join("da"))) as Arc<dyn Layer>;
    conformance(open(), open, &batches(5, 7, 300)).await;
}

/// Batches of many blocks, so that the chain crosses into further shards.
#[tokio::test]
async fn spans_shards() {
    let place = tempfile::tempdir().unwrap();
    let open = || Arc::new(Folder::new(place.path())) as Arc<dyn Layer>;
    let made = batches(130, 1024, 0);
    conformance(open(), open, &made).await;
    let shards = fs::read_dir(place.path()).unwrap().count();
    assert_eq!(shards, 3);
    // A batch that begins in an earlier shard than the height that is asked for.
    let layer = open();
    let border = made.iter().rev().find(|batch| {
        let header = batch.header();
        header.first.get() >> 16 != header.last.get() >> 16
    });
    let header = border.unwrap().header();
    let listed = layer.list(header.last, 1).await.unwrap();
    assert_eq!(listed, [header.first]);
}

#[tokio::test]
async fn a_crash_while_writing_leaves_nothing_to_see() {
    let place = tempfile::tempdir().unwrap();
    let layer: Arc<dyn Layer> = Arc::new(Folder::new(place.path()));
    let made = batches(2, 1, 100);
    layer.publish(&made[0]).await.unwrap();
    let shard = place.path().join(format!("{:015}", 0));
    fs::write(shard.join(".writing-abc"), &made[1].encoded()[..50]).unwrap();
    fs::write(shard.join("notes.txt"), "somebody's").unwrap();
    assert_eq!(layer.newest().await.unwrap(), Some(Height::new(1)));
    assert_eq!(read_all(Arc::clone(&layer)).await, made[..1]);
    layer.publish(&made[1]).await.unwrap();
    assert_eq!(read_all(layer).await, made);
    let names: Vec<_> = fs::read_dir(shard).unwrap().collect();
    assert_eq!(names.len(), 4, "nothing else is left: {names:?}");
}

/// Readers see whole batches or none, while two publishers race for every place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_two_publishers_wins_each_place() {
    let place = tempfile::tempdir().unwrap();
    let layer: Arc<dyn Layer> = Arc::new(Folder::new(place.path()));
    let mut tip = Tip::genesis(CHAIN);
    for round in 0..30_u64 {
        let rivals = [0, 1].map(|rival| {
            let batch = Batch::seal(&tip, None, vec![block(round * 2 + rival, 5_000)]).unwrap();
            let layer = Arc::clone(&layer);
            tokio::spawn(async move { layer.publish(&batch).await.map(|_| batch) })
        });
        let reading = tokio::spawn(read_all(Arc::clone(&layer)));
        let mut won = Vec::new();
        for rival in rivals {
            match rival.await.unwrap() {
                Ok(batch) => won.push(batch),
                Err(error) => assert!(matches!(error, LayerError::Conflict(_)), "{error}"),
            }
        }
        assert_eq!(won.len(), 1);
        tip = won[0].tip();
        assert!(reading.await.unwrap().len() as u64 >= round);
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_with_its_path() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let layer = Folder::new(&file);
    let error = layer.publish(&batches(1, 1, 1)[0]).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert!(layer.newest().await.is_err());
}
