//! One account.

use alloc::boxed::Box;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::{ClientIds, Holding, Holdings};
use crate::auth::NonceWindow;
use crate::book::prefetch::fetch;
use crate::command::MarketMakerProtection;
use crate::limits::{HOLDINGS_PER_ACCOUNT_MAX, RETIRED_KEYS_MAX, SESSIONS_PER_ACCOUNT_MAX};
use crate::liquidation::LiquidationState;
use crate::reject::Reject;
use crate::types::{Address, Cash, Digest, InstrumentId, MarginModel, PublicKey, TimeMs};

/// A trade-only key of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[repr(align(64))]
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
///
/// The first cache line has what every command reads, the second leads to the stakes.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Account {
    /// Cash balance; may be negative while options carry the account.
    pub cash: Cash,
    /// Registered session keys.
    pub sessions: Vec<Session>,
    /// Open orders and quotes. Derived from the books, like the next field.
    pub open_orders: u32,
    /// First of its open orders, by slot (`NO_SLOT` for none).
    pub first_order: u32,
    /// Set while the account is in liquidation.
    pub liquidation: Option<Box<LiquidationState>>,
    /// Client order ids.
    pub client_ids: Option<Box<ClientIds>>,
    /// Margin rules.
    pub model: MarginModel,
    pub(crate) touched: bool,
    /// The day that `day_open` is of.
    pub(crate) day: u32,
    /// Positions and open sizes by instrument.
    pub holdings: Holdings,
    /// Nonces the owner key has used.
    pub owner_nonces: NonceWindow,
    /// Whose it is.
    pub owner: Address,
    /// First 8 bytes of keys that were removed. They never come back: with a fresh nonce window,
    /// everything such a key ever signed could be replayed.
    pub retired_keys: Vec<u64>,
    /// Market-maker protection by underlying.
    pub protection: Vec<ProtectionState>,
    /// What it was worth when the day began, and what came in since less what went out.
    pub(crate) day_open: Cash,
    /// Beginning of the last outage in which it was given grace.
    pub(crate) grace_of: TimeMs,
}

const _: () = assert!(
    size_of::<Account>() == 256
        && core::mem::offset_of!(Account, day) < 64
        && core::mem::offset_of!(Account, holdings) == 64
        && size_of::<Session>() == 64
);

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
            holdings: Holdings::new(),
            client_ids: None,
            protection: Vec::new(),
            liquidation: None,
            day: 0,
            day_open: Cash::ZERO,
            grace_of: TimeMs::new(0),
        }
    }

    /// Asks the processor to fetch the account itself.
    #[inline]
    pub(crate) fn prefetch(&self) {
        fetch(Some(&self.cash));
        fetch(Some(&self.holdings));
    }

    /// With the account fetched: its first key.
    #[inline]
    pub(crate) fn prefetch_session(&self) {
        fetch(self.sessions.first());
    }

    /// The first of its holdings, as far as the processor can fetch at once.
    #[inline]
    pub(crate) fn prefetch_holdings(&self) {
        let first = self.holdings.iter().take(10);
        first.for_each(|holding| fetch(Some(holding)));
    }

    /// The account's stake in an instrument.
    #[inline]
    pub fn holding(&self, instrument: InstrumentId) -> Option<&Holding> {
        self.holdings.get(instrument)
    }

    /// The account's stake in an instrument, for changing.
    #[inline]
    pub fn holding_mut(&mut self, instrument: InstrumentId) -> Option<&mut Holding> {
        self.holdings.get_mut(instrument)
    }

    /// The account's stake in an instrument, made if there is none.
    ///
    /// # Errors
    /// [`Reject::TooManyHoldings`] at `HOLDINGS_PER_ACCOUNT_MAX`.
    #[inline]
    pub fn holding_or_new(&mut self, instrument: InstrumentId) -> Result<&mut Holding, Reject> {
        let holding = self.holdings.get_or_new(instrument);
        holding.ok_or(Reject::TooManyHoldings)
    }

    /// Whether the account has, or may get, a stake in the instrument.
    pub fn can_hold(&self, instrument: InstrumentId) -> bool {
        self.holdings.len() < HOLDINGS_PER_ACCOUNT_MAX || self.holding(instrument).is_some()
    }

    /// Drops the stake in an instrument if nothing is left of it.
    #[inline]
    pub fn forget_if_empty(&mut self, instrument: InstrumentId) {
        if self.holding(instrument).is_some_and(Holding::is_empty) {
            self.holdings.remove(instrument);
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

/// What an account's leaf commits to.
///
/// The leaf's message is a *head* followed by the digests of its *parts*: the chunks of its stakes,
/// then those of its ended client order ids. The head ends in how many stakes there are and how many
/// ids ever ended, so that it says what the digests are of.
impl Account {
    /// Appends the head.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) {
        let ended = self.client_ids.as_ref().map_or(0, |ids| ids.ended());
        let stakes = self.holdings.len() as u32;
        let _ = self.write_own(out);
        let _ = (stakes, ended).serialize(out);
    }

    /// Appends the digests of its parts, current after a root.
    pub(crate) fn write_part_digests(&self, out: &mut Vec<u8>) {
        let ids = self
            .client_ids
            .as_ref()
            .map_or(&[][..], |ids| ids.digests());
        for digests in [self.holdings.digests(), ids] {
            out.reserve(digests.len().saturating_mul(size_of::<Digest>()));
            for digest in digests {
                out.extend_from_slice(&digest.0);
            }
        }
    }

    /// Its parts' bytes.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let stakes = 0..self.holdings.chunks().count();
        let ids = 0..self.client_ids.as_ref().map_or(0, |ids| ids.chunks());
        let parts = stakes.map(AccountPart::Holdings);
        let parts = parts.chain(ids.map(AccountPart::ClientIds));
        let bytes = |part| {
            let mut bytes = Vec::new();
            self.write_part(part, &mut bytes);
            bytes
        };
        parts.map(bytes).collect()
    }

    /// The parts that changed since the last call, which count as hashed from now on.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = AccountPart> + use<> {
        let ids = self.client_ids.as_mut().map(|ids| ids.take_changed());
        let stakes = self.holdings.take_changed().map(AccountPart::Holdings);
        stakes.chain(ids.into_iter().flatten().map(AccountPart::ClientIds))
    }

    /// Appends a part's bytes.
    pub(crate) fn write_part(&self, part: AccountPart, out: &mut Vec<u8>) {
        match (part, &self.client_ids) {
            (AccountPart::Holdings(chunk), _) => self.holdings.write_chunk(chunk, out),
            (AccountPart::ClientIds(chunk), Some(ids)) => ids.write_chunk(chunk, out),
            (AccountPart::ClientIds(_), None) => {}
        }
    }

    /// Keeps a part's digest.
    pub(crate) fn set_part_digest(&mut self, part: AccountPart, digest: Digest) {
        match (part, &mut self.client_ids) {
            (AccountPart::Holdings(chunk), _) => self.holdings.set_digest(chunk, digest),
            (AccountPart::ClientIds(chunk), Some(ids)) => ids.set_digest(chunk, digest),
            (AccountPart::ClientIds(_), None) => {}
        }
    }

    /// What is neither a stake nor a client order id, and does not follow from the books.
    fn write_own<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.owner.serialize(writer)?;
        self.cash.serialize(writer)?;
        self.model.serialize(writer)?;
        self.owner_nonces.serialize(writer)?;
        self.sessions.serialize(writer)?;
        self.retired_keys.serialize(writer)?;
        self.protection.serialize(writer)?;
        self.liquidation.serialize(writer)?;
        (self.day, self.day_open, self.grace_of).serialize(writer)
    }
}

/// A part of an account's leaf that is hashed alone, by its chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccountPart {
    Holdings(usize),
    ClientIds(usize),
}

/// The whole account as snapshots keep it: everything but what follows from the books.
impl BorshSerialize for Account {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.write_own(writer)?;
        self.holdings.serialize(writer)?;
        self.client_ids.serialize(writer)
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
            protection: BorshDeserialize::deserialize_reader(reader)?,
            liquidation: BorshDeserialize::deserialize_reader(reader)?,
            day: BorshDeserialize::deserialize_reader(reader)?,
            day_open: BorshDeserialize::deserialize_reader(reader)?,
            grace_of: BorshDeserialize::deserialize_reader(reader)?,
            holdings: BorshDeserialize::deserialize_reader(reader)?,
            client_ids: BorshDeserialize::deserialize_reader(reader)?,
        })
    }
}
