//! The reopening auction: what runs, and sealed orders.
//!
//! `private/seal_order` seals for clients that hold no keys, so the gateway reads the order before the
//! auction does. Who does not want that seals for itself and sends the command to a validator.

use lifeboat_engine::auction::{SealedTerms, seal, seal_target};
use lifeboat_engine::command::{Action, SealOrder};
use lifeboat_engine::types::{
    Cash, ClientOrderId, InstrumentId, Lots, Nonce, PriceTicks, Side, TimeMs,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::Call;
use super::trading::{amount, instrument, recovery, self_trade, valid_until};
use crate::decimal;
use crate::error::RpcError;
use crate::params::missing;
use crate::view::{RunningAuction, View};

/// Answers a private method about auctions; `None` when there is no such method.
pub async fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "seal_order" => seal_order(call).await,
        "withdraw_sealed" => withdraw_sealed(call).await,
        "get_sealed_orders" => sealed_orders(call),
        _ => return None,
    })
}

/// `lifeboat/get_auctions`: the auctions that run.
pub fn auctions(call: &Call) -> Value {
    let running = running(call);
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let one = |auction: &RunningAuction| {
        let coin = directory.underlying(auction.underlying);
        let names = |ids: &Vec<InstrumentId>| -> Vec<&str> {
            ids.iter().map(|id| directory.name(*id)).collect()
        };
        json!({
            "currency": coin.map(|underlying| underlying.coin.as_str()),
            "auction": auction.number,
            "began_at": auction.began_at.get(),
            "closes_at": auction.closes_at.get(),
            "phase": auction.phase,
            "seals": auction.seals.len(),
            "extended": auction.extended.as_ref().map(names),
            "key": auction.key.map(|key| format!("0x{}", crate::keys::hex(&key.0))),
        })
    };
    running.iter().map(one).collect()
}

fn running(call: &Call) -> Vec<RunningAuction> {
    let mut running = Vec::new();
    call.gateway
        .venue
        .read(&mut |engine| running = View(engine).auctions());
    running
}

/// What is to be sealed, without whose and by which command.
struct Wish {
    auction: RunningAuction,
    terms: SealedTerms,
    bond: Cash,
    until: Option<TimeMs>,
}

fn wish(call: &Call) -> Result<Wish, RpcError> {
    let params = &call.params;
    let (instrument, underlying) = instrument(call)?;
    let side = match params.required_text("direction")? {
        "buy" => Side::Buy,
        "sell" => Side::Sell,
        _ => return Err(RpcError::param("direction", "must be buy or sell")),
    };
    let rests = match params.text("time_in_force")? {
        None | Some("good_til_cancelled") => true,
        Some("immediate_or_cancel") => false,
        Some(_) => {
            let allowed = "must be good_til_cancelled or immediate_or_cancel";
            return Err(RpcError::param("time_in_force", allowed));
        }
    };
    let (price, lots) = steps(call, underlying)?;
    let found = running(call).into_iter();
    let auction = found
        .filter(|auction| auction.underlying == underlying)
        .find(|auction| auction.phase == "collecting");
    let none = || RpcError::from_reject(lifeboat_engine::Reject::NoAuction);
    let bond = params.price("bond")?.ok_or_else(|| missing("bond"))?;
    Ok(Wish {
        auction: auction.ok_or_else(none)?,
        terms: SealedTerms {
            account: call.login()?.key.account(),
            nonce: Nonce::new(0),
            instrument,
            side,
            price,
            lots,
            rests,
            reduce_only: params.flag("reduce_only")?,
            recovery: recovery(params, lifeboat_engine::types::RecoveryPolicy::Keep)?,
            self_trade: self_trade(params)?,
        },
        bond: Cash::new(bond.get()),
        until: valid_until(params)?,
    })
}

/// Price and size in the steps of the underlying: sealed orders know no others.
fn steps(
    call: &Call,
    underlying: lifeboat_engine::types::UnderlyingId,
) -> Result<(PriceTicks, Lots), RpcError> {
    let params = &call.params;
    let state = call.gateway.state();
    let found = state.memory.directory.underlying(underlying);
    let steps = found.ok_or_else(|| RpcError::param("instrument_name", "no such instrument"))?;
    let price = params.price("price")?.ok_or_else(|| missing("price"))?;
    let amount = amount(params)?.ok_or_else(|| missing("amount"))?;
    let off_tick = |_| RpcError::from_reject(lifeboat_engine::Reject::OffTick);
    let off_lot = |_| RpcError::from_reject(lifeboat_engine::Reject::OffLot);
    Ok((
        price.to_ticks(steps.tick).map_err(off_tick)?,
        amount.to_lots(steps.lot).map_err(off_lot)?,
    ))
}

async fn seal_order(call: &Call) -> Result<Value, RpcError> {
    let wish = wish(call)?;
    let login = call.login()?;
    let off = || RpcError::from_reject(lifeboat_engine::Reject::SealsOff);
    let key = wish.auction.key.ok_or_else(off)?;
    let nonce = call.gateway.reserve(login)?;
    let terms = SealedTerms {
        nonce,
        ..wish.terms
    };
    let target = seal_target(
        &call.gateway.venue.status().chain,
        wish.auction.number,
        wish.auction.began_at,
    );
    let mut entropy = [0; 32];
    let unavailable = |_| RpcError::new(13_028, "temporarily_unavailable");
    getrandom::fill(&mut entropy).map_err(unavailable)?;
    let ciphertext = seal(&mut StdRng::from_seed(entropy), &key, &target, &terms);
    let action = Action::SealOrder(Box::new(SealOrder {
        underlying: wish.auction.underlying,
        auction: wish.auction.number,
        ciphertext: ciphertext.ok_or_else(off)?,
        bond: wish.bond,
    }));
    let done = call
        .gateway
        .execute_numbered(login, nonce, action, wish.until)
        .await?;
    let sealed = done.effects.sealed;
    let seal = sealed.ok_or_else(|| RpcError::new(11_031, "other_error"))?;
    Ok(json!({
        "auction": seal.auction,
        "seal": seal.seal,
        "bond": decimal::cash(wish.bond),
        "closes_at": wish.auction.closes_at.get(),
        "state": "sealed",
    }))
}

async fn withdraw_sealed(call: &Call) -> Result<Value, RpcError> {
    let params = &call.params;
    let auction = params.uint("auction")?.ok_or_else(|| missing("auction"))?;
    let seal = params.uint("seal")?.ok_or_else(|| missing("seal"))?;
    let wrong = |_| RpcError::param("seal", "is no number of a sealed order");
    let running = running(call).into_iter();
    let found = running.into_iter().find(|one| one.number == auction);
    let none = || RpcError::from_reject(lifeboat_engine::Reject::NoAuction);
    let action = Action::WithdrawSealed {
        underlying: found.ok_or_else(none)?.underlying,
        auction,
        seal: u32::try_from(seal).map_err(wrong)?,
    };
    let id = ClientOrderId::default();
    call.gateway
        .execute(call.login()?, action, id, None)
        .await?;
    Ok(json!({ "auction": auction, "seal": seal, "state": "withdrawn" }))
}

/// The account's sealed orders: those that wait, and what became of the last others that this gateway
/// saw.
fn sealed_orders(call: &Call) -> Result<Value, RpcError> {
    let account = call.login()?.key.account();
    let running = running(call);
    let state = call.gateway.state();
    let mut known: Vec<_> = state.memory.seals.of(account).copied().collect();
    for auction in &running {
        for (seal, bond) in auction.seals_of(account) {
            let same = known
                .iter()
                .any(|old| (old.auction, old.seal) == (auction.number, seal));
            if !same {
                known.push(auction.record(seal, bond));
            }
        }
    }
    let directory = &state.memory.directory;
    let coin = |id| directory.underlying(id).map_or("", |one| one.coin.as_str());
    Ok(known
        .iter()
        .map(|record| record.json(coin(record.underlying)))
        .collect())
}
