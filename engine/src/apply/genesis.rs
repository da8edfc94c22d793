//! How the venue begins.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::Engine;
use super::attest::Attestations;
use super::day::day_of;
use super::fills::Scratch;
use super::margin::MarginEngine;
use super::roots::Roots;
use crate::auction::{Auctions, SealKey};
use crate::auth::NonceWindow;
use crate::book::Books;
use crate::breakers::{Circuit, VenueWatch};
use crate::instrument::Instruments;
use crate::ledger::Ledger;
use crate::limits::{EXIT_BLOCKS_MAX, SOURCES_MAX, UNDERLYINGS_MAX, VALIDATORS_MAX, VAULTS_MAX};
use crate::modes::ModeState;
use crate::orders::OrderTable;
use crate::outage::OutageGate;
use crate::params::{Genesis, Parameters, UnderlyingParameters};
use crate::reject::Reject;
use crate::risk::ParameterError;
use crate::settlement::IndexFeed;
use crate::types::{AccountId, Address, Cash, Height, MarginModel};
use crate::vault::{Deposit, VaultState};

/// A genesis that no venue can begin from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenesisError {
    /// No validators, or more than `VALIDATORS_MAX`.
    Validators,
    /// No underlyings, or more than `UNDERLYINGS_MAX`.
    Underlyings,
    /// An underlying's tick times lot is not a whole number of cash units, or a step is not
    /// positive, or it has no sources or too many. The field is its place in the list.
    Underlying(usize),
    /// The portfolio-margin parameters break a rule that the bound on open orders relies on, or do
    /// not fit the engine's lanes.
    Margin(ParameterError),
    /// An account with negative cash, the zero address or an owner seen before. The field is its
    /// place in the list.
    Account(usize),
    /// More vaults than `VAULTS_MAX`, or one without an address, a pool or a least withdrawal.
    Vaults,
    /// A group key that is no point of its group, or a forfeit under zero or over the least bond.
    Auction,
    /// Exits that are never computed, or that headers would carry after they were replaced.
    Exits,
    /// The settlement stablecoin has no sources, or too many.
    Stable,
    /// The fund or the operator's stake begins with less than nothing, the stake's owner owns another
    /// account, or a haircut could take more than all of a gain.
    Waterfall,
}

impl core::fmt::Display for GenesisError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Validators => write!(f, "genesis needs 1 to {VALIDATORS_MAX} validators"),
            Self::Underlyings => write!(f, "genesis needs 1 to {UNDERLYINGS_MAX} underlyings"),
            Self::Underlying(at) => write!(
                f,
                "underlying {at}: tick, lot, sources or order size out of bounds, or tick x lot is no \
                 whole number of 1e-6 USDC"
            ),
            Self::Margin(broken) => write!(f, "portfolio margin: {broken}"),
            Self::Account(at) => write!(
                f,
                "account {at}: owner is zero or repeated, or cash negative"
            ),
            Self::Vaults => write!(
                f,
                "genesis takes at most {VAULTS_MAX} vault, with an address, a pool and a least withdrawal"
            ),
            Self::Auction => write!(
                f,
                "auction: the group key is no key, or the forfeit is not between nothing and the least bond"
            ),
            Self::Exits => write!(
                f,
                "exits: `every` and `lag` are at least 1, and their sum at most {EXIT_BLOCKS_MAX}"
            ),
            Self::Waterfall => write!(
                f,
                "waterfall: fund and stake are not negative, the stake's owner owns nothing else, and \
                 a haircut is at most 1 000 000 millionths"
            ),
            Self::Stable => {
                write!(f, "the stablecoin's price needs 1 to {SOURCES_MAX} sources")
            }
        }
    }
}

impl core::error::Error for GenesisError {}

impl Engine {
    /// The state at height 0.
    ///
    /// # Errors
    /// [`GenesisError`] names the part that is out of bounds.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        check(genesis)?;
        let parameters = genesis.parameters.clone();
        let margin = MarginEngine::new(&parameters).map_err(GenesisError::Margin)?;
        let mut engine = Self {
            chain: genesis.chain,
            validators: genesis.validators.clone(),
            height: Height::new(0),
            time: genesis.time,
            events_emitted: 0,
            trades: 0,
            mode: ModeState::open(genesis.time),
            ledger: Ledger::default(),
            instruments: Instruments::default(),
            books: Books::new(),
            orders: OrderTable::default(),
            feeds: vec![IndexFeed::default(); parameters.underlyings.len()],
            stable: IndexFeed::default(),
            gates: vec![OutageGate::new(); parameters.underlyings.len()],
            samples: BTreeMap::new(),
            surfaces: BTreeMap::new(),
            validator_nonces: vec![NonceWindow::new(); genesis.validators.len()],
            attestations: Attestations::default(),
            vaults: vaults(&parameters),
            stake: None,
            auctions: Auctions::default(),
            quarantined: Vec::new(),
            circuits: vec![Circuit::new(genesis.time); parameters.underlyings.len()],
            venue_watch: VenueWatch::default(),
            margin,
            roots: Roots::new(&parameters),
            scratch: Scratch::default(),
            parameters,
        };
        engine.ledger.begin_day(day_of(genesis.time));
        engine.open_accounts(genesis)?;
        engine.commit();
        Ok(engine)
    }

    fn open_accounts(&mut self, genesis: &Genesis) -> Result<(), GenesisError> {
        let pool = self.vaults.first().map(|vault| vault.parameters.pool);
        let owner = pool.unwrap_or_default();
        let fund = self.ledger.open(owner, MarginModel::Portfolio);
        let fund = fund.map_err(|_| GenesisError::Account(0))?;
        let waterfall = self.parameters.waterfall;
        if waterfall.fund.get() != 0 {
            self.endow(fund, owner, waterfall.fund)
                .map_err(|_| GenesisError::Waterfall)?;
        }
        for (at, account) in genesis.accounts.iter().enumerate() {
            let bad = |_: Reject| GenesisError::Account(at);
            let id = self
                .ledger
                .open(account.owner, account.model)
                .map_err(bad)?;
            if account.cash.get() != 0 {
                self.endow(id, account.owner, account.cash).map_err(bad)?;
            }
            let entry = self
                .ledger
                .account_mut(id)
                .ok_or(GenesisError::Account(at))?;
            for (key, expires_at) in &account.sessions {
                entry
                    .register(*key, *expires_at, genesis.time)
                    .map_err(bad)?;
            }
        }
        self.set_stake_aside()
    }

    fn set_stake_aside(&mut self) -> Result<(), GenesisError> {
        let Some(stake) = self.parameters.waterfall.stake else {
            return Ok(());
        };
        let bad = |_: Reject| GenesisError::Waterfall;
        let id = self.ledger.open(stake.owner, MarginModel::Portfolio);
        let id = id.map_err(bad)?;
        self.stake = Some(id);
        if stake.cash.get() == 0 {
            return Ok(());
        }
        self.endow(id, stake.owner, stake.cash).map_err(bad)
    }

    /// Cash at the start is a deposit of the vault's, if there is a vault.
    fn endow(&mut self, id: AccountId, owner: Address, amount: Cash) -> Result<(), Reject> {
        if let Some(vault) = self.vaults.first_mut() {
            let deposit = Deposit { owner, amount };
            vault.deposits = vault.deposits.push(&deposit).ok_or(Reject::BadProposal)?;
        }
        self.ledger.deposit(id, amount)
    }
}

/// The parameters' vaults before anything happened to them.
pub(super) fn vaults(parameters: &Parameters) -> Vec<VaultState> {
    let vaults = parameters.vaults.iter().copied();
    vaults.map(VaultState::new).collect()
}

fn check_vaults(parameters: &Parameters) -> Result<(), GenesisError> {
    let none = Address::default();
    let mut vaults = parameters.vaults.iter();
    let sound = vaults.all(|v| v.vault != none && v.pool != none && v.withdrawal_min > Cash::ZERO);
    if !sound || parameters.vaults.len() > VAULTS_MAX {
        return Err(GenesisError::Vaults);
    }
    let exits = parameters.exits;
    let span = exits.every.saturating_add(exits.lag);
    if exits.every == 0 || exits.lag == 0 || span > EXIT_BLOCKS_MAX {
        return Err(GenesisError::Exits);
    }
    Ok(())
}

fn check_auction(parameters: &Parameters) -> Result<(), GenesisError> {
    let auction = &parameters.auction;
    let sound = auction.key.as_ref().is_none_or(SealKey::is_sound);
    if sound && Cash::ZERO <= auction.forfeit && auction.forfeit <= auction.bond_min {
        Ok(())
    } else {
        Err(GenesisError::Auction)
    }
}

fn check(genesis: &Genesis) -> Result<(), GenesisError> {
    if genesis.validators.is_empty() || genesis.validators.len() > VALIDATORS_MAX {
        return Err(GenesisError::Validators);
    }
    let underlyings = &genesis.parameters.underlyings;
    if underlyings.is_empty() || underlyings.len() > UNDERLYINGS_MAX {
        return Err(GenesisError::Underlyings);
    }
    let stable = genesis.parameters.stable.as_ref();
    if stable.is_some_and(|stable| !is_weighted(&stable.source_weights)) {
        return Err(GenesisError::Stable);
    }
    if genesis.parameters.waterfall.haircut_ppm_max > 1_000_000 {
        return Err(GenesisError::Waterfall);
    }
    match underlyings.iter().position(|u| !is_sound(u)) {
        Some(at) => Err(GenesisError::Underlying(at)),
        None => check_vaults(&genesis.parameters).and_then(|()| check_auction(&genesis.parameters)),
    }
}

fn is_sound(underlying: &UnderlyingParameters) -> bool {
    let (tick, lot) = (underlying.tick.get(), underlying.lot.get());
    let step = i128::from(tick).saturating_mul(i128::from(lot));
    let exact = step.checked_rem(100_000_000) == Some(0);
    let lots = underlying.order_lots_max;
    tick > 0
        && lot > 0
        && exact
        && is_weighted(&underlying.source_weights)
        && lots > 0
        && lots <= crate::limits::ORDER_LOTS_MAX
        && underlying.symbol.is_ascii()
        && underlying.symbol.len() <= 8
}

/// Whether there are sources, and not too many.
fn is_weighted(weights: &[u32]) -> bool {
    weights.iter().any(|weight| *weight > 0) && weights.len() <= SOURCES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Parameters;
    use crate::risk::{Pm2Parameters, Ratio};
    use crate::types::{ChainId, PublicKey, TimeMs};

    fn with_margin(damage: fn(&mut Pm2Parameters)) -> Result<(), GenesisError> {
        let mut parameters = Parameters::default();
        damage(&mut parameters.portfolio_margin);
        let genesis = Genesis {
            chain: ChainId([7; 32]),
            time: TimeMs::new(0),
            validators: vec![PublicKey([1; 32])],
            parameters,
            accounts: Vec::new(),
        };
        Engine::genesis(&genesis).map(drop)
    }

    #[test]
    fn no_venue_begins_with_margin_that_does_not_bound_open_orders() {
        use ParameterError::{Negative, NotConcave, TooManyScenarios};
        type Damage = fn(&mut Pm2Parameters);
        let damages: [(Damage, ParameterError); 5] = [
            (
                |p| p.scenarios.extend(p.scenarios.clone()),
                TooManyScenarios,
            ),
            (
                |p| p.loss.static_discount_pos = Ratio::from_ppm(1_000_001),
                NotConcave,
            ),
            (
                |p| p.loss.static_discount_neg = Ratio::from_ppm(999_999),
                NotConcave,
            ),
            (|p| p.contingency.im_option = Ratio::new(-1), Negative),
            (
                |p| {
                    for scenario in &mut p.scenarios {
                        scenario.damping = Ratio::new(-1);
                    }
                },
                Negative,
            ),
        ];
        assert_eq!(with_margin(|_| ()), Ok(()));
        for (damage, broken) in damages {
            assert_eq!(with_margin(damage), Err(GenesisError::Margin(broken)));
        }
    }
}
