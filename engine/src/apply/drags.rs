//! What open orders lose if they fill at their prices rather than at the marks, by account.
//!
//! **Owns** those sums and nothing else. They follow from the books and the marks: orders that come
//! and go change them one by one, a mark tick sums an underlying's anew.

use alloc::vec::Vec;

use crate::types::{AccountId, Cash, UnderlyingId};

/// Sums by underlying and account, in cash units, at most zero.
#[derive(Debug, Default)]
pub(super) struct Drags {
    underlyings: Vec<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    by_account: Vec<Sum>,
    /// Accounts whose sum may not be zero, each once.
    touched: Vec<AccountId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    drag: i64,
    touched: bool,
}

impl Drags {
    /// Adds to an account's sum.
    #[inline]
    pub fn add(&mut self, underlying: UnderlyingId, account: AccountId, drag: i64) {
        if drag != 0 {
            self.add_some(underlying, account, drag);
        }
    }

    fn add_some(&mut self, underlying: UnderlyingId, account: AccountId, drag: i64) {
        let at = usize::from(underlying.get());
        if self.underlyings.len() <= at {
            self.underlyings
                .resize_with(at.saturating_add(1), Sums::default);
        }
        let (Some(sums), Ok(index)) =
            (self.underlyings.get_mut(at), usize::try_from(account.get()))
        else {
            return;
        };
        if sums.by_account.len() <= index {
            sums.by_account
                .resize(index.saturating_add(1), Sum::default());
        }
        if let Some(sum) = sums.by_account.get_mut(index) {
            if !core::mem::replace(&mut sum.touched, true) {
                sums.touched.push(account);
            }
            sum.drag = sum.drag.saturating_add(drag);
        }
    }

    /// Forgets an underlying's sums.
    pub fn clear(&mut self, underlying: UnderlyingId) {
        let Some(sums) = self.underlyings.get_mut(usize::from(underlying.get())) else {
            return;
        };
        for account in sums.touched.drain(..) {
            let index = usize::try_from(account.get()).unwrap_or(usize::MAX);
            if let Some(sum) = sums.by_account.get_mut(index) {
                *sum = Sum::default();
            }
        }
    }

    /// An account's sum over all underlyings.
    pub fn of(&self, account: AccountId) -> Cash {
        let index = usize::try_from(account.get()).unwrap_or(usize::MAX);
        let sums = self.underlyings.iter();
        let sum = sums.fold(0i64, |total, sums| {
            total.saturating_add(sums.by_account.get(index).map_or(0, |sum| sum.drag))
        });
        Cash::new(sum)
    }
}
