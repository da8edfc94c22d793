//! A proof to leave with, from published blocks and nobody's server.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_chain::Stage;
use lifeboat_engine::types::{AccountId, Address, Height};
use lifeboat_node::exits::{Wanted, prove};
use lifeboat_node::files::{Disk, Files};
use lifeboat_node::verify::public_part;
use lifeboat_proof::exit::SavedProof;

use crate::arguments::ExitArguments;
use crate::say::Say;
use crate::settlement::{key, reach, runtime};
use crate::verify::{fetch, folder};

/// Replays what was published up to the checkpoint that a frozen vault knows, or up to the newest while
/// the vault still takes one, and makes the proof.
pub fn from_published(arguments: &ExitArguments, place: &str, say: Say) -> Result<SavedProof> {
    let given = arguments.genesis.as_deref().unwrap_or(Path::new("."));
    let (venue, scheme) = public_part(&folder(given, true)?)?;
    let parameters = &venue.genesis().parameters;
    let vault = parameters
        .vaults
        .first()
        .context("the venue has no vault to leave")?;
    let vault = vault.vault.0.into();
    let executed = runtime()?.block_on(async {
        let reached = reach(&arguments.chain, None).await?;
        let head = reached
            .vault(Some(vault), arguments.from_block)?
            .head()
            .await?;
        let over = head.stage != Stage::Live;
        anyhow::Ok(over.then_some(Height::new(head.executed)))
    })?;
    let wanted = match (arguments.account, arguments.withdrawal) {
        (Some(account), _) => Wanted::Account(AccountId::new(account)),
        (None, Some(number)) => Wanted::Withdrawal(number),
        (None, None) => {
            let key = key(arguments.key_file.as_deref())?;
            Wanted::Owner(Address(key.address().0.0))
        }
    };
    let copy = fetch(place, Path::new("."), venue.genesis().chain, say)?;
    let files: Arc<dyn Files> = Arc::new(Disk::open(copy.path())?);
    let bar = say.bar(0, "replaying to the checkpoint");
    let made = prove(&files, &venue, &scheme, (wanted, executed), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let made = made.context("no proof could be made; nothing was sent")?;
    if let Some(path) = &arguments.save {
        let text = serde_json::to_string_pretty(&made)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    say.line(format!(
        "Made a proof of the state after block {}, from published blocks alone.",
        made.height
    ));
    Ok(made)
}
