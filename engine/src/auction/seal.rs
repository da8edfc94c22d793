//! How an order is sealed: encrypted to a signature that does not exist before the auction has closed.
//!
//! Identity-based encryption over BLS12-381 (commonware's `tle`, Boneh-Franklin with the Fujisaki-Okamoto
//! transform): whoever has the group's public key encrypts to a target, and the group's signature over
//! that target is the key that opens it. **Owns** the target's bytes, the plaintext's layout and the two
//! checks that need a pairing. It **never** signs; [`seal`] is for clients, with randomness of theirs.
//!
//! An order fits the 32 bytes that the scheme takes, so every ciphertext has the same size and there is
//! nothing else to hide. Account and nonce are part of it: a ciphertext that somebody copied opens, and
//! is then not theirs.

use borsh::{BorshDeserialize, BorshSerialize};
use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_cryptography::bls12381::primitives::{
    ops,
    variant::{MinSig, Variant},
};
use commonware_cryptography::bls12381::tle;
use rand_core::CryptoRng;

use crate::types::{
    AccountId, ChainId, InstrumentId, Lots, Nonce, PriceTicks, RecoveryPolicy, SelfTradePrevention,
    Side, TimeMs,
};

/// Namespace of the validators' signatures over targets. Consensus signs under others, so no vote ever
/// opens a seal and no opening is ever a vote.
pub const SEAL_NAMESPACE: &[u8] = b"LIFEBOAT_AUCTION_SEAL_1";
/// Bytes of a sealed order: a point of G2 and two blocks.
pub const CIPHERTEXT_BYTES: usize = 160;
/// Bytes of what is sealed.
pub const PLAINTEXT_BYTES: usize = 32;
/// Bytes of a target: chain, auction, when it began.
pub const TARGET_BYTES: usize = 48;

/// The layout's version, its first byte.
const VERSION: u8 = 1;
const SELL: u8 = 1;
const IMMEDIATE: u8 = 2;
const KEEP: u8 = 4;
const REDUCE_ONLY: u8 = 8;
/// Two bits of the self-trade rule.
const SELF_TRADE_SHIFT: u32 = 4;

/// The validators' group key: a point of G2, compressed. Resharing keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SealKey(pub [u8; 96]);

/// The group's signature over a target: a point of G1, compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SealSignature(pub [u8; 48]);

/// A ciphertext that the signature does not open, or not into an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealBroken;

/// What the validators sign to open the seals of an auction: chain, the auction's number and the block
/// time of its beginning, integers little-endian. A venue rebuilt from before the auction begins it at
/// another time, so an old signature opens nothing of the new one.
pub fn seal_target(chain: &ChainId, auction: u64, began_at: TimeMs) -> [u8; TARGET_BYTES] {
    let mut target = [0; TARGET_BYTES];
    let (head, began) = target.split_at_mut(40);
    let (venue, number) = head.split_at_mut(32);
    venue.copy_from_slice(&chain.0);
    number.copy_from_slice(&auction.to_le_bytes());
    began.copy_from_slice(&began_at.get().to_le_bytes());
    target
}

impl SealKey {
    /// Whether it is a key at all: a point of the group and not the identity, to which anybody could
    /// sign.
    pub fn is_sound(&self) -> bool {
        self.point().is_some()
    }

    fn point(&self) -> Option<<MinSig as Variant>::Public> {
        <MinSig as Variant>::Public::decode(Copying(&self.0)).ok()
    }
}

/// Seals an order to a target: what [`SealOrder`](crate::command::SealOrder) carries. `None` where the key
/// is none.
pub fn seal(
    rng: &mut impl CryptoRng,
    key: &SealKey,
    target: &[u8; TARGET_BYTES],
    terms: &SealedTerms,
) -> Option<[u8; CIPHERTEXT_BYTES]> {
    let block = tle::Block::new(terms.encode());
    let target = (SEAL_NAMESPACE, target.as_slice());
    let sealed = tle::encrypt::<_, MinSig>(rng, key.point()?, target, &block).ok()?;
    <[u8; CIPHERTEXT_BYTES]>::try_from(sealed.encode().as_ref()).ok()
}

/// Whether a signature opens the seals of a target.
pub fn verify_opening(
    key: &SealKey,
    target: &[u8; TARGET_BYTES],
    signature: &SealSignature,
) -> bool {
    let signed = <MinSig as Variant>::Signature::decode(Copying(&signature.0)).ok();
    let (Some(key), Some(signed)) = (key.point(), signed) else {
        return false;
    };
    ops::verify_message::<MinSig>(&key, SEAL_NAMESPACE, target, &signed).is_ok()
}

/// Opens a seal with the signature over its target, which must have been verified.
///
/// # Errors
/// [`SealBroken`] when the ciphertext was not made for that target, or by this scheme, or holds no order.
pub fn open(
    signature: &SealSignature,
    ciphertext: &[u8; CIPHERTEXT_BYTES],
) -> Result<SealedTerms, SealBroken> {
    let signed = <MinSig as Variant>::Signature::decode(Copying(&signature.0));
    let sealed = tle::Ciphertext::<MinSig>::decode(Copying(ciphertext));
    let (Ok(signed), Ok(sealed)) = (signed, sealed) else {
        return Err(SealBroken);
    };
    let block = tle::decrypt::<MinSig>(&signed, &sealed).ok_or(SealBroken)?;
    let plaintext = <[u8; PLAINTEXT_BYTES]>::try_from(block.encode().as_ref());
    SealedTerms::decode(&plaintext.map_err(|_| SealBroken)?)
}

/// An order as it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedTerms {
    /// Whose it is.
    pub account: AccountId,
    /// The nonce of the command that carries it.
    pub nonce: Nonce,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// The worst price it trades at.
    pub price: PriceTicks,
    /// How much.
    pub lots: Lots,
    /// What the auction does not trade rests afterwards; else it is cancelled.
    pub rests: bool,
    /// It may only bring the position nearer to zero.
    pub reduce_only: bool,
    /// What happens to it after another outage.
    pub recovery: RecoveryPolicy,
    /// What happens when it meets an order of its own account.
    pub self_trade: SelfTradePrevention,
}

impl SealedTerms {
    /// Its bytes: version, flags, account, nonce, instrument, price, lots, each little-endian, then
    /// zeros.
    pub fn encode(&self) -> [u8; PLAINTEXT_BYTES] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.side == Side::Sell, SELL)
            | bit(!self.rests, IMMEDIATE)
            | bit(self.recovery == RecoveryPolicy::Keep, KEEP)
            | bit(self.reduce_only, REDUCE_ONLY)
            | ((self.self_trade as u8) << SELF_TRADE_SHIFT);
        let mut bytes = [0; PLAINTEXT_BYTES];
        let fields = [VERSION, flags]
            .into_iter()
            .chain(self.account.get().to_le_bytes())
            .chain(self.nonce.get().to_le_bytes())
            .chain(self.instrument.get().to_le_bytes())
            .chain(self.price.get().to_le_bytes())
            .chain(self.lots.get().to_le_bytes());
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        bytes
    }

    /// The order in these bytes.
    ///
    /// # Errors
    /// [`SealBroken`] for every other bytes than an order encodes to.
    pub fn decode(bytes: &[u8; PLAINTEXT_BYTES]) -> Result<Self, SealBroken> {
        let [version, flags, ..] = *bytes;
        let word = |at: usize| {
            let found = bytes.get(at..at.saturating_add(4));
            let found = found.and_then(|b| <[u8; 4]>::try_from(b).ok());
            found.map_or(0, u32::from_le_bytes)
        };
        let self_trade = SelfTradePrevention::ALL.get(usize::from(flags >> SELF_TRADE_SHIFT));
        let terms = Self {
            account: AccountId::new(word(2)),
            nonce: Nonce::new(u64::from(word(6)) | (u64::from(word(10)) << 32)),
            instrument: InstrumentId::new(word(14)),
            side: if flags & SELL == 0 {
                Side::Buy
            } else {
                Side::Sell
            },
            price: PriceTicks::new(word(18)),
            lots: Lots::new(word(22)),
            rests: flags & IMMEDIATE == 0,
            reduce_only: flags & REDUCE_ONLY != 0,
            recovery: if flags & KEEP == 0 {
                RecoveryPolicy::Cancel
            } else {
                RecoveryPolicy::Keep
            },
            self_trade: *self_trade.ok_or(SealBroken)?,
        };
        if version == VERSION && terms.encode() == *bytes {
            Ok(terms)
        } else {
            Err(SealBroken)
        }
    }
}
