//! Ten thousand sockets that want nothing good, on a running venue: those who trade go on, memory stays
//! bounded, one too many is told so, and time takes them all back.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lifeboat_node::ingress::{BlockingClient, FRAME_BYTES_MAX, Reply, Request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use support::{PATIENCE, Venue, alone, http, posted};

/// Sockets on the gateway, where the system lets one process have them.
const CROWD: usize = 10_000;
/// Those of them that send no whole head.
const SILENT: usize = 2_000;
/// Sockets on one validator's own port: more than it takes.
const INGRESS_CROWD: usize = 5_000;
/// Sockets that are opened between two rounds of the trader's.
const BETWEEN_TRADES: usize = 500;
/// Descriptors that the test needs beside its crowds.
const SPARE: usize = 200;
/// Memory that one useless connection may cost.
const KB_PER_CONNECTION: u64 = 20;
/// How the gateway's limit answers.
const UNAVAILABLE: i64 = 13_028;
/// What the gateway answers when the validators have not decided for three seconds.
const OUTCOME_UNKNOWN: i64 = 19_000;
/// So often a machine that others use may be slow; a gateway that shuts the trader out is so every time.
const UNDECIDED_MAX: u32 = 3;

/// Raises this process's limit; what it is then.
fn descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may go up to the hard one");
    maximum.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// One connection that stays open between requests.
struct Line(TcpStream);

impl Line {
    fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the gateway listens");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Self(socket)
    }

    /// What it answers; `None` when the validators have not decided in time.
    fn ask(&mut self, token: &str, method: &str, params: Value) -> Option<Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let headers = format!("authorization: bearer {token}\r\n");
        let request = posted(&headers, &call.to_string()).replace("connection: close\r\n", "");
        self.0
            .write_all(request.as_bytes())
            .expect("the line takes a request");
        let mut reply = Vec::new();
        loop {
            let mut part = [0; 4_096];
            let read = self.0.read(&mut part).expect("an answer in time");
            assert!(read > 0, "the gateway closed a line that trades");
            reply.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&reply);
            let Some((_, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            if let Ok(answer) = serde_json::from_str::<Value>(body) {
                if answer["error"]["code"] == OUTCOME_UNKNOWN {
                    return None;
                }
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return Some(answer["result"].clone());
            }
        }
    }
}

/// A session that was there before the crowd: it places and cancels.
struct Trader {
    line: Line,
    token: String,
    order: Value,
    rounds: u32,
    /// Rounds in which the validators were slower than the gateway waits.
    undecided: u32,
    slowest: Duration,
}

impl Trader {
    fn trade(&mut self) {
        let begun = Instant::now();
        if self.round().is_none() {
            self.undecided += 1;
            assert!(self.undecided <= UNDECIDED_MAX, "the venue does not decide");
        }
        self.rounds += 1;
        self.slowest = self.slowest.max(begun.elapsed());
    }

    fn round(&mut self) -> Option<()> {
        let order = self.order.clone();
        let placed = self.line.ask(&self.token, "private/buy", order)?;
        assert_eq!(placed["order"]["order_state"], "open");
        let id = json!({"order_id": placed["order"]["order_id"]});
        self.line.ask(&self.token, "private/cancel", id).map(|_| ())
    }
}

/// What each socket of the gateway's crowd sends before it falls silent: the first nothing or half a
/// head, the others a whole upgrade and half a frame.
fn beginning(n: usize) -> &'static [u8] {
    match n {
        0..SILENT if n.is_multiple_of(2) => b"",
        0..SILENT => b"POST /api/v2 HTTP/1.1\r\nhost: x\r\nconten",
        _ => {
            b"GET /ws/api/v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
              \x81\xfe\xff"
        }
    }
}

/// How many of the sockets the other side has closed. What it said before is read and kept.
fn closed(crowd: &mut [(TcpStream, Vec<u8>, bool)]) -> usize {
    for (socket, said, gone) in crowd.iter_mut().filter(|(_, _, gone)| !gone) {
        let mut part = [0; 1_024];
        loop {
            match socket.read(&mut part) {
                Ok(0) => *gone = true,
                Ok(read) => {
                    said.extend_from_slice(&part[..read]);
                    continue;
                }
                Err(error) => *gone = error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
    }
    crowd.iter().filter(|(_, _, gone)| *gone).count()
}

fn open(address: SocketAddr, sends: &[u8]) -> (TcpStream, Vec<u8>, bool) {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
    // One that is turned away at once may not take it.
    let _ = socket.write_all(sends);
    socket
        .set_nonblocking(true)
        .expect("a socket can be asked not to block");
    (socket, Vec::new(), false)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn ten_thousand_sockets_shut_nobody_out() {
    let _alone = alone();
    let room = descriptors();
    let venue = Venue::start();
    let (instrument_name, bid) = venue.quoted();
    let order = json!({"instrument_name": instrument_name, "amount": 0.1, "price": bid - 100.0});
    let mut trader = Trader {
        line: Line::open(venue.gateway),
        token: venue.log_in(),
        order,
        rounds: 0,
        undecided: 0,
        slowest: Duration::ZERO,
    };
    trader.trade();
    let count = CROWD.min(room.saturating_sub(SPARE + INGRESS_CROWD));
    let before = venue.resident_kb();
    let mut crowd = Vec::with_capacity(count);
    for n in 0..count {
        crowd.push(open(venue.gateway, beginning(n)));
        if n % BETWEEN_TRADES == 0 {
            trader.trade();
        }
    }
    trader.trade();
    let after = venue.resident_kb();
    println!(
        "{count} sockets on the gateway: {before} kB resident before, {after} kB with them; {} rounds \
         of trading, the slowest {:?}",
        trader.rounds, trader.slowest
    );
    assert!(after.saturating_sub(before) < count as u64 * KB_PER_CONNECTION);

    // Nothing, or half a head, is given up after the time that a head may take.
    until("silent sockets are closed", || {
        trader.trade();
        closed(&mut crowd[..SILENT.min(count)]) == SILENT.min(count)
    });
    // With others in their place and the trader, there is one more than the limit.
    let full = count == CROWD || room / 2 <= count;
    until("one too many is told so", || {
        trader.trade();
        closed(&mut crowd);
        let gone = crowd.iter_mut().filter(|(_, _, gone)| *gone);
        // Opening many takes a while, and a line that is silent for as long as a head may take is closed.
        for (n, socket) in gone.enumerate() {
            *socket = open(venue.gateway, beginning(SILENT));
            if n % BETWEEN_TRADES == 0 {
                trader.trade();
            }
        }
        let (status, body) = http(venue.gateway, posted("", "{}").as_bytes());
        let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        !full || (status == 503 && answer["error"]["code"] == UNAVAILABLE)
    });
    trader.trade();
    drop(crowd);
    until("there is room again", || {
        http(venue.gateway, posted("", "{}").as_bytes()).0 == 400
    });
    println!(
        "{} rounds of trading, the slowest {:?}",
        trader.rounds, trader.slowest
    );
}

#[test]
fn a_crowd_on_a_validators_own_port_costs_what_it_sends() {
    let _alone = alone();
    let room = descriptors();
    let venue = Venue::start();
    let address = venue.clients[0];
    let mut native = BlockingClient::connect(address, PATIENCE).expect("the validator listens");
    let mut status = || {
        native.queue(&Request::Status);
        native.flush().expect("the line takes a request");
        matches!(native.receive(), Ok(Reply::Status(_)))
    };
    assert!(status());
    let before = venue.resident_kb();
    // Each announces the longest frame there is, and sends a few bytes of it.
    let mut announced = (FRAME_BYTES_MAX as u32).to_le_bytes().to_vec();
    announced.extend_from_slice(&[0; 100]);
    let count = INGRESS_CROWD.min(room.saturating_sub(SPARE));
    let mut crowd: Vec<_> = (0..count).map(|_| open(address, &announced)).collect();
    assert!(status(), "who was there before is served");
    let after = venue.resident_kb();
    println!("{count} sockets on a validator: {before} kB resident before, {after} kB with them");
    assert!(after.saturating_sub(before) < count as u64 * KB_PER_CONNECTION);

    let full = [1, 0, 0, 0, 8];
    until("one over the limit is told so", || {
        closed(&mut crowd);
        crowd.iter().any(|(_, said, _)| said == &full)
    });
    until("half frames are given up", || {
        assert!(status());
        closed(&mut crowd) == count
    });
    // All that it took in time is free again.
    let mut late = BlockingClient::connect(address, PATIENCE).expect("the validator listens");
    late.queue(&Request::Status);
    late.flush().expect("the line takes a request");
    assert!(matches!(late.receive(), Ok(Reply::Status(_))));
}
