//! Spreads commands, so that whichever validator leads can order them.
//!
//! **Owns** the intake of commands (submitted here or heard from peers), their signature checks in
//! batches on a thread of its own, and repetition of what was not executed in time. **Never**
//! forwards what a peer sent: every validator reaches every other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use commonware_cryptography::ed25519::PublicKey as PeerKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Spawner};
use lifeboat_engine::types::{Digest, Height, TimeMs};
use lifeboat_engine::{Command, Reject};
use tokio::sync::mpsc;

use crate::block::{for_each_command, keccak256};
use crate::consensus::GOSSIP_BYTES_MAX;
use crate::machine::Blueprint;
use crate::mempool::{Admission, Pending, Rank};
use crate::outcome::{Answer, Waiter};
use crate::shared::{PeerTip, Shared, millis};

/// How commands are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GossipPolicy {
    /// How long what ranks ahead of orders is collected before it is checked and sent together.
    pub ahead_batch_ms: u64,
    /// How long orders are.
    pub batch_ms: u64,
    /// How long when the last batch was a crowd: larger batches cost less a command.
    pub crowded_batch_ms: u64,
    /// Commands in a batch from which on the next is collected for `crowded_batch_ms`.
    pub crowd: usize,
    /// A command submitted here is sent again when it was not executed for this long; an order then after
    /// twice, four times and so on.
    pub again_ms: u64,
    /// How often this node says how far it is.
    pub tip_ms: u64,
}

impl Default for GossipPolicy {
    fn default() -> Self {
        Self {
            ahead_batch_ms: 1,
            batch_ms: 4,
            crowded_batch_ms: 16,
            crowd: 24,
            again_ms: 300,
            tip_ms: 500,
        }
    }
}

/// Orders waiting for their signature check.
const ORDERS_INTAKE_MAX: usize = 1_024;
/// Other commands waiting for theirs.
const AHEAD_INTAKE_MAX: usize = 65_536;
/// Commands checked in one batch.
const BATCH_MAX: usize = 512;
/// Commands in one message.
const MESSAGE_COMMANDS_MAX: usize = 8_192;

const TAG_COMMANDS: u8 = 0;
const TAG_TIP: u8 = 1;

/// A command on its way into the mempool.
#[derive(Debug)]
pub struct Arrival {
    /// keccak256 of its encoding.
    pub key: Digest,
    /// Its encoding.
    pub bytes: Bytes,
    /// Itself.
    pub command: Command,
    /// Whether it was submitted here.
    pub local: bool,
}

impl Arrival {
    /// Encodes a command submitted here.
    pub fn local(command: Command) -> Self {
        // Writing into a Vec cannot fail; an impossible error would yield a refused empty command.
        let bytes = Bytes::from(borsh::to_vec(&command).unwrap_or_default());
        Self {
            key: keccak256(&[&bytes]),
            bytes,
            command,
            local: true,
        }
    }
}

/// Where commands come in. What ranks ahead has a lane and a thread of its own: it waits for no order's
/// signature.
#[derive(Clone, Debug)]
pub struct Intake {
    ahead: mpsc::Sender<Arrival>,
    orders: mpsc::Sender<Arrival>,
}

/// The other ends of an [`Intake`].
#[derive(Debug)]
pub struct Lanes {
    /// What ranks ahead of orders.
    pub ahead: Lane,
    /// Orders.
    pub orders: Lane,
}

/// Commands on their way to the signature check.
pub type Lane = mpsc::Receiver<Arrival>;

/// Both lanes.
pub fn intake() -> (Intake, Lanes) {
    let (ahead, ahead_lane) = mpsc::channel(AHEAD_INTAKE_MAX);
    let (orders, orders_lane) = mpsc::channel(ORDERS_INTAKE_MAX);
    let lanes = Lanes {
        ahead: ahead_lane,
        orders: orders_lane,
    };
    (Intake { ahead, orders }, lanes)
}

impl Intake {
    /// Orders whose signature nobody has looked at yet.
    fn orders_coming(&self) -> usize {
        self.orders.max_capacity() - self.orders.capacity()
    }

    /// Whether there was room for it.
    fn offer(&self, arrival: Arrival) -> bool {
        match Rank::of(&arrival.command) {
            Rank::Ahead => self.ahead.try_send(arrival).is_ok(),
            Rank::Order => self.orders.try_send(arrival).is_ok(),
            Rank::InLine => match self.orders.try_send(arrival) {
                Ok(()) => true,
                Err(full) => self.ahead.try_send(full.into_inner()).is_ok(),
            },
        }
    }
}

/// One lane of the intake: checks signatures in batches, fills the mempool, sends on what was submitted here.
/// Under a crowd batches are collected for `crowded_batch_ms` instead of `quiet_ms`.
pub async fn run_lane(
    clock: impl Clock,
    blueprint: Arc<dyn Blueprint>,
    shared: Arc<Shared>,
    (policy, quiet_ms): (GossipPolicy, u64),
    mut lane: Lane,
    mut sender: impl Sender<PublicKey = PeerKey>,
) {
    let mut batch = Vec::new();
    let mut collect_ms = quiet_ms;
    while let Some(first) = lane.recv().await {
        batch.push(first);
        clock.sleep(Duration::from_millis(collect_ms)).await;
        while batch.len() < BATCH_MAX
            && let Ok(next) = lane.try_recv()
        {
            batch.push(next);
        }
        // By the rate, not the count: a crowd must not look larger for being collected longer.
        let crowded = batch.len() as u64 * policy.batch_ms > policy.crowd as u64 * collect_ms;
        collect_ms = if crowded {
            policy.crowded_batch_ms
        } else {
            quiet_ms
        };
        let now = millis(clock.current());
        let fresh = admit(&*blueprint, &shared, &mut batch, now);
        send_commands(&mut sender, &fresh);
    }
}

/// Checks a batch and adds it to the mempool. Returns the encodings of new local commands.
fn admit(
    blueprint: &dyn Blueprint,
    shared: &Shared,
    batch: &mut Vec<Arrival>,
    now: TimeMs,
) -> Vec<Bytes> {
    {
        let mempool = shared.mempool();
        batch.retain(|arrival| arrival.local || !mempool.contains(&arrival.key));
    }
    let (commands, rest): (Vec<_>, Vec<_>) = batch
        .drain(..)
        .map(|arrival| (arrival.command, (arrival.key, arrival.bytes, arrival.local)))
        .unzip();
    let checked = blueprint.check(commands);
    let mut fresh = Vec::new();
    let mut mempool = shared.mempool();
    for (checked, (key, bytes, local)) in checked.into_iter().zip(rest) {
        if checked.signer().is_none() {
            mempool.answer(&key, &Answer::Refused(Reject::BadSignature));
            continue;
        }
        let pending = Pending {
            key,
            bytes: bytes.clone(),
            checked: Arc::new(checked),
        };
        match mempool.add(pending, local.then_some(now)) {
            Admission::Added if local => fresh.push(bytes),
            Admission::Busy => mempool.answer(&key, &Answer::Busy),
            Admission::Added | Admission::Known | Admission::Executed => {}
        }
    }
    drop(mempool);
    shared.arrived.notify_waiters();
    fresh
}

fn send_commands(sender: &mut impl Sender<PublicKey = PeerKey>, encoded: &[Bytes]) {
    let mut rest = encoded;
    while !rest.is_empty() {
        let mut size = 5;
        let mut count = 0;
        for bytes in rest.iter().take(MESSAGE_COMMANDS_MAX) {
            if size + bytes.len() > GOSSIP_BYTES_MAX {
                break;
            }
            size += bytes.len();
            count += 1;
        }
        let (now, later) = rest.split_at(count.max(1));
        let mut message = BytesMut::with_capacity(size);
        message.put_u8(TAG_COMMANDS);
        message.put_u32_le(now.len() as u32);
        now.iter().for_each(|bytes| message.put_slice(bytes));
        let _ = sender.send(Recipients::All, message.freeze(), false);
        rest = later;
    }
}

/// Listens to peers.
pub async fn run_listener(
    clock: impl Clock,
    shared: Arc<Shared>,
    intake: Intake,
    mut receiver: impl Receiver<PublicKey = PeerKey>,
) {
    while let Ok((peer, message)) = receiver.recv().await {
        let message: Vec<u8> = message.into();
        match message.split_first() {
            Some((&TAG_COMMANDS, commands)) => hear_commands(&shared, &intake, commands),
            Some((&TAG_TIP, tip)) => {
                if let Ok(height) = <[u8; 8]>::try_from(tip) {
                    let mut key = [0; 32];
                    key.copy_from_slice(peer.as_ref());
                    let tip = PeerTip {
                        height: Height::new(u64::from_le_bytes(height)),
                        heard: millis(clock.current()),
                    };
                    shared.heard(key, tip);
                }
            }
            _ => tracing::debug!(%peer, "ignored a gossip message of an unknown kind"),
        }
    }
}

fn hear_commands(shared: &Shared, intake: &Intake, bytes: &[u8]) {
    let mut heard = Vec::new();
    let decoded = for_each_command(bytes, |encoded, command| {
        heard.push(Arrival {
            key: keccak256(&[encoded]),
            bytes: Bytes::copy_from_slice(encoded),
            command,
            local: false,
        });
    });
    if decoded.is_err() {
        return;
    }
    {
        let mempool = shared.mempool();
        heard.retain(|arrival| {
            !mempool.contains(&arrival.key) && mempool.outcome(&arrival.key).is_none()
        });
    }
    for arrival in heard {
        // A full lane sheds what peers sent: they send it again.
        let _ = intake.offer(arrival);
    }
}

/// Repeats commands that were not executed in time, and says how far this node is.
pub async fn run_ticker(
    clock: impl Clock + Spawner,
    shared: Arc<Shared>,
    policy: GossipPolicy,
    mut sender: impl Sender<PublicKey = PeerKey>,
) {
    let step = (policy.again_ms / 3).max(10);
    let mut since_tip = policy.tip_ms;
    loop {
        clock.sleep(Duration::from_millis(step)).await;
        let now = millis(clock.current());
        let again = shared
            .mempool()
            .regossip(policy.again_ms, now, GOSSIP_BYTES_MAX / 2);
        send_commands(&mut sender, &again);
        since_tip += step;
        if since_tip >= policy.tip_ms {
            since_tip = 0;
            let mut message = BytesMut::with_capacity(9);
            message.put_u8(TAG_TIP);
            message.put_u64_le(shared.frontier().height.get());
            let _ = sender.send(Recipients::All, message.freeze(), false);
        }
    }
}

/// Takes a command submitted here: answers at once if its fate is known or there is no room. False if it
/// was shed.
pub fn submit(shared: &Shared, intake: &Intake, command: Command, waiter: Waiter) -> bool {
    let arrival = Arrival::local(command);
    if arrival.bytes.is_empty() || arrival.bytes.len() > lifeboat_engine::limits::COMMAND_BYTES_MAX
    {
        waiter.answer(Answer::Refused(Reject::Malformed));
        return true;
    }
    if shared.stopping().is_some() {
        waiter.answer(Answer::Unknown);
        return true;
    }
    let mut mempool = shared.mempool();
    let known = mempool.contains(&arrival.key) || mempool.outcome(&arrival.key).is_some();
    if !known
        && mempool.sheds(
            &arrival.command,
            arrival.bytes.len(),
            intake.orders_coming(),
        )
    {
        shared.shed.fetch_add(1, Ordering::Relaxed);
        waiter.answer(Answer::Busy);
        return false;
    }
    let key = arrival.key;
    mempool.wait(key, waiter);
    if !known && !intake.offer(arrival) {
        shared.shed.fetch_add(1, Ordering::Relaxed);
        mempool.answer(&key, &Answer::Busy);
        return false;
    }
    true
}
