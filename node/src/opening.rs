//! A validator's part in opening an auction's seals.
//!
//! **Owns** the share of the signature that this validator gives and the making of the signature from
//! enough shares. It reads an engine that has executed finalized blocks only, so an auction that is closed
//! there has a final closing block: no share ever leaves for an auction that can still change, nor for any
//! height that closes none. **Never** decides about orders, and never trusts a share: each is checked
//! against the public polynomial.
//!
//! Shares are kept by the engine, so a validator that was away, or came by a snapshot, makes the signature
//! from the state like everybody else.

use std::collections::BTreeMap;

use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::ops::threshold;
use commonware_cryptography::bls12381::primitives::sharing::Sharing;
use commonware_cryptography::bls12381::primitives::variant::{MinSig, PartialSignature, Variant};
use commonware_parallel::Sequential;
use commonware_utils::Participant;
use lifeboat_engine::Engine;
use lifeboat_engine::auction::{
    Auction, Phase, SEAL_NAMESPACE, SealKey, SealSignature, seal_target,
};
use lifeboat_engine::command::Report;
use lifeboat_engine::types::{ChainId, Height, ValidatorId};

use crate::consensus::Identity;

/// Blocks after which what was said and not taken in is said again.
const AGAIN_BLOCKS: u64 = 10;

type Partial = PartialSignature<MinSig>;

/// Gives this validator's shares, and makes signatures of everybody's.
#[derive(Debug)]
pub struct Opener {
    chain: ChainId,
    share: Share,
    polynomial: Sharing<MinSig>,
    /// When something was said last, by auction and whether it was the signature.
    said: BTreeMap<(u64, bool), Height>,
}

/// The venue's signing key as orders are sealed to it.
pub fn seal_key(polynomial: &Sharing<MinSig>) -> Option<SealKey> {
    let bytes = polynomial.public().encode();
    <[u8; 96]>::try_from(bytes.as_ref()).ok().map(SealKey)
}

impl Opener {
    /// With a validator's share of the signing key.
    pub fn new(chain: ChainId, identity: &Identity) -> Self {
        Self {
            chain,
            share: identity.share.clone(),
            polynomial: identity.polynomial.clone(),
            said: BTreeMap::new(),
        }
    }

    /// What this validator has to say after a block: its share of every auction that is closed, and the
    /// signature where there are enough good shares.
    pub fn reports(&mut self, engine: &Engine, me: ValidatorId) -> Vec<Report> {
        let now = engine.height();
        let closed = engine.auctions().iter().map(|(_, auction)| auction);
        let closed: Vec<&Auction> = closed
            .filter(|auction| matches!(auction.phase, Phase::Closed { .. }))
            .collect();
        self.said
            .retain(|(auction, _), _| closed.iter().any(|one| one.number == *auction));
        let mut reports = Vec::new();
        for auction in closed {
            let number = auction.number;
            if !auction.shares.contains_key(&me) && self.says((number, false), now) {
                reports.push(self.share_of(auction));
            }
            if auction.shares.len() as u64 >= u64::from(self.polynomial.required())
                && self.says((number, true), now)
                && let Some(signature) = self.recover(auction)
            {
                reports.push(Report::OpenAuction {
                    auction: number,
                    signature,
                });
            }
        }
        reports
    }

    /// Whether to say something now, and notes that it is said.
    fn says(&mut self, what: (u64, bool), now: Height) -> bool {
        let lately = self.said.get(&what);
        let due = lately.is_none_or(|at| now.get() >= at.get().saturating_add(AGAIN_BLOCKS));
        if due {
            self.said.insert(what, now);
        }
        due
    }

    fn share_of(&self, auction: &Auction) -> Report {
        let target = seal_target(&self.chain, auction.number, auction.began_at);
        let partial = threshold::sign_message::<MinSig>(&self.share, SEAL_NAMESPACE, &target);
        Report::ShareOpening {
            auction: auction.number,
            participant: partial.index.get(),
            share: compressed(&partial.value),
        }
    }

    /// The signature, from the shares that verify. Whoever sent one that does not is named.
    fn recover(&self, auction: &Auction) -> Option<SealSignature> {
        let target = seal_target(&self.chain, auction.number, auction.began_at);
        let mut good: BTreeMap<u32, Partial> = BTreeMap::new();
        for (validator, (participant, share)) in &auction.shares {
            match self.checked(&target, *participant, share) {
                Some(partial) => {
                    good.insert(*participant, partial);
                }
                None => tracing::warn!(
                    validator = validator.get(),
                    auction = auction.number,
                    "a share of the opening signature does not verify and was left out"
                ),
            }
        }
        let signature =
            threshold::recover::<MinSig, _>(&self.polynomial, good.values(), &Sequential);
        signature.ok().map(|signature| compressed(&signature))
    }

    fn checked(&self, target: &[u8], participant: u32, share: &SealSignature) -> Option<Partial> {
        let value = <MinSig as Variant>::Signature::decode(Copying(&share.0)).ok()?;
        let index = Participant::new(participant);
        let partial = Partial { index, value };
        threshold::verify_message::<MinSig>(&self.polynomial, SEAL_NAMESPACE, target, &partial)
            .ok()
            .map(|()| partial)
    }
}

fn compressed(signature: &<MinSig as Variant>::Signature) -> SealSignature {
    let bytes = signature.encode();
    SealSignature(<[u8; 48]>::try_from(bytes.as_ref()).unwrap_or([0; 48]))
}
