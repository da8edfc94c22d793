//! Who owns what: cash, positions, keys.
//!
//! **Owns** accounts and the venue's own funds. **Never** knows an order book: open sizes and quote
//! slots in a [`Holding`] are numbers that `apply` keeps. Cash moves only between the entries of
//! this module, so that I1 (cash + fees + funds = collateral) holds by construction and
//! [`Ledger::audit`] can say so.

mod account;
mod client_ids;
mod holding;
mod holdings;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub(crate) use account::AccountPart;
pub use account::{Account, ProtectionState, Session};
pub use client_ids::ClientIds;
pub use holding::{Holding, NO_SLOT};
pub use holdings::Holdings;

use crate::limits::ACCOUNTS_MAX;
use crate::reject::Reject;
use crate::types::{AccountId, Address, Cash, InstrumentId, MarginModel};

/// All accounts, the insurance fund's among them, and the venue's fees.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
    owners: BTreeMap<Address, AccountId>,
    touched: Vec<AccountId>,
    /// Fees earned by the venue.
    pub fees: Cash,
    /// Collateral the vaults hold: all deposits less all withdrawals.
    pub collateral: Cash,
    /// Cash of all accounts that are not in `touched`.
    untouched: i128,
    /// The number of the day.
    day: u32,
    /// Accounts that changed for the first time in the day, as they were before.
    day_bases: Vec<DayBase>,
}

/// What an account had when the day began.
#[derive(Clone, Debug)]
pub(crate) struct DayBase {
    pub account: AccountId,
    pub cash: Cash,
    /// Lots by instrument.
    pub positions: Vec<(InstrumentId, i64)>,
}

impl DayBase {
    fn of(account: AccountId, entry: &Account) -> Self {
        let held = entry.holdings.iter().filter(|h| h.position != 0);
        Self {
            account,
            cash: entry.cash,
            positions: held.map(|h| (h.instrument, h.position)).collect(),
        }
    }
}

impl Ledger {
    /// The account, if it exists.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(usize::try_from(id.get()).ok()?)
    }

    /// The account for changing; its leaf is recomputed at the end of the block.
    pub fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        let account = self.accounts.get_mut(usize::try_from(id.get()).ok()?)?;
        // Whatever was hashed meanwhile: replicas hash at heights of their own.
        if account.day != self.day {
            self.day_bases.push(DayBase::of(id, account));
            (account.day, account.day_open) = (self.day, Cash::ZERO);
        }
        if !account.touched {
            account.touched = true;
            self.untouched = self.untouched.wrapping_sub(i128::from(account.cash.get()));
            self.touched.push(id);
        }
        Some(account)
    }

    /// Marks every account for hashing anew; none of them changed.
    pub(crate) fn touch_all(&mut self) {
        for (id, account) in (0..).map(AccountId::new).zip(&mut self.accounts) {
            if !account.touched {
                account.touched = true;
                self.untouched = self.untouched.wrapping_sub(i128::from(account.cash.get()));
                self.touched.push(id);
            }
        }
    }

    /// The number of the day.
    pub(crate) const fn day(&self) -> u32 {
        self.day
    }

    /// A day begins.
    pub(crate) fn begin_day(&mut self, day: u32) {
        self.day = day;
        self.day_bases.clear();
    }

    /// The accounts that changed for the first time in the day since the last call.
    pub(crate) fn take_day_bases(&mut self) -> Vec<DayBase> {
        core::mem::take(&mut self.day_bases)
    }

    /// What an account had when the day began, where its worth then is not worked out yet.
    pub(crate) fn day_base(&self, id: AccountId) -> Option<DayBase> {
        let entry = self.account(id)?;
        if entry.day != self.day {
            return Some(DayBase::of(id, entry));
        }
        self.day_bases
            .iter()
            .find(|base| base.account == id)
            .cloned()
    }

    /// The account for what its leaf does not commit to: the digests of its own parts, what follows from
    /// the books.
    pub(crate) fn account_unmarked(&mut self, id: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(usize::try_from(id.get()).ok()?)
    }

    /// Asks the processor to fetch an account.
    #[inline]
    pub(crate) fn prefetch(&self, id: AccountId) {
        if let Some(account) = self.account(id) {
            account.prefetch();
        }
    }

    /// Asks the processor to fetch what an account holds.
    #[inline]
    pub(crate) fn prefetch_holdings(&self, raw_id: u32) {
        if let Some(account) = self.account(AccountId::new(raw_id)) {
            account.prefetch_holdings();
        }
    }

    /// The account of an owner.
    pub fn by_owner(&self, owner: &Address) -> Option<AccountId> {
        self.owners.get(owner).copied()
    }

    /// All accounts in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        (0u32..).map(AccountId::new).zip(self.accounts.iter())
    }

    /// How many accounts there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.accounts.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Opens an account for an owner that has none.
    ///
    /// # Errors
    /// [`Reject::VenueFull`] at `ACCOUNTS_MAX`, [`Reject::BadProposal`] when the owner has one.
    pub fn open(&mut self, owner: Address, model: MarginModel) -> Result<AccountId, Reject> {
        if self.len() >= ACCOUNTS_MAX {
            return Err(Reject::VenueFull);
        }
        if self.owners.contains_key(&owner) {
            return Err(Reject::BadProposal);
        }
        let id = AccountId::new(self.len());
        let mut account = Account::new(owner, model);
        account.day = self.day;
        self.accounts.push(account);
        self.owners.insert(owner, id);
        let _ = self.account_mut(id);
        Ok(id)
    }

    /// Credits collateral that arrived in the vault.
    ///
    /// # Errors
    /// [`Reject::BadProposal`] when the amount is not positive or a total would overflow, and
    /// [`Reject::UnknownAccount`].
    pub fn deposit(&mut self, id: AccountId, amount: Cash) -> Result<(), Reject> {
        let total = self
            .collateral
            .checked_add(amount)
            .ok_or(Reject::BadProposal)?;
        if amount.get() <= 0 {
            return Err(Reject::BadProposal);
        }
        let account = self.account_mut(id).ok_or(Reject::UnknownAccount)?;
        account.cash = account
            .cash
            .checked_add(amount)
            .ok_or(Reject::BadProposal)?;
        account.day_open = Cash::new(account.day_open.get().saturating_add(amount.get()));
        self.collateral = total;
        Ok(())
    }

    /// Takes cash off an account and out of the venue: it may be claimed from a vault.
    ///
    /// # Errors
    /// [`Reject::BadWithdrawal`] when the amount is not positive, [`Reject::AboveCash`] when it is more
    /// than the account's cash, and [`Reject::UnknownAccount`].
    pub fn withdraw(&mut self, id: AccountId, amount: Cash) -> Result<(), Reject> {
        let cash = self.account(id).ok_or(Reject::UnknownAccount)?.cash;
        if amount.get() <= 0 {
            return Err(Reject::BadWithdrawal);
        }
        if amount > cash {
            return Err(Reject::AboveCash);
        }
        self.take_out(id, amount);
        Ok(())
    }

    /// Takes a deposit back that its chain forgot, whatever the account still has of it: its cash may
    /// go under zero. Gives how far under zero it is.
    pub fn unwind(&mut self, id: AccountId, amount: Cash) -> Cash {
        self.take_out(id, amount);
        let cash = self.account(id).map_or(0, |account| account.cash.get());
        Cash::new(cash.min(0).saturating_neg())
    }

    fn take_out(&mut self, id: AccountId, amount: Cash) {
        if let Some(account) = self.account_mut(id) {
            account.cash = Cash::new(account.cash.get().saturating_sub(amount.get()));
            account.day_open = Cash::new(account.day_open.get().saturating_sub(amount.get()));
            self.collateral = Cash::new(self.collateral.get().saturating_sub(amount.get()));
        }
    }

    /// Ids touched since they were last drained, each once.
    pub(crate) fn touched(&self) -> &[AccountId] {
        &self.touched
    }

    /// Ids touched since the last call, each once, in first-touch order.
    pub(crate) fn drain_touched(&mut self, out: &mut Vec<AccountId>) {
        out.clear();
        for id in self.touched.drain(..) {
            if let Some(account) = self
                .accounts
                .get_mut(usize::try_from(id.get()).unwrap_or(usize::MAX))
            {
                account.touched = false;
                self.untouched = self.untouched.wrapping_add(i128::from(account.cash.get()));
            }
            out.push(id);
        }
    }

    /// I1: the difference between what the vault holds and what the ledger says it owes. Always 0.
    pub fn audit(&self) -> i128 {
        self.difference(sum_of_cash(&self.accounts))
    }

    /// I1 without counting every account: that cash and fees are all the collateral. Looks at the
    /// accounts touched in this block.
    pub fn is_conserved(&self) -> bool {
        self.imbalance() == 0
    }

    /// By how much the collateral is more than cash and fees: 0 while I1 holds. Looks at the accounts
    /// touched in this block.
    pub fn imbalance(&self) -> i128 {
        let touched = self.touched.iter().filter_map(|id| self.account(*id));
        let touched = touched.map(|account| i128::from(account.cash.get()));
        let cash = touched.fold(self.untouched, i128::saturating_add);
        self.difference(cash)
    }

    fn difference(&self, cash: i128) -> i128 {
        let owed = cash.saturating_add(i128::from(self.fees.get()));
        i128::from(self.collateral.get()).saturating_sub(owed)
    }

    pub(crate) fn restore(accounts: Vec<Account>, day: u32, fees: Cash, collateral: Cash) -> Self {
        let owners = (0u32..)
            .zip(&accounts)
            .map(|(i, a)| (a.owner, AccountId::new(i)))
            .collect();
        Self {
            untouched: sum_of_cash(&accounts),
            accounts,
            owners,
            touched: Vec::new(),
            day,
            day_bases: Vec::new(),
            fees,
            collateral,
        }
    }
}

fn sum_of_cash(accounts: &[Account]) -> i128 {
    accounts.iter().fold(0, |sum: i128, account| {
        sum.saturating_add(i128::from(account.cash.get()))
    })
}
