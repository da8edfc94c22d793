//! The server.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use borsh::BorshDeserialize as _;
use lifeboat_engine::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::wire::{BlockSummary, FRAME_BYTES_MAX, IN_FLIGHT_MAX, Reply, Request, encode_frame};
use crate::handle::NodeHandle;
use crate::mempool::Rank;
use crate::outcome::{Answer, Waiter};
use crate::shared::{AppliedBlock, Shared, lock, millis};

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;
/// A frame up to here is read as it comes; the rest of a longer one waits for room.
const FRAME_BYTES_SMALL: usize = 64 << 10;
/// Connections over the limit that are being told so; more are closed without a word.
const TURNED_AWAY_MAX: usize = 64;
/// How long a client may take to hear that there is no room.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// All connections together have one command shed in so long: refusing costs the node something too. Orders
/// of those who had some shed are not looked at until it is their turn again; a cancel is, and nobody else waits.
const SHED_PAUSE: Duration = Duration::from_micros(250);
/// As many of a connection's commands are shed in one turn: what it has sent is refused while it is news.
const SHED_IN_TURN: u32 = 8;
/// The longest wait for a turn.
const SHED_TURN_MAX: Duration = Duration::from_millis(50);

/// What the clients of one node may cost it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; one more is told [`Reply::Full`].
    pub connections_max: usize,
    /// A frame that was begun must be whole within this.
    pub frame_time: Duration,
    /// A connection with nothing unanswered may be silent for this long.
    pub idle_time: Duration,
    /// A client must take what is written to it within this.
    pub write_time: Duration,
    /// Kilobytes that all long frames on their way in may take together.
    pub long_frames_kb: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: room_for(4_096),
            frame_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(300),
            write_time: Duration::from_secs(5),
            long_frames_kb: 64 << 10,
        }
    }
}

/// At most `wanted`, and at most a sixteenth of the descriptors that the process may have: several
/// nodes may share it, and files and peers need theirs whatever clients do.
fn room_for(wanted: usize) -> usize {
    let share = usize::try_from(descriptors_max() / 16).unwrap_or(usize::MAX);
    wanted.min(share).max(16)
}

#[cfg(unix)]
fn descriptors_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors_max() -> u64 {
    u64::MAX
}

/// Listens on `address` and serves clients until the runtime ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, node: NodeHandle, limits: Limits) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let door = Door {
        open: Arc::new(AtomicUsize::new(0)),
        leaving: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
        long_frames: Arc::new(Semaphore::new(limits.long_frames_kb)),
        next_turn: Arc::new(Mutex::new(Instant::now())),
        limits,
    };
    tokio::spawn(accept(listener, node, door));
    Ok(())
}

/// What a node's connections share.
#[derive(Clone)]
struct Door {
    open: Arc<AtomicUsize>,
    leaving: Arc<Semaphore>,
    /// One permit for each kilobyte.
    long_frames: Arc<Semaphore>,
    /// When orders of the next connection that had one shed are looked at again.
    next_turn: Arc<Mutex<Instant>>,
    limits: Limits,
}

async fn accept(listener: TcpListener, node: NodeHandle, door: Door) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = node.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: let some close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if door.open.fetch_add(1, Ordering::Relaxed) >= door.limits.connections_max {
            door.open.fetch_sub(1, Ordering::Relaxed);
            door.turn_away(stream);
            continue;
        }
        let (node, door) = (node.clone(), door.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_client(stream, node, &door).await {
                tracing::debug!(%error, "a client's connection ended");
            }
            door.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Door {
    /// When somebody's orders are looked at again of whom so many commands were shed.
    fn turn_after(&self, shed: u32, shared: &Shared) -> Instant {
        let now = Instant::now();
        let latest = now + SHED_TURN_MAX;
        let turn = {
            let mut next = lock(&self.next_turn);
            *next = (*next).max(now) + SHED_PAUSE * shed.min(SHED_IN_TURN);
            *next = (*next).min(latest);
            *next
        };
        let pressure = || shared.mempool().pressure();
        let wall = millis(SystemTime::now());
        shared.storm.turns_taken(turn - now, pressure, wall);
        // Who sends large batches waits for them himself; others' turns and the storm know of one turn.
        turn.max(now + SHED_PAUSE.saturating_mul(shed)).min(latest)
    }

    /// Tells a client that there is no room. What it has sent is read and dropped: closing a socket
    /// with unread bytes would take the answer with it.
    fn turn_away(&self, mut stream: TcpStream) {
        let Ok(permit) = self.leaving.clone().try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let farewell = async {
                let mut out = Vec::new();
                encode_frame(&Reply::Full, &mut out);
                stream.write_all(&out).await?;
                stream.shutdown().await?;
                let mut dropped = [0; 1_024];
                while stream.read(&mut dropped).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(TURN_AWAY_TIME, farewell).await;
            drop(permit);
        });
    }
}

/// What the reading half asks of the writing half, beside answers.
enum Extra {
    Reply(Box<Reply>),
    Watch,
}

async fn serve_client(stream: TcpStream, node: NodeHandle, door: &Door) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (answers, answered) = mpsc::unbounded_channel();
    let (extras, extra) = mpsc::channel(64);
    let in_flight = Arc::new(AtomicUsize::new(0));
    let session = Session {
        node: node.clone(),
        answers,
        extras,
        in_flight: in_flight.clone(),
    };
    let replies = Replies {
        answered,
        extras: extra,
        in_flight,
    };
    let writing = write_replies(writer, node, replies, door.limits.write_time);
    tokio::select! {
        biased;
        result = read_requests(reader, session, door) => result,
        result = writing => result,
    }
}

struct Session {
    node: NodeHandle,
    answers: mpsc::UnboundedSender<(u64, Answer)>,
    extras: mpsc::Sender<Extra>,
    in_flight: Arc<AtomicUsize>,
}

fn closed<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Session {
    /// False if it was shed.
    fn submit(&self, id: u64, command: Command) -> bool {
        let held = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter::Tagged(id, self.answers.clone());
        if held >= IN_FLIGHT_MAX {
            waiter.answer(Answer::Busy);
            return false;
        }
        self.node.submit_with(command, waiter)
    }

    async fn reply(&self, reply: Reply) -> io::Result<()> {
        let extra = Extra::Reply(Box::new(reply));
        self.extras.send(extra).await.map_err(closed)
    }

    /// How many of its commands were shed.
    async fn handle(&self, request: Request) -> io::Result<u32> {
        let mut shed = 0;
        match request {
            Request::Submit { id, command } => shed += u32::from(!self.submit(id, command)),
            Request::SubmitBatch { first_id, commands } => {
                for (id, command) in (first_id..).zip(commands) {
                    shed += u32::from(!self.submit(id, command));
                }
            }
            Request::Status => {
                let status = self.node.status(millis(SystemTime::now()));
                self.reply(Reply::Status(status)).await?;
            }
            Request::Watch => self.extras.send(Extra::Watch).await.map_err(closed)?,
            Request::FetchOutcome { id, key } => {
                let answer = self
                    .node
                    .outcome(&key)
                    .map_or(Answer::Unknown, Answer::Outcome);
                self.reply(Reply::from_answer(id, answer)).await?;
            }
        }
        Ok(shed)
    }
}

async fn read_requests(reader: OwnedReadHalf, session: Session, door: &Door) -> io::Result<()> {
    let limits = &door.limits;
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    let mut frame = Vec::new();
    let (mut turn, mut refused) = (None, 0);
    loop {
        let mut len = [0; 4];
        match timeout(limits.idle_time, reader.read_exact(&mut len[..1])).await {
            Ok(read) => drop(read?),
            Err(_) if session.in_flight.load(Ordering::Relaxed) > 0 => continue,
            Err(late) => return Err(late.into()),
        }
        timeout(limits.frame_time, reader.read_exact(&mut len[1..])).await??;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_BYTES_MAX {
            return malformed(&session, io::ErrorKind::InvalidData.into()).await;
        }
        let reading = read_frame(&mut reader, len, &mut frame, &door.long_frames);
        let room = timeout(limits.frame_time, reading).await??;
        match Request::try_from_slice(&frame) {
            Ok(request) => {
                let orders = holds_orders(&request);
                if orders && let Some(turn) = turn.take() {
                    sleep_until(turn).await;
                }
                let shed = session.handle(request).await?;
                refused += shed;
                if shed > 0 && (refused >= SHED_IN_TURN || reader.buffer().is_empty()) {
                    let next = door.turn_after(refused, &session.node.shared);
                    refused = 0;
                    match orders {
                        true => turn = Some(next),
                        // Who has even cancels shed has more unanswered than anybody may.
                        false => sleep_until(next).await,
                    }
                }
            }
            Err(error) => return malformed(&session, error).await,
        }
        drop(room);
        if frame.capacity() > FRAME_BYTES_SMALL {
            frame = Vec::new();
        }
    }
}

/// Whether a request carries orders, or what keeps its place among them.
fn holds_orders(request: &Request) -> bool {
    let in_line = |command: &Command| Rank::of(command) != Rank::Ahead;
    match request {
        Request::Submit { command, .. } => in_line(command),
        Request::SubmitBatch { commands, .. } => commands.iter().any(in_line),
        Request::Status | Request::Watch | Request::FetchOutcome { .. } => false,
    }
}

/// Tells the client, and lets the writing half send it before the connection closes.
async fn malformed(session: &Session, error: io::Error) -> io::Result<()> {
    session.reply(Reply::Malformed).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    Err(error)
}

/// Reads `len` bytes into `frame`, which grows with what comes and not with what was announced. A long
/// frame takes its place among the long ones once its beginning is there.
async fn read_frame<'a>(
    reader: &mut BufReader<OwnedReadHalf>,
    len: usize,
    frame: &mut Vec<u8>,
    long_frames: &'a Semaphore,
) -> io::Result<Option<SemaphorePermit<'a>>> {
    frame.clear();
    read_more(reader, len.min(FRAME_BYTES_SMALL), frame).await?;
    let rest = len.saturating_sub(FRAME_BYTES_SMALL);
    if rest == 0 {
        return Ok(None);
    }
    // At most FRAME_BYTES_MAX in kilobytes.
    let kilobytes = rest.div_ceil(1 << 10) as u32;
    let room = long_frames.acquire_many(kilobytes).await.map_err(closed)?;
    read_more(reader, rest, frame).await?;
    Ok(Some(room))
}

async fn read_more(
    reader: &mut BufReader<OwnedReadHalf>,
    count: usize,
    frame: &mut Vec<u8>,
) -> io::Result<()> {
    let read = reader.take(count as u64).read_to_end(frame).await?;
    if read < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

async fn next_block(
    watched: &mut Option<broadcast::Receiver<Arc<AppliedBlock>>>,
    missed: &mut u64,
) -> Arc<AppliedBlock> {
    let Some(blocks) = watched else {
        return std::future::pending().await;
    };
    loop {
        match blocks.recv().await {
            Ok(block) => return block,
            Err(broadcast::error::RecvError::Lagged(count)) => *missed += count,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// What is to be written.
struct Replies {
    answered: mpsc::UnboundedReceiver<(u64, Answer)>,
    extras: mpsc::Receiver<Extra>,
    in_flight: Arc<AtomicUsize>,
}

async fn write_replies(
    mut writer: OwnedWriteHalf,
    node: NodeHandle,
    replies: Replies,
    write_time: Duration,
) -> io::Result<()> {
    let Replies {
        mut answered,
        mut extras,
        in_flight,
    } = replies;
    let mut watched = None;
    let mut missed = 0;
    let mut out = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(extra) = extras.recv() => match extra {
                Extra::Watch => watched = Some(node.subscribe()),
                Extra::Reply(reply) => encode_frame(&*reply, &mut out),
            },
            Some((id, answer)) = answered.recv() => {
                in_flight.fetch_sub(1, Ordering::Relaxed);
                encode_frame(&Reply::from_answer(id, answer), &mut out);
            },
            block = next_block(&mut watched, &mut missed) => {
                let summary = BlockSummary::new(&block, std::mem::take(&mut missed));
                encode_frame(&Reply::Block(summary), &mut out);
            },
            else => return Ok(()),
        }
        while out.len() < WRITE_BYTES
            && let Ok((id, answer)) = answered.try_recv()
        {
            in_flight.fetch_sub(1, Ordering::Relaxed);
            encode_frame(&Reply::from_answer(id, answer), &mut out);
        }
        timeout(write_time, writer.write_all(&out)).await??;
        out.clear();
    }
}
