//! Commands that wait for a block.
//!
//! **Owns** admission (dedup by digest, bounds for each submitter and in sum), what is shed under load,
//! arrival order, who goes ahead when a block is full, who waits for which answer, and what was executed
//! lately. **Never** drops an admitted command before it was executed or can no longer execute (I3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_engine::command::{Action, OrderRef, QuoteEntry};
use lifeboat_engine::types::{AccountId, Digest, Height, PublicKey, TimeMs};
use lifeboat_engine::{CheckedCommand, Command};

use crate::outcome::{Answer, Outcome, Waiter};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MempoolLimits {
    /// Commands in all.
    pub commands_max: usize,
    /// Bytes in all.
    pub bytes_max: usize,
    /// Commands of one submitter.
    pub per_submitter_max: u32,
    /// Orders and quotes that wait, of everybody. One more submitted here is refused: two seconds of what
    /// the venue does at its best, so that a storm is over for others soon after it is over.
    pub orders_max: usize,
    /// And no more than go into so many blocks, when the venue is short of time and blocks are small.
    pub blocks_waiting_max: usize,
    /// And no more than were executed lately in so many seconds: a queue is as old as the rate makes it, whatever
    /// the venue does at its best.
    pub seconds_waiting_max: usize,
    /// What is submitted here may take one part in so many of that: one for each validator, so that what all of
    /// them let in at once, before they hear of each other's, is no more than that in all.
    pub parts: usize,
    /// So many may wait whatever was executed lately: a venue that was idle takes a burst.
    pub orders_least: usize,
    /// Orders and quotes of one account that wait: nobody fills the venue's room alone. Where the room is taken,
    /// an account may still have its equal share of it waiting, up to twice the room in all.
    pub orders_per_account_max: usize,
    /// Outcomes of executed commands that are remembered.
    pub remembered_max: usize,
}

impl Default for MempoolLimits {
    fn default() -> Self {
        Self {
            commands_max: 200_000,
            bytes_max: 128 << 20,
            per_submitter_max: 20_000,
            orders_max: 16_384,
            blocks_waiting_max: 20,
            seconds_waiting_max: 2,
            parts: 4,
            orders_least: 2_048,
            orders_per_account_max: 4_096,
            remembered_max: 200_000,
        }
    }
}

/// Whose command it is, for fairness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Submitter {
    Account(AccountId),
    Validator(PublicKey),
}

/// A command ready to be put into a block.
#[derive(Clone, Debug)]
pub struct Pending {
    /// keccak256 of its encoding.
    pub key: Digest,
    /// Its encoding.
    pub bytes: Bytes,
    /// Itself, with the result of its signature check.
    pub checked: Arc<CheckedCommand>,
}

#[derive(Debug)]
struct Entry {
    pending: Pending,
    submitter: Submitter,
    valid_until: TimeMs,
    /// For commands submitted here: when they are sent to peers again.
    gossip: Option<Repeat>,
}

/// When a command is sent to peers again.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    last: TimeMs,
    /// Waits after that as multiples of the first one: an order that a queue holds up is not lost.
    waits: u32,
}

impl Repeat {
    fn is_due(self, now: TimeMs, first_ms: u64) -> bool {
        now.since(self.last.min(now)) >= first_ms.saturating_mul(self.waits.into())
    }
}

/// An order is sent to peers again after so many times the first wait at the latest.
const WAITS_MAX: u32 = 16;

/// What became of an attempt to add a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits.
    Added,
    /// It already waited.
    Known,
    /// It was executed lately.
    Executed,
    /// There is no room for it.
    Busy,
}

/// How fast the venue executes orders now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Orders that go into a block.
    pub window: usize,
    /// Commands executed in a second lately.
    pub rate: usize,
}

/// The pool.
#[derive(Debug, Default)]
pub struct Mempool {
    limits: MempoolLimits,
    /// How fast orders are executed; none while nobody said.
    flow: Option<Flow>,
    next: u64,
    entries: BTreeMap<u64, Entry>,
    /// Those that go ahead of orders.
    ahead: BTreeSet<u64>,
    expiries: BTreeSet<(TimeMs, u64)>,
    by_key: BTreeMap<Digest, u64>,
    by_submitter: BTreeMap<Submitter, u32>,
    /// Of those, the ones that do not go ahead of orders, in the order of arrival.
    lines: BTreeMap<Submitter, BTreeSet<u64>>,
    local: BTreeSet<u64>,
    /// How many of those do not go ahead of orders.
    local_line: usize,
    bytes: usize,
    waiters: BTreeMap<Digest, Vec<Waiter>>,
    executed: BTreeMap<Digest, Arc<Outcome>>,
    executed_order: VecDeque<Digest>,
}

fn submitter(command: &Command) -> Submitter {
    match command {
        Command::User(user) => Submitter::Account(user.payload.account),
        Command::Validator(validator) => Submitter::Validator(validator.key),
    }
}

fn valid_until(command: &Command) -> TimeMs {
    match command {
        Command::User(user) => user.payload.valid_until,
        Command::Validator(_) => TimeMs::new(0),
    }
}

/// What waits for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many commands.
    pub commands: usize,
    /// Whether one of them ranks ahead of orders.
    pub ahead: bool,
}

/// How much a proposal may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Commands in all.
    pub commands: usize,
    /// Of those, how many that do not rank ahead.
    pub orders: usize,
    /// Bytes of their encodings.
    pub bytes: usize,
}

/// What a command waits behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Goes ahead of every order: what takes risk away, what margin and prices rest on, and what moves
    /// money out. Shed last, with everything.
    Ahead,
    /// A cancel by the client's own id: it may mean an order that still waits, so it keeps its place behind
    /// its account's orders. It goes ahead when none of them wait, and is shed later than they are.
    InLine,
    /// Orders, amendments and quotes: shed first.
    Order,
}

impl Rank {
    /// The rank of a command.
    pub fn of(command: &Command) -> Self {
        let Command::User(user) = command else {
            return Self::Ahead;
        };
        match &user.payload.action {
            Action::PlaceOrder(_) | Action::AmendOrder(_) | Action::SealOrder { .. } => Self::Order,
            Action::CancelOrder(OrderRef::ClientId(_)) => Self::InLine,
            Action::MassQuote(quotes) if !only_pull(&quotes.entries) => Self::Order,
            _ => Self::Ahead,
        }
    }
}

/// Whether a mass quote takes quotes away and sets none.
fn only_pull(entries: &[QuoteEntry]) -> bool {
    let mut sides = entries.iter().flat_map(|entry| [entry.bid, entry.ask]);
    !entries.is_empty() && sides.all(|side| side.is_none_or(|side| side.qty.get() == 0))
}

fn one_less(counts: &mut BTreeMap<Submitter, u32>, whose: Submitter) {
    if let Some(count) = counts.get_mut(&whose) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&whose);
        }
    }
}

impl Mempool {
    /// An empty pool.
    pub fn new(limits: MempoolLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a command with this key waits.
    pub fn contains(&self, key: &Digest) -> bool {
        self.by_key.contains_key(key)
    }

    /// What waits that is not in `excluded`.
    pub fn waiting_beside(&self, excluded: &BTreeSet<Digest>) -> Waiting {
        let carried = excluded.iter().filter(|key| self.contains(key)).count();
        let mut ahead = self.ahead.iter().filter_map(|id| self.entries.get(id));
        Waiting {
            commands: self.len().saturating_sub(carried),
            ahead: ahead.any(|entry| !excluded.contains(&entry.pending.key)),
        }
    }

    /// A waiting command, with its signature already checked.
    pub fn get(&self, key: &Digest) -> Option<Arc<CheckedCommand>> {
        let entry = self.entries.get(self.by_key.get(key)?)?;
        Some(entry.pending.checked.clone())
    }

    /// The outcome of a command executed lately.
    pub fn outcome(&self, key: &Digest) -> Option<Arc<Outcome>> {
        self.executed.get(key).cloned()
    }

    /// Whether a command that a client submits here is refused for want of room, before its signature
    /// is looked at; `coming` more have not been looked at yet. Orders are refused long before anything else is.
    pub fn sheds(&self, command: &Command, len: usize, coming: usize) -> bool {
        let line = self.entries.len() - self.ahead.len() + coming;
        let most = self.orders_max();
        let (local, part) = (self.local_line + coming, self.part_of(most));
        let crammed = line >= 2 * self.limits.orders_max;
        self.is_full(command, len)
            || match Rank::of(command) {
                Rank::Ahead => false,
                Rank::InLine => crammed,
                Rank::Order => {
                    let own = self.in_line_of(command);
                    let has_share = |room: usize| own >= (room / self.lines.len().max(1)).max(1);
                    crammed
                        || own >= self.limits.orders_per_account_max
                        || line >= most && has_share(most)
                        || local >= part && has_share(part)
                }
            }
    }

    /// Says how fast orders are executed now: fewer may wait when fewer are executed.
    pub fn set_flow(&mut self, flow: Flow) {
        self.flow = Some(flow);
    }

    /// How many orders may wait.
    fn orders_max(&self) -> usize {
        let limits = &self.limits;
        let room = |flow: Flow| {
            let blocks = flow.window.saturating_mul(limits.blocks_waiting_max);
            let lately = flow.rate.saturating_mul(limits.seconds_waiting_max);
            blocks.min(lately.max(limits.orders_least))
        };
        let most = limits.orders_max;
        self.flow.map_or(most, |flow| room(flow).min(most))
    }

    /// How many of those may have been submitted here.
    fn part_of(&self, most: usize) -> usize {
        most.div_ceil(self.limits.parts.max(1)).max(1)
    }

    /// How full the pool is of orders: at 1 new ones are refused.
    pub fn pressure(&self) -> f64 {
        let (line, most) = (self.entries.len() - self.ahead.len(), self.orders_max());
        let all = line as f64 / most.max(1) as f64;
        all.max(self.local_line as f64 / self.part_of(most) as f64)
    }

    fn in_line_of(&self, command: &Command) -> usize {
        let own = self.lines.get(&submitter(command));
        own.map_or(0, BTreeSet::len)
    }

    fn waiting_of(&self, command: &Command) -> u32 {
        let own = self.by_submitter.get(&submitter(command)).copied();
        own.unwrap_or(0)
    }

    /// Whether there is no room for a command at all, whoever sends it.
    fn is_full(&self, command: &Command, len: usize) -> bool {
        self.entries.len() >= self.limits.commands_max
            || self.bytes + len > self.limits.bytes_max
            || self.waiting_of(command) >= self.limits.per_submitter_max
    }

    /// Adds a command whose signature verified. `local` says that it was submitted here, at that time.
    /// What a peer let in is let in here too, while there is room at all.
    pub fn add(&mut self, pending: Pending, local: Option<TimeMs>) -> Admission {
        if self.executed.contains_key(&pending.key) {
            return Admission::Executed;
        }
        if self.by_key.contains_key(&pending.key) {
            return Admission::Known;
        }
        let command = pending.checked.command();
        if self.is_full(command, pending.bytes.len()) {
            return Admission::Busy;
        }
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            submitter: submitter(command),
            valid_until: valid_until(command),
            gossip: local.map(|last| Repeat { last, waits: 1 }),
            pending,
        };
        self.index(id, &entry);
        self.entries.insert(id, entry);
        Admission::Added
    }

    fn index(&mut self, id: u64, entry: &Entry) {
        self.by_key.insert(entry.pending.key, id);
        *self.by_submitter.entry(entry.submitter).or_default() += 1;
        self.bytes += entry.pending.bytes.len();
        let command = entry.pending.checked.command();
        let ahead = match Rank::of(command) {
            Rank::Ahead => true,
            Rank::InLine => self.in_line_of(command) == 0,
            Rank::Order => false,
        };
        if ahead {
            self.ahead.insert(id);
        } else {
            self.lines.entry(entry.submitter).or_default().insert(id);
        }
        if entry.valid_until.get() != 0 {
            self.expiries.insert((entry.valid_until, id));
        }
        if entry.gossip.is_some() {
            self.local.insert(id);
            self.local_line += usize::from(!ahead);
        }
    }

    fn leave_line(&mut self, id: u64, whose: Submitter) {
        if let Some(line) = self.lines.get_mut(&whose) {
            line.remove(&id);
            if line.is_empty() {
                self.lines.remove(&whose);
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.by_key.remove(&entry.pending.key);
        one_less(&mut self.by_submitter, entry.submitter);
        self.bytes -= entry.pending.bytes.len();
        let ahead = self.ahead.remove(&id);
        if !ahead {
            self.leave_line(id, entry.submitter);
        }
        self.expiries.remove(&(entry.valid_until, id));
        if self.local.remove(&id) && !ahead {
            self.local_line -= 1;
        }
        Some(entry)
    }

    /// Registers who wants to know the outcome of a command; at once if it is known.
    pub fn wait(&mut self, key: Digest, waiter: Waiter) {
        match self.executed.get(&key) {
            Some(outcome) => waiter.answer(Answer::Outcome(outcome.clone())),
            None => self.waiters.entry(key).or_default().push(waiter),
        }
    }

    /// Answers all who wait for a command.
    pub fn answer(&mut self, key: &Digest, answer: &Answer) {
        for waiter in self.waiters.remove(key).into_iter().flatten() {
            waiter.answer(answer.clone());
        }
    }

    /// Whether somebody waits for a command's outcome.
    pub fn is_awaited(&self, key: &Digest) -> bool {
        self.waiters.contains_key(key)
    }

    /// Answers everybody that the fate of their command is open.
    pub fn abandon(&mut self) {
        for waiter in std::mem::take(&mut self.waiters).into_values().flatten() {
            waiter.answer(Answer::Unknown);
        }
    }

    /// Takes a command out because a finalized block with it was executed.
    pub fn executed(&mut self, key: Digest, outcome: Arc<Outcome>) {
        if let Some(id) = self.by_key.get(&key).copied() {
            self.remove(id);
        }
        if self.executed.contains_key(&key) {
            return; // The first execution is the one that counted; a repeat was refused by nonce.
        }
        self.answer(&key, &Answer::Outcome(outcome.clone()));
        self.executed.insert(key, outcome);
        self.executed_order.push_back(key);
        if self.executed_order.len() > self.limits.remembered_max
            && let Some(oldest) = self.executed_order.pop_front()
        {
            self.executed.remove(&oldest);
        }
    }

    /// Takes out what can no longer execute, now that a block of this time was executed.
    pub fn expire(&mut self, height: Height, time: TimeMs) {
        while let Some((until, id)) = self.expiries.first().copied() {
            if until > time {
                break;
            }
            if let Some(entry) = self.remove(id) {
                self.answer(&entry.pending.key, &Answer::Expired { height });
            }
        }
    }

    /// The commands for a block: arrival order, without `excluded` and what is expired at `time`.
    /// When they do not all fit, those that rank ahead of orders come first, then orders by turns.
    pub fn select(&self, excluded: &BTreeSet<Digest>, time: TimeMs, room: Room) -> Vec<Pending> {
        let mut taking = Taking {
            room,
            taken: Vec::new(),
        };
        let usable = |entry: &&Entry| {
            let expired = entry.valid_until.get() != 0 && entry.valid_until <= time;
            !expired && !excluded.contains(&entry.pending.key)
        };
        let line = self.entries.len() - self.ahead.len();
        let fits = self.entries.len() <= room.commands && line <= room.orders;
        if fits && self.bytes <= room.bytes {
            let all = self.entries.values().filter(usable);
            all.for_each(|entry| taking.take(entry));
            return taking.taken;
        }
        let ahead = self.ahead.iter().filter_map(|id| self.entries.get(id));
        ahead.filter(usable).for_each(|entry| taking.take(entry));
        taking.room.commands = taking.room.commands.min(taking.taken.len() + room.orders);
        let left = taking.room.commands - taking.taken.len();
        let line = self.in_turn(left + excluded.len());
        let line = line.iter().filter_map(|id| self.entries.get(id));
        line.filter(usable).for_each(|entry| taking.take(entry));
        taking.taken
    }

    /// The first so many orders, everybody's first before anybody's second: who sends a few does not wait for
    /// those who send many.
    fn in_turn(&self, count: usize) -> Vec<u64> {
        let lines = self.lines.values();
        let mut places: Vec<(usize, u64)> = lines
            .flat_map(|line| line.iter().copied().enumerate())
            .collect();
        if count < places.len() {
            places.select_nth_unstable(count);
            places.truncate(count);
        }
        places.sort_unstable();
        places.into_iter().map(|(_, id)| id).collect()
    }

    /// Commands submitted here that peers should hear of again, at most `bytes_max` bytes: what ranks ahead
    /// every `first_ms`, orders after twice the time of the last wait. They count as sent at `now`.
    pub fn regossip(&mut self, first_ms: u64, now: TimeMs, bytes_max: usize) -> Vec<Bytes> {
        let mut out = Vec::new();
        let mut bytes = 0;
        for id in &self.local {
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            let Some(repeat) = entry.gossip.filter(|repeat| repeat.is_due(now, first_ms)) else {
                continue;
            };
            bytes += entry.pending.bytes.len();
            if bytes > bytes_max {
                break;
            }
            let waits = match self.ahead.contains(id) {
                true => 1,
                false => (repeat.waits * 2).min(WAITS_MAX),
            };
            entry.gossip = Some(Repeat { last: now, waits });
            out.push(entry.pending.bytes.clone());
        }
        out
    }
}

/// A block's room being filled.
struct Taking {
    room: Room,
    taken: Vec<Pending>,
}

impl Taking {
    fn is_full(&self) -> bool {
        self.taken.len() >= self.room.commands
    }

    fn take(&mut self, entry: &Entry) {
        let len = entry.pending.bytes.len();
        if !self.is_full() && len <= self.room.bytes {
            self.room.bytes -= len;
            self.taken.push(entry.pending.clone());
        }
    }
}
