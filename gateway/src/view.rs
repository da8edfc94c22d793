//! What the gateway reads of the venue's state, as plain data.
//!
//! **Owns** the one place where the engine's read API is named. Everything else in the gateway sees
//! only these types.

use lifeboat_engine::auction::{Auction, Phase, SealKey};
use lifeboat_engine::command::{MarketMakerProtection, OptionTerms};
use lifeboat_engine::instrument;
use lifeboat_engine::ledger::Holding;
use lifeboat_engine::types::{
    AccountId, Cash, Height, InstrumentId, MarginModel, Mode, OrderId, Price, Qty, Side, TimeMs,
    UnderlyingId,
};
use lifeboat_engine::{Engine, OrderView, StatePart};

use crate::memory::Clock;
use crate::orders::FillMark;
use crate::seals::{SealRecord, SealState};

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
    /// When it was listed.
    pub listed_at: TimeMs,
}

/// A place in the order in which positions are torn up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearUpPlace {
    /// From 1, which is first.
    pub rank: usize,
    /// How many hold the same side.
    pub holders: usize,
    /// What those before it hold.
    pub qty_before: Qty,
    /// Gain on the position for each unit of maintenance margin, in millionths.
    pub return_ppm: i64,
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
    /// Cash and positions at their marks.
    pub equity: Cash,
    /// Initial margin required, open orders included.
    pub initial_margin: Cash,
    /// Maintenance margin required.
    pub maintenance_margin: Cash,
    /// Whether equity and requirements are known; else equity is the cash and they are 0.
    pub margin_known: bool,
    /// Its margin model.
    pub model: MarginModel,
    /// Its positions, signed.
    pub positions: Vec<Position>,
    /// Its market-maker protection.
    pub protections: Vec<MarketMakerProtection>,
}

/// A holding in one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Where.
    pub instrument: InstrumentId,
    /// How much; negative is short.
    pub qty: Qty,
    /// Net premium paid for it (received is negative).
    pub cost: Cash,
}

/// Where an underlying stands beside the venue's mode.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its own mode; it counts while the venue is open.
    pub mode: Mode,
    /// Since when.
    pub since: TimeMs,
    /// Its volatility index in 1e-6; 0 before there is one.
    pub volatility_ppm: u32,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            mode: Mode::Open,
            since: TimeMs::new(0),
            volatility_ppm: 0,
        }
    }
}

/// An auction that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAuction {
    /// Of what.
    pub underlying: UnderlyingId,
    /// Its number.
    pub number: u64,
    /// When it began: what orders are sealed to.
    pub began_at: TimeMs,
    /// When it closes.
    pub closes_at: TimeMs,
    /// `collecting`, `closed` or `opening`.
    pub phase: &'static str,
    /// The instruments of an extension.
    pub extended: Option<Vec<InstrumentId>>,
    /// Sealed orders: number, whose, bond.
    pub seals: Vec<(u32, AccountId, Cash)>,
    /// What orders are sealed to, if they can be.
    pub key: Option<SealKey>,
}

impl RunningAuction {
    /// An account's sealed orders.
    pub fn seals_of(&self, account: AccountId) -> impl Iterator<Item = (u32, Cash)> {
        let own = self
            .seals
            .iter()
            .filter(move |(_, whose, _)| *whose == account);
        own.map(|(seal, _, bond)| (*seal, *bond))
    }

    /// A sealed order of it as the gateway tells it.
    pub const fn record(&self, seal: u32, bond: Cash) -> SealRecord {
        SealRecord {
            underlying: self.underlying,
            auction: self.number,
            seal,
            bond: Some(bond),
            state: SealState::Sealed,
        }
    }
}

/// The venue's state as the gateway reads it.
#[derive(Clone, Copy)]
pub struct View<'a>(pub &'a Engine);

impl View<'_> {
    /// An account's place in the order in which positions in an instrument are torn up; `None` where it
    /// holds none.
    pub fn tear_up_rank(&self, id: InstrumentId, account: AccountId) -> Option<TearUpPlace> {
        let held = self.0.account(account)?.holding(id)?.position;
        let side = match held {
            0 => return None,
            1.. => Side::Buy,
            _ => Side::Sell,
        };
        let ranking = self.0.tear_up_ranking(id, side);
        let at = ranking.iter().position(|rank| rank.account == account)?;
        let before = ranking.iter().take(at).map(|rank| rank.lots.abs());
        let lot = self.0.instruments().get(id)?.lot.get();
        Some(TearUpPlace {
            rank: at + 1,
            holders: ranking.len(),
            qty_before: Qty::new(before.sum::<i64>().saturating_mul(lot)),
            return_ppm: ranking.get(at)?.return_ppm,
        })
    }

    /// Time of the latest block.
    pub fn time(&self) -> TimeMs {
        self.0.time()
    }

    /// Where the chain stands.
    pub fn clock(&self) -> Clock {
        let mode = self.0.mode();
        Clock {
            height: self.0.height(),
            time: self.0.time(),
            root: self.0.state_root(),
            mode: mode.mode,
            mode_since: mode.since,
            event: self.0.events_emitted(),
        }
    }

    /// Height of the latest halt or fault; 0 when there was none.
    pub fn halted_at(&self) -> Height {
        Height::new(self.0.mode().fault_height)
    }

    /// How many events and trades there were.
    pub fn fills(&self) -> FillMark {
        FillMark {
            event: self.0.events_emitted(),
            trade: self.0.trades(),
        }
    }

    /// The configured underlyings.
    pub fn underlyings(&self) -> Vec<Underlying> {
        let parameters = self.0.parameters();
        let fees = parameters.fees;
        let one = |(at, underlying): (usize, &lifeboat_engine::params::UnderlyingParameters)| {
            let id = u8::try_from(at).ok()?;
            Some(Underlying {
                id: UnderlyingId::new(id),
                coin: underlying.symbol.clone(),
                tick: underlying.tick,
                lot: underlying.lot,
                maker_fee: f64::from(fees.maker_ppm) * 1e-6,
                taker_fee: f64::from(fees.taker_ppm) * 1e-6,
            })
        };
        let all = parameters.underlyings.iter().enumerate();
        all.filter_map(one).collect()
    }

    /// Every instrument in listing order, settled ones included.
    pub fn instruments(&self) -> Vec<Instrument> {
        let all = self.0.instruments().iter();
        all.map(|instrument| Instrument {
            id: instrument.id,
            terms: instrument.terms,
            open: instrument.is_listed(),
            listed_at: instrument.listed_at,
        })
        .collect()
    }

    fn instrument(&self, id: InstrumentId) -> Option<&instrument::Instrument> {
        self.0.instruments().get(id)
    }

    /// At most `levels` a side.
    pub fn depth(&self, instrument: InstrumentId, levels: usize) -> Depth {
        if levels == 0 {
            return Depth::default();
        }
        let side = |side: Side| {
            let levels = self.0.depth(instrument, side, levels).into_iter();
            let plain = levels.map(|level| Level {
                price: level.price,
                qty: level.qty,
            });
            plain.collect()
        };
        Depth {
            bids: side(Side::Buy),
            asks: side(Side::Sell),
        }
    }

    /// The mark, when there is one.
    pub fn mark(&self, instrument: InstrumentId) -> Option<Mark> {
        let found = self.instrument(instrument)?;
        let mark = found.mark?;
        let terms = &found.terms;
        Some(Mark {
            price: mark.price,
            iv: f64::from(mark.volatility_ppm) * 1e-6,
            forward: self.0.forward(terms.underlying, terms.expiry)?,
            delta: mark.delta_ppb as f64 * 1e-9,
            gamma: mark.gamma_e12 as f64 * 1e-12,
            vega: mark.vega_e6 as f64 * 1e-6,
            theta: mark.theta_e6 as f64 * 1e-6,
        })
    }

    /// An underlying's own mode and its volatility index.
    pub fn standing(&self, underlying: UnderlyingId) -> Standing {
        let circuit = self.0.circuit(underlying);
        circuit.map_or_else(Standing::default, |circuit| Standing {
            mode: circuit.mode.mode,
            since: circuit.mode.since,
            volatility_ppm: circuit.volatility_ppm,
        })
    }

    /// The auctions that run.
    pub fn auctions(&self) -> Vec<RunningAuction> {
        let key = self.0.parameters().auction.key;
        let one = |(underlying, auction): (UnderlyingId, &Auction)| RunningAuction {
            underlying,
            number: auction.number,
            began_at: auction.began_at,
            closes_at: auction.closes_at,
            phase: match auction.phase {
                Phase::Collecting => "collecting",
                Phase::Closed { .. } => "closed",
                Phase::Opening { .. } => "opening",
            },
            extended: auction
                .extended
                .as_ref()
                .map(|ids| ids.iter().copied().collect()),
            seals: auction
                .seals
                .iter()
                .map(|(number, seal)| (*number, seal.account, seal.bond))
                .collect(),
            key,
        };
        self.0.auctions().iter().map(one).collect()
    }

    /// The index, when there is one.
    pub fn index(&self, underlying: UnderlyingId) -> Option<Price> {
        self.0.index_price(underlying)
    }

    /// Sum of long positions.
    pub fn open_interest(&self, instrument: InstrumentId) -> Qty {
        self.instrument(instrument).map_or(Qty::ZERO, |found| {
            let lots = i64::try_from(found.open_interest).unwrap_or(i64::MAX);
            Qty::new(lots.saturating_mul(found.lot.get()))
        })
    }

    /// An account's money and margin.
    pub fn account(&self, id: AccountId) -> Option<Account> {
        let account = self.0.account(id)?;
        // Without a mark for something it holds, what is known is its cash.
        let margin = self.0.margin_summary(id);
        let held = account.holdings.iter().filter(|held| held.position != 0);
        Some(Account {
            cash: account.cash,
            equity: margin.map_or(account.cash, |margin| margin.equity),
            initial_margin: margin.unwrap_or_default().initial,
            maintenance_margin: margin.unwrap_or_default().maintenance,
            margin_known: margin.is_some(),
            model: account.model,
            positions: held.filter_map(|held| self.position(held)).collect(),
            protections: account.protection.iter().map(|p| p.limits).collect(),
        })
    }

    fn position(&self, held: &Holding) -> Option<Position> {
        let lot = self.instrument(held.instrument)?.lot;
        Some(Position {
            instrument: held.instrument,
            qty: Qty::new(held.position.saturating_mul(lot.get())),
            cost: held.cost,
        })
    }

    /// An account's resting orders and quotes.
    pub fn orders(&self, account: AccountId) -> Vec<OrderView> {
        self.0.open_orders(account)
    }

    /// An account's leaf with its path to the state root.
    pub fn prove_account(&self, account: AccountId) -> Option<Proof> {
        Proof::of(self.0.prove_account(account)?)
    }

    /// A resting order's leaf with its path to the state root.
    pub fn prove_order(&self, order: OrderId) -> Option<Proof> {
        Proof::of(self.0.prove_order(order)?)
    }
}

/// A part of the state with what shows that it belongs to a state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The leaf's bytes; of an account its head.
    pub leaf: Vec<u8>,
    /// Of an account, the parts whose digests follow its head.
    pub parts: Vec<Vec<u8>>,
    /// The sections under the root and the path within one of them, encoded as the proof crate's
    /// `StateProof`.
    pub path: Vec<u8>,
}

impl Proof {
    fn of(part: StatePart) -> Option<Self> {
        Some(Self {
            path: borsh::to_vec(&(part.sections, part.path)).ok()?,
            leaf: part.leaf,
            parts: part.parts,
        })
    }
}
