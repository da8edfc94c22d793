//! When no quorum can be had, by what the drill did, and what may not happen then.
//!
//! **Owns** the state of validators and links as the drill left them. Loss, delay, clocks and one-way
//! cuts make no claim: a quorum may or may not be had with them.

use std::time::Duration;

use super::load::Record;
use crate::plan::Fault;

/// Who can be part of a quorum.
#[derive(Clone, Debug)]
pub struct Quiet {
    up: Vec<bool>,
    heard: Vec<bool>,
    /// The set that is cut off from the others, if any.
    left: Option<Vec<usize>>,
    since: Option<Duration>,
    stretches: Vec<(Duration, Duration)>,
}

impl Quiet {
    /// Everybody is up and hears everybody.
    pub fn new(validators: usize) -> Self {
        Self {
            up: vec![true; validators],
            heard: vec![true; validators],
            left: None,
            since: None,
            stretches: Vec::new(),
        }
    }

    /// Notes a fault before it is undone (`before`) or after it took hold.
    pub fn note(&mut self, fault: &Fault, who: &[usize], now: Duration) {
        let set = |flags: &mut Vec<bool>, value: bool| {
            for place in who {
                flags[*place] = value;
            }
        };
        match fault {
            Fault::Kill(_) | Fault::Wipe(_) | Fault::PowerCut { .. } | Fault::MakerDrops => {
                set(&mut self.up, false);
            }
            Fault::Start(_) => set(&mut self.up, true),
            Fault::Stop(_) => set(&mut self.heard, false),
            Fault::Resume(_) => set(&mut self.heard, true),
            Fault::Clock { .. } | Fault::Outdate(_) => set(&mut self.up, true),
            Fault::Partition(_) => self.left = Some(who.to_vec()),
            Fault::Heal => self.left = None,
            _ => {}
        }
        match (self.since, self.has_quorum()) {
            (None, false) => self.since = Some(now),
            (Some(since), true) => {
                self.stretches.push((since, now));
                self.since = None;
            }
            _ => {}
        }
    }

    fn has_quorum(&self) -> bool {
        let count = self.up.len();
        let quorum = count - (count - 1) / 3;
        let is_left = |place: &usize| self.left.as_ref().is_some_and(|left| left.contains(place));
        let works = |place: &usize| self.up[*place] && self.heard[*place];
        let left = (0..count).filter(|one| is_left(one) && works(one)).count();
        let right = (0..count).filter(|one| !is_left(one) && works(one)).count();
        left.max(right) >= quorum
    }

    /// How many stretches without a quorum there were, and how many commands were sent and acknowledged
    /// within one.
    pub fn judge(&self, records: &[Record]) -> (u64, usize) {
        let within = |record: &&Record| {
            let inside =
                |(from, to): &(Duration, Duration)| record.sent > *from && record.answered < *to;
            record.acknowledged() && self.stretches.iter().any(inside)
        };
        let forbidden = records.iter().filter(within).count();
        (self.stretches.len() as u64, forbidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Who;

    #[test]
    fn two_of_four_are_no_quorum_however_they_are_lost() {
        let at = Duration::from_secs;
        let mut quiet = Quiet::new(4);
        quiet.note(&Fault::Kill(Who::All), &[1], at(1));
        assert!(quiet.stretches.is_empty() && quiet.since.is_none());
        quiet.note(&Fault::Stop(Who::All), &[2], at(2));
        quiet.note(&Fault::Resume(Who::All), &[2], at(3));
        quiet.note(&Fault::Start(Who::All), &[1], at(4));
        quiet.note(&Fault::Partition(Who::All), &[2, 3], at(5));
        quiet.note(&Fault::Heal, &[], at(6));
        quiet.note(&Fault::Partition(Who::All), &[3], at(7));
        assert_eq!(quiet.stretches, [(at(2), at(3)), (at(5), at(6))]);
    }
}
