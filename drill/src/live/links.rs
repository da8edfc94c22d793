//! The links between validators, as TCP proxies that a drill owns: what one says to another passes
//! through a door of its own, which can be shut one way, slowed down and made lossy. Nothing needs
//! rights that a user has not got.
//!
//! **Owns** a listener for each ordered pair of validators, and the state of each way. Two validators
//! have one or two connections, whoever dialled; bytes from `i` to `j` obey the way `i → j` on all of
//! them. **Never** looks at a byte. A cut holds bytes back, as a network does that drops packets: the
//! connection stays until somebody gives it up, and what was sent arrives when the cut heals.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::market::Dice;

/// Bytes that travel together.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks on their way one way of one connection.
const CHUNKS_MAX: usize = 256;
/// A lost segment is sent again after this at the earliest: TCP's least timeout on Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// One in so many losses ends the connection.
const RESETS: usize = 50;

/// How one way between two validators is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing passes.
    pub cut: bool,
    /// Mean delay.
    pub latency_ms: u64,
    /// Chunks that are lost once, in millionths.
    pub loss_ppm: u32,
}

/// All links.
#[derive(Debug)]
pub struct Links {
    /// By who speaks and who hears.
    ways: Vec<Vec<watch::Sender<Way>>>,
    /// Where `i` dials to reach `j`.
    doors: Vec<Vec<Option<SocketAddr>>>,
    _runtime: Runtime,
}

impl Links {
    /// Opens a door for each ordered pair of `validators`, which listen at these addresses.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub fn open(validators: &[SocketAddr], seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("links")
            .enable_all()
            .build()?;
        let count = validators.len();
        let way = |_| watch::Sender::new(Way::default());
        let ways: Vec<Vec<watch::Sender<Way>>> =
            (0..count).map(|_| (0..count).map(way).collect()).collect();
        let mut doors = vec![vec![None; count]; count];
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
                doors[from][to] = Some(listener.local_addr()?);
                let there = ways[from][to].subscribe();
                let back = ways[to][from].subscribe();
                let dice = Dice::at(seed, &[from as u64, to as u64]);
                runtime.spawn(keep_door(listener, validators[to], [there, back], dice));
            }
        }
        Ok(Self {
            ways,
            doors,
            _runtime: runtime,
        })
    }

    /// Where `from` dials to reach `to`; `None` to itself.
    pub fn door(&self, from: usize, to: usize) -> Option<SocketAddr> {
        self.doors[from][to]
    }

    /// Changes one way.
    pub fn set(&self, from: usize, to: usize, way: Way) {
        self.ways[from][to].send_replace(way);
    }

    /// Changes every way, by who speaks and who hears.
    pub fn set_all(&self, way: impl Fn(usize, usize) -> Way) {
        for from in 0..self.ways.len() {
            for to in (0..self.ways.len()).filter(|to| *to != from) {
                self.set(from, to, way(from, to));
            }
        }
    }

    /// One way as it is.
    pub fn way(&self, from: usize, to: usize) -> Way {
        *self.ways[from][to].borrow()
    }
}

async fn keep_door(
    listener: TcpListener,
    to: SocketAddr,
    [there, back]: [watch::Receiver<Way>; 2],
    mut dice: Dice,
) {
    while let Ok((near, _)) = listener.accept().await {
        let (there, back) = (there.clone(), back.clone());
        let dice = [Dice::new(dice.bits()), Dice::new(dice.bits())];
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(to).await else {
                return;
            };
            join(near, far, [there, back], dice).await;
        });
    }
}

/// Passes bytes both ways until one end is gone.
async fn join(near: TcpStream, far: TcpStream, ways: [watch::Receiver<Way>; 2], dice: [Dice; 2]) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let [there, back] = ways;
    let [luck_there, luck_back] = dice;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // Whichever ends first takes the other with it: both sockets close.
    tokio::select! {
        () = pass(near_in, far_out, there, luck_there) => {}
        () = pass(far_in, near_out, back, luck_back) => {}
    }
}

async fn pass(input: OwnedReadHalf, output: OwnedWriteHalf, way: watch::Receiver<Way>, dice: Dice) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let delivery = deliver(receiver, output, way.clone());
    let collection = collect(input, sender, way, dice);
    // The last chunks still go out after the sender has closed.
    tokio::join!(collection, delivery);
}

async fn passable(way: &mut watch::Receiver<Way>) -> Option<Way> {
    way.wait_for(|way| !way.cut).await.ok().map(|way| *way)
}

async fn collect(
    mut input: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    mut way: watch::Receiver<Way>,
    mut dice: Dice,
) {
    let mut last = Instant::now();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        if passable(&mut way).await.is_none() {
            return;
        }
        let count = match input.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let Some(now) = passable(&mut way).await else {
            return;
        };
        let Some(delay) = delay(now, &mut dice) else {
            return;
        };
        // A stream keeps its order: a chunk that waits holds up what follows.
        last = last.max(Instant::now() + delay);
        if sender.send((last, buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

/// How long a chunk takes; `None` when the connection breaks.
fn delay(way: Way, dice: &mut Dice) -> Option<Duration> {
    let mut delay = Duration::from_millis(way.latency_ms);
    let mut timeout = RETRANSMISSION;
    while dice.chance(f64::from(way.loss_ppm) / 1e6) {
        if dice.below(RESETS) == 0 {
            return None;
        }
        delay += timeout;
        timeout *= 2;
    }
    Some(delay)
}

async fn deliver(
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut output: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    while let Some((due, bytes)) = receiver.recv().await {
        sleep_until(due).await;
        if passable(&mut way).await.is_none() || output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener as Listener, TcpStream as Stream};

    use super::*;

    /// Two ends that talk through the door from 0 to 1.
    fn talk() -> (Links, Stream, Stream) {
        let ends: Vec<Listener> = (0..2)
            .map(|_| Listener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"))
            .collect();
        let addresses: Vec<SocketAddr> = ends
            .iter()
            .map(|end| end.local_addr().expect("bound"))
            .collect();
        let links = Links::open(&addresses, 1).expect("doors");
        assert!(links.door(0, 0).is_none());
        let near = Stream::connect(links.door(0, 1).expect("a door")).expect("it opens");
        let (far, _) = ends[1].accept().expect("a connection");
        for end in [&near, &far] {
            end.set_read_timeout(Some(Duration::from_millis(300)))
                .expect("a timeout");
        }
        (links, near, far)
    }

    fn hears(end: &mut Stream, expected: &[u8]) -> bool {
        let mut heard = vec![0; expected.len()];
        end.read_exact(&mut heard).is_ok() && heard == expected
    }

    #[test]
    fn one_way_is_cut_while_the_other_is_not_and_nothing_is_lost() {
        let (links, mut near, mut far) = talk();
        near.write_all(b"one").expect("sent");
        assert!(hears(&mut far, b"one"));
        let cut = Way {
            cut: true,
            ..Way::default()
        };
        links.set(0, 1, cut);
        assert_eq!((links.way(0, 1), links.way(1, 0)), (cut, Way::default()));
        near.write_all(b"two").expect("sent");
        assert!(!hears(&mut far, b"two"));
        far.write_all(b"back").expect("sent");
        assert!(hears(&mut near, b"back"));
        links.set_all(|_, _| Way::default());
        assert!(hears(&mut far, b"two"));
    }

    #[test]
    fn slow_links_are_slow_and_lossy_ones_deliver_in_order() {
        let (links, mut near, mut far) = talk();
        far.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        links.set_all(|_, _| Way {
            latency_ms: 50,
            loss_ppm: 200_000,
            ..Way::default()
        });
        let began = std::time::Instant::now();
        for number in 0..20u8 {
            near.write_all(&[number]).expect("sent");
        }
        let expected: Vec<u8> = (0..20).collect();
        assert!(hears(&mut far, &expected));
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
