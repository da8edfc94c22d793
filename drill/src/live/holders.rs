//! Accounts that hold positions when a drill begins, and the one that takes the other side.

use lifeboat_engine::Command;
use lifeboat_engine::Event;
use lifeboat_engine::command::{Action, PlaceOrder};
use lifeboat_engine::params::Genesis;
use lifeboat_engine::types::{AccountId, Side, TimeInForce, TimeMs};
use lifeboat_node::outcome::Outcome;

use crate::market::{Listed, LoadSettings, Participant};
use crate::plan::{Plan, Position};

/// Place among the quoting accounts of whoever takes the other side of a plan's positions.
const HOUSE: u32 = 2;
/// Place among the quoting accounts of the first maker of a plan.
const FIRST_MAKER: u32 = 3;
/// Quoting accounts that a plan needs beside those of its load: the first is a drill's own maker, the
/// second its prober.
pub const QUOTERS: u32 = FIRST_MAKER + crate::market::MAKERS_MAX;

/// Who trades in a plan beside its load. `load` are the settings of that load.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    load: LoadSettings,
    count: u32,
}

/// A position to come: its option, and what is sent for it, in order.
pub struct Opening {
    /// The orders, two by two: the account's, then the other side's.
    pub orders: Vec<[Command; 2]>,
    /// What is to be traded, in lots.
    pub lots: i64,
    /// The option.
    pub listed: Listed,
}

impl Holders {
    /// Those of a plan. The accounts stand before the first of the load.
    pub fn new(plan: &Plan, load: LoadSettings) -> Self {
        Self {
            load,
            count: plan.workload.holders(),
        }
    }

    /// The accounts that hold positions.
    pub fn accounts(&self) -> Vec<AccountId> {
        let first = self.load.first_account.get() - self.count;
        (0..self.count).map(|n| AccountId::new(first + n)).collect()
    }

    fn participant(&self, account: u32) -> Participant {
        let (seed, chain) = (self.load.seed, self.load.chain);
        Participant::development(seed, AccountId::new(account), chain)
    }

    /// A maker of the plan, by number.
    pub fn maker(&self, number: u32) -> Participant {
        let first = self.load.first_account.get() + self.load.traders;
        self.participant(first + FIRST_MAKER + number)
    }

    /// The orders that open `positions` on `targets` (options and their marks) at the price `spots` of
    /// each underlying; a message when there is no such option.
    ///
    /// # Errors
    /// Which position has no option.
    pub fn open(
        &self,
        positions: &[Position],
        genesis: &Genesis,
        (targets, now): (&[(Listed, f64)], TimeMs),
        mut spot: impl FnMut(u8) -> Option<f64>,
    ) -> Result<Vec<Opening>, String> {
        let first = self.load.first_account.get();
        let mut house = self.participant(first + self.load.traders + HOUSE);
        let mut holders: Vec<Participant> = (0..self.count)
            .map(|n| self.participant(first - self.count + n))
            .collect();
        let mut openings = Vec::new();
        for (number, position) in positions.iter().enumerate() {
            let found =
                spot(position.underlying).and_then(|spot| find(position, targets, spot, now));
            let (listed, mark) = found
                .ok_or_else(|| format!("position {}: no such option is listed", number + 1))?;
            let most = genesis
                .parameters
                .underlyings
                .get(usize::from(position.underlying));
            let most = most.map_or(1, |one| one.order_lots_max);
            let mut orders = Vec::new();
            let mut left = position.lots;
            while left > 0 {
                let lots = left.min(most);
                left -= lots;
                let holder = &mut holders[position.account as usize];
                orders.push(pair((&listed, mark), (position, lots), holder, &mut house));
            }
            openings.push(Opening {
                orders,
                lots: position.lots.into(),
                listed,
            });
        }
        Ok(openings)
    }
}

/// The first expiry that is far enough, there the strike that is nearest.
fn find(
    position: &Position,
    targets: &[(Listed, f64)],
    spot: f64,
    now: TimeMs,
) -> Option<(Listed, f64)> {
    let from = now.plus_ms(position.hours * 3_600_000);
    let fits = targets.iter().filter(|(one, _)| {
        let terms = one.terms;
        terms.underlying.get() == position.underlying
            && terms.kind == position.kind.into()
            && terms.expiry >= from
    });
    let wanted = spot * position.near_ppm as f64;
    let away = |strike: i64| (strike as f64 - wanted).abs() as i64;
    fits.min_by_key(|(one, _)| (one.terms.expiry, away(one.terms.strike.get())))
        .copied()
}

/// An order that rests at the mark, and one that takes it.
fn pair(
    (listed, mark): (&Listed, f64),
    (position, lots): (&Position, u32),
    holder: &mut Participant,
    house: &mut Participant,
) -> [Command; 2] {
    let side: Side = position.way.into();
    let price = listed.on_tick(side, mark).unwrap_or(listed.tick);
    let qty = listed.lots(lots);
    let rests = listed.order(side, qty, price);
    let takes = PlaceOrder {
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..listed.order(side.opposite(), qty, price)
    };
    [
        holder.sign(Action::PlaceOrder(rests)),
        house.sign(Action::PlaceOrder(takes)),
    ]
}

/// Lots that an order traded, as its outcome says.
pub fn traded(outcome: &Outcome, listed: &Listed) -> i64 {
    let qty = outcome.events.iter().map(|event| match event {
        Event::Traded(trade) => trade.qty.get(),
        _ => 0,
    });
    qty.sum::<i64>() / listed.lot.get()
}
