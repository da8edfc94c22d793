//! What a run's events say of prices, of those who were liquidated by them, and of who paid.
//!
//! **Owns** figures by name. A plan's bounds name some of them; a report has those that a plan names and
//! those that are not zero. **Never** judges.

mod margin;
mod money;
mod settlement;
mod volatility;

use std::collections::BTreeMap;

use lifeboat_engine::types::{AccountId, Mode, TimeMs, UnderlyingId};
use lifeboat_engine::{Engine, Event};

use super::Moment;
use crate::plan::Plan;
use lifeboat_node::shared::VenueClock;
use margin::Margins;
use money::Money;
use settlement::Settlements;
use volatility::Volatility;

/// Figures by name.
type Named = Vec<(String, f64)>;

/// Figures of what a drill of the market is about.
#[derive(Clone, Debug, Default)]
pub struct MarketFigures {
    counts: BTreeMap<&'static str, u64>,
    /// Breakers of each underlying that has a price.
    trips: BTreeMap<UnderlyingId, u64>,
    modes: BTreeMap<UnderlyingId, Mode>,
    /// When an underlying's trading stopped, and the longest that one was out.
    stopped: BTreeMap<UnderlyingId, TimeMs>,
    out_ms: u64,
    stable_low: Option<f64>,
    volatility: Volatility,
    settlements: Settlements,
    money: Money,
    margins: Margins,
    moments: Vec<(TimeMs, &'static str, String)>,
}

/// Moments that a timeline takes; a drill with more says no more.
const MOMENTS_MAX: usize = 200;

/// What of an event a timeline has: what happened, and more for a person.
fn told(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::UnderlyingModeChanged { underlying, to, .. } => {
            (super::mode_name(*to), format!("underlying {underlying}"))
        }
        Event::BreakerTripped { underlying, trip } => {
            let (breaker, level) = (trip.breaker, trip.level);
            let (figure, bound) = (trip.figure, trip.bound);
            let of = underlying.map_or_else(String::new, |one| format!("underlying {one}, "));
            let what = format!("{of}{breaker:?}, level {level}: {figure} of {bound}");
            ("breaker", what)
        }
        Event::LossAllocated { step, paid, .. } => {
            let usdc = paid.get() as f64 / 1e6;
            ("loss", format!("{step:?} pays {usdc:.0} USDC"))
        }
        Event::ClosedOut { account, .. } => ("closed out", format!("account {account}")),
        Event::GraceGiven { account, .. } => ("grace", format!("account {account}")),
        Event::LiquidationStarted { account, .. } => ("liquidation", format!("account {account}")),
        Event::SettlementDeferred {
            underlying,
            samples,
            ..
        } => {
            let what = format!("underlying {underlying}, {samples} samples");
            ("settlement deferred", what)
        }
        Event::ExpirySettled {
            underlying,
            price,
            samples,
            ..
        } => {
            let usdc = price.get() as f64 / 1e6;
            let what = format!("underlying {underlying} at {usdc:.2}, {samples} samples");
            ("settled", what)
        }
        _ => return None,
    })
}

/// What is counted, each of them in every report that it is not zero in.
const fn counted(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::IndexUpdated { .. } => "index_updates",
        Event::IndexLost { .. } => "index_lost",
        Event::LiquidationStarted { .. } => "liquidations_started",
        Event::LiquidationSold { .. } => "liquidation_slices_sold",
        Event::LiquidationToFund { .. } => "accounts_taken_by_fund",
        Event::ClosedOut { .. } => "accounts_closed_out",
        Event::PositionTornUp { .. } => "positions_torn_up",
        Event::GraceGiven { .. } => "graces_given",
        Event::SettlementDeferred { .. } => "settlements_deferred",
        Event::ExpirySettled { .. } => "settlements",
        Event::BreakerTripped { .. } => "breakers_tripped",
        Event::UnderlyingModeChanged {
            to: Mode::Halted, ..
        } => "underlying_halts",
        Event::UnderlyingModeChanged {
            to: Mode::Auction, ..
        } => "underlying_auctions",
        _ => return None,
    })
}

/// What is counted, to be in a report even when there is none.
const COUNTED: [&str; 13] = [
    "index_updates",
    "index_lost",
    "liquidations_started",
    "liquidation_slices_sold",
    "accounts_taken_by_fund",
    "accounts_closed_out",
    "positions_torn_up",
    "graces_given",
    "settlements_deferred",
    "settlements",
    "breakers_tripped",
    "underlying_halts",
    "underlying_auctions",
];

impl MarketFigures {
    /// Figures of a plan that began at this block time, and of the accounts that hold its positions.
    pub fn new(plan: &Plan, began: TimeMs, holders: Vec<AccountId>) -> Self {
        let first = plan.stress.moves.iter().map(|one| one.at_ms).min();
        Self {
            counts: COUNTED.into_iter().map(|name| (name, 0)).collect(),
            volatility: Volatility::new(began, began.plus_ms(first.unwrap_or(0))),
            margins: Margins::new(began, holders),
            ..Self::default()
        }
    }

    /// Takes in a block's events and the state after it.
    pub fn note(&mut self, events: &[Event], engine: &Engine) {
        let now = engine.time();
        for event in events {
            if let Some(name) = counted(event) {
                *self.counts.entry(name).or_default() += 1;
            }
            match event {
                Event::UnderlyingModeChanged { underlying, to, .. } => {
                    self.mode(*underlying, *to, now);
                }
                Event::BreakerTripped {
                    underlying: Some(underlying),
                    ..
                } => *self.trips.entry(*underlying).or_default() += 1,
                Event::IndexUpdated { underlying, .. } => {
                    self.trips.entry(*underlying).or_default();
                }
                Event::StableUpdated { price, .. } => {
                    let dollars = price.get() as f64 / 1e6;
                    self.stable_low = Some(self.stable_low.unwrap_or(dollars).min(dollars));
                }
                _ => {}
            }
            self.volatility.see(event, now);
            self.money.see(event);
            if self.moments.len() < MOMENTS_MAX {
                let told = told(event);
                self.moments
                    .extend(told.map(|(what, note)| (now, what, note)));
            }
        }
        self.settlements.block(events, engine);
        self.money.count(engine);
        self.margins.look(engine);
    }

    /// What happened when, for the timeline of a run that began at block time `began`, by a clock of this
    /// speed.
    pub fn moments(&mut self, began: TimeMs, clock: VenueClock) -> impl Iterator<Item = Moment> {
        let moments = std::mem::take(&mut self.moments).into_iter();
        moments.map(move |(at, what, note)| Moment {
            run: 1,
            at_ms: clock.local_ms(at.since(began)) as f64,
            what: what.to_owned(),
            who: Vec::new(),
            is_fault: false,
            note,
        })
    }

    fn mode(&mut self, underlying: UnderlyingId, to: Mode, now: TimeMs) {
        self.modes.insert(underlying, to);
        if to == Mode::Open {
            let since = self.stopped.remove(&underlying).unwrap_or(now);
            self.out_ms = self.out_ms.max(now.since(since));
        } else {
            self.stopped.entry(underlying).or_insert(now);
        }
    }

    /// The figures that are not zero, or that the plan has bounds for.
    pub fn named(&self, plan: &Plan) -> impl Iterator<Item = (String, f64)> {
        let mut all: Named = Vec::new();
        for (name, count) in &self.counts {
            all.push(((*name).to_owned(), *count as f64));
        }
        let of_one = |(one, trips): (&UnderlyingId, &u64)| {
            (format!("breakers_tripped_{one}"), *trips as f64)
        };
        all.extend(self.trips.iter().map(of_one));
        all.push(("underlyings_not_open".to_owned(), self.stopped.len() as f64));
        all.push(("underlying_out_ms_most".to_owned(), self.out_ms as f64));
        let stable = self.stable_low.filter(|low| *low < 1.0);
        all.extend(stable.map(|low| ("stable_low_dollars".to_owned(), low)));
        all.extend(self.volatility.named());
        all.extend(self.settlements.named());
        all.extend(self.money.named());
        all.extend(self.margins.named());
        all.retain(|(name, value)| *value != 0.0 || plan.demands(name));
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::event::ModeReason;

    fn named(figures: &MarketFigures, plan: &Plan) -> BTreeMap<String, f64> {
        figures.named(plan).collect()
    }

    #[test]
    fn an_underlying_is_out_from_its_first_step_down_to_open() {
        let plan = crate::plan::calm();
        let mut figures = MarketFigures::new(&plan, TimeMs::new(0), Vec::new());
        let btc = UnderlyingId::new(0);
        for (at, to) in [(10, Mode::Auction), (20, Mode::PostOnly), (35, Mode::Open)] {
            figures.mode(btc, to, TimeMs::new(at));
        }
        assert_eq!(named(&figures, &plan)["underlying_out_ms_most"], 25.0);
        figures.mode(btc, Mode::Halted, TimeMs::new(40));
        assert_eq!(named(&figures, &plan)["underlyings_not_open"], 1.0);
    }

    #[test]
    fn what_a_plan_has_a_bound_for_is_told_even_at_zero() {
        let mut plan = crate::plan::calm();
        let figures = MarketFigures::new(&plan, TimeMs::new(0), Vec::new());
        assert!(named(&figures, &plan).is_empty());
        let bound = [("underlying_halts".to_owned(), 0.0)].into();
        plan.at_most = [(crate::plan::Executor::Live, bound)].into();
        assert_eq!(named(&figures, &plan)["underlying_halts"], 0.0);
    }

    #[test]
    fn everything_that_is_counted_is_named() {
        let reason = ModeReason::TimeElapsed;
        let event = Event::UnderlyingModeChanged {
            underlying: UnderlyingId::new(0),
            from: Mode::Open,
            to: Mode::Halted,
            reason,
        };
        assert!(counted(&event).is_some_and(|name| COUNTED.contains(&name)));
        assert_eq!(counted(&Event::DayBegan { day: 1 }), None);
    }
}
