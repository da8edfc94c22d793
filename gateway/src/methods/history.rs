//! The account's orders, fills and settlements.

use lifeboat_engine::types::{AccountId, OrderId};
use serde_json::{Value, json};

use super::Call;
use super::market::{Page, not_found};
use crate::decimal::{cash, price, qty};
use crate::directory::is_settlement;
use crate::error::RpcError;
use crate::memory::Memory;
use crate::orders::{Fill, OrderRecord};
use crate::render;
use crate::topic::Scope;

/// Answers a private method about the past; `None` when there is no such method.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "get_order_state" => order_state(call),
        "get_order_state_by_label" | "get_open_orders_by_label" => {
            by_label(call, name == "get_open_orders_by_label")
        }
        "get_open_orders" | "get_open_orders_by_currency" | "get_open_orders_by_instrument" => {
            open_orders(call)
        }
        "get_order_history_by_currency" | "get_order_history_by_instrument" => ended(call),
        "get_user_trades_by_currency"
        | "get_user_trades_by_currency_and_time"
        | "get_user_trades_by_instrument"
        | "get_user_trades_by_instrument_and_time" => fills(call),
        "get_user_trades_by_order" => fills_of_order(call),
        "get_settlement_history_by_currency" | "get_settlement_history_by_instrument" => {
            settlements(call)
        }
        "get_transaction_log" => transactions(call),
        "get_trigger_order_history" => Ok(json!({ "entries": [], "continuation": Value::Null })),
        _ => return None,
    })
}

fn account(call: &Call) -> Result<AccountId, RpcError> {
    Ok(call.login()?.key.account())
}

/// The instrument or currency that a request is about; everything when it names neither.
fn scope(call: &Call) -> Result<Scope, RpcError> {
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    if let Some(name) = call.params.text("instrument_name")? {
        let listed = directory.find(name).ok_or_else(not_found)?;
        return Ok(Scope::Instrument(listed.instrument.id));
    }
    let currency = call.params.text("currency")?.unwrap_or("any");
    let known = is_settlement(currency) || directory.by_coin(currency).is_some();
    match known {
        true => Ok(Scope::Currency(currency.to_owned())),
        false => Err(RpcError::param("currency", "invalid currency")),
    }
}

/// Whether the kind filter lets options through.
fn wants_options(call: &Call) -> Result<bool, RpcError> {
    Ok(matches!(
        call.params.text("kind")?,
        None | Some("option" | "any")
    ))
}

/// The order that a request names.
///
/// # Errors
/// `order_not_found` for what cannot be an id of this venue.
pub fn order_id(call: &Call) -> Result<OrderId, RpcError> {
    let text = call.params.id("order_id")?;
    let text = text.ok_or_else(|| crate::params::missing("order_id"))?;
    let raw = text
        .parse::<u64>()
        .map_err(|_| RpcError::order_not_found())?;
    Ok(OrderId::new(raw))
}

fn order_state(call: &Call) -> Result<Value, RpcError> {
    let (account, order) = (account(call)?, order_id(call)?);
    let state = call.gateway.state();
    let desk = state.memory.desks.get(account);
    let record = desk.and_then(|desk| desk.order(order));
    record
        .map(|record| render::order(record, &state.memory.directory))
        .ok_or_else(RpcError::order_not_found)
}

fn by_label(call: &Call, open_only: bool) -> Result<Value, RpcError> {
    let account = account(call)?;
    let label = call.params.required_text("label")?;
    let scope = scope(call)?;
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let Some(desk) = state.memory.desks.get(account) else {
        return Ok(json!([]));
    };
    let ended = desk.ended().filter(|_| !open_only);
    let all = desk.open().rev().chain(ended);
    let named = all.filter(|order| order.label == label);
    Ok(named
        .filter(|order| scope.covers(order.instrument, directory))
        .map(|order| render::order(order, directory))
        .collect())
}

fn open_orders(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    let (scope, options) = (scope(call)?, wants_options(call)?);
    let kind = call.params.text("type")?.unwrap_or("all");
    let wanted = options && matches!(kind, "all" | "limit");
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let desk = state.memory.desks.get(account);
    let open = desk.into_iter().flat_map(|desk| desk.open());
    Ok(open
        .filter(|order| wanted && scope.covers(order.instrument, directory))
        .map(|order| render::order(order, directory))
        .collect())
}

fn ended(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    let (scope, options) = (scope(call)?, wants_options(call)?);
    let count = call.params.uint("count")?.unwrap_or(20).min(1_000) as usize;
    let offset = call.params.uint("offset")?.unwrap_or(0) as usize;
    let unfilled = call.params.flag("include_unfilled")?;
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let desk = state.memory.desks.get(account);
    let ended = desk.into_iter().flat_map(|desk| desk.ended());
    let shown = |order: &&OrderRecord| {
        options
            && scope.covers(order.instrument, directory)
            && (unfilled || !order.filled.is_zero())
    };
    Ok(ended
        .filter(shown)
        .skip(offset)
        .take(count)
        .map(|order| render::order(order, directory))
        .collect())
}

/// An account's fills that a test holds for, oldest first.
fn fills_where<'a>(
    memory: &'a Memory,
    account: AccountId,
    test: impl Fn(&Fill) -> bool + 'a,
) -> Vec<&'a Fill> {
    let desk = memory.desks.get(account).into_iter();
    let fills = desk.flat_map(|desk| desk.fills());
    fills.filter(|fill| test(fill)).collect()
}

fn fills(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    let (scope, options) = (scope(call)?, wants_options(call)?);
    let page = Page::read(&call.params, 10, 1_000)?;
    let state = call.gateway.state();
    let memory = &state.memory;
    let found = fills_where(memory, account, |fill| {
        options
            && scope.covers(fill.instrument, &memory.directory)
            && page.holds(fill.time.get(), fill.seq)
    });
    let (found, more) = page.cut(found);
    let trades = found
        .into_iter()
        .map(|fill| render::fill(fill, &memory.directory));
    Ok(json!({ "trades": trades.collect::<Vec<_>>(), "has_more": more }))
}

fn fills_of_order(call: &Call) -> Result<Value, RpcError> {
    let (account, order) = (account(call)?, order_id(call)?);
    let state = call.gateway.state();
    let memory = &state.memory;
    let found = fills_where(memory, account, |fill| fill.order == order);
    Ok(found
        .into_iter()
        .map(|fill| render::fill(fill, &memory.directory))
        .collect())
}

fn settlements(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    let scope = scope(call)?;
    let page = Page::read(&call.params, 20, 1_000)?;
    let delivery = matches!(call.params.text("type")?, None | Some("delivery"));
    let state = call.gateway.state();
    let memory = &state.memory;
    let desk = memory.desks.get(account);
    let all = desk.into_iter().flat_map(|desk| &desk.settlements);
    let found = all.filter(|s| delivery && scope.covers(s.instrument, &memory.directory));
    let (found, _) = page.cut(found.collect());
    let list: Vec<Value> = found
        .into_iter()
        .map(|settled| memory.settlement(settled))
        .collect();
    Ok(json!({ "settlements": list, "continuation": Value::Null }))
}

fn transactions(call: &Call) -> Result<Value, RpcError> {
    let account = account(call)?;
    let scope = scope(call)?;
    let page = Page::read(&call.params, 100, 1_000)?;
    let state = call.gateway.state();
    let memory = &state.memory;
    let found = fills_where(memory, account, |fill| {
        scope.covers(fill.instrument, &memory.directory) && page.holds(fill.time.get(), fill.seq)
    });
    let (found, _) = page.cut(found);
    let logs: Vec<Value> = found
        .into_iter()
        .map(|fill| {
            json!({
                "id": fill.trade,
                "type": "trade",
                "timestamp": fill.time.get(),
                "currency": "USDC",
                "instrument_name": memory.directory.name(fill.instrument),
                "side": render::direction(fill.side),
                "price": price(fill.price),
                "amount": qty(fill.qty),
                "commission": cash(fill.fee),
                "order_id": fill.order.to_string(),
                "trade_id": fill.trade.to_string(),
                "user_role": if fill.maker { "maker" } else { "taker" },
            })
        })
        .collect();
    Ok(json!({ "logs": logs, "continuation": Value::Null }))
}
