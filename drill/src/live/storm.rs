//! An order storm: many more orders than the venue can take, and a patient client that cancels meanwhile.
//!
//! **Owns** the storm's clients, who send again what was refused for want of room, byte for byte, as soon
//! as they may, and a prober that rests an order and cancels it by its id, over and over. **Never** signs
//! an order while the storm blows.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use lifeboat_engine::command::{Action, OrderRef, PlaceOrder};
use lifeboat_engine::types::{AccountId, OrderId, Side, TimeInForce};
use lifeboat_engine::{Command, Event};
use lifeboat_node::ingress::{BlockingClient, Reply, Request};
use lifeboat_node::outcome::Outcome;
use lifeboat_node::shared::millis as wall;

use super::connection::Connection;
use super::scene::{Scene, load_settings};
use crate::evidence::millis;
use crate::market::{Listed, Participant};

/// Accounts that storm: each stays within its nonce window.
pub const ACCOUNTS: u32 = 1_024;
/// Connections of the storm to each validator.
const CONNECTIONS: usize = 32;
/// Unanswered orders of one of them at a time.
const IN_FLIGHT: usize = 100;
/// Orders that each of them has signed: what is executed is not sent again.
const SIGNED: usize = 800;
/// A storming client looks for work this often.
const TURN: Duration = Duration::from_millis(4);
/// Orders that the prober rests before it cancels them one by one.
const STOCK: usize = 1_900;
/// Between an answer to the prober and its next cancel, at least and at most: a fixed time would meet every block
/// at the same moment of its making.
const PROBE_AFTER_MS: (f64, f64) = (15.0, 65.0);
/// Between an answer to the prober and its next order.
const PROBE_EVERY: Duration = Duration::from_millis(40);
/// The prober's orders and cancels are answered within this.
const ANSWER: Duration = Duration::from_secs(30);

/// Signed orders by account, ready to be sent.
pub struct Orders(Vec<VecDeque<Command>>);

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Orders sent, those sent again counted again.
    pub offered: u64,
    /// Refused at once for want of room.
    pub shed: u64,
    /// Executed.
    pub executed: u64,
}

/// A storm under way.
pub struct Storm {
    stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// One cancel of the prober, with times on the load's clock.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// When the cancel was sent.
    pub sent: Duration,
    /// Until its answer came.
    pub answered: Duration,
    /// Until the time of the block that carries it: how long the venue let it wait.
    pub waited: Duration,
    /// Height of that block.
    pub block: u64,
}

/// What a prober measured.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// Its cancels, until the calm.
    pub cancels: Vec<Probe>,
    /// Its orders after that: when each was first sent, and until it was executed.
    pub orders: Vec<(Duration, Duration)>,
}

/// What tells a prober what to do.
#[derive(Debug, Default)]
pub struct Signals {
    calm: AtomicBool,
    stopping: AtomicBool,
}

impl Signals {
    /// From now on orders are probed, no cancels.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }
}

/// A prober under way.
pub struct Prober {
    signals: Arc<Signals>,
    thread: JoinHandle<Probes>,
}

fn participant(scene: &Scene, back: u32) -> Participant {
    let all = load_settings(&scene.fleet);
    let account = AccountId::new(all.first_account.get() + all.traders + all.quoters - 1 - back);
    Participant::development(all.seed, account, all.chain)
}

impl Orders {
    /// Signs a storm's orders: small, far from the market and over at once, so that the books stay.
    pub fn sign(scene: &Scene) -> Self {
        let (listed, _) = scene.targets[0];
        let order = Action::PlaceOrder(PlaceOrder {
            time_in_force: TimeInForce::ImmediateOrCancel,
            ..listed.order(Side::Buy, listed.lots(1), listed.tick)
        });
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut who: Vec<Participant> = (0..ACCOUNTS).map(|n| participant(scene, n + 2)).collect();
        let share = who.len().div_ceil(cores);
        let mut signed = Vec::new();
        thread::scope(|scope| {
            let order = &order;
            let shares = who.chunks_mut(share);
            let signing: Vec<_> = shares
                .map(|share| {
                    scope.spawn(move || {
                        let queue = |one: &mut Participant| {
                            (0..SIGNED).map(|_| one.sign(order.clone())).collect()
                        };
                        share.iter_mut().map(queue).collect::<Vec<_>>()
                    })
                })
                .collect();
            for thread in signing {
                signed.extend(thread.join().unwrap_or_default());
            }
        });
        Self(signed)
    }
}

impl Storm {
    /// Begins to send `rate` orders a second to all `validators` together.
    pub fn begin(validators: &[SocketAddr], orders: Orders, rate: u32) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let clients = validators.len().max(1);
        let mut shares: Vec<Vec<VecDeque<Command>>> = vec![Vec::new(); clients];
        for (place, queue) in orders.0.into_iter().enumerate() {
            shares[place % clients].push(queue);
        }
        let begin = |(address, queues): (&SocketAddr, Vec<VecDeque<Command>>)| {
            let (address, stopping) = (*address, stopping.clone());
            let rate = f64::from(rate) / clients as f64;
            thread::spawn(move || Stormer::new(queues).run(address, rate, &stopping))
        };
        let clients = validators.iter().zip(shares).map(begin).collect();
        Self { stopping, clients }
    }

    /// Ends it. What was sent may still be executed.
    pub fn end(self) -> Tally {
        self.stopping.store(true, Ordering::SeqCst);
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().unwrap_or_default();
            sum.offered += tally.offered;
            sum.shed += tally.shed;
            sum.executed += tally.executed;
        }
        sum
    }
}

/// One storming client: the orders of its accounts, in the order of their nonces.
struct Stormer {
    waiting: Vec<VecDeque<Command>>,
    in_flight: Vec<usize>,
    sent: Vec<(usize, Option<Command>)>,
    next: usize,
    tally: Tally,
}

impl Stormer {
    fn new(waiting: Vec<VecDeque<Command>>) -> Self {
        Self {
            in_flight: vec![0; waiting.len()],
            waiting,
            sent: Vec::new(),
            next: 0,
            tally: Tally::default(),
        }
    }

    fn run(mut self, address: SocketAddr, rate: f64, stopping: &AtomicBool) -> Tally {
        let opened: io::Result<Vec<_>> = (0..CONNECTIONS)
            .map(|_| Connection::open(address))
            .collect();
        let Ok(mut connections) = opened else {
            return self.tally;
        };
        let began = Instant::now();
        let mut replies = Vec::new();
        // What could not be sent in its turn is not made up for later.
        let mut done = 0;
        while !stopping.load(Ordering::SeqCst) {
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            for _ in done..due {
                if !self.send(&mut connections) {
                    break;
                }
            }
            done = due;
            for connection in &mut connections {
                if connection.pump(&mut replies).is_err() {
                    return self.tally;
                }
            }
            replies.drain(..).for_each(|reply| self.hear(&reply));
            thread::sleep(TURN);
        }
        self.tally
    }

    /// Sends the next order of the next account that has room; false if none has.
    fn send(&mut self, connections: &mut [Connection]) -> bool {
        for _ in 0..self.waiting.len() {
            self.next = (self.next + 1) % self.waiting.len();
            let who = self.next;
            if self.in_flight[who] >= IN_FLIGHT {
                continue;
            }
            let Some(command) = self.waiting[who].pop_front() else {
                continue;
            };
            let id = self.sent.len() as u64;
            self.sent.push((who, Some(command.clone())));
            self.in_flight[who] += 1;
            self.tally.offered += 1;
            connections[who % connections.len()].queue(&Request::Submit { id, command });
            return true;
        }
        false
    }

    fn hear(&mut self, reply: &Reply) {
        let Some(entry) = reply.id().and_then(|id| self.sent.get_mut(id as usize)) else {
            return;
        };
        let (who, command) = (entry.0, entry.1.take());
        self.in_flight[who] = self.in_flight[who].saturating_sub(1);
        match (reply, command) {
            (Reply::Busy { .. }, Some(command)) => {
                self.tally.shed += 1;
                self.waiting[who].push_front(command);
            }
            (Reply::Outcome { .. }, _) => self.tally.executed += 1,
            _ => {}
        }
    }
}

impl Prober {
    /// Begins to rest and cancel orders at one validator; `began` is the load's clock.
    pub fn begin(scene: &Scene, began: Instant) -> Self {
        let signals = Arc::new(Signals::default());
        let (listed, _) = scene.targets[0];
        let who = participant(scene, 1);
        let address = scene.fleet.ingress()[0];
        let told = signals.clone();
        let thread = thread::spawn(move || probe(address, who, listed, (began, &told)));
        Self { signals, thread }
    }

    /// What tells it what to do.
    pub fn signals(&self) -> Arc<Signals> {
        self.signals.clone()
    }

    /// Ends it.
    pub fn end(self) -> Probes {
        self.signals.calm();
        self.signals.stopping.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_default()
    }
}

fn probe(
    address: SocketAddr,
    mut who: Participant,
    listed: Listed,
    (began, signals): (Instant, &Signals),
) -> Probes {
    let mut probes = Probes::default();
    let Ok(mut client) = BlockingClient::connect(address, ANSWER) else {
        return probes;
    };
    let order = listed.order(Side::Buy, listed.lots(1), listed.tick);
    let resting = Action::PlaceOrder(order.clone());
    let orders: Vec<Command> = (0..STOCK).map(|_| who.sign(resting.clone())).collect();
    for (number, resting) in (0..).zip(rest(&mut client, orders).unwrap_or_default()) {
        if signals.calm.load(Ordering::SeqCst) {
            break;
        }
        thread::sleep(pause(number));
        let cancel = who.sign(Action::CancelOrder(OrderRef::Id(resting)));
        let (sent, sent_at) = (began.elapsed(), wall(SystemTime::now()));
        if let Some(outcome) = ask(&mut client, &cancel) {
            probes.cancels.push(Probe {
                sent,
                answered: began.elapsed().saturating_sub(sent),
                waited: Duration::from_millis(outcome.time.since(sent_at)),
                block: outcome.height.get(),
            });
        }
    }
    let fleeting = Action::PlaceOrder(PlaceOrder {
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..order
    });
    while !signals.stopping.load(Ordering::SeqCst) {
        let (command, sent) = (who.sign(fleeting.clone()), began.elapsed());
        // One that is shed is sent again: that time counts too.
        while ask(&mut client, &command).is_none() && !signals.stopping.load(Ordering::SeqCst) {
            thread::sleep(PROBE_EVERY);
        }
        let answered = began.elapsed().saturating_sub(sent);
        probes.orders.push((sent, answered));
        thread::sleep(PROBE_EVERY);
    }
    probes
}

/// The prober's pause before its cancel of this number: multiples of the golden ratio fall everywhere evenly.
fn pause(number: u32) -> Duration {
    let (least, most) = PROBE_AFTER_MS;
    let part = (f64::from(number) * 0.618_033_988_749_895).fract();
    Duration::from_secs_f64((least + part * (most - least)) / 1_000.0)
}

/// Rests orders, a few at a time; their ids.
fn rest(client: &mut BlockingClient, orders: Vec<Command>) -> io::Result<Vec<OrderId>> {
    let mut resting = Vec::new();
    for some in orders.chunks(IN_FLIGHT) {
        for command in some {
            let command = command.clone();
            client.queue(&Request::Submit { id: 0, command });
        }
        client.flush()?;
        for _ in some {
            if let Reply::Outcome { outcome, .. } = client.receive()? {
                resting.extend(placed(&outcome));
            }
        }
    }
    Ok(resting)
}

/// Submits a command and waits for what came of it; `None` if it was shed.
fn ask(client: &mut BlockingClient, command: &Command) -> Option<Outcome> {
    let command = command.clone();
    client.queue(&Request::Submit { id: 0, command });
    client.flush().ok()?;
    match client.receive().ok()? {
        Reply::Outcome { outcome, .. } => Some(outcome),
        _ => None,
    }
}

/// The id of the order that a command placed.
pub fn placed(outcome: &Outcome) -> Option<OrderId> {
    outcome.events.iter().find_map(|event| match event {
        Event::OrderPlaced(placed) => Some(placed.order),
        _ => None,
    })
}

/// The figure that 99 in 100 of `all` are under, in milliseconds; 0 without any.
pub fn p99(all: impl Iterator<Item = Duration>) -> f64 {
    percentile(all, 99)
}

/// The figure that `percent` in 100 of `all` are at or under, in milliseconds; 0 without any.
pub fn percentile(all: impl Iterator<Item = Duration>, percent: usize) -> f64 {
    let mut sorted: Vec<f64> = all.map(millis).collect();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// Memory that the largest of these processes holds, in mebibytes, as Linux counts it.
pub fn resident_mib(processes: &[u32]) -> f64 {
    let resident = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let all = processes.iter().filter_map(resident);
    all.fold(0.0, f64::max) / 1_024.0
}
