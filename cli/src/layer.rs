//! Places that blocks are published to, by their names in a configuration.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use lifeboat_da::{Folder, Layer};
use lifeboat_engine::types::ChainId;

/// Opens a place: `folder:PATH`, or `s3:FILE`, `blobs:FILE`, `celestia:FILE` with settings in a TOML
/// file. Relative paths are taken from `base`.
pub fn open_layer(place: &str, base: &Path, venue: ChainId) -> Result<Arc<dyn Layer>> {
    let Some((kind, path)) = place.split_once(':').filter(|(_, path)| !path.is_empty()) else {
        bail!(
            "`{place}` is no place to publish to; give folder:PATH, or s3:, blobs: or celestia: and a settings file"
        );
    };
    let path = base.join(path);
    let opened: Result<Arc<dyn Layer>> = match kind {
        "folder" => Ok(Arc::new(Folder::new(path))),
        "s3" => s3::open(&path),
        "blobs" => blobs::open(&path, venue),
        "celestia" => celestia::open(&path, venue),
        _ => bail!("`{kind}` is no kind of place; there are folder, s3, blobs and celestia"),
    };
    opened.with_context(|| format!("opening {place}"))
}

/// Reads a settings file.
#[cfg(any(feature = "s3", feature = "blobs", feature = "celestia"))]
fn settings<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} does not parse", path.display()))
}

/// Bytes in hexadecimal, of a fixed length.
#[cfg(any(feature = "blobs", feature = "celestia"))]
fn fixed<const N: usize>(hex: &str, what: &str) -> Result<[u8; N]> {
    let digits = hex.strip_prefix("0x").unwrap_or(hex);
    let bytes = lifeboat_node::keys::from_hex(digits);
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("`{what}` is not {N} bytes in hexadecimal"))
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use lifeboat_da::{S3, S3Config};
    use serde::Deserialize;

    /// What is left out comes from the environment, as for any tool of AWS.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        bucket: String,
        #[serde(default)]
        prefix: String,
        endpoint: Option<String>,
        region: Option<String>,
        access_key: Option<String>,
        secret_key: Option<String>,
    }

    pub fn open(path: &Path) -> Result<Arc<dyn Layer>> {
        let settings: Settings = settings(path)?;
        let config = S3Config {
            endpoint: settings.endpoint,
            region: settings.region,
            bucket: settings.bucket,
            prefix: settings.prefix,
            credentials: settings.access_key.zip(settings.secret_key),
        };
        Ok(Arc::new(S3::new(&config)?))
    }
}

#[cfg(feature = "blobs")]
mod blobs {
    use super::*;
    use lifeboat_da::{BlobIds, BlobKey, BlobsConfig};
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        /// URL of an execution node's JSON-RPC.
        execution: String,
        /// URL of a consensus node's REST API.
        beacon: String,
        /// Whether the consensus node names blocks by their execution block's number, as anvil does.
        #[serde(default)]
        by_number: bool,
        /// The publisher's address.
        publisher: String,
        /// Its secret key; without it, nothing is published from here.
        secret_key: Option<String>,
        #[serde(default)]
        start_block: u64,
        #[serde(default = "confirmations")]
        confirmations: u64,
        #[serde(default = "blobs_per_transaction")]
        blobs_per_transaction: usize,
        /// In gwei, for a unit of gas and of blob gas.
        fee_max_gwei: u64,
    }

    /// Seconds of a slot on Ethereum.
    const SLOT_SECONDS: u64 = 12;

    /// Two epochs: what Ethereum takes to finalize.
    fn confirmations() -> u64 {
        64
    }

    fn blobs_per_transaction() -> usize {
        6
    }

    pub fn open(path: &Path, venue: ChainId) -> Result<Arc<dyn Layer>> {
        let settings: Settings = settings(path)?;
        let key = settings.secret_key.as_deref().map(|hex| {
            let secret = fixed(hex, "secret_key")?;
            anyhow::Ok(BlobKey::new(&secret)?)
        });
        let config = BlobsConfig {
            execution: settings.execution,
            beacon: settings.beacon,
            blob_ids: if settings.by_number {
                BlobIds::Numbers
            } else {
                BlobIds::Slots(SLOT_SECONDS)
            },
            key: key.transpose()?,
            publisher: fixed::<20>(&settings.publisher, "publisher")?.into(),
            start_block: settings.start_block,
            confirmations: settings.confirmations,
            blobs_per_transaction: settings.blobs_per_transaction,
            fee_max: u128::from(settings.fee_max_gwei) * 1_000_000_000,
        };
        Ok(config.open(venue)?)
    }
}

#[cfg(feature = "celestia")]
mod celestia {
    use super::*;
    use lifeboat_da::CelestiaConfig;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        /// URL of a node's JSON-RPC.
        node: String,
        token: Option<String>,
        /// The node's account, in hexadecimal: only its blobs count.
        signer: Option<String>,
        #[serde(default)]
        start_height: u64,
    }

    pub fn open(path: &Path, venue: ChainId) -> Result<Arc<dyn Layer>> {
        let settings: Settings = settings(path)?;
        let signer = settings.signer.as_deref().map(|hex| fixed(hex, "signer"));
        let config = CelestiaConfig {
            node: settings.node,
            token: settings.token,
            signer: signer.transpose()?,
            start_height: settings.start_height,
            ..CelestiaConfig::default()
        };
        Ok(config.open(venue)?)
    }
}

/// Kinds that this binary was built without.
macro_rules! left_out {
    ($($kind:ident $feature:literal ($($argument:ident: $type:ty),*);)*) => {$(
        #[cfg(not(feature = $feature))]
        mod $kind {
            use super::*;

            pub fn open($($argument: $type),*) -> Result<Arc<dyn Layer>> {
                let _ = ($($argument),*,);
                bail!("this binary was built without it; build with `--features {}`", $feature);
            }
        }
    )*};
}

left_out! {
    s3 "s3" (path: &Path);
    blobs "blobs" (path: &Path, venue: ChainId);
    celestia "celestia" (path: &Path, venue: ChainId);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_by_their_kind() {
        let base = Path::new("/somewhere");
        let venue = ChainId([1; 32]);
        let folder = open_layer("folder:../published", base, venue).expect("a folder");
        assert!(
            folder.name().contains("/somewhere/../published"),
            "{}",
            folder.name()
        );
        for wrong in ["", "folder", "folder:", "ftp:there"] {
            assert!(open_layer(wrong, base, venue).is_err(), "{wrong}");
        }
        let absent = open_layer("s3:none.toml", base, venue);
        assert!(
            absent.is_err(),
            "its settings are missing, or it was left out"
        );
    }
}
