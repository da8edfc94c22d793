//! `lifeboat exit`: leaving with a key and a proof, and no server of the venue's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::exit::{Leaving, Progress};
use lifeboat_chain::proof_file::{CheckedProof, CheckedWithdrawal, vault as vault_of};
use lifeboat_chain::{SettlementPort, Vault};
use lifeboat_gateway::civil_date;
use lifeboat_proof::exit::{SavedProof, Subject};
use serde_json::json;

use crate::arguments::ExitArguments;
use crate::prove::from_published;
use crate::say::Say;
use crate::settlement::{json_file, key, reach, runtime};

/// How often a wait looks at the chain again.
const LOOK: Duration = Duration::from_secs(15);
/// Transactions that any way out takes, and many more.
const STEPS_MAX: usize = 64;

/// Does everything that can be done now; with `--wait`, until the account has left.
pub fn exit(arguments: &ExitArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let file = match (&arguments.proof, &arguments.from) {
        (Some(path), _) => json_file(path)?,
        (None, Some(place)) => from_published(arguments, place, say)?,
        (None, None) => {
            bail!("give a saved proof with --proof, or with --from where blocks were published")
        }
    };
    runtime()?.block_on(async {
        let key = key(arguments.key_file.as_deref())?;
        let reached = reach(&arguments.chain, Some(key)).await?;
        let port: Arc<dyn SettlementPort> = reached.port.clone();
        let (chain, named) = vault_of(&file)?;
        if chain != port.chain().get() {
            bail!(
                "the proof is for chain {chain}, and this is chain {}: nothing was sent",
                port.chain()
            );
        }
        let vault = reached.vault(arguments.vault.or(Some(named)), arguments.from_block)?;
        match file.kind {
            Subject::Account => leave(arguments, vault, &file, say).await,
            Subject::Withdrawal => withdraw(vault, &file, say).await,
        }
    })
}

async fn leave(arguments: &ExitArguments, vault: Vault, file: &SavedProof, say: Say) -> Result<()> {
    let proof = CheckedProof::of(file, vault.port().chain().get(), vault.address())?;
    let owner = proof.leaf.owner.0.into();
    let recipient = arguments.to.unwrap_or(owner);
    say.line(format!(
        "Account {} of {owner}: {} units of cash and options on {} underlyings. The proof holds.",
        proof.leaf.account,
        proof.leaf.cash.get(),
        proof.leaf.ladders.len()
    ));
    let before = vault.balance_of(recipient).await?;
    let leaving = Leaving::new(vault.clone(), proof, recipient);
    let (mut gas, mut waits) = (0, None);
    for _ in 0..STEPS_MAX {
        match leaving
            .step()
            .await
            .context("the account has not left; it is safe to run this again")?
        {
            Progress::Did {
                what,
                transaction,
                gas: used,
            } => {
                gas += used;
                say.line(format!(
                    "Done: {what}. Transaction {transaction}, {used} gas."
                ));
            }
            Progress::Waiting { what, until } => {
                if waits != until || until.is_none() {
                    say.line(format!("Waiting{}: {what}.", at(until)));
                }
                waits = until;
                if !arguments.wait {
                    say.line(
                        "Run this again then, or give --wait. Nothing of the venue's is needed.",
                    );
                    say.object(
                        &json!({ "left": false, "until": until, "waiting": what, "gas": gas }),
                    );
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
            Progress::Left => {
                let paid = vault.balance_of(recipient).await?.saturating_sub(before);
                say.line(format!(
                    "The account has left. {recipient} got {paid} units; {gas} gas."
                ));
                say.object(&json!({ "left": true, "paid": paid, "gas": gas }));
                return Ok(());
            }
        }
    }
    bail!("{STEPS_MAX} steps did not end it; it is safe to run this again")
}

/// Claims a withdrawal.
pub async fn withdraw(vault: Vault, file: &SavedProof, say: Say) -> Result<()> {
    let proof = CheckedWithdrawal::of(file, vault.port().chain().get(), vault.address())?;
    let leaf = &proof.leaf;
    let checkpoint = vault.checkpoint_over(proof.root).await?;
    let checkpoint = checkpoint.context(
        "the vault does not keep the root that this proof leads to: it is not posted yet, or more than \
         1 024 checkpoints old. Make a proof under the last checkpoint",
    )?;
    let receipt = vault.withdraw(&file.leaf, &proof.path, checkpoint).await;
    let receipt = receipt.context("the withdrawal was not paid; it stays claimable")?;
    let recipient = lifeboat_chain::Address::from(leaf.recipient.0);
    say.line(format!(
        "Withdrawal {} of {} units to {recipient} was claimed, or queued over the hourly limit (then run \
         this again later). {} gas.",
        leaf.number,
        leaf.amount.get(),
        receipt.gas
    ));
    say.object(&json!({ "number": leaf.number, "gas": receipt.gas }));
    Ok(())
}

/// A chain's time, for a person.
fn at(until: Option<u64>) -> String {
    let Some(until) = until else {
        return String::new();
    };
    let day = until / 86_400;
    let (hour, minute) = (until / 3_600 % 24, until / 60 % 60);
    let (year, month, date) = civil_date(day);
    format!(" until {year}-{month:02}-{date:02} {hour:02}:{minute:02} UTC by the chain's clock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        let cases = [
            (0, " until 1970-01-01 00:00"),
            (951_782_399, " until 2000-02-28 23:59"),
            (951_782_400, " until 2000-02-29 00:00"),
            (1_772_323_200, " until 2026-03-01 00:00"),
            (1_798_761_540, " until 2026-12-31 23:59"),
        ];
        for (time, text) in cases {
            assert!(at(Some(time)).starts_with(text), "{}", at(Some(time)));
        }
        assert!(at(None).is_empty());
    }
}
