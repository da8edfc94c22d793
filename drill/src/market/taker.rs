//! A taker: comes at random, trades, leaves a limit order, changes its mind.

use std::collections::BTreeMap;

use lifeboat_engine::command::{Action, AmendOrder, OrderPrice, OrderRef, PlaceOrder};
use lifeboat_engine::types::{
    AccountId, ClientOrderId, InstrumentId, OrderId, PostOnly, Price, Qty, RecoveryPolicy, Side,
    TimeInForce, TimeMs,
};
use lifeboat_engine::{Command, Event};

use super::dice::Dice;
use super::instruments::{Instruments, Listed};
use super::outlook::Outlook;
use super::participant::Participant;

/// How a taker behaves.
#[derive(Clone, Copy, Debug)]
pub struct TakerSettings {
    /// Mean time between two of its commands.
    pub interval_ms: f64,
    /// Largest order in lots.
    pub lots_max: u32,
    /// Resting orders it leaves at most; beyond that it cancels.
    pub resting_max: usize,
    /// It trades options whose delta lies within this and one minus this.
    pub delta_min: f64,
}

impl Default for TakerSettings {
    fn default() -> Self {
        Self {
            interval_ms: 2_000.0,
            lots_max: 10,
            resting_max: 20,
            delta_min: 0.05,
        }
    }
}

#[derive(Clone, Copy)]
struct Resting {
    instrument: InstrumentId,
    side: Side,
    price: Price,
    qty: Qty,
    filled: Qty,
}

/// One taker.
pub struct Taker {
    participant: Participant,
    settings: TakerSettings,
    dice: Dice,
    next_at: Option<TimeMs>,
    resting: BTreeMap<OrderId, Resting>,
    /// Now and then one is used twice: the second order must do nothing.
    last_client_id: u64,
}

impl Taker {
    /// A taker without orders.
    pub fn new(participant: Participant, settings: TakerSettings, seed: u64) -> Self {
        let dice = Dice::at(seed, &[u64::from(participant.account().get())]);
        Self {
            participant,
            settings,
            dice,
            next_at: None,
            resting: BTreeMap::new(),
            last_client_id: 0,
        }
    }

    /// Goes on where an earlier process stopped: ids and nonces move past what it can have used.
    pub fn resume(&mut self, now: TimeMs) {
        self.participant.resume(now);
        self.last_client_id = now.get();
    }

    /// Who it is.
    pub const fn participant(&mut self) -> &mut Participant {
        &mut self.participant
    }

    /// Learns what became of its orders.
    pub fn on_event(&mut self, event: &Event) {
        let me = self.participant.account();
        let mine = |account: &AccountId| *account == me;
        match event {
            Event::OrderPlaced(placed) if mine(&placed.account) => {
                let (instrument, side) = (placed.instrument, placed.side);
                let resting = Resting {
                    instrument,
                    side,
                    price: placed.price,
                    qty: placed.qty,
                    filled: Qty::ZERO,
                };
                self.resting.insert(placed.order, resting);
            }
            Event::OrderAmended {
                account,
                order,
                price,
                qty,
                ..
            } if mine(account) => {
                if let Some(resting) = self.resting.get_mut(order) {
                    (resting.price, resting.qty) = (*price, *qty);
                }
            }
            Event::OrderCancelled { order, .. } => {
                self.resting.remove(order);
            }
            Event::Traded(trade) => {
                self.on_fill(trade.maker_order, trade.qty);
                self.on_fill(trade.taker_order, trade.qty);
            }
            _ => {}
        }
    }

    /// An order that trades whole leaves no other trace than its fills.
    fn on_fill(&mut self, order: OrderId, qty: Qty) {
        let Some(resting) = self.resting.get_mut(&order) else {
            return;
        };
        resting.filled = Qty::new(resting.filled.get() + qty.get());
        if resting.filled >= resting.qty {
            self.resting.remove(&order);
        }
    }

    /// What it does by `now`: at most one command a step.
    pub fn step(
        &mut self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        now: TimeMs,
    ) -> Option<Command> {
        let wait = self.dice.exponential(self.settings.interval_ms) as u64;
        let due = *self.next_at.get_or_insert(now.plus_ms(wait));
        if due > now {
            return None;
        }
        self.next_at = Some(now.plus_ms(wait));
        let action = match self.dice.below(100) {
            _ if self.resting.len() >= self.settings.resting_max => self.cancel(),
            0..15 => self.cancel(),
            15..22 => self.amend(instruments),
            _ => None,
        };
        let action = action.or_else(|| self.place(outlook, instruments, now))?;
        Some(self.participant.sign(action))
    }

    fn any_resting(&mut self) -> Option<(OrderId, Resting)> {
        let at = self.dice.below(self.resting.len());
        self.resting
            .iter()
            .nth(at)
            .map(|(order, resting)| (*order, *resting))
    }

    fn cancel(&mut self) -> Option<Action> {
        self.any_resting()
            .map(|(order, _)| Action::CancelOrder(OrderRef::Id(order)))
    }

    /// Half of what is left, sometimes one tick further away: both kinds of amendment come up.
    fn amend(&mut self, instruments: &Instruments) -> Option<Action> {
        let (order, resting) = self.any_resting()?;
        let listed = instruments.get(resting.instrument)?;
        let left = resting.qty.get() - resting.filled.get();
        let shrunk = (left / 2 / listed.lot.get()).max(1) * listed.lot.get();
        let qty = Qty::new(resting.filled.get() + shrunk);
        let away = Price::new(resting.price.get() - resting.side.sign() * listed.tick.get());
        let price = if self.dice.chance(0.5) && away.get() > 0 {
            away
        } else {
            resting.price
        };
        let order = OrderRef::Id(order);
        Some(Action::AmendOrder(AmendOrder {
            order,
            qty,
            price,
            post_only: PostOnly::Slide,
        }))
    }

    fn place(
        &mut self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        now: TimeMs,
    ) -> Option<Action> {
        let (listed, value) = self.choose(outlook, instruments, now)?;
        let value_of = outlook.value(&listed.terms, now)?;
        let [below, above] = outlook.half_spreads(&listed.terms, &value_of, now);
        let side = if self.dice.chance(0.5) {
            Side::Buy
        } else {
            Side::Sell
        };
        let half = match side {
            Side::Buy => above,
            Side::Sell => below,
        };
        let half = half.unwrap_or(0.02 * value);
        let marketable = self.dice.chance(0.6);
        // A taker reaches well past the other side's quotes; a resting order waits inside its own.
        let reach = if marketable { 2.0 } else { -0.7 };
        let price = listed.on_tick(side, value + side.sign() as f64 * reach * half)?;
        let qty = listed.lots(1 + self.dice.below(self.settings.lots_max as usize) as u32);
        let plain = listed.order(side, qty, price);
        Some(Action::PlaceOrder(if marketable {
            self.take(plain)
        } else {
            self.rest(plain, now)
        }))
    }

    /// The ways to trade at once.
    fn take(&mut self, order: PlaceOrder) -> PlaceOrder {
        let (time_in_force, price) = match self.dice.below(10) {
            0 => (TimeInForce::FillOrKill, order.price),
            1 => (TimeInForce::ImmediateOrCancel, OrderPrice::Market),
            2 => (TimeInForce::GoodTilCancelled, order.price),
            _ => (TimeInForce::ImmediateOrCancel, order.price),
        };
        let reduce_only = self.dice.chance(0.05);
        PlaceOrder {
            time_in_force,
            price,
            reduce_only,
            ..order
        }
    }

    /// The ways to wait.
    fn rest(&mut self, order: PlaceOrder, now: TimeMs) -> PlaceOrder {
        let soon = TimeInForce::GoodTilDate(now.plus_ms(600_000));
        let post_only = [PostOnly::Off, PostOnly::Slide, PostOnly::Reject][self.dice.below(3)];
        let recovery = [RecoveryPolicy::Keep, RecoveryPolicy::Cancel][self.dice.below(2)];
        self.last_client_id += u64::from(self.dice.chance(0.95));
        PlaceOrder {
            time_in_force: if self.dice.chance(0.2) {
                soon
            } else {
                order.time_in_force
            },
            post_only,
            recovery,
            client_id: ClientOrderId::new(self.last_client_id),
            label: b"taker".to_vec(),
            ..order
        }
    }

    /// A random option worth trading: a few tries, then none.
    fn choose(
        &mut self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        now: TimeMs,
    ) -> Option<(Listed, f64)> {
        let count = instruments.tradable(now).count();
        for _ in 0..8 {
            let at = self.dice.below(count);
            let listed = *instruments.tradable(now).nth(at)?;
            let Some(value) = outlook.value(&listed.terms, now) else {
                continue;
            };
            let delta = value.delta.abs();
            let within = self.settings.delta_min..=1.0 - self.settings.delta_min;
            if within.contains(&delta) {
                return Some((listed, value.price));
            }
        }
        None
    }
}
