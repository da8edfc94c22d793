//! Reading the state: what gateways, auditors and tests see.

use alloc::vec::Vec;

use super::Engine;
use crate::auction::Auctions;
use crate::book::Resting;
use crate::instrument::{Instrument, Instruments};
use crate::ledger::{Account, Ledger};
use crate::modes::ModeState;
use crate::orders::flags;
use crate::params::{Parameters, UnderlyingParameters};
use crate::settlement::{IndexFeed, STABLE};
use crate::types::{
    AccountId, Address, Cash, ChainId, ClientOrderId, Height, InstrumentId, OrderId, Price,
    PublicKey, Qty, RecoveryPolicy, Side, TimeMs, UnderlyingId,
};
use crate::vault::VaultState;

/// One price level of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLevel {
    /// Price.
    pub price: Price,
    /// Sum of its orders.
    pub qty: Qty,
    /// How many orders.
    pub orders: u32,
}

/// A resting order as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Its id.
    pub order: OrderId,
    /// Whose.
    pub account: AccountId,
    /// The client's id, or 0.
    pub client_id: ClientOrderId,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// At which price.
    pub price: Price,
    /// What is left.
    pub remaining: Qty,
    /// What was filled.
    pub filled: Qty,
    /// Whether it may only reduce.
    pub reduce_only: bool,
    /// Whether it is a quote of a mass quote.
    pub quote: bool,
    /// What happens to it after an outage.
    pub recovery: RecoveryPolicy,
    /// Block time of placing.
    pub placed_at: TimeMs,
    /// When it expires; 0 for never.
    pub expires_at: TimeMs,
    /// Time priority within its price.
    pub priority: u64,
    /// The client's label.
    pub label: Vec<u8>,
}

/// An account's margin. Requirements are positive: equity less requirement is what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarginSummary {
    /// Cash plus positions at their marks.
    pub equity: Cash,
    /// Initial margin required, open orders and the bonds of sealed ones included.
    pub initial: Cash,
    /// Maintenance margin required.
    pub maintenance: Cash,
}

impl Engine {
    /// The auctions that run.
    pub const fn auctions(&self) -> &Auctions {
        &self.auctions
    }

    /// Which venue this is.
    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// Height of the last block.
    pub fn height(&self) -> Height {
        self.height
    }

    /// Time of the last block.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// The mode and what its exit waits for.
    pub fn mode(&self) -> &ModeState {
        &self.mode
    }

    /// The rules' figures.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Validators' command keys.
    pub fn validators(&self) -> &[PublicKey] {
        &self.validators
    }

    /// Accounts and funds.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The vaults, in the order of the parameters.
    pub fn vaults(&self) -> &[VaultState] {
        &self.vaults
    }

    /// All instruments.
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// One account.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.ledger.account(id)
    }

    /// The account of an owner.
    pub fn account_by_owner(&self, owner: &Address) -> Option<AccountId> {
        self.ledger.by_owner(owner)
    }

    /// Events since genesis.
    pub fn events_emitted(&self) -> u64 {
        self.events_emitted
    }

    /// Trades since genesis.
    pub fn trades(&self) -> u64 {
        self.trades
    }

    /// Commands on the quarantine list, by height and place in the block.
    pub fn quarantined(&self) -> &[(Height, u32)] {
        &self.quarantined
    }

    /// What validators observed about an underlying, or about the settlement stablecoin
    /// ([`STABLE`]).
    pub fn feed(&self, underlying: UnderlyingId) -> Option<&IndexFeed> {
        if underlying == STABLE {
            return self.parameters.stable.as_ref().map(|_| &self.stable);
        }
        self.feeds.get(usize::from(underlying.get()))
    }

    /// The last index price of an underlying, however old.
    pub fn index_price(&self, underlying: UnderlyingId) -> Option<Price> {
        self.feed(underlying)?.last.map(|index| index.price)
    }

    /// The forward for an expiry: the one observed, else the index.
    pub fn forward(&self, underlying: UnderlyingId, expiry: TimeMs) -> Option<Price> {
        let feed = self.feed(underlying)?;
        feed.forwards
            .get(&expiry)
            .copied()
            .or_else(|| self.index_price(underlying))
    }

    /// The figures of an instrument's underlying.
    pub fn underlying(&self, instrument: &Instrument) -> Option<&UnderlyingParameters> {
        self.parameters
            .underlyings
            .get(usize::from(instrument.terms.underlying.get()))
    }

    /// The best price of one side.
    pub fn best(&self, instrument: InstrumentId, side: Side) -> Option<Price> {
        let tick = self.instruments.get(instrument)?.tick;
        self.books.best(instrument, side)?.to_price(tick)
    }

    /// The first `levels` price levels of one side, best first.
    pub fn depth(&self, instrument: InstrumentId, side: Side, levels: usize) -> Vec<BookLevel> {
        let Some(terms) = self.instruments.get(instrument) else {
            return Vec::new();
        };
        let level = |total: crate::book::LevelTotal| {
            let lots = i64::try_from(total.lots).ok()?;
            Some(BookLevel {
                price: total.price.to_price(terms.tick)?,
                qty: Qty::new(lots.checked_mul(terms.lot.get())?),
                orders: total.orders,
            })
        };
        self.books
            .depth(instrument, side, levels)
            .filter_map(level)
            .collect()
    }

    /// Resting orders of one side in price-time priority.
    pub fn queue(
        &self,
        instrument: InstrumentId,
        side: Side,
    ) -> impl Iterator<Item = Resting> + '_ {
        self.books.orders(instrument, side)
    }

    /// Resting orders and quotes over all books.
    pub fn live_orders(&self) -> u32 {
        self.books.live()
    }

    /// A resting order.
    pub fn order(&self, id: OrderId) -> Option<OrderView> {
        self.view(&self.books.get(id)?)
    }

    /// The order that used a client id, if the id is still remembered; it may have ended.
    pub fn order_by_client_id(
        &self,
        account: AccountId,
        client_id: ClientOrderId,
    ) -> Option<OrderId> {
        self.ledger
            .account(account)?
            .client_ids
            .as_ref()?
            .get(client_id)
    }

    /// An account's resting orders and quotes, by ascending slot.
    pub fn open_orders(&self, account: AccountId) -> Vec<OrderView> {
        let Some(entry) = self.ledger.account(account) else {
            return Vec::new();
        };
        let mut slots: Vec<u32> = self.orders.of_account(entry).collect();
        slots.sort_unstable();
        let resting = slots
            .into_iter()
            .filter_map(|slot| self.books.in_slot(slot));
        resting.filter_map(|order| self.view(&order)).collect()
    }

    /// An account's margin at the last marks; `None` when something it holds has no mark.
    pub fn margin_summary(&self, account: AccountId) -> Option<MarginSummary> {
        let (margin, initial) = self.margin_with_orders(account)?;
        let required =
            |left: Cash| Cash::new(margin.equity.get().saturating_sub(left.get()).max(0));
        let bond = self.auctions.bond_of(account);
        Some(MarginSummary {
            equity: margin.equity,
            initial: Cash::new(required(initial).get().saturating_add(bond.get())),
            maintenance: required(margin.mm),
        })
    }

    fn view(&self, order: &Resting) -> Option<OrderView> {
        let instrument = self.instruments.get(order.book)?;
        let detail = self.orders.get(order.order.slot())?;
        let keep = order.flags & flags::KEEP != 0;
        Some(OrderView {
            order: order.order,
            account: order.owner,
            client_id: detail.client_id,
            instrument: order.book,
            side: order.side,
            price: order.price.to_price(instrument.tick)?,
            remaining: order.lots.to_qty(instrument.lot)?,
            filled: crate::types::Lots::new(detail.filled).to_qty(instrument.lot)?,
            reduce_only: order.flags & flags::REDUCE_ONLY != 0,
            quote: order.flags & flags::QUOTE != 0,
            recovery: if keep {
                RecoveryPolicy::Keep
            } else {
                RecoveryPolicy::Cancel
            },
            placed_at: detail.placed_at,
            expires_at: detail.expires_at,
            priority: order.priority,
            label: self.orders.label(order.order.slot()).to_vec(),
        })
    }
}
