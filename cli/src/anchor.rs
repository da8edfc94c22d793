//! `lifeboat anchor`: what a vault owes beside what it holds, proven.

use anyhow::{Result, bail};
use lifeboat_chain::anchor::anchor as compare;

use crate::arguments::AnchorArguments;
use crate::say::Say;
use crate::settlement::{reach, runtime};

/// Prints the comparison; fails when assets do not cover liabilities.
pub fn anchor(arguments: &AnchorArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let found = runtime()?.block_on(async {
        let reached = reach(&arguments.chain, None).await?;
        let vault = reached.vault(arguments.vault, arguments.from_block)?;
        anyhow::Ok(compare(&vault).await?)
    })?;
    say.line(format!(
        "Vault {} on chain {}, after block {} ({}):",
        found.vault, found.chain, found.block, found.evidence
    ));
    say.line(format!(
        "  checkpoint {} carries the venue's state after block {}",
        found.checkpoint, found.executed
    ));
    let rows = [
        ("owed to accounts", found.accounts),
        ("certified withdrawals, unclaimed", found.withdrawals),
        ("deposits, not credited yet", found.uncredited),
        ("held for crystallised accounts", found.held),
        ("liabilities", found.liabilities),
        ("assets", found.assets),
    ];
    for (name, units) in rows {
        say.line(format!(
            "  {name:<34} {:>16}.{:06}",
            units / 1_000_000,
            units % 1_000_000
        ));
    }
    say.object(&found);
    if !found.covered {
        bail!("the vault holds less than it owes");
    }
    say.line("Assets cover liabilities.");
    Ok(())
}
