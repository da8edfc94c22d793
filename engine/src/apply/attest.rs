//! Validators' commands: observations, and proposals that happen once a quorum attests them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::Engine;
use crate::command::{OptionTerms, Proposal, Report, ValidatorPayload, VaultEvent};
use crate::commitment::keccak256;
use crate::event::Event;
use crate::reject::Reject;
use crate::types::{Digest, PublicKey, SettlementChain, ValidatorId};

/// Proposals remembered as done. Older ones are forgotten; their references must not come again,
/// which the sources of proposals (chain cursors, listing terms) see to.
const DONE_MAX: usize = 65_536;
/// Proposals that wait for a quorum.
const OPEN_MAX: usize = 4_096;

/// Which proposals wait, who attested them, and which are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Attestations {
    open: BTreeMap<Digest, BTreeSet<ValidatorId>>,
    done: BTreeSet<(u64, Digest)>,
    done_digests: BTreeSet<Digest>,
    counter: u64,
    /// Hash chain over everything ever done: stands for `done` in the state root.
    chain: Digest,
    /// What each validator says is next of a kind of a vault's events.
    vaults: BTreeMap<Topic, BTreeMap<ValidatorId, Digest>>,
}

/// A kind of events of one vault. Cursors, not memory, keep each from happening twice: after a
/// reorganisation the same deposits may come again.
type Topic = (SettlementChain, Kind);

/// What a validator can have one opinion about at a time. Deposits and their unwinding are one kind: a
/// chain that is reorganised takes the votes for what it forgot with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
enum Kind {
    Deposits,
    Forced,
    Crystallised,
    Anchored,
    Frozen,
}

impl Kind {
    const fn of(event: &VaultEvent) -> Self {
        match event {
            VaultEvent::Deposits { .. } | VaultEvent::DepositsUnwound { .. } => Self::Deposits,
            VaultEvent::ForcedRequests { .. } => Self::Forced,
            VaultEvent::Crystallised { .. } => Self::Crystallised,
            VaultEvent::Anchored { .. } => Self::Anchored,
            VaultEvent::Frozen => Self::Frozen,
        }
    }
}

impl Attestations {
    /// Counts an attestation; true when it completes the quorum, and then only once.
    fn attest(
        &mut self,
        proposal: Digest,
        validator: ValidatorId,
        quorum: usize,
    ) -> Result<bool, Reject> {
        if self.done_digests.contains(&proposal) {
            return Err(Reject::AlreadyAttested);
        }
        if !self.open.contains_key(&proposal) && self.open.len() >= OPEN_MAX {
            return Err(Reject::VenueFull);
        }
        let voters = self.open.entry(proposal).or_default();
        if !voters.insert(validator) {
            return Err(Reject::AlreadyAttested);
        }
        Ok(voters.len() >= quorum)
    }

    /// Counts what a validator says is next of a kind, in place of what it said before; true when it
    /// completes the quorum, and then everybody's word on that kind is forgotten.
    fn attest_next(
        &mut self,
        topic: Topic,
        (proposal, validator): (Digest, ValidatorId),
        quorum: usize,
    ) -> Result<bool, Reject> {
        let words = self.vaults.entry(topic).or_default();
        if words.insert(validator, proposal) == Some(proposal) {
            return Err(Reject::AlreadyAttested);
        }
        let agree = words.values().filter(|word| **word == proposal).count();
        if agree < quorum {
            return Ok(false);
        }
        self.vaults.remove(&topic);
        self.count_done(proposal);
        Ok(true)
    }

    /// Appends what the state root commits to.
    pub fn write_commitment(&self, out: &mut Vec<u8>) {
        let _ = (&self.open, self.counter, self.chain, &self.vaults).serialize(out);
    }

    fn count_done(&mut self, proposal: Digest) {
        self.counter = self.counter.saturating_add(1);
        self.chain = keccak256(&[self.chain.0, proposal.0].concat());
    }

    fn finish(&mut self, proposal: Digest) {
        self.open.remove(&proposal);
        self.count_done(proposal);
        self.done.insert((self.counter, proposal));
        self.done_digests.insert(proposal);
        if self.done.len() > DONE_MAX
            && let Some((_, oldest)) = self.done.pop_first()
        {
            self.done_digests.remove(&oldest);
        }
    }
}

impl Engine {
    pub(super) fn execute_validator(
        &mut self,
        payload: &ValidatorPayload,
        key: PublicKey,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let index = usize::from(payload.validator.get());
        if self.validators.get(index) != Some(&key) {
            return Err(Reject::UnknownValidator);
        }
        let window = self
            .validator_nonces
            .get_mut(index)
            .ok_or(Reject::UnknownValidator)?;
        if !window.consume(payload.nonce) {
            return Err(Reject::StaleNonce);
        }
        match &payload.report {
            Report::Observe(observation) => self.observe(payload.validator, observation, events),
            Report::Attest(proposal) => self.attest(payload.validator, proposal, events),
            Report::ShareOpening {
                auction,
                participant,
                share,
            } => self.share_opening(payload.validator, *auction, (*participant, *share)),
            Report::OpenAuction { auction, signature } => {
                self.open_auction(*auction, *signature, events)
            }
        }
    }

    /// Counts an attestation and does the proposal when the quorum is reached. A proposal that can
    /// not be done is refused and stays open: another attestation may come when it can.
    fn attest(
        &mut self,
        validator: ValidatorId,
        proposal: &Proposal,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.check_proposal(proposal)?;
        let digest = keccak256(&borsh::to_vec(proposal).map_err(|_| Reject::BadProposal)?);
        let quorum = self.quorum();
        let complete = match proposal {
            Proposal::Vault { chain, event } => {
                let topic = (*chain, Kind::of(event));
                self.attestations
                    .attest_next(topic, (digest, validator), quorum)?
            }
            _ => {
                let complete = self.attestations.attest(digest, validator, quorum)?;
                if complete {
                    self.attestations.finish(digest);
                }
                complete
            }
        };
        if complete {
            self.enact(proposal, events);
        }
        Ok(())
    }

    /// Validators whose agreement binds: more than two thirds.
    pub(super) fn quorum(&self) -> usize {
        let n = self.validators.len();
        let faulty = n.saturating_sub(1).checked_div(3).unwrap_or(0);
        n.saturating_sub(faulty)
    }

    fn check_proposal(&self, proposal: &Proposal) -> Result<(), Reject> {
        match proposal {
            Proposal::Vault { chain, event } => self.check_vault_event(*chain, event),
            Proposal::ListOption(terms) => {
                let known = usize::from(terms.underlying.get()) < self.parameters.underlyings.len();
                let bad = !known
                    || terms.expiry <= self.time
                    || terms.strike.get() <= 0
                    || self.instruments.by_terms(terms).is_some();
                if bad {
                    Err(Reject::BadProposal)
                } else {
                    Ok(())
                }
            }
            Proposal::SetHalt { .. } => Ok(()),
        }
    }

    fn enact(&mut self, proposal: &Proposal, events: &mut Vec<Event>) {
        match proposal {
            Proposal::Vault { chain, event } => self.take_vault_event(*chain, event, events),
            Proposal::ListOption(terms) => self.list_option(*terms, events),
            Proposal::SetHalt { halted, .. } => self.request_halt(*halted, events),
        }
    }

    pub(super) fn list_option(&mut self, terms: OptionTerms, events: &mut Vec<Event>) {
        let now = self.time;
        let at = usize::from(terms.underlying.get());
        let Some(underlying) = self.parameters.underlyings.get(at) else {
            return;
        };
        if let Ok(instrument) = self.instruments.list(terms, underlying, now) {
            self.books.open(instrument);
            events.push(Event::InstrumentListed { instrument, terms });
        }
    }
}
