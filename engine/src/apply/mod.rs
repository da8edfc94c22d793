//! The state machine itself: permit → hold → match → settle → re-margin.
//!
//! **Owns** the [`Engine`], the only place that sees every part at once. Each part computes; this
//! module decides first and changes state after, so that a refused command leaves no trace but its
//! reject and its spent nonce. **Never** reads anything but its own state and the block.
//!
//! Invariants: I1–I8.

mod amend;
mod attest;
mod auction;
mod breakers;
mod cancel;
mod day;
mod drags;
mod exits;
mod expiry;
mod fills;
mod foresee;
mod genesis;
mod grace;
mod liquidate;
mod listing;
mod margin;
mod market;
mod observe;
mod place;
mod protection;
mod quote;
mod ranking;
mod reopen;
mod roots;
mod snapshot;
#[cfg(feature = "unchecked")]
mod stages;
mod users;
mod vaults;
mod views;
mod volatility;
mod waterfall;
mod withdraw;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use exits::ExitReader;
pub use genesis::GenesisError;
pub use ranking::TearUpRank;
pub use roots::StatePart;
pub use snapshot::{SNAPSHOT_VERSION, SnapshotError};
pub use views::{BookLevel, MarginSummary, OrderView};

use crate::auction::Auctions;
use crate::auth::NonceWindow;
use crate::block::{Advanced, Applied, Block, CheckedCommand, Signer};
use crate::book::Books;
use crate::breakers::{Circuit, VenueWatch};
use crate::command::Command;
use crate::event::{Event, emit};
use crate::instrument::Instruments;
use crate::ledger::Ledger;
use crate::modes::ModeState;
use crate::orders::OrderTable;
use crate::outage::OutageGate;
use crate::params::Parameters;
use crate::pricing::Surface;
use crate::reject::Reject;
use crate::settlement::{IndexFeed, Samples};
use crate::types::{AccountId, ChainId, Digest, Height, PublicKey, TimeMs, UnderlyingId};
use crate::vault::VaultState;

/// The insurance fund's account: the first, with no owner key.
pub const INSURANCE_FUND: AccountId = AccountId::new(0);

/// The venue.
pub struct Engine {
    chain: ChainId,
    validators: Vec<PublicKey>,
    parameters: Parameters,
    height: Height,
    time: TimeMs,
    events_emitted: u64,
    trades: u64,
    mode: ModeState,
    ledger: Ledger,
    instruments: Instruments,
    books: Books,
    orders: OrderTable,
    /// By underlying id.
    feeds: Vec<IndexFeed>,
    /// The settlement stablecoin's.
    stable: IndexFeed,
    /// By underlying id.
    gates: Vec<OutageGate>,
    samples: BTreeMap<(UnderlyingId, TimeMs), Samples>,
    surfaces: BTreeMap<(UnderlyingId, TimeMs), Surface>,
    validator_nonces: Vec<NonceWindow>,
    attestations: attest::Attestations,
    /// In the order of the parameters.
    vaults: Vec<VaultState>,
    /// The account of the operator's stake; derived.
    stake: Option<AccountId>,
    auctions: Auctions,
    quarantined: Vec<(Height, u32)>,
    /// By underlying id.
    circuits: Vec<Circuit>,
    venue_watch: VenueWatch,
    margin: margin::MarginEngine,
    roots: roots::Roots,
    scratch: fills::Scratch,
}

/// A block that cannot be applied. The state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The block's height is not one more than the last.
    WrongHeight {
        /// What the engine waits for.
        expected: Height,
        /// What came.
        found: Height,
    },
}

impl core::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::WrongHeight { expected, found } => {
                write!(
                    f,
                    "block at height {found} where {expected} comes next; nothing was applied"
                )
            }
        }
    }
}

impl core::error::Error for ApplyError {}

impl Engine {
    /// Applies the next block and appends what happened to `events`: first the block's own events
    /// (modes, index, expiries, liquidations), then for each command its verdict followed by what
    /// it caused.
    ///
    /// # Errors
    /// [`ApplyError::WrongHeight`] when the block is not the next one.
    pub fn apply(&mut self, block: &Block, events: &mut Vec<Event>) -> Result<Applied, ApplyError> {
        let advanced = self.advance(block, events)?;
        Ok(advanced.with_root(self.commit()))
    }

    /// [`apply`](Self::apply) without the state root, for whoever follows blocks whose roots others
    /// compare: one [`commit`](Self::commit) over many blocks hashes once what they all touched.
    /// [`state_root`](Self::state_root) and proofs stay at the last commit.
    ///
    /// # Errors
    /// [`ApplyError::WrongHeight`] when the block is not the next one.
    pub fn advance(
        &mut self,
        block: &Block,
        events: &mut Vec<Event>,
    ) -> Result<Advanced, ApplyError> {
        let expected = self.height.next();
        if block.height != expected {
            return Err(ApplyError::WrongHeight {
                expected,
                found: block.height,
            });
        }
        let before = events.len();
        self.begin_block(block, events);
        self.run_all(&block.commands, events);
        self.open_accounts_of_day();
        let first_event = self.events_emitted.saturating_add(1);
        let emitted = u64::try_from(events.len().saturating_sub(before)).unwrap_or(0);
        self.events_emitted = self.events_emitted.saturating_add(emitted);
        Ok(Advanced {
            height: self.height,
            time: self.time,
            first_event,
            mode: self.mode.mode,
        })
    }

    /// Puts a command on the quarantine list: when its block is applied it is skipped and the venue
    /// goes into CLEARING_ONLY. The list is part of the state, so every replica must hold the same.
    pub fn quarantine(&mut self, height: Height, index: u32) {
        if !self.quarantined.contains(&(height, index)) {
            self.quarantined.push((height, index));
            self.quarantined.sort_unstable();
        }
    }

    fn begin_block(&mut self, block: &Block, events: &mut Vec<Event>) {
        let gap_ms = block.time.since(self.time);
        self.height = block.height;
        self.time = self.time.max(block.time);
        self.watch_gap(gap_ms, events);
        self.climb(block.agreed.as_ref(), events);
        self.climb_underlyings(block.agreed.as_ref(), events);
        self.expire_orders(events);
        self.tick_markets(events);
        self.watch_venue(events);
        self.turn_day(events);
        self.settle_expiries(events);
        self.roll_listings(events);
        self.run_liquidations(events);
        self.run_auctions(events);
    }

    fn run_all(&mut self, commands: &[CheckedCommand], events: &mut Vec<Event>) {
        for (index, command) in (0u32..).zip(commands) {
            self.foresee(commands, index);
            self.run(index, command, events);
        }
    }

    fn run(&mut self, index: u32, command: &CheckedCommand, events: &mut Vec<Event>) {
        if self.quarantined.contains(&(self.height, index)) {
            events.push(Event::CommandQuarantined { index });
            self.fault(index, events);
            return;
        }
        let at = events.len();
        emit(events, || Event::CommandApplied { index });
        if let Err(reject) = self.execute(command, events) {
            events.truncate(at);
            events.push(Event::CommandRejected { index, reject });
        }
    }

    fn execute(&mut self, command: &CheckedCommand, events: &mut Vec<Event>) -> Result<(), Reject> {
        match (command.command(), command.signer_ref()) {
            (Command::User(user), signer) => self.execute_user(user, signer, events),
            (Command::Validator(validator), Some(Signer::Validator(key))) => {
                self.execute_validator(&validator.payload, *key, events)
            }
            (Command::Validator(_), _) => Err(Reject::BadSignature),
        }
    }

    /// The root of the state at the last commit: after the last applied block, unless blocks were
    /// only advanced since.
    pub fn state_root(&self) -> Digest {
        self.roots.state_root()
    }
}
