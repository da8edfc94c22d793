//! Sums of the accounts that trade, remembered between orders.

/// A bounded cache of accounts' sums.
#[derive(Debug)]
pub(super) struct AccountCache {}

impl AccountCache {
    pub fn new(_accounts: usize) -> Self {
        Self {}
    }
}
