//! The embedded chain by the JSON-RPC that every wallet and `cast` speak, on loopback.
//!
//! **Owns** the socket and the envelope; `methods` has what is answered. Transactions are signed, as on
//! any chain. There are no state roots, so `eth_getProof` is refused: who asks here takes this process's
//! word, and whoever needs evidence settles on another chain. **Never** listens beyond loopback.

mod methods;

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::embedded::EmbeddedChain;
use methods::{Refusal, Served};

/// Bytes of a request: a contract's code and much more.
const BODY_MAX: usize = 1 << 20;
/// Requests of one batch.
const BATCH_MAX: usize = 256;

type Reply = Response<Full<Bytes>>;

/// A chain that is served until this is dropped.
#[derive(Debug)]
pub struct ServedChain {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl ServedChain {
    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ServedChain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a chain.
///
/// # Errors
/// When the address is not a loopback one, or taken.
pub async fn serve(chain: EmbeddedChain, address: SocketAddr) -> std::io::Result<ServedChain> {
    if !address.ip().is_loopback() {
        let what = "the embedded chain is served on loopback only: anybody may add blocks to it";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
    }
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let served = Served::new(chain);
    let task = tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            };
            let served = served.clone();
            let service = service_fn(move |request| answer(served.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that breaks off is no concern of others.
            tokio::spawn(connection.serve_connection(TokioIo::new(socket), service));
        }
    });
    Ok(ServedChain { address, task })
}

async fn answer(served: Served, request: Request<Incoming>) -> Result<Reply, Infallible> {
    // A page in a browser cannot send this type to another origin without asking first.
    let typed = request.headers().get(CONTENT_TYPE);
    let typed = typed.is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if request.method() != Method::POST || !typed {
        return Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "POST JSON-RPC 2.0 here\n",
        ));
    }
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let Ok(body) = body else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too long\n"));
    };
    let answer = match serde_json::from_slice::<Value>(&body.to_bytes()) {
        Ok(Value::Array(calls)) if calls.len() <= BATCH_MAX => {
            calls.iter().map(|call| one(&served, call)).collect()
        }
        Ok(call) => one(&served, &call),
        Err(_) => envelope(&Value::Null, Err(Refusal::new(-32_700, "not JSON"))),
    };
    let mut reply = Response::new(Full::from(answer.to_string()));
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    Ok(reply)
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = status;
    reply
}

fn one(served: &Served, call: &Value) -> Value {
    let empty = Vec::new();
    let params = call["params"].as_array().unwrap_or(&empty);
    let answer = match call["method"].as_str() {
        Some(method) => served.answer(method, params),
        None => Err(Refusal::new(-32_600, "no request")),
    };
    envelope(&call["id"], answer)
}

fn envelope(id: &Value, answer: Result<Value, Refusal>) -> Value {
    match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(refusal) => json!({ "jsonrpc": "2.0", "id": id, "error": refusal }),
    }
}
