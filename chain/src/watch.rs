//! What a validator says next of its vault.
//!
//! **Owns** the comparison of what the engine has taken in with what the chain's final block shows, and
//! which event of each kind follows. **Never** says twice in a row what has been taken in, or what is not
//! final. Every look starts from the engine's own cursors, so that a lost attestation comes again and one
//! that others made in the meantime does not.

use std::collections::VecDeque;

use lifeboat_engine::command::VaultEvent;
use lifeboat_engine::types::Cash;
use lifeboat_engine::vault::VaultState;
use lifeboat_proof::exit::DepositChain;

use crate::attested::{crystallisations, deposit_events, holdings, requests};
use crate::deposits::{DepositWatcher, Observed, Unwind};
use crate::port::ChainError;
use crate::vault::Vault;

/// How far the engine has taken a vault's events in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Deposits.
    pub deposits: DepositChain,
    /// Requests for forced withdrawal.
    pub forced: u64,
    /// Crystallisations.
    pub crystallised: u64,
    /// The block at which holdings were last looked at.
    pub anchored: u64,
    /// The engine knows that the vault is frozen.
    pub frozen: bool,
}

impl Known {
    /// Of an engine's vault.
    pub const fn of(vault: &VaultState, frozen: bool) -> Self {
        Self {
            deposits: vault.deposits,
            forced: vault.forced,
            crystallised: vault.crystallised,
            anchored: vault.anchored,
            frozen,
        }
    }
}

/// One validator's eye on a vault.
pub struct VaultWatch {
    vault: Vault,
    deposits: DepositWatcher,
    /// Deposits that were seen and not taken in yet.
    waiting: VecDeque<(u64, VaultEvent)>,
    /// Deposits that are gone again.
    lost: Option<Unwind>,
    /// The holdings last seen and the block at which they were seen first.
    held: Option<((Cash, Cash), u64)>,
}

impl VaultWatch {
    /// Watches from what the engine has credited; `since` is a block before the vault's next deposit.
    pub fn new(vault: Vault, credited: DepositChain, since: u64) -> Self {
        Self {
            deposits: DepositWatcher::new(vault.clone(), credited, since),
            vault,
            waiting: VecDeque::new(),
            lost: None,
            held: None,
        }
    }

    /// What follows on what the engine knows: at most one event of a kind.
    ///
    /// # Errors
    /// See [`ChainError`]. The next look starts anew.
    pub async fn look(&mut self, known: &Known) -> Result<Vec<VaultEvent>, ChainError> {
        if known.frozen {
            return Ok(Vec::new());
        }
        let at = self.vault.port().finalized().await?;
        let state = holdings(&self.vault, at).await?;
        let mut events = Vec::new();
        events.extend(self.next_deposits(known).await?);
        let asked = requests(&self.vault, at, known.forced).await?;
        events.extend(asked.into_iter().next());
        let sold = crystallisations(&self.vault, at, known.crystallised).await?;
        events.extend(sold.into_iter().next());
        events.extend(self.holdings(known, state));
        Ok(events)
    }

    async fn next_deposits(&mut self, known: &Known) -> Result<Option<VaultEvent>, ChainError> {
        let observed = self.deposits.poll().await?;
        match observed {
            None => {}
            Some(Observed::Unwound(unwind)) => {
                let standing = unwind.standing.cursor;
                self.waiting.retain(|(first, _)| *first < standing);
                self.lost = Some(unwind);
            }
            Some(observed) => {
                let events = deposit_events(&observed).into_iter();
                let numbered = events.filter_map(|event| Some((first_of(&event)?, event)));
                self.waiting.extend(numbered);
            }
        }
        let cursor = known.deposits.cursor;
        if let Some(unwind) = &self.lost {
            let credited = cursor.saturating_sub(unwind.standing.cursor);
            let credited = usize::try_from(credited).unwrap_or(usize::MAX);
            if credited > 0 {
                // The engine may not have credited all of them.
                let mut lost = unwind.clone();
                lost.lost.truncate(credited);
                let events = deposit_events(&Observed::Unwound(lost));
                return Ok(events.into_iter().next());
            }
            self.lost = None;
        }
        while self
            .waiting
            .front()
            .is_some_and(|(first, _)| *first < cursor)
        {
            self.waiting.pop_front();
        }
        let next = self.waiting.front().filter(|(first, _)| *first == cursor);
        Ok(next.map(|(_, event)| event.clone()))
    }

    /// Holdings are said again until the engine knows of a block at which they were these.
    fn holdings(&mut self, known: &Known, state: VaultEvent) -> Option<VaultEvent> {
        let VaultEvent::Anchored {
            block,
            assets,
            paid,
        } = state
        else {
            return Some(state);
        };
        let now = (assets, paid);
        let since = match self.held {
            Some((before, since)) if before == now => since,
            _ => block,
        };
        self.held = Some((now, since));
        (known.anchored < since && known.anchored < block).then_some(state)
    }
}

const fn first_of(event: &VaultEvent) -> Option<u64> {
    match event {
        VaultEvent::Deposits { first, .. } => Some(*first),
        _ => None,
    }
}
