//! JSON-RPC 2.0 and plain GET over HTTP, for chains that are reached through somebody's node.
//!
//! **Owns** timeouts, the bound on an answer's size, and which failure is worth another try.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::layer::LayerError;

/// Time for one call. A Celestia node answers a submission when it is in a block.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);
/// Time to reach the node at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one answer: a Celestia block's blobs of a namespace, in base64, and room.
const ANSWER_BYTES_MAX: usize = 96 << 20;

/// A node behind an URL.
#[derive(Debug)]
pub(crate) struct Rpc {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    id: AtomicU64,
}

/// A call that did not give a result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The node said no.
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// In its words.
        message: String,
    },
    /// Anything else.
    Layer(LayerError),
}

impl From<CallError> for LayerError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Layer(error) => error,
            // "Limit exceeded", and "internal error", which nodes answer while they start.
            CallError::Refused { code, message } if matches!(code, -32005 | -32603) => {
                Self::Transient(format!("{message} (code {code})"))
            }
            CallError::Refused { code, message } => {
                Self::Permanent(format!("{message} (code {code})"))
            }
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

impl Rpc {
    /// A client of the node at `url`, with a bearer token if it wants one.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, LayerError> {
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| LayerError::Permanent(chain_of(&error)))?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            token,
            id: AtomicU64::new(1),
        })
    }

    /// Where the node is, without what a key in the path or the query would show.
    pub fn place(&self) -> String {
        let parsed = reqwest::Url::parse(&self.url).ok();
        parsed.map_or_else(|| "a node".into(), |url| url.origin().ascii_serialization())
    }

    /// Calls a method.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, CallError> {
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = self.http.post(&self.url);
        let request = request.header("content-type", "application/json");
        let (status, bytes) = self.send(request.body(body.to_string())).await?;
        let answer: Result<Answer, _> = serde_json::from_slice(&bytes);
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => return Err(refused_by(status, method)),
            Err(error) => return Err(malformed(method, &error)),
        };
        if let Some(Refusal { code, message }) = answer.error {
            let message = format!("{method}: {message}");
            return Err(CallError::Refused { code, message });
        }
        serde_json::from_value(answer.result).map_err(|error| malformed(method, &error))
    }

    /// Gets a JSON document; `None` if there is none at that path.
    #[cfg(feature = "blobs")]
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, LayerError> {
        let request = self.http.get(format!("{}{path}", self.url));
        let (status, bytes) = self.send(request).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(refused_by(status, path).into());
        }
        let document = serde_json::from_slice(&bytes);
        Ok(Some(document.map_err(|error| malformed(path, &error))?))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), CallError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let away = |error: reqwest::Error| {
            // Without the URL: it may hold a key.
            CallError::Layer(LayerError::Transient(chain_of(&error.without_url())))
        };
        let mut response = request.send().await.map_err(away)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let what = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
                return Err(CallError::Layer(LayerError::Corrupt(what)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status(), bytes))
    }
}

fn refused_by(status: StatusCode, what: &str) -> CallError {
    let message = format!("{what}: the node answered {status}");
    let busy = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        );
    CallError::Layer(if busy {
        LayerError::Transient(message)
    } else {
        LayerError::Permanent(message)
    })
}

fn malformed(what: &str, error: &serde_json::Error) -> CallError {
    let message = format!("{what}: the answer is not what it should be: {error}");
    CallError::Layer(LayerError::Corrupt(message))
}

/// An error with its causes, which alone say why.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut whole = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        whole = format!("{whole}: {error}");
        cause = error.source();
    }
    whole
}
