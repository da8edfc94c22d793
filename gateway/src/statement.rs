//! A restatement: what an account needs to know after an outage, as JSON.
//!
//! Pure functions of the gateway's memory and one reading of the venue. What the gateway did not see
//! is `null`, and a sentence under `unknown` says so.

use lifeboat_engine::event::ModeReason;
use lifeboat_engine::types::{AccountId, OrderId, TimeMs, UnderlyingId};
use serde_json::{Value, json};

use crate::decimal::{cash, qty};
use crate::directory::Directory;
use crate::memory::Memory;
use crate::orders::{AccountDesk, Fill, FillMark, OrderState};
use crate::outage::{Moment, Outage, Step};
use crate::render;
use crate::scene::Scene;
use crate::watch::Watched;

/// Orders and fills of one notification, and of one answer by default.
pub const PAGE: usize = 500;

/// What of a restatement is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of this outage; `None` for the last that is over.
    pub outage: Option<u64>,
    /// Orders with ids above this.
    pub after: Option<OrderId>,
    /// Fills of events above this.
    pub since_event: Option<u64>,
    /// Fills of trades above this.
    pub since_trade: Option<u64>,
    /// At most so many orders, and so many fills.
    pub count: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            outage: None,
            after: None,
            since_event: None,
            since_trade: None,
            count: PAGE,
        }
    }
}

/// The outage that a restatement is about.
pub fn outage<'a>(memory: &'a Memory, wanted: &Wanted) -> Option<&'a Outage> {
    match wanted.outage {
        Some(id) => memory.outages.past().find(|outage| outage.id == id),
        None => memory.outages.latest(),
    }
}

/// The orders on the wanted page, and whether there are more.
pub fn page<'a>(memory: &'a Memory, id: AccountId, wanted: &Wanted) -> (&'a [Watched], bool) {
    let desk = memory.desks.get(id);
    let outage = outage(memory, wanted);
    let all: &[Watched] = match desk.zip(outage) {
        Some((desk, outage)) => desk.restated(outage.id),
        None => &[],
    };
    let from = wanted.after.map_or(0, |after| {
        all.partition_point(|watched| watched.order.order <= after)
    });
    let rest = all.get(from..).unwrap_or_default();
    match rest.get(..wanted.count) {
        Some(page) => (page, rest.len() > page.len()),
        None => (rest, false),
    }
}

/// The restatement of an account; without an outage that is over, its fills and money alone.
pub fn restatement(scene: &Scene<'_>, id: AccountId, wanted: &Wanted) -> Value {
    let memory = scene.memory;
    let outage = outage(memory, wanted);
    let desk = memory.desks.get(id);
    let mut unknown = outage.map(unseen).unwrap_or_default();
    let total = desk
        .zip(outage)
        .map_or(&[] as &[Watched], |(desk, outage)| desk.restated(outage.id));
    if total.iter().any(|w| w.order.state == OrderState::Gone) {
        unknown.push(
            "an order marked `ended` was filled or cancelled in blocks that this gateway did not hear of"
                .into(),
        );
    }
    let (orders, more) = page(memory, id, wanted);
    let last = orders.last().map(|watched| watched.order.order.to_string());
    let orders = orders.iter().map(|w| watched(w, &memory.directory));
    let mut statement = json!({
        "id": outage.map(|outage| outage.id),
        "previous": outage.and_then(|outage| outage.previous),
        "outage": outage.map(outage_json),
        "ongoing": memory.outages.current().map(outage_json),
        "orders": orders.collect::<Vec<_>>(),
        "orders_total": total.len(),
        "orders_next": last.filter(|_| more),
        "orders_complete": outage.is_none_or(|outage| outage.start_seen),
        "account": account(scene, id, &mut unknown),
    });
    let fills = desk.map(|desk| fills(desk, wanted)).unwrap_or_default();
    fills.write(&mut statement, memory, &mut unknown);
    let since = outage.map(|outage| outage.watched_from.time);
    let settled = desk.into_iter().flat_map(|desk| &desk.settlements);
    let settled = settled.filter(|s| since.is_some_and(|since| s.time >= since));
    statement["settlements"] = settled.map(|s| memory.settlement(s)).collect();
    statement["settlements_deferred"] = memory.deferred.iter().map(deferred).collect();
    statement["unknown"] = json!(unknown);
    statement
}

/// An expiry that waits: its orders are gone, its positions stand until enough samples of the index
/// were taken or the deferral runs out.
fn deferred((of, samples): (&(UnderlyingId, TimeMs), &u32)) -> Value {
    json!({ "underlying": of.0.get(), "expiry": of.1.get(), "samples": samples })
}

/// What the gateway did not see of an outage.
fn unseen(outage: &Outage) -> Vec<String> {
    let mut unknown = Vec::new();
    let from = outage.watched_from.event;
    if !outage.start_seen {
        unknown.push(format!(
            "how the venue stopped was not seen: orders are known from event {from} on, and an \
             order that ended earlier in this outage is not listed"
        ));
    }
    if let (None, Some(at)) = (outage.returned(), outage.settled_at) {
        unknown.push(format!(
            "how the venue left VERIFY was not seen: the orders are as they were found at event {}",
            at.event
        ));
    }
    unknown
}

fn moment(at: &Moment) -> Value {
    json!({ "height": at.height.get(), "timestamp": at.time.get(), "event": at.event })
}

/// A moment with the state root it holds for.
pub fn rooted(at: &Moment) -> Value {
    let mut value = moment(at);
    value["state_root"] = at.root.to_string().into();
    value
}

fn outage_json(outage: &Outage) -> Value {
    let (stopped, returned) = (outage.stopped(), outage.returned());
    let took = stopped.zip(returned);
    json!({
        "left": stopped.map(step),
        "returned": returned.map(step),
        "duration_ms": took.map(|(from, to)| to.at.time.since(from.at.time)),
        "steps": outage.steps.iter().map(step).collect::<Vec<_>>(),
        "halted_at_height": match stopped {
            Some(step) => step.at.height.get(),
            None => outage.halted_at.get(),
        },
        "orders_known_from": moment(&outage.watched_from),
        "blocks_missed": outage.blocks_missed,
        "as_of": outage.settled_at.as_ref().map(rooted),
    })
}

fn step(step: &Step) -> Value {
    let mut value = moment(&step.at);
    value["from"] = format!("{:?}", step.from).into();
    value["to"] = format!("{:?}", step.to).into();
    value["reason"] = reason(&step.reason);
    value
}

fn reason(reason: &ModeReason) -> Value {
    match reason {
        ModeReason::BlockGap { gap_ms } => json!({ "kind": "block_gap", "gap_ms": gap_ms }),
        ModeReason::Quarantine { height, index } => {
            json!({ "kind": "quarantine", "height": height.get(), "index": index })
        }
        ModeReason::RootAgreed { height } => {
            json!({ "kind": "root_agreed", "height": height.get() })
        }
        ModeReason::PricesAgree => json!({ "kind": "prices_agree" }),
        ModeReason::TimeElapsed => json!({ "kind": "time_elapsed" }),
        ModeReason::Attested => json!({ "kind": "attested" }),
        ModeReason::VaultFrozen => json!({ "kind": "vault_frozen" }),
        ModeReason::AuctionOver => json!({ "kind": "auction_over" }),
        ModeReason::Breaker { breaker, level } => {
            json!({ "kind": "breaker", "breaker": format!("{breaker:?}"), "level": level })
        }
    }
}

/// An order with its fate. Kept orders stay, and others go, by their recovery policy unless another
/// reason is named.
fn watched(watched: &Watched, directory: &Directory) -> Value {
    let order = &watched.order;
    let (outcome, why) = match order.state {
        OrderState::Open => ("kept", "recovery"),
        OrderState::Cancelled(reason) => ("cancelled", render::cancel_reason(reason)),
        OrderState::Filled => ("filled", "trade"),
        OrderState::Gone => ("ended", "unknown"),
    };
    let mut value = render::order(order, directory);
    value["outcome"] = outcome.into();
    value["why"] = why.into();
    value["remaining_before"] = qty(watched.remaining_before);
    value["remaining_amount"] = match order.state {
        OrderState::Gone => Value::Null,
        _ => qty(order.remaining()),
    };
    value
}

fn account(scene: &Scene<'_>, id: AccountId, unknown: &mut Vec<String>) -> Option<Value> {
    let account = scene.snapshot.accounts.get(&id)?;
    let mut value = rooted(scene.snapshot.standings.get(&id)?);
    if !account.margin_known {
        unknown.push("equity and margin: something that is held has no mark".into());
    }
    let known = |amount| account.margin_known.then(|| cash(amount));
    value["currency"] = "USDC".into();
    value["cash"] = cash(account.cash);
    value["equity"] = known(account.equity).into();
    value["initial_margin"] = known(account.initial_margin).into();
    value["maintenance_margin"] = known(account.maintenance_margin).into();
    value["positions"] = scene.positions(id, |_| true).into();
    Some(value)
}

/// Fills, oldest first: every one after `since` up to the last one here.
#[derive(Default)]
struct Fills<'a> {
    shown: Vec<&'a Fill>,
    since: (Option<u64>, Option<u64>),
    more: bool,
    /// Every fill after this is remembered.
    known: FillMark,
    complete: bool,
}

fn fills<'a>(desk: &'a AccountDesk, wanted: &Wanted) -> Fills<'a> {
    let known = desk.fills_after();
    let asked = (wanted.since_event, wanted.since_trade);
    let wanted_fill =
        |fill: &&Fill| fill.event > asked.0.unwrap_or(0) && fill.trade > asked.1.unwrap_or(0);
    if asked == (None, None) {
        let mut latest = desk.fills().rev().filter(|fill| FillMark::of(fill) > known);
        let mut shown: Vec<&Fill> = latest.by_ref().take(wanted.count).collect();
        shown.reverse();
        let since = latest.next().map_or(known, FillMark::of);
        return Fills {
            shown,
            since: (Some(since.event), Some(since.trade)),
            more: false,
            known,
            complete: true,
        };
    }
    let mut all = desk.fills().filter(wanted_fill);
    Fills {
        shown: all.by_ref().take(wanted.count).collect(),
        since: asked,
        more: all.next().is_some(),
        known,
        complete: asked.0 >= Some(known.event) || asked.1 >= Some(known.trade),
    }
}

impl Fills<'_> {
    fn write(&self, statement: &mut Value, memory: &Memory, unknown: &mut Vec<String>) {
        let shown = self.shown.iter();
        let trades = shown.map(|fill| render::fill(fill, &memory.directory));
        let through = match self.shown.last().filter(|_| self.more) {
            Some(last) => last.event,
            None => memory.clock.event,
        };
        if !self.complete {
            unknown.push(format!(
                "fills up to event {} (trade {}): not all of them are remembered here",
                self.known.event, self.known.trade
            ));
        }
        statement["fills"] = trades.collect();
        statement["fills_since"] = json!({
            "event": self.since.0,
            "trade_id": self.since.1.map(|trade| trade.to_string()),
        });
        statement["fills_through_event"] = through.into();
        statement["fills_complete"] = self.complete.into();
        statement["fills_more"] = self.more.into();
    }
}
