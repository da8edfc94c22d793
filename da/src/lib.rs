//! Data availability: every finalized block, outside the venue's own machines, in batches that name
//! their predecessor.
//!
//! **Owns** the batch format ([`Batch`]), the chain that batches form ([`Tip`]), the trait of a place
//! that keeps them ([`Layer`]) with its adapters, the task that fills one ([`Publisher`]) and the one
//! that reads it back ([`Reader`]). **Never** knows consensus or executes a block: blocks and
//! certificates are bytes here, so that an auditor reads a layer with nothing of the node. Exercises
//! I3: what a layer holds is what a venue that lost every disk comes back with.
//!
//! | layer | feature | where batches go |
//! |---|---|---|
//! | [`Folder`] | always | files in a folder |
//! | `S3` | `s3` | objects in a bucket |
//! | `BlobsConfig` | `blobs` | EIP-4844 blobs on Ethereum |
//! | `CelestiaConfig` | `celestia` | blobs on Celestia |

mod batch;
#[cfg(feature = "blobs")]
mod blobs;
#[cfg(feature = "celestia")]
mod celestia;
pub mod coding;
mod folder;
#[cfg(feature = "rpc")]
mod label;
mod layer;
pub mod limits;
#[cfg(feature = "rpc")]
mod posted;
mod publisher;
mod reader;
#[cfg(feature = "rpc")]
mod rpc;
#[cfg(feature = "s3")]
mod s3;
mod tip;

pub use batch::{Batch, BatchError, Entry, HEADER_BYTES, Header, SealError};
#[cfg(feature = "blobs")]
pub use blobs::{BlobIds, BlobKey, BlobsConfig};
#[cfg(feature = "celestia")]
pub use celestia::CelestiaConfig;
pub use folder::Folder;
pub use layer::{Layer, LayerError, Receipt};
pub use publisher::{
    BlockSource, Progress, PublishError, Publisher, PublisherConfig, SourceBlock, SourceError, Step,
};
pub use reader::{ReadError, ReadProgress, Reader, Start};
#[cfg(feature = "s3")]
pub use s3::{S3, S3Config};
pub use tip::{LinkError, Tip};
