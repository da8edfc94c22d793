//! Deribit's JSON for instruments, books, tickers, orders, trades, positions and accounts.
//!
//! Pure functions of plain data. Prices are in USDC, sizes in coin.

use lifeboat_engine::event::CancelReason;
use lifeboat_engine::types::{
    AccountId, Cash, DAY_MS, MarginModel, OptionKind, PostOnly, Price, Qty, Side, TimeInForce,
    TimeMs,
};
use serde_json::{Value, json};

use crate::candles::Candle;
use crate::decimal::{cash, float, price, qty, rounded};
use crate::directory::{Directory, Listed};
use crate::names;
use crate::orders::{Fill, OrderRecord, OrderState};
use crate::tape::{PublicTrade, Stats};
use crate::view::{Account, Depth, Level, Mark, Position, Underlying};

/// Deribit's word for a side.
pub const fn direction(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

fn optional(value: Option<Price>) -> Value {
    value.map_or(Value::Null, price)
}

fn percent(fraction: Option<f64>) -> Value {
    fraction.map_or(Value::Null, |value| rounded(100.0 * value, 2))
}

/// An instrument as `public/get_instruments` has it.
pub fn instrument(listed: &Listed, underlying: &Underlying) -> Value {
    let terms = &listed.instrument.terms;
    let kind = match terms.kind {
        OptionKind::Call => "call",
        OptionKind::Put => "put",
    };
    json!({
        "instrument_name": listed.name,
        "instrument_id": listed.instrument.id.get(),
        "kind": "option",
        "instrument_type": "linear",
        "option_type": kind,
        "strike": price(terms.strike),
        "expiration_timestamp": terms.expiry.get(),
        "creation_timestamp": listed.instrument.listed_at.get(),
        "is_active": listed.instrument.open,
        "state": state(listed),
        "settlement_period": settlement_period(listed.instrument.listed_at, terms.expiry),
        "settlement_currency": "USDC",
        "base_currency": underlying.coin,
        "counter_currency": "USDC",
        "quote_currency": "USDC",
        "price_index": names::index_name(&underlying.coin),
        "tick_size": price(underlying.tick),
        "tick_size_steps": [],
        "min_trade_amount": qty(underlying.lot),
        "contract_size": 1.0,
        "maker_commission": float(underlying.maker_fee),
        "taker_commission": float(underlying.taker_fee),
        "block_trade_commission": float(underlying.taker_fee),
        "rfq": false,
    })
}

fn state(listed: &Listed) -> &'static str {
    if listed.instrument.open {
        "open"
    } else {
        "closed"
    }
}

fn settlement_period(listed: TimeMs, expiry: TimeMs) -> &'static str {
    match expiry.since(listed) / DAY_MS {
        0..=3 => "day",
        4..=31 => "week",
        _ => "month",
    }
}

/// `[price, size]` of each level.
pub fn levels(levels: &[Level]) -> Value {
    levels
        .iter()
        .map(|level| json!([price(level.price), qty(level.qty)]))
        .collect()
}

/// All that a ticker, a book or a summary is made of.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// The instrument.
    pub listed: &'a Listed,
    /// Its coin.
    pub coin: &'a str,
    /// Its book, at least the best levels.
    pub depth: &'a Depth,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Its underlying's index.
    pub index: Option<Price>,
    /// Sum of long positions.
    pub open_interest: Qty,
    /// Its last traded price.
    pub last: Option<Price>,
    /// Its 24-hour figures.
    pub stats: Stats,
    /// The block time it all holds for.
    pub time: TimeMs,
}

impl Quote<'_> {
    fn best(side: &[Level]) -> (Value, Value) {
        side.first().map_or((Value::Null, float(0.0)), |level| {
            (price(level.price), qty(level.qty))
        })
    }

    fn underlying_index(&self) -> String {
        let expiry = names::expiry_name(self.listed.instrument.terms.expiry);
        format!("SYN.{}_USDC-{expiry}", self.coin)
    }

    /// `public/ticker` and the ticker channel.
    pub fn ticker(&self) -> Value {
        let (bid, bid_qty) = Self::best(&self.depth.bids);
        let (ask, ask_qty) = Self::best(&self.depth.asks);
        let mark = self.mark;
        json!({
            "timestamp": self.time.get(),
            "state": state(self.listed),
            "instrument_name": self.listed.name,
            "best_bid_price": bid,
            "best_bid_amount": bid_qty,
            "best_ask_price": ask,
            "best_ask_amount": ask_qty,
            "last_price": optional(self.last),
            "mark_price": optional(mark.map(|mark| mark.price)),
            "mark_iv": percent(mark.map(|mark| mark.iv)),
            "index_price": optional(self.index),
            "estimated_delivery_price": optional(self.index),
            "settlement_price": Value::Null,
            "underlying_price": optional(mark.map(|mark| mark.forward)),
            "underlying_index": self.underlying_index(),
            "interest_rate": 0.0,
            "open_interest": qty(self.open_interest),
            "greeks": greeks(mark),
            "stats": stats(&self.stats),
        })
    }

    /// `public/get_order_book`: the ticker with levels.
    pub fn book(&self, change_id: u64) -> Value {
        let mut book = self.ticker();
        book["bids"] = levels(&self.depth.bids);
        book["asks"] = levels(&self.depth.asks);
        book["change_id"] = change_id.into();
        book
    }

    /// One entry of `public/get_book_summary_by_*`.
    pub fn summary(&self) -> Value {
        let bid = self.depth.bids.first().map(|level| level.price);
        let ask = self.depth.asks.first().map(|level| level.price);
        let mid = bid.zip(ask).map_or(Value::Null, |(bid, ask)| {
            float((bid.get() + ask.get()) as f64 * 0.5e-6)
        });
        json!({
            "instrument_name": self.listed.name,
            "base_currency": self.coin,
            "quote_currency": "USDC",
            "bid_price": optional(bid),
            "ask_price": optional(ask),
            "mid_price": mid,
            "mark_price": optional(self.mark.map(|mark| mark.price)),
            "mark_iv": percent(self.mark.map(|mark| mark.iv)),
            "last": optional(self.last),
            "high": optional(self.stats.high),
            "low": optional(self.stats.low),
            "volume": qty(self.stats.volume),
            "volume_usd": rounded(self.stats.cost, 2),
            "volume_notional": rounded(self.stats.cost, 2),
            "price_change": self.stats.change_percent.map_or(Value::Null, |c| rounded(c, 4)),
            "open_interest": qty(self.open_interest),
            "underlying_price": optional(self.mark.map(|mark| mark.forward)),
            "underlying_index": self.underlying_index(),
            "estimated_delivery_price": optional(self.index),
            "interest_rate": 0.0,
            "creation_timestamp": self.time.get(),
        })
    }

    /// The quote channel.
    pub fn quote(&self) -> Value {
        let (bid, bid_qty) = Self::best(&self.depth.bids);
        let (ask, ask_qty) = Self::best(&self.depth.asks);
        json!({
            "timestamp": self.time.get(),
            "instrument_name": self.listed.name,
            "best_bid_price": bid,
            "best_bid_amount": bid_qty,
            "best_ask_price": ask,
            "best_ask_amount": ask_qty,
        })
    }
}

fn greeks(mark: Option<Mark>) -> Value {
    mark.map_or(Value::Null, |mark| {
        json!({
            "delta": rounded(mark.delta, 5),
            "gamma": rounded(mark.gamma, 8),
            "vega": rounded(mark.vega, 5),
            "theta": rounded(mark.theta, 5),
            "rho": 0.0,
        })
    })
}

fn stats(stats: &Stats) -> Value {
    json!({
        "volume": qty(stats.volume),
        "volume_usd": rounded(stats.cost, 2),
        "high": optional(stats.high),
        "low": optional(stats.low),
        "price_change": stats.change_percent.map_or(Value::Null, |c| rounded(c, 4)),
    })
}

/// A trade as everybody sees it.
pub fn public_trade(trade: &PublicTrade, directory: &Directory) -> Value {
    json!({
        "trade_id": trade.trade.to_string(),
        "trade_seq": trade.seq,
        "timestamp": trade.time.get(),
        "instrument_name": directory.name(trade.instrument),
        "price": price(trade.price),
        "amount": qty(trade.qty),
        "contracts": qty(trade.qty),
        "direction": direction(trade.side),
        "tick_direction": trade.tick_direction,
        "mark_price": optional(trade.mark),
        "iv": percent(trade.iv),
        "index_price": optional(trade.index),
    })
}

/// A fill as its owner sees it.
pub fn fill(fill: &Fill, directory: &Directory) -> Value {
    json!({
        "trade_id": fill.trade.to_string(),
        "event": fill.event,
        "trade_seq": fill.seq,
        "timestamp": fill.time.get(),
        "instrument_name": directory.name(fill.instrument),
        "price": price(fill.price),
        "amount": qty(fill.qty),
        "contracts": qty(fill.qty),
        "direction": direction(fill.side),
        "tick_direction": fill.tick_direction,
        "mark_price": optional(fill.mark),
        "iv": percent(fill.iv),
        "index_price": optional(fill.index),
        "underlying_price": optional(fill.index),
        "order_id": fill.order.to_string(),
        "order_type": order_type(&fill.after),
        "liquidity": if fill.maker { "M" } else { "T" },
        "fee": cash(fill.fee),
        "fee_currency": "USDC",
        "state": order_state(&fill.after),
        "label": fill.after.label,
        "post_only": fill.after.post_only != PostOnly::Off,
        "reduce_only": fill.after.reduce_only,
        "self_trade": false,
        "api": true,
        "mmp": fill.after.protected,
        "profit_loss": 0.0,
        "matching_id": Value::Null,
    })
}

fn order_type(order: &OrderRecord) -> &'static str {
    if order.market { "market" } else { "limit" }
}

fn order_state(order: &OrderRecord) -> &'static str {
    match order.state {
        OrderState::Open => "open",
        OrderState::Filled => "filled",
        OrderState::Cancelled(_) | OrderState::Gone => "cancelled",
    }
}

/// An order.
pub fn order(order: &OrderRecord, directory: &Directory) -> Value {
    let mut value = json!({
        "order_id": order.order.to_string(),
        "instrument_name": directory.name(order.instrument),
        "direction": direction(order.side),
        "order_type": order_type(order),
        "order_state": order_state(order),
        "price": if order.market { "market_price".into() } else { price(order.price) },
        "amount": qty(order.qty),
        "contracts": qty(order.qty),
        "filled_amount": qty(order.filled),
        "average_price": rounded(order.average_price(), 6),
        "commission": cash(order.fee),
        "time_in_force": time_in_force(order.time_in_force),
        "post_only": order.post_only != PostOnly::Off,
        "reject_post_only": order.post_only == PostOnly::Reject,
        "reduce_only": order.reduce_only,
        "replaced": order.replaced,
        "mmp": order.protected,
        "quote": order.quote,
        "label": order.label,
        "client_order_id": order.client_id.to_string(),
        "max_show": qty(order.qty),
        "creation_timestamp": order.created.get(),
        "last_update_timestamp": order.updated.get(),
        "api": true,
        "web": false,
        "is_liquidation": false,
        "risk_reducing": false,
        "profit_loss": 0.0,
    });
    if let TimeInForce::GoodTilDate(until) = order.time_in_force {
        value["valid_until"] = until.get().into();
    }
    if let OrderState::Cancelled(reason) = order.state {
        value["cancel_reason"] = cancel_reason(reason).into();
    }
    if order.state == OrderState::Gone {
        value["cancel_reason"] = "unknown".into();
    }
    value
}

const fn time_in_force(value: TimeInForce) -> &'static str {
    match value {
        TimeInForce::GoodTilCancelled => "good_til_cancelled",
        TimeInForce::GoodTilDate(_) => "good_til_date",
        TimeInForce::ImmediateOrCancel => "immediate_or_cancel",
        TimeInForce::FillOrKill => "fill_or_kill",
    }
}

/// Why an order ended, in a word.
pub const fn cancel_reason(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::User => "user_request",
        CancelReason::Immediate => "immediate_or_cancel",
        CancelReason::Expired => "expired",
        CancelReason::SelfTrade => "self_trade",
        CancelReason::Protection => "mmp_trigger",
        CancelReason::Liquidation => "liquidation",
        CancelReason::Settlement => "settlement",
        CancelReason::Recovery => "recovery",
        CancelReason::Requoted => "quote_replaced",
        CancelReason::NotReducing => "not_reducing",
        CancelReason::AuctionCollar => "auction_collar",
        CancelReason::AuctionMargin => "auction_margin",
        CancelReason::AuctionAborted => "auction_aborted",
    }
}

/// Everything that a position's JSON is made of.
#[derive(Clone, Copy, Debug)]
pub struct PositionParts<'a> {
    /// The position.
    pub position: Position,
    /// The instrument's mark.
    pub mark: Option<Mark>,
    /// The underlying's index.
    pub index: Option<Price>,
    /// Names.
    pub directory: &'a Directory,
}

/// The mean price a position was opened at, in USDC; 0 without a position.
fn average_price(position: Position) -> f64 {
    match position.qty.get() {
        0 => 0.0,
        held => position.cost.get() as f64 * 1e2 / held as f64,
    }
}

/// A position.
pub fn position(parts: &PositionParts<'_>) -> Value {
    let size = parts.position.qty.get() as f64 * 1e-8;
    let mark = parts.mark.unwrap_or_default();
    let mark_price = mark.price.get() as f64 * 1e-6;
    let average = average_price(parts.position);
    let floating = size * (mark_price - average);
    json!({
        "instrument_name": parts.directory.name(parts.position.instrument),
        "kind": "option",
        "size": float(size),
        "direction": match parts.position.qty.get() {
            0 => "zero",
            1.. => "buy",
            _ => "sell",
        },
        "average_price": rounded(average, 6),
        "average_price_usd": rounded(average, 6),
        "mark_price": price(mark.price),
        "index_price": optional(parts.index),
        "settlement_price": Value::Null,
        "floating_profit_loss": rounded(floating, 6),
        "floating_profit_loss_usd": rounded(floating, 6),
        "realized_profit_loss": 0.0,
        "total_profit_loss": rounded(floating, 6),
        "delta": rounded(size * mark.delta, 6),
        "gamma": rounded(size * mark.gamma, 8),
        "vega": rounded(size * mark.vega, 6),
        "theta": rounded(size * mark.theta, 6),
        "initial_margin": Value::Null,
        "maintenance_margin": Value::Null,
    })
}

/// Greeks of a whole portfolio.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greeks {
    /// Delta in coin.
    pub delta: f64,
    /// Gamma.
    pub gamma: f64,
    /// Vega in USDC for one volatility point.
    pub vega: f64,
    /// Theta in USDC for one day.
    pub theta: f64,
}

/// An account's summary in one currency. Only USDC holds anything.
pub fn account_summary(
    account: &Account,
    id: AccountId,
    currency: &str,
    total: Greeks,
    unrealised: f64,
) -> Value {
    let holds = currency == "USDC";
    let show = |value: Cash| cash(if holds { value } else { Cash::ZERO });
    let equity = account.equity;
    let options_value = Cash::new(equity.get().saturating_sub(account.cash.get()));
    let free = equity.get().saturating_sub(account.initial_margin.get());
    let model = match account.model {
        MarginModel::Portfolio => "segregated_pm",
        MarginModel::Standard => "segregated_sm",
    };
    json!({
        "currency": currency,
        "id": id.get(),
        "type": "main",
        "username": format!("account{id}"),
        "system_name": format!("account{id}"),
        "balance": show(account.cash),
        "equity": show(equity),
        "margin_balance": show(equity),
        "available_funds": show(Cash::new(free)),
        "available_withdrawal_funds": show(Cash::new(free.min(account.cash.get()).max(0))),
        "initial_margin": show(account.initial_margin),
        "maintenance_margin": show(account.maintenance_margin),
        "projected_initial_margin": show(account.initial_margin),
        "projected_maintenance_margin": show(account.maintenance_margin),
        "options_value": show(options_value),
        "options_pl": rounded(if holds { unrealised } else { 0.0 }, 6),
        "options_delta": rounded(if holds { total.delta } else { 0.0 }, 6),
        "options_gamma": rounded(if holds { total.gamma } else { 0.0 }, 8),
        "options_vega": rounded(if holds { total.vega } else { 0.0 }, 6),
        "options_theta": rounded(if holds { total.theta } else { 0.0 }, 6),
        "delta_total": rounded(if holds { total.delta } else { 0.0 }, 6),
        "total_pl": rounded(if holds { unrealised } else { 0.0 }, 6),
        "session_upl": 0.0,
        "session_rpl": 0.0,
        "futures_pl": 0.0,
        "futures_session_upl": 0.0,
        "futures_session_rpl": 0.0,
        "options_session_upl": 0.0,
        "options_session_rpl": 0.0,
        "fee_balance": 0.0,
        "spot_reserve": 0.0,
        "additional_reserve": 0.0,
        "portfolio_margining_enabled": account.model == MarginModel::Portfolio,
        "cross_collateral_enabled": false,
        "margin_model": model,
    })
}

/// Sums of an account's greeks and unrealised profit over its positions.
pub fn portfolio(
    account: &Account,
    mut mark_of: impl FnMut(Position) -> Option<Mark>,
) -> (Greeks, f64) {
    let mut total = Greeks::default();
    let mut unrealised = 0.0;
    for &position in &account.positions {
        let mark = mark_of(position).unwrap_or_default();
        let size = position.qty.get() as f64 * 1e-8;
        total.delta += size * mark.delta;
        total.gamma += size * mark.gamma;
        total.vega += size * mark.vega;
        total.theta += size * mark.theta;
        unrealised += size * (mark.price.get() as f64 * 1e-6 - average_price(position));
    }
    (total, unrealised)
}

/// A candle of the chart channel.
pub fn candle(candle: &Candle) -> Value {
    json!({
        "tick": candle.start.get(),
        "open": price(candle.open),
        "high": price(candle.high),
        "low": price(candle.low),
        "close": price(candle.close),
        "volume": qty(candle.volume),
        "cost": rounded(candle.cost, 6),
    })
}

/// `public/get_tradingview_chart_data`.
pub fn chart(candles: &[Candle]) -> Value {
    let column = |of: fn(&Candle) -> Value| candles.iter().map(of).collect::<Vec<Value>>();
    json!({
        "status": if candles.is_empty() { "no_data" } else { "ok" },
        "ticks": column(|c| c.start.get().into()),
        "open": column(|c| price(c.open)),
        "high": column(|c| price(c.high)),
        "low": column(|c| price(c.low)),
        "close": column(|c| price(c.close)),
        "volume": column(|c| qty(c.volume)),
        "cost": column(|c| rounded(c.cost, 6)),
    })
}
