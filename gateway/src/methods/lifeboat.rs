//! The venue's own methods: how it is, and what became of a command.

use lifeboat_engine::types::{Address, ClientOrderId, Mode, Nonce};
use serde_json::{Value, json};

use super::Call;
use crate::error::RpcError;
use crate::execute::optional_id;
use crate::gateway::Gateway;
use crate::memory::Memory;
use crate::outcome::{Fate, Record};
use crate::port::{ProofOf, SettlementStatus};
use crate::render;
use crate::view::Underlying;

/// Answers one of the venue's own methods; `None` when there is no such method.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "status" => Ok(status(&call.gateway)),
        "get_outcome" => outcome(call),
        "get_auctions" => Ok(super::auction::auctions(call)),
        "get_checkpoint" => proof(call, ProofOf::Checkpoint),
        "get_exit_proof" => exit_proof(call),
        "get_account" => account_of(call),
        "get_withdrawal_proof" => withdrawal_proof(call),
        _ => return None,
    })
}

/// Why the venue is not ready; `None` when it is: blocks come, a root was agreed, and both are
/// fresh.
pub fn not_ready(gateway: &Gateway) -> Option<String> {
    let status = gateway.venue.status();
    let fresh_ms = gateway.config.fresh_ms;
    if status.height.get() == 0 {
        return Some("no block has been applied yet".into());
    }
    if status.block_age_ms > fresh_ms {
        return Some(format!("the last block is {} ms old", status.block_age_ms));
    }
    let Some(agreed) = status.agreed else {
        return Some("no root has been agreed yet".into());
    };
    let behind = status.height.get().saturating_sub(agreed.height.get());
    // Blocks come at least ten times a second, so a root this far behind is stale.
    if behind > fresh_ms / 10 {
        return Some(format!("the agreed root is {behind} blocks behind"));
    }
    None
}

/// Mode, height, root, readiness.
pub fn status(gateway: &Gateway) -> Value {
    let status = gateway.venue.status();
    let (mode, since, channels, open, underlyings) = {
        let state = gateway.state();
        let clock = state.memory.clock;
        let open = state.memory.outcomes.open_count();
        let underlyings = underlyings(&state.memory);
        (
            clock.mode,
            clock.mode_since,
            state.hub.channels(),
            open,
            underlyings,
        )
    };
    let reason = not_ready(gateway);
    let agreed = status
        .agreed
        .map(|agreed| json!({ "height": agreed.height.get(), "root": agreed.root.to_string() }));
    let validators = status.validators.iter().map(|validator| {
        json!({
            "name": validator.name,
            "connected": validator.connected,
            "height": validator.height.get(),
        })
    });
    json!({
        "chain": status.chain.to_string(),
        "mode": format!("{mode:?}"),
        "mode_since": since.get(),
        "open": mode == Mode::Open,
        "underlyings": underlyings,
        "height": status.height.get(),
        "published": status.published.map(|height| height.get()),
        "time": status.time.get(),
        "root": status.root.to_string(),
        "agreed": agreed,
        "block_age_ms": status.block_age_ms,
        "ready": reason.is_none(),
        "not_ready_because": reason,
        "detail": status.detail,
        "validators": validators.collect::<Vec<_>>(),
        "settlement": status.settlement.as_ref().map(settlement),
        "commands_open": open,
        "channels": channels,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Each underlying's own mode, which counts while the venue is open, and its volatility index.
fn underlyings(memory: &Memory) -> Vec<Value> {
    let all = memory.directory.underlyings().iter();
    let one = |underlying: &Underlying| {
        let standing = memory.standings.get(&underlying.id);
        let standing = standing.copied().unwrap_or_default();
        let volatility = f64::from(standing.volatility_ppm) / 1e4;
        json!({
            "currency": underlying.coin,
            "mode": format!("{:?}", standing.mode),
            "mode_since": standing.since.get(),
            "volatility_index": (standing.volatility_ppm > 0).then_some(volatility),
        })
    };
    all.map(one).collect()
}

/// How the vault is, and what of its events was taken in.
fn settlement(of: &SettlementStatus) -> Value {
    json!({
        "chain": of.chain,
        "vault": of.vault,
        "settled": of.settled.get(),
        "newest": of.newest.get(),
        "lag": of.newest.get().saturating_sub(of.settled.get()),
        "quiet_ms": of.quiet_ms,
        "frozen": of.frozen,
        "failure": of.failure,
    })
}

/// The account of an owner, and what the vault's events have come to: public as the chain is.
fn account_of(call: &Call) -> Result<Value, RpcError> {
    let owner = address(call.params.required_text("owner")?);
    let owner = owner.ok_or_else(|| RpcError::param("owner", "must be an address"))?;
    let mut found = Value::Null;
    call.gateway.venue.read(&mut |engine| {
        let vault = engine.vaults().first();
        let numbers = vault.map_or_else(Vec::new, |vault| {
            let all = vault.withdrawals().iter().enumerate();
            let own = all.filter(|(_, withdrawal)| withdrawal.owner == owner);
            own.map(|(number, _)| number).collect()
        });
        found = json!({
            "account": engine.account_by_owner(&owner).map(|account| account.get()),
            "deposits_credited": vault.map(|vault| vault.deposits.cursor),
            "withdrawals": numbers,
            "withdrawals_held": vault.map(|vault| vault.short),
        });
    });
    Ok(found)
}

fn address(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes?.try_into().ok().map(Address)
}

/// What became of a command, by `nonce` or by client order id or label.
fn outcome(call: &Call) -> Result<Value, RpcError> {
    let login = call.login()?;
    let account = login.key.account();
    let params = &call.params;
    let nonce = params.id("nonce")?;
    let nonce = nonce
        .map(|text| text.parse::<u64>().map(Nonce::new))
        .transpose()
        .map_err(|_| RpcError::param("nonce", "must be an integer"))?;
    let client_id = super::trading::client_id(params)?;
    let none = ClientOrderId::default();
    if nonce.is_none() && client_id == none {
        return Err(crate::params::missing("nonce or client_order_id or label"));
    }
    let state = call.gateway.state();
    let wanted = |record: &Record| match nonce {
        Some(nonce) => record.ticket.nonce == nonce,
        None => record.client_id == client_id,
    };
    let directory = &state.memory.directory;
    let found = state.memory.outcomes.find(account, wanted);
    let order = state.memory.desks.get(account).and_then(|desk| {
        let named = |id: ClientOrderId| id != none && id == client_id;
        desk.open()
            .rev()
            .chain(desk.ended())
            .find(|order| named(order.client_id))
            .map(|order| render::order(order, directory))
    });
    Ok(match found {
        Some(record) => record_json(record, order),
        None => json!({
            "state": if order.is_some() { "applied" } else { "not_remembered" },
            "order": order,
        }),
    })
}

/// The proof with which the account can leave.
fn exit_proof(call: &Call) -> Result<Value, RpcError> {
    let account = call.login()?.key.account();
    proof(call, ProofOf::Exit(account))
}

/// The proof with which a withdrawal is claimed. It is nobody's secret: the vault's chain shows the same
/// when it is claimed, and whoever claims it, its recipient is paid.
fn withdrawal_proof(call: &Call) -> Result<Value, RpcError> {
    let number = call.params.uint("number")?;
    let number = number.ok_or_else(|| crate::params::missing("number"))?;
    let place = usize::try_from(number).unwrap_or(usize::MAX);
    let mut known = false;
    call.gateway.venue.read(&mut |engine| {
        let withdrawals = engine.vaults().first().map(|vault| vault.withdrawals());
        known = withdrawals.is_some_and(|all| place < all.len());
    });
    match u32::try_from(number).ok().filter(|_| known) {
        Some(number) => proof(call, ProofOf::Withdrawal(number)),
        None => Err(RpcError::param("number", "no withdrawal has this number")),
    }
}

fn proof(call: &Call, of: ProofOf) -> Result<Value, RpcError> {
    match call.gateway.venue.proof(of) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(RpcError::new(13_020, "not_found").because(
            "no checkpoint covers it yet; ask again in a minute, or the venue has no vault",
        )),
        Err(broken) => Err(RpcError::new(11_094, "internal_server_error").because(broken)),
    }
}

fn record_json(record: &Record, order: Option<Value>) -> Value {
    let (height, reject) = match &record.fate {
        Fate::Applied { height, .. } | Fate::Quarantined { height } => (Some(*height), None),
        Fate::Rejected { height, reject } => (Some(*height), Some(*reject)),
        Fate::Open | Fate::Dead => (None, None),
    };
    json!({
        "state": record.fate.name(),
        "nonce": record.ticket.nonce.get().to_string(),
        "client_order_id": optional_id(record.client_id),
        "valid_until": record.valid_until.get(),
        "height": height.map(|height| height.get()),
        "error": reject.map(|reject| RpcError::from_reject(reject).to_json()),
        "order": order,
    })
}
