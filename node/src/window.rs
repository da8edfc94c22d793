//! How many orders a block may carry, so that what is not an order stays quick under load.
//!
//! **Owns** one figure that follows how late blocks are executed, up by a little and down by a share, as
//! TCP's congestion window follows loss. **Never** a rule of consensus: it bounds this node's own
//! proposals, and any block within the engine's bounds is as valid as before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
}

impl Default for WindowPolicy {
    fn default() -> Self {
        Self {
            slack_ms: 60,
            least: 384,
        }
    }
}

/// Orders, amendments and quotes that this node's next proposal may carry.
#[derive(Debug)]
pub struct Window {
    policy: WindowPolicy,
    most: usize,
    size: AtomicUsize,
    usual: Mutex<Usual>,
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
        }
    }

    /// How many orders.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Follows a block with so many commands, executed so many local milliseconds after its own time.
    pub fn executed(&self, commands: usize, after_ms: u64) {
        let after_us = after_ms.saturating_mul(1_000);
        let usual = lock(&self.usual).follow(after_us);
        let slack = self.policy.slack_ms.saturating_mul(1_000);
        let late = usual.saturating_mul(2).saturating_add(slack);
        let size = self.size();
        let next = if after_us > late {
            // A block far under the window says that the window is not what bounds the venue now.
            let reached = size.min(commands.saturating_mul(2));
            reached - reached / 8
        } else if commands >= size / 2 {
            let share = if after_us > late / 2 { 16 } else { 4 };
            size + size / share + 1
        } else {
            return;
        };
        let least = self.policy.least.min(self.most);
        let next = next.clamp(least, self.most);
        self.size.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let window = Window::new(WindowPolicy::default(), 8_192);
        window.executed(10, 15);
        assert_eq!(window.size(), 8_192, "a small block in time says nothing");
        window
    }

    #[test]
    fn late_blocks_shrink_it_and_full_ones_in_time_open_it_again() {
        let window = window();
        window.executed(1_024, 90);
        assert_eq!(window.size(), 8_192, "not late yet");
        window.executed(1_024, 100);
        assert_eq!(window.size(), 1_792);
        for _ in 0..200 {
            window.executed(window.size(), 10_000);
        }
        assert_eq!(window.size(), 384, "orders never stop");
        window.executed(191, 20);
        assert_eq!(window.size(), 384);
        window.executed(192, 20);
        assert_eq!(window.size(), 481);
        window.executed(481, 60);
        assert_eq!(window.size(), 512, "carefully near the bound");
        for _ in 0..200 {
            window.executed(window.size(), 20);
        }
        assert_eq!(window.size(), 8_192);
    }

    #[test]
    fn what_is_late_follows_the_distance_between_validators() {
        let far = Window::new(WindowPolicy::default(), 8_192);
        for _ in 0..100 {
            far.executed(8_192, 450);
        }
        assert_eq!(far.size(), 8_192, "a second site far away is not a storm");
        let window = window();
        for _ in 0..50 {
            window.executed(window.size(), 450);
        }
        assert_eq!(window.size(), 384);
        for _ in 0..5_000 {
            window.executed(window.size(), 450);
        }
        assert_eq!(window.size(), 8_192, "and what is usual is learnt anew");
    }
}
