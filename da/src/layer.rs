//! What every data-availability layer can do, and how it fails.

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_engine::types::{Digest, Height};

use crate::batch::Batch;

/// Where a batch was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Height of its last block: everything up to it is published now.
    pub published: Height,
    /// The batch.
    pub digest: Digest,
    /// For a person: a path, a key, transactions.
    pub location: String,
}

/// A failure of a layer: what to do about it is in its kind.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The layer cannot be reached or is busy. The same call may succeed later.
    #[error("the layer is not available: {0}")]
    Transient(String),
    /// The layer refuses, and will go on refusing until somebody changes something.
    #[error("the layer refuses: {0}")]
    Permanent(String),
    /// The layer answered with something that is not what was put there.
    #[error("the layer's data is damaged: {0}")]
    Corrupt(String),
    /// Another batch is in this one's place.
    #[error("another batch already begins at block {0}")]
    Conflict(Height),
}

impl LayerError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

/// A place outside the venue that keeps batches. It stores bytes: what they mean, and whether they
/// fit together, is for [`crate::Publisher`] and [`crate::Reader`].
#[async_trait]
pub trait Layer: Send + Sync {
    /// What and where, for a person.
    fn name(&self) -> String;

    /// Puts a batch behind all others; when this returns, the batch survives the loss of every
    /// machine of the venue. Publishing the same bytes again is no error.
    ///
    /// # Errors
    /// [`LayerError::Conflict`] if another batch begins at the same height.
    async fn publish(&self, batch: &Batch) -> Result<Receipt, LayerError>;

    /// First heights of batches, ascending, at most `limit` of them: that of the last one that
    /// begins at or before `from`, if there is one, and of all that begin after it.
    ///
    /// # Errors
    /// When the layer cannot tell.
    async fn list(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError>;

    /// The bytes of the batch that begins at `first`; `None` if the layer has none. Not verified.
    ///
    /// # Errors
    /// When the layer cannot tell.
    async fn fetch(&self, first: Height) -> Result<Option<Bytes>, LayerError>;

    /// First height of the newest batch; `None` if the layer is empty.
    ///
    /// # Errors
    /// When the layer cannot tell.
    async fn newest(&self) -> Result<Option<Height>, LayerError>;
}

/// Reads the newest batch and says where the next one goes.
///
/// # Errors
/// When the layer fails or its newest batch is damaged.
pub(crate) async fn newest_batch(layer: &dyn Layer) -> Result<Option<Batch>, LayerError> {
    let Some(first) = layer.newest().await? else {
        return Ok(None);
    };
    let Some(bytes) = layer.fetch(first).await? else {
        let gone = format!("the newest batch, at block {first}, is gone");
        return Err(LayerError::Corrupt(gone));
    };
    let batch = Batch::decode(bytes)
        .map_err(|error| LayerError::Corrupt(format!("the batch at block {first}: {error}")))?;
    Ok(Some(batch))
}
