//! A small client on real sockets.

#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lifeboat_gateway::{ApiKey, Config, Gateway, Running, Venue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::venue::{Keys, Plan, TestVenue};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway over a test venue.
pub struct Stage {
    pub venue: Arc<TestVenue>,
    pub running: Running,
    pub keys: Keys,
    pub call: String,
}

pub fn config() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(config(), Plan::default()).await
    }

    pub async fn with(config: Config, plan: Plan) -> Self {
        let keys = Keys::new();
        let venue = TestVenue::new(&keys.keys, plan);
        venue.make_quotes(20, 100);
        venue.step(10);
        venue.spawn();
        let port: Arc<dyn Venue> = venue.clone();
        let running = Gateway::new(config, port, keys.keys.clone())
            .start()
            .await
            .unwrap();
        let id = venue.call();
        let call = venue.with(|engine| {
            let instrument = engine.instruments().get(id).unwrap();
            lifeboat_gateway::option_name("BTC", &instrument.terms)
        });
        Self {
            venue,
            running,
            keys,
            call,
        }
    }

    /// Waits until the gateway has heard every block: what it says and signs is as of its last one.
    pub async fn caught_up(&self) {
        let last = self.venue.with(|engine| engine.height());
        while self.running.gateway.state().memory.clock.height < last {
            tokio::task::yield_now().await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub async fn ws(&self) -> Ws {
        Ws::open(self.address()).await
    }

    /// A WebSocket logged in with a key.
    pub async fn login(&self, key: &ApiKey) -> Ws {
        let mut ws = self.ws().await;
        let grant = ws
            .ask(
                "public/auth",
                json!({"grant_type": "client_credentials",
                "client_id": key.client_id, "client_secret": key.client_secret}),
            )
            .await;
        assert_eq!(grant["token_type"], "bearer");
        ws
    }
}

/// A WebSocket client.
pub struct Ws {
    stream: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Notifications that came while an answer was waited for.
    pub heard: Vec<Value>,
}

impl Ws {
    pub async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/ws/api/v2");
        let (stream, _) = tokio_tungstenite::client_async(url, socket).await.unwrap();
        Self {
            stream,
            next_id: 0,
            heard: Vec::new(),
        }
    }

    pub async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).await.unwrap();
    }

    /// Sends bytes that are no whole frame.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// Sends a request without waiting; its id.
    pub async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_text(&request.to_string()).await;
        id
    }

    /// Sends a request, whether or not the line still takes it.
    pub async fn try_send(&mut self, method: &str, params: Value) {
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let _ = self.stream.send(Message::text(request.to_string())).await;
    }

    /// The next message; `None` when the line is closed.
    pub async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.stream.next().await? {
                    Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a message in time")
    }

    /// Reads to the end; the code and reason of the closing frame.
    pub async fn closed(&mut self) -> (u16, String) {
        let end = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => {
                        return (frame.code.into(), frame.reason.to_string());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return (0, String::new()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, end)
            .await
            .expect("closed in time")
    }

    /// The answer with this id.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await.expect("an open line");
            match message["id"].as_u64() {
                Some(other) if other == id => return message,
                Some(_) => {}
                None => self.heard.push(message),
            }
        }
    }

    /// A request's result.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let answer = self.answer(id).await;
        assert!(
            answer.get("error").is_none(),
            "{method}: {}",
            answer["error"]
        );
        answer["result"].clone()
    }

    /// A request's error.
    pub async fn refused(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let answer = self.answer(id).await;
        assert!(
            answer.get("result").is_none(),
            "{method}: {}",
            answer["result"]
        );
        answer["error"].clone()
    }

    /// The next notification of a channel: its sequence number and data.
    pub async fn notification(&mut self, channel: &str) -> (u64, Value) {
        loop {
            let at = self
                .heard
                .iter()
                .position(|m| m["params"]["channel"] == channel);
            if let Some(at) = at {
                let message = self.heard.remove(at);
                let params = &message["params"];
                return (params["seq"].as_u64().unwrap(), params["data"].clone());
            }
            let message = self.next().await.expect("an open line");
            self.heard.push(message);
        }
    }

    /// Drops the line without a closing handshake.
    pub fn drop_line(self) {
        drop(self.stream);
    }
}

/// One HTTP exchange: status and body.
pub async fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The gateway may answer and close before it has read all.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut reply = Vec::new();
        let _ = socket.read_to_end(&mut reply).await;
        String::from_utf8_lossy(&reply).into_owned()
    };
    let reply = tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("a reply in time");
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

/// A GET without credentials.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    http(address, &request).await
}

/// A GET signed as Deribit's clients do.
pub async fn signed_get(
    address: SocketAddr,
    key: &ApiKey,
    uri: &str,
    nonce: &str,
    timestamp: u64,
) -> (u16, Value) {
    let header = signed_header(key, "GET", uri, "", nonce, timestamp);
    let request = format!(
        "GET {uri} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {header}\r\n\r\n"
    );
    let (status, body) = http(address, &request).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// The signed authorization header of a request.
pub fn signed_header(
    key: &ApiKey,
    verb: &str,
    uri: &str,
    body: &str,
    nonce: &str,
    timestamp: u64,
) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.client_secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}\n{nonce}\n{verb}\n{uri}\n{body}\n").as_bytes());
    let digest = mac.finalize().into_bytes();
    let sig: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "deri-hmac-sha256 id={},ts={timestamp},sig={sig},nonce={nonce}",
        key.client_id
    )
}

pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}
