//! Serves this node's snapshots, and passes answers to whoever fetches.

use std::sync::Arc;

use commonware_cryptography::ed25519::PublicKey as PeerKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use lifeboat_engine::types::ChainId;
use tokio::sync::mpsc;

use super::wire::Message;
use crate::files::Files;
use crate::snapshot;

/// A peer's answer.
pub type Heard = (PeerKey, Message);

/// Answers peers until the network stops. Answers to this node's own questions go to `heard`; they
/// are dropped when nobody fetches.
pub async fn serve(
    chain: ChainId,
    files: Arc<dyn Files>,
    mut sender: impl Sender<PublicKey = PeerKey>,
    mut receiver: impl Receiver<PublicKey = PeerKey>,
    heard: mpsc::Sender<Heard>,
) {
    while let Ok((peer, bytes)) = receiver.recv().await {
        let bytes: Vec<u8> = bytes.into();
        let answer = match Message::decode(&bytes) {
            None => {
                tracing::debug!(%peer, "ignored a message about snapshots that does not decode");
                continue;
            }
            Some(Message::WantManifest) => manifest(chain, &*files),
            Some(Message::WantChunk { height, index }) => chunk(&*files, height, index),
            Some(answer) => {
                // A fetcher that cannot keep up asks again.
                let _ = heard.try_send((peer, answer));
                continue;
            }
        };
        let _ = sender.send(Recipients::One(peer), answer.encode(), false);
    }
}

fn manifest(chain: ChainId, files: &dyn Files) -> Message {
    let found = snapshot::newest_certified(files, chain);
    let encoded = found.and_then(|found| found.map(|manifest| manifest.encode()).transpose());
    Message::Manifest(encoded.ok().flatten().unwrap_or_default())
}

fn chunk(files: &dyn Files, height: u64, index: u32) -> Message {
    let bytes = snapshot::chunk(files, height, index).unwrap_or_default();
    Message::Chunk {
        height,
        index,
        bytes,
    }
}
