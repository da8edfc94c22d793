//! The state root, kept up to date block by block.

use alloc::vec::Vec;

use super::Engine;
use crate::commitment::{
    Batches, MerkleProof, MerkleTree, Sections, leaf_digest_with, section_digest, state_root,
};
use crate::ledger::AccountPart;
use crate::params::Parameters;
use crate::types::{AccountId, Digest, InstrumentId, OrderId};
use crate::vault::VaultState;

/// The trees under the state root and the sections of the last block.
pub(super) struct Roots {
    instruments: MerkleTree,
    accounts: MerkleTree,
    orders: MerkleTree,
    sections: Sections,
    slots: Vec<u32>,
    ids: Vec<AccountId>,
    parts: Vec<(AccountId, AccountPart)>,
    batches: Batches,
    listed: Vec<InstrumentId>,
}

/// A part of the state with its path to the state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePart {
    /// The leaf's canonical bytes; of an account its head.
    pub leaf: Vec<u8>,
    /// The parts whose digests follow the head in the leaf's message: of an account its stakes in
    /// chunks, then its ended client order ids. Others have none.
    pub parts: Vec<Vec<u8>>,
    /// Its path within its section's tree.
    pub path: MerkleProof,
    /// The sections of the state root.
    pub sections: Sections,
}

impl Roots {
    pub fn new(parameters: &Parameters) -> Self {
        let bytes = borsh::to_vec(parameters).unwrap_or_default();
        let sections = Sections {
            parameters: section_digest(&bytes),
            ..Sections::default()
        };
        Self {
            instruments: MerkleTree::default(),
            accounts: MerkleTree::default(),
            orders: MerkleTree::default(),
            sections,
            slots: Vec::new(),
            ids: Vec::new(),
            parts: Vec::new(),
            batches: Batches::default(),
            listed: Vec::new(),
        }
    }

    pub fn state_root(&self) -> Digest {
        state_root(&self.sections)
    }
}

impl Engine {
    /// Hashes everything touched since the last call and returns the new root.
    pub fn commit(&mut self) -> Digest {
        let mut slots = core::mem::take(&mut self.roots.slots);
        slots.clear();
        self.books.drain_touched(&mut slots);
        let (books, orders) = (&self.books, &self.orders);
        self.roots
            .orders
            .set_leaves(slots.iter().copied(), |slot, out| {
                encode_order(books, orders, slot, out);
            });
        self.roots.slots = slots;
        self.commit_accounts();
        self.commit_instruments();
        self.vaults.iter_mut().for_each(VaultState::commit);
        let meta = section_digest(&self.meta_bytes());
        let sections = &mut self.roots.sections;
        sections.meta = meta;
        sections.orders = self.roots.orders.root();
        sections.accounts = self.roots.accounts.root();
        sections.instruments = self.roots.instruments.root();
        self.roots.state_root()
    }

    fn commit_accounts(&mut self) {
        let mut ids = core::mem::take(&mut self.roots.ids);
        self.ledger.drain_touched(&mut ids);
        self.forget_reserves(&ids);
        self.hash_parts(&ids);
        let ledger = &self.ledger;
        self.roots
            .accounts
            .set_leaves(ids.iter().map(|id| id.get()), |id, out| {
                if let Some(account) = ledger.account(AccountId::new(id)) {
                    account.write_head(out);
                    account.write_part_digests(out);
                }
            });
        self.roots.ids = ids;
    }

    /// Hashes the parts of accounts that changed.
    fn hash_parts(&mut self, ids: &[AccountId]) {
        let mut parts = core::mem::take(&mut self.roots.parts);
        parts.clear();
        for id in ids {
            if let Some(account) = self.ledger.account_unmarked(*id) {
                account
                    .take_changed()
                    .for_each(|part| parts.push((*id, part)));
            }
        }
        self.roots.batches.hash_parts(
            &mut self.ledger,
            &parts,
            |ledger, (id, part), out| {
                if let Some(account) = ledger.account(id) {
                    account.write_part(part, out);
                }
            },
            |ledger, (id, part), digest| {
                if let Some(account) = ledger.account_unmarked(id) {
                    account.set_part_digest(part, digest);
                }
            },
        );
        self.roots.parts = parts;
    }

    fn commit_instruments(&mut self) {
        let mut listed = core::mem::take(&mut self.roots.listed);
        self.instruments.drain_touched(&mut listed);
        let instruments = &self.instruments;
        self.roots
            .instruments
            .set_leaves(listed.iter().map(|id| id.get()), |id, out| {
                if let Some(instrument) = instruments.get(InstrumentId::new(id)) {
                    let _ = borsh::to_writer(out, instrument);
                }
            });
        self.roots.listed = listed;
    }

    /// Hashes the whole state anew, after a restore.
    pub(super) fn commit_all(&mut self) -> Digest {
        let slots = self.books.slots();
        let (books, orders) = (&self.books, &self.orders);
        self.roots.orders.reserve(slots.into());
        self.roots.accounts.reserve(self.ledger.len().into());
        self.roots
            .orders
            .set_leaves(0..slots, |slot, out| encode_order(books, orders, slot, out));
        self.ledger.touch_all();
        for id in 0..self.instruments.len() {
            let _ = self.instruments.get_mut(InstrumentId::new(id));
        }
        self.commit()
    }

    /// An account with its path to the last state root.
    pub fn prove_account(&self, id: AccountId) -> Option<StatePart> {
        let account = self.ledger.account(id)?;
        let mut leaf = Vec::new();
        account.write_head(&mut leaf);
        self.part((leaf, account.parts()), &self.roots.accounts, id.get())
    }

    /// A resting order with its path to the last state root. The leaf is the book's slot followed by
    /// the order's details and label.
    pub fn prove_order(&self, order: OrderId) -> Option<StatePart> {
        self.books.get(order)?;
        let mut leaf = Vec::new();
        encode_order(&self.books, &self.orders, order.slot(), &mut leaf);
        self.part((leaf, Vec::new()), &self.roots.orders, order.slot())
    }

    fn part(
        &self,
        (leaf, parts): (Vec<u8>, Vec<Vec<u8>>),
        tree: &MerkleTree,
        index: u32,
    ) -> Option<StatePart> {
        if tree.leaf(index) != leaf_digest_with(&leaf, &parts) {
            return None;
        }
        Some(StatePart {
            leaf,
            parts,
            path: tree.prove(index)?,
            sections: self.roots.sections,
        })
    }
}

fn encode_order(
    books: &crate::book::Books,
    orders: &crate::orders::OrderTable,
    slot: u32,
    out: &mut Vec<u8>,
) {
    let Some(leaf) = books.slot_leaf(slot) else {
        return;
    };
    out.extend_from_slice(&leaf);
    if books.rests_in(slot)
        && let Some(detail) = orders.get(slot)
    {
        out.extend_from_slice(&detail.encoded());
        out.extend_from_slice(orders.label(slot));
    }
}
