//! The venue's own methods: how it is, and what became of a command.

use lifeboat_engine::types::{ClientOrderId, Mode, Nonce};
use serde_json::{Value, json};

use super::Call;
use crate::error::RpcError;
use crate::execute::optional_id;
use crate::gateway::Gateway;
use crate::outcome::{Fate, Record};
use crate::port::ProofOf;
use crate::render;

/// Answers one of the venue's own methods; `None` when there is no such method.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "status" => Ok(status(&call.gateway)),
        "get_outcome" => outcome(call),
        "get_checkpoint" => proof(call, ProofOf::Checkpoint),
        "get_exit_proof" => exit_proof(call),
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
    let (mode, since, channels, open) = {
        let state = gateway.state();
        let clock = state.memory.clock;
        let open = state.memory.outcomes.open_count();
        (clock.mode, clock.mode_since, state.hub.channels(), open)
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
        "commands_open": open,
        "channels": channels,
        "version": env!("CARGO_PKG_VERSION"),
    })
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

/// The proof with which a withdrawal of the account's owner is claimed.
fn withdrawal_proof(call: &Call) -> Result<Value, RpcError> {
    let account = call.login()?.key.account();
    let number = call.params.uint("number")?;
    let number = number.ok_or_else(|| crate::params::missing("number"))?;
    let place = usize::try_from(number).unwrap_or(usize::MAX);
    let mut own = false;
    call.gateway.venue.read(&mut |engine| {
        let owner = engine.account(account).map(|account| account.owner);
        let withdrawals = engine.vaults().first().map(|vault| vault.withdrawals());
        let withdrawal = withdrawals.and_then(|all| all.get(place));
        own = owner.is_some() && withdrawal.map(|w| w.owner) == owner;
    });
    match u32::try_from(number).ok().filter(|_| own) {
        Some(number) => proof(call, ProofOf::Withdrawal(number)),
        None => Err(RpcError::param("number", "no withdrawal of this account's")),
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
