//! Who is asking: `public/auth` grants, access tokens and signed HTTP requests.
//!
//! **Owns** the token table and the replay window. **Never** logs or echoes a secret; secrets and
//! signatures are compared in constant time, and an unknown client costs the same work as a known
//! one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hmac::Mac;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::RpcError;
use crate::keys::{ApiKey, ApiKeys, Scope, hmac, random_hex, unhex};
use crate::params::Params;

/// How long an access token lives.
pub const ACCESS_TOKEN_MS: u64 = 24 * 3_600_000;
/// How long a refresh token lives.
pub const REFRESH_TOKEN_MS: u64 = 7 * 24 * 3_600_000;
/// How far a signed request's timestamp may be from the gateway's clock.
pub const SIGNATURE_WINDOW_MS: u64 = 60_000;
/// Tokens and remembered signatures; past it the oldest token goes, and new signatures wait.
const TABLE_MAX: usize = 100_000;

/// An authenticated client.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its key.
    pub key: Arc<ApiKey>,
    /// What it may do here: at most what its key may.
    pub scope: Scope,
}

impl Login {
    /// Refuses a login that may not trade.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_trade(&self) -> Result<(), RpcError> {
        match self.scope {
            Scope::Trade => Ok(()),
            Scope::Read => Err(RpcError::forbidden("scope trade:read_write is required")),
        }
    }
}

/// What `public/auth` grants.
#[derive(Debug)]
pub struct Grant {
    /// Who.
    pub login: Login,
    /// Opens private methods.
    pub access_token: String,
    /// Buys a new access token, once.
    pub refresh_token: String,
}

#[derive(Clone, Debug)]
struct Token {
    login: Login,
    refresh: bool,
    expires_ms: u64,
}

#[derive(Debug, Default)]
struct Tables {
    /// By SHA-256 of the token, so that a look-up tells nothing about a token.
    tokens: BTreeMap<[u8; 32], Token>,
    /// Signatures seen, by the time at which their timestamp leaves the window.
    seen: BTreeMap<(u64, [u8; 32]), ()>,
}

/// Authenticates requests.
#[derive(Debug)]
pub struct Auth {
    keys: RwLock<ApiKeys>,
    tables: Mutex<Tables>,
}

impl Auth {
    /// Over a set of keys.
    pub fn new(keys: ApiKeys) -> Self {
        Self {
            keys: RwLock::new(keys),
            tables: Mutex::default(),
        }
    }

    /// Takes keys over that were not known; those that are stay as they are.
    pub fn adopt(&self, keys: &ApiKeys) {
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        known.adopt(keys);
    }

    fn known(&self, id: &str) -> Option<Arc<ApiKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(id).cloned()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles `public/auth` at the gateway's wall-clock time.
    ///
    /// # Errors
    /// `invalid_credentials`, or `Invalid params` for an unknown grant.
    pub fn grant(&self, params: &Params, now_ms: u64) -> Result<Grant, RpcError> {
        let key = match params.required_text("grant_type")? {
            "client_credentials" => self.by_secret(params)?,
            "client_signature" => self.by_signature(params, now_ms)?,
            "refresh_token" => return self.refresh(params.required_text("refresh_token")?, now_ms),
            _ => return Err(RpcError::param("grant_type", "unknown grant type")),
        };
        let scope = narrowed(&key, params.text("scope")?.unwrap_or_default());
        self.issue(Login { key, scope }, now_ms)
    }

    fn by_secret(&self, params: &Params) -> Result<Arc<ApiKey>, RpcError> {
        let id = params.required_text("client_id")?;
        let secret = params.required_text("client_secret")?;
        let known = self.known(id);
        let expected = known.as_ref().map_or("", |key| key.client_secret.as_str());
        let equal = Sha256::digest(secret).ct_eq(&Sha256::digest(expected));
        match known {
            Some(key) if bool::from(equal) => Ok(key),
            _ => Err(bad_credentials()),
        }
    }

    fn by_signature(&self, params: &Params, now_ms: u64) -> Result<Arc<ApiKey>, RpcError> {
        let id = params.required_text("client_id")?;
        let timestamp = params.id("timestamp")?.unwrap_or_default();
        let nonce = params.text("nonce")?.unwrap_or_default();
        let data = params.text("data")?.unwrap_or_default();
        let signature = params.required_text("signature")?;
        let message = format!("{timestamp}\n{nonce}\n{data}");
        self.verify(id, &message, signature, &timestamp, now_ms)
    }

    /// Checks the `Authorization` header of an HTTP request: a bearer token, or a
    /// `deri-hmac-sha256` signature over time, nonce, verb, path with query, and body.
    ///
    /// # Errors
    /// `unauthorized` or `invalid_credentials`.
    pub fn header(
        &self,
        header: &str,
        verb: &str,
        uri: &str,
        body: &str,
        now_ms: u64,
    ) -> Result<Login, RpcError> {
        if let Some(token) = header
            .strip_prefix("Bearer ")
            .or(header.strip_prefix("bearer "))
        {
            return self.bearer(token.trim(), now_ms);
        }
        let Some(fields) = header.strip_prefix("deri-hmac-sha256 ") else {
            return Err(RpcError::unauthorized("unknown authorization scheme"));
        };
        let field = |name: &str| {
            fields
                .split(',')
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(field, value)| (field == name).then_some(value))
                .ok_or(RpcError::unauthorized(
                    "the header needs id, ts, sig and nonce",
                ))
        };
        let (id, ts, sig, nonce) = (field("id")?, field("ts")?, field("sig")?, field("nonce")?);
        let message = format!("{ts}\n{nonce}\n{verb}\n{uri}\n{body}\n");
        let key = self.verify(id, &message, sig, ts, now_ms)?;
        let scope = key.scope;
        Ok(Login { key, scope })
    }

    /// Who holds this access token.
    ///
    /// # Errors
    /// `unauthorized` when it is unknown or has expired.
    pub fn bearer(&self, token: &str, now_ms: u64) -> Result<Login, RpcError> {
        let digest = <[u8; 32]>::from(Sha256::digest(token));
        match self.tables().tokens.get(&digest) {
            Some(token) if !token.refresh && token.expires_ms > now_ms => Ok(token.login.clone()),
            _ => Err(RpcError::unauthorized(
                "the access token is unknown or has expired",
            )),
        }
    }

    /// Forgets every token of a key.
    pub fn logout(&self, login: &Login) {
        let id = &login.key.client_id;
        self.tables()
            .tokens
            .retain(|_, token| token.login.key.client_id != *id);
    }

    fn verify(
        &self,
        id: &str,
        message: &str,
        signature: &str,
        timestamp: &str,
        now_ms: u64,
    ) -> Result<Arc<ApiKey>, RpcError> {
        let known = self.known(id);
        let mut mac = hmac(
            known
                .as_ref()
                .map_or("", |key| key.client_secret.as_str())
                .as_bytes(),
        );
        mac.update(message.as_bytes());
        let given = unhex(signature).unwrap_or_default();
        let valid = mac.verify_slice(&given).is_ok();
        let Some(key) = known.filter(|_| valid) else {
            return Err(bad_credentials());
        };
        self.first_use(timestamp, &given, now_ms)?;
        Ok(key)
    }

    /// Refuses a signature whose time is outside the window, or that was used before.
    fn first_use(&self, timestamp: &str, signature: &[u8], now_ms: u64) -> Result<(), RpcError> {
        let stale = RpcError::unauthorized("the timestamp is too far from the server's time");
        let time: u64 = timestamp.parse().map_err(|_| stale.clone())?;
        if time.abs_diff(now_ms) > SIGNATURE_WINDOW_MS {
            return Err(stale);
        }
        let leaves_ms = time.saturating_add(SIGNATURE_WINDOW_MS);
        let entry = (leaves_ms, <[u8; 32]>::from(Sha256::digest(signature)));
        let mut tables = self.tables();
        tables.seen = tables.seen.split_off(&(now_ms, [0; 32]));
        if tables.seen.len() >= TABLE_MAX {
            return Err(RpcError::too_many("too many signed requests in the window"));
        }
        match tables.seen.insert(entry, ()) {
            None => Ok(()),
            Some(()) => Err(RpcError::unauthorized(
                "this signed request was used before",
            )),
        }
    }

    fn refresh(&self, token: &str, now_ms: u64) -> Result<Grant, RpcError> {
        let digest = <[u8; 32]>::from(Sha256::digest(token));
        let found = self.tables().tokens.remove(&digest);
        match found {
            Some(token) if token.refresh && token.expires_ms > now_ms => {
                self.issue(token.login, now_ms)
            }
            _ => Err(bad_credentials()),
        }
    }

    fn issue(&self, login: Login, now_ms: u64) -> Result<Grant, RpcError> {
        let random = || random_hex(32).map_err(|_| RpcError::new(11_094, "internal_server_error"));
        let (access_token, refresh_token) = (random()?, random()?);
        let mut tables = self.tables();
        if tables.tokens.len() + 2 > TABLE_MAX {
            tables.tokens.retain(|_, token| token.expires_ms > now_ms);
        }
        if tables.tokens.len() + 2 > TABLE_MAX {
            return Err(RpcError::too_many("too many live tokens"));
        }
        for (text, refresh, life) in [
            (&access_token, false, ACCESS_TOKEN_MS),
            (&refresh_token, true, REFRESH_TOKEN_MS),
        ] {
            let token = Token {
                login: login.clone(),
                refresh,
                expires_ms: now_ms.saturating_add(life),
            };
            tables.tokens.insert(Sha256::digest(text).into(), token);
        }
        Ok(Grant {
            login,
            access_token,
            refresh_token,
        })
    }
}

/// The key's scope, or less when the client asks for reading only.
fn narrowed(key: &ApiKey, asked: &str) -> Scope {
    let read_only = asked.contains("trade:read") && !asked.contains("trade:read_write");
    if read_only { Scope::Read } else { key.scope }
}

fn bad_credentials() -> RpcError {
    RpcError::new(13_004, "invalid_credentials")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::hex;
    use lifeboat_engine::types::AccountId;
    use serde_json::json;

    const NOW: u64 = 1_795_345_132_895;

    fn auth() -> (Auth, Arc<ApiKey>) {
        let mut keys = ApiKeys::default();
        let key = keys.create_from_seed(AccountId::new(1), Scope::Trade, b"test");
        (Auth::new(keys), key)
    }

    fn sign(secret: &str, message: &str) -> String {
        let mut mac = hmac(secret.as_bytes());
        mac.update(message.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    fn params(value: serde_json::Value) -> Params {
        Params::from_json(value).expect("an object")
    }

    #[test]
    fn credentials_and_refresh_grant_tokens() {
        let (auth, key) = auth();
        let ask = json!({"grant_type": "client_credentials", "client_id": key.client_id,
            "client_secret": key.client_secret});
        let grant = auth.grant(&params(ask), NOW).expect("granted");
        assert!(auth.bearer(&grant.access_token, NOW).is_ok());
        assert!(auth.bearer(&grant.refresh_token, NOW).is_err());
        assert!(
            auth.bearer(&grant.access_token, NOW + ACCESS_TOKEN_MS)
                .is_err()
        );
        let again = json!({"grant_type": "refresh_token", "refresh_token": grant.refresh_token});
        assert!(auth.grant(&params(again.clone()), NOW).is_ok());
        let twice = auth.grant(&params(again), NOW).expect_err("used");
        assert_eq!(twice.code, 13_004);
        auth.logout(&grant.login);
        assert!(auth.bearer(&grant.access_token, NOW).is_err());
    }

    #[test]
    fn wrong_secrets_and_unknown_clients_look_the_same() {
        let (auth, key) = auth();
        for (id, secret) in [
            (key.client_id.as_str(), "x"),
            ("nobody", "x"),
            ("nobody", ""),
        ] {
            let ask = json!({"grant_type": "client_credentials", "client_id": id,
                "client_secret": secret});
            let code = auth.grant(&params(ask), NOW).expect_err("refused").code;
            assert!(code == 13_004 || secret.is_empty());
        }
    }

    #[test]
    fn a_signed_grant_works_once_and_in_time() {
        let (auth, key) = auth();
        let ask = |time: u64| {
            let signature = sign(&key.client_secret, &format!("{time}\nabc\n"));
            params(
                json!({"grant_type": "client_signature", "client_id": key.client_id,
                "timestamp": time, "nonce": "abc", "data": "", "signature": signature}),
            )
        };
        assert!(auth.grant(&ask(NOW), NOW).is_ok());
        assert_eq!(
            auth.grant(&ask(NOW), NOW).expect_err("replayed").code,
            13_009
        );
        let late = NOW - SIGNATURE_WINDOW_MS - 1;
        assert_eq!(auth.grant(&ask(late), NOW).expect_err("late").code, 13_009);
    }

    #[test]
    fn signed_headers_bind_the_whole_request() {
        let (auth, key) = auth();
        let uri = "/api/v2/private/buy?amount=0.1";
        let message = format!("{NOW}\n7\nGET\n{uri}\n\n");
        let sig = sign(&key.client_secret, &message);
        let header = format!(
            "deri-hmac-sha256 id={},ts={NOW},sig={sig},nonce=7",
            key.client_id
        );
        let other = "/api/v2/private/buy?amount=9.9";
        assert_eq!(
            auth.header(&header, "GET", other, "", NOW)
                .expect_err("uri")
                .code,
            13_004
        );
        assert_eq!(
            auth.header(&header, "POST", uri, "", NOW)
                .expect_err("verb")
                .code,
            13_004
        );
        assert_eq!(
            auth.header(&header, "GET", uri, "x", NOW)
                .expect_err("body")
                .code,
            13_004
        );
        assert!(auth.header(&header, "GET", uri, "", NOW).is_ok());
        assert_eq!(
            auth.header(&header, "GET", uri, "", NOW)
                .expect_err("replay")
                .code,
            13_009
        );
        assert_eq!(
            auth.header("Basic x", "GET", uri, "", NOW)
                .expect_err("scheme")
                .code,
            13_009
        );
    }

    #[test]
    fn a_login_can_be_narrowed_to_reading() {
        let (auth, key) = auth();
        let ask = json!({"grant_type": "client_credentials", "client_id": key.client_id,
            "client_secret": key.client_secret, "scope": "account:read trade:read"});
        let grant = auth.grant(&params(ask), NOW).expect("granted");
        assert_eq!(
            grant.login.require_trade().expect_err("read only").code,
            13_021
        );
    }
}
