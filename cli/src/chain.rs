//! `lifeboat chain`: a venue's embedded chain without the venue.

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::serve;
use serde_json::json;

use crate::arguments::ServeChainArguments;
use crate::say::Say;
use crate::settlement::{RunningFile, runtime};
use crate::signals::asked_to_stop;
use crate::vault::{OpenVault, VaultFile};

/// Serves it until asked to stop. Nobody posts checkpoints then: it is how a venue's end is tried.
pub fn chain(arguments: &ServeChainArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    runtime()?.block_on(async {
        let folder = &arguments.data;
        let open = OpenVault::open(&folder.join(VaultFile::NAME)).await;
        let open = open.context("a venue that runs serves its chain itself")?;
        let open =
            open.with_context(|| format!("{} holds no venue with a vault", folder.display()))?;
        let Some(chain) = open.embedded else {
            bail!("this venue settles on another chain, which goes on without it");
        };
        let served = serve(chain, arguments.listen).await;
        let served = served.with_context(|| format!("cannot listen on {}", arguments.listen))?;
        let running = RunningFile {
            gateway: None,
            number: 0,
            clients: Vec::new(),
            chain: Some(served.url()),
        };
        running.save(folder)?;
        say.line(format!(
            "Chain {} alone at {}, with the vault {}. No venue runs: nobody posts checkpoints.",
            open.file.chain,
            served.url(),
            open.file.vault
        ));
        say.object(&json!({ "chain": served.url(), "vault": open.file.vault }));
        asked_to_stop().await.context("waiting for a signal")
    })
}
