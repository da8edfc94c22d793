//! The ledger auditor: keeps cash, positions and open orders from the event stream alone.
//!
//! Checks I1 (money is conserved, down the waterfall too), I3 (events and trades numbered without a gap),
//! I5 (on what accounts are liquidated, by [`LiquidationAuditor`]), I6 (nobody takes out more than their
//! cash), I7 (no trade in a mode that forbids it) and I8 (positions sum to zero), each
//! counted. Sums are `i128`, maps are ordered, nothing is cached: slow and plain on purpose.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::event::{LossStep, Trade};
use lifeboat_engine::types::{
    AccountId, Cash, InstrumentId, Mode, OrderId, Price, Qty, Side, TimeMs,
};
use lifeboat_engine::{Event, Genesis};
use thiserror::Error;

use super::{LiquidationAuditor, LiquidationRules};

/// The insurance fund's account: the first.
const INSURANCE_FUND: AccountId = AccountId::new(0);
const PPM: i128 = 1_000_000;

/// A rule that the stream breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{invariant} broken at event {event}: {what}")]
pub struct Finding {
    /// The invariant's id, or the property's name.
    pub invariant: &'static str,
    /// The event's number; events are numbered from 1.
    pub event: u64,
    /// What does not add up.
    pub what: String,
}

/// What an engine says it holds, for comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Cash of every account.
    pub cash: BTreeMap<AccountId, Cash>,
    /// Positions that are not zero.
    pub positions: BTreeMap<(InstrumentId, AccountId), Qty>,
    /// Open orders and quotes of every account that has some.
    pub open_orders: BTreeMap<AccountId, u32>,
    /// Fees the venue keeps; the insurance fund's share is that account's cash.
    pub fees: Cash,
}

#[derive(Clone, Copy, Debug)]
struct OpenOrder {
    account: AccountId,
    instrument: InstrumentId,
    side: Side,
    price: Price,
    open: i64,
    filled: i64,
}

/// The auditor. See the module's head.
#[derive(Clone, Debug)]
pub struct LedgerAuditor {
    next_event: u64,
    last_trade: u64,
    mode: Mode,
    /// The instrument that an auction is clearing, and its one price.
    clearing: Option<(InstrumentId, Price)>,
    deposited: i128,
    /// Fees and the insurance fund's cash together: what accounts paid and did not get.
    venue: i128,
    /// Size step of each underlying's instruments, by underlying id.
    lots: Vec<Qty>,
    lot: BTreeMap<InstrumentId, i128>,
    cash: BTreeMap<AccountId, i128>,
    positions: BTreeMap<InstrumentId, BTreeMap<AccountId, i128>>,
    orders: BTreeMap<OrderId, OpenOrder>,
    settling: BTreeMap<InstrumentId, i128>,
    /// The last step of the waterfall: of whose loss, which, and what it left.
    last_loss: Option<(AccountId, LossStep, i128)>,
    liquidations: Option<LiquidationAuditor>,
    checks: BTreeMap<&'static str, u64>,
}

impl LedgerAuditor {
    /// Books that begin with a genesis, and judge liquidations by its figures.
    pub fn of(genesis: &Genesis) -> Self {
        let parameters = &genesis.parameters;
        let accounts = (1..).map(AccountId::new).zip(&genesis.accounts);
        let mut cash: Vec<_> = accounts.map(|(id, account)| (id, account.cash)).collect();
        let stake = u32::try_from(cash.len() + 1).map(AccountId::new);
        if let (Some(set_aside), Ok(id)) = (parameters.waterfall.stake, stake) {
            cash.push((id, set_aside.cash));
        }
        cash.push((INSURANCE_FUND, parameters.waterfall.fund));
        let lots = parameters.underlyings.iter().map(|of| of.lot).collect();
        let rules = LiquidationRules::of(parameters);
        Self {
            liquidations: Some(LiquidationAuditor::new(rules)),
            ..Self::new(&cash, lots)
        }
    }

    /// Books that begin with the genesis accounts' cash. `lots` are the size steps of the
    /// underlyings, in the order of their ids.
    pub fn new(genesis: &[(AccountId, Cash)], lots: Vec<Qty>) -> Self {
        let raw = |(account, cash): &(AccountId, Cash)| (*account, i128::from(cash.get()));
        let cash: BTreeMap<_, _> = genesis.iter().map(raw).collect();
        Self {
            next_event: 1,
            last_trade: 0,
            mode: Mode::Open,
            clearing: None,
            deposited: cash.values().sum(),
            venue: 0,
            lots,
            lot: BTreeMap::new(),
            cash,
            positions: BTreeMap::new(),
            orders: BTreeMap::new(),
            settling: BTreeMap::new(),
            last_loss: None,
            liquidations: None,
            checks: BTreeMap::new(),
        }
    }

    /// How often each invariant was checked.
    pub const fn checks(&self) -> &BTreeMap<&'static str, u64> {
        &self.checks
    }

    /// [`observe`](Self::observe), of a block at this time.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn observe_at(
        &mut self,
        time: TimeMs,
        first_event: u64,
        events: &[Event],
    ) -> Result<(), Finding> {
        if let Some(liquidations) = &mut self.liquidations {
            liquidations.begin_block(time);
        }
        self.observe(first_event, events)
    }

    /// Takes one block's events, of which `first_event` is the first's number.
    ///
    /// # Errors
    /// The first [`Finding`]. After one the books are of no further use.
    pub fn observe(&mut self, first_event: u64, events: &[Event]) -> Result<(), Finding> {
        let gap_free = first_event == self.next_event;
        self.check("I3", gap_free, || {
            format!("the block begins with event {first_event}")
        })?;
        let mut touched = BTreeSet::new();
        for event in events {
            self.on_event(event, &mut touched)?;
            self.next_event += 1;
        }
        self.close_block(&touched)
    }

    /// Holds an engine's own figures to these books.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn compare(&mut self, engine: &LedgerState) -> Result<(), Finding> {
        let cash: i128 = engine
            .cash
            .values()
            .map(|cash| i128::from(cash.get()))
            .sum();
        let (fees, deposited) = (i128::from(engine.fees.get()), self.deposited);
        self.check("I1", cash + fees == deposited, || {
            format!("accounts {cash} + fees {fees}, deposited {deposited}")
        })?;
        for (account, theirs) in engine.cash.iter().filter(|(id, _)| **id != INSURANCE_FUND) {
            let mine = self.cash.get(account).copied().unwrap_or_default();
            let same = mine == i128::from(theirs.get());
            self.check("cash", same, || {
                format!("account {account}: {mine}, engine {theirs}")
            })?;
        }
        self.compare_positions(engine)?;
        self.compare_orders(engine)
    }

    fn compare_positions(&mut self, engine: &LedgerState) -> Result<(), Finding> {
        let mut theirs: BTreeMap<InstrumentId, i128> = BTreeMap::new();
        for ((instrument, account), qty) in &engine.positions {
            let qty = i128::from(qty.get());
            *theirs.entry(*instrument).or_default() += qty;
            let mine = self.position(*instrument, *account);
            let same = mine == qty;
            let what = || format!("account {account} in {instrument}: {mine}, engine {qty}");
            self.check("positions", same, what)?;
        }
        for (instrument, sum) in theirs {
            self.check("I8", sum == 0, || {
                format!("engine's positions in {instrument}: {sum}")
            })?;
        }
        let missing = self.positions.iter().flat_map(|(instrument, held)| {
            held.iter()
                .filter(|(_, qty)| **qty != 0)
                .map(|(account, _)| (*instrument, *account))
        });
        let missing = missing
            .into_iter()
            .find(|place| !engine.positions.contains_key(place));
        self.check("positions", missing.is_none(), || {
            format!("the engine lacks {missing:?}")
        })
    }

    fn compare_orders(&mut self, engine: &LedgerState) -> Result<(), Finding> {
        let mut mine: BTreeMap<AccountId, u32> = BTreeMap::new();
        for order in self.orders.values() {
            *mine.entry(order.account).or_default() += 1;
        }
        let differs = mine
            .keys()
            .chain(engine.open_orders.keys())
            .find(|account| mine.get(account) != engine.open_orders.get(account));
        self.check("orders", differs.is_none(), || {
            let count = |of: &BTreeMap<AccountId, u32>| differs.and_then(|a| of.get(a).copied());
            format!(
                "{differs:?}: {:?}, engine {:?}",
                count(&mine),
                count(&engine.open_orders)
            )
        })
    }

    fn check(
        &mut self,
        invariant: &'static str,
        holds: bool,
        what: impl FnOnce() -> String,
    ) -> Result<(), Finding> {
        *self.checks.entry(invariant).or_default() += 1;
        if holds {
            return Ok(());
        }
        Err(Finding {
            invariant,
            event: self.next_event,
            what: what(),
        })
    }

    fn position(&self, instrument: InstrumentId, account: AccountId) -> i128 {
        let held = self
            .positions
            .get(&instrument)
            .and_then(|held| held.get(&account));
        held.copied().unwrap_or_default()
    }

    fn on_event(
        &mut self,
        event: &Event,
        touched: &mut BTreeSet<InstrumentId>,
    ) -> Result<(), Finding> {
        self.judge_liquidation(event)?;
        match event {
            Event::Deposited {
                account, amount, ..
            } => {
                self.deposited += i128::from(amount.get());
                self.pay(*account, amount.get().into());
            }
            Event::OrderPlaced(placed) => {
                let (account, instrument) = (placed.account, placed.instrument);
                let (side, price, open) = (placed.side, placed.price, placed.qty.get());
                let order = OpenOrder {
                    account,
                    instrument,
                    side,
                    price,
                    open,
                    filled: 0,
                };
                return self.open(placed.order, order, false);
            }
            Event::QuotePlaced {
                account,
                order,
                instrument,
                side,
                price,
                qty,
            } => {
                let (account, instrument, open) = (*account, *instrument, qty.get());
                let quote = OpenOrder {
                    account,
                    instrument,
                    side: *side,
                    price: *price,
                    open,
                    filled: 0,
                };
                return self.open(*order, quote, true);
            }
            Event::OrderAmended {
                order, price, qty, ..
            } => {
                return self.amend(*order, *price, *qty);
            }
            Event::OrderCancelled {
                account,
                order,
                unfilled,
                ..
            } => {
                return self.cancel(*account, *order, *unfilled);
            }
            Event::CommandApplied { .. } => self.clearing = None,
            Event::AuctionCleared(cleared) => {
                self.clearing = Some((cleared.instrument, cleared.price));
                let inside = cleared.low <= cleared.price && cleared.price <= cleared.high;
                return self.check("I7", inside, || {
                    format!("cleared outside its collar: {cleared:?}")
                });
            }
            Event::SealDropped {
                account, forfeited, ..
            } => {
                self.pay(*account, -i128::from(forfeited.get()));
                self.pay(INSURANCE_FUND, forfeited.get().into());
            }
            Event::Traded(trade) => {
                touched.insert(trade.instrument);
                return self.trade(trade);
            }
            Event::PositionSettled {
                account,
                instrument,
                position,
                cash,
            } => {
                return self.settle(*account, *instrument, *position, *cash);
            }
            Event::InstrumentListed { instrument, terms } => {
                let lot = self.lots.get(usize::from(terms.underlying.get()));
                self.lot
                    .insert(*instrument, lot.map_or(1, |lot| lot.get().into()));
            }
            Event::LiquidationSold {
                account,
                buyer,
                part_ppm,
                price,
                ..
            } => {
                self.move_part(*account, *buyer, i128::from(*part_ppm));
                // Under zero it is the fund that pays the buyer.
                let price = i128::from(price.get());
                self.pay(*buyer, -price);
                self.pay(if price < 0 { INSURANCE_FUND } else { *account }, price);
            }
            Event::LiquidationToFund { account, .. } => {
                self.move_part(*account, INSURANCE_FUND, PPM);
            }
            Event::LossAllocated {
                account,
                step,
                payer,
                paid,
                bound,
                left,
            } => {
                if let Some(payer) = payer {
                    self.pay(*payer, -i128::from(paid.get()));
                    self.pay(*account, paid.get().into());
                }
                return self.allocate((*account, *step), [*paid, *bound, *left]);
            }
            Event::GainHaircut {
                account,
                loser,
                gain,
                bound,
                paid,
            } => {
                self.pay(*account, -i128::from(paid.get()));
                self.pay(*loser, paid.get().into());
                let fine = paid <= bound && bound <= gain;
                return self.check("waterfall", fine, || {
                    format!("account {account} gives {paid} of {bound}, gained {gain}")
                });
            }
            Event::PositionTornUp {
                account,
                holder,
                instrument,
                position,
                cash,
                held_back,
                ..
            } => {
                touched.insert(*instrument);
                self.pay(*account, -i128::from(cash.get()));
                self.pay(*holder, cash.get().into());
                return self.tear_up([*account, *holder], *instrument, *position, *held_back);
            }
            Event::ClosedOut { .. } => self.last_loss = None,
            Event::ModeChanged { to, .. } => self.mode = *to,
            Event::DepositReturned { amount, .. } => self.deposited += i128::from(amount.get()),
            Event::Withdrawn {
                account, amount, ..
            } => return self.withdraw(*account, *amount),
            Event::DepositUnwound {
                account, amount, ..
            } => {
                self.deposited -= i128::from(amount.get());
                self.pay(*account, -i128::from(amount.get()));
            }
            Event::AccountCrystallised { account, paid, .. } => {
                self.move_part(*account, INSURANCE_FUND, PPM);
                self.pay(INSURANCE_FUND, -i128::from(paid.get()));
                self.pay(*account, paid.get().into());
            }
            _ => {}
        }
        Ok(())
    }

    fn judge_liquidation(&mut self, event: &Event) -> Result<(), Finding> {
        let Some(mut liquidations) = self.liquidations.take() else {
            return Ok(());
        };
        let held = |account| self.instruments_of(account);
        let before = liquidations.checks();
        let verdict = liquidations.see(event, held);
        let judged = liquidations.checks() > before;
        self.liquidations = Some(liquidations);
        match verdict {
            Ok(()) if judged => self.check("I5", true, String::new),
            Ok(()) => Ok(()),
            Err(what) => self.check("I5", false, || what),
        }
    }

    fn instruments_of(&self, account: AccountId) -> BTreeSet<InstrumentId> {
        let held = |held: &BTreeMap<AccountId, i128>| held.get(&account).is_some_and(|q| *q != 0);
        let held = self.positions.iter().filter(|(_, of)| held(of));
        held.map(|(instrument, _)| *instrument).collect()
    }

    /// Steps come in their order, each takes at most its bound, and what one leaves the next begins with.
    fn allocate(
        &mut self,
        (account, step): (AccountId, LossStep),
        figures: [Cash; 3],
    ) -> Result<(), Finding> {
        let [paid, bound, left] = figures.map(|cash| i128::from(cash.get()));
        let last = self.last_loss.replace((account, step, left));
        let follows = last.is_none_or(|(of, before, rest)| {
            of == account && (before as u8) < (step as u8) && rest == paid + left
        });
        let fine = follows && 0 <= paid && paid <= bound && left >= 0;
        self.check("waterfall", fine, || {
            format!("{step:?} of {account} pays {paid} of {bound}, leaves {left}, after {last:?}")
        })
    }

    /// Nobody's position grows or turns by being torn up.
    fn tear_up(
        &mut self,
        [account, holder]: [AccountId; 2],
        instrument: InstrumentId,
        position: Qty,
        held_back: Cash,
    ) -> Result<(), Finding> {
        let position = i128::from(position.get());
        let had = [account, holder].map(|id| self.position(instrument, id));
        let shrinks = |had: i128, by: i128| had.signum() == by.signum() && by.abs() <= had.abs();
        let fine = shrinks(had[0], position) && shrinks(had[1], -position) && held_back.get() >= 0;
        let held = self.positions.entry(instrument).or_default();
        *held.entry(account).or_default() -= position;
        *held.entry(holder).or_default() += position;
        self.check("waterfall", fine, || {
            format!("{position} of {instrument} torn up between {account} and {holder}: {had:?}")
        })
    }

    /// Money leaves: never more than the account had, and never more than came in.
    fn withdraw(&mut self, account: Option<AccountId>, amount: Cash) -> Result<(), Finding> {
        let amount = i128::from(amount.get());
        self.deposited -= amount;
        let mut left = 0;
        if let Some(account) = account {
            self.pay(account, -amount);
            left = self.cash.get(&account).copied().unwrap_or_default();
        }
        let fine = amount > 0 && left >= 0 && self.deposited >= 0;
        self.check("I6", fine, || {
            format!("{amount} withdrawn by {account:?}, which has {left} since")
        })
    }

    fn pay(&mut self, account: AccountId, amount: i128) {
        if account == INSURANCE_FUND {
            self.venue += amount;
            return;
        }
        *self.cash.entry(account).or_default() += amount;
    }

    /// Moves a share of every position, in whole lots, and of the cash, each rounded down.
    fn move_part(&mut self, from: AccountId, to: AccountId, part_ppm: i128) {
        for (instrument, held) in &mut self.positions {
            let lot = self.lot.get(instrument).copied().unwrap_or(1);
            let lots = held.get(&from).copied().unwrap_or_default() / lot;
            let moved = (lots * part_ppm).div_euclid(PPM) * lot;
            *held.entry(from).or_default() -= moved;
            *held.entry(to).or_default() += moved;
        }
        let cash = self.cash.get(&from).copied().unwrap_or_default();
        let moved = (cash * part_ppm).div_euclid(PPM);
        self.pay(from, -moved);
        self.pay(to, moved);
    }

    /// A quote that keeps its id is the same quote with another size; any other id is new.
    fn open(&mut self, id: OrderId, order: OpenOrder, may_replace: bool) -> Result<(), Finding> {
        let earlier = self.orders.insert(id, order);
        let same = |earlier: &OpenOrder| {
            (earlier.account, earlier.instrument, earlier.side)
                == (order.account, order.instrument, order.side)
        };
        let fine = earlier
            .as_ref()
            .is_none_or(|earlier| may_replace && same(earlier));
        self.check("I4", fine, || format!("order id {id} is used again"))
    }

    fn amend(&mut self, id: OrderId, price: Price, qty: Qty) -> Result<(), Finding> {
        let known = self.orders.get_mut(&id).map(|order| {
            (order.price, order.open) = (price, qty.get() - order.filled);
        });
        self.check("I4", known.is_some(), || {
            format!("order {id} amended, but not open")
        })
    }

    fn cancel(&mut self, account: AccountId, id: OrderId, unfilled: Qty) -> Result<(), Finding> {
        let order = self.orders.remove(&id);
        let fits = order.is_some_and(|o| o.account == account && o.open == unfilled.get());
        self.check("I4", fits, || {
            format!("order {id} cancelled with {unfilled} left: {order:?}")
        })
    }

    fn trade(&mut self, trade: &Trade) -> Result<(), Finding> {
        let (number, last, mode) = (trade.trade, self.last_trade, self.mode);
        self.check("I3", number == last + 1, || {
            format!("trade {number} follows {last}")
        })?;
        self.last_trade = number;
        let permits = matches!(mode, Mode::Open | Mode::Auction);
        self.check("I7", permits, || format!("trade {number} in {mode:?}"))?;
        self.fill(
            trade.maker_order,
            trade.maker,
            trade.taker_side.opposite(),
            trade,
            true,
        )?;
        self.fill(
            trade.taker_order,
            trade.taker,
            trade.taker_side,
            trade,
            false,
        )?;
        self.exchange(trade)
    }

    /// Takes one fill off an open order, which must fit it.
    fn fill(
        &mut self,
        id: OrderId,
        account: AccountId,
        side: Side,
        trade: &Trade,
        resting: bool,
    ) -> Result<(), Finding> {
        let order = self.orders.get(&id).copied();
        // An auction trades at its own price, which is no worse than either order's.
        let at_own = resting && self.clearing != Some((trade.instrument, trade.price));
        let fits = order.is_some_and(|order| {
            let better = (order.price.get() - trade.price.get()) * side.sign();
            (order.account, order.instrument, order.side) == (account, trade.instrument, side)
                && order.open >= trade.qty.get()
                && (if at_own { better == 0 } else { better >= 0 })
        });
        self.check("I4", fits, || {
            format!("trade {} does not fit {order:?}", trade.trade)
        })?;
        let left = order.map_or(0, |order| order.open - trade.qty.get());
        if resting {
            let said = trade.maker_filled;
            self.check("I4", said == (left == 0), || {
                format!("maker {id} has {left} left")
            })?;
        }
        match self.orders.get_mut(&id) {
            Some(order) if left > 0 => {
                order.open = left;
                order.filled += trade.qty.get();
            }
            _ => drop(self.orders.remove(&id)),
        }
        Ok(())
    }

    fn exchange(&mut self, trade: &Trade) -> Result<(), Finding> {
        let product = i128::from(trade.price.get()) * i128::from(trade.qty.get());
        let whole = trade.qty.get() > 0 && product % 100_000_000 == 0;
        self.check("I1", whole, || {
            format!("trade {} is no whole amount", trade.trade)
        })?;
        let premium = product / 100_000_000;
        let bought = i128::from(trade.taker_side.sign());
        let fees = [trade.taker_fee, trade.maker_fee].map(|fee| i128::from(fee.get()));
        let [taker_fee, maker_fee] = fees;
        self.pay(trade.taker, -bought * premium - taker_fee);
        self.pay(trade.maker, bought * premium - maker_fee);
        self.venue += taker_fee + maker_fee;
        let held = self.positions.entry(trade.instrument).or_default();
        *held.entry(trade.taker).or_default() += bought * i128::from(trade.qty.get());
        *held.entry(trade.maker).or_default() -= bought * i128::from(trade.qty.get());
        Ok(())
    }

    fn settle(
        &mut self,
        account: AccountId,
        instrument: InstrumentId,
        position: Qty,
        cash: Cash,
    ) -> Result<(), Finding> {
        let mine = self.position(instrument, account);
        let same = mine == i128::from(position.get());
        let what = || format!("account {account} settles {position} of {instrument}, held {mine}");
        self.check("positions", same, what)?;
        self.pay(account, cash.get().into());
        *self.settling.entry(instrument).or_default() += i128::from(cash.get());
        if let Some(held) = self.positions.get_mut(&instrument) {
            held.remove(&account);
        }
        Ok(())
    }

    fn close_block(&mut self, touched: &BTreeSet<InstrumentId>) -> Result<(), Finding> {
        for (instrument, cash) in core::mem::take(&mut self.settling) {
            let what = || format!("settling {instrument} made {cash} out of nothing");
            self.check("I1", cash == 0, what)?;
            self.positions.remove(&instrument);
        }
        for instrument in touched {
            let held = self.positions.get(instrument);
            let sum: i128 = held.map_or(0, |held| held.values().sum());
            self.check("I8", sum == 0, || {
                format!("positions in {instrument}: {sum}")
            })?;
        }
        let cash: i128 = self.cash.values().sum();
        let (venue, deposited) = (self.venue, self.deposited);
        self.check("I1", cash + venue == deposited, || {
            format!("accounts {cash} + venue {venue}, deposited {deposited}")
        })
    }
}

#[cfg(test)]
mod tests;
