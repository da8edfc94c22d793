//! The breakers of one underlying.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::average::Average;
use super::kind::{Breaker, Trip, Verdict};
use super::parameters::{BreakerParameters, Rule};
use super::series::{Sample, Series};
use super::session::Session;
use crate::pricing::moves::{implied_move_ppm, log_change_ppm};
use crate::types::{Price, Rounding, TimeMs, mul_div};

/// Figures are in thousandths of a standard deviation.
const THOUSANDTHS: i64 = 1_000;
const PPM: i64 = 1_000_000;
/// A horizon's oldest sample is at least this part of the horizon old, in quarters; younger ones are too
/// little history.
const FULL_QUARTERS: u64 = 3;

/// Sources that agree on an index price, beside how many must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Good sources within the distance that agreement allows, of the validator with the fewest.
    pub agreeing: u32,
    /// How many must.
    pub needed: u32,
}

/// What one mark tick shows of an underlying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Block time.
    pub at: TimeMs,
    /// Volatility index in 1e-6 and index price; `None` while books are closed or there is no index.
    pub market: Option<(u32, Price)>,
    /// Agreement of the sources; `None` before there ever was an index.
    pub agreement: Option<Agreement>,
    /// Resting lots near the mark; `None` while books are closed.
    pub depth: Option<u64>,
}

/// A breaker's hold on one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Latch {
    /// The highest level since its last release.
    level: u8,
}

impl Latch {
    /// Whether it tripped and was not released.
    pub const fn is_held(&self) -> bool {
        self.level > 0
    }

    /// Trips when the figure's level is over the one it holds, and releases under `release`.
    pub fn judge(
        &mut self,
        trip: Option<Trip>,
        released: impl FnOnce() -> Option<Verdict>,
    ) -> Option<Verdict> {
        match trip {
            Some(trip) if trip.level > self.level => {
                self.level = trip.level;
                Some(Verdict::Tripped(trip))
            }
            _ if self.level > 0 => {
                let verdict = released()?;
                self.level = 0;
                Some(verdict)
            }
            _ => None,
        }
    }
}

/// The highest level whose bound the figure has reached, with that bound.
pub(super) fn graded(figure: i64, rule: &Rule, level_max: u8) -> Option<(u8, i64)> {
    let levels = (1u8..).zip(rule.bounds);
    let reached = levels.filter(|(level, bound)| *level <= level_max && figure >= *bound);
    reached.last()
}

/// Everything remembered of one underlying.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UnderlyingWatch {
    fine: Series,
    coarse: Series,
    /// Mean square of the index's change over each horizon.
    speeds: [Average; 3],
    /// Slow average of the index in 1e-6, and mean square of its distance from it.
    slow: Average,
    distance: Average,
    depth: Average,
    depth_at: TimeMs,
    speed_latches: [Latch; 3],
    jump_latches: [Latch; 3],
    level_latch: Latch,
    session: Session,
    /// Mean square of the session's range at any time of the day.
    usual_range: Average,
    range_latch: Latch,
    dispersion_latch: Latch,
    depth_latch: Latch,
    /// When a speed or a jump last bore out others; 0 for never.
    speed_at: TimeMs,
    jump_at: TimeMs,
    /// Since when sources disagree, and since when the book is thin; 0 while it is not so.
    disagree_since: TimeMs,
    thin_since: TimeMs,
}

/// A figure of one horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    breaker: Breaker,
    at: usize,
    horizon_ms: u64,
    figure: i64,
}

impl UnderlyingWatch {
    /// Takes a reading: compares it with what is remembered, remembers it, and says what trips.
    pub fn observe(&mut self, reading: &Reading, parameters: &BreakerParameters) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if let Some((volatility_ppm, price)) = reading.market
            && volatility_ppm > 0
            && price.get() > 0
        {
            let sample = Sample {
                at: reading.at,
                volatility_ppm,
                price,
            };
            self.judge_market(&sample, parameters, &mut verdicts);
            verdicts.extend(self.judge_range(&sample, parameters));
            self.remember(sample, parameters);
        }
        if let Some(agreement) = reading.agreement {
            verdicts.extend(self.judge_agreement(reading.at, agreement, parameters));
        }
        if let Some(depth) = reading.depth {
            verdicts.extend(self.judge_depth(reading.at, depth, parameters));
        } else {
            self.thin_since = TimeMs::new(0);
        }
        verdicts
    }

    /// Speed, level, jump and range as they stand, in thousandths, for displays: `None` where history lacks.
    pub fn figures(
        &self,
        now: &Sample,
        parameters: &BreakerParameters,
    ) -> Vec<(Breaker, u64, Option<i64>)> {
        let mut all = Vec::with_capacity(8);
        for (at, horizon_ms) in parameters.horizons_ms.into_iter().enumerate() {
            all.push((Breaker::Speed, horizon_ms, self.speed(at, now, parameters)));
            all.push((Breaker::Jump, horizon_ms, self.jump(at, now, parameters)));
        }
        all.push((Breaker::Level, 0, self.level(now, parameters)));
        let session = self.session_at(now, parameters);
        let range = self.range(&session, parameters);
        all.push((Breaker::Range, session.lasted_ms(now.at), range));
        all
    }

    fn judge_market(
        &mut self,
        now: &Sample,
        parameters: &BreakerParameters,
        verdicts: &mut Vec<Verdict>,
    ) {
        let horizons = parameters.horizons_ms;
        let figures = |of: &dyn Fn(usize) -> Option<i64>, breaker| -> Vec<Figure> {
            let figure = |(at, horizon_ms)| {
                let figure = of(at)?;
                Some(Figure {
                    breaker,
                    at,
                    horizon_ms,
                    figure,
                })
            };
            horizons
                .into_iter()
                .enumerate()
                .filter_map(figure)
                .collect()
        };
        let speeds = figures(&|at| self.speed(at, now, parameters), Breaker::Speed);
        let jumps = figures(&|at| self.jump(at, now, parameters), Breaker::Jump);
        let level = self.level(now, parameters);
        if speeds
            .iter()
            .any(|speed| speed.figure >= parameters.speed_confirms)
        {
            self.speed_at = now.at;
        }
        if jumps
            .iter()
            .any(|jump| jump.figure >= parameters.jump_confirms)
        {
            self.jump_at = now.at;
        }
        let recent = |at: TimeMs| at.get() > 0 && now.at.since(at) <= parameters.confirm_ms;
        let (speeding, jumping) = (recent(self.speed_at), recent(self.jump_at));
        for (all, rules, latches, borne_out) in [
            (speeds, &parameters.speed, &mut self.speed_latches, jumping),
            (jumps, &parameters.jump, &mut self.jump_latches, speeding),
        ] {
            for figure in all {
                if let (Some(latch), Some(rule)) =
                    (latches.get_mut(figure.at), rules.get(figure.at))
                {
                    verdicts.extend(held_to(latch, &figure, rule, borne_out, parameters));
                }
            }
        }
        if let Some(figure) = level {
            let figure = Figure {
                breaker: Breaker::Level,
                at: 0,
                horizon_ms: 0,
                figure,
            };
            let borne_out = speeding && jumping;
            let rule = &parameters.level;
            verdicts.extend(held_to(
                &mut self.level_latch,
                &figure,
                rule,
                borne_out,
                parameters,
            ));
        }
    }

    fn series(&self, at: usize) -> &Series {
        if at < 2 { &self.fine } else { &self.coarse }
    }

    /// The samples of a horizon, if they reach far enough back.
    fn full_window<'a>(
        &'a self,
        at: usize,
        now: TimeMs,
        parameters: &BreakerParameters,
    ) -> Option<(Sample, impl Iterator<Item = &'a Sample> + use<'a>)> {
        let horizon_ms = *parameters.horizons_ms.get(at)?;
        let oldest = *self.series(at).window(now, horizon_ms).next()?;
        let full =
            now.since(oldest.at).saturating_mul(4) >= horizon_ms.saturating_mul(FULL_QUARTERS);
        full.then(|| (oldest, self.series(at).window(now, horizon_ms)))
    }

    /// Rise of the volatility index from its lowest within the horizon, beside its own variability.
    fn speed(&self, at: usize, now: &Sample, parameters: &BreakerParameters) -> Option<i64> {
        let history = self.speeds.get(at)?;
        if history.samples() < *parameters.warm_up.get(at)? {
            return None;
        }
        let (_, window) = self.full_window(at, now.at, parameters)?;
        let lowest = window.map(|sample| sample.volatility_ppm).min()?;
        let rise = log_change_ppm(i64::from(lowest), i64::from(now.volatility_ppm));
        let usual = root(history.value()).max(*parameters.speed_floor_ppm.get(at)?);
        rise.saturating_mul(THOUSANDTHS).checked_div(usual)
    }

    /// How far the price went within the horizon, by its path or end to end, beside what the volatility
    /// index implied when the horizon began.
    fn jump(&self, at: usize, now: &Sample, parameters: &BreakerParameters) -> Option<i64> {
        if self.speeds.get(at)?.samples() < *parameters.warm_up.get(at)? {
            return None;
        }
        let (oldest, window) = self.full_window(at, now.at, parameters)?;
        let (mut farthest, mut squares, mut last) = (0i64, 0i64, oldest.price);
        for sample in window.chain(core::iter::once(now)) {
            let away = log_change_ppm(sample.price.get(), now.price.get());
            let step = log_change_ppm(last.get(), sample.price.get());
            farthest = farthest.max(away.saturating_abs());
            squares = squares.saturating_add(step.saturating_mul(step));
            last = sample.price;
        }
        let realised = farthest.max(root(squares));
        let implied = implied_move_ppm(oldest.volatility_ppm, *parameters.horizons_ms.get(at)?);
        realised.saturating_mul(THOUSANDTHS).checked_div(implied)
    }

    /// The index over its own slow average, beside how far it usually is from it.
    fn level(&self, now: &Sample, parameters: &BreakerParameters) -> Option<i64> {
        let warm_up = parameters.warm_up.last()?;
        if self.slow.samples() < *warm_up {
            return None;
        }
        let above = log_change_ppm(self.slow.value(), i64::from(now.volatility_ppm));
        let usual = root(self.distance.value()).max(parameters.level_floor_ppm);
        above.saturating_mul(THOUSANDTHS).checked_div(usual)
    }

    /// The session with this sample in it, begun anew if it is the first of the next one.
    fn session_at(&self, now: &Sample, parameters: &BreakerParameters) -> Session {
        let begins_ms = parameters.session_begins_ms;
        if self.session.holds(now.at, begins_ms) {
            return self.session.with(now);
        }
        // The sample before it, unless there is a gap: moves over a gap are no range.
        let [_, recent_ms, _] = parameters.horizons_ms;
        let last = self.fine.last();
        let last = last.filter(|last| now.at.since(last.at) <= recent_ms);
        Session::begun(now, last.unwrap_or(now), begins_ms)
    }

    /// The session's range beside its usual one.
    fn range(&self, session: &Session, parameters: &BreakerParameters) -> Option<i64> {
        if self.usual_range.samples() < *parameters.warm_up.last()? {
            return None;
        }
        let usual = root(self.usual_range.value());
        session
            .range_ppm()
            .saturating_mul(THOUSANDTHS)
            .checked_div(usual)
    }

    /// Each level once a session.
    fn judge_range(&mut self, now: &Sample, parameters: &BreakerParameters) -> Option<Verdict> {
        let session = self.session_at(now, parameters);
        let begins = !self.session.holds(now.at, parameters.session_begins_ms);
        self.session = session;
        let figure = self.range(&session, parameters);
        let (breaker, horizon_ms) = (Breaker::Range, session.lasted_ms(now.at));
        if begins && self.range_latch.is_held() {
            self.range_latch = Latch::default();
            return Some(Verdict::Released {
                breaker,
                horizon_ms,
                figure: figure.unwrap_or(0),
            });
        }
        let borne_out = session.volatility_rise_ppm(now) >= parameters.range_confirms_ppm;
        let figure = Figure {
            breaker,
            at: 0,
            horizon_ms,
            figure: figure?,
        };
        let latch = &mut self.range_latch;
        held_to(latch, &figure, &parameters.range, borne_out, parameters)
    }

    fn remember(&mut self, sample: Sample, parameters: &BreakerParameters) {
        let [_, short, long] = parameters.horizons_ms;
        let (fine, coarse) = (parameters.fine_ms, parameters.coarse_ms);
        if let Some(elapsed) = self.fine.push(sample, fine, short.saturating_add(fine)) {
            self.remember_speed(0, &sample, elapsed, parameters);
            self.remember_speed(1, &sample, elapsed, parameters);
        }
        if let Some(elapsed) = self
            .coarse
            .push(sample, coarse, long.saturating_add(coarse))
        {
            self.remember_speed(2, &sample, elapsed, parameters);
            let range = self.session.range_ppm();
            let square = range.saturating_mul(range);
            self.usual_range
                .add(square, elapsed, parameters.range_memory_ms);
            let volatility = i64::from(sample.volatility_ppm);
            if self.slow.samples() > 0 {
                let away = log_change_ppm(self.slow.value(), volatility);
                let square = away.saturating_mul(away);
                self.distance.add(square, elapsed, parameters.memory_ms);
            }
            self.slow.add(volatility, elapsed, parameters.memory_ms);
        }
    }

    /// Remembers how far the index went over a horizon, if the horizon is full.
    fn remember_speed(
        &mut self,
        at: usize,
        sample: &Sample,
        elapsed_ms: u64,
        parameters: &BreakerParameters,
    ) {
        let oldest = self
            .full_window(at, sample.at, parameters)
            .map(|(oldest, _)| oldest);
        if let (Some(oldest), Some(history)) = (oldest, self.speeds.get_mut(at)) {
            let (from, to) = (
                i64::from(oldest.volatility_ppm),
                i64::from(sample.volatility_ppm),
            );
            let change = log_change_ppm(from, to);
            history.add(
                change.saturating_mul(change),
                elapsed_ms,
                parameters.memory_ms,
            );
        }
    }

    /// Trips when fewer sources agree than must, for longer and longer.
    fn judge_agreement(
        &mut self,
        now: TimeMs,
        agreement: Agreement,
        parameters: &BreakerParameters,
    ) -> Option<Verdict> {
        let (figure, bound) = (i64::from(agreement.agreeing), i64::from(agreement.needed));
        let release = Verdict::Released {
            breaker: Breaker::Dispersion,
            horizon_ms: 0,
            figure,
        };
        if figure >= bound {
            self.disagree_since = TimeMs::new(0);
            return self.dispersion_latch.judge(None, || Some(release));
        }
        if self.disagree_since.get() == 0 {
            self.disagree_since = now;
        }
        let since_ms = now.since(self.disagree_since);
        let levels = (1u8..).zip(parameters.dispersion_ms);
        let level = levels.filter(|(_, ms)| since_ms >= *ms).last();
        let trip = level.map(|(level, horizon_ms)| Trip {
            breaker: Breaker::Dispersion,
            level,
            horizon_ms,
            figure,
            bound,
        });
        self.dispersion_latch.judge(trip, || None)
    }

    /// Trips when the book has been thin beside its own average for long enough.
    fn judge_depth(
        &mut self,
        now: TimeMs,
        depth: u64,
        parameters: &BreakerParameters,
    ) -> Option<Verdict> {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        let usual = self.depth.value();
        let warm = self.depth.samples() >= parameters.depth_warm_up;
        let elapsed = now.since(self.depth_at);
        if elapsed >= parameters.fine_ms {
            let stands_for = if self.depth.samples() == 0 {
                0
            } else {
                elapsed
            };
            self.depth
                .add(depth, stands_for, parameters.depth_memory_ms);
            self.depth_at = now;
        }
        if !warm || usual <= 0 {
            return None;
        }
        let share = i128::from(depth)
            .saturating_mul(i128::from(PPM))
            .checked_div(i128::from(usual))?;
        let figure = i64::try_from(share).unwrap_or(i64::MAX);
        let [first, ..] = parameters.depth.bounds;
        if figure > first {
            self.thin_since = TimeMs::new(0);
            let release = Verdict::Released {
                breaker: Breaker::Depth,
                horizon_ms: 0,
                figure,
            };
            return self.depth_latch.judge(None, || Some(release));
        }
        if self.thin_since.get() == 0 {
            self.thin_since = now;
        }
        if now.since(self.thin_since) < parameters.depth_ms {
            return None;
        }
        let recent = |at: TimeMs| at.get() > 0 && now.since(at) <= parameters.confirm_ms;
        let borne_out = recent(self.speed_at) || recent(self.jump_at);
        let level_max = if borne_out {
            3
        } else {
            parameters.depth.alone_max
        };
        let levels = (1u8..).zip(parameters.depth.bounds);
        let reached =
            levels.filter(|(level, bound)| *level <= level_max && *bound > 0 && figure <= *bound);
        let trip = reached.last().map(|(level, bound)| Trip {
            breaker: Breaker::Depth,
            level,
            horizon_ms: parameters.depth_ms,
            figure,
            bound,
        });
        self.depth_latch.judge(trip, || None)
    }
}

/// Holds a figure to its rule: as high as its bounds let it, no higher than it may alone unless
/// something else bears it out.
fn held_to(
    latch: &mut Latch,
    figure: &Figure,
    rule: &Rule,
    borne_out: bool,
    parameters: &BreakerParameters,
) -> Option<Verdict> {
    let level_max = if borne_out { 3 } else { rule.alone_max };
    let Figure {
        breaker,
        horizon_ms,
        figure,
        ..
    } = *figure;
    let trip = graded(figure, rule, level_max).map(|(level, bound)| Trip {
        breaker,
        level,
        horizon_ms,
        figure,
        bound,
    });
    latch.judge(trip, || {
        let under = released_under(rule, parameters.release_ppm);
        (figure < under).then_some(Verdict::Released {
            breaker,
            horizon_ms,
            figure,
        })
    })
}

/// The figure under which a rule's breaker is released.
pub(super) fn released_under(rule: &Rule, release_ppm: u32) -> i64 {
    let [first, ..] = rule.bounds;
    mul_div(first, i64::from(release_ppm), PPM, Rounding::Down).unwrap_or(i64::MAX)
}

/// The root of a mean square, rounded down.
fn root(square: i64) -> i64 {
    square.max(0).isqrt()
}
