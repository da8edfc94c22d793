//! Batches as blobs on Celestia, through a node's JSON-RPC.
//!
//! **Owns** the namespace and what stands in a blob: the piece's label and its bytes. **Never** holds
//! a key: the node that is asked signs and pays. **Not run against a live network**: the tests play
//! exchanges that were written after the node API's public documentation.
//!
//! Anybody may post to a namespace. With a `signer` in the configuration, blobs are of share version
//! 1, which the network only takes from their signer, and no others count; without one, a stranger
//! can put batches in the venue's place, which a reader sees as a fork and a publisher as another
//! history. Set it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::ChainId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::label::{LABEL_BYTES, Label};
use crate::layer::{Layer, LayerError};
use crate::posted::{Piece, Posted, PostingChain};
use crate::rpc::{CallError, Rpc};

/// Bytes of a namespace of version 0: the version, 18 zeros, 10 that are free.
const NAMESPACE_BYTES: usize = 29;
/// Bytes of a namespace that are free.
const NAMESPACE_FREE_BYTES: usize = 10;
/// Most bytes of a piece: a transaction takes 8 MiB, its blobs padded to shares.
const PIECE_BYTES_MAX: usize = 7 << 20;
/// Bytes of a piece unless configured: small enough for any node's own limits.
const PIECE_BYTES: usize = 3 << 19;
/// Time between two looks for a block that the node was told of but has not synced.
const POLL: Duration = Duration::from_millis(500);
/// Looks before it is given up: a minute, about ten blocks.
const POLLS_MAX: u32 = 120;

/// Which node, and where in the chain to look.
#[derive(Clone, Default)]
pub struct CelestiaConfig {
    /// URL of a node's JSON-RPC.
    pub node: String,
    /// Its token: with permission to write for a publisher, to read for a reader.
    pub token: Option<String>,
    /// Free part of the namespace; `None` derives it from the venue.
    pub namespace: Option<[u8; NAMESPACE_FREE_BYTES]>,
    /// The node's account, as 20 bytes: only its blobs count.
    pub signer: Option<[u8; 20]>,
    /// A height before the first batch; nothing before it is read.
    pub start_height: u64,
    /// Bytes in one blob, up to 7 MiB; 0 for 1.5 MiB.
    pub piece_bytes: usize,
}

impl CelestiaConfig {
    /// The layer of venue `venue`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration is not one.
    pub fn open(self, venue: ChainId) -> Result<Arc<dyn Layer>, LayerError> {
        let piece_bytes = match self.piece_bytes {
            0 => PIECE_BYTES,
            bytes if bytes <= PIECE_BYTES_MAX => bytes,
            _ => {
                let what = format!("a piece has at most {PIECE_BYTES_MAX} bytes");
                return Err(LayerError::Permanent(what));
            }
        };
        let free = self.namespace.unwrap_or_else(|| derived(venue));
        let mut namespace = [0; NAMESPACE_BYTES];
        namespace[NAMESPACE_BYTES - NAMESPACE_FREE_BYTES..].copy_from_slice(&free);
        let network = Network {
            node: Rpc::new(&self.node, self.token)?,
            namespace: BASE64.encode(namespace),
            signer: self.signer.map(|signer| BASE64.encode(signer)),
            piece_bytes,
        };
        Ok(Arc::new(Posted::new(network, venue, self.start_height)))
    }
}

fn derived(venue: ChainId) -> [u8; NAMESPACE_FREE_BYTES] {
    let digest = keccak256(&[b"lifeboat namespace", &venue.0[..]].concat());
    let mut free = [0; NAMESPACE_FREE_BYTES];
    free.copy_from_slice(&digest.0[..NAMESPACE_FREE_BYTES]);
    free
}

/// Celestia as pieces see it.
struct Network {
    node: Rpc,
    /// All of it, in base64.
    namespace: String,
    /// In base64.
    signer: Option<String>,
    piece_bytes: usize,
}

#[derive(Deserialize)]
struct Blob {
    data: String,
    commitment: String,
    #[serde(default)]
    index: i64,
    signer: Option<String>,
}

#[derive(Deserialize)]
struct ExtendedHeader {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    height: Number,
}

/// Heights are texts in a header and numbers elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl Number {
    fn get(self) -> Result<u64, LayerError> {
        match self {
            Self::Plain(number) => Ok(number),
            Self::Text(text) => text
                .parse()
                .map_err(|_| LayerError::Corrupt(format!("{text} is not a height"))),
        }
    }
}

impl Network {
    /// A blob's label and bytes, if it is one of the publisher's.
    fn read(&self, blob: &Blob) -> Option<(Label, Bytes)> {
        if self.signer.is_some() && blob.signer != self.signer {
            return None;
        }
        let data = BASE64.decode(&blob.data).ok()?;
        let (label, rest) = Label::decode(&data)?;
        let bytes = Bytes::copy_from_slice(rest);
        (bytes.len() == label.len as usize).then_some((label, bytes))
    }
}

#[async_trait]
impl PostingChain for Network {
    /// The blob's commitment, in base64.
    type Handle = String;

    fn name(&self) -> String {
        format!(
            "Celestia namespace {} by {}",
            self.namespace,
            self.node.place()
        )
    }

    fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    async fn head(&self) -> Result<u64, LayerError> {
        // The newest that this node has checked, not the newest it heard of.
        let call = self.node.call("header.LocalHead", json!([]));
        let head: ExtendedHeader = call.await.map_err(refused)?;
        head.header.height.get()
    }

    async fn pieces(&self, height: u64) -> Result<Vec<Piece<String>>, LayerError> {
        let params = json!([height, [self.namespace]]);
        let answer: Result<Option<Vec<Blob>>, _> = self.node.call("blob.GetAll", params).await;
        let mut blobs = match answer {
            Ok(blobs) => blobs.unwrap_or_default(),
            // That is how a height without blobs of the namespace reads.
            Err(CallError::Refused { message, .. }) if message.contains("not found") => Vec::new(),
            Err(error) => return Err(refused(error)),
        };
        blobs.sort_by_key(|blob| blob.index);
        let piece = |blob: Blob| {
            let (label, _) = self.read(&blob)?;
            Some(Piece {
                label,
                block: height,
                handle: blob.commitment,
            })
        };
        Ok(blobs.into_iter().filter_map(piece).collect())
    }

    async fn bytes(&self, piece: &Piece<String>) -> Result<Bytes, LayerError> {
        let params = json!([piece.block, self.namespace, piece.handle]);
        let blob: Blob = self.node.call("blob.Get", params).await.map_err(refused)?;
        match self.read(&blob) {
            Some((label, bytes)) if label == piece.label => Ok(bytes),
            _ => {
                let (handle, height) = (&piece.handle, piece.block);
                let what = format!("blob {handle} at height {height} is another than was listed");
                Err(LayerError::Corrupt(what))
            }
        }
    }

    async fn post(&self, label: &Label, bytes: &[u8]) -> Result<u64, LayerError> {
        let mut data = Vec::with_capacity(LABEL_BYTES + bytes.len());
        data.extend_from_slice(&label.encode());
        data.extend_from_slice(bytes);
        let mut blob = json!({
            "namespace": self.namespace,
            "data": BASE64.encode(data),
            "share_version": u8::from(self.signer.is_some()),
        });
        if let Some(signer) = &self.signer {
            blob["signer"] = Value::from(signer.as_str());
        }
        let call = self.node.call("blob.Submit", json!([[blob], {}]));
        let height: Number = call.await.map_err(refused)?;
        let height = height.get()?;
        for _ in 0..POLLS_MAX {
            if self.head().await? >= height {
                return Ok(height);
            }
            tokio::time::sleep(POLL).await;
        }
        let what = format!("the node does not get to height {height}, where it put the blob");
        Err(LayerError::Transient(what))
    }
}

/// The node has one code for whatever goes wrong; what lasts is told by its words.
fn refused(error: CallError) -> LayerError {
    match error {
        CallError::Refused { code, message } => {
            let lower = message.to_lowercase();
            let lasting = [
                "insufficient",
                "permission",
                "unauthorized",
                "invalid namespace",
            ];
            let what = format!("{message} (code {code})");
            if lasting.iter().any(|word| lower.contains(word)) {
                LayerError::Permanent(what)
            } else {
                LayerError::Transient(what)
            }
        }
        other => other.into(),
    }
}
