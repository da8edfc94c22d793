//! The liquidation auction's arithmetic.
//!
//! **Owns** the discount, the largest part and the price of a part as functions of time and margin.
//! **Never** moves anything. Amounts are in cash units; MM and MtM include the account's cash.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::params::LiquidationParameters;
use crate::risk::Margin;
use crate::types::{Cash, Rounding, TimeMs, mul_div};

const ONE: i64 = 1_000_000;

/// An account's auction. Its clock runs only from when it could be bid in: see
/// [`LiquidationState::restarted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LiquidationState {
    /// When it began.
    pub started_at: TimeMs,
    /// Since when the account is worth less than nothing; 0 while it is solvent.
    pub insolvent_since: TimeMs,
}

impl LiquidationState {
    /// This auction, begun anew if it began no later than `agreed_since`: an outage, or the loss of an
    /// index, lay between, in which nobody could bid, and its clock must not have run for whoever is first.
    #[must_use]
    pub fn restarted(self, agreed_since: TimeMs, now: TimeMs) -> Self {
        if self.started_at > agreed_since {
            return self;
        }
        let insolvent_since = match self.insolvent_since.get() {
            0 => TimeMs::new(0),
            _ => now,
        };
        Self {
            started_at: now,
            insolvent_since,
        }
    }

    /// For how long the account has been known to be worth less than nothing.
    const fn insolvent_for(&self, now: TimeMs) -> u64 {
        match self.insolvent_since.get() {
            0 => 0,
            _ => now.since(self.insolvent_since),
        }
    }
}

/// Terms at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuctionTerms {
    /// Largest part that may be sold, in millionths.
    pub part_ppm_max: u32,
    /// What a buyer pays for the whole portfolio; negative when the fund pays the buyer.
    pub whole_price: Cash,
    /// Whether the account is insolvent, so that the fund pays.
    pub insolvent: bool,
}

/// Buffer margin: `MM + buffer · (MM − MtM)`. The auction ends when it is not negative.
pub fn buffer_margin(margin: &Margin, parameters: &LiquidationParameters) -> i64 {
    let (mm, mtm) = (margin.mm.get(), margin.equity.get());
    let gap = mm.saturating_sub(mtm);
    let buffer = mul_div(gap, i64::from(parameters.buffer_ppm), ONE, Rounding::Down);
    mm.saturating_add(buffer.unwrap_or(i64::MIN))
}

/// The auction's discount in millionths: from start to fast over the fast phase, then to 0 over the
/// slow phase.
pub fn discount_ppm(elapsed_ms: u64, parameters: &LiquidationParameters) -> i64 {
    let start = i64::from(parameters.discount_start_ppm);
    let fast = i64::from(parameters.discount_fast_ppm);
    if elapsed_ms < parameters.fast_ms {
        return slide(start, fast, elapsed_ms, parameters.fast_ms);
    }
    let late = elapsed_ms.saturating_sub(parameters.fast_ms);
    slide(fast, 0, late.min(parameters.slow_ms), parameters.slow_ms)
}

/// From `from` to `to` in proportion to `elapsed / length`.
fn slide(from: i64, to: i64, elapsed: u64, length: u64) -> i64 {
    let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
    let length = i64::try_from(length.max(1)).unwrap_or(i64::MAX);
    let change = mul_div(to.saturating_sub(from), elapsed, length, Rounding::Down);
    from.saturating_add(change.unwrap_or(0))
}

/// The terms now. A solvent account sells at most
/// `BM / (BM − MtM · d)` (nothing is reserved) at `MtM · d` for the whole; an insolvent one sells
/// all of it and the fund pays the buyer from MtM towards MM.
pub fn terms(
    state: &LiquidationState,
    margin: &Margin,
    now: TimeMs,
    parameters: &LiquidationParameters,
) -> AuctionTerms {
    let (mm, mtm) = (margin.mm.get(), margin.equity.get());
    if mtm <= 0 {
        let elapsed = state.insolvent_for(now).min(parameters.insolvent_ms);
        let paid = slide(mtm, mm.min(mtm), elapsed, parameters.insolvent_ms);
        return AuctionTerms {
            part_ppm_max: 1_000_000,
            whole_price: Cash::new(paid),
            insolvent: true,
        };
    }
    let discount = discount_ppm(now.since(state.started_at), parameters);
    let whole = mul_div(mtm, discount, ONE, Rounding::Up).unwrap_or(mtm);
    let buffer = buffer_margin(margin, parameters);
    let denominator = buffer.saturating_sub(whole);
    let part = mul_div(
        buffer.saturating_neg(),
        ONE,
        denominator.saturating_neg(),
        Rounding::Up,
    );
    let part = part.unwrap_or(0).clamp(0, ONE);
    AuctionTerms {
        part_ppm_max: u32::try_from(part).unwrap_or(0),
        whole_price: Cash::new(whole),
        insolvent: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    fn margin(mm: i64, mtm: i64) -> Margin {
        Margin {
            im: Cash::new(mm),
            mm: Cash::new(mm),
            equity: Cash::new(mtm),
            ..Margin::default()
        }
    }

    /// The worked example: buffer 0.20, d 0.98, MtM 119.3063, MM −103.0906 → BM −147.5700,
    /// f 0.557941, price 65.2346; afterwards MM +19.6625 and BM 0.
    #[test]
    fn the_worked_example() {
        let parameters = LiquidationParameters {
            discount_start_ppm: 980_000,
            discount_fast_ppm: 980_000,
            ..LiquidationParameters::default()
        };
        let margin = margin(-103_090_600, 119_306_300);
        let state = LiquidationState {
            started_at: TimeMs::new(0),
            insolvent_since: TimeMs::new(0),
        };
        let buffer = buffer_margin(&margin, &parameters);
        assert!((buffer + 147_570_000).abs() < 100, "{buffer}");
        let terms = terms(&state, &margin, TimeMs::new(1_000), &parameters);
        assert!(
            (i64::from(terms.part_ppm_max) - 557_941).abs() <= 1,
            "{terms:?}"
        );
        let part = i64::from(terms.part_ppm_max);
        let price = terms.whole_price.get() * part / ONE;
        assert!((price - 65_234_600).abs() < 200, "{price}");
        let after = self::margin(
            margin.mm.get() * (ONE - part) / ONE + price,
            margin.equity.get() * (ONE - part) / ONE + price,
        );
        assert!((after.mm.get() - 19_662_500).abs() < 500, "{after:?}");
        assert!(buffer_margin(&after, &parameters).abs() < 500);
    }

    #[test]
    fn the_discount_falls_and_stays_within_its_ends() {
        let p = LiquidationParameters::default();
        assert_eq!(discount_ppm(0, &p), 950_000);
        assert_eq!(discount_ppm(p.fast_ms, &p), 700_000);
        assert_eq!(discount_ppm(p.fast_ms + p.slow_ms, &p), 0);
        assert_eq!(discount_ppm(u64::MAX, &p), 0);
        let mut last = i64::MAX;
        for step in 0..200 {
            let d = discount_ppm(step * p.slow_ms / 100, &p);
            assert!(d <= last);
            last = d;
        }
    }

    #[test]
    fn the_fund_pays_more_and_more_for_an_insolvent_account() {
        let p = LiquidationParameters::default();
        let margin = margin(-300, -100);
        let mut state = LiquidationState {
            started_at: TimeMs::new(5),
            insolvent_since: TimeMs::new(10),
        };
        let at = |state: &LiquidationState, ms| {
            terms(state, &margin, TimeMs::new(10 + ms), &p)
                .whole_price
                .get()
        };
        assert_eq!(at(&state, 0), -100);
        assert_eq!(at(&state, p.insolvent_ms / 2), -200);
        assert_eq!(at(&state, p.insolvent_ms * 3), -300);
        // Insolvency that no tick has noted yet has lasted no time at all.
        state.insolvent_since = TimeMs::new(0);
        assert_eq!(at(&state, p.insolvent_ms * 3), -100);
    }

    #[test]
    fn an_auction_that_an_outage_lay_in_begins_anew() {
        let (began, now) = (TimeMs::new(100), TimeMs::new(900));
        let state = LiquidationState {
            started_at: began,
            insolvent_since: TimeMs::new(150),
        };
        let again = LiquidationState {
            started_at: now,
            insolvent_since: now,
        };
        assert_eq!(state.restarted(TimeMs::new(0), now), state);
        assert_eq!(state.restarted(TimeMs::new(99), now), state);
        assert_eq!(state.restarted(TimeMs::new(800), now), again);
        let solvent = LiquidationState {
            insolvent_since: TimeMs::new(0),
            ..state
        };
        let solvent = solvent.restarted(TimeMs::new(800), now);
        assert_eq!(solvent.insolvent_since.get(), 0);
    }
}
