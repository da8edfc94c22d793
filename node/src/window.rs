//! How many orders a block may carry, so that what is not an order stays quick under load.
//!
//! **Owns** one figure that follows how late blocks are executed, up by a little and down by a share, as
//! TCP's congestion window follows loss, and what tells a storm from a busy venue. **Never** a rule of
//! consensus: it bounds this node's own proposals, and any block within the engine's bounds is as valid as
//! before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lifeboat_engine::types::TimeMs;

use crate::mempool::Flow;
use crate::shared::lock;

/// Bounds of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowPolicy {
    /// A block is late if it is executed later after its own time than twice the least that was seen
    /// lately, and so many milliseconds: then machines are short of cores, or of disk.
    pub slack_ms: u64,
    /// Orders in a block at least, so that orders never stop.
    pub least: usize,
    /// What blocks do not need of it is forgotten down to so many, so that a burst fills blocks that grow, and not
    /// one that everybody waits for.
    pub unused: usize,
    /// In a storm a block is late so many milliseconds after the least that was seen, and not after twice that.
    pub storm_slack_ms: u64,
    /// Orders in a block at least, in a storm.
    pub storm_least: usize,
}

impl Default for WindowPolicy {
    fn default() -> Self {
        Self {
            slack_ms: 60,
            least: 384,
            unused: 384,
            storm_slack_ms: 6,
            storm_least: 64,
        }
    }
}

/// Whether more is offered to this node than it can even refuse. Then what is not an order comes first, and how
/// many orders are executed second; a venue that is merely slow goes on as it can.
#[derive(Debug, Default)]
pub struct Storm {
    until_ms: AtomicU64,
}

/// Turns to refuse that are taken so far ahead: sixteen connections at least had orders shed at once.
const STORM_TURNS: Duration = Duration::from_millis(32);
/// And the venue is as full of orders as this, at least.
const STORM_PRESSURE: f64 = 0.5;
/// A storm is over so long after it was sighted last.
const STORM_LASTS_MS: u64 = 500;

impl Storm {
    /// Notes how far ahead turns to refuse are taken: far ahead in a venue that fills with orders is a storm.
    pub fn turns_taken(&self, ahead: Duration, pressure: impl FnOnce() -> f64, now: TimeMs) {
        if ahead >= STORM_TURNS && pressure() >= STORM_PRESSURE {
            let until = now.plus_ms(STORM_LASTS_MS).get();
            self.until_ms.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// Whether there is one.
    pub fn blows(&self, now: TimeMs) -> bool {
        now.get() < self.until_ms.load(Ordering::Relaxed)
    }
}

/// A block that was executed.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    /// How many commands it carried.
    pub commands: usize,
    /// When, by the local clock.
    pub at: TimeMs,
    /// So many local milliseconds after its own time.
    pub after_ms: u64,
    /// Whether there was a storm.
    pub storm: bool,
}

/// Orders, amendments and quotes that this node's next proposal may carry.
#[derive(Debug)]
pub struct Window {
    policy: WindowPolicy,
    most: usize,
    size: AtomicUsize,
    usual: Mutex<Usual>,
    rate: Mutex<Rate>,
}

/// Commands executed in a second: in the last whole one, or in this one if that is more already.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    second: u64,
    so_far: usize,
    last: usize,
}

impl Rate {
    fn follow(&mut self, block: &Executed) {
        let second = block.at.get() / 1_000;
        if second != self.second {
            let next = second == self.second + 1;
            self.last = if next { self.so_far } else { 0 };
            (self.second, self.so_far) = (second, 0);
        }
        self.so_far += block.commands;
    }

    fn get(&self) -> usize {
        self.so_far.max(self.last)
    }
}

/// How long agreement takes where nothing holds it up, from the least that was seen: it is forgotten slowly,
/// because links and machines change. Microseconds.
#[derive(Clone, Copy, Debug)]
struct Usual(u64);

/// What is added for each block to the least time seen, as a share: twice in 710 blocks.
const FORGET: u64 = 1_024;

impl Usual {
    fn follow(&mut self, after_us: u64) -> u64 {
        self.0 = self.0.saturating_add(self.0 / FORGET + 1).min(after_us);
        self.0
    }
}

impl Window {
    /// A window that is wide open.
    pub fn new(policy: WindowPolicy, most: usize) -> Self {
        Self {
            policy,
            most,
            size: AtomicUsize::new(most),
            usual: Mutex::new(Usual(u64::MAX)),
            rate: Mutex::default(),
        }
    }

    /// How fast orders are executed now.
    pub fn flow(&self) -> Flow {
        Flow {
            window: self.size(),
            rate: lock(&self.rate).get(),
        }
    }

    /// How many orders.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Follows a block.
    pub fn executed(&self, block: Executed) {
        lock(&self.rate).follow(&block);
        let after_us = block.after_ms.saturating_mul(1_000);
        let usual = lock(&self.usual).follow(after_us);
        let policy = &self.policy;
        let (times, slack_ms, least) = match block.storm {
            true => (1, policy.storm_slack_ms, policy.storm_least),
            false => (2, policy.slack_ms, policy.least),
        };
        let slack = slack_ms.saturating_mul(1_000);
        let late = usual.saturating_mul(times).saturating_add(slack);
        let size = self.size();
        let next = if after_us > late {
            // A block far under the window says that the window is not what bounds the venue now.
            let reached = size.min(block.commands.saturating_mul(2));
            // What a storm brought before it was told must be over soon, not in thirty blocks.
            let sudden = block.storm && after_us > late.saturating_mul(2);
            reached - reached / if sudden { 2 } else { 8 }
        } else if block.commands >= size / 2 {
            let share = if after_us > late / 2 { 16 } else { 4 };
            size + size / share + 1
        } else {
            size - size.saturating_sub(policy.unused) / 8
        };
        let next = next.clamp(least.min(self.most), self.most);
        self.size.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(commands: usize, after_ms: u64) -> Executed {
        Executed {
            commands,
            at: TimeMs::new(0),
            after_ms,
            storm: false,
        }
    }

    fn executed(window: &Window, commands: usize, after_ms: u64) {
        window.executed(block(commands, after_ms));
    }

    fn stormy(window: &Window, commands: usize, after_ms: u64) {
        window.executed(Executed {
            storm: true,
            ..block(commands, after_ms)
        });
    }

    fn window() -> Window {
        let window = Window::new(WindowPolicy::default(), 8_192);
        executed(&window, 10, 15);
        assert_eq!(
            window.size(),
            7_216,
            "what a small block leaves is forgotten slowly"
        );
        window
    }

    #[test]
    fn what_blocks_do_not_need_is_forgotten_and_a_burst_opens_it_again() {
        let window = window();
        for _ in 0..200 {
            executed(&window, 10, 15);
        }
        assert!((384..400).contains(&window.size()), "not all of it");
        for _ in 0..14 {
            executed(&window, window.size(), 20);
        }
        assert_eq!(window.size(), 8_192);
    }

    #[test]
    fn the_rate_is_that_of_a_second() {
        let window = window();
        let at = |at, commands| {
            window.executed(Executed {
                at: TimeMs::new(at),
                ..block(commands, 15)
            });
            window.flow().rate
        };
        assert_eq!(at(10_000, 30), 30);
        assert_eq!(at(10_999, 40), 70);
        assert_eq!(
            at(11_000, 5),
            70,
            "a second that has begun says less than a whole one"
        );
        assert_eq!(at(11_500, 100), 105, "until it says more");
        assert_eq!(at(12_100, 1), 105);
        assert_eq!(at(14_000, 2), 2, "a venue that stood still");
    }

    #[test]
    fn late_blocks_shrink_it_and_full_ones_in_time_open_it_again() {
        let window = window();
        executed(&window, 1_024, 90);
        assert_eq!(window.size(), 6_362, "not late yet, but not needed");
        executed(&window, 1_024, 100);
        assert_eq!(window.size(), 1_792);
        for _ in 0..200 {
            executed(&window, window.size(), 10_000);
        }
        assert_eq!(window.size(), 384, "orders never stop");
        executed(&window, 191, 20);
        assert_eq!(window.size(), 384);
        executed(&window, 192, 20);
        assert_eq!(window.size(), 481);
        executed(&window, 481, 60);
        assert_eq!(window.size(), 512, "carefully near the bound");
        for _ in 0..200 {
            executed(&window, window.size(), 20);
        }
        assert_eq!(window.size(), 8_192);
    }

    #[test]
    fn what_is_late_follows_the_distance_between_validators() {
        let far = Window::new(WindowPolicy::default(), 8_192);
        for _ in 0..100 {
            executed(&far, 8_192, 450);
        }
        assert_eq!(far.size(), 8_192, "a second site far away is not a storm");
        let window = window();
        for _ in 0..50 {
            executed(&window, window.size(), 450);
        }
        assert_eq!(window.size(), 384);
        for _ in 0..5_000 {
            executed(&window, window.size(), 450);
        }
        assert_eq!(window.size(), 8_192, "and what is usual is learnt anew");
    }

    #[test]
    fn a_storm_shuts_it_further_and_it_opens_when_that_is_over() {
        let window = window();
        stormy(&window, 4_000, 20);
        assert_eq!(window.size(), 7_668, "as quick as at rest");
        stormy(&window, 8_192, 100);
        assert_eq!(window.size(), 3_834, "a storm's first blocks are very late");
        stormy(&window, 3_834, 35);
        assert_eq!(window.size(), 3_355);
        for _ in 0..200 {
            stormy(&window, window.size(), 45);
        }
        assert_eq!(window.size(), 64, "orders never stop");
        stormy(&window, 64, 20);
        assert!(window.size() > 64, "and more go where there is room");
        executed(&window, 0, 45);
        assert_eq!(window.size(), 384);
    }

    #[test]
    fn a_storm_is_over_a_while_after_it_was_last_seen() {
        let storm = Storm::default();
        let at = TimeMs::new;
        assert!(!storm.blows(at(0)));
        let far = STORM_TURNS;
        storm.turns_taken(far / 2, || 1.0, at(1_000));
        storm.turns_taken(far, || 0.4, at(1_000));
        assert!(!storm.blows(at(1_000)), "few are refused, or there is room");
        storm.turns_taken(far, || 0.5, at(1_000));
        storm.turns_taken(far, || 1.0, at(900));
        assert!(storm.blows(at(1_499)));
        assert!(!storm.blows(at(1_500)));
    }
}
