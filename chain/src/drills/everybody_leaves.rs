//! Drill 21: the operator is gone for good. Everybody has open options, the index moves 12 %, and every
//! account leaves by the chain alone.

use std::collections::BTreeMap;
use std::time::Instant;

use alloy_primitives::Address as ChainAddress;
use alloy_sol_types::{SolCall as _, SolEvent as _};
use lifeboat_engine::types::{Address, Price};
use lifeboat_proof::exit::ExitLeaf;
use serde::Serialize;

use super::synthetic::Certified;
use super::{DrillError, MARKS, World, check};
use crate::bindings::token::Token;
use crate::bindings::vault::LifeboatVault::Exited;
use crate::deploy::set_price;
use crate::exit::{Leaving, Progress};
use crate::port::Call;
use crate::proof_file::CheckedProof;
use crate::vault::Stage;

/// The fund's money, in units of the token.
const FUND: u64 = 10_000_000_000;
/// Trades for each account, on either side.
const TRADES: u32 = 5;
/// The index moves by so much, in percent.
const MOVE: i64 = -12;
/// Steps that the first account may take to leave.
const STEPS_MAX: usize = 8;

/// What it came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeavingReport {
    /// Accounts that left, the fund's included.
    pub accounts: u32,
    /// Those with open options.
    pub with_options: u32,
    /// Units of the token in the vault before.
    pub held: u64,
    /// Units that were paid.
    pub paid: u64,
    /// Units of the fund that were kept for accounts under zero, and that no account needed.
    pub reserve_left: u64,
    /// Units that rounding left beside them: less than one an account.
    pub dust: u64,
    /// Gas of the freeze, of fixing the prices, and of exits.
    pub gas_freeze: u64,
    /// See `gas_freeze`.
    pub gas_prices: u64,
    /// Least, median and most of an exit.
    pub gas_exit: [u64; 3],
    /// Seconds of depositing, of which the venue's life consists here.
    pub seconds_depositing: f64,
    /// Seconds of leaving, from the freeze to the last payment.
    pub seconds_leaving: f64,
}

/// Runs it with so many accounts beside the fund's.
///
/// # Errors
/// [`DrillError::Failed`] when an account was paid anything but its value, or more than dust is left.
pub async fn everybody_leaves(
    world: &mut World,
    accounts: u32,
) -> Result<LeavingReport, DrillError> {
    let began = Instant::now();
    fill(world, accounts).await?;
    let seconds_depositing = began.elapsed().as_secs_f64();
    let certified = world.venue.certify();
    world.vault.checkpoint(&certified.checkpoint).await?;
    // The operator is gone. A day and an hour later the index stands elsewhere.
    world.chain.advance(25 * 3_600).await?;
    let prices = MARKS.map(|mark| Price::new(mark.get() * (100 + MOVE) / 100));
    for (feed, price) in world.deployment.feeds.iter().zip(prices) {
        set_price(&world.port(), *feed, price).await?;
    }
    let held = world.vault.balance_of(world.vault.address()).await?;
    let began = Instant::now();
    let first = first_account(world, &certified).await?;
    let stage = world.vault.head().await?.stage;
    check(stage == Stage::Open, || {
        format!("not everybody can be paid in full: {stage:?}")
    })?;
    let mut gas = leave_all(world, &certified).await?;
    gas.push(first.exit);
    let seconds_leaving = began.elapsed().as_secs_f64();
    let paid = payments(world).await?;
    let due = due(&certified, &prices)?;
    check(paid == due.payments, || {
        first_difference(&paid, &due.payments)
    })?;
    let left = world.vault.balance_of(world.vault.address()).await?;
    let sum: u64 = paid.values().sum();
    check(sum + left == held, || {
        format!("{sum} units were paid and {left} are left of {held}")
    })?;
    let dust = left.saturating_sub(due.reserve_left);
    check(dust < u64::from(certified.accounts()), || {
        format!("rounding left {dust} units in the vault")
    })?;
    // Now anybody may send what nobody owns to the pool.
    let pool = world.vault.pool().await?;
    let before = world.vault.balance_of(pool).await?;
    world.vault.sweep().await?;
    let swept = world.vault.balance_of(pool).await?.saturating_sub(before);
    let remaining = world.vault.balance_of(world.vault.address()).await?;
    check(swept == left && remaining == 0, || {
        format!("{remaining} units stay in the vault, {swept} of {left} went to the pool")
    })?;
    gas.sort_unstable();
    Ok(LeavingReport {
        accounts: certified.accounts(),
        with_options: with_options(&certified),
        held,
        paid: sum,
        reserve_left: due.reserve_left,
        dust,
        gas_freeze: first.freeze,
        gas_prices: first.prices,
        gas_exit: [gas[0], gas[gas.len() / 2], gas[gas.len() - 1]],
        seconds_depositing,
        seconds_leaving,
    })
}

/// Accounts with random options against each other, and money for a quarter's move.
async fn fill(world: &mut World, accounts: u32) -> Result<(), DrillError> {
    let mut dice = Dice(0x6c69_6665);
    for number in 0..accounts {
        world.venue.open(owner_of(number));
    }
    for account in 1..=accounts {
        for _ in 0..TRADES {
            let other = 1 + dice.below(accounts);
            let (underlying, strike) = (dice.below(2) as u8, 5 + i64::from(dice.below(7)));
            let lots = 1 + i64::from(dice.below(20));
            if other != account {
                world.venue.trade(account, other, underlying, strike, lots);
            }
        }
    }
    let mut calls = vec![world.vault.call(&deposit(world.deployment.pool, FUND))];
    let mut credits = vec![(0, FUND)];
    for account in 1..=accounts {
        let amount = world.venue.cash_needed(account) + 1_000_000 + u64::from(dice.below(1 << 30));
        let whose = owner_of(account - 1).0.into();
        calls.push(world.vault.call(&deposit(whose, amount)));
        credits.push((account, amount));
    }
    let total: u64 = credits.iter().map(|(_, amount)| amount).sum();
    allow(world, total).await?;
    world.chain.send_all(calls).await?;
    for (account, amount) in credits {
        world.venue.credit(account, amount);
    }
    Ok(())
}

fn deposit(owner: ChainAddress, amount: u64) -> crate::bindings::vault::LifeboatVault::depositCall {
    crate::bindings::vault::LifeboatVault::depositCall { owner, amount }
}

/// Mints and approves.
async fn allow(world: &World, amount: u64) -> Result<(), DrillError> {
    let token = world.deployment.token;
    let value = alloy_primitives::U256::from(amount);
    let to = world.chain.sender().unwrap_or_default();
    let spender = world.vault.address();
    let mint = Token::mintCall { to, amount: value }.abi_encode();
    let approve = Token::approveCall { spender, value }.abi_encode();
    for input in [mint, approve] {
        world.chain.send(Call::to(token, input)).await?;
    }
    Ok(())
}

struct FirstGas {
    freeze: u64,
    prices: u64,
    exit: u64,
}

/// The first to leave does what `lifeboat exit` does: it freezes, fixes the prices, and is paid.
async fn first_account(world: &World, certified: &Certified) -> Result<FirstGas, DrillError> {
    let absent = || DrillError::Failed("the first account has no proof".into());
    let proof = certified.exit_proof(1).ok_or_else(absent)?;
    let chain = world.deployment.chain;
    let proof = CheckedProof::of(&proof, chain, world.vault.address());
    let proof = proof.map_err(|error| DrillError::Failed(error.to_string()))?;
    let recipient = proof.leaf.owner.0.into();
    let leaving = Leaving::new(world.vault.clone(), proof, recipient);
    let mut gas = Vec::new();
    for _ in 0..STEPS_MAX {
        match leaving.step().await? {
            Progress::Did { gas: used, .. } => gas.push(used),
            Progress::Waiting { what, .. } => return Err(DrillError::Failed(what)),
            Progress::Left => break,
        }
    }
    match gas[..] {
        [freeze, prices, exit] => Ok(FirstGas {
            freeze,
            prices,
            exit,
        }),
        _ => Err(DrillError::Failed(format!("it took {} steps", gas.len()))),
    }
}

/// Everybody else, the fund last; anyone may push an exit to its owner.
async fn leave_all(world: &World, certified: &Certified) -> Result<Vec<u64>, DrillError> {
    let order = (2..certified.accounts()).chain([0]);
    let mut calls = Vec::with_capacity(certified.accounts() as usize);
    for account in order {
        let (leaf, path) = certified
            .leaf(account)
            .ok_or_else(|| DrillError::Failed(format!("account {account} has no leaf")))?;
        let fields = decoded(leaf)?;
        let to = fields.owner.0.into();
        calls.push(world.vault.exit_call(leaf, &path, to));
    }
    let receipts = world.chain.send_all(calls).await?;
    Ok(receipts.iter().map(|receipt| receipt.gas).collect())
}

fn decoded(leaf: &[u8]) -> Result<ExitLeaf, DrillError> {
    ExitLeaf::decode(leaf).map_err(|error| DrillError::Failed(error.to_string()))
}

/// What each account was paid.
async fn payments(world: &World) -> Result<BTreeMap<u32, u64>, DrillError> {
    let mut paid = BTreeMap::new();
    for log in world.vault.events(Exited::SIGNATURE_HASH).await? {
        let event = Exited::decode_raw_log(log.topics, &log.data);
        let event = event.map_err(|error| DrillError::Failed(error.to_string()))?;
        *paid.entry(event.index).or_insert(0) += event.amount.saturating_to::<u64>();
    }
    Ok(paid)
}

/// What Rust says that the chain owes.
struct Due {
    /// To each account that is owed something.
    payments: BTreeMap<u32, u64>,
    /// Of the fund's reserve, what accounts under zero do not need.
    reserve_left: u64,
}

fn due(certified: &Certified, prices: &[Price]) -> Result<Due, DrillError> {
    let failed = |what: String| DrillError::Failed(what);
    let points = certified.summary.points(prices);
    let points = points.map_err(|error| failed(error.to_string()))?;
    let reserve = u64::try_from(certified.summary.fund_reserve.get()).unwrap_or(0);
    let (mut payments, mut deficits) = (BTreeMap::new(), 0);
    for account in 0..certified.accounts() {
        let leaf = certified.leaf(account);
        let (leaf, _) = leaf.ok_or_else(|| failed(format!("account {account} has no leaf")))?;
        let value = decoded(leaf)?.view().value(&points);
        let value = value.map_err(|error| failed(error.to_string()))?.get();
        let mut claim = u64::try_from(value).unwrap_or(0);
        deficits += u64::try_from(-value).unwrap_or(0);
        if account == 0 {
            claim = claim.saturating_sub(reserve);
        }
        if claim > 0 {
            payments.insert(account, claim);
        }
    }
    let reserve_left = reserve.saturating_sub(deficits);
    Ok(Due {
        payments,
        reserve_left,
    })
}

fn first_difference(paid: &BTreeMap<u32, u64>, due: &BTreeMap<u32, u64>) -> String {
    let accounts = paid.keys().chain(due.keys());
    let other = accounts.copied().find(|id| paid.get(id) != due.get(id));
    let units = |of: &BTreeMap<u32, u64>| other.and_then(|id| of.get(&id).copied()).unwrap_or(0);
    format!(
        "account {} was paid {}, and its ladders say {}",
        other.unwrap_or_default(),
        units(paid),
        units(due)
    )
}

fn with_options(certified: &Certified) -> u32 {
    let leaves = (0..certified.accounts()).filter_map(|account| certified.leaf(account));
    let open = leaves.filter(|(leaf, _)| decoded(leaf).is_ok_and(|leaf| !leaf.ladders.is_empty()));
    open.count() as u32
}

/// An address for each account; nobody needs its key.
fn owner_of(number: u32) -> Address {
    let mut bytes = [0xa5; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Address(bytes)
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word >> 33) % u64::from(bound)) as u32
    }
}
