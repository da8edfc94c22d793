//! A saved proof from nothing but the log: for whoever leaves when no server answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use lifeboat_engine::types::{AccountId, Address, Height};
use lifeboat_proof::exit::{SavedProof, Subject, prove_withdrawal};

use super::archive::Held;
use super::proof::check;
use crate::consensus::{Scheme, outward};
use crate::files::Files;
use crate::journal::{JournalError, Reader};
use crate::machine::Blueprint;
use crate::verify::{VerifyError, state_after};

/// What a proof is wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An account's exit leaf.
    Account(AccountId),
    /// The exit leaf of an owner's account.
    Owner(Address),
    /// A withdrawal, by its number.
    Withdrawal(u32),
}

/// Why a log gives no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log cannot be read or does not hold.
    #[error(transparent)]
    Log(#[from] VerifyError),
    /// The venue has no vault.
    #[error("the venue has no vault: there is nothing to leave")]
    NoVault,
    /// No certified header carries the checkpoint.
    #[error("the log ends before a certified header that carries {0}")]
    NotThere(String),
    /// The account or withdrawal is not in the checkpoint.
    #[error("the checkpoint after block {0} holds no such account or withdrawal")]
    Unknown(Height),
    /// The replay differs from what was certified.
    #[error("the exits after block {0} are not those that the validators certified")]
    Differs(Height),
}

type Certified = (Height, Vec<u8>, Vec<u8>);

/// Replays a log to the state of a checkpoint, comparing every agreed root on the way, and proves an
/// account or a withdrawal under it: the checkpoint that headers with executed height `executed` carry,
/// or the newest.
///
/// # Errors
/// See [`ProveError`].
pub fn prove(
    files: &Arc<dyn Files>,
    blueprint: &dyn Blueprint,
    scheme: &Scheme,
    (wanted, executed): (Wanted, Option<Height>),
    progress: impl FnMut(u64, u64),
) -> Result<SavedProof, ProveError> {
    let rule = blueprint.exits().ok_or(ProveError::NoVault)?;
    let of = executed.map(|executed| rule.height_for(executed));
    let carried = carried(files, blueprint, scheme, of)?;
    let (height, header, certificate) = carried.ok_or_else(|| {
        let what = "the checkpoint that the vault knows";
        ProveError::NotThere(executed.map_or("a checkpoint", |_| what).to_owned())
    })?;
    let machine = state_after(files.clone(), blueprint, scheme, height, progress)?;
    let checkpoint = machine.exits().ok_or(ProveError::NoVault)?;
    let held = Held {
        checkpoint,
        header,
        certificate,
    };
    let unknown = ProveError::Unknown(height);
    let (kind, found) = match wanted {
        Wanted::Account(account) => (Subject::Account, held.checkpoint.prove_account(account)),
        Wanted::Owner(owner) => {
            let engine = machine.engine();
            let account = engine.and_then(|engine| engine.account_by_owner(&owner));
            let found = account.and_then(|account| held.checkpoint.prove_account(account));
            (Subject::Account, found)
        }
        Wanted::Withdrawal(number) => {
            let summary = held.checkpoint.summaries.first();
            let vault = machine.engine().and_then(|engine| engine.vaults().first());
            let both = summary.zip(vault);
            let found = both.and_then(|(s, v)| prove_withdrawal(s, v.withdrawals(), number));
            (Subject::Withdrawal, found)
        }
    };
    let (leaf, path) = found.ok_or(unknown)?;
    let saved = held.saved(kind, &leaf, &path);
    check(&saved, scheme).map_err(|_| ProveError::Differs(height))?;
    Ok(saved)
}

/// The certified header that carries the exits after a height, or the newest there is.
fn carried(
    files: &Arc<dyn Files>,
    blueprint: &dyn Blueprint,
    scheme: &Scheme,
    of: Option<Height>,
) -> Result<Option<Certified>, ProveError> {
    let rule = blueprint.exits().ok_or(ProveError::NoVault)?;
    let mut found: BTreeMap<Height, Certified> = BTreeMap::new();
    for record in Reader::open(files.clone(), Height::new(0)).map_err(failed)? {
        let record = match record {
            Ok(record) => record,
            // A crash tears the tail: what is before it counts.
            Err(JournalError::Torn { .. }) => break,
            Err(error) => return Err(VerifyError::from(error).into()),
        };
        let header = record.block.header();
        let height = rule.height_for(header.executed);
        let wanted = height.get() > 0 && of.is_none_or(|of| of == height);
        if !wanted || record.certificate.is_empty() || found.contains_key(&height) {
            continue;
        }
        if let Some(certificate) = outward(header, record.certificate.clone(), scheme) {
            found.insert(height, (height, header.encode().to_vec(), certificate));
        }
    }
    Ok(found.pop_last().map(|(_, certified)| certified))
}

fn failed(error: io::Error) -> VerifyError {
    error.into()
}
