//! Four validators as processes of their own, each with a gateway: all of them are killed, and behind the
//! outage the venue reopens through the auction, in which clients of different gateways sealed orders.

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{PATIENCE, alone, binary};

const VALIDATORS: u16 = 4;
/// Times life's pace: a minute without blocks is three seconds, the whole ladder half a minute.
const SPEED: u32 = 20;
/// Longer than the gap that halts a venue, at that pace.
const OUTAGE: Duration = Duration::from_secs(5);

/// A validator and its gateway.
struct Node {
    child: Child,
    gateway: SocketAddr,
}

impl Node {
    fn spawn(root: &Path, index: u16) -> Child {
        let config = root.join(format!("node-{index}")).join("node.toml");
        let mut command = Command::new(binary());
        command.args(["node", "--json", "--gateway", "127.0.0.1:0", "--config"]);
        command.arg(config).stdin(Stdio::null());
        command.stdout(Stdio::piped()).spawn().expect("it starts")
    }

    /// Reads where the gateway is, once the validator is ready.
    fn ready(mut child: Child) -> Self {
        let output = child.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("a validator that is ready");
        let url = ready["url"].as_str().expect("an address");
        let gateway = url.trim_start_matches("http://").parse();
        Self {
            child,
            gateway: gateway.expect("an address"),
        }
    }

    fn start_all(root: &Path) -> Vec<Self> {
        let children: Vec<Child> = (0..VALIDATORS).map(|n| Self::spawn(root, n)).collect();
        children.into_iter().map(Self::ready).collect()
    }

    #[track_caller]
    fn ask(&self, token: Option<&str>, method: &str, params: Value) -> Value {
        support::ask(self.gateway, method, params, token)
    }

    fn log_in(&self, key: &Value) -> String {
        let text = |name: &str| key[name].as_str().expect("it is in the file");
        support::log_in(self.gateway, text("client_id"), text("client_secret"))
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while !holds(self) {
            let status = self.ask(None, "lifeboat/status", json!({}));
            assert!(Instant::now() < deadline, "waited for {what}: {status}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn mode(&self) -> String {
        let status = self.ask(None, "lifeboat/status", json!({}));
        status["mode"].as_str().expect("a mode").to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first of eight free ports in a row.
fn ports() -> u16 {
    let free = |base: &u16| {
        (*base..base + 2 * VALIDATORS)
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    };
    let own = u16::try_from(std::process::id() % 500).unwrap_or(0) * 8;
    (11_000 + own..20_000).step_by(8).find(free).expect("ports")
}

fn init(root: &Path) -> Value {
    let made = Command::new(binary())
        .arg("init")
        .arg(root)
        .args([
            "--speed",
            &SPEED.to_string(),
            "--base-port",
            &ports().to_string(),
        ])
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("it starts").success());
    let keys = std::fs::read_to_string(root.join("api-keys.json")).expect("keys");
    serde_json::from_str::<Value>(&keys).expect("JSON")["keys"].clone()
}

fn sealed(instrument: &str, direction: &str, amount: f64, price: f64) -> Value {
    json!({"instrument_name": instrument, "direction": direction, "amount": amount, "price": price,
        "bond": 100_000})
}

#[test]
fn orders_sealed_at_two_gateways_meet_in_the_auction_behind_an_outage() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("venue");
    let keys = init(&root);
    let (alice, bob) = (&keys[0], &keys[1]);
    assert_ne!(alice["account"], bob["account"]);

    let nodes = Node::start_all(&root);
    let marked = |node: &Node| -> Option<(String, f64)> {
        let listed = node.ask(
            None,
            "public/get_instruments",
            json!({"currency": "USDC", "kind": "option"}),
        );
        let names = listed
            .as_array()?
            .iter()
            .filter_map(|one| one["instrument_name"].as_str());
        names
            .filter(|name| name.starts_with("BTC"))
            .find_map(|name| {
                let ticker = node.ask(None, "public/ticker", json!({"instrument_name": name}));
                let mark = ticker["mark_price"]
                    .as_f64()
                    .filter(|mark| *mark > 1_000.0)?;
                Some((name.to_owned(), mark))
            })
    };
    nodes[0].until("an option with a mark", |node| marked(node).is_some());
    let (instrument, _) = marked(&nodes[0]).expect("it was there");

    // Killed, all of them, for longer than trading may stand still unnoticed.
    drop(nodes);
    std::thread::park_timeout(OUTAGE);
    let nodes = Node::start_all(&root);
    nodes[1].until("the auction", |node| node.mode() == "Auction");
    let ticker = nodes[1].ask(
        None,
        "public/ticker",
        json!({"instrument_name": instrument}),
    );
    let price = ticker["mark_price"].as_f64().expect("a mark").round();
    let (at_one, at_two) = (nodes[1].log_in(alice), nodes[2].log_in(bob));
    let bid = nodes[1].ask(
        Some(&at_one),
        "private/seal_order",
        sealed(&instrument, "buy", 0.3, price),
    );
    let ask = nodes[2].ask(
        Some(&at_two),
        "private/seal_order",
        sealed(&instrument, "sell", 0.2, price),
    );
    assert_eq!(
        (&bid["state"], &ask["state"]),
        (&json!("sealed"), &json!("sealed"))
    );
    assert_eq!(bid["auction"], ask["auction"]);

    nodes[1].until("the end of the auction", |node| {
        let own = node.ask(Some(&at_one), "private/get_sealed_orders", json!({}));
        own[0]["state"] != "sealed"
    });
    let own = nodes[2].ask(Some(&at_two), "private/get_sealed_orders", json!({}));
    assert_eq!(own[0]["state"], "opened", "{own}");
    // A gateway that neither of them spoke to knows it as well.
    let token = nodes[3].log_in(alice);
    let of = json!({"instrument_name": instrument});
    nodes[3].until("the trade", |node| {
        let trades = node.ask(
            Some(&token),
            "private/get_user_trades_by_instrument",
            of.clone(),
        );
        trades["trades"][0].is_object()
    });
    let trades = nodes[3].ask(Some(&token), "private/get_user_trades_by_instrument", of);
    assert_eq!(trades["trades"][0]["amount"], 0.2, "{trades}");
    assert_eq!(trades["trades"][0]["price"], price, "{trades}");
    let position = json!({"instrument_name": instrument});
    let position = nodes[2].ask(Some(&at_two), "private/get_position", position);
    assert_eq!(position["size"], -0.2, "{position}");
    nodes[0].until("the market to open", |node| node.mode() == "Open");

    // The gateway that took the bid dies with its validator: what rests of it is cancelled at another.
    let mut nodes = nodes;
    drop(nodes.remove(1));
    let last = &nodes[2];
    let resting = last.ask(Some(&token), "private/get_open_orders", json!({}));
    assert_eq!(resting[0]["filled_amount"], 0.2, "{resting}");
    let id = json!({"order_id": resting[0]["order_id"]});
    let cancelled = last.ask(Some(&token), "private/cancel", id);
    assert_eq!(cancelled["order_state"], "cancelled", "{cancelled}");
}
