//! A vault and what it needs on a development chain, from the checked-in artifacts.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, I256, U256};
use alloy_sol_types::{SolCall as _, SolConstructor};
use lifeboat_engine::types::{self, ChainId, Price};
use serde::{Deserialize, Serialize};

use crate::bindings::feed::PriceFeed;
use crate::bindings::key::ValidatorKey;
use crate::bindings::token::Token;
use crate::bindings::vault::LifeboatVault::{self, Feed};
use crate::bls;
use crate::port::{Call, ChainError, SettlementPort};
use crate::vault::{self, Vault};

/// Digits after the point of a development feed: those of [`Price`].
const FEED_DECIMALS: u8 = 6;
/// A development feed's answer is good for so long, in seconds: a day and an hour, so that a feed that
/// nobody feeds any more still answers when the vault may be frozen.
const FEED_AGE_MAX: u32 = 25 * 3_600;
/// A development feed's prices lie between these, in 1e-6 USDC.
const FEED_BOUNDS: (u64, u64) = (1_000, 1_000_000_000_000_000);

/// Where a development deployment's contracts are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain's EIP-155 id.
    pub chain: u64,
    /// The vault.
    pub vault: Address,
    /// The insurance pool.
    pub pool: Address,
    /// The collateral.
    pub token: Address,
    /// The validators' key.
    pub key: Address,
    /// Price feeds by underlying id.
    pub feeds: Vec<Address>,
}

/// What a deployment is for.
#[derive(Clone, Debug)]
pub struct DeploymentPlan<'a> {
    /// The venue.
    pub venue: ChainId,
    /// The validators' group key: a compressed point of G2.
    pub group_key: &'a [u8],
    /// Prices of the underlyings at the start, by id.
    pub prices: &'a [Price],
    /// What may always leave the vault in an hour, in units of the token.
    pub outflow_floor: u64,
}

/// Deploys token, feeds, key and vault, the sender being the guardian.
///
/// # Errors
/// See [`ChainError`].
pub async fn deploy(
    port: &Arc<dyn SettlementPort>,
    plan: &DeploymentPlan<'_>,
) -> Result<Deployment, ChainError> {
    let admin = port.sender().ok_or(ChainError::NoSender)?;
    let token = create(port, &Token::BYTECODE, &[]).await?;
    let mut feeds = Vec::with_capacity(plan.prices.len());
    for price in plan.prices {
        let constructor = PriceFeed::constructorCall {
            decimals_: FEED_DECIMALS,
        };
        let feed = create(port, &PriceFeed::BYTECODE, &constructor.abi_encode()).await?;
        set_price(port, feed, *price).await?;
        feeds.push(feed);
    }
    let group_key =
        bls::group_key(plan.group_key).map_err(|error| ChainError::Malformed(error.to_string()))?;
    let constructor = ValidatorKey::constructorCall {
        venue: plan.venue.0.into(),
        key: group_key.into(),
    };
    let key = create(port, &ValidatorKey::BYTECODE, &constructor.abi_encode()).await?;
    let constructor = LifeboatVault::constructorCall {
        token,
        validators: key,
        feeds: feeds.iter().map(|aggregator| feed(*aggregator)).collect(),
        outflowFloor: plan.outflow_floor,
        admin,
    };
    let vault = create(port, &LifeboatVault::BYTECODE, &constructor.abi_encode()).await?;
    let pool = Vault::new(port.clone(), vault).pool().await?;
    Ok(Deployment {
        chain: port.chain().get(),
        vault,
        pool,
        token,
        key,
        feeds,
    })
}

/// Mints development collateral and deposits it for these owners, in this order.
///
/// # Errors
/// See [`ChainError`].
pub async fn endow(
    port: &Arc<dyn SettlementPort>,
    deployment: &Deployment,
    deposits: &[(types::Address, u64)],
) -> Result<(), ChainError> {
    let to = port.sender().ok_or(ChainError::NoSender)?;
    let amount = deposits.iter().map(|(_, amount)| U256::from(*amount)).sum();
    let mint = Token::mintCall { to, amount }.abi_encode();
    let (spender, value) = (deployment.vault, amount);
    let approve = Token::approveCall { spender, value }.abi_encode();
    for input in [mint, approve] {
        port.send(Call::to(deployment.token, input)).await?;
    }
    let calls = deposits.iter().map(|(owner, amount)| {
        let (owner, amount) = (vault::address(*owner), *amount);
        let deposit = LifeboatVault::depositCall { owner, amount };
        Call::to(deployment.vault, deposit.abi_encode())
    });
    port.send_all(calls.collect()).await.map(drop)
}

fn feed(aggregator: Address) -> Feed {
    Feed {
        aggregator,
        decimals: FEED_DECIMALS,
        ageMax: FEED_AGE_MAX,
        priceMin: FEED_BOUNDS.0,
        priceMax: FEED_BOUNDS.1,
    }
}

async fn create(
    port: &Arc<dyn SettlementPort>,
    code: &Bytes,
    arguments: &[u8],
) -> Result<Address, ChainError> {
    let input = [code, arguments].concat().into();
    let receipt = port.send(Call { to: None, input }).await?;
    let made = receipt.created;
    made.ok_or_else(|| ChainError::Malformed("no contract was made".into()))
}

/// Sets a development feed, as of the chain's newest block.
///
/// # Errors
/// See [`ChainError`].
pub async fn set_price(
    port: &Arc<dyn SettlementPort>,
    feed: Address,
    price: Price,
) -> Result<(), ChainError> {
    let time = port.newest().await?.time;
    let set = PriceFeed::setCall {
        answer_: I256::try_from(price.get()).unwrap_or_default(),
        updatedAt_: U256::from(time),
    };
    port.send(Call::to(feed, set.abi_encode())).await?;
    Ok(())
}
