//! What the gateway reads of the venue's state, as plain data.
//!
//! **Owns** the one place where the engine's read API is named. Everything else in the gateway sees
//! only these types.

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{
    AccountId, Cash, ClientOrderId, Height, InstrumentId, MarginModel, Mode, OrderId, Price, Qty,
    Side, TimeMs, UnderlyingId,
};

/// An underlying and the rules of its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Underlying {
    /// Its id.
    pub id: UnderlyingId,
    /// The coin: `BTC`.
    pub coin: String,
    /// Smallest price step.
    pub tick: Price,
    /// Smallest size step.
    pub lot: Qty,
    /// Maker's fee as a fraction of the index price.
    pub maker_fee: f64,
    /// Taker's fee as a fraction of the index price.
    pub taker_fee: f64,
}

/// A listed option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instrument {
    /// Its id.
    pub id: InstrumentId,
    /// Its terms.
    pub terms: OptionTerms,
    /// Whether it can be traded (neither settling nor settled).
    pub open: bool,
}

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price.
    pub price: Price,
    /// Size of all orders at it.
    pub qty: Qty,
}

/// Levels of both sides, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Bids, highest first.
    pub bids: Vec<Level>,
    /// Asks, lowest first.
    pub asks: Vec<Level>,
}

/// An option's mark and what follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    /// Mark price.
    pub price: Price,
    /// Implied volatility, 0.55 for 55 %.
    pub iv: f64,
    /// The forward it was computed from.
    pub forward: Price,
    /// Change of price for one USDC of forward.
    pub delta: f64,
    /// Change of delta for one USDC of forward.
    pub gamma: f64,
    /// Change of price for one volatility point.
    pub vega: f64,
    /// Change of price in one day.
    pub theta: f64,
}

/// An account's money and margin.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Settled cash.
    pub cash: Cash,
    /// Mark-to-market value of its positions.
    pub options_value: Cash,
    /// Initial margin required, open orders included.
    pub initial_margin: Cash,
    /// Maintenance margin required.
    pub maintenance_margin: Cash,
    /// Its margin model.
    pub model: MarginModel,
    /// Its positions, signed.
    pub positions: Vec<Position>,
}

/// A holding in one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Where.
    pub instrument: InstrumentId,
    /// How much; negative is short.
    pub qty: Qty,
}

/// A resting order as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its id.
    pub order: OrderId,
    /// The client's id, or 0.
    pub client_id: ClientOrderId,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// At which price.
    pub price: Price,
    /// What is left of it.
    pub open_qty: Qty,
    /// Whether it is a side of a quote.
    pub quote: bool,
}

/// The venue's state as the gateway reads it.
pub trait View {
    /// The latest applied height.
    fn height(&self) -> Height;
    /// Its time.
    fn time(&self) -> TimeMs;
    /// The mode.
    fn mode(&self) -> Mode;
    /// The configured underlyings.
    fn underlyings(&self) -> Vec<Underlying>;
    /// Every instrument that has not settled, in listing order.
    fn instruments(&self) -> Vec<Instrument>;
    /// At most `levels` a side.
    fn depth(&self, instrument: InstrumentId, levels: usize) -> Depth;
    /// The mark, when there is one.
    fn mark(&self, instrument: InstrumentId) -> Option<Mark>;
    /// The index, when there is one.
    fn index(&self, underlying: UnderlyingId) -> Option<Price>;
    /// Sum of long positions.
    fn open_interest(&self, instrument: InstrumentId) -> Qty;
    /// An account's money and margin.
    fn account(&self, account: AccountId) -> Option<Account>;
    /// An account's resting orders and quotes.
    fn orders(&self, account: AccountId) -> Vec<OpenOrder>;
}
