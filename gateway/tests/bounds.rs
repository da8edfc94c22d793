//! Bad input and too much of it, on real sockets: a clear coded answer, and bounded memory.

#![allow(clippy::unwrap_used)]

mod client;
mod venue;

use std::time::Duration;

use client::{PATIENCE, Stage, config, get, http};
use lifeboat_gateway::{Config, Rate};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use venue::Plan;

fn error_code(body: &str) -> Value {
    let value: Value = serde_json::from_str(body).unwrap();
    value["error"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_request_is_answered_and_the_line_stays() {
    let stage = Stage::new().await;
    let mut ws = stage.ws().await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    for (text, code) in [
        ("", -32_700),
        ("hello", -32_700),
        ("{\"id\":1", -32_700),
        (deep.as_str(), -32_700),
        ("[]", -32_600),
        ("{\"id\":1,\"method\":7}", -32_600),
        (
            "{\"id\":1,\"method\":\"public/test\",\"params\":\"x\"}",
            -32_600,
        ),
        ("{\"id\":1,\"method\":\"public/nothing\"}", -32_601),
        ("{\"id\":1,\"method\":\"nothing\"}", -32_601),
        (
            "{\"id\":1,\"method\":\"public/ticker\",\"params\":{\"instrument_name\":[]}}",
            -32_602,
        ),
    ] {
        ws.send_text(text).await;
        let answer = ws.next().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{text:.60}");
    }
    assert!(ws.ask("public/test", json!({})).await["version"].is_string());
    let asked = json!({"expected_result": "exception"});
    assert_eq!(ws.refused("public/test", asked).await["code"], 11_031);
    stage.running.stop().await;
}

/// Requests cut, doubled and with bytes changed, from a fixed seed: every one is answered with one
/// JSON-RPC envelope, and the venue goes on.
#[tokio::test(flavor = "multi_thread")]
async fn mangled_requests_are_all_answered() {
    let stage = Stage::new().await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let good = json!({"jsonrpc": "2.0", "id": 5, "method": "private/buy", "params": {
        "instrument_name": stage.call, "amount": 0.1, "price": 5.0, "label": "é\u{1F6DF}",
        "valid_until": 1, "post_only": true}})
    .to_string();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..500 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        ws.send_bytes(bytes).await;
        let answer = ws.next().await.expect("an open line");
        assert_eq!(answer["jsonrpc"], "2.0");
        assert!(answer["error"]["code"].is_i64() || answer["result"].is_object());
    }
    assert!(ws.ask("public/test", json!({})).await["version"].is_string());
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_bound_is_refused_and_the_line_closed() {
    let stage = Stage::new().await;
    let mut ws = stage.ws().await;
    let long = format!("{{\"id\":1,\"method\":\"{}\"}}", "x".repeat(70_000));
    ws.send_text(&long).await;
    let answer = ws.next().await.unwrap();
    assert_eq!(answer["error"]["code"], -32_600);
    assert!(
        answer["error"]["data"]["reason"]
            .as_str()
            .unwrap()
            .contains("65536")
    );
    assert_eq!(ws.next().await, None);

    let body = "x".repeat(70_000);
    let request = format!(
        "POST /api/v2/public/test HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, reply) = http(stage.address(), &request).await;
    assert_eq!(status, 400);
    assert_eq!(error_code(&reply), -32_600);
    let endless = format!(
        "GET /api/v2/public/test?{} HTTP/1.1\r\n\r\n",
        "a".repeat(200_000)
    );
    let (status, _) = http(stage.address(), &endless).await;
    assert!(matches!(status, 414 | 431), "{status}");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_have_codes_and_statuses() {
    let stage = Stage::new().await;
    let address = stage.address();
    for (path, status, code) in [
        ("/api/v2/public/get_time", 200, Value::Null),
        ("/api/v2/public/nothing", 400, json!(-32_601)),
        ("/api/v2/private/get_positions", 400, json!(13_009)),
        ("/api/v2/public/ticker", 400, json!(-32_602)),
        (
            "/api/v2/public/ticker?instrument_name=%zz",
            400,
            json!(-32_602),
        ),
        (
            "/api/v2/public/subscribe?channels=quote.x",
            400,
            json!(10_030),
        ),
        ("/nothing", 404, json!(-32_601)),
        ("/ws/api/v2", 400, json!(-32_600)),
    ] {
        let (got, body) = get(address, path).await;
        assert_eq!((got, error_code(&body)), (status, code), "{path}");
    }
    let (status, _) = http(
        address,
        "DELETE /api/v2/public/test HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status, 400);
    for page in ["/", "/health", "/ready", "/metrics"] {
        assert_eq!(get(address, page).await.0, 200, "{page}");
    }
    let (_, page) = get(address, "/").await;
    assert!(page.contains("Open") && page.contains("btc_usdc") && page.contains("http-equiv"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_refused_by_line_and_by_account() {
    let slow = Rate {
        per_second: 0.001,
        burst: 5.0,
    };
    let config = Config {
        connection_rate: slow,
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let mut ws = stage.ws().await;
    for _ in 0..5 {
        ws.ask("public/test", json!({})).await;
    }
    assert_eq!(ws.refused("public/test", json!({})).await["code"], 10_028);
    let mut other = stage.ws().await;
    other.ask("public/test", json!({})).await;
    stage.running.stop().await;

    let config = Config {
        account_rate: slow,
        ..client::config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let mut first = stage.login(&stage.keys.alice).await;
    let mut second = stage.login(&stage.keys.alice).await;
    for _ in 0..3 {
        first.ask("private/get_positions", json!({})).await;
    }
    for _ in 0..2 {
        second.ask("private/get_positions", json!({})).await;
    }
    assert_eq!(
        first.refused("private/get_positions", json!({})).await["code"],
        10_028
    );
    let mut bob = stage.login(&stage.keys.bob).await;
    bob.ask("private/get_positions", json!({})).await;
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_over_the_limit_is_told_to_come_back() {
    let config = Config {
        connections_max: 3,
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut ws = stage.ws().await;
        ws.ask("public/test", json!({})).await;
        open.push(ws);
    }
    let (status, body) = get(stage.address(), "/health").await;
    assert_eq!(status, 503);
    assert_eq!(error_code(&body), 13_028);
    open[0].ask("public/test", json!({})).await;
    open.pop().unwrap().drop_line();
    // Room is made once the gateway has seen the line go.
    let room = async { while get(stage.address(), "/health").await.0 != 200 {} };
    tokio::time::timeout(PATIENCE, room)
        .await
        .expect("room in time");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_are_closed() {
    let config = Config {
        head_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    // Half a request, then nothing.
    let mut half = TcpStream::connect(stage.address()).await.unwrap();
    half.write_all(b"GET /api/v2/public/test HT").await.unwrap();
    let mut rest = Vec::new();
    let read = half.read_to_end(&mut rest);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("closed in time");
    // A body that never comes.
    let stalled = "POST /api/v2/public/test HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
    let (status, body) = http(stage.address(), stalled).await;
    assert_eq!((status, error_code(&body)), (400, json!(-32_600)));
    // A WebSocket that was upgraded by hand and never answers a ping.
    let mut mute = TcpStream::connect(stage.address()).await.unwrap();
    mute.write_all(
        b"GET /ws/api/v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await
    .unwrap();
    let mut rest = Vec::new();
    let read = mute.read_to_end(&mut rest);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("closed in time");
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 101"));
    // Half a frame on an upgraded line, then nothing: its time runs as if it had sent none.
    let mut half = stage.ws().await;
    half.ask("public/test", json!({})).await;
    half.send_raw(b"\x81\xfe\xff").await;
    assert_eq!(half.closed().await.0, 1_000);
    stage.running.stop().await;
}

/// Requests one after another whose answers nobody reads: the gateway stops reading, then gives the
/// line up.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_whose_answers_nobody_reads_is_closed() {
    let config = Config {
        write_timeout: Duration::from_millis(300),
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let mut line = TcpStream::connect(stage.address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let flood = async { while line.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("closed in time");
    assert_eq!(get(stage.address(), "/health").await.0, 200);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_closes_every_line() {
    let stage = Stage::new().await;
    let mut ws = stage.ws().await;
    ws.ask("public/test", json!({})).await;
    let address = stage.address();
    stage.running.stop().await;
    let (code, _) = ws.closed().await;
    assert!(matches!(code, 0 | 1_001), "{code}");
    assert!(TcpStream::connect(address).await.is_err());
}
