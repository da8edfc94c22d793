//! `lifeboat practice`: a vault on a development chain, and an account in it to leave with.

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::drills::{FUNDED_KEY, World, owner};
use lifeboat_chain::{ChainKey, SettlementPort as _};
use serde_json::json;

use crate::arguments::PracticeArguments;
use crate::say::Say;
use crate::settlement::{reach, runtime};

/// The second of the accounts that anvil gives money to; everybody knows its key.
const OWNER_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// Ids of chains that are for development.
pub const DEVELOPMENT_CHAINS: [u64; 2] = [31_337, 1_337];
/// Money of the account, and of the one that it trades with.
const MONEY: u64 = 25_000_000_000;

/// Deploys a vault, gives two accounts money and options against each other, posts one checkpoint and
/// writes one account's key and proof.
pub fn practice(arguments: &PracticeArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let folder = &arguments.out;
    if folder.exists() {
        bail!(
            "{} exists already; nothing was done. Choose another --out",
            folder.display()
        );
    }
    runtime()?.block_on(async {
        let funded = ChainKey::parse(FUNDED_KEY)?;
        let port = reach(&arguments.chain, Some(funded)).await?.port;
        let id = port.chain().get();
        if !DEVELOPMENT_CHAINS.contains(&id) {
            bail!("chain {id} is no development chain; nothing was done. Start `anvil` and name its URL");
        }
        let mut world = World::new(port).await?;
        let holder = owner(ChainKey::parse(OWNER_KEY)?.address());
        let other = lifeboat_engine::types::Address([0x0b; 20]);
        for whose in [holder, other] {
            let account = world.venue.open(whose);
            world.vault.deposit_minted(whose, MONEY).await?;
            world.venue.credit(account, MONEY);
        }
        // Ten lots of a call a step over the mark, bought from the other.
        world.venue.trade(1, 2, 0, 9, 10);
        let certified = world.venue.certify();
        world.vault.checkpoint(&certified.checkpoint).await?;
        let proof = certified.exit_proof(1).context("the account has no proof")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("key"), OWNER_KEY)?;
        std::fs::write(folder.join("proof.json"), serde_json::to_string_pretty(&proof)?)?;
        std::fs::write(
            folder.join("deployment.json"),
            serde_json::to_string_pretty(&world.deployment)?,
        )?;
        say.line(format!("A vault is at {}.", world.deployment.vault));
        say.line(format!(
            "{} holds the key of an account in it, its proof, and the contracts' addresses. The venue \
             that made them ends here: nobody will post another checkpoint.",
            folder.display()
        ));
        say.object(&json!({ "deployment": world.deployment }));
        Ok(())
    })
}
