//! The solvency gate (I6): what may leave an account, and nothing more.
//!
//! Cash leaves only while the books add up (I1), the vault holds what it owes, and the account keeps
//! initial margin with every open order at its worst. Both ways out, an owner's command and a request
//! on chain, end in [`Engine::pay_out`].

use alloc::vec::Vec;

use super::Engine;
use crate::event::Event;
use crate::modes::Activity;
use crate::reject::Reject;
use crate::types::{AccountId, Address, Cash, SettlementChain};
use crate::vault::{VaultState, Withdrawal};

impl Engine {
    /// The place of the vault on a chain.
    pub(super) fn vault_on(&self, chain: SettlementChain) -> Result<usize, Reject> {
        let place = self.vaults.iter().position(|vault| vault.chain() == chain);
        place.ok_or(Reject::UnknownVault)
    }

    /// Refuses in a fixed order: mode, vault, form, gate, cash, margin.
    pub(super) fn withdraw(
        &mut self,
        account: AccountId,
        chain: SettlementChain,
        (recipient, amount): (Address, Cash),
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Withdraw)?;
        let vault = self.vault_on(chain)?;
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let (cash, owner) = (entry.cash, entry.owner);
        let least = self.vaults.get(vault).map(|v| v.parameters.withdrawal_min);
        let small = least.is_none_or(|least| amount < least) && amount != cash;
        if amount <= Cash::ZERO || small || recipient == Address::default() {
            return Err(Reject::BadWithdrawal);
        }
        self.check_gate(vault)?;
        if entry.liquidation.is_some() {
            return Err(Reject::AccountInLiquidation);
        }
        if amount > cash {
            return Err(Reject::AboveCash);
        }
        if amount > self.free_cash(account).ok_or(Reject::NoMark)? {
            return Err(Reject::MarginBelowInitial);
        }
        let withdrawal = Withdrawal {
            owner,
            recipient,
            amount,
        };
        self.pay_out(vault, Some(account), withdrawal, events)
    }

    /// Whether anything may leave through a vault.
    pub(super) fn check_gate(&self, vault: usize) -> Result<(), Reject> {
        let short = self.vaults.get(vault).is_none_or(|vault| vault.short);
        if short || !self.ledger.is_conserved() || !self.is_backed() {
            return Err(Reject::WithdrawalsHeld);
        }
        Ok(())
    }

    /// That the ledger's collateral is what was deposited and not withdrawn.
    pub(super) fn is_backed(&self) -> bool {
        let vaults = self.vaults.iter().map(VaultState::collateral);
        let held = vaults.fold(0_i128, i128::saturating_add);
        held == i128::from(self.ledger.collateral.get())
    }

    /// Most that an account may take out: its cash, as far as initial margin is met without it. Never
    /// under zero; `None` while something it holds has no mark. Margin falls by a unit for each unit of
    /// cash, so what is left of it is what may go. Losses count more while an index is lost
    /// (`IndexParameters::lost_margin_ppm`), so that nobody leaves one behind that the venue does not see
    /// yet.
    pub fn free_cash(&self, account: AccountId) -> Option<Cash> {
        let entry = self.ledger.account(account)?;
        if self.is_reserved(account) || entry.liquidation.is_some() {
            return Some(Cash::ZERO);
        }
        let (_, left) = self.margin_with_orders(account)?;
        let bond = self.auctions.bond_of(account);
        let left = Cash::new(left.get().saturating_sub(bond.get()));
        Some(left.min(entry.cash).max(Cash::ZERO))
    }

    /// Debits and notes a withdrawal, in that order: nothing is owed twice. Without an account it is a
    /// deposit that goes back.
    pub(super) fn pay_out(
        &mut self,
        vault: usize,
        account: Option<AccountId>,
        withdrawal: Withdrawal,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let entry = self.vaults.get_mut(vault).ok_or(Reject::UnknownVault)?;
        let number = entry
            .next_number(withdrawal.amount)
            .ok_or(Reject::VenueFull)?;
        if let Some(account) = account {
            self.ledger.withdraw(account, withdrawal.amount)?;
            self.venue_watch.withdrew(withdrawal.amount, self.time);
        }
        entry.withdraw(withdrawal);
        events.push(Event::Withdrawn {
            account,
            chain: entry.chain(),
            number,
            owner: withdrawal.owner,
            recipient: withdrawal.recipient,
            amount: withdrawal.amount,
        });
        Ok(())
    }
}
