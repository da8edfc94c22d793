//! Batches as objects in an S3-style store.
//!
//! **Owns** the keys: `PREFIX/FIRST.batch`, a zero-padded decimal, so that the store's own order is
//! height order. **Never** overwrites: every write asks that the key be new (`If-None-Match: *`),
//! which the store decides for all writers at once. A store has no "last key", so the newest batch is
//! found by doubling and halving, about 2·log₂ of the heights since it was last known.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use lifeboat_engine::types::Height;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
};

use crate::batch::Batch;
use crate::layer::{Layer, LayerError, Receipt};
use crate::limits::BATCH_BYTES_MAX;

/// What a batch's key ends in.
const SUFFIX: &str = ".batch";
/// Heights within which one page of keys surely shows the last: a page has up to 1000 keys.
const PAGE_HEIGHTS: u64 = 1000;
/// Tries inside one call; patience beyond that is the publisher's.
const TRIES: usize = 2;
/// Time for one call with its tries.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Which bucket, and how to get in. What is left out comes from the environment as for any AWS tool.
#[derive(Clone, Default)]
pub struct S3Config {
    /// URL of a store that is not Amazon's; plain HTTP only where this says so.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The bucket, which must exist.
    pub bucket: String,
    /// What keys begin with; one venue has one.
    pub prefix: String,
    /// Access key and its secret.
    pub credentials: Option<(String, String)>,
}

/// Batches in a bucket.
#[derive(Clone, Debug)]
pub struct S3 {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// A first height that was there: where the search for the newest begins.
    seen: Arc<AtomicU64>,
}

impl S3 {
    /// Opens a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration is not one.
    pub fn new(config: &S3Config) -> Result<Self, LayerError> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&config.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig {
                max_retries: TRIES - 1,
                retry_timeout: CALL_TIMEOUT,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &config.endpoint {
            let plain = endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint).with_allow_http(plain);
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some((id, secret)) = &config.credentials {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|error| failed(&error))?;
        Ok(Self::over(Arc::new(store), &config.prefix))
    }

    /// The layer over any store that can refuse to overwrite.
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            store,
            prefix: Path::from(prefix),
            seen: Arc::default(),
        }
    }

    fn key(&self, first: u64) -> Path {
        self.prefix.clone().join(format!("{first:020}{SUFFIX}"))
    }

    /// First heights from `from` on, at most `limit`, as the store lists them.
    async fn firsts(&self, from: u64, limit: usize) -> Result<Vec<u64>, LayerError> {
        let prefix = Some(&self.prefix);
        let listing = match from.checked_sub(1) {
            Some(before) => self.store.list_with_offset(prefix, &self.key(before)),
            None => self.store.list(prefix),
        };
        let numbers = listing.try_filter_map(|object| async move {
            let name = object.location.filename();
            let number = name.and_then(|name| name.strip_suffix(SUFFIX));
            Ok(number.and_then(|number| number.parse::<u64>().ok()))
        });
        let taken = numbers.take(limit).try_collect().await;
        taken.map_err(|error| failed(&error))
    }

    /// The first batch that begins at `from` or later: one request.
    async fn first_from(&self, from: u64) -> Result<Option<u64>, LayerError> {
        Ok(self.firsts(from, 1).await?.first().copied())
    }

    /// The last batch that begins within `range`, whose start is one: pages in order.
    async fn last_within(&self, range: RangeInclusive<u64>) -> Result<u64, LayerError> {
        let mut last = *range.start();
        loop {
            let page = self.firsts(last + 1, PAGE_HEIGHTS as usize).await?;
            let within = page.partition_point(|first| range.contains(first));
            if let Some(first) = page[..within].last() {
                last = *first;
            }
            if within == 0 || within < page.len() || page.len() < PAGE_HEIGHTS as usize {
                return Ok(last);
            }
        }
    }

    /// The last batch that begins at or before `height`: steps back that double, then a page.
    async fn at_or_before(&self, height: u64) -> Result<Option<u64>, LayerError> {
        let mut back = PAGE_HEIGHTS;
        loop {
            let from = height.saturating_sub(back);
            match self.first_from(from).await? {
                Some(first) if first <= height => {
                    return Ok(Some(self.last_within(first..=height).await?));
                }
                _ if from == 0 => return Ok(None),
                _ => back = back.saturating_mul(2),
            }
        }
    }

    async fn newest_first(&self) -> Result<Option<u64>, LayerError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let from = match self.first_from(seen).await? {
            None if seen > 0 => self.first_from(0).await?,
            found => found,
        };
        let Some(mut low) = from else {
            return Ok(None);
        };
        let mut step = PAGE_HEIGHTS;
        while let Some(first) = self.first_from(low.saturating_add(step)).await? {
            low = first;
            step = step.saturating_mul(2);
        }
        let mut high = low.saturating_add(step);
        while high - low > PAGE_HEIGHTS {
            let middle = low + (high - low) / 2;
            match self.first_from(middle).await? {
                Some(first) => low = first,
                None => high = middle,
            }
        }
        let newest = self.last_within(low..=u64::MAX).await?;
        self.seen.store(newest, Ordering::Relaxed);
        Ok(Some(newest))
    }
}

#[async_trait]
impl Layer for S3 {
    fn name(&self) -> String {
        format!("{} under {}", self.store, self.prefix)
    }

    async fn publish(&self, batch: &Batch) -> Result<Receipt, LayerError> {
        let first = batch.header().first;
        let key = self.key(first.get());
        let payload = PutPayload::from_bytes(batch.encoded().clone());
        let create = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&key, payload, create).await {
            Ok(_) => {}
            // Also what a repeated request sees whose first answer was lost.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                if self.fetch(first).await?.as_ref() != Some(batch.encoded()) {
                    return Err(LayerError::Conflict(first));
                }
            }
            Err(Error::NotFound { source, .. }) => {
                return Err(LayerError::Permanent(format!("no such bucket: {source}")));
            }
            Err(error) => return Err(failed(&error)),
        }
        Ok(Receipt {
            published: batch.header().last,
            digest: batch.digest(),
            location: key.to_string(),
        })
    }

    async fn list(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError> {
        let start = self.at_or_before(from.get()).await?;
        let firsts = self.firsts(start.unwrap_or(from.get()), limit).await?;
        Ok(firsts.into_iter().map(Height::new).collect())
    }

    async fn fetch(&self, first: Height) -> Result<Option<Bytes>, LayerError> {
        let found = match self.store.get(&self.key(first.get())).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|error| failed(&error))?,
        };
        let size = found.meta.size;
        if size > BATCH_BYTES_MAX as u64 {
            let what = format!("the object at block {first} has {size} bytes; no batch has");
            return Err(LayerError::Corrupt(what));
        }
        let bytes = found.bytes().await.map_err(|error| failed(&error))?;
        Ok(Some(bytes))
    }

    async fn newest(&self) -> Result<Option<Height>, LayerError> {
        Ok(self.newest_first().await?.map(Height::new))
    }
}

fn failed(error: &Error) -> LayerError {
    let what = error.to_string();
    match error {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. }
        | Error::UnknownConfigurationKey { .. } => LayerError::Permanent(what),
        _ => LayerError::Transient(what),
    }
}
