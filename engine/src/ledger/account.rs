//! One account.

use alloc::boxed::Box;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::{ClientIds, Holding};
use crate::auth::NonceWindow;
use crate::book::prefetch::fetch;
use crate::command::MarketMakerProtection;
use crate::limits::{HOLDINGS_PER_ACCOUNT_MAX, RETIRED_KEYS_MAX, SESSIONS_PER_ACCOUNT_MAX};
use crate::liquidation::LiquidationState;
use crate::reject::Reject;
use crate::types::{Address, Cash, InstrumentId, MarginModel, PublicKey, TimeMs};

/// A trade-only key of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Session {
    /// ed25519 verification key.
    pub key: PublicKey,
    /// Block time from which it is refused.
    pub expires_at: TimeMs,
    /// Nonces it has used.
    pub nonces: NonceWindow,
}

/// Market-maker protection and what was traded in the running interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProtectionState {
    /// The limits.
    pub limits: MarketMakerProtection,
    /// Start of the running interval.
    pub interval_start: TimeMs,
    /// Coin traded in it, 1e-8.
    pub qty: i64,
    /// Signed delta traded in it, 1e-8 coin.
    pub delta: i64,
    /// Signed vega traded in it, 1e-6 USDC a volatility point.
    pub vega: i64,
    /// Quotes are refused until this time.
    pub frozen_until: TimeMs,
}

/// An owner's account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose it is.
    pub owner: Address,
    /// Cash balance; may be negative while options carry the account.
    pub cash: Cash,
    /// Margin rules.
    pub model: MarginModel,
    pub(crate) touched: bool,
    /// Open orders and quotes. Derived from the books, like the next field.
    pub open_orders: u32,
    /// First of its open orders, by slot (`NO_SLOT` for none).
    pub first_order: u32,
    /// Nonces the owner key has used.
    pub owner_nonces: NonceWindow,
    /// Registered session keys.
    pub sessions: Vec<Session>,
    /// First 8 bytes of keys that were removed. They never come back: with a fresh nonce window,
    /// everything such a key ever signed could be replayed.
    pub retired_keys: Vec<u64>,
    /// Positions and open sizes, ascending by instrument.
    pub holdings: Vec<Holding>,
    /// Client order ids.
    pub client_ids: Option<Box<ClientIds>>,
    /// Market-maker protection by underlying.
    pub protection: Vec<ProtectionState>,
    /// Set while the account is in liquidation.
    pub liquidation: Option<Box<LiquidationState>>,
}

impl Account {
    /// An account with nothing in it.
    pub const fn new(owner: Address, model: MarginModel) -> Self {
        Self {
            owner,
            cash: Cash::ZERO,
            model,
            touched: false,
            open_orders: 0,
            first_order: super::NO_SLOT,
            owner_nonces: NonceWindow::new(),
            sessions: Vec::new(),
            retired_keys: Vec::new(),
            holdings: Vec::new(),
            client_ids: None,
            protection: Vec::new(),
            liquidation: None,
        }
    }

    /// Asks the processor to fetch the account itself.
    #[inline]
    pub(crate) fn prefetch(&self) {
        fetch(Some(&self.cash));
        fetch(Some(&self.owner_nonces));
        fetch(Some(&self.holdings));
        fetch(Some(&self.client_ids));
    }

    /// With the account fetched: its keys, and where the search for a holding begins.
    #[inline]
    pub(crate) fn prefetch_within(&self) {
        fetch(self.sessions.first());
        let len = self.holdings.len();
        for part in 1..8usize {
            fetch(self.holdings.get(len.wrapping_mul(part) >> 3));
        }
    }

    /// The first of its holdings, as far as the processor can fetch at once.
    #[inline]
    pub(crate) fn prefetch_holdings(&self) {
        let first = self.holdings.iter().take(10);
        first.for_each(|holding| fetch(Some(holding)));
    }

    /// The account's stake in an instrument.
    pub fn holding(&self, instrument: InstrumentId) -> Option<&Holding> {
        let at = self
            .holdings
            .binary_search_by_key(&instrument, |h| h.instrument)
            .ok()?;
        self.holdings.get(at)
    }

    /// The account's stake in an instrument, for changing.
    pub fn holding_mut(&mut self, instrument: InstrumentId) -> Option<&mut Holding> {
        let at = self
            .holdings
            .binary_search_by_key(&instrument, |h| h.instrument)
            .ok()?;
        self.holdings.get_mut(at)
    }

    /// The account's stake in an instrument, made if there is none.
    ///
    /// # Errors
    /// [`Reject::TooManyHoldings`] at `HOLDINGS_PER_ACCOUNT_MAX`.
    pub fn holding_or_new(&mut self, instrument: InstrumentId) -> Result<&mut Holding, Reject> {
        let at = match self
            .holdings
            .binary_search_by_key(&instrument, |h| h.instrument)
        {
            Ok(at) => at,
            Err(_) if self.holdings.len() >= HOLDINGS_PER_ACCOUNT_MAX => {
                return Err(Reject::TooManyHoldings);
            }
            Err(at) => {
                self.holdings.insert(at, Holding::new(instrument));
                at
            }
        };
        self.holdings.get_mut(at).ok_or(Reject::TooManyHoldings)
    }

    /// Whether the account has, or may get, a stake in the instrument.
    pub fn can_hold(&self, instrument: InstrumentId) -> bool {
        self.holdings.len() < HOLDINGS_PER_ACCOUNT_MAX || self.holding(instrument).is_some()
    }

    /// Drops the stake in an instrument if nothing is left of it.
    pub fn forget_if_empty(&mut self, instrument: InstrumentId) {
        if let Ok(at) = self
            .holdings
            .binary_search_by_key(&instrument, |h| h.instrument)
            && self.holdings.get(at).is_some_and(Holding::is_empty)
        {
            self.holdings.remove(at);
        }
    }

    /// The session with this key.
    pub fn session_mut(&mut self, key: &PublicKey) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.key == *key)
    }

    /// Registers a session key, or moves its expiry.
    ///
    /// # Errors
    /// [`Reject::SessionRetired`] for a key that was removed before, [`Reject::TooManySessions`] at
    /// `SESSIONS_PER_ACCOUNT_MAX` keys that have not expired.
    pub fn register(
        &mut self,
        key: PublicKey,
        expires_at: TimeMs,
        now: TimeMs,
    ) -> Result<(), Reject> {
        if let Some(session) = self.session_mut(&key) {
            session.expires_at = expires_at;
            return Ok(());
        }
        if self.retired_keys.contains(&fingerprint(&key)) {
            return Err(Reject::SessionRetired);
        }
        if self.sessions.len() >= SESSIONS_PER_ACCOUNT_MAX {
            let expired = self
                .sessions
                .iter()
                .find(|s| s.expires_at <= now)
                .map(|s| s.key);
            self.revoke(&expired.ok_or(Reject::TooManySessions)?)?;
        }
        self.sessions.push(Session {
            key,
            expires_at,
            nonces: NonceWindow::default(),
        });
        Ok(())
    }

    /// Removes a session key for good.
    ///
    /// # Errors
    /// [`Reject::UnknownSession`], or [`Reject::TooManySessions`] after `RETIRED_KEYS_MAX` removals.
    pub fn revoke(&mut self, key: &PublicKey) -> Result<(), Reject> {
        let at = self
            .sessions
            .iter()
            .position(|s| s.key == *key)
            .ok_or(Reject::UnknownSession)?;
        if self.retired_keys.len() >= RETIRED_KEYS_MAX {
            return Err(Reject::TooManySessions);
        }
        self.sessions.remove(at);
        self.retired_keys.push(fingerprint(key));
        Ok(())
    }
}

fn fingerprint(key: &PublicKey) -> u64 {
    key.0
        .first_chunk()
        .map_or(0, |head| u64::from_le_bytes(*head))
}

/// The canonical bytes of an account's leaf: everything but what follows from the books.
impl BorshSerialize for Account {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.owner.serialize(writer)?;
        self.cash.serialize(writer)?;
        self.model.serialize(writer)?;
        self.owner_nonces.serialize(writer)?;
        self.sessions.serialize(writer)?;
        self.retired_keys.serialize(writer)?;
        self.holdings.serialize(writer)?;
        self.client_ids.serialize(writer)?;
        self.protection.serialize(writer)?;
        self.liquidation.serialize(writer)
    }
}

impl BorshDeserialize for Account {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Ok(Self {
            owner: BorshDeserialize::deserialize_reader(reader)?,
            cash: BorshDeserialize::deserialize_reader(reader)?,
            model: BorshDeserialize::deserialize_reader(reader)?,
            touched: false,
            open_orders: 0,
            first_order: super::NO_SLOT,
            owner_nonces: BorshDeserialize::deserialize_reader(reader)?,
            sessions: BorshDeserialize::deserialize_reader(reader)?,
            retired_keys: BorshDeserialize::deserialize_reader(reader)?,
            holdings: BorshDeserialize::deserialize_reader(reader)?,
            client_ids: BorshDeserialize::deserialize_reader(reader)?,
            protection: BorshDeserialize::deserialize_reader(reader)?,
            liquidation: BorshDeserialize::deserialize_reader(reader)?,
        })
    }
}
