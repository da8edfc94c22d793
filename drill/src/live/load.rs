//! Load from outside: clients that submit signed commands at a rate and write down what came of each.
//!
//! **Owns** the clock of the load (when each command is due, sent, answered) and failover: a client
//! whose validator dies, or is silent too long, goes to the next one and sends again, byte for byte,
//! what it has no answer to; a nonce is good once, so that is safe. **Never** signs while the clock
//! runs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lifeboat_engine::Command;
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{Digest, Height};
use lifeboat_node::block::keccak256;
use lifeboat_node::ingress::{Reply, Request};
use lifeboat_node::outcome::Verdict;

use super::connection::Connection;

/// A client looks for work this often.
const TURN: Duration = Duration::from_millis(1);
/// Between attempts to connect when nobody can be reached.
const RECONNECT: Duration = Duration::from_millis(5);
/// Refused for want of room, a client sends nothing for this long, and twice as long every time after that.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(400);
/// Commands that a client sends again in one turn: before the rest it hears whether there is room.
const AGAIN_MAX: usize = 64;

/// For so long: the market that an order was meant for is gone then, and its client gives it up.
const PERSISTS: Duration = Duration::from_secs(2);

/// What is known of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was never sent.
    Unsent,
    /// It was sent and not answered.
    Unknown,
    /// It was executed.
    Executed {
        /// In which block.
        height: Height,
        /// Its place there.
        index: u32,
        /// What the engine said.
        verdict: Verdict,
    },
    /// It was refused before it was ordered, or given up because there was no room for too long.
    Refused,
    /// Its time passed before it was ordered.
    Expired,
}

/// One command's story. Times are since the load's clock began.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// keccak256 of its encoding: its key in the venue.
    pub key: Digest,
    /// When it should have been sent.
    pub due: Duration,
    /// When it was first sent.
    pub sent: Duration,
    /// When its answer came.
    pub answered: Duration,
    /// How often its fate was open because a validator was lost.
    pub unknowns: u32,
    /// Which validator answered.
    pub via: usize,
    /// What came of it.
    pub fate: Fate,
}

impl Record {
    /// Whether the engine did it.
    pub const fn accepted(&self) -> bool {
        matches!(
            self.fate,
            Fate::Executed {
                verdict: Verdict::Applied,
                ..
            }
        )
    }

    /// Whether a validator said that it was executed, with whatever verdict.
    pub const fn acknowledged(&self) -> bool {
        matches!(self.fate, Fate::Executed { .. })
    }
}

/// A command ready to be sent.
#[derive(Clone, Debug)]
pub struct Ready {
    command: Command,
    key: Digest,
}

impl Ready {
    /// Encodes a signed command once, for its key.
    pub fn new(command: Command) -> Self {
        // Writing into a Vec cannot fail.
        let bytes = borsh::to_vec(&command).unwrap_or_default();
        let key = keccak256(&[&bytes]);
        Self { command, key }
    }

    /// Whether it asks for a trade, which is what a venue must take again before it has recovered. A
    /// cancel is taken in modes that trade nothing.
    fn is_order(&self) -> bool {
        let Command::User(user) = &self.command else {
            return false;
        };
        matches!(
            user.payload.action,
            Action::PlaceOrder(_) | Action::MassQuote(_)
        )
    }

    fn account(&self) -> u32 {
        match &self.command {
            Command::User(user) => user.payload.account.get(),
            Command::Validator(_) => 0,
        }
    }
}

/// How commands are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second, whatever comes back.
    Open {
        /// Commands a second, of all clients together.
        rate: f64,
    },
    /// As many as there is room for: at most so many unanswered, of all clients together.
    Closed {
        /// Unanswered commands.
        window: usize,
    },
}

/// How a load runs.
#[derive(Clone, Debug)]
pub struct LoadDriver {
    /// The validators' ingress, in the order of their ids.
    pub validators: Vec<SocketAddr>,
    /// How many clients; each holds accounts of its own and begins at another validator.
    pub clients: usize,
    /// How commands are sent.
    pub pace: Pace,
    /// A validator that answers nothing for so long while something is unanswered is given up.
    pub patience: Duration,
}

/// What the clients share.
#[derive(Debug, Default)]
struct Board {
    stopping: AtomicBool,
    aborted: AtomicBool,
    answered: AtomicU64,
    /// Microseconds; commands sent after it count for `accepted_after`.
    fault_at: AtomicU64,
    /// Microseconds; the first acceptance of an order sent after the fault.
    accepted_after: AtomicU64,
}

/// A load that runs.
pub struct Load {
    began: Instant,
    board: Arc<Board>,
    clients: Vec<JoinHandle<Vec<Record>>>,
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

impl LoadDriver {
    /// Starts sending `commands`. Commands of one account stay in their order.
    pub fn start(&self, commands: Vec<Ready>) -> Load {
        let began = Instant::now();
        let board = Arc::new(Board {
            fault_at: AtomicU64::new(u64::MAX),
            accepted_after: AtomicU64::new(u64::MAX),
            ..Board::default()
        });
        let clients = self.clients.max(1);
        let mut shares: Vec<Vec<(Ready, Duration)>> = vec![Vec::new(); clients];
        for (place, ready) in commands.into_iter().enumerate() {
            let due = match self.pace {
                Pace::Open { rate } => Duration::from_secs_f64(place as f64 / rate.max(1e-3)),
                Pace::Closed { .. } => Duration::ZERO,
            };
            shares[ready.account() as usize % clients].push((ready, due));
        }
        let window = match self.pace {
            Pace::Open { .. } => usize::MAX,
            Pace::Closed { window } => (window / clients).max(1),
        };
        let client = |(place, share): (usize, Vec<(Ready, Duration)>)| {
            let client = Client::new(self, place, share, window, began, board.clone());
            thread::spawn(move || client.run())
        };
        let clients = shares.into_iter().enumerate().map(client).collect();
        Load {
            began,
            board,
            clients,
        }
    }
}

impl Load {
    /// When the load's clock began.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Time on the load's clock.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Commands answered so far.
    pub fn answered(&self) -> u64 {
        self.board.answered.load(Ordering::Relaxed)
    }

    /// Whether everything that there was is answered.
    pub fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Notes that a fault happens now; the next acceptance of a command sent after it is looked for.
    pub fn mark_fault(&self) -> Duration {
        let now = self.now();
        self.board.accepted_after.store(u64::MAX, Ordering::SeqCst);
        self.board.fault_at.store(micros(now), Ordering::SeqCst);
        now
    }

    /// How long after the fault an order that was sent after it was accepted.
    pub fn recovered(&self) -> Option<Duration> {
        let accepted = self.board.accepted_after.load(Ordering::SeqCst);
        let fault = self.board.fault_at.load(Ordering::SeqCst);
        let after = (accepted != u64::MAX).then(|| accepted.saturating_sub(fault))?;
        Some(Duration::from_micros(after))
    }

    /// Sends nothing new, waits until everything sent is answered or `patience` is over, and hands
    /// over every command's record.
    pub fn finish(self, patience: Duration) -> Vec<Record> {
        self.board.stopping.store(true, Ordering::SeqCst);
        let started = Instant::now();
        while started.elapsed() < patience && self.clients.iter().any(|one| !one.is_finished()) {
            thread::sleep(TURN);
        }
        self.board.aborted.store(true, Ordering::SeqCst);
        let joined = self.clients.into_iter().map(JoinHandle::join);
        joined.flat_map(Result::unwrap_or_default).collect()
    }
}

struct Client {
    validators: Vec<SocketAddr>,
    patience: Duration,
    window: usize,
    began: Instant,
    board: Arc<Board>,
    commands: Vec<Ready>,
    records: Vec<Record>,
    /// The next command that was never sent.
    next: usize,
    /// Commands to be sent again, before anything new.
    again: VecDeque<usize>,
    in_flight: usize,
    current: usize,
    connection: Option<Connection>,
    heard: Instant,
    pause: Duration,
    paused_until: Instant,
}

impl Client {
    fn new(
        driver: &LoadDriver,
        place: usize,
        share: Vec<(Ready, Duration)>,
        window: usize,
        began: Instant,
        board: Arc<Board>,
    ) -> Self {
        let record = |(ready, due): &(Ready, Duration)| Record {
            key: ready.key,
            due: *due,
            sent: Duration::ZERO,
            answered: Duration::ZERO,
            unknowns: 0,
            via: 0,
            fate: Fate::Unsent,
        };
        let records = share.iter().map(record).collect();
        Self {
            patience: driver.patience,
            window,
            began,
            board,
            records,
            commands: share.into_iter().map(|(ready, _)| ready).collect(),
            next: 0,
            again: VecDeque::new(),
            in_flight: 0,
            current: place % driver.validators.len().max(1),
            validators: driver.validators.clone(),
            connection: None,
            heard: began,
            pause: BUSY_PAUSE,
            paused_until: began,
        }
    }

    fn run(mut self) -> Vec<Record> {
        loop {
            let stopping = self.board.stopping.load(Ordering::SeqCst);
            let idle = self.in_flight == 0 && self.again.is_empty();
            let done = idle && (stopping || self.next == self.commands.len());
            if done || self.board.aborted.load(Ordering::SeqCst) {
                return self.records;
            }
            self.turn(stopping);
            thread::sleep(TURN);
        }
    }

    fn turn(&mut self, stopping: bool) {
        if self.connection.is_none() && !self.connect() {
            thread::sleep(RECONNECT);
            return;
        }
        self.queue(stopping);
        let mut replies = Vec::new();
        let alive = self
            .connection
            .as_mut()
            .is_some_and(|connection| connection.pump(&mut replies).is_ok());
        if !replies.is_empty() {
            self.heard = Instant::now();
        }
        replies.into_iter().for_each(|reply| self.hear(&reply));
        let silent = self.in_flight > 0 && self.heard.elapsed() > self.patience;
        if !alive || silent {
            self.fail_over();
        }
    }

    /// Connects to the current validator, or moves to the next one.
    fn connect(&mut self) -> bool {
        let address = self.validators[self.current];
        self.connection = Connection::open(address).ok();
        self.heard = Instant::now();
        if self.connection.is_none() {
            self.current = (self.current + 1) % self.validators.len();
        }
        self.connection.is_some()
    }

    /// The fate of what has no answer is open: it is sent again, to the next validator.
    fn fail_over(&mut self) {
        self.connection = None;
        self.current = (self.current + 1) % self.validators.len();
        self.in_flight = 0;
        self.again.clear();
        for (id, record) in self.records.iter_mut().enumerate().take(self.next) {
            if record.fate == Fate::Unknown {
                record.unknowns += 1;
                self.again.push_back(id);
            }
        }
    }

    fn queue(&mut self, stopping: bool) {
        let now = self.began.elapsed();
        if Instant::now() < self.paused_until {
            return;
        }
        if self.in_flight == 0 {
            self.heard = Instant::now();
        }
        // Refused lately, it waits until it has heard of most of what it sent.
        let most = if self.pause > BUSY_PAUSE {
            AGAIN_MAX
        } else {
            self.window
        };
        let room = most.saturating_sub(self.in_flight).min(AGAIN_MAX);
        let again = self.again.len().min(room);
        for id in self.again.drain(..again).collect::<Vec<_>>() {
            self.send(id);
        }
        while !stopping
            && self.in_flight < self.window
            && self
                .records
                .get(self.next)
                .is_some_and(|one| one.due <= now)
        {
            self.records[self.next].sent = now;
            self.records[self.next].fate = Fate::Unknown;
            self.send(self.next);
            self.next += 1;
        }
    }

    fn send(&mut self, id: usize) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.in_flight += 1;
        connection.queue(&Request::Submit {
            id: id as u64,
            command: self.commands[id].command.clone(),
        });
    }

    /// Sends nothing for a while. What was sent together is refused together: that is one reason to wait.
    fn hold_back(&mut self) {
        let now = Instant::now();
        if now >= self.paused_until {
            self.paused_until = now + self.pause;
            self.pause = (self.pause * 2).min(BUSY_PAUSE_MAX);
        }
    }

    fn hear(&mut self, reply: &Reply) {
        let Some(id) = reply.id().map(|id| id as usize) else {
            return;
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        match reply {
            Reply::Outcome { .. } => self.pause = BUSY_PAUSE,
            Reply::Refused { .. } | Reply::Expired { .. } => {}
            _ => self.hold_back(),
        }
        let now = self.began.elapsed();
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        let fate = match reply {
            Reply::Outcome { outcome, .. } => Fate::Executed {
                height: outcome.height,
                index: outcome.index,
                verdict: outcome.verdict,
            },
            Reply::Refused { .. } => Fate::Refused,
            Reply::Expired { .. } => Fate::Expired,
            Reply::Busy { .. } if record.unknowns == 0 && now > record.sent + PERSISTS => {
                Fate::Refused
            }
            // The validator is full, or stopping: the command goes out again.
            _ => {
                record.unknowns += u32::from(!matches!(reply, Reply::Busy { .. }));
                self.again.push_back(id);
                return;
            }
        };
        record.fate = fate;
        record.answered = now;
        record.via = self.current;
        let accepted = record.accepted() && self.commands[id].is_order();
        let sent = micros(record.sent);
        self.board.answered.fetch_add(1, Ordering::Relaxed);
        if accepted && sent > self.board.fault_at.load(Ordering::SeqCst) {
            let board = &self.board.accepted_after;
            board.fetch_min(micros(now), Ordering::SeqCst);
        }
    }
}
