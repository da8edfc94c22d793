//! The EIP-712 digest of a payload: what an owner's wallet shows and signs.
//!
//! Every owner command is the struct
//! `Command(uint32 account,uint64 nonce,uint64 validUntil,string action,bytes payload)`, where
//! `action` names the command in words a person can read in the wallet and `payload` is the
//! canonical encoding of the action, so that nothing is signed unseen by the engine.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use crate::command::{Action, UserPayload};
use crate::commitment::keccak256;
use crate::types::{ChainId, Digest};

const DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,string version,bytes32 salt)";
const COMMAND_TYPE: &[u8] =
    b"Command(uint32 account,uint64 nonce,uint64 validUntil,string action,bytes payload)";

/// `keccak256(0x1901 || domain separator || struct hash)`; the chain id is the domain's salt.
pub(super) fn digest(payload: &UserPayload, chain: &ChainId) -> Digest {
    let domain = words(&[
        keccak256(DOMAIN_TYPE).0,
        keccak256(b"Lifeboat").0,
        keccak256(b"1").0,
        chain.0,
    ]);
    let encoded = borsh::to_vec(&payload.action).unwrap_or_default();
    let command = words(&[
        keccak256(COMMAND_TYPE).0,
        word(u64::from(payload.account.get())),
        word(payload.nonce.get()),
        word(payload.valid_until.get()),
        keccak256(words_of(&payload.action).as_bytes()).0,
        keccak256(&encoded).0,
    ]);
    let mut message = Vec::with_capacity(66);
    message.extend_from_slice(&[0x19, 0x01]);
    message.extend_from_slice(&domain.0);
    message.extend_from_slice(&command.0);
    keccak256(&message)
}

fn words(words: &[[u8; 32]]) -> Digest {
    keccak256(&words.concat())
}

fn word(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    if let Some(tail) = word.get_mut(24..) {
        tail.copy_from_slice(&value.to_be_bytes());
    }
    word
}

/// What a wallet shows. A withdrawal says it all: it is the one command that cannot be made good.
fn words_of(action: &Action) -> Cow<'static, str> {
    match action {
        Action::Withdraw {
            chain,
            recipient,
            amount,
        } => {
            let units = amount.get().unsigned_abs();
            let (whole, rest) = (units / 1_000_000, units % 1_000_000);
            Cow::Owned(format!(
                "Withdraw {whole}.{rest:06} USDC to {recipient} on chain {chain}"
            ))
        }
        other => Cow::Borrowed(name(other)),
    }
}

const fn name(action: &Action) -> &'static str {
    match action {
        Action::PlaceOrder(_) => "Place order",
        Action::AmendOrder(_) => "Amend order",
        Action::CancelOrder(_) => "Cancel order",
        Action::CancelAll(_) => "Cancel all orders",
        Action::MassQuote(_) => "Mass quote",
        Action::SetMarketMakerProtection(_) => "Set market-maker protection",
        Action::RegisterSession { .. } => "Register trade-only session key",
        Action::RevokeSession { .. } => "Revoke session key",
        Action::SetMarginModel(_) => "Set margin model",
        Action::BidLiquidation { .. } => "Bid in liquidation auction",
        Action::Withdraw { .. } => "Withdraw",
        Action::SealOrder(_) => "Place sealed order",
        Action::WithdrawSealed { .. } => "Withdraw sealed order",
    }
}
