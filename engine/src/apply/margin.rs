//! The engine's use of the margin models.
//!
//! Rows of scenario values are derived from indices, forwards, samples and marks as of the last
//! tick, all of which are state: a restored engine rebuilds exactly the rows it had.

use alloc::vec::Vec;

use super::Engine;
use super::fills::FeeRow;
use super::place::Ticket;
use crate::book::{Books, Resting};
use crate::instrument::{Instrument, Instruments};
use crate::ledger::{self, Account};
use crate::orders::OrderTable;
use crate::params::Parameters;
use crate::reject::Reject;
use crate::risk::{
    AccountCheck, ExpiryState, Holding, InstrumentKind, InstrumentTerms, Margin, OpenChange,
    OrderCheck, PositionChange, Ratio, RiskBook, RiskError, UnderlyingState, VolMark,
};
use crate::types::{
    AccountId, Cash, InstrumentId, Lots, MarginModel, Price, PriceTicks, Rounding, Side, TimeMs,
    UnderlyingId, mul_div,
};

/// Margin rows, fees per lot and whether a tick happened in this block.
pub(super) struct MarginEngine {
    book: RiskBook,
    fees: Vec<FeeRow>,
    ticked: bool,
}

/// Accounts whose sums are kept between orders.
const ACCOUNTS_CACHED: usize = 1 << 14;

impl MarginEngine {
    pub fn new(parameters: &Parameters) -> Result<Self, RiskError> {
        let portfolio = parameters.portfolio_margin.clone();
        let book = RiskBook::new(
            portfolio,
            parameters.standard_margin.clone(),
            ACCOUNTS_CACHED,
        )?;
        Ok(Self {
            book,
            fees: Vec::new(),
            ticked: false,
        })
    }

    /// Whether an underlying ticked in this block.
    pub const fn ticked(&self) -> bool {
        self.ticked
    }

    /// The same, and forgets it.
    pub const fn take_ticked(&mut self) -> bool {
        core::mem::replace(&mut self.ticked, false)
    }

    pub fn fee_row(&self, instrument: InstrumentId) -> FeeRow {
        let at = usize::try_from(instrument.get()).unwrap_or(usize::MAX);
        self.fees.get(at).copied().unwrap_or_default()
    }

    pub fn remove(&mut self, instrument: InstrumentId) {
        self.book.remove_instrument(instrument);
    }

    fn set_fees(&mut self, instrument: InstrumentId, row: FeeRow) {
        let Ok(at) = usize::try_from(instrument.get()) else {
            return;
        };
        if self.fees.len() <= at {
            self.fees.resize(at.saturating_add(1), FeeRow::default());
        }
        if let Some(entry) = self.fees.get_mut(at) {
            *entry = row;
        }
    }
}

impl Engine {
    /// Values every marked option of an underlying anew, at the last tick's prices.
    pub(super) fn update_margin_rows(&mut self, underlying: UnderlyingId) {
        let Some(state) = self.underlying_state(underlying) else {
            return;
        };
        let ids: Vec<InstrumentId> = self
            .instruments
            .expiries(underlying)
            .flat_map(|(_, ids)| ids)
            .copied()
            .collect();
        let mut vols = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(instrument) = self.instruments.get(id).copied() else {
                continue;
            };
            let Some(mark) = instrument.mark else {
                continue;
            };
            if self.margin.book.row(id).is_none() {
                let _ = self.margin.book.set_instrument(id, risk_terms(&instrument));
            }
            let vol = Ratio::from_ppm(i32::try_from(mark.volatility_ppm).unwrap_or(i32::MAX));
            vols.push(VolMark {
                instrument: id,
                vol,
                confidence: Ratio::ONE,
            });
            let row = self.fees_of(&instrument, state.spot);
            self.margin.set_fees(id, row);
        }
        if self.margin.book.tick(&state, &vols).is_ok() {
            self.margin.ticked = true;
        }
    }

    fn underlying_state(&self, underlying: UnderlyingId) -> Option<UnderlyingState> {
        let feed = self.feed(underlying)?;
        let index = feed.last?;
        let expiry_state = |expiry: TimeMs| ExpiryState {
            expiry,
            forward: self.forward(underlying, expiry).unwrap_or(index.price),
            settled: self
                .samples
                .get(&(underlying, expiry))
                .and_then(|s| s.settled(&self.parameters.settlement)),
            rate: Ratio::new(self.parameters.index.rate_ppb),
            confidence: Ratio::ONE,
        };
        Some(UnderlyingState {
            underlying,
            now: index.at,
            spot: index.price,
            spot_confidence: Ratio::ONE,
            perp: Price::ZERO,
            perp_confidence: Ratio::ONE,
            stable: Ratio::ONE,
            expiries: self
                .instruments
                .expiries(underlying)
                .map(|(e, _)| expiry_state(e))
                .collect(),
        })
    }

    fn fees_of(&self, instrument: &Instrument, index: Price) -> FeeRow {
        let notional = instrument
            .value(index, 1, Rounding::Up)
            .unwrap_or(Cash::ZERO)
            .get();
        let fees = &self.parameters.fees;
        let share =
            |ppm: u32| mul_div(notional, i64::from(ppm), 1_000_000, Rounding::Up).unwrap_or(0);
        let mark = instrument.mark.unwrap_or_default().price;
        FeeRow {
            taker_per_lot: share(fees.taker_ppm),
            maker_per_lot: share(fees.maker_ppm),
            mark_per_lot: instrument
                .value(mark, 1, Rounding::Down)
                .unwrap_or(Cash::ZERO)
                .get(),
        }
    }

    /// Rebuilds all rows after a restore.
    pub(super) fn rebuild_margin(&mut self) {
        for at in 0..self.parameters.underlyings.len() {
            self.update_margin_rows(UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX)));
        }
        self.margin.ticked = false;
    }

    /// An expiry left the underlying's books.
    pub(super) fn margin_reset(&mut self, underlying: UnderlyingId) {
        self.update_margin_rows(underlying);
    }

    /// Open lots of an account came or went, after the fact. All of them rest at `price`.
    pub(super) fn margin_open_changed(&mut self, order: &OpenLots, change: i64) {
        let drag = self.drag(order.instrument, order.side, order.price, change);
        let change = OpenChange {
            instrument: order.instrument,
            side: order.side,
            lots: change,
            drag: Cash::new(drag),
        };
        self.margin.book.on_open_change(order.account, &change);
    }

    /// A position changed, after the fact.
    pub(super) fn margin_position_changed(
        &mut self,
        account: AccountId,
        instrument: InstrumentId,
        before: i64,
        after: i64,
    ) {
        let change = PositionChange {
            instrument,
            before,
            after,
        };
        self.margin.book.on_position_change(account, &change);
    }

    /// Forgets what is remembered of an account whose holdings changed in another way.
    pub(super) fn margin_forget(&mut self, account: AccountId) {
        self.margin.book.forget(account);
    }

    /// What `lots` (signed: positive when they come) at a price lose against the mark; at most zero
    /// for lots that come.
    fn drag(&self, instrument: InstrumentId, side: Side, price: PriceTicks, lots: i64) -> i64 {
        let Some(tick_value) = self.instruments.get(instrument).map(|i| i.tick_value.get()) else {
            return 0;
        };
        let mark = self.margin.fee_row(instrument).mark_per_lot;
        drag(
            mark,
            tick_value.saturating_mul(i64::from(price.get())),
            side,
            lots,
        )
    }

    pub(super) fn check_initial_margin(&mut self, ticket: &Ticket) -> Result<(), Reject> {
        let premium = self.premium(ticket.instrument, ticket.limit, ticket.lots);
        let row = self.margin.fee_row(ticket.instrument);
        let fee_max = self.fee(
            row.taker_per_lot.max(row.maker_per_lot),
            ticket.lots,
            premium,
        );
        let instrument = self
            .instruments
            .get(ticket.instrument)
            .ok_or(Reject::UnknownInstrument)?;
        let price_per_lot = instrument
            .premium(ticket.limit, Lots::new(1))
            .ok_or(Reject::OffTick)?;
        let order = OrderCheck {
            instrument: ticket.instrument,
            side: ticket.side,
            lots: ticket.lots.get(),
            price_per_lot,
            fee_max,
        };
        let account = self
            .ledger
            .account(ticket.account)
            .ok_or(Reject::UnknownAccount)?;
        let check = AccountCheck {
            account: ticket.account,
            cash: account.cash,
            model: account.model,
        };
        let holdings = HoldingsAtMark {
            instruments: &self.instruments,
            rows: &self.margin.fees,
            orders: &self.orders,
            books: &self.books,
            account,
            next: 0,
        };
        self.margin
            .book
            .check_order(&check, holdings, &order)
            .map_err(refused)
    }

    /// Checks an order that takes the place of a resting one of the same account, instrument and
    /// side, with the old one's hold released.
    pub(super) fn check_amended_margin(
        &mut self,
        ticket: &Ticket,
        old: &Resting,
    ) -> Result<(), Reject> {
        let open = OpenLots::of(old);
        let lots = i64::from(old.lots.get());
        // The check may fill the cache from the ledger, where the old order still is: fill it first.
        self.remember(ticket.account);
        self.margin_open_changed(&open, lots.saturating_neg());
        let verdict = self.check_initial_margin(ticket);
        self.margin_open_changed(&open, lots);
        verdict
    }

    /// Makes sure the account's sums are remembered.
    fn remember(&mut self, id: AccountId) {
        let Some(account) = self.ledger.account(id) else {
            return;
        };
        let holdings = HoldingsAtMark {
            instruments: &self.instruments,
            rows: &self.margin.fees,
            orders: &self.orders,
            books: &self.books,
            account,
            next: 0,
        };
        self.margin.book.remember(id, holdings);
    }

    pub(super) fn initial_margin_under(
        &mut self,
        account: AccountId,
        model: MarginModel,
    ) -> Result<Cash, Reject> {
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let holdings = entry.holdings.iter().map(risk_holding);
        Ok(self.margin.book.margin(holdings, entry.cash, model).im)
    }

    pub(super) fn margin_of(&mut self, account: AccountId) -> Option<Margin> {
        let entry = self.ledger.account(account)?;
        let holdings = entry.holdings.iter().map(risk_holding);
        Some(self.margin.book.margin(holdings, entry.cash, entry.model))
    }

    pub(super) fn margin_of_account(&mut self, account: &Account) -> Option<Margin> {
        let holdings = account.holdings.iter().map(risk_holding);
        Some(
            self.margin
                .book
                .margin(holdings, account.cash, account.model),
        )
    }

    /// Exact margin, and initial margin with every open order at its worst.
    pub(super) fn margin_with_orders(&self, id: AccountId) -> Option<(Margin, Cash)> {
        let account = self.ledger.account(id)?;
        let mut book = self.margin.book.without_cache();
        let holdings = HoldingsAtMark {
            instruments: &self.instruments,
            rows: &self.margin.fees,
            orders: &self.orders,
            books: &self.books,
            account,
            next: 0,
        };
        let margin = book.margin(holdings.clone(), account.cash, account.model);
        let check = AccountCheck {
            account: id,
            cash: account.cash,
            model: account.model,
        };
        let initial = book.initial_with_orders(&check, holdings).ok()?;
        Some((margin, initial))
    }

    /// Accounts under maintenance margin, and those in liquidation, ascending.
    pub(super) fn under_maintenance(&mut self, out: &mut Vec<AccountId>) {
        for (id, account) in self.ledger.iter() {
            if id == super::INSURANCE_FUND {
                continue;
            }
            let holds = account.holdings.iter().any(|h| h.position != 0) || account.cash.get() < 0;
            if !holds && account.liquidation.is_none() {
                continue;
            }
            let holdings = account.holdings.iter().map(risk_holding);
            let margin = self
                .margin
                .book
                .margin(holdings, account.cash, account.model);
            if margin.mm.get() < 0 || account.liquidation.is_some() {
                out.push(id);
            }
        }
    }
}

/// Lots of one account at one price of one book.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLots {
    pub account: AccountId,
    pub instrument: InstrumentId,
    pub side: Side,
    pub price: PriceTicks,
}

impl OpenLots {
    pub const fn of_ticket(ticket: &Ticket) -> Self {
        Self {
            account: ticket.account,
            instrument: ticket.instrument,
            side: ticket.side,
            price: ticket.limit,
        }
    }

    pub const fn of(order: &Resting) -> Self {
        Self {
            account: order.owner,
            instrument: order.book,
            side: order.side,
            price: order.price,
        }
    }
}

/// min(0, ±(mark − price)) · lots, all of one lot.
fn drag(mark_per_lot: i64, price_per_lot: i64, side: Side, lots: i64) -> i64 {
    let gain = mark_per_lot
        .saturating_sub(price_per_lot)
        .saturating_mul(side.sign());
    gain.min(0).saturating_mul(lots)
}

const fn refused(error: RiskError) -> Reject {
    match error {
        RiskError::Unknown | RiskError::NotPriced => Reject::NoMark,
        RiskError::Full => Reject::VenueFull,
        RiskError::BelowInitial => Reject::MarginBelowInitial,
        RiskError::TooLarge => Reject::PositionTooLarge,
    }
}

/// An account's holdings as the margin models read them. The drag of all its open orders is worked
/// out once, when the first is read, and reported with it: only their sum counts.
#[derive(Clone)]
struct HoldingsAtMark<'a> {
    instruments: &'a Instruments,
    rows: &'a [FeeRow],
    orders: &'a OrderTable,
    books: &'a Books,
    account: &'a Account,
    next: usize,
}

impl Iterator for HoldingsAtMark<'_> {
    type Item = Holding;

    fn next(&mut self) -> Option<Holding> {
        let mut holding = risk_holding(self.account.holdings.get(self.next)?);
        if self.next == 0 {
            holding.open_drag = Cash::new(self.total_drag());
        }
        self.next = self.next.saturating_add(1);
        Some(holding)
    }
}

impl HoldingsAtMark<'_> {
    fn total_drag(&self) -> i64 {
        let slots = self.orders.of_account(self.account);
        slots
            .filter_map(|slot| self.books.in_slot(slot))
            .fold(0i64, |sum, order| {
                let at = usize::try_from(order.book.get()).unwrap_or(usize::MAX);
                let mark = self.rows.get(at).map_or(0, |row| row.mark_per_lot);
                let tick_value = self
                    .instruments
                    .get(order.book)
                    .map_or(0, |i| i.tick_value.get());
                let price = tick_value.saturating_mul(i64::from(order.price.get()));
                sum.saturating_add(drag(mark, price, order.side, i64::from(order.lots.get())))
            })
    }
}

fn risk_terms(instrument: &Instrument) -> InstrumentTerms {
    InstrumentTerms {
        underlying: instrument.terms.underlying,
        lot: instrument.lot,
        kind: InstrumentKind::Option {
            expiry: instrument.terms.expiry,
            strike: instrument.terms.strike,
            kind: instrument.terms.kind,
        },
    }
}

fn risk_holding(holding: &ledger::Holding) -> Holding {
    Holding {
        instrument: holding.instrument,
        position: holding.position,
        open_buy: u64::from(holding.open_buy),
        open_sell: u64::from(holding.open_sell),
        open_drag: Cash::ZERO,
    }
}
