//! The object-store layer: on a real S3 server, and its search for keys on a store in memory.

mod support;
#[path = "support/tools.rs"]
mod tools;

use std::sync::Arc;

use lifeboat_da::{Layer, LayerError, S3, S3Config};
use lifeboat_engine::types::Height;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, PutOptions, PutPayload};
use support::{batches, conformance};

fn config(url: &str, bucket: &str) -> S3Config {
    S3Config {
        endpoint: Some(url.to_owned()),
        region: Some("us-east-1".into()),
        bucket: bucket.into(),
        prefix: "venue/blocks".into(),
        credentials: Some(("test-id".into(), "test-secret".into())),
    }
}

/// Makes a bucket with the bare protocol: that is not something the layer does.
fn make_bucket(url: &str, bucket: &str) {
    use std::io::{Read as _, Write as _};
    let host = url.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test-id/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_real_server_keeps_batches() {
    let Some(mut server) = tools::s3_server() else {
        return;
    };
    make_bucket(&server.url, "lifeboat");
    let config = config(&server.url, "lifeboat");
    let open = || Arc::new(S3::new(&config).unwrap()) as Arc<dyn Layer>;
    let made = batches(12, 700, 40);
    conformance(open(), open, &made).await;

    let nowhere = S3Config {
        bucket: "absent".into(),
        ..config.clone()
    };
    let error = S3::new(&nowhere).unwrap().publish(&made[0]).await;
    let error = error.unwrap_err();
    assert!(matches!(error, LayerError::Permanent(_)), "{error}");

    server.stop();
    let error = open().newest().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_store_in_memory_keeps_batches() {
    let store = Arc::new(InMemory::new());
    let open = || Arc::new(S3::over(store.clone(), "a/b")) as Arc<dyn Layer>;
    conformance(open(), open, &batches(5, 7, 30)).await;
}

/// Keys in runs of one, with holes of every size: a search that steps over one is wrong.
#[tokio::test]
async fn the_newest_and_the_containing_batch_are_found_among_many() {
    let store = Arc::new(InMemory::new());
    let layer = S3::over(store.clone(), "p");
    let mut firsts: Vec<u64> = (1..4_000).collect();
    for hole in [10, 1_000, 5_000, 1 << 20, 1 << 40] {
        let start = firsts.last().unwrap() + hole;
        firsts.extend(start..start + 1_500);
    }
    for first in &firsts {
        let key = Path::from(format!("p/{first:020}.batch"));
        let nothing = PutPayload::new();
        store
            .put_opts(&key, nothing, PutOptions::default())
            .await
            .unwrap();
    }
    let other = Path::from("p/notes.txt");
    let nothing = PutPayload::new();
    store
        .put_opts(&other, nothing, PutOptions::default())
        .await
        .unwrap();
    let newest = Some(Height::new(*firsts.last().unwrap()));
    assert_eq!(layer.newest().await.unwrap(), newest);
    assert_eq!(
        layer.newest().await.unwrap(),
        newest,
        "from where it was last"
    );
    for index in (0..firsts.len()).step_by(97) {
        let between = firsts
            .get(index + 1)
            .map_or(7, |next| (next - firsts[index]) / 2);
        let asked = Height::new(firsts[index] + between.saturating_sub(1));
        let found = layer.list(asked, 1).await.unwrap();
        assert_eq!(found, [Height::new(firsts[index])], "around {asked}");
    }
    assert_eq!(
        layer.list(Height::new(1), 1 << 20).await.unwrap().len(),
        firsts.len()
    );
}
