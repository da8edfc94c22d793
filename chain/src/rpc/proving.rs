//! Words of storage, proven from a header's state root down.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::Encodable as _;
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use alloy_trie::proof::verify_proof;
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, TrieAccount};

/// The words at `slots` of an account under a state root.
///
/// # Errors
/// What does not hold.
pub fn words(
    state_root: B256,
    address: Address,
    slots: &[B256],
    proof: &EIP1186AccountProofResponse,
) -> Result<Vec<U256>, String> {
    let account = TrieAccount {
        nonce: proof.nonce,
        balance: proof.balance,
        storage_root: proof.storage_hash,
        code_hash: proof.code_hash,
    };
    let absent = account.nonce == 0
        && account.balance.is_zero()
        && [B256::ZERO, KECCAK_EMPTY].contains(&account.code_hash);
    let expected = (!absent).then(|| alloy_rlp::encode(account));
    let key = Nibbles::unpack(keccak256(address));
    verify_proof(state_root, key, expected, &proof.account_proof)
        .map_err(|error| format!("the account {address}: {error}"))?;
    let storage_root = if absent {
        EMPTY_ROOT_HASH
    } else {
        proof.storage_hash
    };
    slots
        .iter()
        .map(|slot| word(storage_root, *slot, proof))
        .collect()
}

fn word(
    storage_root: B256,
    slot: B256,
    proof: &EIP1186AccountProofResponse,
) -> Result<U256, String> {
    let mut given = proof.storage_proof.iter();
    let found = given.find(|entry| entry.key.as_b256() == slot);
    let entry = found.ok_or_else(|| format!("no proof of slot {slot}"))?;
    let expected = (!entry.value.is_zero()).then(|| {
        let mut bytes = Vec::new();
        entry.value.encode(&mut bytes);
        bytes
    });
    let key = Nibbles::unpack(keccak256(slot));
    verify_proof(storage_root, key, expected, &entry.proof)
        .map_err(|error| format!("slot {slot} of {}: {error}", proof.address))?;
    Ok(entry.value)
}
