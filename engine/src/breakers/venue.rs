//! The breakers of the whole venue: what leaves, and whether the books add up.

use alloc::collections::VecDeque;
use borsh::{BorshDeserialize, BorshSerialize};

use super::kind::{Breaker, Trip, Verdict};
use super::parameters::BreakerParameters;
use super::underlying::{Latch, graded, released_under};
use crate::types::{Cash, TimeMs};

const MINUTE_MS: u64 = 60_000;
/// Minutes that are remembered at most.
const MINUTES_MAX: u64 = 60;

/// Everything remembered of the venue.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct VenueWatch {
    /// Cash withdrawn by the minute, ascending.
    withdrawn: VecDeque<(u64, i64)>,
    outflow_latch: Latch,
    conservation_latch: Latch,
}

impl VenueWatch {
    /// Notes that cash left.
    pub fn withdrew(&mut self, amount: Cash, now: TimeMs) {
        let minute = now.get() / MINUTE_MS;
        match self.withdrawn.back_mut() {
            Some((last, sum)) if *last == minute => *sum = sum.saturating_add(amount.get()),
            _ => self.withdrawn.push_back((minute, amount.get())),
        }
        while let Some((first, _)) = self.withdrawn.front()
            && minute.saturating_sub(*first) >= MINUTES_MAX
        {
            self.withdrawn.pop_front();
        }
    }

    /// Cash that left within the window, as a part of what there was before it left.
    pub fn judge_outflow(
        &mut self,
        collateral: Cash,
        now: TimeMs,
        parameters: &BreakerParameters,
    ) -> Option<Verdict> {
        let minutes = u64::from(parameters.outflow_minutes).min(MINUTES_MAX);
        let minute = now.get() / MINUTE_MS;
        let within = self.withdrawn.iter().rev();
        let within = within.take_while(|(at, _)| minute.saturating_sub(*at) < minutes);
        let left = within.fold(0i64, |sum, (_, amount)| sum.saturating_add(*amount));
        let before = collateral.get().saturating_add(left);
        let share = i128::from(left)
            .saturating_mul(1_000_000)
            .checked_div(i128::from(before))
            .unwrap_or(0);
        let figure = i64::try_from(share).unwrap_or(i64::MAX);
        let horizon_ms = minutes.saturating_mul(MINUTE_MS);
        let rule = &parameters.outflow;
        let large = before >= parameters.outflow_collateral_min;
        let reached = graded(figure, rule, rule.alone_max).filter(|_| large);
        let trip = reached.map(|(level, bound)| Trip {
            breaker: Breaker::Outflow,
            level,
            horizon_ms,
            figure,
            bound,
        });
        let breaker = Breaker::Outflow;
        self.outflow_latch.judge(trip, || {
            let under = released_under(rule, parameters.release_ppm);
            (figure < under).then_some(Verdict::Released {
                breaker,
                horizon_ms,
                figure,
            })
        })
    }

    /// Any difference in the books halts.
    pub fn judge_conservation(&mut self, difference: i64) -> Option<Verdict> {
        let breaker = Breaker::Conservation;
        let trip = (difference != 0).then_some(Trip {
            breaker,
            level: 3,
            horizon_ms: 0,
            figure: difference,
            bound: 0,
        });
        self.conservation_latch.judge(trip, || {
            let figure = difference;
            (figure == 0).then_some(Verdict::Released {
                breaker,
                horizon_ms: 0,
                figure,
            })
        })
    }
}
