//! The engine's use of the margin models.
//!
//! Rows of scenario values are derived from indices, forwards, samples and marks as of the last
//! tick, all of which are state: a restored engine rebuilds exactly the rows it had.

use alloc::vec::Vec;

use super::Engine;
use super::fills::FeeRow;
use super::place::Ticket;
use crate::book::Resting;
use crate::instrument::Instrument;
use crate::ledger::{self, Account};
use crate::params::Parameters;
use crate::reject::Reject;
use crate::risk::{
    ExpiryState, Holding, InstrumentKind, InstrumentTerms, Margin, Ratio, RiskBook, RiskError,
    UnderlyingState, VolMark,
};
use crate::types::{
    AccountId, Cash, InstrumentId, MarginModel, Price, Rounding, Side, TimeMs, UnderlyingId,
    mul_div,
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
                .and_then(|s| s.mean()),
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
        FeeRow {
            taker_per_lot: share(fees.taker_ppm),
            maker_per_lot: share(fees.maker_ppm),
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

    pub(super) fn margin_open_changed(
        &mut self,
        _account: AccountId,
        _instrument: InstrumentId,
        _side: Side,
        _lots: i64,
    ) {
    }

    pub(super) fn margin_positions_changed(
        &mut self,
        _account: AccountId,
        _instrument: InstrumentId,
    ) {
    }

    pub(super) fn margin_forget(&mut self, _account: AccountId) {}

    pub(super) fn check_initial_margin(&mut self, ticket: &Ticket) -> Result<(), Reject> {
        let premium = self.premium(ticket.instrument, ticket.limit, ticket.lots);
        let fees = self.margin.fee_row(ticket.instrument);
        let fee = self.fee(
            fees.taker_per_lot.max(fees.maker_per_lot),
            ticket.lots,
            premium,
        );
        let account = self
            .ledger
            .account(ticket.account)
            .ok_or(Reject::UnknownAccount)?;
        let signed = ticket
            .side
            .sign()
            .saturating_mul(i64::from(ticket.lots.get()));
        let paid = ticket
            .side
            .sign()
            .saturating_mul(premium.get())
            .saturating_add(fee.get());
        let cash = Cash::new(account.cash.get().saturating_sub(paid));
        let mut holdings: Vec<Holding> = account.holdings.iter().map(risk_holding).collect();
        match holdings
            .iter_mut()
            .find(|h| h.instrument == ticket.instrument)
        {
            Some(holding) => holding.position = holding.position.saturating_add(signed),
            None => holdings.push(Holding::position(ticket.instrument, signed)),
        }
        holdings.sort_by_key(|h| h.instrument);
        if self.margin.book.row(ticket.instrument).is_none() {
            return Err(Reject::NoMark);
        }
        let margin = self
            .margin
            .book
            .margin(holdings.iter().copied(), cash, account.model);
        if margin.im.get() < 0 {
            Err(Reject::MarginBelowInitial)
        } else {
            Ok(())
        }
    }

    pub(super) fn check_amended_margin(
        &mut self,
        ticket: &Ticket,
        _old: &Resting,
    ) -> Result<(), Reject> {
        self.check_initial_margin(ticket)
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

    pub(super) fn margin_with_orders(&self, _account: AccountId) -> Option<(Margin, Cash)> {
        None
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
    }
}
