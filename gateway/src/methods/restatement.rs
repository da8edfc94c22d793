//! `private/get_restatement`: what an account needs to know after an outage, with proofs on request.

use lifeboat_engine::types::{AccountId, OrderId};
use serde_json::{Value, json};

use super::Call;
use crate::error::RpcError;
use crate::keys::hex;
use crate::orders::OrderState;
use crate::outage::Moment;
use crate::params::Params;
use crate::scene::Scene;
use crate::snapshot::{Needs, Snapshot};
use crate::statement::{self, PAGE, Wanted};
use crate::view::{Proof, View};

/// Most orders or fills of one answer.
const COUNT_MAX: u64 = 1_000;
/// Most orders of one answer with proofs: they are read while the state stands still.
const PROVED_MAX: u64 = 100;

/// Answers it; `None` for other methods.
pub fn answer(call: &Call, name: &str) -> Option<Result<Value, RpcError>> {
    (name == "get_restatement").then(|| restatement(call))
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, RpcError> {
    let wrong = || RpcError::param(name, "must be a non-negative integer");
    let text = params.id(name)?;
    text.map(|text| text.parse().map_err(|_| wrong()))
        .transpose()
}

fn wanted(params: &Params, proofs: bool) -> Result<Wanted, RpcError> {
    let (default, most) = match proofs {
        true => (PROVED_MAX, PROVED_MAX),
        false => (PAGE as u64, COUNT_MAX),
    };
    let count = params.uint("count")?.unwrap_or(default);
    if count == 0 || count > most {
        let range = format!("must be within 1..{most}");
        return Err(RpcError::param("count", range));
    }
    Ok(Wanted {
        outage: number(params, "id")?,
        after: number(params, "after")?.map(OrderId::new),
        since_event: number(params, "since")?,
        since_trade: number(params, "since_trade")?,
        count: count as usize,
    })
}

fn restatement(call: &Call) -> Result<Value, RpcError> {
    let account = call.login()?.key.account();
    let proofs = call.params.flag("proofs")?;
    let wanted = wanted(&call.params, proofs)?;
    let kept = kept(call, account, &wanted)?;
    let mut needs = Needs::default();
    needs.accounts.insert(account);
    let mut proved = None;
    let snapshot = Snapshot::take_with(&*call.gateway.venue, &needs, |view| {
        proved = proofs.then(|| Proved::read(view, account, &kept));
    });
    let state = call.gateway.state();
    let scene = Scene {
        memory: &state.memory,
        snapshot: &snapshot,
    };
    let mut value = statement::restatement(&scene, account, &wanted);
    if let Some(proved) = proved {
        value["proofs"] = proved.json();
    }
    Ok(value)
}

/// The kept orders on the wanted page.
fn kept(call: &Call, account: AccountId, wanted: &Wanted) -> Result<Vec<OrderId>, RpcError> {
    let state = call.gateway.state();
    if wanted.outage.is_some() && statement::outage(&state.memory, wanted).is_none() {
        return Err(RpcError::param("id", "no such restatement is remembered"));
    }
    let (page, _) = statement::page(&state.memory, account, wanted);
    let open = page
        .iter()
        .filter(|watched| watched.order.state == OrderState::Open);
    Ok(open.map(|watched| watched.order.order).collect())
}

/// Proofs, all against one root.
struct Proved {
    at: Moment,
    account: Option<Proof>,
    orders: Vec<(OrderId, Option<Proof>)>,
}

impl Proved {
    fn read(view: &View<'_>, account: AccountId, orders: &[OrderId]) -> Self {
        let prove = |order: &OrderId| (*order, view.prove_order(*order));
        Self {
            at: view.clock().moment(),
            account: view.prove_account(account),
            orders: orders.iter().map(prove).collect(),
        }
    }

    /// An order that was kept and does not rest any more has `null`.
    fn json(&self) -> Value {
        let orders = self.orders.iter().map(|(order, proof)| {
            json!({
                "order_id": order.to_string(),
                "leaf": proof.as_ref().map(|proof| text(&proof.leaf)),
                "proof": proof.as_ref().map(|proof| text(&proof.path)),
            })
        });
        let mut value = statement::rooted(&self.at);
        value["account"] = self.account.as_ref().map(account_json).into();
        value["orders"] = orders.collect();
        value
    }
}

fn account_json(proof: &Proof) -> Value {
    json!({
        "leaf": text(&proof.leaf),
        "parts": proof.parts.iter().map(|part| text(part)).collect::<Vec<_>>(),
        "proof": text(&proof.path),
    })
}

fn text(bytes: &[u8]) -> String {
    format!("0x{}", hex(bytes))
}
