//! Orders through the gateway on real sockets: what is placed, changed, cancelled, filled, and what
//! is answered when the fate of a command is not known.

#![allow(clippy::unwrap_used)]

mod client;
mod venue;

use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{Stage, config, http, now_ms, signed_get, signed_header};
use lifeboat_gateway::{Config, OUTCOME_UNKNOWN};
use serde_json::{Value, json};
use venue::Plan;

/// Best bid and ask of an instrument.
async fn best(stage: &Stage) -> (f64, f64) {
    let mut ws = stage.ws().await;
    let book = ws
        .ask(
            "public/get_order_book",
            json!({"instrument_name": stage.call}),
        )
        .await;
    let best = |side: &str| book[side][0][0].as_f64().unwrap();
    (best("bids"), best("asks"))
}

fn order(stage: &Stage, amount: f64, price: f64) -> Value {
    json!({"instrument_name": stage.call, "amount": amount, "price": price})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_rests_is_amended_and_cancelled() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let mut params = order(&stage, 0.1, bid - 10.0);
    params["label"] = json!("mine");
    let placed = ws.ask("private/buy", params).await;
    assert_eq!(placed["order"]["order_state"], "open");
    assert_eq!(placed["order"]["label"], "mine");
    assert_eq!(placed["order"]["amount"], 0.1);
    assert_eq!(placed["trades"], json!([]));
    let id = placed["order"]["order_id"].clone();

    let edited = ws
        .ask(
            "private/edit",
            json!({"order_id": id, "amount": 0.2, "price": bid - 11.0}),
        )
        .await;
    assert_eq!(edited["order"]["amount"], 0.2);
    assert_eq!(edited["order"]["price"], bid - 11.0);
    let state = ws
        .ask("private/get_order_state", json!({"order_id": id}))
        .await;
    assert_eq!(state["amount"], 0.2);
    let open = ws.ask("private/get_open_orders", json!({})).await;
    assert_eq!(open.as_array().map(Vec::len), Some(1));

    let cancelled = ws.ask("private/cancel", json!({"order_id": id})).await;
    assert_eq!(cancelled["order_state"], "cancelled");
    assert_eq!(cancelled["cancel_reason"], "user_request");
    let again = ws.refused("private/cancel", json!({"order_id": id})).await;
    assert_eq!(again["code"], 11_044);
    let never = ws
        .refused("private/cancel", json!({"order_id": "77"}))
        .await;
    assert_eq!(never["code"], 10_004);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_order_fills_and_shows_everywhere() {
    let stage = Stage::new().await;
    let (_, ask) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let call = stage.call.clone();
    let bought = ws
        .ask(
            "private/buy",
            json!({"instrument_name": call, "amount": 0.3, "type": "market"}),
        )
        .await;
    assert_eq!(bought["order"]["order_state"], "filled");
    assert_eq!(bought["order"]["price"], "market_price");
    assert_eq!(bought["order"]["average_price"], ask);
    assert_eq!(bought["trades"][0]["liquidity"], "T");
    assert_eq!(bought["trades"][0]["price"], ask);
    assert!(bought["trades"][0]["fee"].as_f64().unwrap() > 0.0);
    let id = bought["order"]["order_id"].clone();

    let by_order = ws
        .ask("private/get_user_trades_by_order", json!({"order_id": id}))
        .await;
    assert_eq!(by_order, bought["trades"]);
    let mine = ws
        .ask(
            "private/get_user_trades_by_instrument",
            json!({"instrument_name": call}),
        )
        .await;
    assert_eq!(mine["trades"], by_order);
    let all = ws
        .ask(
            "public/get_last_trades_by_instrument",
            json!({"instrument_name": call}),
        )
        .await;
    assert_eq!(all["trades"][0]["trade_id"], by_order[0]["trade_id"]);
    assert_eq!(all["trades"][0]["direction"], "buy");
    let history = ws
        .ask(
            "private/get_order_history_by_instrument",
            json!({"instrument_name": call}),
        )
        .await;
    assert_eq!(history[0]["order_id"], id);

    let place = ws
        .ask("private/get_tear_up_rank", json!({"instrument_name": call}))
        .await;
    assert_eq!((&place["rank"], &place["holders"]), (&json!(1), &json!(1)));
    assert_eq!(place["amount_before"], 0.0);
    assert!(place["return_on_margin"].is_f64());
    let position = ws
        .ask("private/get_position", json!({"instrument_name": call}))
        .await;
    assert_eq!(position["size"], 0.3);
    assert_eq!(position["direction"], "buy");
    assert_eq!(position["average_price"], ask);
    let summary = ws
        .ask("private/get_account_summary", json!({"currency": "USDC"}))
        .await;
    let number = |name: &str| summary[name].as_f64().unwrap();
    assert!(number("balance") < 5_000_000.0 - 0.3 * ask);
    assert!(number("equity") > number("balance"));
    assert!(number("available_funds") <= number("equity"));
    let other = ws
        .ask("private/get_account_summary", json!({"currency": "BTC"}))
        .await;
    assert_eq!(other["equity"], 0.0);
    let ticker = ws
        .ask("public/ticker", json!({"instrument_name": call}))
        .await;
    assert_eq!(ticker["last_price"], ask);
    assert_eq!(ticker["stats"]["volume"], 0.3);
    let chart = ws
        .ask(
            "public/get_tradingview_chart_data",
            json!({"instrument_name": call,
            "resolution": "1", "start_timestamp": venue::START - 60_000,
            "end_timestamp": venue::START + 3_600_000}),
        )
        .await;
    assert_eq!(chart["status"], "ok");
    assert_eq!(
        chart["close"].as_array().unwrap().last().unwrap(),
        &json!(ask)
    );
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_makes_an_order_idempotent() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let mut params = order(&stage, 0.1, bid - 10.0);
    params["label"] = json!("once");
    let first = ws.ask("private/buy", params.clone()).await;
    let second = ws.ask("private/buy", params.clone()).await;
    assert_eq!(second["order"]["order_id"], first["order"]["order_id"]);
    assert_eq!(second["repeated"], true);
    params["client_order_id"] = json!(99);
    let third = ws.ask("private/buy", params).await;
    assert_ne!(third["order"]["order_id"], first["order"]["order_id"]);
    let named = ws
        .ask(
            "private/get_order_state_by_label",
            json!({"currency": "BTC", "label": "once"}),
        )
        .await;
    assert_eq!(named.as_array().map(Vec::len), Some(2));
    let count = ws
        .ask("private/cancel_by_label", json!({"label": "once"}))
        .await;
    assert_eq!(count, 2);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_deribits_codes_and_the_rule() {
    let stage = Stage::new().await;
    let (bid, ask) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let call = &stage.call;
    let with = |extra: Value| {
        let mut params = order(&stage, 0.1, bid - 10.0);
        for (name, value) in extra.as_object().unwrap() {
            params[name] = value.clone();
        }
        params
    };
    let cases = [
        (with(json!({"price": bid - 0.5})), 10_043, "OffTick"),
        (with(json!({"amount": 0.0001})), 10_021, "OffLot"),
        (with(json!({"amount": 999_999.0})), 10_021, "OrderTooLarge"),
        (
            with(json!({"price": ask, "post_only": true, "reject_post_only": true})),
            11_054,
            "WouldTake",
        ),
        (
            with(json!({"time_in_force": "fill_or_kill"})),
            11_030,
            "NotFillable",
        ),
        (with(json!({"reduce_only": true})), 11_030, "WouldNotReduce"),
    ];
    for (params, code, rule) in cases {
        let error = ws.refused("private/buy", params.clone()).await;
        assert_eq!(error["code"], code, "{params}");
        assert_eq!(error["data"]["reason"], rule, "{params}");
    }
    let malformed = [
        (json!({"instrument_name": call, "amount": 0.1}), -32_602),
        (json!({"instrument_name": call, "price": 5}), -32_602),
        (json!({"amount": 0.1, "price": 5}), -32_602),
        (
            json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "price": 5}),
            13_020,
        ),
        (with(json!({"type": "sideways"})), -32_602),
        (
            with(json!({"type": "stop_limit", "trigger_price": 1})),
            10_033,
        ),
        (with(json!({"triggerPrice": 1})), 10_033),
        (with(json!({"advanced": "implv"})), 10_033),
        (with(json!({"label": "x".repeat(65)})), -32_602),
        (with(json!({"time_in_force": "forever"})), -32_602),
    ];
    for (params, code) in malformed {
        let error = ws.refused("private/buy", params.clone()).await;
        assert_eq!(error["code"], code, "{params}");
    }
    for (method, code) in [
        ("private/withdraw", 10_033),
        ("private/get_current_deposit_address", 10_033),
        ("private/submit_transfer_to_subaccount", 12_100),
        ("public/get_funding_rate_value", 13_020),
    ] {
        assert_eq!(
            ws.refused(method, json!({})).await["code"],
            code,
            "{method}"
        );
    }
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_set_protected_and_pulled() {
    let stage = Stage::new().await;
    let (bid, ask) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.bob).await;
    let protection = json!({"index_name": "btc_usdc", "interval": 5, "frozen_time": 2,
        "quantity_limit": 10.0, "delta_limit": 3.0});
    let set = ws.ask("private/set_mmp_config", protection).await;
    assert_eq!(set[0]["quantity_limit"], 10.0);
    let read = ws
        .ask("private/get_mmp_config", json!({"index_name": "btc_usdc"}))
        .await;
    assert_eq!(read, set);
    let quote = |bid: f64, ask: f64| {
        json!({"quote_id": "q", "detailed": true, "quotes": [{
        "instrument_name": stage.call,
        "bid": {"price": bid, "amount": 0.1}, "ask": {"price": ask, "amount": 0.1}}]})
    };
    let good = ws
        .ask("private/mass_quote", quote(bid - 5.0, ask + 5.0))
        .await;
    assert_eq!(good["success_count"], 2);
    assert_eq!(good["orders"].as_array().map(Vec::len), Some(2));
    let crossing = ws.ask("private/mass_quote", quote(ask, ask + 5.0)).await;
    assert_eq!(crossing["success_count"], 1);
    assert_eq!(crossing["errors"][0]["side"], "bid");
    assert_eq!(crossing["errors"][0]["error"]["code"], 11_054);
    let open = ws.ask("private/get_open_orders", json!({})).await;
    assert_eq!(open.as_array().map(Vec::len), Some(1));
    assert_eq!(open[0]["quote"], true);
    assert_eq!(
        ws.ask("private/cancel_quotes", json!({"cancel_type": "all"}))
            .await,
        1
    );
    assert_eq!(
        ws.ask("private/get_open_orders", json!({})).await,
        json!([])
    );
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduce_only_order_shows_what_the_venue_cut_it_to() {
    let stage = Stage::new().await;
    let (bid, ask) = best(&stage).await;
    let mut alice = stage.login(&stage.keys.alice).await;
    let mut bob = stage.login(&stage.keys.bob).await;
    alice.ask("private/buy", order(&stage, 0.3, ask)).await;
    let mut params = order(&stage, 0.3, ask - 1.0);
    params["reduce_only"] = json!(true);
    let offered = alice.ask("private/sell", params).await;
    let id = offered["order"]["order_id"].clone();
    alice.ask("private/sell", order(&stage, 0.2, bid)).await;
    let channel = "user.orders.any.any.raw";
    alice
        .ask("private/subscribe", json!({"channels": [channel]}))
        .await;
    let mut take = order(&stage, 0.3, ask - 1.0);
    take["time_in_force"] = json!("immediate_or_cancel");
    let bought = bob.ask("private/buy", take).await;
    assert_eq!(bought["order"]["filled_amount"], 0.1);
    for (state, filled) in [("open", 0.0), ("filled", 0.1)] {
        let (_, seen) = alice.notification(channel).await;
        assert_eq!(
            (&seen["order_id"], &seen["order_state"]),
            (&id, &json!(state))
        );
        assert_eq!(
            (&seen["amount"], &seen["filled_amount"]),
            (&json!(0.1), &json!(filled))
        );
    }
    let open = alice.ask("private/get_open_orders", json!({})).await;
    assert_eq!(open, json!([]));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_http_requests_trade_once() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let key = stage.keys.alice.clone();
    let uri = format!(
        "/api/v2/private/buy?instrument_name={}&amount=0.1&type=limit&price={}&label=x",
        stage.call,
        bid - 10.0
    );
    let time = now_ms();
    let (status, answer) = signed_get(stage.address(), &key, &uri, "1", time).await;
    assert_eq!(
        (status, &answer["result"]["order"]["order_state"]),
        (200, &json!("open"))
    );
    let (status, replay) = signed_get(stage.address(), &key, &uri, "1", time).await;
    assert_eq!((status, &replay["error"]["code"]), (400, &json!(13_009)));
    let (_, late) = signed_get(stage.address(), &key, &uri, "2", time - 120_000).await;
    assert_eq!(late["error"]["code"], 13_009);

    let body = json!({"jsonrpc": "2.0", "id": 9, "method": "private/get_open_orders",
        "params": {}})
    .to_string();
    let uri = "/api/v2/private/get_open_orders";
    let header = signed_header(&key, "POST", uri, &body, "3", time);
    let request = format!(
        "POST {uri} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {header}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, reply) = http(stage.address(), &request).await;
    let reply: Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(status, 200);
    assert_eq!(reply["id"], 9);
    assert_eq!(reply["result"].as_array().map(Vec::len), Some(1));
    let tampered = request.replace("\"id\":9", "\"id\":8");
    let (status, _) = http(stage.address(), &tampered).await;
    assert_eq!(status, 400);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cannot_trade_and_a_stranger_cannot_read() {
    let stage = Stage::new().await;
    let mut reader = stage.login(&stage.keys.reader).await;
    let summary = reader
        .ask("private/get_account_summary", json!({"currency": "USDC"}))
        .await;
    assert_eq!(summary["equity"], 5_000_000.0);
    let error = reader.refused("private/cancel_all", json!({})).await;
    assert_eq!(error["code"], 13_021);
    let mut stranger = stage.ws().await;
    for method in ["private/buy", "private/get_positions", "private/subscribe"] {
        assert_eq!(
            stranger.refused(method, json!({})).await["code"],
            13_009,
            "{method}"
        );
    }
    let wrong = json!({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"});
    assert_eq!(stranger.refused("public/auth", wrong).await["code"], 13_004);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_said_and_found_out_later() {
    let config = Config {
        outcome_timeout: Duration::from_millis(50),
        ..config()
    };
    let stage = Stage::with(config, Plan::default()).await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    stage.venue.paused.store(true, Ordering::SeqCst);
    let mut params = order(&stage, 0.1, bid - 10.0);
    params["label"] = json!("where");
    let error = ws.refused("private/buy", params.clone()).await;
    assert_eq!(error["code"], OUTCOME_UNKNOWN);
    let nonce = error["data"]["nonce"].clone();
    let valid_until = error["data"]["valid_until"].as_u64().unwrap();
    let ask = json!({"nonce": nonce});
    assert_eq!(
        ws.ask("lifeboat/get_outcome", ask.clone()).await["state"],
        "unknown"
    );

    let mut orders = stage.login(&stage.keys.alice).await;
    orders
        .ask(
            "private/subscribe",
            json!({"channels": ["user.orders.any.any.raw"]}),
        )
        .await;
    stage.venue.resume();
    let (_, heard) = orders.notification("user.orders.any.any.raw").await;
    assert_eq!(heard["label"], "where");
    let outcome = ws.ask("lifeboat/get_outcome", ask).await;
    assert_eq!(outcome["state"], "applied");
    let by_label = ws
        .ask("lifeboat/get_outcome", json!({"label": "where"}))
        .await;
    assert_eq!(by_label["order"]["order_id"], heard["order_id"]);

    // A command that is lost is dead once block time passes its end.
    stage.venue.lossy.store(true, Ordering::SeqCst);
    params["label"] = json!("lost");
    let error = ws.refused("private/buy", params).await;
    assert_eq!(error["code"], OUTCOME_UNKNOWN);
    let mut blocks = lifeboat_gateway::Venue::subscribe(&*stage.venue);
    stage.venue.step_at(valid_until + 60_000);
    blocks.recv().await.unwrap();
    let lost = json!({"label": "lost"});
    let mut state = ws.ask("lifeboat/get_outcome", lost.clone()).await;
    // The gateway hears of the block on its own task.
    while state["state"] == "unknown" {
        state = ws.ask("lifeboat/get_outcome", lost.clone()).await;
    }
    assert_eq!(state["state"], "dead");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_validator_says_that_nothing_was_queued() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    stage.venue.busy.store(true, Ordering::SeqCst);
    let error = ws
        .refused("private/buy", order(&stage, 0.1, bid - 10.0))
        .await;
    assert_eq!(error["code"], 10_047);
    stage.venue.busy.store(false, Ordering::SeqCst);
    assert_eq!(
        ws.ask("private/get_open_orders", json!({})).await,
        json!([])
    );
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_orders_keep_their_order() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let mut ids = Vec::new();
    for n in 0..50 {
        let mut params = order(&stage, 0.1, bid - 10.0);
        params["label"] = json!(format!("n{n}"));
        ids.push(ws.send("private/buy", params).await);
    }
    let mut answers = std::collections::BTreeMap::new();
    while answers.len() < ids.len() {
        let message = ws.next().await.unwrap();
        let order = &message["result"]["order"];
        assert_eq!(order["order_state"], "open", "{message}");
        answers.insert(message["id"].as_u64().unwrap(), order["order_id"].clone());
    }
    let id = stage.venue.call();
    let queue = stage.venue.with(|engine| {
        let resting = engine.queue(id, lifeboat_engine::types::Side::Buy);
        let own = resting.filter(|order| order.owner == venue::ALICE);
        own.map(|order| order.order.to_string()).collect::<Vec<_>>()
    });
    let answered: Vec<String> = answers
        .values()
        .map(|id| id.as_str().unwrap().into())
        .collect();
    assert_eq!(queue, answered);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_line_cancels_its_own_orders_only() {
    let stage = Stage::new().await;
    let (bid, _) = best(&stage).await;
    let mut stays = stage.login(&stage.keys.alice).await;
    let kept = stays
        .ask("private/buy", order(&stage, 0.1, bid - 10.0))
        .await;
    let mut drops = stage.login(&stage.keys.alice).await;
    drops
        .ask(
            "private/enable_cancel_on_disconnect",
            json!({"scope": "connection"}),
        )
        .await;
    let read = drops
        .ask("private/get_cancel_on_disconnect", json!({}))
        .await;
    assert_eq!(read, json!({"scope": "connection", "enabled": true}));
    for _ in 0..2 {
        drops
            .ask("private/buy", order(&stage, 0.2, bid - 12.0))
            .await;
    }
    stays
        .ask(
            "private/subscribe",
            json!({"channels": ["user.orders.any.any.raw"]}),
        )
        .await;
    drops.drop_line();
    for _ in 0..2 {
        let (_, gone) = stays.notification("user.orders.any.any.raw").await;
        assert_eq!(gone["order_state"], "cancelled");
        assert_eq!(gone["amount"], 0.2);
    }
    let open = stays.ask("private/get_open_orders", json!({})).await;
    assert_eq!(open.as_array().map(Vec::len), Some(1));
    assert_eq!(open[0]["order_id"], kept["order"]["order_id"]);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_published_when_its_block_is() {
    let short = Config {
        outcome_timeout: Duration::from_millis(300),
        ..config()
    };
    let stage = Stage::with(short, Plan::default()).await;
    let (bid, _) = best(&stage).await;
    let mut ws = stage.login(&stage.keys.alice).await;
    let asking = |level: &str| {
        let mut params = order(&stage, 0.1, bid - 10.0);
        params["acknowledge"] = json!(level);
        params
    };
    let ordered = ws.ask("private/buy", asking("ordered")).await;
    assert_eq!(ordered["acknowledged"], "ordered");
    // Nothing is published: the order stands, and the answer does not claim more.
    let unpublished = ws.ask("private/buy", asking("published")).await;
    assert_eq!(unpublished["acknowledged"], "ordered");
    assert_eq!(unpublished["order"]["order_state"], "open");
    let id = ws.send("private/buy", asking("published")).await;
    let all = lifeboat_engine::types::Height::new(u64::MAX);
    stage.venue.published.send_replace(all);
    assert_eq!(ws.answer(id).await["result"]["acknowledged"], "published");
    let error = ws.refused("private/buy", asking("anchored")).await;
    assert_eq!(error["data"]["param"], "acknowledge", "{error}");
}
