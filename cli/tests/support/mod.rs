//! A venue of the built program in a folder of its own, and plain requests to its gateway.

#![allow(dead_code)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The venue stops by itself after this long, should this process be killed.
const LIFETIME_S: &str = "300";

/// The program.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_lifeboat").into()
}

/// Waits until no other test that starts processes runs; they share two cores with each other badly.
/// Released when dropped.
pub fn alone() -> File {
    let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone"));
    let file = file.expect("the build folder takes a file");
    file.lock().expect("a file can be locked");
    file
}

/// Status and envelope of one call to a gateway.
pub fn post(gateway: SocketAddr, method: &str, params: Value, token: Option<&str>) -> (u16, Value) {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let bearer = token.map(|token| format!("authorization: bearer {token}\r\n"));
    let request = posted(&bearer.unwrap_or_default(), &call.to_string());
    let (status, body) = http(gateway, request.as_bytes());
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The result of a call to a gateway that must succeed.
#[track_caller]
pub fn ask(gateway: SocketAddr, method: &str, params: Value, token: Option<&str>) -> Value {
    let (status, answer) = post(gateway, method, params, token);
    assert_eq!(status, 200, "{method}: {answer}");
    answer["result"].clone()
}

/// A token that opens private methods to the holder of a key and its secret.
pub fn log_in(gateway: SocketAddr, id: &str, secret: &str) -> String {
    let grant =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let granted = ask(gateway, "public/auth", grant, None);
    granted["access_token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// A running venue.
pub struct Venue {
    child: Child,
    folder: TempDir,
    /// Its gateway.
    pub gateway: SocketAddr,
    /// Its validators' ports for native clients.
    pub clients: Vec<SocketAddr>,
    /// An API key that may trade, and its secret.
    pub key: (String, String),
}

impl Venue {
    /// Starts a venue and waits until it is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a venue with more options.
    pub fn start_with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(binary());
        command.args([
            "run",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--stop-after",
            LIFETIME_S,
        ]);
        command.arg("--data").arg(folder.path().join("venue"));
        command.args(options);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut ready = String::new();
        let output = child.stdout.take().expect("it was asked for");
        BufReader::new(output)
            .read_line(&mut ready)
            .expect("a line");
        let ready: Value = serde_json::from_str(&ready).unwrap_or_else(|error| {
            let _ = child.kill();
            panic!("the venue did not become ready ({error}); it said: {ready:?}")
        });
        let text = |name: &str| ready[name].as_str().expect("a text").to_owned();
        let address = |text: &str| text.parse().expect("an address");
        let clients = ready["clients"].as_array().expect("a list");
        Self {
            gateway: address(text("url").trim_start_matches("http://")),
            clients: clients
                .iter()
                .filter_map(Value::as_str)
                .map(address)
                .collect(),
            key: (text("client_id"), text("client_secret")),
            child,
            folder,
        }
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("venue")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kilobytes of memory that it holds.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the venue runs on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a number of kilobytes")
    }

    /// Asks it to stop, as an operator does, and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), Signal::TERM).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        false
    }

    /// Kills it without a word, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    /// The result of a public method.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        ask(self.gateway, method, params, None)
    }

    /// A token that opens private methods.
    pub fn log_in(&self) -> String {
        let (id, secret) = &self.key;
        log_in(self.gateway, id, secret)
    }

    /// Status and envelope of one call.
    pub fn post(&self, method: &str, params: Value, token: Option<&str>) -> (u16, Value) {
        post(self.gateway, method, params, token)
    }

    /// What the gateway says about itself.
    pub fn status(&self) -> Value {
        self.ask("lifeboat/status", json!({}))
    }

    /// Waits until the status shows what is wanted.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "waited too long: {what}: {status}"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A BTC option with a bid and an ask near its mark, and its best bid.
    pub fn quoted(&self) -> (String, f64) {
        let listed = self.ask(
            "public/get_instruments",
            json!({"currency": "USDC", "kind": "option"}),
        );
        for instrument in listed.as_array().expect("a list") {
            let name = instrument["instrument_name"].as_str().expect("a name");
            let book = self.ask("public/get_order_book", json!({"instrument_name": name}));
            let bid = book["bids"][0][0].as_f64().unwrap_or(0.0);
            if name.starts_with("BTC") && bid > 200.0 && book["asks"][0][0].is_f64() {
                return (name.to_owned(), bid);
            }
        }
        panic!("nothing is quoted");
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A POST to the API's root.
pub fn posted(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// One exchange: status and body; 0 when there was no answer.
pub fn http(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("the gateway listens");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    // The gateway may answer and close before it has read all.
    let _ = socket.write_all(request);
    let mut reply = Vec::new();
    let _ = socket.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply);
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}
