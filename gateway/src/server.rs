//! The listening socket: HTTP requests, upgrades to WebSocket, the pages for operators.
//!
//! **Owns** the bounds on sockets, heads, bodies, silence and answers that nobody reads. Every refusal is
//! a coded answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::error::RpcError;
use crate::gateway::{Gateway, now_ms};
use crate::limits::TokenBucket;
use crate::methods::{Answer, Call, dispatch};
use crate::params::Params;
use crate::patience::Patient;
use crate::{page, rpc, ws};

const API: &str = "/api/v2";
/// Connections over the limit that are being told so; more are closed without a word.
const TURNED_AWAY_MAX: usize = 256;
/// How long a client may take to hear that there is no room.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

type Reply = Response<Full<Bytes>>;

/// A running gateway.
#[derive(Debug)]
pub struct Running {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// Stops accepting, closes every connection and waits for the gateway's own tasks.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

impl Gateway {
    /// Binds the configured address and serves it until stopped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(self: Arc<Self>) -> std::io::Result<Running> {
        let listener = TcpListener::bind(self.config.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        // Heard of before the first request can submit anything: no outcome is missed.
        let blocks = self.attend();
        let follow = Arc::clone(&self).follow(blocks);
        let follow = tokio::spawn(stoppable(follow, stopping.clone()));
        let accept = tokio::spawn(accept(Arc::clone(&self), listener, stopping));
        Ok(Running {
            gateway: self,
            address,
            stop,
            tasks: vec![accept, follow],
        })
    }
}

/// Resolves when the gateway stops.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn stoppable(task: impl Future<Output = ()>, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        () = stopped(&mut stopping) => {}
    }
}

async fn accept(gateway: Arc<Gateway>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let leaving = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => return,
        };
        match socket {
            Ok((socket, _)) => {
                let open = gateway.metrics.connections.get();
                if open >= gateway.config.connections_max as u64 {
                    gateway.metrics.connections_refused_total.up();
                    turn_away(socket, &leaving);
                    continue;
                }
                gateway.metrics.connections.up();
                tokio::spawn(connection(Arc::clone(&gateway), socket, stopping.clone()));
            }
            Err(error) => {
                // Out of descriptors, or the peer left: wait a little rather than spin.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

/// Tells a client over the limit to come back. What it has sent is read and dropped: closing a socket
/// with unread bytes would take the answer with it. When too many are being told, it is just closed.
fn turn_away(mut socket: TcpStream, leaving: &Arc<Semaphore>) {
    let Ok(permit) = Arc::clone(leaving).try_acquire_owned() else {
        return;
    };
    tokio::spawn(async move {
        let body = rpc::error(
            &Value::Null,
            &RpcError::new(13_028, "temporarily_unavailable")
                .because("the gateway has as many connections as it may; try again later"),
            rpc::now_us(),
        );
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let farewell = async {
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(body.as_bytes()).await?;
            socket.shutdown().await?;
            let mut dropped = [0; 1_024];
            while socket.read(&mut dropped).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(TURN_AWAY_TIME, farewell).await;
        drop(permit);
    });
}

/// Counts a socket down when it is gone, whichever way.
pub struct Open(Arc<Gateway>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.down();
    }
}

async fn connection(gateway: Arc<Gateway>, socket: TcpStream, mut stopping: watch::Receiver<bool>) {
    let open = Arc::new(Open(Arc::clone(&gateway)));
    let _ = socket.set_nodelay(true);
    let socket = Patient::new(socket, gateway.config.write_timeout);
    let bucket = TokenBucket::new(gateway.config.connection_rate, Instant::now());
    let shared = Arc::new(Socket {
        gateway: Arc::clone(&gateway),
        bucket: Mutex::new(bucket),
        stopping: stopping.clone(),
        _open: open,
    });
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(serve(shared, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(gateway.config.head_timeout)
        .max_buf_size(gateway.config.message_bytes_max.max(8_192) + 16_384);
    let serving = builder
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = stopped(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended");
    }
}

/// What one socket's requests share.
pub struct Socket {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Set when the gateway stops.
    pub stopping: watch::Receiver<bool>,
    bucket: Mutex<TokenBucket>,
    _open: Arc<Open>,
}

impl Socket {
    /// Counts a request against the socket's rate.
    ///
    /// # Errors
    /// `too_many_requests`.
    pub fn admit(&self) -> Result<(), RpcError> {
        self.gateway.metrics.requests_total.up();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.take(Instant::now()) {
            return Ok(());
        }
        self.gateway.metrics.throttled_total.up();
        Err(RpcError::too_many(
            "the connection's request rate is exceeded",
        ))
    }
}

async fn serve(socket: Arc<Socket>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/ws/api/v2" | "/ws/api/v2/" => ws::upgrade(socket, request),
        "/" => text("text/html; charset=utf-8", page::html(&socket.gateway)),
        "/health" => text("text/plain", page::health(&socket.gateway)),
        "/ready" => page::ready(&socket.gateway),
        "/metrics" => text("text/plain; version=0.0.4", page::metrics(&socket.gateway)),
        _ => match path.strip_prefix(API) {
            Some(method) if method.is_empty() || method.starts_with('/') => {
                let method = method.trim_start_matches('/').to_owned();
                api(socket, request, method).await
            }
            _ => coded(
                StatusCode::NOT_FOUND,
                &RpcError::method(&path),
                rpc::now_us(),
            ),
        },
    }
}

/// Answers one HTTP request for a method.
async fn api(socket: Arc<Socket>, request: Request<Incoming>, method: String) -> Reply {
    let received_us = rpc::now_us();
    match api_call(&socket, request, method, received_us).await {
        Ok(call) => {
            let answer = dispatch(&call).await;
            match answer {
                Ok(Answer::Result(value)) => json(StatusCode::OK, rpc::result(&call, &value)),
                Ok(Answer::Sent) => coded(
                    StatusCode::BAD_REQUEST,
                    &RpcError::new(10_030, "must_be_websocket_request"),
                    received_us,
                ),
                Err(error) => failed(&socket.gateway, &call.id, &error, received_us),
            }
        }
        Err((id, error)) => failed(&socket.gateway, &id, &error, received_us),
    }
}

async fn api_call(
    socket: &Socket,
    request: Request<Incoming>,
    method: String,
    received_us: u64,
) -> Result<Call, (Value, RpcError)> {
    let bare = |error| (Value::Null, error);
    socket.admit().map_err(bare)?;
    let gateway = &socket.gateway;
    let verb = request.method().clone();
    let uri = request
        .uri()
        .path_and_query()
        .map_or("", |uri| uri.as_str())
        .to_owned();
    let header = request.headers().get(AUTHORIZATION).cloned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = body(gateway, request).await.map_err(bare)?;
    let login = match &header {
        None => None,
        Some(header) => {
            let header = header.to_str().map_err(|_| {
                bare(RpcError::unauthorized(
                    "the authorization header is not text",
                ))
            })?;
            let text = String::from_utf8_lossy(&body);
            let login = gateway
                .auth
                .header(header, verb.as_str(), &uri, &text, now_ms());
            Some(login.map_err(bare)?)
        }
    };
    let (id, method, params) = match verb {
        Method::GET => (
            Value::Null,
            method,
            Params::from_query(&query).map_err(bare)?,
        ),
        Method::POST if body.is_empty() => (
            Value::Null,
            method,
            Params::from_query(&query).map_err(bare)?,
        ),
        Method::POST => posted(&body, method)?,
        _ => return Err(bare(RpcError::request("use GET or POST"))),
    };
    Ok(Call {
        gateway: Arc::clone(gateway),
        connection: None,
        login,
        method,
        params,
        id,
        received_us,
    })
}

/// A posted request: its own method, or the path's when both are given and agree.
fn posted(body: &[u8], path: String) -> Result<(Value, String, Params), (Value, RpcError)> {
    let request = rpc::request(body)?;
    if !path.is_empty() && path != request.method {
        let error = RpcError::request("the path and the body name different methods");
        return Err((request.id, error));
    }
    Ok((request.id, request.method, request.params))
}

async fn body(gateway: &Gateway, request: Request<Incoming>) -> Result<Bytes, RpcError> {
    let most = gateway.config.message_bytes_max;
    let read = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(gateway.config.head_timeout, read).await {
        Err(_) => Err(RpcError::request("the body was not sent in time")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long(most)),
        Ok(Err(_)) => Err(RpcError::request("the body could not be read")),
    }
}

/// The error for a message over the bound.
pub fn too_long(most: usize) -> RpcError {
    RpcError::request(format!("a message may have at most {most} bytes"))
}

fn failed(gateway: &Gateway, id: &Value, error: &RpcError, received_us: u64) -> Reply {
    gateway.metrics.errors_total.up();
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    json(status, rpc::error(id, error, received_us))
}

/// An error as a reply.
pub fn coded(status: StatusCode, error: &RpcError, received_us: u64) -> Reply {
    json(status, rpc::error(&Value::Null, error, received_us))
}

fn json(status: StatusCode, text: tokio_tungstenite::tungstenite::Utf8Bytes) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    let value = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, value);
    reply
}

/// A page.
pub fn text(kind: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
