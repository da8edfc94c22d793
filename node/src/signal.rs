//! A value that tasks wait on.
//!
//! **Owns** wake-ups in the order in which tasks began to wait. The usual watch channel wakes them in
//! random order, which would make two simulations of one seed differ.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::shared::lock;

/// A value that tasks wait on.
#[derive(Debug)]
pub struct Signal<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Signal<T> {
    /// Holds `value` at first.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    /// The value now.
    pub fn get(&self) -> T {
        lock(&self.value).clone()
    }

    /// Changes the value and wakes everybody who waits.
    pub fn update(&self, change: impl FnOnce(&mut T)) {
        change(&mut lock(&self.value));
        self.changed.notify_waiters();
    }

    /// Resolves with the value once it is as wanted.
    pub async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> T {
        loop {
            // Made before the look, so that no change is missed in between.
            let changed = self.changed.notified();
            let value = self.get();
            if wanted(&value) {
                return value;
            }
            changed.await;
        }
    }
}
