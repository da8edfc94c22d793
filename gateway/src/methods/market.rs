//! Public market data.

use lifeboat_engine::types::{InstrumentId, Mode};
use serde_json::{Value, json};

use super::Call;
use crate::candles::resolution_minutes;
use crate::decimal::{price, rounded};
use crate::directory::{Listed, is_settlement};
use crate::error::RpcError;
use crate::gateway::now_ms;
use crate::names;
use crate::params::Params;
use crate::render;
use crate::scene::Scene;
use crate::snapshot::Needs;
use crate::tape::PublicTrade;

/// Answers a public method about the market; `None` when there is no such method.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "get_time" => Ok(now_ms().into()),
        "status" => Ok(status(call)),
        "get_currencies" => Ok(currencies(call)),
        "get_instruments" => instruments(call),
        "get_instrument" => instrument(call),
        "get_contract_size" => named(call).map(|_| json!({ "contract_size": 1.0 })),
        "get_expirations" => expirations(call),
        "get_order_book" => order_book(call),
        "ticker" | "get_ticker" => ticker(call),
        "get_book_summary_by_instrument" => summary_of_instrument(call),
        "get_book_summary_by_currency" => summaries(call),
        "get_last_trades_by_instrument" | "get_last_trades_by_instrument_and_time" => {
            trades_of_instrument(call)
        }
        "get_last_trades_by_currency" | "get_last_trades_by_currency_and_time" => {
            trades_of_currency(call)
        }
        "get_index_price" => index_price(call),
        "get_index_price_names" | "get_supported_index_names" => Ok(index_names(call)),
        "get_tradingview_chart_data" => chart(call),
        "get_historical_volatility" => historical_volatility(call),
        "get_mark_price_history" => named(call).map(|_| json!([])),
        "get_delivery_prices" => Ok(json!({ "data": [], "records_total": 0 })),
        "get_last_settlements_by_instrument" | "get_last_settlements_by_currency" => {
            settlements(call)
        }
        "get_announcements" => Ok(json!([])),
        "get_trade_volumes" => Ok(trade_volumes(call)),
        _ => return None,
    })
}

fn status(call: &Call) -> Value {
    let state = call.gateway.state();
    let memory = &state.memory;
    let mode = memory.clock.mode;
    let all = memory.directory.underlyings().iter();
    let stopped = all.filter(|underlying| {
        let standing = memory.standings.get(&underlying.id);
        mode == Mode::Open && standing.is_some_and(|standing| standing.mode != Mode::Open)
    });
    let stopped: Vec<&str> = stopped.map(|underlying| underlying.coin.as_str()).collect();
    let locked = match mode {
        Mode::Open if stopped.is_empty() => "false",
        Mode::Open | Mode::PostOnly | Mode::Auction => "partial",
        _ => "true",
    };
    json!({ "locked": locked, "locked_currencies": stopped, "mode": format!("{mode:?}") })
}

fn currencies(call: &Call) -> Value {
    let state = call.gateway.state();
    let coins = state.memory.directory.underlyings().iter();
    let entry = |currency: &str, long: &str| {
        json!({
            "currency": currency,
            "currency_long": long,
            "coin_type": currency,
            "network_currency": currency,
            "fee_precision": 6,
            "decimals": if currency == "USDC" { 6 } else { 8 },
            "min_confirmations": 1,
            "min_withdrawal_fee": 0.0,
            "withdrawal_fee": 0.0,
            "network_fee": 0.0,
            "withdrawal_priorities": [],
            "in_cross_collateral_pool": false,
            "apr": 0.0,
        })
    };
    let mut list: Vec<Value> = coins.map(|u| entry(&u.coin, long_name(&u.coin))).collect();
    list.push(entry("USDC", "USD Coin"));
    list.into()
}

fn long_name(coin: &str) -> &str {
    match coin {
        "BTC" => "Bitcoin",
        "ETH" => "Ethereum",
        other => other,
    }
}

/// The currency filter: a coin, `USDC` (all) or `any`; absent is all.
fn currency(call: &Call) -> Result<String, RpcError> {
    let text = call.params.text("currency")?.unwrap_or("any").to_owned();
    let state = call.gateway.state();
    let known = is_settlement(&text) || state.memory.directory.by_coin(&text).is_some();
    if known {
        return Ok(text);
    }
    Err(RpcError::param("currency", "invalid currency"))
}

/// Whether the kind filter, when given, lets options through.
fn wants_options(params: &Params) -> Result<bool, RpcError> {
    match params.text("kind")? {
        None | Some("option" | "any") => Ok(true),
        Some("future" | "spot" | "future_combo" | "option_combo") => Ok(false),
        Some(_) => Err(RpcError::param("kind", "invalid kind")),
    }
}

fn named(call: &Call) -> Result<Listed, RpcError> {
    let name = call.params.required_text("instrument_name")?;
    let state = call.gateway.state();
    state
        .memory
        .directory
        .find(name)
        .cloned()
        .ok_or_else(not_found)
}

/// The error for an instrument that is not listed.
pub fn not_found() -> RpcError {
    RpcError::new(13_020, "not_found").with_data(json!({
        "param": "instrument_name",
        "reason": "instrument not found",
    }))
}

fn instruments(call: &Call) -> Result<Value, RpcError> {
    let currency = currency(call)?;
    let (options, expired) = (wants_options(&call.params)?, call.params.flag("expired")?);
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let listed = directory.iter().filter(|listed| {
        options
            && listed.instrument.open != expired
            && directory.in_currency(listed.instrument.id, &currency)
    });
    let rendered = listed.filter_map(|listed| {
        let underlying = directory.underlying(listed.instrument.terms.underlying)?;
        Some(render::instrument(listed, underlying))
    });
    Ok(rendered.collect())
}

fn instrument(call: &Call) -> Result<Value, RpcError> {
    let listed = named(call)?;
    let state = call.gateway.state();
    let underlying = listed.instrument.terms.underlying;
    let underlying = state.memory.directory.underlying(underlying);
    underlying
        .map(|underlying| render::instrument(&listed, underlying))
        .ok_or_else(not_found)
}

fn expirations(call: &Call) -> Result<Value, RpcError> {
    let currency = currency(call)?;
    let options = wants_options(&call.params)?;
    let state = call.gateway.state();
    let directory = &state.memory.directory;
    let mut expiries: Vec<u64> = directory
        .iter()
        .filter(|listed| listed.instrument.open)
        .filter(|listed| directory.in_currency(listed.instrument.id, &currency))
        .map(|listed| listed.instrument.terms.expiry.get())
        .collect();
    expiries.sort_unstable();
    expiries.dedup();
    let names: Vec<String> = expiries
        .into_iter()
        .map(|expiry| names::expiry_name(lifeboat_engine::types::TimeMs::new(expiry)))
        .collect();
    let names = if options { names } else { Vec::new() };
    Ok(json!({ currency.to_ascii_lowercase(): { "future": [], "option": names } }))
}

/// Reads an instrument's book and mark, and renders it.
fn quoted(
    call: &Call,
    levels: usize,
    render: impl FnOnce(&render::Quote<'_>, u64) -> Value,
) -> Result<Value, RpcError> {
    let listed = named(call)?;
    let id = listed.instrument.id;
    let mut needs = Needs::default();
    needs.instrument(id, levels);
    needs.underlyings.insert(listed.instrument.terms.underlying);
    let snapshot = call.gateway.read(&needs);
    let state = call.gateway.state();
    let scene = Scene {
        memory: &state.memory,
        snapshot: &snapshot,
    };
    let quote = scene.quote(id).ok_or_else(not_found)?;
    Ok(render(&quote, state.memory.clock.event))
}

fn order_book(call: &Call) -> Result<Value, RpcError> {
    let depth = match call.params.uint("depth")? {
        None => 5,
        Some(depth @ 1..=10_000) => depth as usize,
        Some(_) => return Err(RpcError::param("depth", "must be within 1..10000")),
    };
    quoted(call, depth, |quote, change_id| quote.book(change_id))
}

fn ticker(call: &Call) -> Result<Value, RpcError> {
    quoted(call, 1, |quote, _| quote.ticker())
}

fn summary_of_instrument(call: &Call) -> Result<Value, RpcError> {
    quoted(call, 1, |quote, _| json!([quote.summary()]))
}

fn summaries(call: &Call) -> Result<Value, RpcError> {
    call.params.required_text("currency")?;
    let currency = currency(call)?;
    if !wants_options(&call.params)? {
        return Ok(json!([]));
    }
    let mut needs = Needs::default();
    {
        let state = call.gateway.state();
        let directory = &state.memory.directory;
        for listed in directory.iter().filter(|listed| listed.instrument.open) {
            if directory.in_currency(listed.instrument.id, &currency) {
                needs.instrument(listed.instrument.id, 1);
                needs.underlyings.insert(listed.instrument.terms.underlying);
            }
        }
    }
    let snapshot = call.gateway.read(&needs);
    let state = call.gateway.state();
    let scene = Scene {
        memory: &state.memory,
        snapshot: &snapshot,
    };
    let quotes = needs.instruments.keys().filter_map(|id| scene.quote(*id));
    Ok(quotes.map(|quote| quote.summary()).collect())
}

/// `count`, time and sequence bounds of a history request.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    count: usize,
    from_ms: u64,
    to_ms: u64,
    from_seq: u64,
    to_seq: u64,
    ascending: bool,
}

impl Page {
    /// Reads them, with so many items by default and at most.
    ///
    /// # Errors
    /// `Invalid params`.
    pub fn read(params: &Params, default: u64, most: u64) -> Result<Self, RpcError> {
        let count = params.uint("count")?.unwrap_or(default);
        if count == 0 || count > most {
            return Err(RpcError::param(
                "count",
                format!("must be within 1..{most}"),
            ));
        }
        let by_time = params.has("start_timestamp") || params.has("start_seq");
        let ascending = match params.text("sorting")? {
            Some("asc") => true,
            Some("desc") => false,
            None | Some("default") => by_time,
            Some(_) => return Err(RpcError::param("sorting", "must be asc, desc or default")),
        };
        Ok(Self {
            count: count as usize,
            from_ms: params.uint("start_timestamp")?.unwrap_or(0),
            to_ms: params.uint("end_timestamp")?.unwrap_or(u64::MAX),
            from_seq: params.uint("start_seq")?.unwrap_or(0),
            to_seq: params.uint("end_seq")?.unwrap_or(u64::MAX),
            ascending,
        })
    }

    /// Whether an item's time and number are within the bounds.
    pub fn holds(&self, time_ms: u64, seq: u64) -> bool {
        (self.from_ms..=self.to_ms).contains(&time_ms)
            && (self.from_seq..=self.to_seq).contains(&seq)
    }

    /// The page of items given oldest first, and whether there are more.
    pub fn cut<T>(&self, mut items: Vec<T>) -> (Vec<T>, bool) {
        if !self.ascending {
            items.reverse();
        }
        let more = items.len() > self.count;
        items.truncate(self.count);
        (items, more)
    }
}

fn trades_of_instrument(call: &Call) -> Result<Value, RpcError> {
    let id = named(call)?.instrument.id;
    trades(call, |trade| trade.instrument == id, Some(id))
}

fn trades_of_currency(call: &Call) -> Result<Value, RpcError> {
    call.params.required_text("currency")?;
    let currency = currency(call)?;
    let options = wants_options(&call.params)?;
    trades_filtered(call, options, &currency)
}

fn trades_filtered(call: &Call, options: bool, currency: &str) -> Result<Value, RpcError> {
    let ids: std::collections::BTreeSet<InstrumentId> = {
        let state = call.gateway.state();
        let directory = &state.memory.directory;
        let listed = directory.iter().map(|listed| listed.instrument.id);
        listed
            .filter(|id| options && directory.in_currency(*id, currency))
            .collect()
    };
    trades(call, |trade| ids.contains(&trade.instrument), None)
}

fn trades(
    call: &Call,
    covers: impl Fn(&PublicTrade) -> bool,
    only: Option<InstrumentId>,
) -> Result<Value, RpcError> {
    let page = Page::read(&call.params, 10, 1_000)?;
    let state = call.gateway.state();
    let memory = &state.memory;
    let tapes = memory.tapes.iter();
    let mut found: Vec<&PublicTrade> = tapes
        .filter(|(id, _)| only.is_none_or(|only| only == **id))
        .flat_map(|(_, tape)| tape.trades())
        .filter(|trade| covers(trade) && page.holds(trade.time.get(), trade.seq))
        .collect();
    found.sort_unstable_by_key(|trade| trade.trade);
    let (found, more) = page.cut(found);
    let trades: Vec<Value> = found
        .into_iter()
        .map(|trade| render::public_trade(trade, &memory.directory))
        .collect();
    Ok(json!({ "trades": trades, "has_more": more }))
}

fn index_price(call: &Call) -> Result<Value, RpcError> {
    let name = call.params.required_text("index_name")?;
    let unknown = || RpcError::param("index_name", "no such index");
    let id = {
        let state = call.gateway.state();
        state
            .memory
            .directory
            .by_index(name)
            .ok_or_else(unknown)?
            .id
    };
    let mut needs = Needs::default();
    needs.underlyings.insert(id);
    let snapshot = call.gateway.read(&needs);
    let lost = RpcError::new(10_040, "retry").because("too few good sources for an index now");
    let index = price(*snapshot.indices.get(&id).ok_or(lost)?);
    Ok(json!({ "index_price": index, "estimated_delivery_price": index }))
}

fn index_names(call: &Call) -> Value {
    let state = call.gateway.state();
    let underlyings = state.memory.directory.underlyings().iter();
    underlyings
        .map(|u| Value::from(names::index_name(&u.coin)))
        .collect()
}

fn chart(call: &Call) -> Result<Value, RpcError> {
    let id = named(call)?.instrument.id;
    let params = &call.params;
    let need = |name| {
        params
            .uint(name)?
            .ok_or_else(|| crate::params::missing(name))
    };
    let (from, to) = (need("start_timestamp")?, need("end_timestamp")?);
    if from > to {
        return Err(RpcError::param(
            "end_timestamp",
            "must not be before start_timestamp",
        ));
    }
    let minutes = resolution_minutes(&params.id("resolution")?.unwrap_or_default())
        .ok_or_else(|| RpcError::param("resolution", "unknown resolution"))?;
    let state = call.gateway.state();
    let to = to.min(state.memory.clock.time.get());
    let tape = state.memory.tapes.get(&id);
    let candles = tape.map(|tape| tape.candles().range(from, to, minutes));
    Ok(render::chart(&candles.unwrap_or_default()))
}

fn historical_volatility(call: &Call) -> Result<Value, RpcError> {
    let coin = call.params.required_text("currency")?;
    let state = call.gateway.state();
    let underlying = state.memory.directory.by_coin(coin);
    let underlying = underlying.ok_or_else(|| RpcError::param("currency", "invalid currency"))?;
    let history = state.memory.indices.get(&underlying.id);
    let realised = history
        .map(|history| history.realised())
        .unwrap_or_default();
    Ok(realised
        .into_iter()
        .map(|(time, volatility)| json!([time, rounded(volatility, 6)]))
        .collect())
}

fn settlements(call: &Call) -> Result<Value, RpcError> {
    let page = Page::read(&call.params, 20, 1_000)?;
    let wanted = call.params.text("type")?;
    let only = call.params.text("instrument_name")?.map(str::to_owned);
    let currency = currency(call)?;
    let state = call.gateway.state();
    let memory = &state.memory;
    let found = memory.settlements.iter().filter(|settled| {
        let name = memory.directory.name(settled.instrument);
        wanted.is_none_or(|kind| kind == "delivery")
            && only.as_ref().is_none_or(|only| only == name)
            && memory.directory.in_currency(settled.instrument, &currency)
    });
    let (found, _) = page.cut(found.collect());
    let list: Vec<Value> = found
        .into_iter()
        .map(|settled| {
            json!({
                "type": "delivery",
                "timestamp": settled.time.get(),
                "instrument_name": memory.directory.name(settled.instrument),
                "index_price": price(settled.settlement),
                "mark_price": price(settled.payoff),
            })
        })
        .collect();
    Ok(json!({ "settlements": list, "continuation": Value::Null }))
}

fn trade_volumes(call: &Call) -> Value {
    let state = call.gateway.state();
    let memory = &state.memory;
    let day = |id: &InstrumentId| {
        let tape = memory.tapes.get(id);
        tape.map_or(0.0, |tape| {
            tape.stats(memory.clock.time).volume.get() as f64 * 1e-8
        })
    };
    let kinds = |coin: &str, kind| -> f64 {
        let listed = memory.directory.iter().filter(|listed| {
            listed.instrument.terms.kind == kind
                && memory.directory.coin(listed.instrument.id) == coin
        });
        listed.map(|listed| day(&listed.instrument.id)).sum()
    };
    use lifeboat_engine::types::OptionKind::{Call as CallOption, Put as PutOption};
    let coins = memory.directory.underlyings().iter();
    coins
        .map(|u| {
            json!({
                "currency": format!("{}_USDC", u.coin),
                "calls_volume": rounded(kinds(&u.coin, CallOption), 8),
                "puts_volume": rounded(kinds(&u.coin, PutOption), 8),
                "futures_volume": 0.0,
                "spot_volume": 0.0,
            })
        })
        .collect()
}
