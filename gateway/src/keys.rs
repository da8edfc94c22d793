//! API keys: what a Deribit client authenticates with, and the session key that signs for it.
//!
//! A client of this API has no signing key of its own. For each API key the gateway holds a seed of
//! trade-only ed25519 session keys; one key is derived for each gateway, so that two gateways never
//! use one nonce sequence. The owner registers those public keys in the engine. Withdrawals and key
//! changes need the owner key, which never comes here.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use ed25519_zebra::{SigningKey, VerificationKey};
use hmac::{Hmac, KeyInit, Mac};
use lifeboat_engine::types::{AccountId, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Domain of the derivation of a gateway's session key from an API key's seed.
const SESSION_DERIVATION: &[u8] = b"LIFEBOAT_GATEWAY_SESSION_1";

/// What went wrong with the key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file {path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a key file.
    #[error("the key file {path} is not valid: {reason}; restore it or create new keys")]
    Format {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The system gave no randomness.
    #[error("no randomness from the system: {0}")]
    Random(String),
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at the account.
    Read,
    /// Look and trade.
    Trade,
}

/// One API key.
#[derive(Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Public name of the key.
    pub client_id: String,
    /// Shared secret that signs requests.
    pub client_secret: String,
    /// The account it acts for.
    pub account: u32,
    /// What it may do.
    pub scope: Scope,
    /// 32 bytes in hex; session keys are derived from it.
    session_seed: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("client_id", &self.client_id)
            .field("account", &self.account)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl ApiKey {
    /// The account it acts for.
    pub const fn account(&self) -> AccountId {
        AccountId::new(self.account)
    }

    /// The session signing key of the gateway with this number.
    pub fn signing_key(&self, gateway: u16) -> SigningKey {
        let mut mac = hmac(self.session_seed.as_bytes());
        mac.update(SESSION_DERIVATION);
        mac.update(&gateway.to_le_bytes());
        SigningKey::from(<[u8; 32]>::from(mac.finalize().into_bytes()))
    }

    /// The session public key that the owner registers for the gateway with this number.
    pub fn session_key(&self, gateway: u16) -> PublicKey {
        PublicKey(VerificationKey::from(&self.signing_key(gateway)).into())
    }
}

/// An HMAC-SHA256 over a key of any length.
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of every length"),
    }
}

/// All API keys of a gateway.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(BTreeMap<String, Arc<ApiKey>>);

#[derive(Serialize, Deserialize)]
struct KeyFile {
    keys: Vec<ApiKey>,
}

impl ApiKeys {
    /// Makes a new key for an account and keeps it.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has no randomness.
    pub fn create(&mut self, account: AccountId, scope: Scope) -> Result<Arc<ApiKey>, KeyError> {
        let key = ApiKey {
            client_id: random_hex(8)?,
            client_secret: random_hex(32)?,
            account: account.get(),
            scope,
            session_seed: random_hex(32)?,
        };
        Ok(self.insert(key))
    }

    /// A key made from a seed, for development venues and tests that must be reproducible. Its
    /// secret is as guessable as the seed.
    pub fn create_from_seed(
        &mut self,
        account: AccountId,
        scope: Scope,
        seed: &[u8],
    ) -> Arc<ApiKey> {
        let derive = |what: &[u8]| {
            let mut mac = hmac(seed);
            mac.update(&account.get().to_le_bytes());
            mac.update(what);
            hex(&mac.finalize().into_bytes())
        };
        self.insert(ApiKey {
            client_id: derive(b"id").chars().take(16).collect(),
            client_secret: derive(b"secret"),
            account: account.get(),
            scope,
            session_seed: derive(b"session"),
        })
    }

    fn insert(&mut self, key: ApiKey) -> Arc<ApiKey> {
        let key = Arc::new(key);
        self.0.insert(key.client_id.clone(), Arc::clone(&key));
        key
    }

    /// Adds the keys whose names are new.
    pub fn adopt(&mut self, other: &Self) {
        for (id, key) in &other.0 {
            self.0.entry(id.clone()).or_insert_with(|| Arc::clone(key));
        }
    }

    /// The key with this public name.
    pub fn get(&self, client_id: &str) -> Option<&Arc<ApiKey>> {
        self.0.get(client_id)
    }

    /// Every key, by public name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.0.values()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be read or is not a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).map_err(|source| io_error(path, source))?;
        let file: KeyFile = serde_json::from_slice(&bytes).map_err(|error| KeyError::Format {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let mut keys = Self::default();
        for key in file.keys {
            keys.insert(key);
        }
        Ok(keys)
    }

    /// Writes the key file beside the old one and swaps them, readable by its owner only.
    ///
    /// # Errors
    /// [`KeyError::Io`]; the old file is then untouched.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let file = KeyFile {
            keys: self.0.values().map(|key| (**key).clone()).collect(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|error| KeyError::Format {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let fresh = path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let write = || -> std::io::Result<()> {
            let mut out = options.open(&fresh)?;
            out.write_all(text.as_bytes())?;
            out.sync_all()?;
            std::fs::rename(&fresh, path)
        };
        write().map_err(|source| io_error(path, source))
    }
}

fn io_error(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// `bytes` random bytes in hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String, KeyError> {
    let mut buffer = vec![0u8; bytes];
    getrandom::fill(&mut buffer).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(hex(&buffer))
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hex to bytes; `None` when it is not hex.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_file_and_stay_private() {
        let dir = std::env::temp_dir().join(format!("lifeboat-keys-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("keys.json");
        let mut keys = ApiKeys::default();
        let made = keys
            .create(AccountId::new(7), Scope::Trade)
            .expect("randomness");
        keys.save(&path).expect("saved");
        let loaded = ApiKeys::load(&path).expect("loaded");
        let again = loaded.get(&made.client_id).expect("the key");
        assert_eq!(again.client_secret, made.client_secret);
        assert_eq!(again.session_key(3), made.session_key(3));
        assert_ne!(made.session_key(3), made.session_key(4));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path)
                .expect("metadata")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(&path, "{\"keys\": 1}").expect("written");
        assert!(matches!(ApiKeys::load(&path), Err(KeyError::Format { .. })));
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn debug_output_hides_secrets() {
        let key = ApiKeys::default().create_from_seed(AccountId::new(1), Scope::Read, b"seed");
        let text = format!("{key:?}");
        assert!(!text.contains(&key.client_secret) && !text.contains(&key.session_seed));
    }

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(unhex("00ff10").as_deref(), Some(&[0, 255, 16][..]));
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex("+1"), None);
    }
}
