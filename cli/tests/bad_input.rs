//! Bad input to a running venue, through the gateway and on a validator's own port: a clear coded answer
//! each time, and nothing lost. The program was built to be poisoned: so is that.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lifeboat_drill::market::Participant;
use lifeboat_engine::command::{Action, CancelScope, OrderPrice, PlaceOrder, UserSignature};
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, InstrumentId, PostOnly, Price, Qty, RecoveryPolicy,
    SelfTradePrevention, Side, TimeInForce,
};
use lifeboat_engine::{Command, Reject};
use lifeboat_node::ingress::{BlockingClient, FRAME_BYTES_MAX, Reply, Request};
use lifeboat_node::outcome::Verdict;
use serde_json::{Value, json};
use support::{PATIENCE, Venue, alone, http, posted};

/// The first client's account: three makers and eight takers come before.
const CLIENT: AccountId = AccountId::new(12);

fn code(body: &str) -> Value {
    let answer: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    answer["error"]["code"].clone()
}

/// A call's text.
fn call(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

/// What each line of the table sends: headers, body, and how it is refused.
type Case = (&'static str, String, String, u16, i64);

fn gateway_cases(venue: &Venue, token: &str) -> Vec<Case> {
    let (name, bid) = venue.quoted();
    let bearer = format!("authorization: bearer {token}\r\n");
    let order = |change: Value| {
        let mut params = json!({"instrument_name": name, "amount": 0.1, "price": bid - 100.0});
        for (field, value) in change.as_object().into_iter().flatten() {
            params[field] = value.clone();
        }
        call("private/buy", &params)
    };
    let (id, time) = (&venue.key.0, wall_ms());
    let forged = format!(
        "authorization: deri-hmac-sha256 id={id},ts={time},sig={},nonce=1\r\n",
        "0".repeat(64)
    );
    let nobody = "authorization: bearer nobody\r\n".to_owned();
    let none = String::new;
    let deep = "[".repeat(30_000);
    vec![
        ("malformed JSON", none(), "{\"id\":".into(), 400, -32_700),
        ("deep JSON", none(), deep, 400, -32_700),
        ("no request", none(), "[1]".into(), 400, -32_600),
        (
            "no method",
            none(),
            call("public/nothing", &json!({})),
            400,
            -32_601,
        ),
        (
            "over-long message",
            none(),
            "x".repeat(70_000),
            400,
            -32_600,
        ),
        ("no login", none(), order(json!({})), 400, 13_009),
        ("wrong token", nobody, order(json!({})), 400, 13_009),
        ("wrong signature", forged, order(json!({})), 400, 13_004),
        (
            "off tick",
            bearer.clone(),
            order(json!({"price": bid - 100.5})),
            400,
            10_043,
        ),
        (
            "off lot",
            bearer.clone(),
            order(json!({"amount": 0.0001})),
            400,
            10_021,
        ),
        (
            "no number",
            bearer.clone(),
            order(json!({"amount": "many"})),
            400,
            -32_602,
        ),
        (
            "unknown instrument",
            bearer.clone(),
            order(json!({"instrument_name": "BTC_USDC-1JAN70-1-C"})),
            400,
            13_020,
        ),
        (
            "over-long label",
            bearer,
            order(json!({"label": "x".repeat(65)})),
            400,
            -32_602,
        ),
    ]
}

fn wall_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

fn place(instrument: InstrumentId, price: i64) -> Action {
    Action::PlaceOrder(PlaceOrder {
        instrument,
        side: Side::Buy,
        qty: Qty::new(10_000_000),
        price: OrderPrice::Limit(Price::new(price)),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::Off,
        reduce_only: false,
        self_trade: SelfTradePrevention::CancelTaker,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(0),
        label: Vec::new(),
    })
}

fn submit(client: &mut BlockingClient, command: Command) -> Reply {
    client.queue(&Request::Submit { id: 1, command });
    client.flush().expect("the line takes a request");
    client.receive().expect("an answer")
}

fn verdict(reply: Reply) -> Verdict {
    match reply {
        Reply::Outcome { outcome, .. } => outcome.verdict,
        other => panic!("no outcome: {other:?}"),
    }
}

/// Signed commands that are wrong, to a validator's own port.
fn check_ingress(venue: &Venue) {
    let status = venue.status();
    let chain = status["chain"].as_str().expect("a text");
    let chain = lifeboat_node::keys::from_hex(chain.trim_start_matches("0x"));
    let chain = ChainId(
        chain
            .and_then(|bytes| bytes.try_into().ok())
            .expect("32 bytes"),
    );
    let participant = || Participant::development(1, CLIENT, chain);
    let (mut ours, mut twin) = (participant(), participant());
    let address = venue.clients[0];
    let mut client = BlockingClient::connect(address, PATIENCE).expect("the validator listens");

    let cancel = || Action::CancelAll(CancelScope::Account);
    assert_eq!(
        verdict(submit(&mut client, ours.sign(cancel()))),
        Verdict::Applied
    );
    let stale = twin.sign(Action::CancelAll(CancelScope::Quotes));
    let first = InstrumentId::new(0);
    let mut forged = ours.sign(cancel());
    if let Command::User(user) = &mut forged
        && let UserSignature::Session { signature, .. } = &mut user.signature
    {
        signature[5] ^= 1;
    }
    let reply = submit(&mut client, forged);
    assert_eq!(
        reply,
        Reply::Refused {
            id: 1,
            reject: Reject::BadSignature
        }
    );
    for (what, command, reject) in [
        ("stale nonce", stale, Reject::StaleNonce),
        (
            "off tick",
            ours.sign(place(first, 1_000_500_000)),
            Reject::OffTick,
        ),
        (
            "unknown instrument",
            ours.sign(place(InstrumentId::new(999_999), 1_000_000_000)),
            Reject::UnknownInstrument,
        ),
    ] {
        assert_eq!(
            verdict(submit(&mut client, command)),
            Verdict::Rejected(reject),
            "{what}"
        );
    }
    // `Malformed`, and the line is closed.
    let too_long = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
    for bytes in [&too_long[..], &[5, 0, 0, 0, 99, 1, 2, 3, 4], &[0, 0, 0, 0]] {
        let mut raw = TcpStream::connect(address).expect("the validator listens");
        raw.set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        raw.write_all(bytes).expect("written");
        let mut said = Vec::new();
        raw.read_to_end(&mut said).expect("the validator closes");
        assert_eq!(said, [1, 0, 0, 0, 7], "{bytes:?}");
    }
    assert_eq!(
        verdict(submit(&mut client, ours.sign(cancel()))),
        Verdict::Applied
    );
}

/// An order that panics every engine: it is refused by its number, the venue says in which mode it is,
/// what is no trade goes on, and rules alone lead back to trading.
fn check_poison(venue: &Venue, token: &str) {
    let (name, bid) = venue.quoted();
    let params = |label: &str| json!({"instrument_name": name, "amount": 0.1, "price": bid - 100.0, "label": label});
    let (_, poisoned) = venue.post("private/buy", params("poison"), Some(token));
    assert_eq!(poisoned["error"]["code"], 11_031, "{poisoned}");
    let status = venue.status();
    assert_eq!(status["open"], false, "{status}");
    let (_, health) = http(
        venue.gateway,
        b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(
        health.starts_with("ok") && !health.contains("Open"),
        "{health}"
    );
    let (_, refused) = venue.post("private/buy", params("next"), Some(token));
    assert!(refused["error"]["code"].is_i64(), "{refused}");
    let (code, _) = venue.post("private/cancel_all", json!({}), Some(token));
    assert_eq!(code, 200);
    let status = venue.until("the venue reopens", |status| status["open"] == true);
    let validators = status["validators"].as_array().expect("a list");
    assert!(validators.len() == 4 && validators.iter().all(|one| one["connected"] == true));
    let (code, placed) = venue.post("private/buy", params("after"), Some(token));
    assert_eq!(code, 200, "{placed}");
}

#[test]
fn bad_input_is_refused_with_its_code_and_nothing_is_lost() {
    let _alone = alone();
    let mut venue = Venue::start();
    let token = venue.log_in();
    let (name, bid) = venue.quoted();
    let order = json!({"instrument_name": name, "amount": 0.1, "price": bid - 100.0,
        "label": "kept", "time_in_force": "good_til_cancelled"});
    let (status, kept) = venue.post("private/buy", order, Some(&token));
    assert_eq!(status, 200, "{kept}");
    let kept = kept["result"]["order"]["order_id"].clone();
    for (what, headers, body, status, expected) in gateway_cases(&venue, &token) {
        let (got, answer) = http(venue.gateway, posted(&headers, &body).as_bytes());
        assert_eq!(
            (got, code(&answer)),
            (status, json!(expected)),
            "{what}: {answer}"
        );
    }
    let (_, open) = venue.post("private/get_open_orders", json!({}), Some(&token));
    let open = open["result"].as_array().expect("a list").clone();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["order_id"], kept);
    check_ingress(&venue);
    check_poison(&venue, &token);

    // Every validator's log replays to the roots that were agreed, the quarantined order included.
    assert!(venue.stop(), "it did not end well");
    for index in 0..4 {
        let folder = venue.data().join(format!("node-{index}"));
        let verified = std::process::Command::new(support::binary())
            .args(["verify", "--json"])
            .arg(folder)
            .output()
            .expect("the program starts");
        assert!(
            verified.status.success(),
            "{}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
}
