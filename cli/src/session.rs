//! `lifeboat session`: the owner of an account lets a key trade for it, and takes that back.
//!
//! **Owns** what the owner signs for that, and API keys made for a gateway that runs. **Never** sends the
//! owner's key anywhere.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{AccountId, Address, DAY_MS, PublicKey, TimeMs};
use lifeboat_gateway::{ApiKeys, Scope};
use lifeboat_node::keys::to_hex;
use serde_json::json;

use crate::arguments::SessionArguments;
use crate::development::{api_keys_path, wall_ms};
use crate::money::{account_of, order};
use crate::say::Say;
use crate::settlement::{RunningFile, key, runtime};

/// How often a gateway looks for API keys that were made meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Registers or revokes a session key.
pub fn session(arguments: &SessionArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let key = key(arguments.key_file.as_deref())?;
    let owner = Address(key.address().0.0);
    let venue = RunningFile::load(&arguments.data)?.with_context(|| {
        format!(
            "no venue runs in {}; nothing was done",
            arguments.data.display()
        )
    })?;
    runtime()?.block_on(async {
        let account = account_of(&venue, owner).await?["account"].as_u64();
        let account = account.with_context(|| {
            format!("{owner} has no account here; `lifeboat deposit` opens one")
        })?;
        let account = AccountId::new(u32::try_from(account)?);
        if let Some(session) = arguments.revoke {
            order(&venue, &key, account, Action::RevokeSession { key: PublicKey(session) }).await?;
            say.line(format!("0x{} no longer trades for account {account}.", to_hex(&session)));
            say.object(&json!({ "account": account.get(), "revoked": to_hex(&session) }));
            return Ok(());
        }
        let expires_at = TimeMs::new(wall_ms().saturating_add(arguments.days.saturating_mul(DAY_MS)));
        let register = |key| Action::RegisterSession { key, expires_at };
        if let Some(session) = arguments.register {
            order(&venue, &key, account, register(PublicKey(session))).await?;
            say.line(format!(
                "0x{} may trade for account {account} for {} days. It cannot withdraw.",
                to_hex(&session),
                arguments.days
            ));
            say.object(&json!({ "account": account.get(), "session": to_hex(&session) }));
            return Ok(());
        }
        let path = api_keys_path(&arguments.data);
        let mut keys = ApiKeys::load(&path)?;
        let made = keys.create(account, Scope::Trade)?;
        let session = made.session_key(venue.number);
        order(&venue, &key, account, register(session)).await?;
        keys.save(&path)?;
        say.line(format!("An API key for account {account}, for {} days. It cannot withdraw.", arguments.days));
        say.line(format!("  client_id      {}", made.client_id));
        say.line(format!("  client_secret  {}", made.client_secret));
        say.object(&json!({
            "account": account.get(), "client_id": made.client_id, "client_secret": made.client_secret,
            "session": to_hex(&session.0),
        }));
        Ok(())
    })
}

/// Hands API keys that come into a file over to its gateway, for as long as that runs.
pub async fn adopt(path: PathBuf, gateway: std::sync::Arc<lifeboat_gateway::Gateway>) {
    let written = || {
        std::fs::metadata(&path)
            .and_then(|file| file.modified())
            .ok()
    };
    let mut seen = written();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = written();
        if now == seen {
            continue;
        }
        match ApiKeys::load(&path) {
            Ok(keys) => {
                gateway.adopt(&keys);
                seen = now;
            }
            Err(error) => tracing::warn!(%error, "new API keys are not served"),
        }
    }
}
