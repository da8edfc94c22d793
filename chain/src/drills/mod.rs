//! Drills of the settlement chain, each a function that runs on any [`Development`] chain: in memory in
//! a test, against a real node when live.
//!
//! | drill | function |
//! |---|---|
//! | 15, a deposit's block is reorganised away | [`deposit_reorg`] |
//! | 17, somebody has a key and wants 30 % of the vault | [`stolen_key`] |
//! | 20, the settlement chain stands still for five hours | [`halted_chain`] |
//! | 21, the operator is gone for good and everybody leaves | [`everybody_leaves`] |
//!
//! The venue here is synthetic: accounts with ladders that sum to zero, and a group key in one hand. What
//! real consensus signs is held to the same contracts elsewhere.

mod anvil;
mod committee;
mod deposit_reorg;
mod everybody_leaves;
mod halted_chain;
mod halting;
mod stolen_key;
mod synthetic;

use std::sync::Arc;

use alloy_primitives::Address;
use lifeboat_engine::types::{self, ChainId, Price};

use crate::deploy::{Deployment, DeploymentPlan, deploy};
use crate::exit::ExitError;
use crate::port::{ChainError, Development, SettlementPort};
use crate::vault::Vault;

pub use anvil::{Anvil, FUNDED_KEY};
pub use committee::GroupKey;
pub use deposit_reorg::{ReorgReport, deposit_reorg};
pub use everybody_leaves::{LeavingReport, everybody_leaves};
pub use halted_chain::{HaltReport, Interruption, halted_chain};
pub use halting::{Halting, Switch};
pub use stolen_key::{StolenKeyReport, stolen_key};
pub use synthetic::{Certified, SyntheticVenue};

/// The synthetic venue's id.
pub const VENUE: ChainId = ChainId([7; 32]);
/// Marks at the start: BTC and ETH.
pub const MARKS: [Price; 2] = [Price::new(64_000_000_000), Price::new(3_200_000_000)];
/// What may always leave a drill's vault in an hour.
const OUTFLOW_FLOOR: u64 = 1_000_000;

/// Why a drill did not pass.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// What should hold did not.
    #[error("{0}")]
    Failed(String),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The way out.
    #[error(transparent)]
    Exit(#[from] ExitError),
    /// A node could not be started.
    #[error("the node: {0}")]
    Node(#[from] std::io::Error),
}

/// Fails a drill unless something holds.
fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), DrillError> {
    match holds {
        true => Ok(()),
        false => Err(DrillError::Failed(what())),
    }
}

/// A development chain with a vault on it and a venue that knows it.
pub struct World {
    /// The chain.
    pub chain: Arc<dyn Development>,
    /// Where the contracts are.
    pub deployment: Deployment,
    /// The vault.
    pub vault: Vault,
    /// The venue.
    pub venue: SyntheticVenue,
}

impl World {
    /// Deploys everything.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn new(chain: Arc<dyn Development>) -> Result<Self, ChainError> {
        let key = GroupKey::from_seed([9; 32]);
        let port: Arc<dyn SettlementPort> = chain.clone();
        let plan = DeploymentPlan {
            venue: VENUE,
            group_key: &key.public(),
            prices: &MARKS,
            outflow_floor: OUTFLOW_FLOOR,
        };
        let deployment = deploy(&port, &plan).await?;
        let vault = Vault::new(port, deployment.vault);
        let venue = SyntheticVenue::new(
            key,
            chain.chain(),
            owner(deployment.vault),
            owner(deployment.pool),
        );
        Ok(Self {
            chain,
            deployment,
            vault,
            venue,
        })
    }

    /// The chain without what only development allows.
    pub fn port(&self) -> Arc<dyn SettlementPort> {
        self.chain.clone()
    }
}

/// An address as the engine writes it.
pub const fn owner(address: Address) -> types::Address {
    types::Address(address.0.0)
}
