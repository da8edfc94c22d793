//! Sealed orders through the gateway: sealed, listed, taken back, opened.

#![allow(clippy::unwrap_used)]

mod client;
mod venue;

use client::Stage;
use lifeboat_engine::types::Mode;
use serde_json::{Value, json};

/// Climbs until BTC's auction is over, with the validators' signature where it is waited for.
fn open(stage: &Stage) {
    for _ in 0..100 {
        let (mode, over) = stage
            .venue
            .with(|engine| (engine.mode().mode, engine.auctions().is_empty()));
        if mode == Mode::Auction && over {
            return;
        }
        stage.venue.open_auctions();
        stage.venue.observe(90_000, 3_000);
        stage.venue.step(5_000);
    }
    panic!("the auction is not over");
}

fn sealed(stage: &Stage, direction: &str, amount: f64, price: f64) -> Value {
    json!({
        "instrument_name": stage.call,
        "direction": direction,
        "amount": amount,
        "price": price,
        "bond": 100_000,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_sealed_taken_back_and_opened() {
    let stage = Stage::new().await;
    let mut alice = stage.login(&stage.keys.alice).await;
    let mut bob = stage.login(&stage.keys.bob).await;
    let early = alice
        .refused("private/seal_order", sealed(&stage, "buy", 0.1, 1.0))
        .await;
    assert_eq!(early["data"]["reason"], "NoAuction");
    stage.venue.step(61_000);
    stage.venue.climb(Mode::Auction);

    let ticker = alice
        .ask("public/ticker", json!({"instrument_name": stage.call}))
        .await;
    let mark = ticker["mark_price"].as_f64().unwrap().round();
    let running = alice.ask("lifeboat/get_auctions", json!({})).await;
    assert_eq!(running.as_array().unwrap().len(), 2);
    assert_eq!(running[0]["phase"], "collecting");
    let first = alice
        .ask("private/seal_order", sealed(&stage, "buy", 0.3, mark))
        .await;
    assert_eq!(
        (&first["seal"], &first["state"]),
        (&json!(0), &json!("sealed"))
    );
    let second = alice
        .ask("private/seal_order", sealed(&stage, "buy", 0.5, mark))
        .await;
    let back = json!({"auction": second["auction"], "seal": second["seal"]});
    alice.ask("private/withdraw_sealed", back.clone()).await;
    let again = alice.refused("private/withdraw_sealed", back).await;
    assert_eq!(again["data"]["reason"], "UnknownSeal");
    let mut wrong = sealed(&stage, "sell", 0.1, mark + 0.5);
    let off = bob.refused("private/seal_order", wrong.clone()).await;
    assert_eq!(off["data"]["reason"], "OffTick");
    wrong["price"] = json!(mark);
    wrong["reduce_only"] = json!(true);
    bob.ask("private/seal_order", wrong).await;
    bob.ask("private/seal_order", sealed(&stage, "sell", 0.2, mark))
        .await;
    open(&stage);
    stage.caught_up().await;

    let of = |list: &Value, at: usize| list[at]["state"].clone();
    let told = alice.ask("private/get_sealed_orders", json!({})).await;
    assert_eq!(
        (of(&told, 0), of(&told, 1)),
        (json!("opened"), json!("withdrawn"))
    );
    let told = bob.ask("private/get_sealed_orders", json!({})).await;
    assert_eq!(
        (of(&told, 0), of(&told, 1)),
        (json!("out"), json!("opened"))
    );
    assert_eq!(told[0]["reason"], "WouldNotReduce");
    assert_eq!(told[0]["forfeited"], 1.0);
    let trades = alice
        .ask(
            "private/get_user_trades_by_instrument",
            json!({"instrument_name": stage.call}),
        )
        .await;
    assert_eq!(trades["trades"][0]["amount"], 0.2);
    assert_eq!(trades["trades"][0]["price"], mark);
    // What is left of the bid rests.
    let open = alice.ask("private/get_open_orders", json!({})).await;
    assert_eq!(open[0]["filled_amount"], 0.2);
    assert_eq!(open[0]["order_id"], told_order(&mut alice).await);
    stage.running.stop().await;
}

async fn told_order(ws: &mut client::Ws) -> Value {
    ws.ask("private/get_sealed_orders", json!({})).await[0]["order_id"].clone()
}
