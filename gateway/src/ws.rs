//! One WebSocket: requests in, answers and notifications out.
//!
//! Requests are started in the order they come and answered as they are done. All that goes out
//! passes one bounded queue, so that a subscription's answer precedes its notifications.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::connection::{Connection, after_disconnect};
use crate::error::RpcError;
use crate::gateway::Gateway;
use crate::methods::{Answer, Call, dispatch};
use crate::outbox::{Closing, Outgoing, outbox};
use crate::rpc;
use crate::server::{Socket, coded, stopped, too_long};

type Stream = WebSocketStream<TokioIo<Upgraded>>;
/// Bytes read at once.
const READ_BYTES: usize = 4 << 10;
/// How long a closing frame may take to be written.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Answers an upgrade request and serves the WebSocket that follows.
pub fn upgrade(socket: Arc<Socket>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
    let wants = request
        .headers()
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let Some(key) = key.filter(|_| wants) else {
        let error = RpcError::request("this address takes WebSocket upgrades only");
        return coded(StatusCode::BAD_REQUEST, &error, rpc::now_us());
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => serve(socket, upgraded).await,
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    reply
}

async fn serve(socket: Arc<Socket>, upgraded: Upgraded) {
    let gateway = Arc::clone(&socket.gateway);
    let most = gateway.config.message_bytes_max;
    let mut limits = WebSocketConfig::default();
    limits.max_message_size = Some(most);
    limits.max_frame_size = Some(most);
    // Allocated at once for every line, and grown where a message needs it.
    limits.read_buffer_size = READ_BYTES;
    let io = TokioIo::new(upgraded);
    let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    let (sink, stream) = stream.split();
    let (outbox, outgoing) = outbox(gateway.config.outbox_bytes_max);
    let id = gateway.connection_id();
    let connection = Arc::new(Connection::new(id, outbox));
    let writer = tokio::spawn(write(Arc::clone(&gateway), sink, outgoing));
    read(&socket, &connection, stream, writer).await;
    gateway.state().hub.leave(id);
    after_disconnect(gateway, connection).await;
}

/// Writes what is queued, and pings a silent line, until told to close.
async fn write(
    gateway: Arc<Gateway>,
    mut sink: SplitSink<Stream, Message>,
    mut outgoing: Outgoing,
) {
    let mut ping = tokio::time::interval(gateway.config.idle_timeout);
    ping.tick().await;
    let closing = outgoing.watch();
    let why = loop {
        let message = tokio::select! {
            biased;
            why = closing.asked() => break why,
            message = outgoing.next() => match message {
                Some(text) => Message::Text(text),
                None => break Closing::Finished,
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        tokio::select! {
            sent = sink.send(message) => if sent.is_err() { return },
            why = closing.asked() => break why,
        }
    };
    while let (Closing::Finished, Some(text)) = (why, outgoing.waiting()) {
        if sink.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
    if why == Closing::Slow {
        gateway.metrics.slow_consumers_total.up();
    }
    let code = match why {
        Closing::No | Closing::Finished => CloseCode::Normal,
        Closing::Slow => CloseCode::Policy,
        Closing::Gap => CloseCode::Restart,
        Closing::Shutdown => CloseCode::Away,
    };
    let reason = why.reason().into();
    let close = sink.send(Message::Close(Some(CloseFrame { code, reason })));
    let _ = tokio::time::timeout(CLOSE_WAIT, close).await;
}

/// Reads requests and runs them until the line is gone.
async fn read(
    socket: &Arc<Socket>,
    connection: &Arc<Connection>,
    mut stream: SplitStream<Stream>,
    mut writer: tokio::task::JoinHandle<()>,
) {
    let config = &socket.gateway.config;
    let mut stopping = socket.stopping.clone();
    let mut pulse = Pulse::new(config.idle_timeout, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1).min(config.idle_timeout / 4));
    let mut running = FuturesUnordered::new();
    let mut writing = true;
    loop {
        tokio::select! {
            message = stream.next(), if running.len() < config.requests_open_max => {
                pulse.heard_at = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        let answer = Box::pin(answer(socket.clone(), connection.clone(), text.as_bytes().to_vec()));
                        running.push(answer);
                        // Started at once, so that commands are submitted in the order of requests.
                        let _ = running.next().now_or_never();
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        running.push(Box::pin(answer(socket.clone(), connection.clone(), bytes.to_vec())));
                        let _ = running.next().now_or_never();
                    }
                    Some(Ok(Message::Close(_))) | None => break,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        refuse(connection, config.message_bytes_max, &error);
                        break;
                    }
                }
            }
            Some(()) = running.next(), if !running.is_empty() => {}
            _ = tick.tick() => if !pulse.beat(connection, Instant::now()) { break },
            _ = &mut writer => { writing = false; break }
            () = stopped(&mut stopping) => break connection.outbox().close(Closing::Shutdown),
        }
    }
    // Requests under way end by themselves: what they place must be known before it is cancelled.
    while running.next().await.is_some() {}
    if writing {
        // The writer sends what is queued, then the closing frame.
        socket.gateway.state().hub.leave(connection.id());
        let wait = CLOSE_WAIT;
        if tokio::time::timeout(wait, drain(connection, &mut writer))
            .await
            .is_err()
        {
            writer.abort();
        }
    }
}

/// Lets the writer empty the queue.
async fn drain(connection: &Connection, writer: &mut tokio::task::JoinHandle<()>) {
    connection.outbox().finish();
    let _ = writer.await;
}

/// Tells a client why its line is closed, when it broke a bound.
fn refuse(connection: &Connection, most: usize, error: &WsError) {
    let error = match error {
        WsError::Capacity(_) => too_long(most),
        WsError::Protocol(_) | WsError::Utf8(_) => RpcError::request(error.to_string()),
        _ => return,
    };
    let text = rpc::error(&Value::Null, &error, rpc::now_us());
    connection.outbox().push(text);
}

/// Watches for silence and gives heartbeats.
struct Pulse {
    idle: Duration,
    heard_at: Instant,
    beat_at: Instant,
}

impl Pulse {
    fn new(idle: Duration, now: Instant) -> Self {
        Self {
            idle,
            heard_at: now,
            beat_at: now,
        }
    }

    /// Looks at the clock; false when the line has been silent for too long.
    fn beat(&mut self, connection: &Connection, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.heard_at);
        if silent > self.idle * 2 + Duration::from_secs(1) {
            return false;
        }
        let Some(seconds) = connection.heartbeat() else {
            return true;
        };
        let every = Duration::from_secs(seconds);
        if silent > every * 2 {
            return false;
        }
        if now.saturating_duration_since(self.beat_at) >= every {
            self.beat_at = now;
            let kind = if silent >= every {
                "test_request"
            } else {
                "heartbeat"
            };
            let beat = json!({
                "jsonrpc": "2.0",
                "method": "heartbeat",
                "params": { "type": kind },
            });
            connection.outbox().push(beat.to_string().into());
        }
        true
    }
}

/// Runs one request and queues its answer.
async fn answer(socket: Arc<Socket>, connection: Arc<Connection>, text: Vec<u8>) {
    let received_us = rpc::now_us();
    let gateway = &socket.gateway;
    let failed = |id: &Value, error: &RpcError| {
        gateway.metrics.errors_total.up();
        connection.outbox().push(rpc::error(id, error, received_us));
    };
    let request = match rpc::request(&text) {
        Ok(request) => request,
        Err((id, error)) => return failed(&id, &error),
    };
    if let Err(error) = socket.admit() {
        return failed(&request.id, &error);
    }
    let login = match request.params.text("access_token") {
        Ok(Some(token)) => match gateway.auth.bearer(token, crate::gateway::now_ms()) {
            Ok(login) => Some(login),
            Err(error) => return failed(&request.id, &error),
        },
        _ => connection.login(),
    };
    let call = Call {
        gateway: Arc::clone(gateway),
        connection: Some(Arc::clone(&connection)),
        login,
        method: request.method,
        params: request.params,
        id: request.id,
        received_us,
    };
    match dispatch(&call).await {
        Ok(Answer::Result(value)) => connection.outbox().push(rpc::result(&call, &value)),
        Ok(Answer::Sent) => {}
        Err(error) => {
            connection.unsettled(&error);
            failed(&call.id, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heartbeats_come_and_silence_ends_the_line() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let (sender, mut outgoing) = outbox(10_000);
        let connection = Connection::new(1, sender);
        let mut pulse = Pulse::new(Duration::from_secs(60), start);
        assert!(pulse.beat(&connection, at(30)));
        assert!(outgoing.waiting().is_none());
        connection.set_heartbeat(Some(10));
        pulse.heard_at = at(35);
        assert!(pulse.beat(&connection, at(40)));
        assert!(
            outgoing
                .waiting()
                .is_some_and(|beat| beat.contains("\"heartbeat\"}"))
        );
        assert!(pulse.beat(&connection, at(45)));
        assert!(outgoing.waiting().is_none());
        assert!(pulse.beat(&connection, at(50)));
        assert!(
            outgoing
                .waiting()
                .is_some_and(|beat| beat.contains("test_request"))
        );
        assert!(!pulse.beat(&connection, at(56)));
        connection.set_heartbeat(None);
        assert!(pulse.beat(&connection, at(56)));
        assert!(!pulse.beat(&connection, at(200)));
    }
}
