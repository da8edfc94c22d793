//! The server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use borsh::BorshDeserialize as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::wire::{BlockSummary, FRAME_BYTES_MAX, IN_FLIGHT_MAX, Reply, Request, encode_frame};
use crate::handle::NodeHandle;
use crate::outcome::{Answer, Waiter};
use crate::shared::{AppliedBlock, millis};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 4_096;
/// A frame that was begun must be whole within this.
const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection with nothing unanswered and nothing watched may be silent for this long.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// A client must take what is written to it within this.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// Listens on `address` and serves clients until the runtime ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, node: NodeHandle) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(accept(listener, node));
    Ok(())
}

async fn accept(listener: TcpListener, node: NodeHandle) {
    let open = Arc::new(AtomicUsize::new(0));
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
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (node, open) = (node.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_client(stream, node).await {
                tracing::debug!(%error, "a client's connection ended");
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// What the reading half asks of the writing half, beside answers.
enum Extra {
    Reply(Box<Reply>),
    Watch,
}

async fn serve_client(stream: TcpStream, node: NodeHandle) -> io::Result<()> {
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
    let writing = write_replies(writer, node, answered, extra, in_flight);
    tokio::select! {
        biased;
        result = read_requests(reader, session) => result,
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
    fn submit(&self, id: u64, command: lifeboat_engine::Command) {
        let held = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter::Tagged(id, self.answers.clone());
        if held >= IN_FLIGHT_MAX {
            waiter.answer(Answer::Busy);
        } else {
            self.node.submit_with(command, waiter);
        }
    }

    async fn reply(&self, reply: Reply) -> io::Result<()> {
        let extra = Extra::Reply(Box::new(reply));
        self.extras.send(extra).await.map_err(closed)
    }

    async fn handle(&self, request: Request) -> io::Result<()> {
        match request {
            Request::Submit { id, command } => self.submit(id, command),
            Request::SubmitBatch { first_id, commands } => {
                for (id, command) in (first_id..).zip(commands) {
                    self.submit(id, command);
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
        Ok(())
    }
}

async fn read_requests(reader: OwnedReadHalf, session: Session) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
    let mut frame = Vec::new();
    loop {
        let mut len = [0; 4];
        match timeout(IDLE_TIME_MAX, reader.read_exact(&mut len[..1])).await {
            Ok(read) => drop(read?),
            Err(_) if session.in_flight.load(Ordering::Relaxed) > 0 => continue,
            Err(late) => return Err(late.into()),
        }
        timeout(FRAME_TIME_MAX, reader.read_exact(&mut len[1..])).await??;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_BYTES_MAX {
            session.reply(Reply::Malformed).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.resize(len, 0);
        timeout(FRAME_TIME_MAX, reader.read_exact(&mut frame)).await??;
        match Request::try_from_slice(&frame) {
            Ok(request) => session.handle(request).await?,
            Err(error) => {
                session.reply(Reply::Malformed).await?;
                // Let the writing half send it before the connection closes.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Err(error);
            }
        }
    }
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

async fn write_replies(
    mut writer: OwnedWriteHalf,
    node: NodeHandle,
    mut answered: mpsc::UnboundedReceiver<(u64, Answer)>,
    mut extras: mpsc::Receiver<Extra>,
    in_flight: Arc<AtomicUsize>,
) -> io::Result<()> {
    let mut watched = None;
    let mut missed = 0;
    let mut out = Vec::with_capacity(WRITE_BYTES);
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
        timeout(WRITE_TIME_MAX, writer.write_all(&out)).await??;
        out.clear();
    }
}
