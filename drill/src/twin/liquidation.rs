//! I5 from the event stream alone: nobody is liquidated on a price that is too old, from too few
//! sources, that its sources did not agree on since the last outage, or within grace.
//!
//! It keeps its own account of indices, outages and grace, and believes of a liquidation's own figures
//! only margins; ages and counts that an event states must be the ones found here. It shares no code
//! with the engine.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::Event;
use lifeboat_engine::event::LiquidationBasis;
use lifeboat_engine::params::Parameters;
use lifeboat_engine::types::{AccountId, Cash, InstrumentId, Mode, TimeMs, UnderlyingId};

const PPM: i128 = 1_000_000;

/// The figures that liquidations are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiquidationRules {
    /// No index older than this liquidates.
    pub age_ms_max: u64,
    /// Fewest sources.
    pub sources_min: u8,
    /// How long sources must have agreed after an outage or a loss.
    pub agreement_ms: u64,
    /// How long grace lasts from the return of trading.
    pub grace_ms: u64,
    /// Under this part of the requirement grace does not hold, in millionths.
    pub deep_ppm: u32,
}

impl LiquidationRules {
    /// Those of a venue.
    pub const fn of(parameters: &Parameters) -> Self {
        Self {
            age_ms_max: parameters.liquidation.index_age_ms_max,
            sources_min: parameters.index.sources_min,
            agreement_ms: parameters.modes.agreement_ms,
            grace_ms: parameters.liquidation.grace_ms,
            deep_ppm: parameters.liquidation.deep_ppm,
        }
    }
}

/// An underlying's index as the stream tells it.
#[derive(Clone, Copy, Debug, Default)]
struct Index {
    updated_at: Option<TimeMs>,
    sources: u8,
    /// Since when its sources have to agree again.
    doubted_at: Option<TimeMs>,
}

/// Whether trading is out, on an underlying or on all of them, and when it was back last.
#[derive(Clone, Copy, Debug, Default)]
struct Outage {
    out: bool,
    over_at: Option<TimeMs>,
}

/// One step of a liquidation.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    account: AccountId,
    /// Maintenance margin and equity before it, where the event has them.
    margins: Option<(Cash, Cash)>,
    basis: &'a LiquidationBasis,
    /// Whether it takes the whole account, so that grace forbids it.
    whole: bool,
}

/// The checker. See the module's head.
#[derive(Clone, Debug)]
pub struct LiquidationAuditor {
    rules: LiquidationRules,
    now: TimeMs,
    mode: Mode,
    /// Modes of underlyings by themselves.
    modes: BTreeMap<UnderlyingId, Mode>,
    outages: BTreeMap<Option<UnderlyingId>, Outage>,
    indices: BTreeMap<UnderlyingId, Index>,
    underlying: BTreeMap<InstrumentId, UnderlyingId>,
    checks: u64,
}

impl LiquidationAuditor {
    /// A checker at genesis.
    pub const fn new(rules: LiquidationRules) -> Self {
        Self {
            rules,
            now: TimeMs::new(0),
            mode: Mode::Open,
            modes: BTreeMap::new(),
            outages: BTreeMap::new(),
            indices: BTreeMap::new(),
            underlying: BTreeMap::new(),
            checks: 0,
        }
    }

    /// Steps of liquidations that were judged.
    pub const fn checks(&self) -> u64 {
        self.checks
    }

    /// A block begins.
    pub fn begin_block(&mut self, now: TimeMs) {
        self.now = self.now.max(now);
    }

    /// Takes an event in. `held` names the instruments that an account holds before it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn see(
        &mut self,
        event: &Event,
        held: impl Fn(AccountId) -> BTreeSet<InstrumentId>,
    ) -> Result<(), String> {
        if let Some(step) = step(event) {
            self.checks += 1;
            let held = held(step.account);
            return self.judge(&step, &held).map_err(|what| {
                let at = self.now;
                format!("account {} at {at}: {what}", step.account)
            });
        }
        match event {
            Event::InstrumentListed { instrument, terms } => {
                self.underlying.insert(*instrument, terms.underlying);
                self.indices.entry(terms.underlying).or_default();
            }
            Event::IndexUpdated {
                underlying,
                sources,
                ..
            } => {
                let index = self.indices.entry(*underlying).or_default();
                (index.updated_at, index.sources) = (Some(self.now), *sources);
            }
            Event::IndexLost { underlying, .. } => {
                let index = self.indices.entry(*underlying).or_default();
                (index.sources, index.doubted_at) = (0, Some(self.now));
            }
            Event::SourcesAgreed { underlying, .. } => return self.agreed(*underlying),
            Event::ModeChanged { to, .. } => {
                self.mode = *to;
                self.mode_changed(None, *to);
            }
            Event::UnderlyingModeChanged { underlying, to, .. } => {
                self.modes.insert(*underlying, *to);
                self.mode_changed(Some(*underlying), *to);
            }
            _ => {}
        }
        Ok(())
    }

    fn agreed(&mut self, underlying: UnderlyingId) -> Result<(), String> {
        let (now, agreement_ms) = (self.now, self.rules.agreement_ms);
        let index = self.indices.entry(underlying).or_default();
        let since = index.doubted_at.take();
        match since.map(|since| now.since(since)) {
            Some(ms) if ms < agreement_ms => Err(format!(
                "sources of {underlying} are said to agree {ms} ms after they were in doubt"
            )),
            _ => Ok(()),
        }
    }

    /// The mode of an underlying alone, or of the whole venue, changed.
    fn mode_changed(&mut self, of: Option<UnderlyingId>, to: Mode) {
        let outage = self.outages.entry(of).or_default();
        match to {
            Mode::Halted | Mode::ClearingOnly => {
                outage.out = true;
                for (underlying, index) in &mut self.indices {
                    if of.is_none_or(|of| of == *underlying) {
                        index.doubted_at = Some(self.now);
                    }
                }
            }
            Mode::Open if outage.out => {
                (outage.out, outage.over_at) = (false, Some(self.now));
            }
            _ => {}
        }
    }

    /// Until when what is held gives grace: an hour after the last of its outages.
    fn grace_until(&self, held: &BTreeSet<InstrumentId>) -> TimeMs {
        let underlyings: BTreeSet<_> = match held.is_empty() {
            true => self.outages.keys().filter_map(|of| *of).collect(),
            false => held
                .iter()
                .filter_map(|i| self.underlying.get(i))
                .copied()
                .collect(),
        };
        let theirs = underlyings.into_iter().map(Some).chain([None]);
        let ends = theirs.filter_map(|of| {
            let outage = self.outages.get(&of)?;
            let over = outage.over_at.map(|at| at.plus_ms(self.rules.grace_ms));
            match outage.out {
                true => Some(TimeMs::new(u64::MAX)),
                false => over.filter(|until| self.now < *until),
            }
        });
        ends.max().unwrap_or_default()
    }

    fn judge(&self, step: &Step<'_>, held: &BTreeSet<InstrumentId>) -> Result<(), String> {
        if is_shut(self.mode) {
            return Err(format!("liquidated in {:?}", self.mode));
        }
        let mut fewest = u8::MAX;
        let mut oldest = 0;
        for instrument in held {
            let found = self.underlying.get(instrument);
            let underlying = found.ok_or_else(|| format!("{instrument} was never listed"))?;
            // An underlying's own mode counts while the venue's does not stand before it.
            let own = self.modes.get(underlying).copied().unwrap_or(Mode::Open);
            if self.mode == Mode::Open && is_shut(own) {
                return Err(format!("liquidated while {underlying} is in {own:?}"));
            }
            let index = self.indices.get(underlying).copied().unwrap_or_default();
            let updated = index.updated_at.ok_or("there never was an index")?;
            if let Some(since) = index.doubted_at {
                return Err(format!(
                    "sources of {underlying} have not agreed since {since}"
                ));
            }
            fewest = fewest.min(index.sources);
            oldest = oldest.max(self.now.since(updated));
        }
        let basis = step.basis;
        // A price can be older than the block that took it in, never younger.
        if basis.age_ms < oldest || basis.age_ms > self.rules.age_ms_max {
            let (said, bound) = (basis.age_ms, self.rules.age_ms_max);
            return Err(format!(
                "price said to be {said} ms old, index {oldest}, bound {bound}"
            ));
        }
        if basis.sources != fewest || fewest < self.rules.sources_min {
            let (said, bound) = (basis.sources, self.rules.sources_min);
            return Err(format!(
                "{said} sources said, {fewest} seen, at least {bound}"
            ));
        }
        self.judge_grace(step, self.grace_until(held))
    }

    fn judge_grace(&self, step: &Step<'_>, until: TimeMs) -> Result<(), String> {
        let said = step.basis.grace_until;
        if said != until {
            return Err(format!("grace said until {said}, found until {until}"));
        }
        if until == TimeMs::new(0) {
            return Ok(());
        }
        let (maintenance, equity) = step.margins.unwrap_or_default();
        let equity = i128::from(equity.get());
        let required = equity - i128::from(maintenance.get());
        let deep = equity * PPM < required * i128::from(self.rules.deep_ppm);
        if step.whole || !deep {
            return Err(format!(
                "within grace until {until}, at equity {equity} and a requirement of {required}"
            ));
        }
        Ok(())
    }
}

/// Whether nothing may be liquidated in a mode.
const fn is_shut(mode: Mode) -> bool {
    matches!(mode, Mode::Halted | Mode::Verify | Mode::Exit)
}

/// The step of a liquidation that an event is.
const fn step(event: &Event) -> Option<Step<'_>> {
    let (account, margins, basis, whole) = match event {
        Event::LiquidationStarted {
            account,
            maintenance,
            mark_to_market,
            basis,
        }
        | Event::LiquidationSold {
            account,
            maintenance,
            mark_to_market,
            basis,
            ..
        } => (account, Some((*maintenance, *mark_to_market)), basis, false),
        Event::LiquidationToFund { account, basis, .. } => (account, None, basis, true),
        Event::ClosedOut { account, basis, .. } => (account, None, basis, true),
        _ => return None,
    };
    Some(Step {
        account: *account,
        margins,
        basis,
        whole,
    })
}

#[cfg(test)]
mod tests;
