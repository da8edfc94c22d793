//! One vault as far as the engine has taken its events in.

use alloc::vec::Vec;
use borsh::io::{Read, Result as IoResult, Write};
use borsh::{BorshDeserialize, BorshSerialize};

use super::{DepositChain, Withdrawal};
use crate::commitment::{MerkleProof, MerkleTree};
use crate::params::VaultParameters;
use crate::types::{Cash, Digest, SettlementChain};

/// What was taken in from a vault and what was withdrawn from it.
#[derive(Clone, Debug)]
pub struct VaultState {
    /// Which vault.
    pub parameters: VaultParameters,
    /// Deposits credited.
    pub deposits: DepositChain,
    /// Requests for forced withdrawal answered.
    pub forced: u64,
    /// Crystallisations taken in.
    pub crystallised: u64,
    /// The settlement chain's block at which the vault's holdings were last looked at.
    pub anchored: u64,
    /// The vault then held less than it owed: nothing is withdrawn.
    pub short: bool,
    withdrawals: Vec<Withdrawal>,
    withdrawn: Cash,
    /// Over all withdrawals but the last few, which the end of the block adds.
    tree: MerkleTree,
    root: Digest,
}

/// What a snapshot keeps, and, without the withdrawals themselves, what the state root commits to.
#[derive(Clone, Copy, Debug, BorshSerialize, BorshDeserialize)]
struct Counters {
    deposits: DepositChain,
    forced: u64,
    crystallised: u64,
    anchored: u64,
    short: bool,
    withdrawn: Cash,
}

impl VaultState {
    /// A vault nothing happened to.
    pub fn new(parameters: VaultParameters) -> Self {
        let mut tree = MerkleTree::default();
        Self {
            parameters,
            deposits: DepositChain::default(),
            forced: 0,
            crystallised: 0,
            anchored: 0,
            short: false,
            withdrawals: Vec::new(),
            withdrawn: Cash::ZERO,
            root: tree.root(),
            tree,
        }
    }

    /// The chain it is on.
    pub const fn chain(&self) -> SettlementChain {
        self.parameters.chain
    }

    /// All withdrawals; a withdrawal's number is its place.
    pub fn withdrawals(&self) -> &[Withdrawal] {
        &self.withdrawals
    }

    /// Sum of their amounts.
    pub const fn withdrawn(&self) -> Cash {
        self.withdrawn
    }

    /// Root of the tree over them, as of the last block.
    pub const fn withdrawals_root(&self) -> Digest {
        self.root
    }

    /// The path of a withdrawal to that root.
    pub fn prove_withdrawal(&self, number: u32) -> Option<MerkleProof> {
        self.tree.prove(number)
    }

    /// What is deposited and not withdrawn: what the accounts own.
    pub fn collateral(&self) -> i128 {
        i128::from(self.deposits.total).saturating_sub(i128::from(self.withdrawn.get()))
    }

    /// The number of the next withdrawal; `None` when numbers or the sum of all are used up.
    pub fn next_number(&self, amount: Cash) -> Option<u32> {
        self.withdrawn.checked_add(amount)?;
        let number = u32::try_from(self.withdrawals.len()).ok()?;
        number.checked_add(1).map(|_| number)
    }

    /// Notes a withdrawal that got the next number.
    pub(crate) fn withdraw(&mut self, withdrawal: Withdrawal) {
        let sum = self.withdrawn.get().saturating_add(withdrawal.amount.get());
        self.withdrawn = Cash::new(sum);
        self.withdrawals.push(withdrawal);
    }

    /// Hashes the withdrawals that came since the last call.
    pub fn commit(&mut self) {
        let (from, chain) = (self.tree.count(), self.chain());
        let all = &self.withdrawals;
        let to = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        if from >= to {
            return;
        }
        self.tree.set_leaves(from..to, |number, out| {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(withdrawal) = all.get(place) {
                out.extend_from_slice(&withdrawal.leaf(chain, number));
            }
        });
        self.root = self.tree.root();
    }

    fn counters(&self) -> Counters {
        Counters {
            deposits: self.deposits,
            forced: self.forced,
            crystallised: self.crystallised,
            anchored: self.anchored,
            short: self.short,
            withdrawn: self.withdrawn,
        }
    }

    /// What the state root commits to: the counters and, after [`commit`](Self::commit), the tree.
    pub(crate) fn write_commitment(&self, out: &mut Vec<u8>) {
        let _ = self.counters().serialize(out);
        let _ = (self.tree.count(), self.root).serialize(out);
    }

    /// Writes everything but the parameters.
    pub(crate) fn write<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.counters().serialize(writer)?;
        self.withdrawals.serialize(writer)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read<R: Read>(parameters: VaultParameters, reader: &mut R) -> IoResult<Self> {
        let counters = Counters::deserialize_reader(reader)?;
        let withdrawals = BorshDeserialize::deserialize_reader(reader)?;
        let mut vault = Self {
            deposits: counters.deposits,
            forced: counters.forced,
            crystallised: counters.crystallised,
            anchored: counters.anchored,
            short: counters.short,
            withdrawn: counters.withdrawn,
            withdrawals,
            ..Self::new(parameters)
        };
        vault.commit();
        Ok(vault)
    }
}
