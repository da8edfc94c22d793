//! The engine's use of the margin models.
//!
//! Rows of scenario values are derived from indices, forwards, samples and marks as of the last
//! tick, all of which are state: a restored engine rebuilds exactly the rows it had.

use alloc::vec::Vec;

use super::Engine;
use super::drags::Drags;
use super::fills::FeeRow;
use super::place::Ticket;
use crate::book::Resting;
use crate::book::prefetch::fetch;
use crate::instrument::Instrument;
use crate::ledger::{self, Account};
use crate::params::Parameters;
use crate::reject::Reject;
use crate::risk::{
    AccountCheck, ExpiryState, Holding, InstrumentKind, InstrumentTerms, Margin, OpenChange,
    OrderCheck, ParameterError, PositionChange, Ratio, RiskBook, RiskError, UnderlyingState,
    VolMark, Workspace,
};
use crate::types::{
    AccountId, Cash, InstrumentId, Lots, MarginModel, Price, PriceTicks, Rounding, Side, TimeMs,
    UnderlyingId, mul_div,
};

/// Margin rows, fees per lot and whether a tick happened in this block.
pub(super) struct MarginEngine {
    book: RiskBook,
    fees: Vec<FeeRow>,
    drags: Drags,
    reserves: Reserves,
    ticked: bool,
}

/// Accounts whose sums are kept between orders.
const ACCOUNTS_CACHED: usize = 1 << 14;

/// How many accounts ahead of the one whose margin is computed holdings are fetched.
const ACCOUNTS_AHEAD: u32 = 6;

impl MarginEngine {
    pub fn new(parameters: &Parameters) -> Result<Self, ParameterError> {
        let portfolio = parameters.portfolio_margin.clone();
        portfolio.validate()?;
        let standard = parameters.standard_margin.clone();
        let book = RiskBook::new(portfolio, standard, ACCOUNTS_CACHED)
            .map_err(|_| ParameterError::TooManyScenarios)?;
        Ok(Self {
            book,
            fees: Vec::new(),
            drags: Drags::default(),
            reserves: Reserves::default(),
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

    /// Asks the processor to fetch what is remembered of an account.
    #[inline]
    pub fn prefetch(&self, account: AccountId) {
        self.book.prefetch(account);
    }

    /// With that fetched: its sums.
    #[inline]
    pub fn prefetch_sums(&self, account: AccountId) {
        self.book.prefetch_sums(account);
    }

    /// With those fetched: what a trade in an instrument changes of them.
    #[inline]
    pub fn prefetch_trade(&self, account: AccountId, instrument: InstrumentId) {
        self.book.prefetch_trade(account, instrument);
    }

    /// Asks the processor to fetch what an order in an instrument counts.
    #[inline]
    pub fn prefetch_row(&self, instrument: InstrumentId, side: Side) {
        self.book.prefetch_row(instrument, side);
        let at = usize::try_from(instrument.get()).unwrap_or(usize::MAX);
        fetch(self.fees.get(at));
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
        self.sum_drags(underlying);
    }

    /// Sums the drags of an underlying's open orders at its new marks. Only orders priced through
    /// the mark have one, so each side is read from its best price up to the mark.
    fn sum_drags(&mut self, underlying: UnderlyingId) {
        self.margin.drags.clear(underlying);
        let books = self.instruments.expiries(underlying);
        for id in books.flat_map(|(_, ids)| ids) {
            let Some(instrument) = self.instruments.get(*id) else {
                continue;
            };
            let mark = self.margin.fee_row(*id).mark_per_lot;
            for side in Side::ALL {
                for order in self.books.orders(*id, *side) {
                    let price = instrument.ticks_value(order.price);
                    let lost = drag(mark, price, *side, i64::from(order.lots.get()));
                    if lost == 0 {
                        break;
                    }
                    self.margin.drags.add(underlying, order.owner, lost);
                }
            }
        }
    }

    /// What weighs on an underlying's initial margin beside its prices.
    pub(super) fn set_margin_conditions(
        &mut self,
        underlying: UnderlyingId,
        stable: Ratio,
        loss_scale: Ratio,
    ) {
        self.margin
            .book
            .set_conditions(underlying, stable, loss_scale);
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
            stable: self.stable_ratio(),
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
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            self.update_margin_rows(underlying);
            self.update_conditions(underlying);
        }
        self.margin.ticked = false;
    }

    /// Open lots of an account came or went, after the fact. All of them rest at `price`.
    pub(super) fn margin_open_changed(&mut self, order: &OpenLots, change: i64) {
        let Some(instrument) = self.instruments.get(order.instrument) else {
            return;
        };
        let underlying = instrument.terms.underlying;
        let drag = self.drag_of(order, change);
        self.margin.drags.add(underlying, order.account, drag);
        let change = OpenChange {
            instrument: order.instrument,
            side: order.side,
            lots: change,
            drag: Cash::new(drag),
        };
        self.margin.book.on_open_change(order.account, &change);
    }

    /// What lots of an order (signed: positive when they come) lose by its price.
    fn drag_of(&self, order: &OpenLots, lots: i64) -> i64 {
        let Some(instrument) = self.instruments.get(order.instrument) else {
            return 0;
        };
        let mark = self.margin.fee_row(order.instrument).mark_per_lot;
        drag(mark, instrument.ticks_value(order.price), order.side, lots)
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

    pub(super) fn check_initial_margin(&mut self, ticket: &Ticket) -> Result<(), Reject> {
        let (check, order) = self.margin_check(ticket)?;
        let drag = self.margin.drags.of(ticket.account);
        if self.margin.book.surely_fits(check, drag, order, 0) {
            return Ok(());
        }
        self.check_exactly(&check, &order)
    }

    /// Judges an order on exact sums.
    #[inline(never)]
    fn check_exactly(&mut self, check: &AccountCheck, order: &OrderCheck) -> Result<(), Reject> {
        let account = self
            .ledger
            .account(check.account)
            .ok_or(Reject::UnknownAccount)?;
        let holdings = HoldingsAtMark::new(account, self.margin.drags.of(check.account));
        self.margin
            .book
            .check_order(check, holdings, order)
            .map_err(refused)
    }

    /// Judges an order that may use `room` of initial margin and no more. Margin falls by a unit for
    /// each unit of cash, so cash stands in for it.
    pub(super) fn check_margin_within(
        &mut self,
        ticket: &Ticket,
        room: Cash,
    ) -> Result<(), Reject> {
        let (check, order) = self.margin_check(ticket)?;
        let (_, free) = self
            .margin_with_orders(ticket.account)
            .ok_or(Reject::NoMark)?;
        let account = self.ledger.account(ticket.account);
        let cash = account.ok_or(Reject::UnknownAccount)?.cash;
        let least = cash.get().saturating_sub(free.get());
        let check = AccountCheck {
            cash: Cash::new(least.saturating_add(room.get())),
            ..check
        };
        self.check_exactly(&check, &order)
    }

    /// Cash less what stands behind the account's sealed orders: no other order may rest on it.
    #[inline]
    fn unbonded(&self, cash: Cash, account: AccountId) -> Cash {
        let bond = self.auctions.bond_of(account);
        Cash::new(cash.get().saturating_sub(bond.get()))
    }

    /// A ticket as the margin models see it.
    #[inline(always)]
    fn margin_check(&self, ticket: &Ticket) -> Result<(AccountCheck, OrderCheck), Reject> {
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
            cash: self.unbonded(account.cash, ticket.account),
            model: account.model,
        };
        Ok((check, order))
    }

    /// Checks an order that takes the place of a resting one of the same account, instrument and
    /// side, with the old one's hold released.
    pub(super) fn check_amended_margin(
        &mut self,
        ticket: &Ticket,
        old: &Resting,
    ) -> Result<(), Reject> {
        let (check, order) = self.margin_check(ticket)?;
        let open = OpenLots::of(old);
        let lots = i64::from(old.lots.get());
        let released = self.drag_of(&open, lots);
        let drag = self.margin.drags.of(ticket.account);
        let drag = Cash::new(drag.get().saturating_sub(released));
        let replaced = old.lots.get();
        if self.margin.book.surely_fits(check, drag, order, replaced) {
            return Ok(());
        }
        // The check may fill the cache from the ledger, where the old order still is: fill it first.
        self.remember(ticket.account);
        self.margin_open_changed(&open, lots.saturating_neg());
        let verdict = self.check_exactly(&check, &order);
        self.margin_open_changed(&open, lots);
        verdict
    }

    /// Makes sure the account's sums are remembered.
    fn remember(&mut self, id: AccountId) {
        let Some(account) = self.ledger.account(id) else {
            return;
        };
        let holdings = HoldingsAtMark::new(account, self.margin.drags.of(id));
        self.margin.book.remember(id, holdings);
    }

    pub(super) fn initial_margin_under(
        &mut self,
        account: AccountId,
        model: MarginModel,
    ) -> Result<Cash, Reject> {
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let holdings = entry.holdings.iter().map(risk_holding);
        let cash = self.unbonded(entry.cash, account);
        Ok(self.margin.book.margin(holdings, cash, model).im)
    }

    pub(super) fn margin_of(&mut self, account: AccountId) -> Option<Margin> {
        let entry = self.ledger.account(account)?;
        let holdings = entry.holdings.iter().map(risk_holding);
        Some(self.margin.book.margin(holdings, entry.cash, entry.model))
    }

    /// An account's margin for readers, with memory of their own.
    pub(super) fn margin_apart(&self, account: &Account, work: &mut Workspace) -> Margin {
        let holdings = account.holdings.iter().map(risk_holding);
        let book = &self.margin.book;
        book.margin_in(work, holdings, account.cash, account.model)
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
        let holdings = HoldingsAtMark::new(account, self.margin.drags.of(id));
        let check = AccountCheck {
            account: id,
            cash: account.cash,
            model: account.model,
        };
        self.margin.book.margin_with_orders(&check, holdings).ok()
    }

    /// Accounts under maintenance margin, and those in liquidation, ascending. Only those are looked
    /// at that changed, or whose reserve does not cover how far prices moved since.
    pub(super) fn under_maintenance(&mut self, out: &mut Vec<AccountId>) {
        let mut reserves = core::mem::take(&mut self.margin.reserves);
        let (book, ledger) = (&mut self.margin.book, &self.ledger);
        reserves.begin(book.valid_from(), ledger);
        for (raw, account) in (0_u32..).zip(ledger.iter().map(|(_, account)| account)) {
            let id = AccountId::new(raw);
            if reserves.cover(id, book.moved()) || id == super::INSURANCE_FUND {
                continue;
            }
            let ahead = AccountId::new(raw.saturating_add(ACCOUNTS_AHEAD));
            if !reserves.cover(ahead, book.moved()) {
                ledger.prefetch_holdings(ahead.get());
            }
            let holdings = account.holdings.iter().map(risk_holding);
            let (margin, reserve) = book.margin_and_reserve(holdings, account.cash, account.model);
            if account.liquidation.is_some() {
                out.push(id);
                continue;
            }
            if margin.mm.get() < 0 {
                out.push(id);
            }
            reserves.set(id, reserve);
        }
        self.margin.reserves = reserves;
        #[cfg(test)]
        assert_eq!(
            *out,
            self.under_maintenance_exactly(),
            "a reserve too large"
        );
    }

    /// The same without reserves, which every test of the engine compares.
    #[cfg(test)]
    fn under_maintenance_exactly(&mut self) -> Vec<AccountId> {
        let mut below = Vec::new();
        for raw in 1..self.ledger.len() {
            let id = AccountId::new(raw);
            let liquidated = |a: &Account| a.liquidation.is_some();
            if self.margin_of(id).is_some_and(|margin| margin.mm.get() < 0)
                || self.ledger.account(id).is_some_and(liquidated)
            {
                below.push(id);
            }
        }
        below
    }

    /// These accounts changed: what is known of their maintenance margin is forgotten.
    pub(super) fn forget_reserves(&mut self, accounts: &[AccountId]) {
        for id in accounts {
            self.margin.reserves.set(*id, 0);
        }
    }

    /// The next sweep looks at every account.
    #[cfg(feature = "unchecked")]
    pub(super) fn forget_all_reserves(&mut self) {
        self.margin.reserves = Reserves::default();
    }
}

/// How far prices may move before each account's maintenance margin is computed again.
///
/// **Never** decides: an account without a reserve is looked at, with the same verdict.
#[derive(Debug, Default)]
struct Reserves {
    /// By account: up to which [`RiskBook::moved`] it is surely met.
    until: Vec<u64>,
    valid_from: u64,
}

impl Reserves {
    /// Forgets what does not hold any more: everything, or the accounts touched since the last root.
    fn begin(&mut self, valid_from: u64, ledger: &ledger::Ledger) {
        if core::mem::replace(&mut self.valid_from, valid_from) != valid_from {
            self.until.clear();
        }
        let accounts = usize::try_from(ledger.len()).unwrap_or(usize::MAX);
        self.until.resize(accounts, 0);
        for id in ledger.touched() {
            self.set(*id, 0);
        }
    }

    /// Whether the account is surely above maintenance margin. One that met it by nothing is not.
    #[inline]
    fn cover(&self, account: AccountId, moved: u64) -> bool {
        let at = usize::try_from(account.get()).unwrap_or(usize::MAX);
        self.until.get(at).is_some_and(|until| *until > moved)
    }

    #[inline]
    fn set(&mut self, account: AccountId, until: u64) {
        let at = usize::try_from(account.get()).unwrap_or(usize::MAX);
        if let Some(entry) = self.until.get_mut(at) {
            *entry = until;
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

/// What `lots` (signed: positive when they come) at a price lose against the mark, both of one lot:
/// min(0, ±(mark − price)) · lots.
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

/// An account's holdings as the margin models read them. The drag of all its open orders is reported
/// with the first: only their sum counts.
#[derive(Clone)]
struct HoldingsAtMark<'a> {
    holdings: core::slice::Iter<'a, ledger::Holding>,
    drag: Cash,
}

impl<'a> HoldingsAtMark<'a> {
    fn new(account: &'a Account, drag: Cash) -> Self {
        Self {
            holdings: account.holdings.iter(),
            drag,
        }
    }
}

impl Iterator for HoldingsAtMark<'_> {
    type Item = Holding;

    #[inline]
    fn next(&mut self) -> Option<Holding> {
        let holding = risk_holding(self.holdings.next()?);
        Some(Holding {
            open_drag: core::mem::take(&mut self.drag),
            ..holding
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
