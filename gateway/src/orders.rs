//! What the gateway remembers of the accounts it serves: open orders with their labels, ended
//! orders, fills. Bounded for each account.

use std::collections::{BTreeMap, VecDeque};

use lifeboat_engine::command::{Action, OrderPrice, PlaceOrder};
use lifeboat_engine::event::{CancelReason, OrderPlaced, Trade};
use lifeboat_engine::types::{
    AccountId, Cash, ClientOrderId, InstrumentId, OrderId, PostOnly, Price, Qty, SettlementChain,
    Side, TimeInForce, TimeMs,
};
use lifeboat_engine::{Command, OrderView};

use crate::tape::PublicTrade;
use crate::watch::{Watch, Watched};

/// Ended orders remembered for each account.
const ENDED_MAX: usize = 2_000;
/// Fills remembered for each account.
const FILLS_MAX: usize = 4_000;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Resting.
    Open,
    /// Nothing left.
    Filled,
    /// Ended otherwise.
    Cancelled(CancelReason),
    /// Ended in blocks that the gateway did not hear of: filled or cancelled, it does not know.
    Gone,
}

/// One order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRecord {
    /// The venue's id.
    pub order: OrderId,
    /// The client's id, or 0.
    pub client_id: ClientOrderId,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// Whether it was a market order.
    pub market: bool,
    /// Whole size.
    pub qty: Qty,
    /// Filled so far.
    pub filled: Qty,
    /// Sum of price · size of its fills, in 1e-14 USDC.
    pub cost: i128,
    /// Fees so far.
    pub fee: Cash,
    /// Echoed from the client.
    pub label: String,
    /// For how long.
    pub time_in_force: TimeInForce,
    /// May it take.
    pub post_only: PostOnly,
    /// Only towards a flat position.
    pub reduce_only: bool,
    /// Counted by market-maker protection.
    pub protected: bool,
    /// Whether it is a side of a quote.
    pub quote: bool,
    /// Whether it was amended.
    pub replaced: bool,
    /// When it was accepted.
    pub created: TimeMs,
    /// When it last changed.
    pub updated: TimeMs,
    /// Where it stands.
    pub state: OrderState,
}

impl OrderRecord {
    fn bare(order: OrderId, instrument: InstrumentId, side: Side, at: TimeMs) -> Self {
        Self {
            order,
            client_id: ClientOrderId::default(),
            instrument,
            side,
            price: Price::ZERO,
            market: false,
            qty: Qty::ZERO,
            filled: Qty::ZERO,
            cost: 0,
            fee: Cash::ZERO,
            label: String::new(),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::Off,
            reduce_only: false,
            protected: false,
            quote: false,
            replaced: false,
            created: at,
            updated: at,
            state: OrderState::Open,
        }
    }

    /// From the event and, when it is at hand, the command that asked for it.
    pub fn placed(event: &OrderPlaced, command: Option<&PlaceOrder>, at: TimeMs) -> Self {
        let mut record = Self::bare(event.order, event.instrument, event.side, at);
        record.client_id = event.client_id;
        record.price = event.price;
        record.qty = event.qty;
        record.label = String::from_utf8_lossy(&event.label).into_owned();
        if let Some(command) = command {
            record.market = command.price == OrderPrice::Market;
            record.time_in_force = command.time_in_force;
            record.post_only = command.post_only;
            record.reduce_only = command.reduce_only;
            record.protected = command.protected;
        }
        record
    }

    /// From the engine's book, for orders older than the gateway. What its earlier fills cost is
    /// not known: they count at its own price.
    pub fn found(open: &OrderView) -> Self {
        let mut record = Self::bare(open.order, open.instrument, open.side, open.placed_at);
        record.client_id = open.client_id;
        record.price = open.price;
        record.filled = open.filled;
        record.qty = Qty::new(open.remaining.get().saturating_add(open.filled.get()));
        record.cost = i128::from(open.price.get()) * i128::from(open.filled.get());
        record.reduce_only = open.reduce_only;
        record.label = String::from_utf8_lossy(&open.label).into_owned();
        if open.expires_at.get() != 0 {
            record.time_in_force = TimeInForce::GoodTilDate(open.expires_at);
        }
        record.quote = open.quote;
        record.protected = open.quote;
        record
    }

    /// What is left of it.
    pub fn remaining(&self) -> Qty {
        Qty::new(self.qty.get().saturating_sub(self.filled.get()).max(0))
    }

    /// Mean price of its fills in USDC; 0 without fills.
    pub fn average_price(&self) -> f64 {
        match self.filled.get() {
            0 => 0.0,
            filled => self.cost as f64 / filled as f64 * 1e-6,
        }
    }

    fn fill(&mut self, price: Price, qty: Qty, fee: Cash, at: TimeMs) {
        self.filled = Qty::new(self.filled.get().saturating_add(qty.get()));
        self.cost += i128::from(price.get()) * i128::from(qty.get());
        self.fee = Cash::new(self.fee.get().saturating_add(fee.get()));
        self.updated = at;
        if self.filled >= self.qty {
            self.state = OrderState::Filled;
        }
    }
}

/// The place-order command within a block entry.
pub fn place_order(command: &Command) -> Option<&PlaceOrder> {
    match command {
        Command::User(user) => match &user.payload.action {
            Action::PlaceOrder(place) => Some(place),
            _ => None,
        },
        Command::Validator(_) => None,
    }
}

/// One fill of one of the account's orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// The venue-wide trade number.
    pub trade: u64,
    /// Number of its event.
    pub event: u64,
    /// The instrument's trade number.
    pub seq: u64,
    /// When.
    pub time: TimeMs,
    /// Where.
    pub instrument: InstrumentId,
    /// The account's side.
    pub side: Side,
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// The account's order.
    pub order: OrderId,
    /// Whether the account's order was resting.
    pub maker: bool,
    /// What it paid.
    pub fee: Cash,
    /// Tick direction of the trade.
    pub tick_direction: u8,
    /// Mark then.
    pub mark: Option<Price>,
    /// Implied volatility of the mark then.
    pub iv: Option<f64>,
    /// Index then.
    pub index: Option<Price>,
    /// The order after the fill.
    pub after: OrderRecord,
}

/// A place in the sequence of fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FillMark {
    /// Number of the event.
    pub event: u64,
    /// The venue-wide trade number.
    pub trade: u64,
}

impl FillMark {
    /// Where a fill is.
    pub const fn of(fill: &Fill) -> Self {
        Self {
            event: fill.event,
            trade: fill.trade,
        }
    }
}

/// A position that was settled in cash.
#[derive(Clone, Copy, Debug)]
pub struct SettledPosition {
    /// When.
    pub time: TimeMs,
    /// Where.
    pub instrument: InstrumentId,
    /// How much was held.
    pub position: Qty,
    /// What it paid (negative: was paid).
    pub cash: Cash,
}

/// Collateral that was credited.
#[derive(Clone, Copy, Debug)]
pub struct Deposit {
    /// When.
    pub time: TimeMs,
    /// How much.
    pub amount: Cash,
    /// The settlement chain of the vault that took it.
    pub chain: SettlementChain,
    /// Its number there.
    pub number: u64,
}

/// The memory of one account.
#[derive(Clone, Debug, Default)]
pub struct AccountDesk {
    /// Positions settled, oldest first.
    pub settlements: VecDeque<SettledPosition>,
    /// Deposits, oldest first.
    pub deposits: VecDeque<Deposit>,
    open: BTreeMap<OrderId, OrderRecord>,
    ended: VecDeque<OrderRecord>,
    fills: VecDeque<Fill>,
    /// Every fill after this is remembered.
    fills_after: FillMark,
    watch: Watch,
}

impl AccountDesk {
    /// Takes over the orders that rest now. Orders it believed open and that do not rest any more
    /// have ended, it is not known how.
    pub fn reconcile(&mut self, resting: &[OrderView], at: TimeMs) {
        let mut known = std::mem::take(&mut self.open);
        for order in resting {
            let record = known
                .remove(&order.order)
                .unwrap_or_else(|| OrderRecord::found(order));
            self.open.insert(order.order, record);
        }
        for (_, mut record) in known {
            record.state = OrderState::Gone;
            record.updated = at;
            self.end(record);
        }
    }

    /// Fills up to this point may have happened unseen.
    pub fn miss(&mut self, mark: FillMark) {
        self.fills_after = mark;
    }

    /// Watches the orders open now that a test holds for, besides those watched already.
    pub fn watch(&mut self, test: impl Fn(&OrderRecord) -> bool) {
        let open = self.open.values().filter(|record| test(record));
        self.watch.add(open);
    }

    /// The outage with this id is over: what became of the watched orders is kept.
    pub fn restate(&mut self, outage: u64) {
        self.watch.settle(outage, &self.open);
    }

    /// What became of the orders that were open when the outage with this id began.
    pub fn restated(&self, outage: u64) -> &[Watched] {
        self.watch.of(outage)
    }

    /// Every fill after this point is remembered.
    pub const fn fills_after(&self) -> FillMark {
        self.fills_after
    }

    /// A new order.
    pub fn place(&mut self, record: OrderRecord) {
        self.open.insert(record.order, record);
    }

    /// A quote's side was set: it counts its fills from here.
    pub fn quote(
        &mut self,
        order: OrderId,
        place: (InstrumentId, Side),
        terms: (Price, Qty),
        at: TimeMs,
    ) {
        let record = self.open.entry(order).or_insert_with(|| {
            let mut record = OrderRecord::bare(order, place.0, place.1, at);
            record.quote = true;
            record.protected = true;
            record
        });
        record.price = terms.0;
        record.qty = terms.1;
        record.filled = Qty::ZERO;
        record.cost = 0;
        record.fee = Cash::ZERO;
        record.updated = at;
    }

    /// An order was amended.
    pub fn amend(&mut self, order: OrderId, price: Price, qty: Qty, at: TimeMs) {
        if let Some(record) = self.open.get_mut(&order) {
            record.price = price;
            record.qty = qty;
            record.replaced = true;
            record.updated = at;
        }
    }

    /// An order ended without being filled whole.
    pub fn cancel(&mut self, order: OrderId, reason: CancelReason, at: TimeMs) {
        if let Some(mut record) = self.open.remove(&order) {
            record.state = OrderState::Cancelled(reason);
            record.updated = at;
            self.end(record);
        }
    }

    /// One of its orders traded. `seen` is the public trade.
    pub fn fill(&mut self, trade: &Trade, maker: bool, event: u64, seen: &PublicTrade) -> Fill {
        let (order, fee, side) = match maker {
            true => (
                trade.maker_order,
                trade.maker_fee,
                trade.taker_side.opposite(),
            ),
            false => (trade.taker_order, trade.taker_fee, trade.taker_side),
        };
        let mut record = self
            .open
            .remove(&order)
            .unwrap_or_else(|| OrderRecord::bare(order, trade.instrument, side, seen.time));
        record.fill(trade.price, trade.qty, fee, seen.time);
        if maker && trade.maker_filled {
            record.state = OrderState::Filled;
        }
        let fill = Fill {
            trade: trade.trade,
            event,
            seq: seen.seq,
            time: seen.time,
            instrument: trade.instrument,
            side,
            price: trade.price,
            qty: trade.qty,
            order,
            maker,
            fee,
            tick_direction: seen.tick_direction,
            mark: seen.mark,
            iv: seen.iv,
            index: seen.index,
            after: record.clone(),
        };
        match record.state {
            OrderState::Open => drop(self.open.insert(order, record)),
            _ => self.end(record),
        }
        self.remember(fill.clone());
        fill
    }

    fn remember(&mut self, fill: Fill) {
        self.fills.push_back(fill);
        if self.fills.len() > FILLS_MAX
            && let Some(forgotten) = self.fills.pop_front()
        {
            self.fills_after = self.fills_after.max(FillMark::of(&forgotten));
        }
    }

    /// Keeps an ended order. A quote that was only replaced leaves no history.
    fn end(&mut self, record: OrderRecord) {
        self.watch.ended(&record);
        let replaced = record.state == OrderState::Cancelled(CancelReason::Requoted);
        if replaced && record.filled.is_zero() {
            return;
        }
        self.ended.push_back(record);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    /// A position was settled in cash.
    pub fn settle(&mut self, instrument: InstrumentId, position: Qty, cash: Cash, time: TimeMs) {
        self.settlements.push_back(SettledPosition {
            time,
            instrument,
            position,
            cash,
        });
        if self.settlements.len() > ENDED_MAX {
            self.settlements.pop_front();
        }
    }

    /// Collateral was credited.
    pub fn deposit(&mut self, deposit: Deposit) {
        self.deposits.push_back(deposit);
        if self.deposits.len() > ENDED_MAX {
            self.deposits.pop_front();
        }
    }

    /// Its open orders by id.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &OrderRecord> {
        self.open.values()
    }

    /// Its ended orders, latest first.
    pub fn ended(&self) -> impl Iterator<Item = &OrderRecord> {
        self.ended.iter().rev()
    }

    /// Its fills, oldest first.
    pub fn fills(&self) -> impl DoubleEndedIterator<Item = &Fill> {
        self.fills.iter()
    }

    /// An order, open or remembered.
    pub fn order(&self, order: OrderId) -> Option<&OrderRecord> {
        self.open
            .get(&order)
            .or_else(|| self.ended().find(|record| record.order == order))
    }
}

/// The memories of the accounts that have API keys here.
#[derive(Clone, Debug, Default)]
pub struct Desks(BTreeMap<AccountId, AccountDesk>);

impl Desks {
    /// Empty memories for these accounts.
    pub fn new(accounts: impl IntoIterator<Item = AccountId>) -> Self {
        let desks = accounts.into_iter().map(|id| (id, AccountDesk::default()));
        Self(desks.collect())
    }

    /// Serves an account too: its orders as they stand now.
    pub fn open(&mut self, account: AccountId, orders: &[OrderView], time: TimeMs) {
        let desk = self.0.entry(account).or_default();
        desk.reconcile(orders, time);
    }

    /// The accounts served.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.0.keys().copied()
    }

    /// An account's memory.
    pub fn get(&self, account: AccountId) -> Option<&AccountDesk> {
        self.0.get(&account)
    }

    /// An account's memory.
    pub fn get_mut(&mut self, account: AccountId) -> Option<&mut AccountDesk> {
        self.0.get_mut(&account)
    }

    /// Every memory.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&AccountId, &mut AccountDesk)> {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::RecoveryPolicy;

    #[test]
    fn history_is_bounded_and_skips_replaced_quotes() {
        let mut desk = AccountDesk::default();
        let place = (InstrumentId::new(0), Side::Buy);
        for n in 0..5_000u64 {
            let id = OrderId::new(n);
            desk.quote(id, place, (Price::new(1), Qty::new(1)), TimeMs::new(n));
            let reason = if n % 2 == 0 {
                CancelReason::Requoted
            } else {
                CancelReason::User
            };
            desk.cancel(id, reason, TimeMs::new(n));
        }
        assert_eq!(desk.ended().count(), ENDED_MAX);
        assert!(desk.ended().all(|r| r.order.get() % 2 == 1));
        assert_eq!(desk.open().count(), 0);
    }

    #[test]
    fn reconciling_takes_over_what_rests() {
        let mut desk = AccountDesk::default();
        let open = |n: u64| OrderView {
            order: OrderId::new(n),
            account: AccountId::new(1),
            client_id: ClientOrderId::new(n),
            instrument: InstrumentId::new(0),
            side: Side::Sell,
            price: Price::new(5),
            remaining: Qty::new(9),
            filled: Qty::new(3),
            reduce_only: false,
            quote: false,
            recovery: RecoveryPolicy::Keep,
            placed_at: TimeMs::new(n),
            expires_at: TimeMs::new(0),
            priority: n,
            label: b"mine".to_vec(),
        };
        desk.reconcile(&[open(1), open(2)], TimeMs::new(1));
        desk.reconcile(&[open(2), open(3)], TimeMs::new(2));
        let ids: Vec<u64> = desk.open().map(|r| r.order.get()).collect();
        assert_eq!(ids, [2, 3]);
        let kept = desk.order(OrderId::new(3)).expect("open");
        assert_eq!((kept.qty, kept.label.as_str()), (Qty::new(12), "mine"));
        let gone = desk.order(OrderId::new(1)).expect("remembered");
        assert_eq!(gone.state, OrderState::Gone);
    }
}
