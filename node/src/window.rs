//! How many orders a block may carry, so that what is not an order stays quick under load.
//!
//! **Owns** one figure that follows how late blocks are executed, up by a little and down by a share, as
//! TCP's congestion window follows loss. **Never** a rule of consensus: it bounds this node's own
//! proposals, and any block within the engine's bounds is as valid as before.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bounds of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowPolicy {
    /// A block executed later after its own time than so many milliseconds shrinks the window: agreement
    /// takes 20 to 40 ms on one site, so what is above is time in which machines were short of cores.
    pub late_ms: u64,
    /// Orders in a block at least, so that orders never stop.
    pub least: usize,
}

impl Default for WindowPolicy {
    fn default() -> Self {
        Self {
            late_ms: 100,
            least: 128,
        }
    }
}

/// Orders, amendments and quotes that this node's next proposal may carry.
#[derive(Debug)]
pub struct Window {
    policy: WindowPolicy,
    most: usize,
    size: AtomicUsize,
}

impl Window {
    /// A window that is wide open.
    pub fn new(policy: WindowPolicy, most: usize) -> Self {
        Self {
            policy,
            most,
            size: AtomicUsize::new(most),
        }
    }

    /// How many orders.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Follows a block with so many commands, executed so many local milliseconds after its own time.
    pub fn executed(&self, commands: usize, after_ms: u64) {
        let size = self.size();
        let next = if after_ms > self.policy.late_ms {
            // A block far under the window says that the window is not what bounds the venue now.
            let reached = size.min(commands.saturating_mul(2));
            reached - reached / 8
        } else if commands >= size / 2 {
            size + size / 16 + 1
        } else {
            return;
        };
        let least = self.policy.least.min(self.most);
        self.size
            .store(next.clamp(least, self.most), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_blocks_shrink_it_and_full_ones_in_time_open_it_again() {
        let window = Window::new(WindowPolicy::default(), 8_192);
        assert_eq!(window.size(), 8_192);
        window.executed(10, 20);
        assert_eq!(window.size(), 8_192, "a small block in time says nothing");
        window.executed(1_024, 101);
        assert_eq!(window.size(), 1_792);
        for _ in 0..200 {
            window.executed(window.size(), 10_000);
        }
        assert_eq!(window.size(), 128, "orders never stop");
        window.executed(64, 100);
        assert_eq!(window.size(), 137);
        for _ in 0..200 {
            window.executed(window.size(), 0);
        }
        assert_eq!(window.size(), 8_192);
    }
}
