//! Placing, changing and cancelling orders and quotes.
//!
//! A `label` is echoed and is also the client order id that makes a request idempotent: the first
//! eight bytes of its SHA-256. A second order with a label still remembered returns the first one
//! and changes nothing. The parameter `client_order_id` names the id explicitly. Deribit itself
//! allows a label to repeat.

use lifeboat_engine::Reject;
use lifeboat_engine::command::{
    Action, AmendOrder, CancelScope, MarketMakerProtection, MassQuote, OrderPrice, OrderRef,
    PlaceOrder, QuoteEntry, QuoteSide,
};
use lifeboat_engine::limits::{LABEL_BYTES_MAX, QUOTES_PER_COMMAND_MAX};
use lifeboat_engine::types::{
    Cash, ClientOrderId, DAY_MS, InstrumentId, OrderId, PostOnly, Qty, RecoveryPolicy,
    SelfTradePrevention, Side, TimeInForce, TimeMs, UnderlyingId, VENUE_DAY_BEGINS_MS,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Call;
use super::history::order_id;
use super::market::not_found;
use crate::decimal;
use crate::directory::is_settlement;
use crate::error::RpcError;
use crate::execute::Acknowledged;
use crate::execute::{Done, is_reject};
use crate::outcome::Effects;
use crate::params::{Params, missing};
use crate::render;
use crate::snapshot::Needs;

/// Answers a private method that trades; `None` when there is no such method.
pub async fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "buy" => place(call, Side::Buy).await,
        "sell" => place(call, Side::Sell).await,
        "edit" => edit(call).await,
        "edit_by_label" => edit_by_label(call).await,
        "cancel" => cancel(call).await,
        "cancel_by_label" => cancel_by_label(call).await,
        "cancel_all" => cancel_scope(call, CancelScope::Account).await,
        "cancel_all_by_instrument" => match instrument(call) {
            Ok((id, _)) => cancel_scope(call, CancelScope::Instrument(id)).await,
            Err(error) => Err(error),
        },
        "cancel_all_by_currency" | "cancel_all_by_currency_pair" | "cancel_all_by_kind_or_type" => {
            match currency_scope(call) {
                Ok(Some(scope)) => cancel_scope(call, scope).await,
                Ok(None) => Ok(0.into()),
                Err(error) => Err(error),
            }
        }
        "cancel_quotes" => cancel_quotes(call).await,
        "mass_quote" => mass_quote(call).await,
        "set_mmp_config" => set_protection(call).await,
        "reset_mmp" => reset_protection(call).await,
        _ => return None,
    })
}

/// The client order id that a label stands for. Never 0.
pub fn client_id_of(label: &str) -> ClientOrderId {
    let digest = Sha256::digest(label.as_bytes());
    let first = digest.iter().take(8);
    let raw = first.fold(0u64, |id, byte| id << 8 | u64::from(*byte));
    ClientOrderId::new(raw.max(1))
}

/// The client order id of a request: explicit, else from its label, else none.
pub fn client_id(params: &Params) -> Result<ClientOrderId, RpcError> {
    if let Some(text) = params.id("client_order_id")? {
        let wrong = || RpcError::param("client_order_id", "must be a positive 64-bit integer");
        let raw = text.parse::<u64>().ok().filter(|raw| *raw > 0);
        return Ok(ClientOrderId::new(raw.ok_or_else(wrong)?));
    }
    Ok(match params.text("label")? {
        Some(label) if !label.is_empty() => client_id_of(label),
        _ => ClientOrderId::default(),
    })
}

/// The instrument that a request names, open for trading, and its underlying.
pub(super) fn instrument(call: &Call) -> Result<(InstrumentId, UnderlyingId), RpcError> {
    named_instrument(call, &call.params)
}

fn named_instrument(
    call: &Call,
    params: &Params,
) -> Result<(InstrumentId, UnderlyingId), RpcError> {
    let name = params.required_text("instrument_name")?;
    let state = call.gateway.state();
    let listed = state.memory.directory.find(name).ok_or_else(not_found)?;
    let instrument = &listed.instrument;
    Ok((instrument.id, instrument.terms.underlying))
}

pub(super) fn valid_until(params: &Params) -> Result<Option<TimeMs>, RpcError> {
    Ok(params.uint("valid_until")?.map(TimeMs::new))
}

/// Refuses what would be silently ignored otherwise: an order that the client believes to be
/// conditional must not rest as a plain one.
fn refuse_conditional(params: &Params) -> Result<(), RpcError> {
    let conditional = [
        "trigger",
        "trigger_price",
        "triggerPrice",
        "trigger_offset",
        "trigger_fill_condition",
        "stop_price",
        "stopPrice",
        "linked_order_type",
        "otoco_config",
    ];
    match conditional.iter().find(|name| params.has(name)) {
        Some(name) => Err(RpcError::new(10_033, "not_implemented").with_data(json!({
            "param": name,
            "reason": "stop, trigger and linked orders are not offered",
        }))),
        None => Ok(()),
    }
}

fn post_only(params: &Params) -> Result<PostOnly, RpcError> {
    Ok(
        match (params.flag("post_only")?, params.flag("reject_post_only")?) {
            (false, _) => PostOnly::Off,
            (true, true) => PostOnly::Reject,
            (true, false) => PostOnly::Slide,
        },
    )
}

pub(super) fn recovery(
    params: &Params,
    default: RecoveryPolicy,
) -> Result<RecoveryPolicy, RpcError> {
    match params.text("recovery")? {
        None => Ok(default),
        Some("keep") => Ok(RecoveryPolicy::Keep),
        Some("cancel") => Ok(RecoveryPolicy::Cancel),
        Some(_) => Err(RpcError::param("recovery", "must be keep or cancel")),
    }
}

pub(super) fn self_trade(params: &Params) -> Result<SelfTradePrevention, RpcError> {
    match params.text("self_trade")? {
        None | Some("cancel_taker") => Ok(SelfTradePrevention::CancelTaker),
        Some("cancel_maker") => Ok(SelfTradePrevention::CancelMaker),
        Some("cancel_both") => Ok(SelfTradePrevention::CancelBoth),
        Some(_) => Err(RpcError::param(
            "self_trade",
            "must be cancel_taker, cancel_maker or cancel_both",
        )),
    }
}

/// The next end of a trading session, 08:00 UTC.
fn end_of_day(now: TimeMs) -> TimeMs {
    let shifted = now.get().saturating_sub(VENUE_DAY_BEGINS_MS);
    TimeMs::new((shifted / DAY_MS + 1) * DAY_MS + VENUE_DAY_BEGINS_MS)
}

fn time_in_force(params: &Params, market: bool, now: TimeMs) -> Result<TimeInForce, RpcError> {
    let unless_market = |value| match market {
        true => TimeInForce::ImmediateOrCancel,
        false => value,
    };
    Ok(match params.text("time_in_force")? {
        None | Some("good_til_cancelled") => unless_market(TimeInForce::GoodTilCancelled),
        Some("good_til_day") => unless_market(TimeInForce::GoodTilDate(end_of_day(now))),
        Some("good_til_date") => {
            let until = params
                .uint("good_til")?
                .ok_or_else(|| missing("good_til"))?;
            unless_market(TimeInForce::GoodTilDate(TimeMs::new(until)))
        }
        Some("immediate_or_cancel") => TimeInForce::ImmediateOrCancel,
        Some("fill_or_kill") => TimeInForce::FillOrKill,
        Some(_) => return Err(RpcError::param("time_in_force", "unknown time in force")),
    })
}

pub(super) fn amount(params: &Params) -> Result<Option<Qty>, RpcError> {
    match params.qty("amount")? {
        Some(amount) => Ok(Some(amount)),
        None => params.qty("contracts"),
    }
}

fn label(params: &Params) -> Result<Vec<u8>, RpcError> {
    let label = params.text("label")?.unwrap_or_default();
    if label.len() > LABEL_BYTES_MAX {
        return Err(RpcError::param("label", "must be at most 64 bytes"));
    }
    Ok(label.as_bytes().to_vec())
}

fn order_of(call: &Call, side: Side) -> Result<PlaceOrder, RpcError> {
    let params = &call.params;
    refuse_conditional(params)?;
    if params.has("advanced") {
        return Err(RpcError::not_offered(
            "prices in volatility or USD are not offered",
        ));
    }
    let (instrument, _) = instrument(call)?;
    let market = match params.text("type")? {
        None | Some("limit") => false,
        Some("market") => true,
        Some(
            "market_limit" | "stop_limit" | "take_limit" | "stop_market" | "take_market"
            | "trailing_stop",
        ) => {
            return Err(RpcError::not_offered(
                "only limit and market orders are offered",
            ));
        }
        Some(_) => return Err(RpcError::param("type", "must be limit or market")),
    };
    let price = match market {
        true => OrderPrice::Market,
        false => OrderPrice::Limit(params.price("price")?.ok_or_else(|| missing("price"))?),
    };
    let now = call.gateway.state().memory.clock.time;
    Ok(PlaceOrder {
        instrument,
        side,
        qty: amount(params)?.ok_or_else(|| missing("amount"))?,
        price,
        time_in_force: time_in_force(params, market, now)?,
        post_only: post_only(params)?,
        reduce_only: params.flag("reduce_only")?,
        self_trade: self_trade(params)?,
        recovery: recovery(params, RecoveryPolicy::Keep)?,
        protected: params.flag("mmp")?,
        client_id: client_id(params)?,
        label: label(params)?,
    })
}

async fn place(call: &Call, side: Side) -> Result<Value, RpcError> {
    let login = call.login()?;
    let order = order_of(call, side)?;
    let until = valid_until(&call.params)?;
    let level = acknowledge(&call.params)?;
    let client_id = order.client_id;
    let action = Action::PlaceOrder(order);
    let done = call
        .gateway
        .execute(login, action, client_id, until)
        .await?;
    if let Some(repeated) = done.effects.repeated {
        return repeated_order(call, repeated);
    }
    if let Some(connection) = &call.connection {
        connection.placed(done.effects.orders.iter().map(|order| order.order));
    }
    let mut answer = order_and_trades(call, &done.effects);
    if let Some(level) = level {
        let reached = call.gateway.acknowledged(level, done.height).await;
        answer["acknowledged"] = reached.name().into();
    }
    Ok(answer)
}

/// How far an order must be kept before it is answered; `None` if the request does not say.
fn acknowledge(params: &Params) -> Result<Option<Acknowledged>, RpcError> {
    match params.text("acknowledge")? {
        None => Ok(None),
        Some("ordered") => Ok(Some(Acknowledged::Ordered)),
        Some("published") => Ok(Some(Acknowledged::Published)),
        Some(_) => Err(RpcError::param(
            "acknowledge",
            "must be ordered or published",
        )),
    }
}

/// The answer to an order whose client id was remembered: the first order.
fn repeated_order(call: &Call, order: OrderId) -> Result<Value, RpcError> {
    let account = call.login()?.key.account();
    let state = call.gateway.state();
    let desk = state.memory.desks.get(account);
    let record = desk.and_then(|desk| desk.order(order));
    let shown = match record {
        Some(record) => render::order(record, &state.memory.directory),
        None => json!({ "order_id": order.to_string() }),
    };
    Ok(json!({ "order": shown, "trades": [], "repeated": true }))
}

fn order_and_trades(call: &Call, effects: &Effects) -> Value {
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let placed = effects.placed.as_ref().map(|placed| placed.order);
    let own = effects
        .orders
        .iter()
        .find(|order| placed.is_none_or(|placed| placed == order.order));
    let fills = effects.fills.iter().filter(|fill| !fill.maker);
    json!({
        "order": own.map_or(Value::Null, |order| render::order(order, directory)),
        "trades": fills.map(|fill| render::fill(fill, directory)).collect::<Vec<_>>(),
    })
}

/// The open order with this id, for what a request leaves out.
fn resting(call: &Call, order: OrderId) -> Result<Option<crate::orders::OrderRecord>, RpcError> {
    let account = call.login()?.key.account();
    let state = call.gateway.state();
    let desk = state.memory.desks.get(account);
    Ok(desk.and_then(|desk| desk.order(order)).cloned())
}

async fn edit(call: &Call) -> Result<Value, RpcError> {
    refuse_conditional(&call.params)?;
    let order = order_id(call)?;
    amend(call, order).await
}

async fn edit_by_label(call: &Call) -> Result<Value, RpcError> {
    refuse_conditional(&call.params)?;
    let orders = labelled(call)?;
    match orders.as_slice() {
        [only] => amend(call, *only).await,
        [] => Err(RpcError::order_not_found()),
        _ => Err(RpcError::new(11_029, "invalid_arguments")
            .because("several open orders have this label; name one by order_id")),
    }
}

async fn amend(call: &Call, order: OrderId) -> Result<Value, RpcError> {
    let login = call.login()?;
    let params = &call.params;
    let known = resting(call, order)?;
    let (old_qty, old_price) = known.as_ref().map(|o| (o.qty, o.price)).unzip();
    let change = AmendOrder {
        order: OrderRef::Id(order),
        qty: amount(params)?
            .or(old_qty)
            .ok_or_else(RpcError::order_not_found)?,
        price: params
            .price("price")?
            .or(old_price)
            .ok_or_else(RpcError::order_not_found)?,
        post_only: match params.has("post_only") {
            true => post_only(params)?,
            false => known.map_or(PostOnly::Off, |known| known.post_only),
        },
    };
    let action = Action::AmendOrder(change);
    let none = ClientOrderId::default();
    let until = valid_until(params)?;
    let result = call.gateway.execute(login, action, none, until).await;
    let done = result.map_err(|error| explain_unknown_order(call, order, error))?;
    Ok(order_and_trades(call, &done.effects))
}

async fn cancel(call: &Call) -> Result<Value, RpcError> {
    let order = order_id(call)?;
    let done = cancel_one(call, order).await?;
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let record = done.effects.orders.iter().find(|o| o.order == order);
    Ok(match record {
        Some(record) => render::order(record, directory),
        None => json!({ "order_id": order.to_string(), "order_state": "cancelled" }),
    })
}

async fn cancel_one(call: &Call, order: OrderId) -> Result<Done, RpcError> {
    let action = Action::CancelOrder(OrderRef::Id(order));
    let none = ClientOrderId::default();
    let result = call
        .gateway
        .execute(call.login()?, action, none, None)
        .await;
    result.map_err(|error| explain_unknown_order(call, order, error))
}

/// Tells an order that has ended from one that never was.
fn explain_unknown_order(call: &Call, order: OrderId, error: RpcError) -> RpcError {
    if !is_reject(&error, Reject::UnknownOrder) {
        return error;
    }
    match resting(call, order) {
        Ok(Some(_)) => error,
        _ => RpcError::order_not_found(),
    }
}

/// The account's open orders with the request's label, in its scope.
fn labelled(call: &Call) -> Result<Vec<OrderId>, RpcError> {
    let account = call.login()?.key.account();
    let label = call.params.required_text("label")?;
    let currency = call.params.text("currency")?.unwrap_or("any");
    let name = call.params.text("instrument_name")?;
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let desk = state.memory.desks.get(account);
    let open = desk.into_iter().flat_map(|desk| desk.open());
    Ok(open
        .filter(|order| order.label == label)
        .filter(|order| directory.in_currency(order.instrument, currency))
        .filter(|order| name.is_none_or(|name| directory.name(order.instrument) == name))
        .map(|order| order.order)
        .collect())
}

async fn cancel_by_label(call: &Call) -> Result<Value, RpcError> {
    let mut cancelled = 0;
    for order in labelled(call)? {
        match cancel_one(call, order).await {
            Ok(_) => cancelled += 1,
            // It was filled or cancelled meanwhile.
            Err(error) if is_reject(&error, Reject::UnknownOrder) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(cancelled.into())
}

async fn cancel_scope(call: &Call, scope: CancelScope) -> Result<Value, RpcError> {
    let kind = call.params.text("type")?.unwrap_or("all");
    if !matches!(kind, "all" | "limit") {
        // There are no orders of any other type.
        return Ok(0.into());
    }
    let none = ClientOrderId::default();
    let action = Action::CancelAll(scope);
    let done = call
        .gateway
        .execute(call.login()?, action, none, None)
        .await?;
    Ok(done.effects.cancelled.into())
}

/// What a cancel by currency means; `None` when no order can be meant.
fn currency_scope(call: &Call) -> Result<Option<CancelScope>, RpcError> {
    let params = &call.params;
    if !matches!(params.text("kind")?, None | Some("option" | "any")) {
        return Ok(None);
    }
    let currency = match params.text("currency")? {
        Some(currency) => currency,
        None => params.text("currency_pair")?.unwrap_or("any"),
    };
    if is_settlement(currency) {
        return Ok(Some(CancelScope::Account));
    }
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let found = directory
        .by_coin(currency)
        .or_else(|| directory.by_index(currency));
    found
        .map(|underlying| Some(CancelScope::Underlying(underlying.id)))
        .ok_or_else(|| RpcError::param("currency", "invalid currency"))
}

async fn cancel_quotes(call: &Call) -> Result<Value, RpcError> {
    match call.params.text("cancel_type")? {
        None | Some("all") => cancel_scope(call, CancelScope::Quotes).await,
        Some("instrument") => {
            let (id, _) = instrument(call)?;
            pull_quotes(call, id).await
        }
        Some(_) => Err(RpcError::not_offered(
            "cancel_type must be all or instrument",
        )),
    }
}

async fn pull_quotes(call: &Call, instrument: InstrumentId) -> Result<Value, RpcError> {
    let pulled = Some(QuoteSide {
        price: lifeboat_engine::types::Price::ZERO,
        qty: Qty::ZERO,
    });
    let entry = QuoteEntry {
        instrument,
        bid: pulled,
        ask: pulled,
    };
    let action = Action::MassQuote(MassQuote {
        entries: vec![entry],
        recovery: RecoveryPolicy::Cancel,
    });
    let none = ClientOrderId::default();
    let done = call
        .gateway
        .execute(call.login()?, action, none, None)
        .await?;
    Ok(done.effects.cancelled.into())
}

fn quote_side(entry: &Params, name: &str) -> Result<Option<QuoteSide>, RpcError> {
    let Some(side) = entry.object(name)? else {
        return Ok(None);
    };
    let qty = amount(&side)?.ok_or_else(|| missing("amount"))?;
    let price = match side.price("price")? {
        Some(price) => price,
        None if qty.is_zero() => lifeboat_engine::types::Price::ZERO,
        None => return Err(missing("price")),
    };
    Ok(Some(QuoteSide { price, qty }))
}

fn quotes_of(call: &Call) -> Result<MassQuote, RpcError> {
    let list = call.params.objects("quotes")?;
    if list.is_empty() || list.len() > QUOTES_PER_COMMAND_MAX {
        let reason = format!("must have 1 to {QUOTES_PER_COMMAND_MAX} entries");
        return Err(RpcError::param("quotes", reason));
    }
    let mut entries = Vec::with_capacity(list.len());
    let mut underlyings = std::collections::BTreeSet::new();
    for entry in &list {
        let (instrument, underlying) = named_instrument(call, entry)?;
        underlyings.insert(underlying);
        entries.push(QuoteEntry {
            instrument,
            bid: quote_side(entry, "bid")?,
            ask: quote_side(entry, "ask")?,
        });
    }
    if underlyings.len() > 1 {
        return Err(RpcError::param("quotes", "must all be on one underlying"));
    }
    entries.sort_by_key(|entry| entry.instrument);
    let recovery = recovery(&call.params, RecoveryPolicy::Cancel)?;
    Ok(MassQuote { entries, recovery })
}

async fn mass_quote(call: &Call) -> Result<Value, RpcError> {
    let login = call.login()?;
    let quotes = quotes_of(call)?;
    let sides: usize = quotes
        .entries
        .iter()
        .map(|entry| usize::from(entry.bid.is_some()) + usize::from(entry.ask.is_some()))
        .sum();
    let action = Action::MassQuote(quotes);
    let none = ClientOrderId::default();
    let until = valid_until(&call.params)?;
    let done = call.gateway.execute(login, action, none, until).await?;
    if let Some(connection) = &call.connection {
        connection.quoted();
    }
    Ok(mass_quote_json(call, &done.effects, sides))
}

fn mass_quote_json(call: &Call, effects: &Effects, sides: usize) -> Value {
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let refused = effects.refused.iter().map(|(instrument, side, reject)| {
        json!({
            "instrument_name": directory.name(*instrument),
            "side": match side { Side::Buy => "bid", Side::Sell => "ask" },
            "error": RpcError::from_reject(*reject).to_json(),
        })
    });
    let fills = effects
        .fills
        .iter()
        .map(|fill| render::fill(fill, directory));
    let mut answer = json!({
        "success_count": sides - effects.refused.len().min(sides),
        "errors": refused.collect::<Vec<_>>(),
        "trades": fills.collect::<Vec<_>>(),
        "quote_id": call.params.id("quote_id").ok().flatten(),
    });
    if call.params.flag("detailed").unwrap_or(false) {
        let open = effects
            .orders
            .iter()
            .map(|order| render::order(order, directory));
        answer["orders"] = open.collect();
    }
    answer
}

/// Market-maker protection as Deribit shows it.
pub fn protection_json(index: &str, protection: &MarketMakerProtection) -> Value {
    json!({
        "index_name": index,
        "interval": protection.interval_ms / 1_000,
        "frozen_time": protection.frozen_ms / 1_000,
        "quantity_limit": decimal::qty(protection.qty_max),
        "delta_limit": decimal::qty(protection.delta_max),
        "vega_limit": decimal::cash(protection.vega_max),
    })
}

fn underlying_of_index(call: &Call) -> Result<(UnderlyingId, String), RpcError> {
    let name = call.params.required_text("index_name")?;
    let state = call.gateway.state();
    let found = state.memory.directory.by_index(name);
    let underlying = found.ok_or_else(|| RpcError::param("index_name", "no such index"))?;
    Ok((underlying.id, crate::names::index_name(&underlying.coin)))
}

async fn set_protection(call: &Call) -> Result<Value, RpcError> {
    let params = &call.params;
    let (underlying, index) = underlying_of_index(call)?;
    let millis = |name: &str| -> Result<u32, RpcError> {
        let seconds = params.uint(name)?.unwrap_or(0);
        let millis = seconds
            .checked_mul(1_000)
            .and_then(|ms| u32::try_from(ms).ok());
        millis.ok_or_else(|| RpcError::param(name, "is too long"))
    };
    let vega = params.price("vega_limit")?.unwrap_or_default();
    let protection = MarketMakerProtection {
        underlying,
        interval_ms: millis("interval")?,
        frozen_ms: millis("frozen_time")?,
        qty_max: params.qty("quantity_limit")?.unwrap_or_default(),
        delta_max: params.qty("delta_limit")?.unwrap_or_default(),
        vega_max: Cash::new(vega.get()),
    };
    apply_protection(call, protection).await?;
    Ok(match protection.interval_ms {
        0 => json!([]),
        _ => json!([protection_json(&index, &protection)]),
    })
}

async fn apply_protection(call: &Call, protection: MarketMakerProtection) -> Result<(), RpcError> {
    let none = ClientOrderId::default();
    let action = Action::SetMarketMakerProtection(protection);
    call.gateway
        .execute(call.login()?, action, none, None)
        .await?;
    Ok(())
}

/// Sets the protection again, which starts it afresh.
async fn reset_protection(call: &Call) -> Result<Value, RpcError> {
    let (underlying, _) = underlying_of_index(call)?;
    let account = call.login()?.key.account();
    let mut needs = Needs::default();
    needs.accounts.insert(account);
    let snapshot = call.gateway.read(&needs);
    let held = snapshot.accounts.get(&account);
    let mut protections = held.into_iter().flat_map(|account| &account.protections);
    let set = protections
        .find(|set| set.underlying == underlying)
        .copied();
    let unset = || RpcError::new(11_029, "invalid_arguments").because("no protection is set");
    apply_protection(call, set.ok_or_else(unset)?).await?;
    Ok("ok".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_always_stands_for_one_nonzero_id() {
        assert_eq!(client_id_of("a"), client_id_of("a"));
        assert_ne!(client_id_of("a"), client_id_of("b"));
        // SHA-256 of "a" starts ca978112ca1bbdca.
        assert_eq!(client_id_of("a").get(), 0xca97_8112_ca1b_bdca);
        let explicit = Params::from_query("label=a&client_order_id=7").expect("a query");
        assert_eq!(client_id(&explicit), Ok(ClientOrderId::new(7)));
        let zero = Params::from_query("client_order_id=0").expect("a query");
        assert!(client_id(&zero).is_err());
    }

    #[test]
    fn a_trading_day_ends_at_eight() {
        const HOUR: u64 = 3_600_000;
        for (now, end) in [(9, 32), (32, 56), (31, 32), (8, 32)] {
            assert_eq!(end_of_day(TimeMs::new(now * HOUR)), TimeMs::new(end * HOUR));
        }
    }
}
