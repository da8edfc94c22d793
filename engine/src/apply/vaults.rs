//! What happens on the vaults' chains, as a quorum of validators attests it.
//!
//! Every kind of event has a cursor and is taken in once, in the vault's own order (I1, I3). What can be
//! attested is decided before anything is counted; what is attested then always happens: a deposit for
//! which there is no room goes back, a request that nothing is free for is answered with nothing.

use alloc::vec::Vec;

use super::{Engine, INSURANCE_FUND};
use crate::command::{Crystallisation, ForcedRequest, VaultEvent};
use crate::event::{CancelReason, Event, ModeReason};
use crate::modes::{Activity, Trigger};
use crate::reject::Reject;
use crate::types::{AccountId, Address, Cash, MarginModel, SettlementChain};
use crate::vault::{Deposit, Withdrawal};

impl Engine {
    /// Whether an event can be taken in next.
    pub(super) fn check_vault_event(
        &self,
        chain: SettlementChain,
        event: &VaultEvent,
    ) -> Result<(), Reject> {
        self.permit(Activity::Deposit)?;
        let vault = self.vaults.get(self.vault_on(chain)?);
        let vault = vault.ok_or(Reject::UnknownVault)?;
        match event {
            VaultEvent::Deposits { first, deposits } => {
                begins_at(vault.deposits.cursor, *first, deposits)?;
                let owned = deposits.iter().all(|d| d.owner != Address::default());
                let fits = vault.deposits.extended(deposits).is_some();
                well_formed(owned && fits)
            }
            VaultEvent::DepositsUnwound {
                first,
                previous,
                deposits,
            } => {
                let count = u64::try_from(deposits.len()).unwrap_or(u64::MAX);
                begins_at(vault.deposits.cursor, first.saturating_add(count), deposits)?;
                let before = vault.deposits.without(*first, *previous, deposits);
                well_formed(before.is_some())
            }
            VaultEvent::ForcedRequests { first, requests } => {
                begins_at(vault.forced, *first, requests)?;
                well_formed(requests.iter().all(|r| r.amount > Cash::ZERO))
            }
            VaultEvent::Crystallised { first, accounts } => {
                begins_at(vault.crystallised, *first, accounts)?;
                well_formed(accounts.iter().all(|a| a.paid >= Cash::ZERO))
            }
            VaultEvent::Anchored {
                block,
                assets,
                paid,
            } => {
                if *block <= vault.anchored {
                    return Err(Reject::NotNext);
                }
                well_formed(*assets >= Cash::ZERO && *paid >= Cash::ZERO)
            }
            VaultEvent::Frozen => Ok(()),
        }
    }

    /// Takes in an event that [`check_vault_event`](Self::check_vault_event) let pass.
    pub(super) fn take_vault_event(
        &mut self,
        chain: SettlementChain,
        event: &VaultEvent,
        events: &mut Vec<Event>,
    ) {
        let Ok(vault) = self.vault_on(chain) else {
            return;
        };
        match event {
            VaultEvent::Deposits { deposits, .. } => {
                for deposit in deposits {
                    self.credit(vault, deposit, events);
                }
            }
            VaultEvent::DepositsUnwound {
                first,
                previous,
                deposits,
            } => {
                if let Some(entry) = self.vaults.get_mut(vault)
                    && let Some(before) = entry.deposits.without(*first, *previous, deposits)
                {
                    entry.deposits = before;
                    for (number, deposit) in (*first..).zip(deposits) {
                        self.unwind(chain, number, deposit, events);
                    }
                }
            }
            VaultEvent::ForcedRequests { requests, .. } => {
                for request in requests {
                    self.answer_forced(vault, request, events);
                }
            }
            VaultEvent::Crystallised { accounts, .. } => {
                for sale in accounts {
                    self.take_crystallisation(vault, sale, events);
                }
            }
            VaultEvent::Anchored {
                block,
                assets,
                paid,
            } => self.anchor(vault, *block, (*assets, *paid), events),
            VaultEvent::Frozen => {
                self.shift(Trigger::VaultFrozen, ModeReason::VaultFrozen, events);
            }
        }
    }

    fn credit(&mut self, vault: usize, deposit: &Deposit, events: &mut Vec<Event>) {
        let (owner, amount) = (deposit.owner, deposit.amount);
        let Some(entry) = self.vaults.get_mut(vault) else {
            return;
        };
        let (chain, number) = (entry.chain(), entry.deposits.cursor);
        let Some(after) = entry.deposits.push(deposit) else {
            return;
        };
        entry.deposits = after;
        let account = self.account_for(owner, events);
        let credited = account.filter(|id| self.ledger.deposit(*id, amount).is_ok());
        if let Some(account) = credited {
            events.push(Event::Deposited {
                account,
                amount,
                chain,
                number,
            });
            return;
        }
        events.push(Event::DepositReturned {
            owner,
            amount,
            chain,
            number,
        });
        let back = Withdrawal {
            owner,
            recipient: owner,
            amount,
        };
        let _ = self.pay_out(vault, None, back, events);
    }

    /// The owner's account, opened if there is none and room for one.
    fn account_for(&mut self, owner: Address, events: &mut Vec<Event>) -> Option<AccountId> {
        if let Some(account) = self.ledger.by_owner(&owner) {
            return Some(account);
        }
        let account = self.ledger.open(owner, MarginModel::Portfolio).ok()?;
        events.push(Event::AccountOpened { account, owner });
        Some(account)
    }

    /// The account owes what it no longer has: what its cash is under zero is the venue's receivable.
    /// Margin ticks treat it as any account under maintenance, and at last it is the fund's.
    fn unwind(
        &mut self,
        chain: SettlementChain,
        number: u64,
        deposit: &Deposit,
        events: &mut Vec<Event>,
    ) {
        // A deposit that was returned left no account, or none with this owner: the fund bears it.
        let owner = self.ledger.by_owner(&deposit.owner);
        let account = owner.unwrap_or(INSURANCE_FUND);
        let owed = self.ledger.unwind(account, deposit.amount);
        events.push(Event::DepositUnwound {
            account,
            amount: deposit.amount,
            chain,
            number,
            owed,
        });
    }

    /// Pays what is free, at most what was asked, after cancelling the account's orders: whoever has to
    /// ask on chain cannot cancel them. The cursor moves whatever is paid.
    fn answer_forced(&mut self, vault: usize, request: &ForcedRequest, events: &mut Vec<Event>) {
        let paid = self.pay_forced(vault, request, events);
        let Some(entry) = self.vaults.get_mut(vault) else {
            return;
        };
        let number = entry.forced;
        entry.forced = number.saturating_add(1);
        events.push(Event::ForcedAnswered {
            chain: entry.chain(),
            number,
            owner: request.owner,
            asked: request.amount,
            paid,
        });
    }

    fn pay_forced(
        &mut self,
        vault: usize,
        request: &ForcedRequest,
        events: &mut Vec<Event>,
    ) -> Cash {
        let account = self.ledger.by_owner(&request.owner);
        let Some(account) = account.filter(|id| !self.is_reserved(*id)) else {
            return Cash::ZERO;
        };
        if self.check_gate(vault).is_err() {
            return Cash::ZERO;
        }
        self.cancel_where(account, CancelReason::User, events, |_, _| true);
        let free = self.free_cash(account).unwrap_or(Cash::ZERO);
        let amount = free.min(request.amount);
        let recipient = match request.recipient == Address::default() {
            true => request.owner,
            false => request.recipient,
        };
        let withdrawal = Withdrawal {
            owner: request.owner,
            recipient,
            amount,
        };
        let paid = amount > Cash::ZERO
            && self
                .pay_out(vault, Some(account), withdrawal, events)
                .is_ok();
        if paid { amount } else { Cash::ZERO }
    }

    /// The fund takes the account over and pays it what the pool paid. An account whose cash is not what
    /// it was in the leaf has gone on since, and the chain's purchase lapses with the next checkpoint:
    /// the venue was there, and its own liquidations decide.
    fn take_crystallisation(
        &mut self,
        vault: usize,
        sale: &Crystallisation,
        events: &mut Vec<Event>,
    ) {
        let Some(entry) = self.vaults.get_mut(vault) else {
            return;
        };
        let (chain, number) = (entry.chain(), entry.crystallised);
        entry.crystallised = number.saturating_add(1);
        let account = sale.account;
        let held = self.ledger.account(account);
        let stands = held.is_some_and(|a| a.cash == sale.cash) && account != INSURANCE_FUND;
        if !stands {
            events.push(Event::CrystallisationLapsed {
                account,
                chain,
                number,
            });
            return;
        }
        let in_liquidation = held.is_some_and(|a| a.liquidation.is_some());
        self.cancel_where(account, CancelReason::Liquidation, events, |_, _| true);
        self.move_to_fund(account);
        self.pay(INSURANCE_FUND, account, sale.paid);
        events.push(Event::AccountCrystallised {
            account,
            chain,
            number,
            cash: sale.cash,
            paid: sale.paid,
        });
        if in_liquidation {
            self.end_liquidation(account, events);
        }
    }

    /// A vault owes its deposits less what it paid; what it holds beyond that is not ours.
    fn anchor(
        &mut self,
        vault: usize,
        block: u64,
        (assets, paid): (Cash, Cash),
        events: &mut Vec<Event>,
    ) {
        let Some(entry) = self.vaults.get_mut(vault) else {
            return;
        };
        let owed = i128::from(entry.deposits.total).saturating_sub(i128::from(paid.get()));
        let held = i128::from(assets.get()) < owed;
        entry.anchored = block;
        let changed = core::mem::replace(&mut entry.short, held) != held;
        if changed {
            events.push(Event::VaultAnchored {
                chain: entry.chain(),
                block,
                assets,
                owed: Cash::new(i64::try_from(owed).unwrap_or(i64::MIN)),
                held,
            });
        }
    }
}

/// That a list begins, or ends, where the cursor stands, and has anything in it.
fn begins_at<T>(cursor: u64, at: u64, list: &[T]) -> Result<(), Reject> {
    well_formed(!list.is_empty())?;
    if at == cursor {
        Ok(())
    } else {
        Err(Reject::NotNext)
    }
}

const fn well_formed(holds: bool) -> Result<(), Reject> {
    if holds {
        Ok(())
    } else {
        Err(Reject::BadProposal)
    }
}
