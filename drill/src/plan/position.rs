//! Positions that accounts have when a drill begins, and the money behind the venue.

use lifeboat_engine::params::OperatorStake;
use lifeboat_engine::types::{Address, Cash, OptionKind, Side};
use lifeboat_engine::{Parameters, limits::POSITION_LOTS_MAX};
use serde::{Deserialize, Serialize};

/// Accounts that hold positions, at most.
const HOLDERS_MAX: u32 = 8;
/// Most that a fund or a stake may begin with, in USDC.
const FUND_USDC_MAX: u64 = 1_000_000_000;

/// A call or a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A call.
    Call,
    /// A put.
    Put,
}

impl From<Kind> for OptionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Call => Self::Call,
            Kind::Put => Self::Put,
        }
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The account buys.
    Long,
    /// The account sells.
    Short,
}

impl From<Way> for Side {
    fn from(way: Way) -> Self {
        match way {
            Way::Long => Self::Buy,
            Way::Short => Self::Sell,
        }
    }
}

/// A position that is opened before the plan begins: at the mark, against an account with far more money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Whose, by number; such an account has 50 million USDC and does nothing else.
    pub account: u32,
    /// Which way.
    pub way: Way,
    /// Of which underlying.
    pub underlying: u8,
    /// A call or a put.
    pub kind: Kind,
    /// The strike nearest so many millionths of the price.
    pub near_ppm: u64,
    /// Of the first expiry that is at least so many hours away.
    pub hours: u64,
    /// How many lots.
    pub lots: u32,
}

impl Position {
    /// What cannot be; `None` if all can.
    pub fn nonsense(&self) -> Option<String> {
        if self.account >= HOLDERS_MAX {
            return Some(format!(
                "account {}: there are {HOLDERS_MAX}, from 0",
                self.account
            ));
        }
        let most = POSITION_LOTS_MAX.unsigned_abs();
        if self.lots == 0 || u64::from(self.lots) > most {
            return Some(format!("{} lots; 1 to {most} can be held", self.lots));
        }
        None
    }
}

/// The money behind a venue, from its genesis on. None of it stands behind a venue of no plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backing {
    /// The insurance fund's, in USDC.
    pub fund_usdc: u64,
    /// The operator's stake, in USDC; none if 0.
    pub stake_usdc: u64,
}

impl Backing {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What cannot be; `None` if all can.
    pub fn nonsense(&self) -> Option<String> {
        let most = self.fund_usdc.max(self.stake_usdc);
        (most > FUND_USDC_MAX)
            .then(|| format!("{most} USDC of a fund or a stake; {FUND_USDC_MAX} are the most"))
    }

    /// Writes it into a venue's parameters. `owner` is whose the stake is.
    pub fn put(&self, parameters: &mut Parameters, owner: Address) {
        let cash = |usdc: u64| Cash::new(i64::try_from(usdc).unwrap_or(0) * 1_000_000);
        parameters.waterfall.fund = cash(self.fund_usdc);
        let stake = OperatorStake {
            owner,
            cash: cash(self.stake_usdc),
        };
        parameters.waterfall.stake = (self.stake_usdc > 0).then_some(stake);
    }
}
