//! Blobs from a consensus node: `GET /eth/v1/beacon/blobs/{block}?versioned_hashes=…`, one at a time,
//! so that an answer's size is known.

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{hex, unhex};
use crate::layer::LayerError;
use crate::rpc::Rpc;

/// How a consensus node names the block that an execution block is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobIds {
    /// By slot, as consensus nodes do; a slot has this many seconds (12 on mainnet).
    Slots(u64),
    /// By the execution block's number, as development nodes without consensus do.
    Numbers,
}

/// A consensus node.
pub(super) struct Beacon {
    rest: Rpc,
    ids: BlobIds,
    genesis_s: OnceCell<u64>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Genesis {
    genesis_time: String,
}

impl Beacon {
    pub fn new(url: &str, ids: BlobIds) -> Result<Self, LayerError> {
        if ids == BlobIds::Slots(0) {
            let what = "a slot has at least a second".to_owned();
            return Err(LayerError::Permanent(what));
        }
        Ok(Self {
            rest: Rpc::new(url, None)?,
            ids,
            genesis_s: OnceCell::new(),
        })
    }

    /// One blob by its versioned hash. Not verified.
    pub async fn blob(
        &self,
        number: u64,
        timestamp_s: u64,
        hash: &[u8; 32],
    ) -> Result<Vec<u8>, LayerError> {
        let id = self.id(number, timestamp_s).await?;
        let hash = hex(hash);
        let path = format!("/eth/v1/beacon/blobs/{id}?versioned_hashes={hash}");
        let answer: Option<Answer<Vec<String>>> = self.rest.get(&path).await?;
        let blobs = answer.map(|answer| answer.data).unwrap_or_default();
        let Some(blob) = blobs.first() else {
            let what = format!(
                "no blob {hash} in block {number} at {}: nodes drop blobs after 4096 epochs; \
                 ask one that archives them",
                self.rest.place()
            );
            return Err(LayerError::Permanent(what));
        };
        unhex(blob).ok_or_else(|| LayerError::Corrupt(format!("blob {hash} is not hexadecimal")))
    }

    async fn id(&self, number: u64, timestamp_s: u64) -> Result<u64, LayerError> {
        let BlobIds::Slots(slot_s) = self.ids else {
            return Ok(number);
        };
        let genesis_s = *self.genesis_s.get_or_try_init(|| self.genesis()).await?;
        Ok(timestamp_s.saturating_sub(genesis_s) / slot_s)
    }

    async fn genesis(&self) -> Result<u64, LayerError> {
        let answer: Option<Answer<Genesis>> = self.rest.get("/eth/v1/beacon/genesis").await?;
        let time = answer.and_then(|answer| answer.data.genesis_time.parse().ok());
        time.ok_or_else(|| LayerError::Corrupt("the node does not say when it began".into()))
    }
}
