//! What an account is told after an outage: every order's fate, fills, money, and proofs of it all.

#![allow(clippy::unwrap_used)]

mod client;
mod venue;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use client::{Stage, Ws, config};
use lifeboat_engine::types::{AccountId, Digest, Mode, OrderId};
use lifeboat_gateway::{ApiKey, Gateway, Running, Venue};
use lifeboat_proof::{ProofError, StateProof};
use serde_json::{Value, json};
use venue::{ALICE, Plan, TestVenue};

const CHANNEL: &str = "user.restatement";

/// Alice's orders by label: two that trade before the outage and five that rest.
struct Book {
    ids: BTreeMap<&'static str, Value>,
    /// Where most of them rest.
    price: f64,
}

impl Book {
    async fn place(stage: &Stage, ws: &mut Ws) -> Self {
        let book = ws
            .ask(
                "public/get_order_book",
                json!({"instrument_name": stage.call}),
            )
            .await;
        let (bid, ask) = (best(&book, "bids"), best(&book, "asks"));
        let now = stage.venue.with(|engine| engine.time().get());
        let rests = [
            ("kept", json!({"amount": 0.3, "recovery": "keep"})),
            ("dropped", json!({"amount": 0.3, "recovery": "cancel"})),
            (
                "late",
                json!({"amount": 0.3, "time_in_force": "good_til_date", "good_til": now + 30_000}),
            ),
            ("pulled", json!({"amount": 0.3})),
            ("shrunk", json!({"amount": 0.4})),
            // Takes what is offered and leaves the rest of itself in the book.
            ("partly", json!({"amount": 1.5, "price": ask})),
        ];
        let market = json!({"instrument_name": stage.call, "amount": 0.2, "type": "market"});
        ws.ask("private/buy", market).await;
        let mut ids = BTreeMap::new();
        for (label, mut order) in rests {
            order["instrument_name"] = json!(stage.call);
            order["label"] = label.into();
            if order.get("price").is_none() {
                order["price"] = json!(bid - 10.0);
            }
            let placed = ws.ask("private/buy", order).await;
            ids.insert(label, placed["order"]["order_id"].clone());
        }
        let price = bid - 10.0;
        Self { ids, price }
    }
}

fn best(book: &Value, side: &str) -> f64 {
    book[side][0][0].as_f64().unwrap()
}

/// Each order's fate by its label: outcome, reason, what was left before and what is left.
fn fates(statement: &Value) -> BTreeMap<String, (String, String, f64, Option<f64>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let orders = statement["orders"].as_array().unwrap().iter();
    orders
        .map(|order| {
            let fate = (
                text(&order["outcome"]),
                text(&order["why"]),
                order["remaining_before"].as_f64().unwrap(),
                order["remaining_amount"].as_f64(),
            );
            (text(&order["label"]), fate)
        })
        .collect()
}

fn fate(outcome: &str, why: &str, before: f64, left: f64) -> (String, String, f64, Option<f64>) {
    (outcome.into(), why.into(), before, Some(left))
}

fn events(fills: &Value) -> Vec<u64> {
    let fills = fills.as_array().unwrap().iter();
    fills.map(|fill| fill["event"].as_u64().unwrap()).collect()
}

async fn restatement(ws: &mut Ws, params: Value) -> Value {
    ws.ask("private/get_restatement", params).await
}

/// Another gateway on the same venue, which knows what it reads there and no more.
async fn another_gateway(stage: &Stage) -> Running {
    let port: Arc<dyn Venue> = stage.venue.clone();
    Gateway::new(config(), port, stage.keys.keys.clone())
        .start()
        .await
        .unwrap()
}

async fn login(address: SocketAddr, key: &ApiKey) -> Ws {
    let mut ws = Ws::open(address).await;
    ws.ask(
        "public/auth",
        json!({"grant_type": "client_credentials",
            "client_id": key.client_id, "client_secret": key.client_secret}),
    )
    .await;
    ws
}

async fn listen(ws: &mut Ws) {
    let accepted = ws
        .ask("private/subscribe", json!({"channels": [CHANNEL]}))
        .await;
    assert_eq!(accepted, json!([CHANNEL]));
}

/// That nothing was said on the channel up to now.
async fn silence(ws: &mut Ws) {
    ws.ask("public/test", json!({})).await;
    assert!(
        ws.heard.iter().all(|m| m["params"]["channel"] != CHANNEL),
        "{:?}",
        ws.heard
    );
}

/// Waits until the gateway has heard of the venue's mode: what it signs before may be too old by then.
async fn follow(ws: &mut Ws, venue: &TestVenue) {
    let since = venue.with(|engine| engine.mode().since.get());
    for _ in 0..100_000 {
        let status = ws.ask("lifeboat/status", json!({})).await;
        if status["mode_since"] == since {
            return;
        }
    }
    panic!("the gateway does not follow");
}

fn height(venue: &TestVenue) -> u64 {
    venue.with(|engine| engine.height().get())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_has_its_fate_and_is_told_once() {
    let stage = Stage::new().await;
    let venue = &stage.venue;
    let mut ws = stage.login(&stage.keys.alice).await;
    listen(&mut ws).await;
    let book = Book::place(&stage, &mut ws).await;
    venue.step(61_000);
    stage.caught_up().await;
    let halted_at = height(venue);
    assert_eq!(venue.with(|engine| engine.mode().mode), Mode::Halted);
    follow(&mut ws, venue).await;
    ws.ask("private/cancel", json!({"order_id": book.ids["pulled"]}))
        .await;
    let less = json!({"order_id": book.ids["shrunk"], "amount": 0.1});
    ws.ask("private/edit", less).await;
    silence(&mut ws).await;
    let during = restatement(&mut ws, json!({})).await;
    assert_eq!(
        (&during["id"], &during["orders"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(during["ongoing"]["left"]["height"], halted_at);

    venue.climb(Mode::CancelOnly);
    let (seq, told) = ws.notification(CHANNEL).await;
    assert_eq!(seq, 1);
    let expected: BTreeMap<String, _> = [
        ("kept", fate("kept", "recovery", 0.3, 0.3)),
        ("dropped", fate("cancelled", "recovery", 0.3, 0.3)),
        ("late", fate("cancelled", "expired", 0.3, 0.3)),
        ("pulled", fate("cancelled", "user_request", 0.3, 0.3)),
        ("shrunk", fate("kept", "recovery", 0.4, 0.1)),
        ("partly", fate("kept", "recovery", 0.7, 0.7)),
    ]
    .map(|(label, fate)| (label.to_owned(), fate))
    .into();
    assert_eq!(fates(&told), expected);
    assert_eq!(told["orders_complete"], true);
    assert_eq!(told["unknown"], json!([]));
    let outage = &told["outage"];
    assert_eq!(outage["left"]["from"], "Open");
    assert_eq!(outage["left"]["to"], "Halted");
    let gap = json!({"kind": "block_gap", "gap_ms": 61_000});
    assert_eq!(outage["left"]["reason"], gap);
    assert_eq!(outage["left"]["height"], halted_at);
    assert_eq!(outage["returned"]["from"], "Verify");
    assert_eq!(outage["returned"]["to"], "CancelOnly");
    assert_eq!(outage["returned"]["event"], told["id"]);
    assert_eq!(outage["returned"]["height"], height(venue));
    assert_eq!(outage["as_of"]["height"], height(venue));
    let root = venue.with(|engine| engine.state_root().to_string());
    assert_eq!(outage["as_of"]["state_root"], root);
    assert_eq!(told["account"]["state_root"], root);
    let cash = venue.with(|engine| engine.account(ALICE).unwrap().cash.get());
    assert_eq!(told["account"]["cash"], cash as f64 * 1e-6);
    assert_eq!(told["account"]["positions"][0]["size"], 1.0);
    assert_eq!(told["account"]["positions"][1], Value::Null);
    let filled = events(&told["fills"]);
    assert_eq!(filled.len(), 2);
    assert!(filled[0] < filled[1]);
    assert_eq!(told["fills_complete"], true);

    // Asking says the same, and filters by what was seen already.
    let asked = restatement(&mut ws, json!({})).await;
    assert_eq!(asked, told);
    let later = restatement(&mut ws, json!({"since": filled[0]})).await;
    assert_eq!(events(&later["fills"]), &filled[1..]);
    assert_eq!(later["fills_complete"], true);
    let trade = told["fills"][0]["trade_id"].clone();
    let later = restatement(&mut ws, json!({"since_trade": trade})).await;
    assert_eq!(events(&later["fills"]), &filled[1..]);
    let none = restatement(&mut ws, json!({"since": filled[1]})).await;
    assert_eq!(none["fills"], json!([]));
    let one = restatement(&mut ws, json!({"since": filled[0] - 1, "count": 1})).await;
    assert_eq!(events(&one["fills"]), &filled[..1]);
    assert_eq!(
        (&one["fills_more"], &one["orders_total"]),
        (&json!(true), &json!(6))
    );
    assert_eq!(one["fills_through_event"], filled[0]);
    let wrong = ws
        .refused("private/get_restatement", json!({"id": 1}))
        .await;
    assert_eq!(wrong["code"], -32_602);

    told_once(&stage, ws, told["id"].as_u64().unwrap()).await;
    stage.running.stop().await;
}

/// A restatement is told once to a connection and at once to a new one; the next names the last.
async fn told_once(stage: &Stage, mut ws: Ws, id: u64) {
    let venue = &stage.venue;
    ws.ask("private/unsubscribe", json!({"channels": [CHANNEL]}))
        .await;
    listen(&mut ws).await;
    silence(&mut ws).await;
    let mut other = stage.login(&stage.keys.alice).await;
    listen(&mut other).await;
    let (_, again) = other.notification(CHANNEL).await;
    assert_eq!(again["id"], id);
    let mut bob = stage.login(&stage.keys.bob).await;
    listen(&mut bob).await;
    let (_, his) = bob.notification(CHANNEL).await;
    assert_eq!((&his["id"], &his["orders"]), (&json!(id), &json!([])));

    venue.climb(Mode::PostOnly);
    venue.step(61_000);
    venue.climb(Mode::CancelOnly);
    let (_, second) = ws.notification(CHANNEL).await;
    assert_eq!(second["previous"], id);
    assert_eq!(second["outage"]["left"]["from"], "PostOnly");
    let kept = fates(&second).into_iter().map(|(label, fate)| {
        assert_eq!(fate.0, "kept");
        label
    });
    assert_eq!(kept.collect::<Vec<_>>(), ["kept", "partly", "shrunk"]);
    let first = restatement(&mut ws, json!({"id": id})).await;
    assert_eq!(first["orders_total"], 6);
    // A listener that comes long after is told nothing; whoever asks is told.
    venue.climb(Mode::Open);
    for _ in 0..75 {
        venue.step(50_000);
    }
    stage.caught_up().await;
    let mut late = stage.login(&stage.keys.alice).await;
    listen(&mut late).await;
    silence(&mut late).await;
    assert_eq!(restatement(&mut late, json!({})).await["previous"], id);
}

/// The bytes of a hex text.
fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().strip_prefix("0x").unwrap();
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

fn id_of(order: &Value) -> OrderId {
    let text = order["order_id"].as_str().unwrap();
    OrderId::new(text.parse().unwrap())
}

/// Verifies the account and each order in an answer with proofs.
fn verify(root: &Digest, proofs: &Value) -> Result<usize, ProofError> {
    let account = &proofs["account"];
    let parts = account["parts"].as_array().unwrap().iter();
    let parts: Vec<Vec<u8>> = parts.map(bytes).collect();
    let proof = StateProof::decode(&bytes(&account["proof"]))?;
    proof.verify_account(root, ALICE, &bytes(&account["leaf"]), &parts)?;
    let orders = proofs["orders"].as_array().unwrap();
    let resting = orders.iter().filter(|order| !order["proof"].is_null());
    let mut verified = 0;
    for order in resting {
        let proof = StateProof::decode(&bytes(&order["proof"]))?;
        proof.verify_order(root, id_of(order), &bytes(&order["leaf"]))?;
        verified += 1;
    }
    Ok(verified)
}

/// The same hex with its last digit changed.
fn altered(text: &Value) -> Value {
    let mut text = text.as_str().unwrap().to_owned();
    let last = text.pop().unwrap();
    text.push(if last == '0' { '1' } else { '0' });
    text.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restated_can_be_proved_and_nothing_else_can() {
    let stage = Stage::new().await;
    let venue = &stage.venue;
    let mut ws = stage.login(&stage.keys.alice).await;
    let book = Book::place(&stage, &mut ws).await;
    venue.step(61_000);
    listen(&mut ws).await;
    venue.climb(Mode::CancelOnly);
    ws.notification(CHANNEL).await;
    let told = restatement(&mut ws, json!({"proofs": true})).await;
    let proofs = &told["proofs"];
    let (root, at) = venue.with(|engine| (engine.state_root(), engine.height().get()));
    assert_eq!(proofs["state_root"], root.to_string());
    assert_eq!(proofs["height"], at);
    assert_eq!(proofs["orders"].as_array().unwrap().len(), 4);
    assert_eq!(verify(&root, proofs), Ok(4));

    for path in [
        "/account/leaf",
        "/account/parts/0",
        "/account/proof",
        "/orders/2/leaf",
        "/orders/3/proof",
    ] {
        let mut forged = proofs.clone();
        let part = forged.pointer_mut(path).unwrap();
        *part = altered(part);
        assert!(verify(&root, &forged).is_err(), "{path}");
    }
    assert_eq!(
        verify(&Digest([7; 32]), proofs),
        Err(ProofError::OtherState)
    );
    // One order's leaf does not pass for another's, nor one account's for another's.
    let mut swapped = proofs.clone();
    swapped["orders"][0]["order_id"] = proofs["orders"][1]["order_id"].clone();
    assert_eq!(verify(&root, &swapped), Err(ProofError::NotIncluded));
    let account = StateProof::decode(&bytes(&proofs["account"]["proof"])).unwrap();
    let head = bytes(&proofs["account"]["leaf"]);
    let other = account.verify_account(&root, AccountId::new(3), &head, &[[0u8; 0]; 0]);
    assert!(other.is_err());

    // Pages: every kept order once, each page against one root of its own.
    let mut seen = 0;
    let mut after = json!("0");
    while !after.is_null() {
        let asked = json!({"proofs": true, "count": 2, "after": after});
        let page = restatement(&mut ws, asked).await;
        assert!(page["orders"].as_array().unwrap().len() <= 2);
        seen += verify(&root, &page["proofs"]).unwrap();
        after = page["orders_next"].clone();
    }
    assert_eq!(seen, 4);
    let many = ws
        .refused(
            "private/get_restatement",
            json!({"proofs": true, "count": 101}),
        )
        .await;
    assert_eq!(many["code"], -32_602);

    // An order that has gone since stays in the statement and has no proof.
    ws.ask("private/cancel", json!({"order_id": book.ids["kept"]}))
        .await;
    let later = restatement(&mut ws, json!({"proofs": true})).await;
    assert_eq!(fates(&later)["kept"].0, "kept");
    let orders = later["proofs"]["orders"].as_array().unwrap();
    let gone = orders.iter().find(|o| o["order_id"] == book.ids["kept"]);
    assert_eq!(gone.unwrap()["proof"], Value::Null);
    let root = venue.with(|engine| engine.state_root());
    assert_eq!(verify(&root, &later["proofs"]), Ok(3));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_in_an_outage_says_what_it_does_not_know() {
    let stage = Stage::new().await;
    let venue = &stage.venue;
    let alice = &stage.keys.alice;
    let mut ws = stage.login(alice).await;
    let book = Book::place(&stage, &mut ws).await;
    let fills = venue.with(|engine| engine.events_emitted());
    venue.step(61_000);
    let halted_at = height(venue);

    // Started while the venue was halted: the order that expired before is not known.
    let midway = another_gateway(&stage).await;
    let mut first = login(midway.address, alice).await;
    listen(&mut first).await;
    venue.climb(Mode::CancelOnly);
    let (_, told) = first.notification(CHANNEL).await;
    let fate_of = fates(&told);
    let labels: Vec<&str> = fate_of.keys().map(String::as_str).collect();
    assert_eq!(labels, ["dropped", "kept", "partly", "pulled", "shrunk"]);
    assert_eq!(fate_of["dropped"].0, "cancelled");
    assert_eq!(fate_of["pulled"].0, "kept");
    assert_eq!(told["orders_complete"], false);
    assert_eq!(told["outage"]["left"], Value::Null);
    assert_eq!(told["outage"]["halted_at_height"], halted_at);
    assert_eq!(told["outage"]["returned"]["to"], "CancelOnly");
    assert_eq!(told["unknown"].as_array().unwrap().len(), 1);
    let asked = restatement(&mut first, json!({"since": 0})).await;
    assert_eq!(asked["fills_complete"], false);
    assert_eq!(asked["unknown"].as_array().unwrap().len(), 2);

    // Started when it had left VERIFY: what rests was kept, what was cancelled is not known.
    let after = another_gateway(&stage).await;
    let mut second = login(after.address, alice).await;
    listen(&mut second).await;
    let (_, told) = second.notification(CHANNEL).await;
    let fates_then = fates(&told);
    assert_eq!(fates_then.len(), 4);
    assert!(fates_then.values().all(|fate| fate.0 == "kept"));
    assert_eq!(told["outage"]["returned"], Value::Null);
    assert_eq!(told["unknown"].as_array().unwrap().len(), 2);
    let seen = told["fills_since"]["event"].as_u64().unwrap();
    assert!(seen > fills && told["fills"] == json!([]));

    // Started when orders are taken again: a new one was not kept, for it was not there.
    venue.climb(Mode::PostOnly);
    follow(&mut ws, venue).await;
    let order = json!({"instrument_name": stage.call, "amount": 0.1, "price": book.price, "label": "new",
        "post_only": true});
    ws.ask("private/buy", order).await;
    let reopening = another_gateway(&stage).await;
    let mut third = login(reopening.address, alice).await;
    let told = restatement(&mut third, json!({})).await;
    assert_eq!(
        fates(&told).keys().collect::<Vec<_>>(),
        fates_then.keys().collect::<Vec<_>>()
    );

    // Started when all is over: there is nothing to restate.
    venue.climb(Mode::Open);
    let open = another_gateway(&stage).await;
    let mut last = login(open.address, alice).await;
    listen(&mut last).await;
    silence(&mut last).await;
    let told = restatement(&mut last, json!({})).await;
    assert_eq!((&told["id"], &told["outage"]), (&Value::Null, &Value::Null));
    assert_eq!(told["account"]["positions"][0]["size"], 1.0);
    for running in [midway, after, reopening, open, stage.running] {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_blocks_leave_no_guess() {
    let plan = Plan {
        broadcast: 1,
        ..Plan::default()
    };
    let stage = Stage::with(config(), plan).await;
    let venue = &stage.venue;
    let mut ws = stage.login(&stage.keys.alice).await;
    listen(&mut ws).await;
    Book::place(&stage, &mut ws).await;
    // While the gateway cannot take a block in, the whole outage passes.
    {
        let _held = stage.running.gateway.state();
        venue.step(10);
        venue.step(61_000);
        venue.climb(Mode::CancelOnly);
    }
    let (code, reason) = ws.closed().await;
    assert_eq!(code, 1_012, "{reason}");
    let mut again = stage.login(&stage.keys.alice).await;
    listen(&mut again).await;
    let (_, told) = again.notification(CHANNEL).await;
    let fates = fates(&told);
    let unknown = ("ended".to_owned(), "unknown".to_owned(), 0.3, None);
    assert_eq!(fates["dropped"], unknown);
    assert_eq!(fates["late"], unknown);
    for label in ["kept", "pulled", "shrunk", "partly"] {
        assert_eq!(fates[label].0, "kept");
    }
    assert_eq!(told["outage"]["blocks_missed"], true);
    assert_eq!(told["outage"]["left"], Value::Null);
    assert_eq!(told["unknown"].as_array().unwrap().len(), 3);
    assert_eq!(told["fills"], json!([]));
    let all = restatement(&mut again, json!({"since": 0})).await;
    assert_eq!(events(&all["fills"]).len(), 2);
    assert_eq!(all["fills_complete"], false);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matching_fault_is_restated_too() {
    let stage = Stage::new().await;
    let venue = &stage.venue;
    let mut ws = stage.login(&stage.keys.alice).await;
    listen(&mut ws).await;
    let book = Book::place(&stage, &mut ws).await;
    venue.quarantine_next();
    let poison = json!({"instrument_name": stage.call, "amount": 0.1, "price": 1.0});
    ws.refused("private/buy", poison).await;
    let fault = venue.with(|engine| engine.mode().fault_height);
    assert_eq!(venue.with(|engine| engine.mode().mode), Mode::ClearingOnly);
    ws.ask("private/cancel", json!({"order_id": book.ids["pulled"]}))
        .await;
    venue.climb(Mode::CancelOnly);
    let (_, told) = ws.notification(CHANNEL).await;
    let left = &told["outage"]["left"];
    assert_eq!(
        (&left["from"], &left["to"]),
        (&json!("Open"), &json!("ClearingOnly"))
    );
    let reason = json!({"kind": "quarantine", "height": fault, "index": 0});
    assert_eq!(left["reason"], reason);
    let fates = fates(&told);
    assert_eq!(fates.len(), 6);
    assert_eq!(fates["pulled"], fate("cancelled", "user_request", 0.3, 0.3));
    assert_eq!(fates["dropped"], fate("cancelled", "recovery", 0.3, 0.3));
    assert_eq!(fates["kept"], fate("kept", "recovery", 0.3, 0.3));
    assert_eq!(told["unknown"], json!([]));
    stage.running.stop().await;
}
