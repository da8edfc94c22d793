//! The account: money, margin, positions, protection.

use lifeboat_engine::types::{AccountId, Cash, InstrumentId, Qty};
use serde_json::{Value, json};

use super::Call;
use super::market::{Page, not_found};
use crate::decimal::{cash, qty};
use crate::directory::is_settlement;
use crate::error::RpcError;
use crate::names;
use crate::render::{self, PositionParts};
use crate::scene::Scene;
use crate::snapshot::Needs;
use crate::view::{Position, View};

/// Answers a private method about the account; `None` when there is no such method.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "get_account_summary" => summary(call),
        "get_account_summaries" => summaries(call),
        "get_subaccounts" => subaccounts(call),
        "get_positions" => positions(call),
        "get_position" => position(call),
        "get_tear_up_rank" => tear_up_rank(call),
        "get_mmp_config" => protection(call),
        "get_mmp_status" => Ok(json!([])),
        "get_deposits" => deposits(call),
        "get_withdrawals" | "get_transfers" => {
            currency_param(call).map(|_| json!({ "count": 0, "data": [] }))
        }
        _ => return None,
    })
}

/// The login's account, refusing a request for another.
fn account(call: &Call) -> Result<AccountId, RpcError> {
    let account = call.login()?.key.account();
    match call.params.uint("subaccount_id")? {
        Some(other) if other != u64::from(account.get()) => {
            Err(RpcError::forbidden("the API key is for another account"))
        }
        _ => Ok(account),
    }
}

fn currency_param(call: &Call) -> Result<String, RpcError> {
    let currency = call.params.required_text("currency")?.to_ascii_uppercase();
    let state = call.gateway.state();
    let known = is_settlement(&currency) || state.memory.directory.by_coin(&currency).is_some();
    match known {
        true => Ok(currency),
        false => Err(RpcError::param("currency", "invalid currency")),
    }
}

/// Reads the account and renders from it.
fn with_account<T>(
    call: &Call,
    render: impl FnOnce(&Scene<'_>, AccountId) -> Option<T>,
) -> Result<T, RpcError> {
    let account = account(call)?;
    let mut needs = Needs::default();
    needs.accounts.insert(account);
    let snapshot = call.gateway.read(&needs);
    let state = call.gateway.state();
    let scene = Scene {
        memory: &state.memory,
        snapshot: &snapshot,
    };
    let missing = || RpcError::new(13_007, "user_not_found").because("the account has no deposit");
    render(&scene, account).ok_or_else(missing)
}

fn summary(call: &Call) -> Result<Value, RpcError> {
    let currency = currency_param(call)?;
    with_account(call, |scene, account| scene.portfolio(account, &currency))
}

fn summaries(call: &Call) -> Result<Value, RpcError> {
    with_account(call, |scene, account| {
        let coins = scene.memory.directory.underlyings().iter();
        let mut names: Vec<&str> = coins.map(|u| u.coin.as_str()).collect();
        names.push("USDC");
        let list: Option<Vec<Value>> = names
            .into_iter()
            .map(|currency| scene.portfolio(account, currency))
            .collect();
        Some(json!({
            "id": account.get(),
            "username": format!("account{account}"),
            "system_name": format!("account{account}"),
            "type": "main",
            "email": "",
            "summaries": list?,
        }))
    })
}

fn subaccounts(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    Ok(json!([{
        "id": account.get(),
        "type": "main",
        "username": format!("account{account}"),
        "system_name": format!("account{account}"),
        "email": "",
        "is_password": false,
        "login_enabled": false,
        "receive_notifications": false,
        "security_keys_enabled": false,
        "security_keys_assignments": [],
    }]))
}

fn positions(call: &Call) -> Result<Value, RpcError> {
    let currency = call.params.text("currency")?.unwrap_or("any").to_owned();
    let options = matches!(call.params.text("kind")?, None | Some("option" | "any"));
    with_account(call, |scene, account| {
        let directory = &scene.memory.directory;
        let wanted = |id: InstrumentId| options && directory.in_currency(id, &currency);
        Some(scene.positions(account, wanted).into())
    })
}

fn position(call: &Call) -> Result<Value, RpcError> {
    let name = call.params.required_text("instrument_name")?;
    let id = listed(call, name)?;
    with_account(call, |scene, account| {
        let held = scene.positions(account, |held| held == id).pop();
        Some(held.unwrap_or_else(|| flat(scene, id)))
    })
}

/// How soon the account's position in an instrument would be torn up, should the other side's holder
/// fail and nothing else bear it; `null` for a rank where it holds nothing. Reads every account once.
fn tear_up_rank(call: &Call) -> Result<Value, RpcError> {
    let name = call.params.required_text("instrument_name")?;
    let (id, account) = (listed(call, name)?, account(call)?);
    let mut found = None;
    call.gateway
        .venue
        .read(&mut |engine| found = View(engine).tear_up_rank(id, account));
    Ok(match found {
        Some(place) => json!({
            "instrument_name": name,
            "rank": place.rank,
            "holders": place.holders,
            "amount_before": qty(place.qty_before),
            "return_on_margin": place.return_ppm as f64 / 1e6,
        }),
        None => json!({ "instrument_name": name, "rank": Value::Null }),
    })
}

fn listed(call: &Call, name: &str) -> Result<InstrumentId, RpcError> {
    let state = call.gateway.state();
    let listed = state.memory.directory.find(name);
    Ok(listed.ok_or_else(not_found)?.instrument.id)
}

/// The position of an account that holds nothing in an instrument.
fn flat(scene: &Scene<'_>, id: InstrumentId) -> Value {
    render::position(&PositionParts {
        position: Position {
            instrument: id,
            qty: Qty::ZERO,
            cost: Cash::ZERO,
        },
        mark: scene.snapshot.mark(id),
        index: scene.index(id),
        directory: &scene.memory.directory,
    })
}

fn protection(call: &Call) -> Result<Value, RpcError> {
    let only = call.params.text("index_name")?;
    with_account(call, |scene, account| {
        let directory = &scene.memory.directory;
        let set = scene.snapshot.accounts.get(&account)?.protections.iter();
        let shown = set.filter_map(|protection| {
            let underlying = directory.underlying(protection.underlying)?;
            let index = names::index_name(&underlying.coin);
            let wanted = only.is_none_or(|only| only == "all" || only == index);
            wanted.then(|| super::trading::protection_json(&index, protection))
        });
        Some(shown.collect())
    })
}

fn deposits(call: &Call) -> Result<Value, RpcError> {
    let currency = currency_param(call)?;
    let account = account(call)?;
    let page = Page::read(&call.params, 10, 1_000)?;
    let state = call.gateway.state();
    let desk = state.memory.desks.get(account);
    let all = desk.into_iter().flat_map(|desk| &desk.deposits);
    let all: Vec<_> = all.filter(|_| is_settlement(&currency)).collect();
    let count = all.len();
    let (shown, _) = page.cut(all);
    let data: Vec<Value> = shown
        .into_iter()
        .map(|deposit| {
            json!({
                "currency": "USDC",
                "amount": cash(deposit.amount),
                "state": "completed",
                "address": Value::Null,
                "transaction_id": format!("{}-{}", deposit.chain, deposit.number),
                "received_timestamp": deposit.time.get(),
                "updated_timestamp": deposit.time.get(),
            })
        })
        .collect();
    Ok(json!({ "count": count, "data": data }))
}
