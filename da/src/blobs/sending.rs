//! Blob transactions: made, signed, paid for, and followed until they are settled.

use std::time::Duration;

use alloy_consensus::{SignableTransaction as _, TxEip4844, TxEip4844WithSidecar};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_eips::eip4844::Blob;
use alloy_eips::eip7594::BlobTransactionSidecarEip7594;
use alloy_primitives::{Signature, U256};
use k256::ecdsa::SigningKey;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::Address;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ethereum, hex, packing, quantity};
use crate::label::{LABEL_BYTES, Label};
use crate::layer::LayerError;
use crate::posted::PostingChain as _;
use crate::rpc::CallError;

/// Gas of a transaction: its base and its input at the floor price of EIP-7623 (10 a token, 4
/// tokens a byte that is not zero). Nothing runs at the inbox.
const GAS: u64 = 21_000 + 40 * LABEL_BYTES as u64;
/// Least that a unit of gas is tipped, in wei, whatever the node suggests.
const TIP_MIN: u128 = 1_000_000;
/// Least that is bid for a unit of blob gas, in wei.
const BLOB_FEE_MIN: u128 = 1_000_000;
/// Time between two looks at a transaction.
const POLL: Duration = Duration::from_millis(500);

/// A secp256k1 key that signs blob transactions. Its account holds what publishing costs, no more.
#[derive(Clone)]
pub struct BlobKey(SigningKey);

impl BlobKey {
    /// A key from its secret scalar.
    ///
    /// # Errors
    /// When it is zero or not below the group's order.
    pub fn new(secret: &[u8; 32]) -> Result<Self, LayerError> {
        let key = SigningKey::from_slice(secret);
        let wrong = |_| LayerError::Permanent("the secret is not a secp256k1 key".into());
        key.map(Self).map_err(wrong)
    }

    /// The key's address.
    pub fn address(&self) -> Address {
        let point = self.0.verifying_key().to_sec1_point(false);
        let digest = keccak256(&point.as_bytes()[1..]);
        let mut address = Address::default();
        address.0.copy_from_slice(&digest.0[12..]);
        address
    }

    fn sign(&self, digest: &[u8; 32]) -> Signature {
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
        let (r, s) = signature.split_bytes();
        let number = |bytes: &[u8]| U256::from_be_slice(bytes);
        Signature::new(number(&r), number(&s), recovery.is_y_odd())
    }
}

/// What a transaction pays at most, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    /// For a unit of gas, tip included.
    pub gas: u128,
    /// To the proposer, for a unit of gas.
    pub tip: u128,
    /// For a unit of blob gas.
    pub blob: u128,
}

impl Fees {
    /// What may replace a transaction that paid `self`: nodes ask for twice as much of a blob
    /// transaction's every fee.
    fn at_least_double(self, now: Self) -> Self {
        Self {
            gas: now.gas.max(self.gas.saturating_mul(2)),
            tip: now.tip.max(self.tip.saturating_mul(2)),
            blob: now.blob.max(self.blob.saturating_mul(2)),
        }
    }

    fn capped(self, max: u128) -> Self {
        Self {
            gas: self.gas.min(max),
            tip: self.tip.min(max),
            blob: self.blob.min(max),
        }
    }
}

/// A transaction on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    nonce: u64,
    fees: Fees,
    hash: String,
    input: [u8; LABEL_BYTES],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Included {
    block_number: String,
    status: String,
}

/// Posts one piece and waits until its block is settled.
pub(super) async fn post(chain: &Ethereum, label: &Label, bytes: &[u8]) -> Result<u64, LayerError> {
    let Some(key) = &chain.config.key else {
        return Err(LayerError::Permanent(
            "this layer was opened to read".into(),
        ));
    };
    let mut sent = chain.sent.lock().await;
    let publisher = chain.config.publisher.to_string();
    let nonce = chain.quantity("eth_getTransactionCount", json!([publisher, "latest"]));
    let nonce: u64 = nonce.await?;
    let before = sent.as_ref().filter(|sent| sent.nonce == nonce);
    let mut fees = current_fees(chain).await?;
    if let Some(stuck) = before {
        fees = stuck.fees.at_least_double(fees);
    }
    let fees = fees.capped(chain.config.fee_max);
    let same = |stuck: &&Sent| stuck.input == label.encode() && stuck.fees == fees;
    // At the cap there is nothing to replace it with: go on waiting for it.
    if before.filter(same).is_none() {
        let (raw, hash) = transaction(chain, key, label, bytes, nonce, fees).await?;
        let input = label.encode();
        let answer: Result<Value, CallError> = chain
            .execution
            .call("eth_sendRawTransaction", json!([raw]))
            .await;
        answer.map_err(refused)?;
        *sent = Some(Sent {
            nonce,
            fees,
            hash,
            input,
        });
    }
    let hash = sent
        .as_ref()
        .map(|sent| sent.hash.clone())
        .unwrap_or_default();
    let block = settled(chain, &hash).await?;
    *sent = None;
    Ok(block)
}

/// Twice the current base fees, which they reach after six full blocks at the earliest.
async fn current_fees(chain: &Ethereum) -> Result<Fees, LayerError> {
    let latest = chain.block("latest").await?;
    let base = latest.and_then(|block| block.base_fee_per_gas);
    let base: u128 = quantity(base.as_deref().unwrap_or("0x0"))?;
    let tip: u128 = chain
        .quantity("eth_maxPriorityFeePerGas", json!([]))
        .await?;
    let blob: u128 = chain.quantity("eth_blobBaseFee", json!([])).await?;
    let tip = tip.max(TIP_MIN);
    Ok(Fees {
        gas: base.saturating_mul(2).saturating_add(tip),
        tip,
        blob: blob.saturating_mul(2).max(BLOB_FEE_MIN),
    })
}

/// A signed transaction with its blobs, ready to send, and its hash.
async fn transaction(
    chain: &Ethereum,
    key: &BlobKey,
    label: &Label,
    bytes: &[u8],
    nonce: u64,
    fees: Fees,
) -> Result<(String, String), LayerError> {
    let chain_id = {
        let mut known = chain.chain_id.lock().await;
        match *known {
            Some(id) => id,
            None => *known.insert(chain.quantity("eth_chainId", json!([])).await?),
        }
    };
    let blobs = packing::pack(bytes);
    let (inbox, input, key) = (chain.inbox, label.encode(), key.clone());
    // Cell proofs are a good part of a second of work for each blob.
    let make = tokio::task::spawn_blocking(move || {
        let blobs = blobs.iter().map(|blob| Blob::from_slice(blob)).collect();
        let sidecar = BlobTransactionSidecarEip7594::try_from_blobs(blobs);
        let wrong = |error| LayerError::Permanent(format!("the blobs have no proofs: {error}"));
        let sidecar = sidecar.map_err(wrong)?;
        let tx = TxEip4844 {
            chain_id,
            nonce,
            gas_limit: GAS,
            max_fee_per_gas: fees.gas,
            max_priority_fee_per_gas: fees.tip,
            to: inbox.0.into(),
            value: U256::ZERO,
            access_list: Default::default(),
            blob_versioned_hashes: sidecar.versioned_hashes().collect(),
            max_fee_per_blob_gas: fees.blob,
            input: input.to_vec().into(),
        };
        let signature = key.sign(&tx.signature_hash().0);
        let signed = TxEip4844WithSidecar { tx, sidecar }.into_signed(signature);
        Ok((hex(&signed.encoded_2718()), signed.hash().to_string()))
    });
    let stopped = |_| LayerError::Transient("the runtime is stopping".into());
    make.await.map_err(stopped)?
}

/// Waits until a transaction is in a settled block, and says which.
async fn settled(chain: &Ethereum, hash: &str) -> Result<u64, LayerError> {
    let polls = chain.config.stuck_after.as_millis() / POLL.as_millis();
    for _ in 0..=polls {
        let call = chain
            .execution
            .call("eth_getTransactionReceipt", json!([hash]));
        let receipt: Option<Included> = call.await?;
        if let Some(receipt) = receipt {
            let block = quantity(&receipt.block_number)?;
            if receipt.status != "0x1" {
                let what = format!("transaction {hash} failed in block {block}");
                return Err(LayerError::Permanent(what));
            }
            if chain.head().await? >= block {
                return Ok(block);
            }
        }
        tokio::time::sleep(POLL).await;
    }
    let what = format!("transaction {hash} is not settled yet; the next try pays more");
    Err(LayerError::Transient(what))
}

/// A race with a transaction of before resolves itself; an empty account does not.
fn refused(error: CallError) -> LayerError {
    match error {
        CallError::Refused { code, message } => {
            let lower = message.to_lowercase();
            let races = ["nonce", "already known", "already imported", "underpriced"];
            let passes = races.iter().any(|race| lower.contains(race));
            let what = format!("{message} (code {code})");
            if passes {
                LayerError::Transient(what)
            } else {
                LayerError::Permanent(what)
            }
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use alloy_eips::eip4844::Blob;
    use alloy_eips::eip4844::env_settings::EnvKzgSettings;
    use alloy_eips::eip7594::BlobTransactionSidecarEip7594;

    use super::super::packing;
    use super::{BlobKey, Fees};

    /// The first account of the well-known test mnemonic.
    #[test]
    fn a_key_has_its_address() {
        let secret = super::super::unhex(
            "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        );
        let key = BlobKey::new(&secret.unwrap().try_into().unwrap()).unwrap();
        let address = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
        assert_eq!(key.address().to_string(), address);
        assert!(BlobKey::new(&[0; 32]).is_err());
    }

    #[test]
    fn a_replacement_pays_twice_as_much_up_to_the_cap() {
        let fees = |gas, tip, blob| Fees { gas, tip, blob };
        let stuck = fees(10, 1, 4);
        assert_eq!(stuck.at_least_double(fees(30, 1, 5)), fees(30, 2, 8));
        assert_eq!(fees(30, 2, 8).capped(7), fees(7, 2, 7));
    }

    /// Every cell of every blob proves, and none does after a flipped bit.
    #[test]
    fn cell_proofs_hold() {
        let blobs = packing::pack(&vec![0xa5; packing::BLOB_PLAIN_BYTES + 5]);
        let blobs = blobs.iter().map(|blob| Blob::from_slice(blob)).collect();
        let mut sidecar = BlobTransactionSidecarEip7594::try_from_blobs(blobs).unwrap();
        assert_eq!(
            (sidecar.blobs.len(), sidecar.cell_proofs.len()),
            (2, 2 * 128)
        );
        let hashes: Vec<_> = sidecar.versioned_hashes().collect();
        let settings = EnvKzgSettings::Default.get();
        sidecar.validate(&hashes, settings).unwrap();
        sidecar.blobs[1][31] ^= 1;
        assert!(sidecar.validate(&hashes, settings).is_err());
    }
}
