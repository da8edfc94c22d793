//! Subscriptions on real sockets: snapshots, changes without gaps, the account's own streams.

#![allow(clippy::unwrap_used)]

mod client;
mod venue;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use client::{Stage, Ws, config};
use lifeboat_gateway::Config;
use serde_json::{Value, json};
use venue::Plan;

/// A book kept from a channel's notifications.
#[derive(Default)]
struct Book {
    bids: BTreeMap<String, f64>,
    asks: BTreeMap<String, f64>,
    change_id: u64,
    seq: u64,
}

impl Book {
    fn take(&mut self, seq: u64, data: &Value) {
        match data["type"].as_str().unwrap() {
            "snapshot" => assert!(self.bids.is_empty() && self.asks.is_empty()),
            _ => {
                assert_eq!(data["prev_change_id"], self.change_id);
                assert_eq!(seq, self.seq + 1);
            }
        }
        assert!(data["change_id"].as_u64().unwrap() > self.change_id);
        self.change_id = data["change_id"].as_u64().unwrap();
        self.seq = seq;
        for (side, name) in [(&mut self.bids, "bids"), (&mut self.asks, "asks")] {
            for level in data[name].as_array().unwrap() {
                let (price, size) = (level[1].to_string(), level[2].as_f64().unwrap());
                let before = match level[0].as_str().unwrap() {
                    "delete" => side.remove(&price).map(|_| ()).ok_or("none to delete"),
                    "new" => side.insert(price, size).map_or(Ok(()), |_| Err("not new")),
                    _ => side.insert(price, size).map(|_| ()).ok_or("none to change"),
                };
                before.unwrap();
            }
        }
    }
}

/// The book that the venue's own method shows.
async fn shown(ws: &mut Ws, call: &str) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let book = ws
        .ask(
            "public/get_order_book",
            json!({"instrument_name": call, "depth": 100}),
        )
        .await;
    let side = |name: &str| {
        let levels = book[name].as_array().unwrap().iter();
        levels
            .map(|l| (l[0].to_string(), l[1].as_f64().unwrap()))
            .collect()
    };
    (side("bids"), side("asks"))
}

async fn best_bid(ws: &mut Ws, call: &str) -> f64 {
    let book = ws
        .ask("public/get_order_book", json!({"instrument_name": call}))
        .await;
    book["bids"][0][0].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_stream_rebuilds_the_book() {
    let stage = Stage::new().await;
    let call = stage.call.clone();
    let channel = format!("book.{call}.raw");
    let mut reader = stage.ws().await;
    let accepted = reader
        .ask("public/subscribe", json!({"channels": [channel]}))
        .await;
    assert_eq!(accepted, json!([channel]));
    let mut book = Book::default();
    let (seq, data) = reader.notification(&channel).await;
    book.take(seq, &data);
    assert_eq!(
        (book.bids.clone(), book.asks.clone()),
        shown(&mut reader, &call).await
    );

    let mut trader = stage.login(&stage.keys.alice).await;
    let bid = best_bid(&mut trader, &call).await;
    for n in 0..10 {
        let price = bid - 1.0 - f64::from(n % 4);
        let order = json!({"instrument_name": call, "amount": 0.1, "price": price});
        trader.ask("private/buy", order).await;
    }
    trader
        .ask(
            "private/sell",
            json!({"instrument_name": call, "amount": 0.5, "type": "market"}),
        )
        .await;
    trader.ask("private/cancel_all", json!({})).await;
    let target = shown(&mut trader, &call).await;
    while (book.bids.clone(), book.asks.clone()) != target {
        let (seq, data) = reader.notification(&channel).await;
        book.take(seq, &data);
    }
    // A late listener starts where the stream stands, and both go on alike.
    let mut late = stage.ws().await;
    late.ask("public/subscribe", json!({"channels": [channel]}))
        .await;
    let (seq, snapshot) = late.notification(&channel).await;
    let mut other = Book::default();
    other.take(seq, &snapshot);
    assert_eq!((other.change_id, other.seq), (book.change_id, book.seq));
    trader
        .ask(
            "private/buy",
            json!({"instrument_name": call, "amount": 0.7, "price": bid - 3.0}),
        )
        .await;
    let (seq, change) = late.notification(&channel).await;
    assert_eq!((seq, change.clone()), reader.notification(&channel).await);
    other.take(seq, &change);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_to_an_account_is_streamed() {
    let stage = Stage::new().await;
    let call = stage.call.clone();
    let mut ws = stage.login(&stage.keys.alice).await;
    let channels = [
        "user.orders.any.any.raw",
        "user.trades.any.any.raw",
        "user.changes.any.any.raw",
        "user.portfolio.usdc",
    ];
    let accepted = ws
        .ask("private/subscribe", json!({"channels": channels}))
        .await;
    assert_eq!(accepted, json!(channels));
    let (_, before) = ws.notification("user.portfolio.usdc").await;
    assert_eq!(before["currency"], "USDC");
    let order = json!({"instrument_name": call, "amount": 0.2, "type": "market", "label": "m"});
    let bought = ws.ask("private/buy", order).await;
    let id = bought["order"]["order_id"].clone();
    let (_, fills) = ws.notification("user.trades.any.any.raw").await;
    assert_eq!(fills, bought["trades"]);
    let mut last = Value::Null;
    let mut seqs = Vec::new();
    while last["order_state"] != "filled" {
        let (seq, order) = ws.notification("user.orders.any.any.raw").await;
        assert_eq!(order["order_id"], id);
        seqs.push(seq);
        last = order;
    }
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{seqs:?}"
    );
    let (_, changes) = ws.notification("user.changes.any.any.raw").await;
    assert_eq!(changes["instrument_name"], json!(call));
    assert_eq!(changes["trades"], bought["trades"]);
    assert_eq!(changes["positions"][0]["size"], 0.2);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_channels_say_what_they_should() {
    let stage = Stage::new().await;
    let call = stage.call.clone();
    let mut ws = stage.ws().await;
    let names = [
        format!("ticker.{call}.raw"),
        format!("quote.{call}"),
        format!("book.{call}.none.10.100ms"),
        "deribit_price_index.btc_usdc".to_owned(),
        "markprice.options.btc_usdc".to_owned(),
        "platform_state".to_owned(),
    ];
    ws.ask("public/subscribe", json!({"channels": names})).await;
    let (_, ticker) = ws.notification(&names[0]).await;
    assert!(ticker["mark_price"].as_f64().unwrap() > 0.0);
    assert!(ticker["greeks"]["delta"].as_f64().unwrap() > 0.0);
    let (_, quote) = ws.notification(&names[1]).await;
    assert_eq!(quote["best_bid_price"], ticker["best_bid_price"]);
    let (_, depth) = ws.notification(&names[2]).await;
    assert_eq!(depth["bids"][0][0], ticker["best_bid_price"]);
    let (_, index) = ws.notification(&names[3]).await;
    assert_eq!(index["price"], 90_000.0);
    let (_, marks) = ws.notification(&names[4]).await;
    assert!(
        marks
            .as_array()
            .unwrap()
            .iter()
            .any(|mark| mark["instrument_name"] == json!(call))
    );
    let (_, state) = ws.notification(&names[5]).await;
    assert_eq!(state["locked"], false);

    let trades = [
        format!("trades.{call}.raw"),
        "trades.option.BTC.raw".to_owned(),
        format!("chart.trades.{call}.1"),
    ];
    ws.ask("public/subscribe", json!({"channels": trades}))
        .await;
    let mut trader = stage.login(&stage.keys.alice).await;
    let bought = trader
        .ask(
            "private/buy",
            json!({"instrument_name": call, "amount": 0.1, "type": "market"}),
        )
        .await;
    for channel in &trades[..2] {
        let (_, heard) = ws.notification(channel).await;
        assert_eq!(heard[0]["trade_id"], bought["trades"][0]["trade_id"]);
    }
    let (_, candle) = ws.notification(&trades[2]).await;
    assert_eq!(candle["close"], bought["trades"][0]["price"]);
    let gone = ws
        .ask("public/unsubscribe", json!({"channels": trades}))
        .await;
    assert_eq!(gone.as_array().map(Vec::len), Some(3));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_do_not_exist_or_may_not_be_heard_are_left_out() {
    let stage = Stage::new().await;
    let call = stage.call.clone();
    let mut ws = stage.ws().await;
    let good = format!("quote.{call}");
    let asked =
        json!({"channels": [good, "quote.BTC-PERPETUAL", "nothing", "user.orders.any.any.raw"]});
    assert_eq!(ws.ask("public/subscribe", asked).await, json!([good]));
    let none = json!({"channels": ["nothing"]});
    assert_eq!(ws.refused("public/subscribe", none).await["code"], 11_052);
    let wrong = json!({"channels": 5});
    assert_eq!(ws.refused("public/subscribe", wrong).await["code"], -32_602);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected() {
    let config = Config {
        outbox_bytes_max: 200_000,
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let mut ws = stage.ws().await;
    // More answers than the system's buffers hold, not one of them read: the queue's bound is passed.
    for _ in 0..1_500 {
        ws.try_send("public/get_instruments", json!({})).await;
    }
    let (code, reason) = ws.closed().await;
    assert_eq!(code, 1_008, "{reason}");
    assert!(reason.contains("slow consumer"), "{reason}");
    let (_, metrics) = client::get(stage.address(), "/metrics").await;
    assert!(metrics.contains("lifeboat_gateway_slow_consumers_total 1"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_blocks_end_the_streams_rather_than_leave_a_gap() {
    let plan = Plan {
        broadcast: 1,
        ..Plan::default()
    };
    let stage = Stage::with(config(), plan).await;
    let mut ws = stage.ws().await;
    let channel = format!("book.{}.raw", stage.call);
    ws.ask("public/subscribe", json!({"channels": [channel]}))
        .await;
    ws.notification(&channel).await;
    // While the gateway cannot take a block in, more come than the channel holds.
    {
        let _held = stage.running.gateway.state();
        stage.venue.burst(4);
    }
    let (code, reason) = ws.closed().await;
    assert_eq!(code, 1_012, "{reason}");
    let mut again = stage.ws().await;
    again
        .ask("public/subscribe", json!({"channels": [channel]}))
        .await;
    let (_, data) = again.notification(&channel).await;
    assert_eq!(data["type"], "snapshot");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_depth_is_told_less_often_and_nothing_is_left_out() {
    const ORDERS: usize = 12;
    let stage = Stage::new().await;
    let call = stage.call.clone();
    let channel = format!("book.{call}.raw");
    let mut reader = stage.ws().await;
    reader
        .ask("public/subscribe", json!({"channels": [channel]}))
        .await;
    let mut book = Book::default();
    let (seq, data) = reader.notification(&channel).await;
    book.take(seq, &data);
    let mut trader = stage.login(&stage.keys.alice).await;
    let orders = format!("user.orders.{call}.raw");
    trader
        .ask("private/subscribe", json!({"channels": [orders]}))
        .await;
    let bid = best_bid(&mut trader, &call).await;

    stage.venue.pressed.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    for n in 0..ORDERS {
        let order = json!({"instrument_name": call, "amount": 0.1, "price": bid - 1.0 - n as f64});
        trader.ask("private/buy", order).await;
        // The account's own orders are told of as ever.
        trader.notification(&orders).await;
    }
    let target = shown(&mut trader, &call).await;
    let mut messages = 0;
    while (book.bids.clone(), book.asks.clone()) != target {
        let (seq, data) = reader.notification(&channel).await;
        book.take(seq, &data);
        messages += 1;
    }
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(
        messages <= seconds + 2,
        "{messages} messages in {seconds} s"
    );
    stage.running.stop().await;
}
