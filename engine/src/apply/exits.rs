//! What exits are computed from: the value of one lot at any price of its underlying, and under what
//! value an account is critical.
//!
//! Reads only, and each reader has its own working memory, so that several threads share one engine.
//! Values are integers per lot: what one side has the other owes, to the unit (I9).

use super::{Engine, INSURANCE_FUND};
use crate::instrument::{Instrument, InstrumentState};
use crate::ledger::Account;
use crate::pricing::{ExpiryView, Mark};
use crate::risk::{Ratio, Settled, Workspace};
use crate::types::{AccountId, Cash, InstrumentId, OptionKind, Price, Rounding, mul_div};

/// Accounts ahead of the one that is read whose stakes are fetched.
const ACCOUNTS_AHEAD: u32 = 6;

impl Engine {
    /// What one lot of an instrument is worth at these prices of its underlying, at its marked
    /// volatility, with what is known of its settlement price, and with its forward as far from the
    /// price as it is now; each rounded down. `None` when the instrument is settled or its underlying
    /// has no index: then nobody holds it.
    pub fn lot_values<const N: usize>(
        &self,
        instrument: InstrumentId,
        prices: &[Price; N],
    ) -> Option<[Cash; N]> {
        let instrument = self.instruments.get(instrument)?;
        if matches!(instrument.state, InstrumentState::Settled(_)) {
            return None;
        }
        let terms = instrument.terms;
        let index = self.index_price(terms.underlying)?;
        let forward = self.forward(terms.underlying, terms.expiry)?;
        let samples = self.samples.get(&(terms.underlying, terms.expiry));
        let known = samples.and_then(|samples| samples.settled(&self.parameters.settlement));
        Some(core::array::from_fn(|at| {
            let price = prices.get(at).copied().unwrap_or_default();
            let moved = mul_div(price.get(), forward.get(), index.get(), Rounding::Down);
            let forward = Price::new(moved.unwrap_or(i64::MAX));
            let view = self.expiry_view(terms.expiry, forward);
            let value = value_of(instrument, &view, known.as_ref());
            let lot = instrument.value(value, 1, Rounding::Down);
            lot.unwrap_or(Cash::ZERO)
        }))
    }

    /// A reader of accounts.
    pub fn exit_reader(&self) -> ExitReader<'_> {
        ExitReader {
            engine: self,
            work: Workspace::default(),
        }
    }
}

/// The value of one coin of an option of whose settlement price a part may be known: with a share `s` at
/// the mean `m` and the rest at the forward F, a call pays `max(s·m + (1−s)·F − K, 0)`, which is `1−s`
/// options at the strike `(K − s·m) / (1−s)`.
fn value_of(instrument: &Instrument, view: &ExpiryView, known: Option<&Settled>) -> Price {
    let terms = instrument.terms;
    let volatility = instrument.mark.map_or(0, |mark| mark.volatility_ppm);
    let one = Ratio::ONE.get();
    let Some((mean, share)) = known.map(|k| (k.mean, k.share.get().clamp(0, one))) else {
        let mark = Mark::new(terms.kind, terms.strike, view, volatility);
        return mark.map_or(Price::ZERO, |mark| mark.price);
    };
    let open = one.saturating_sub(share);
    // What of the strike the open part has to make good, in price times share.
    let left = i128::from(terms.strike.get())
        .saturating_mul(i128::from(one))
        .saturating_sub(i128::from(mean.get()).saturating_mul(i128::from(share)));
    let strike = left.checked_div(i128::from(open)).unwrap_or(0);
    if open == 0 || strike <= 0 {
        let forward = i128::from(view.forward.get()).saturating_mul(i128::from(open));
        let over = forward.saturating_sub(left);
        let paid = match terms.kind {
            OptionKind::Call => over.max(0),
            OptionKind::Put => over.saturating_neg().max(0),
        };
        let whole = paid.checked_div(i128::from(one)).unwrap_or(0);
        return Price::new(i64::try_from(whole).unwrap_or(i64::MAX));
    }
    let strike = Price::new(i64::try_from(strike).unwrap_or(i64::MAX));
    let mark = Mark::new(terms.kind, strike, view, volatility);
    let price = mark.map_or(0, |mark| mark.price.get());
    Price::new(mul_div(price, open, one, Rounding::Down).unwrap_or(0))
}

/// Reads accounts for the exits; one for each thread.
pub struct ExitReader<'a> {
    engine: &'a Engine,
    work: Workspace,
}

impl<'a> ExitReader<'a> {
    /// An account and its critical value. Those after it come nearer meanwhile: ask in ascending order.
    pub fn account(&mut self, id: AccountId) -> Option<(&'a Account, Cash)> {
        let ledger = &self.engine.ledger;
        ledger.prefetch_holdings(id.get().saturating_add(ACCOUNTS_AHEAD));
        let account = ledger.account(id)?;
        Some((account, self.critical(id, account)))
    }

    /// The value under which an account may be bought by the insurance pool while the venue is out: its
    /// maintenance margin at the last marks. An account without positions is critical under zero.
    fn critical(&mut self, id: AccountId, account: &Account) -> Cash {
        if id == INSURANCE_FUND || account.holdings.iter().all(|h| h.position == 0) {
            return Cash::ZERO;
        }
        let margin = self.engine.margin_apart(account, &mut self.work);
        let required = margin.equity.get().saturating_sub(margin.mm.get());
        Cash::new(required.max(0))
    }
}
