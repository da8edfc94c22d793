//! `lifeboat init`: keys and configuration for the validators of a new venue.

use anyhow::{Result, bail};
use lifeboat_drill::plan::Backing;
use lifeboat_node::node::Tuning;

use crate::arguments::InitArguments;
use crate::development::{Plan, VenueFile, api_keys_path, create};
use crate::say::Say;
use crate::vault::settlement_plan;

/// Writes a new venue's folder.
pub fn init(arguments: &InitArguments) -> Result<()> {
    let out = &arguments.out;
    if out.exists() {
        bail!(
            "{} exists already; nothing was written. Choose another folder",
            out.display()
        );
    }
    let plan = Plan {
        seed: arguments.seed,
        validators: arguments.validators,
        traders: arguments.traders,
        quoters: arguments.quoters,
        base_port: Some(arguments.base_port),
        replay: None,
        speed: arguments.speed,
        start_ms: arguments.start_ms,
        backing: Backing {
            fund_usdc: arguments.fund_usdc,
            stake_usdc: arguments.stake_usdc,
        },
        publish: arguments.publish.clone(),
        settlement: settlement_plan(&arguments.settlement),
        tuning: Tuning::default(),
    };
    create(out, &plan)?;
    let say = Say::new(false);
    say.line(format!(
        "Wrote a venue of {} validators to {}.",
        plan.validators,
        out.display()
    ));
    say.line("");
    say.line("DEVELOPMENT KEYS. One process made every validator's secrets and the accounts' keys");
    say.line(format!(
        "follow from seed {}: whoever has this folder, or knows the seed,",
        plan.seed
    ));
    say.line("has the venue. Never put real money behind them.");
    say.line("");
    for index in 0..plan.validators {
        let folder = VenueFile::node_folder(out, index);
        say.line(format!(
            "  lifeboat node --config {}",
            folder.join("node.toml").display()
        ));
    }
    if plan.publish.is_none() {
        say.line(
            "Blocks are published nowhere: the loss of every validator's disk at once would be final. \
             `--publish PLACE`, or `publish` in each node.toml, changes that.",
        );
    }
    say.line(format!(
        "API keys for clients: {}. `--gateway ADDRESS` lets a validator serve them.",
        api_keys_path(out).display()
    ));
    Ok(())
}
