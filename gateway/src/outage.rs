//! Outages as the gateway saw them: how the venue stopped trading, and how it left VERIFY.
//!
//! **Owns** the steps of the present outage and the last few that are over. **Never** fills in what it
//! did not see: an outage that began, or ended, in blocks that the gateway did not hear of says so.
//!
//! An outage begins when the venue leaves a mode that it trades or reopens in for HALTED or
//! CLEARING_ONLY, and is over when it leaves VERIFY. A halt while it reopens begins another one.

use std::collections::VecDeque;

use lifeboat_engine::event::ModeReason;
use lifeboat_engine::types::{Digest, Height, Mode, TimeMs};

/// Outages that are over and remembered.
pub const OUTAGES_MAX: usize = 3;
/// Steps remembered of one outage; after these only the latest is kept up to date.
const STEPS_MAX: usize = 32;

/// A point in the venue's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The block.
    pub height: Height,
    /// Its time.
    pub time: TimeMs,
    /// Number of the latest event at this point.
    pub event: u64,
    /// The root after the block.
    pub root: Digest,
}

/// One change of the venue's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When; its event is the change itself.
    pub at: Moment,
    /// The mode it left.
    pub from: Mode,
    /// The mode it came to.
    pub to: Mode,
    /// Why.
    pub reason: ModeReason,
}

impl Step {
    /// Whether an outage begins.
    pub const fn stops(&self) -> bool {
        is_out(self.to) && !is_out(self.from)
    }

    /// Whether an outage is over.
    pub const fn returns(&self) -> bool {
        matches!(self.from, Mode::Verify) && !is_out(self.to) && !matches!(self.to, Mode::Exit)
    }
}

/// Whether the venue has stopped in this mode and not begun to reopen.
pub const fn is_out(mode: Mode) -> bool {
    matches!(mode, Mode::Halted | Mode::ClearingOnly | Mode::Verify)
}

/// Whether the venue reopens in this mode: an outage is over, trading has not begun.
pub const fn is_reopening(mode: Mode) -> bool {
    matches!(mode, Mode::CancelOnly | Mode::Auction | Mode::PostOnly)
}

/// One outage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outage {
    /// Number of the event by which it was over, or at which the gateway found it so; 0 before that.
    pub id: u64,
    /// The id of the outage before it, when the gateway saw that one.
    pub previous: Option<u64>,
    /// Its changes of mode that were seen, oldest first.
    pub steps: Vec<Step>,
    /// Since when the account's open orders are watched.
    pub watched_from: Moment,
    /// Whether its beginning was seen, so that every order open then is watched.
    pub start_seen: bool,
    /// Height of its latest halt or fault, as the venue's state has it; for a start not seen.
    pub halted_at: Height,
    /// Whether blocks were missed meanwhile.
    pub blocks_missed: bool,
    /// What the orders' fates hold for; `None` while it lasts.
    pub settled_at: Option<Moment>,
}

impl Outage {
    /// How the venue stopped, when it was seen.
    pub fn stopped(&self) -> Option<&Step> {
        self.steps.first().filter(|_| self.start_seen)
    }

    /// How the venue left VERIFY, when it was seen.
    pub fn returned(&self) -> Option<&Step> {
        self.steps.last().filter(|step| step.returns())
    }

    fn add(&mut self, step: Step) {
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop();
        }
        self.steps.push(step);
    }
}

/// The outages that the gateway knows of.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    current: Option<Outage>,
    past: VecDeque<Outage>,
}

impl Outages {
    /// The outage that lasts.
    pub const fn current(&self) -> Option<&Outage> {
        self.current.as_ref()
    }

    /// Those that are over, latest first.
    pub fn past(&self) -> impl Iterator<Item = &Outage> {
        self.past.iter().rev()
    }

    /// The outage that was over last.
    pub fn latest(&self) -> Option<&Outage> {
        self.past.back()
    }

    /// Whether the venue has left VERIFY and the orders' fates are not settled yet.
    pub fn has_returned(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|outage| outage.returned().is_some())
    }

    /// The mode changed. True when an outage began: the open orders are to be watched from here.
    pub fn step(&mut self, step: Step) -> bool {
        let begins = step.stops() && self.current.is_none();
        if begins {
            self.begin(step.at, true);
        }
        if let Some(outage) = &mut self.current {
            outage.add(step);
        }
        begins
    }

    /// An outage is on, whose open orders are watched from `at`.
    pub fn begin(&mut self, at: Moment, start_seen: bool) {
        self.current = Some(Outage {
            previous: self.latest().map(|outage| outage.id),
            watched_from: at,
            start_seen,
            ..Outage::default()
        });
    }

    /// The state was loaded while it lasted: the latest halt was at this height, and perhaps blocks
    /// were missed.
    pub fn unseen(&mut self, halted_at: Height, blocks_missed: bool) {
        if let Some(outage) = &mut self.current {
            outage.blocks_missed |= blocks_missed;
            outage.halted_at = halted_at;
        }
    }

    /// The present outage is over and the fates of its orders hold for `at`; its id.
    pub fn finish(&mut self, at: Moment) -> Option<u64> {
        let mut outage = self.current.take()?;
        outage.id = outage.returned().map_or(at.event, |step| step.at.event);
        outage.settled_at = Some(at);
        let id = outage.id;
        self.past.push_back(outage);
        if self.past.len() > OUTAGES_MAX {
            self.past.pop_front();
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(event: u64, from: Mode, to: Mode) -> Step {
        Step {
            at: Moment {
                event,
                ..Moment::default()
            },
            from,
            to,
            reason: ModeReason::Attested,
        }
    }

    #[test]
    fn an_outage_lasts_from_the_halt_until_verify_is_left() {
        let mut outages = Outages::default();
        assert!(outages.step(step(1, Mode::Open, Mode::Halted)));
        assert!(!outages.step(step(2, Mode::Halted, Mode::Verify)));
        assert!(!outages.step(step(3, Mode::Verify, Mode::Halted)));
        assert!(!outages.step(step(4, Mode::Halted, Mode::Verify)));
        assert!(!outages.has_returned());
        assert!(!outages.step(step(5, Mode::Verify, Mode::CancelOnly)));
        assert!(outages.has_returned());
        assert_eq!(outages.finish(Moment::default()), Some(5));
        assert!(!outages.step(step(6, Mode::CancelOnly, Mode::PostOnly)));
        // A halt on the way up is an outage of its own, and names the one before it.
        assert!(outages.step(step(7, Mode::PostOnly, Mode::Halted)));
        let current = outages.current().expect("an outage");
        assert_eq!((current.previous, current.steps.len()), (Some(5), 1));
        let first = outages.latest().expect("the first");
        assert_eq!(first.stopped().map(|step| step.at.event), Some(1));
        assert_eq!(first.steps.len(), 5);
    }

    #[test]
    fn a_venue_that_closes_for_good_never_returns() {
        let mut outages = Outages::default();
        outages.step(step(1, Mode::Open, Mode::Halted));
        outages.step(step(2, Mode::Halted, Mode::Verify));
        outages.step(step(3, Mode::Verify, Mode::Exit));
        assert!(!outages.has_returned());
    }

    #[test]
    fn steps_and_outages_are_bounded() {
        let mut outages = Outages::default();
        for round in 0..10 {
            outages.step(step(round * 1_000, Mode::Open, Mode::Halted));
            for n in 1..200 {
                outages.step(step(round * 1_000 + n, Mode::Halted, Mode::Verify));
                outages.step(step(round * 1_000 + n, Mode::Verify, Mode::Halted));
            }
            outages.step(step(round * 1_000 + 999, Mode::Verify, Mode::CancelOnly));
            assert!(outages.has_returned());
            assert_eq!(outages.finish(Moment::default()), Some(round * 1_000 + 999));
        }
        assert_eq!(outages.past().count(), OUTAGES_MAX);
        let latest = outages.latest().expect("the last");
        assert_eq!(latest.steps.len(), STEPS_MAX);
        assert_eq!(latest.stopped().map(|step| step.at.event), Some(9_000));
    }
}
