//! `lifeboat deposit` and `lifeboat withdraw`: money in and out of a venue's vault.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::proof_file::CheckedWithdrawal;
use lifeboat_chain::{ChainKey, SettlementPort as _, Vault};
use lifeboat_engine::command::{Action, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{AccountId, Address, Cash, ChainId, Nonce};
use lifeboat_engine::{Command, Event, Reject};
use lifeboat_node::ingress::{Client, Reply};
use lifeboat_node::keys::{entropy, to_hex};
use lifeboat_node::outcome::Verdict;
use lifeboat_proof::exit::SavedProof;
use serde_json::{Value, json};

use crate::arguments::{DepositArguments, WithdrawArguments};
use crate::development::wall_ms;
use crate::exit::withdraw as claim;
use crate::practice::DEVELOPMENT_CHAINS;
use crate::say::Say;
use crate::settlement::{Reached, RunningFile, key, reach, runtime};

/// How often the venue is asked whether it came.
const LOOK: Duration = Duration::from_millis(500);
/// How long a deposit may take to be credited before this command says that it goes on without it.
const CREDITED: Duration = Duration::from_secs(120);
/// How long a withdrawal may take to be in a checkpoint on the chain.
const SETTLED: Duration = Duration::from_secs(600);
/// How long the signed command is good for.
const VALID_MS: u64 = 30_000;

/// Deposits and waits until the venue has credited it.
pub fn deposit(arguments: &DepositArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let amount = units(&arguments.amount)?;
    if arguments.new_key {
        make_key(arguments.key_file.as_deref())?;
    }
    let key = key(arguments.key_file.as_deref())?;
    runtime()?.block_on(async {
        let owner = Address(arguments.owner.unwrap_or(key.address()).0.0);
        let reached = reach(&arguments.chain, Some(key)).await?;
        let vault = reached.vault(None, 0)?;
        let receipt = pay_in(&reached, &vault, owner, amount).await?;
        let (_, count) = vault.deposits().await?;
        say.line(format!(
            "Deposited {} USDC for {owner}; {} gas.",
            arguments.amount, receipt
        ));
        let running = reached.running.as_ref();
        let Some(venue) = running.filter(|running| running.gateway.is_some()) else {
            say.object(&json!({ "owner": owner.to_string(), "gas": receipt, "account": null }));
            return Ok(());
        };
        let account = credited(venue, owner, count).await?;
        say.line(format!("It is credited to account {account}."));
        say.object(&json!({ "owner": owner.to_string(), "gas": receipt, "account": account }));
        Ok(())
    })
}

/// On a development chain the token is minted first. Returns the gas.
async fn pay_in(reached: &Reached, vault: &Vault, owner: Address, amount: u64) -> Result<u64> {
    let development = DEVELOPMENT_CHAINS.contains(&reached.port.chain().get());
    let receipt = match development {
        true => vault.deposit_minted(owner, amount).await,
        false => vault.deposit_approved(owner, amount).await,
    };
    Ok(receipt.context("nothing was deposited")?.gas)
}

async fn credited(venue: &RunningFile, owner: Address, count: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let found = account_of(venue, owner).await?;
        let all = found["deposits_credited"].as_u64().unwrap_or(0) >= count;
        if let Some(account) = found["account"].as_u64().filter(|_| all) {
            return Ok(account);
        }
        if begun.elapsed() > CREDITED {
            bail!(
                "the deposit is in the vault and not credited yet: it is once its block is final, and \
                 the venue runs. Nothing more needs to be done"
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Debits the account, waits for the checkpoint, keeps the proof and claims it.
pub fn withdraw(arguments: &WithdrawArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let amount = units(&arguments.amount)?;
    if arguments.proof.exists() {
        let path = arguments.proof.display();
        bail!("{path} exists already; nothing was done. Choose another --proof");
    }
    let key = key(arguments.key_file.as_deref())?;
    runtime()?.block_on(async {
        let reached = reach(&arguments.chain, Some(key.clone())).await?;
        let vault = reached.vault(None, 0)?;
        let venue = reached.running.clone();
        let venue = venue.context("no venue runs in that folder; nothing was done")?;
        let owner = Address(key.address().0.0);
        let account = account_of(&venue, owner).await?["account"].as_u64();
        let account = account.with_context(|| format!("{owner} has no account"))?;
        let recipient = Address(arguments.to.unwrap_or(key.address()).0.0);
        let action = Action::Withdraw {
            chain: reached.port.chain(),
            recipient,
            amount: Cash::new(i64::try_from(amount)?),
        };
        let account_id = AccountId::new(u32::try_from(account)?);
        let events = order(&venue, &key, account_id, action).await?;
        let number = events.iter().find_map(|event| match event {
            Event::Withdrawn { number, .. } => Some(*number),
            _ => None,
        });
        let number = number.context("the venue applied it without a withdrawal")?;
        say.line(format!(
            "Withdrawal {number}: {} USDC left account {account}.",
            arguments.amount
        ));
        let proof = settled(&venue, &vault, number, &arguments.proof, say).await?;
        if arguments.unclaimed {
            say.object(&json!({ "number": number, "proof": arguments.proof }));
            return Ok(());
        }
        claim(vault, &proof, say).await
    })
}

/// Has the venue order what the owner signs. Returns what it did.
pub async fn order(
    venue: &RunningFile,
    key: &ChainKey,
    account: AccountId,
    action: Action,
) -> Result<Vec<Event>> {
    let chain = ask(venue, "lifeboat/status", json!({})).await?;
    let chain: Option<[u8; 32]> = chain["chain"]
        .as_str()
        .and_then(|text| lifeboat_node::keys::from_hex(text.trim_start_matches("0x")))
        .and_then(|bytes| bytes.try_into().ok());
    let chain = ChainId(chain.context("the venue does not say which it is")?);
    let address = *venue
        .clients
        .first()
        .context("the venue has no port for clients")?;
    let mut client = Client::connect(address).await?;
    let now = client.status().await?.time;
    let payload = UserPayload {
        account,
        nonce: Nonce::new(wall_ms().saturating_mul(1_000)),
        valid_until: now.plus_ms(VALID_MS),
        action,
    };
    let signature = key.sign(&payload.owner_digest(&chain).0.into())?;
    let signature = UserSignature::Owner {
        signature: signature.as_bytes(),
    };
    let command = Command::User(UserCommand { payload, signature });
    let refused = |reject: Reject| format!("{reject:?} (code {})", reject.code());
    match client.submit(1, command).await? {
        Reply::Outcome { outcome, .. } => match outcome.verdict {
            Verdict::Applied => Ok(outcome.events),
            Verdict::Rejected(reject) => bail!("nothing was done: {}", refused(reject)),
            Verdict::Quarantined => bail!("nothing was done: the command was quarantined"),
        },
        Reply::Refused { reject, .. } => bail!("nothing was done: {}", refused(reject)),
        Reply::Expired { .. } => bail!("nothing was done: the venue did not order it in time"),
        Reply::Busy { .. } => bail!("nothing was done: the venue is busy; try again"),
        _ => bail!(
            "what became of it is not known: ask again with lifeboat/get_account before repeating it"
        ),
    }
}

/// Waits until a checkpoint on the chain certifies the withdrawal, and keeps its proof.
async fn settled(
    venue: &RunningFile,
    vault: &Vault,
    number: u32,
    path: &Path,
    say: Say,
) -> Result<SavedProof> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        let found = ask(
            venue,
            "lifeboat/get_withdrawal_proof",
            json!({ "number": number }),
        )
        .await;
        if let Ok(found) = found {
            let proof: SavedProof = serde_json::from_value(found)?;
            std::fs::write(path, serde_json::to_string_pretty(&proof)?)?;
            if !said {
                said = true;
                say.line(format!(
                    "{} holds its proof; waiting for the checkpoint on the chain.",
                    path.display()
                ));
            }
            let checked =
                CheckedWithdrawal::of(&proof, vault.port().chain().get(), vault.address())?;
            if vault.checkpoint_over(checked.root).await?.is_some() {
                return Ok(proof);
            }
        }
        if begun.elapsed() > SETTLED {
            bail!(
                "the withdrawal is debited and no checkpoint on the chain certifies it yet: claim it \
                 later with `lifeboat exit --proof {}`, or with --from and --withdrawal {number}",
                path.display()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub async fn account_of(venue: &RunningFile, owner: Address) -> Result<Value> {
    ask(
        venue,
        "lifeboat/get_account",
        json!({ "owner": owner.to_string() }),
    )
    .await
}

/// Asks a venue's gateway.
async fn ask(venue: &RunningFile, method: &str, params: Value) -> Result<Value> {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let gateway = venue
        .gateway
        .as_ref()
        .context("no venue runs in that folder")?;
    let request = reqwest::Client::new()
        .post(format!("{gateway}/api/v2"))
        .header("content-type", "application/json")
        .body(call.to_string());
    let answer = request
        .send()
        .await
        .context("the venue's gateway does not answer")?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    match &answer["error"] {
        Value::Null => Ok(answer["result"].clone()),
        error => bail!("the venue answers {method} with {error}"),
    }
}

/// USDC as a person writes them, in units of 1e-6.
fn units(text: &str) -> Result<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = !whole.is_empty() && part.len() <= 6 && digits(whole) && digits(part);
    let padded = format!("{whole}{part:0<6}");
    match padded.parse().ok().filter(|units| sound && *units > 0) {
        Some(units) => Ok(units),
        None => {
            bail!("{text} is no amount of USDC: up to six digits after the point, and not zero")
        }
    }
}

fn make_key(path: Option<&Path>) -> Result<()> {
    let path = path.context("name the file of the new key with --key-file")?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("making {}; nothing was done", path.display()))?;
    file.write_all(to_hex(&entropy()?).as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let good = [
            ("1", 1_000_000),
            ("0.000001", 1),
            ("25.5", 25_500_000),
            ("007", 7_000_000),
        ];
        for (text, expected) in good {
            assert_eq!(units(text).ok(), Some(expected), "{text}");
        }
        for text in [
            "",
            ".5",
            "-1",
            "1e6",
            "0",
            "0.0000001",
            "1.2.3",
            "99999999999999999999",
            "½",
        ] {
            assert!(units(text).is_err(), "{text}");
        }
    }
}
