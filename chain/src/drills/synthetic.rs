//! A venue without consensus and without an engine: accounts, cash, ladders that sum to zero, and the
//! checkpoints that a real one would make of them.

use lifeboat_engine::commitment::{MerkleProof, keccak256};
use lifeboat_engine::types::{AccountId, Address, Cash, Digest, UnderlyingId};
use lifeboat_proof::exit::{
    CertifiedUnderlying, Deposit, DepositChain, EXIT_LEVELS, ExitSummary, ExitTree, Grid, Ladder,
    LeafView, SafeRange, SavedProof, SettlementChain, Subject, UnderlyingLadder, WithdrawalLeaf,
    exit_root,
};

use super::{GroupKey, MARKS, VENUE};
use crate::proof_file;
use crate::vault::Checkpoint;

/// One lot is a hundredth of a coin.
const LOTS_A_COIN: i64 = 100;
/// Levels over which an account that opens with its own money stays over zero: the mark ± a quarter.
const COVERED: std::ops::RangeInclusive<usize> = 6..=10;

/// Whose and what.
#[derive(Clone, Debug)]
struct Account {
    owner: Address,
    cash: i64,
    ladders: Vec<UnderlyingLadder>,
}

/// The venue.
pub struct SyntheticVenue {
    key: GroupKey,
    settlement: SettlementChain,
    vault: Address,
    accounts: Vec<Account>,
    withdrawals: Vec<WithdrawalLeaf>,
    deposits: DepositChain,
    height: u64,
    /// Requests for forced withdrawal that are answered.
    pub forced_cursor: u64,
}

/// A checkpoint and what was in it.
pub struct Certified {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its summary.
    pub summary: ExitSummary,
    leaves: Vec<Vec<u8>>,
    accounts: ExitTree,
    withdrawals: ExitTree,
    withdrawal_leaves: Vec<WithdrawalLeaf>,
}

impl Certified {
    /// An account's leaf and path; `None` for an unknown one.
    pub fn leaf(&self, account: u32) -> Option<(&[u8], MerkleProof)> {
        let leaf = self.leaves.get(account as usize)?;
        Some((leaf, self.accounts.prove(account)?))
    }

    /// How many accounts there are, the fund included.
    pub fn accounts(&self) -> u32 {
        self.leaves.len() as u32
    }

    /// What an account keeps to leave with.
    pub fn exit_proof(&self, account: u32) -> Option<SavedProof> {
        let (leaf, path) = self.leaf(account)?;
        Some(self.saved(Subject::Account, leaf, &path))
    }

    /// What a withdrawal is claimed with.
    pub fn withdrawal_proof(&self, number: u32) -> Option<SavedProof> {
        let leaf = self.withdrawal_leaves.get(number as usize)?.encode();
        let path = self.withdrawals.prove(number)?;
        Some(self.saved(Subject::Withdrawal, &leaf, &path))
    }

    fn saved(&self, kind: Subject, leaf: &[u8], path: &MerkleProof) -> SavedProof {
        let (_, executed) = self.checkpoint.heights().unwrap_or_default();
        proof_file::saved(kind, &self.checkpoint, executed, leaf, path)
    }
}

impl SyntheticVenue {
    /// A venue with no account but the insurance fund's, which the pool owns.
    pub fn new(key: GroupKey, settlement: SettlementChain, vault: Address, pool: Address) -> Self {
        let mut venue = Self {
            key,
            settlement,
            vault,
            accounts: Vec::new(),
            withdrawals: Vec::new(),
            deposits: DepositChain::default(),
            height: 0,
            forced_cursor: 0,
        };
        venue.open(pool);
        venue
    }

    /// Opens an account.
    pub fn open(&mut self, owner: Address) -> u32 {
        let ladders = (0..MARKS.len() as u8).map(|underlying| UnderlyingLadder {
            underlying: UnderlyingId::new(underlying),
            ladder: Ladder::ZERO,
        });
        self.accounts.push(Account {
            owner,
            cash: 0,
            ladders: ladders.collect(),
        });
        self.accounts.len() as u32 - 1
    }

    /// An account's cash.
    pub fn cash(&self, account: u32) -> i64 {
        self.accounts[account as usize].cash
    }

    /// Takes a deposit in, as the vault numbered it.
    pub fn credit(&mut self, account: u32, amount: u64) {
        let amount = amount as i64;
        let holder = &mut self.accounts[account as usize];
        holder.cash += amount;
        let deposit = Deposit {
            owner: holder.owner,
            amount: Cash::new(amount),
        };
        self.deposits = self.deposits.push(&deposit).expect("amounts are small");
    }

    /// One account sells another some lots of a call, for nothing: ladders stay in balance.
    pub fn trade(&mut self, long: u32, short: u32, underlying: u8, strike_eighths: i64, lots: i64) {
        let lot = call_ladder(underlying, strike_eighths);
        for (account, lots) in [(long, lots), (short, -lots)] {
            let ladders = &mut self.accounts[account as usize].ladders;
            let ladder = &mut ladders[usize::from(underlying)].ladder;
            ladder.add_lots(&lot, lots).expect("lots are few");
        }
    }

    /// What an account needs so as not to be under zero within a quarter of the marks.
    pub fn cash_needed(&self, account: u32) -> u64 {
        let ladders = self.accounts[account as usize].ladders.iter();
        let worst = ladders.map(|entry| {
            let levels = &entry.ladder.0[COVERED];
            levels.iter().copied().min().unwrap_or(0)
        });
        worst.sum::<i64>().min(0).unsigned_abs()
    }

    /// Debits an account and certifies the withdrawal with the next checkpoint; its number.
    pub fn withdraw(&mut self, account: u32, amount: i64, recipient: Address) -> u32 {
        let holder = &mut self.accounts[account as usize];
        holder.cash -= amount;
        let number = self.withdrawals.len() as u32;
        self.withdrawals.push(WithdrawalLeaf {
            settlement: self.settlement,
            number,
            owner: holder.owner,
            recipient,
            amount: Cash::new(amount),
        });
        number
    }

    /// The next checkpoint.
    pub fn certify(&mut self) -> Certified {
        self.height += 10;
        let (leaves, mut accounts, underlyings, fund_reserve) = self.exit_leaves();
        let mut withdrawals = ExitTree::default();
        let set = |leaf| withdrawals.set_withdrawal(leaf);
        self.withdrawals.iter().for_each(set);
        let total = |amounts: &mut dyn Iterator<Item = i64>| Cash::new(amounts.sum());
        let summary = ExitSummary {
            settlement: self.settlement,
            vault: self.vault,
            accounts_root: accounts.root(),
            accounts_cash: total(&mut self.accounts.iter().map(|account| account.cash)),
            withdrawals_root: withdrawals.root(),
            withdrawals_count: self.withdrawals.len() as u32,
            withdrawals_total: total(&mut self.withdrawals.iter().map(|one| one.amount.get())),
            deposit_cursor: self.deposits.cursor,
            deposits_hash: self.deposits.hash,
            deposits_total: Cash::new(self.deposits.total as i64),
            forced_cursor: self.forced_cursor,
            crystallised_cursor: 0,
            fund_reserve,
            da_commitment: Digest([0; 32]),
            underlyings,
        };
        assert!(summary.balances(), "I1: what is owed was deposited");
        Certified {
            checkpoint: self.checkpoint(&summary),
            summary,
            leaves,
            accounts,
            withdrawals,
            withdrawal_leaves: self.withdrawals.clone(),
        }
    }

    #[allow(clippy::type_complexity)]
    fn exit_leaves(&self) -> (Vec<Vec<u8>>, ExitTree, Vec<CertifiedUnderlying>, Cash) {
        let used: Vec<Vec<UnderlyingLadder>> = self.accounts.iter().map(Account::used).collect();
        let pairs = self.accounts.iter().zip(&used).enumerate();
        let views: Vec<LeafView<'_>> = pairs
            .map(|(index, (account, ladders))| LeafView {
                settlement: self.settlement,
                account: AccountId::new(index as u32),
                owner: account.owner,
                cash: Cash::new(account.cash),
                critical: Cash::ZERO,
                ladders,
            })
            .collect();
        let mut tree = ExitTree::default();
        tree.set_accounts(&views);
        let mut range = SafeRange::default();
        views.iter().skip(1).for_each(|view| range.add(view));
        let safe = range.largest(&views[0]);
        let underlyings = MARKS.map(|mark| {
            let grid = Grid::from_mark(mark).expect("a mark over eight units");
            let (safe_low, safe_high) = safe.range(grid);
            CertifiedUnderlying {
                grid,
                safe_low,
                safe_high,
            }
        });
        let leaves = views.iter().map(LeafView::encode).collect();
        (leaves, tree, underlyings.to_vec(), safe.fund_reserve)
    }

    fn checkpoint(&self, summary: &ExitSummary) -> Checkpoint {
        let (epoch, view, parent_view) = (1_u64, self.height + 5, self.height + 4);
        let header = [
            &VENUE.0[..],
            &self.height.to_be_bytes(),
            &[0; 8],
            &[1; 32],
            &epoch.to_be_bytes(),
            &view.to_be_bytes(),
            &[2; 32],
            &parent_view.to_be_bytes(),
            &(self.height - 1).to_be_bytes(),
            &[3; 32],
            &exit_root(&[summary.digest()]).0,
            &[4; 32],
            &[0; 4],
            &[0; 4],
        ]
        .concat();
        let digest = keccak256(&header);
        let certificate = self.key.certify(epoch, view, parent_view, &digest.0);
        Checkpoint {
            header,
            certificate: certificate.to_vec(),
            summary: summary.encode(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }
}

impl Account {
    /// Ladders that are not zero everywhere.
    fn used(&self) -> Vec<UnderlyingLadder> {
        let used = self.ladders.iter().filter(|entry| !entry.ladder.is_zero());
        used.copied().collect()
    }
}

/// What one lot of a call is worth at the levels: what it would pay, and some time value near the strike.
fn call_ladder(underlying: u8, strike_eighths: i64) -> Ladder {
    let step = MARKS[usize::from(underlying)].get() / 8;
    let strike = strike_eighths * step;
    let mut ladder = Ladder([0; EXIT_LEVELS]);
    for (level, value) in ladder.0.iter_mut().enumerate() {
        let price = level as i64 * step;
        let time_value = (step / 2 - (price - strike).abs() / 4).max(0);
        *value = ((price - strike).max(0) + time_value) / LOTS_A_COIN;
    }
    ladder
}
