//! Subscription channels by name: `book.BTC_USDC-27DEC26-100000-C.100ms` and the like.

use lifeboat_engine::types::{InstrumentId, UnderlyingId};

use crate::candles::resolution_minutes;
use crate::directory::Directory;

/// How often a channel may notify, in milliseconds; 0 is every block.
pub type IntervalMs = u64;

/// Which instruments a channel covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One.
    Instrument(InstrumentId),
    /// Those of a currency (a coin, `USDC` or `any`).
    Currency(String),
}

impl Scope {
    /// Whether an instrument is covered.
    pub fn covers(&self, id: InstrumentId, directory: &Directory) -> bool {
        match self {
            Self::Instrument(only) => *only == id,
            Self::Currency(currency) => directory.in_currency(id, currency),
        }
    }
}

/// What a channel carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Book changes.
    Book(InstrumentId, IntervalMs),
    /// The best levels, whole, each time.
    BookDepth(InstrumentId, usize, IntervalMs),
    /// Ticker.
    Ticker(InstrumentId, IntervalMs),
    /// Best bid and ask.
    Quote(InstrumentId),
    /// Public trades.
    Trades(Scope, IntervalMs),
    /// Candles of so many minutes.
    Chart(InstrumentId, u64),
    /// An index.
    PriceIndex(UnderlyingId),
    /// Marks of all options on an underlying.
    MarkPrices(UnderlyingId),
    /// Whether the venue is locked, and its mode.
    PlatformState,
    /// Listings and settlements.
    InstrumentState(Scope),
    /// The account's orders.
    UserOrders(Scope, IntervalMs),
    /// The account's fills.
    UserTrades(Scope, IntervalMs),
    /// Orders, fills and positions together.
    UserChanges(Scope, IntervalMs),
    /// The account's summary in a currency.
    UserPortfolio(String),
    /// What an outage made of the account's orders, fills, money and positions.
    UserRestatement,
}

impl Topic {
    /// Whether it belongs to an account.
    pub const fn private(&self) -> bool {
        matches!(
            self,
            Self::UserOrders(..)
                | Self::UserTrades(..)
                | Self::UserChanges(..)
                | Self::UserPortfolio(_)
                | Self::UserRestatement
        )
    }

    /// Whether it tells of the public state of a book, which the next message makes up for.
    pub const fn is_depth(&self) -> bool {
        matches!(
            self,
            Self::Book(..) | Self::BookDepth(..) | Self::Ticker(..) | Self::Quote(_)
        )
    }

    /// How often it may notify.
    pub const fn interval(&self) -> IntervalMs {
        match self {
            Self::Book(_, ms)
            | Self::BookDepth(_, _, ms)
            | Self::Ticker(_, ms)
            | Self::Trades(_, ms)
            | Self::UserOrders(_, ms)
            | Self::UserTrades(_, ms)
            | Self::UserChanges(_, ms) => *ms,
            Self::MarkPrices(_) | Self::PriceIndex(_) | Self::UserPortfolio(_) => 1_000,
            _ => 0,
        }
    }

    /// Reads a channel's name. `None` when there is no such channel or instrument.
    pub fn parse(channel: &str, directory: &Directory) -> Option<Self> {
        let parts: Vec<&str> = channel.split('.').collect();
        let instrument = |name: &str| {
            let listed = directory.find(name)?;
            listed.instrument.open.then_some(listed.instrument.id)
        };
        Some(match parts.as_slice() {
            ["book", name, every] => Self::Book(instrument(name)?, interval(every)?),
            ["book", name, "none" | "1", depth, every] => {
                let depth = depth.parse().ok().filter(|d| matches!(d, 1 | 10 | 20))?;
                Self::BookDepth(instrument(name)?, depth, interval(every)?)
            }
            ["ticker", name, every] => Self::Ticker(instrument(name)?, interval(every)?),
            ["quote", name] => Self::Quote(instrument(name)?),
            ["trades", rest @ .., every] => Self::Trades(scope(rest, directory)?, interval(every)?),
            ["chart", "trades", name, resolution] => {
                Self::Chart(instrument(name)?, resolution_minutes(resolution)?)
            }
            ["deribit_price_index", index] => Self::PriceIndex(directory.by_index(index)?.id),
            ["markprice", "options", index] => Self::MarkPrices(directory.by_index(index)?.id),
            ["platform_state"] => Self::PlatformState,
            ["instrument", "state", rest @ ..] => Self::InstrumentState(scope(rest, directory)?),
            ["user", "orders", rest @ .., every] => {
                Self::UserOrders(scope(rest, directory)?, interval(every)?)
            }
            ["user", "trades", rest @ .., every] => {
                Self::UserTrades(scope(rest, directory)?, interval(every)?)
            }
            ["user", "changes", rest @ .., every] => {
                Self::UserChanges(scope(rest, directory)?, interval(every)?)
            }
            ["user", "portfolio", currency] => Self::UserPortfolio(currency.to_ascii_uppercase()),
            ["user", "restatement"] => Self::UserRestatement,
            _ => return None,
        })
    }
}

fn interval(text: &str) -> Option<IntervalMs> {
    match text {
        "raw" => Some(0),
        "100ms" => Some(100),
        "agg2" => Some(1_000),
        _ => None,
    }
}

/// An instrument's name, or a kind and a currency.
fn scope(parts: &[&str], directory: &Directory) -> Option<Scope> {
    match parts {
        [name] => Some(Scope::Instrument(directory.find(name)?.instrument.id)),
        ["option" | "any", currency] => {
            let known =
                crate::directory::is_settlement(currency) || directory.by_coin(currency).is_some();
            known.then(|| Scope::Currency((*currency).to_owned()))
        }
        _ => None,
    }
}
