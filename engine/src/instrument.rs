//! Listed options: their terms, steps, marks and state.
//!
//! **Owns** the instrument table and its indices by terms and by expiry. **Never** values anything.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::book::prefetch::fetch;
use crate::command::OptionTerms;
use crate::limits::INSTRUMENTS_MAX;
use crate::params::UnderlyingParameters;
use crate::pricing::Mark;
use crate::reject::Reject;
use crate::types::{
    Cash, InstrumentId, Lots, OptionKind, Price, PriceTicks, Qty, Rounding, TimeMs, UnderlyingId,
    mul_div,
};

/// Where an instrument is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum InstrumentState {
    /// It trades as far as the mode permits.
    Listed,
    /// Its expiry has passed and its settlement price is not known yet. Nothing trades.
    Settling,
    /// It is gone; this was its settlement price.
    Settled(Price),
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Instrument {
    /// Its id.
    pub id: InstrumentId,
    /// What it is.
    pub terms: OptionTerms,
    /// Price step.
    pub tick: Price,
    /// Size step.
    pub lot: Qty,
    /// Cash moved by one lot at one tick: `tick · lot / 1e8`, a whole number.
    pub tick_value: Cash,
    /// Where it is in its life.
    pub state: InstrumentState,
    /// Last mark, `None` before the first.
    pub mark: Option<Mark>,
    /// Long lots, which equal the short lots (I8).
    pub open_interest: u64,
    /// Block time of its listing.
    pub listed_at: TimeMs,
    /// Cash for one lot at its mark when the day began (08:00 UTC); 0 when it had none.
    pub day_value: Cash,
}

impl Instrument {
    /// Premium of `lots` at `price`; exact by the choice of tick and lot.
    pub fn premium(&self, price: PriceTicks, lots: Lots) -> Option<Cash> {
        let ticks = i128::from(price.get()).checked_mul(i128::from(lots.get()))?;
        let cash = ticks.checked_mul(i128::from(self.tick_value.get()))?;
        i64::try_from(cash).ok().map(Cash::new)
    }

    /// Cash for one lot at a price; saturates, which no price within `PRICE_TICKS_MAX` does.
    #[inline]
    pub const fn ticks_value(&self, price: PriceTicks) -> i64 {
        self.tick_value.get().saturating_mul(price.get() as i64)
    }

    /// `price` times a signed number of lots, rounded as asked; for marks and settlement, whose
    /// prices are not whole ticks.
    pub fn value(&self, price: Price, lots: i64, rounding: Rounding) -> Option<Cash> {
        let qty = lots.checked_mul(self.lot.get())?;
        mul_div(price.get(), qty, 100_000_000, rounding)
            .ok()
            .map(Cash::new)
    }

    /// What one coin's worth pays at a settlement price.
    pub fn payoff(&self, settlement: Price) -> Price {
        let intrinsic = match self.terms.kind {
            OptionKind::Call => settlement.checked_sub(self.terms.strike),
            OptionKind::Put => self.terms.strike.checked_sub(settlement),
        };
        Price::new(intrinsic.map_or(0, |p| p.get().max(0)))
    }

    /// Cash one lot pays at a settlement price, rounded down: both sides of a position use the same
    /// figure, so that settlement moves cash exactly.
    pub fn payoff_per_lot(&self, settlement: Price) -> Cash {
        self.value(self.payoff(settlement), 1, Rounding::Down)
            .unwrap_or(Cash::ZERO)
    }

    /// Whether orders may be placed as far as the instrument is concerned.
    pub fn is_listed(&self) -> bool {
        self.state == InstrumentState::Listed
    }
}

/// All instruments there ever were.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    all: Vec<Instrument>,
    by_terms: BTreeMap<OptionTerms, InstrumentId>,
    expiries: BTreeMap<(UnderlyingId, TimeMs), Vec<InstrumentId>>,
    touched: Vec<InstrumentId>,
}

impl Instruments {
    /// The instrument, if it exists.
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.all.get(usize::try_from(id.get()).ok()?)
    }

    /// Asks the processor to fetch an instrument.
    #[inline]
    pub(crate) fn prefetch(&self, id: InstrumentId) {
        if let Some(instrument) = self.get(id) {
            fetch(Some(&instrument.terms));
            fetch(Some(&instrument.listed_at));
        }
    }

    /// The instrument for changing.
    pub fn get_mut(&mut self, id: InstrumentId) -> Option<&mut Instrument> {
        let instrument = self.all.get_mut(usize::try_from(id.get()).ok()?)?;
        self.touched.push(id);
        Some(instrument)
    }

    /// All instruments in listing order, settled ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.all.iter()
    }

    /// How many there ever were.
    pub fn len(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Whether none was ever listed.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The unsettled instrument with these terms.
    pub fn by_terms(&self, terms: &OptionTerms) -> Option<InstrumentId> {
        self.by_terms.get(terms).copied()
    }

    /// Unsettled expiries of an underlying, ascending, with their instruments in listing order.
    pub fn expiries(
        &self,
        underlying: UnderlyingId,
    ) -> impl Iterator<Item = (TimeMs, &[InstrumentId])> {
        let from = (underlying, TimeMs::new(0));
        let to = (underlying, TimeMs::new(u64::MAX));
        self.expiries
            .range(from..=to)
            .map(|((_, expiry), ids)| (*expiry, ids.as_slice()))
    }

    /// Lists an option.
    ///
    /// # Errors
    /// [`Reject::BadProposal`] when it is listed already, has expired, or its strike is not
    /// positive; [`Reject::VenueFull`] at `INSTRUMENTS_MAX`.
    pub fn list(
        &mut self,
        terms: OptionTerms,
        underlying: &UnderlyingParameters,
        now: TimeMs,
    ) -> Result<InstrumentId, Reject> {
        let bad = self.by_terms.contains_key(&terms) || terms.expiry <= now;
        if bad || terms.strike.get() <= 0 {
            return Err(Reject::BadProposal);
        }
        if self.len() >= INSTRUMENTS_MAX {
            return Err(Reject::VenueFull);
        }
        let id = InstrumentId::new(self.len());
        let tick_value = mul_div(
            underlying.tick.get(),
            underlying.lot.get(),
            100_000_000,
            Rounding::Down,
        )
        .map_err(|_| Reject::BadProposal)?;
        self.all.push(Instrument {
            id,
            terms,
            tick: underlying.tick,
            lot: underlying.lot,
            tick_value: Cash::new(tick_value),
            state: InstrumentState::Listed,
            mark: None,
            open_interest: 0,
            listed_at: now,
            day_value: Cash::ZERO,
        });
        self.by_terms.insert(terms, id);
        self.expiries
            .entry((terms.underlying, terms.expiry))
            .or_default()
            .push(id);
        self.touched.push(id);
        Ok(id)
    }

    /// Takes a settled expiry out of the indices.
    pub fn retire(&mut self, underlying: UnderlyingId, expiry: TimeMs) {
        for id in self
            .expiries
            .remove(&(underlying, expiry))
            .unwrap_or_default()
        {
            if let Some(terms) = self.get(id).map(|i| i.terms) {
                self.by_terms.remove(&terms);
            }
        }
    }

    pub(crate) fn drain_touched(&mut self, out: &mut Vec<InstrumentId>) {
        out.clear();
        out.append(&mut self.touched);
        out.sort_unstable();
        out.dedup();
    }

    pub(crate) fn restore(all: Vec<Instrument>) -> Self {
        let mut by_terms = BTreeMap::new();
        let mut expiries: BTreeMap<_, Vec<InstrumentId>> = BTreeMap::new();
        for i in all
            .iter()
            .filter(|i| !matches!(i.state, InstrumentState::Settled(_)))
        {
            by_terms.insert(i.terms, i.id);
            expiries
                .entry((i.terms.underlying, i.terms.expiry))
                .or_default()
                .push(i.id);
        }
        Self {
            all,
            by_terms,
            expiries,
            touched: Vec::new(),
        }
    }
}
