//! Recovery: how long a state takes to come back from a snapshot file and from a log of commands,
//! beside reading the file alone and beside Redis loading as many keys on the same disk.

use std::fs;
use std::io::{BufWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::clock::median_and_best;
use crate::marks::with_positions;
use crate::venue::{Venue, limit};
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{Side, TimeInForce};
use lifeboat_engine::{CheckedCommand, Engine};

/// Resting orders, and keys of Redis.
const ORDERS: u32 = 1_000_000;
/// The same of the large run.
const ORDERS_LARGE: u32 = 10_000_000;
/// Commands that are signed and kept before they are run.
const BATCH: u32 = 1_000_000;
/// Accounts of the state that is nearly all orders.
const TRADERS: u32 = 10_000;
/// Accounts of the whole state, with ten positions each.
const ACCOUNTS: u32 = 1_000_000;
const BOOKS: u32 = 1_000;
const RUNS: usize = 5;
const BUFFER: usize = 1 << 20;

/// Measures loading and replay; `quick` leaves the million accounts out.
pub fn report(quick: bool) {
    let folder = folder();
    println!("recovery: wall time, files warm, median [best] of {RUNS}");
    let mut venue = Venue::open(TRADERS, 100_000_000, BOOKS, 100);
    replay(&mut venue, TRADERS, ORDERS);
    loading("orders", &venue, &folder);
    drop(venue);
    if !quick {
        let mut venue = with_positions(ACCOUNTS);
        rest(&mut venue, ACCOUNTS, ORDERS);
        loading("whole state", &venue, &folder);
    }
    beside_redis(&folder, ORDERS);
}

/// The same with ten million orders of a million accounts with ten positions each.
pub fn report_large() {
    let folder = folder();
    println!("recovery, large: wall time, files warm, median [best] of {RUNS}");
    let mut venue = with_positions(ACCOUNTS);
    replay(&mut venue, ACCOUNTS, ORDERS_LARGE);
    loading("whole state", &venue, &folder);
    drop(venue);
    beside_redis(&folder, ORDERS_LARGE);
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lifeboat-recovery-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for snapshots");
    folder
}

fn replay(venue: &mut Venue, accounts: u32, orders: u32) {
    let took = rest(venue, accounts, orders);
    println!(
        "  replay of {orders} orders into books: {:.2} s",
        took.as_secs_f64()
    );
}

fn beside_redis(folder: &Path, keys: u32) {
    match redis(folder, keys) {
        Ok((rdb, aof)) => println!(
            "  Redis, {keys} keys: RDB loaded in {:.2} s, AOF replayed in {:.2} s",
            rdb.as_secs_f64(),
            aof.as_secs_f64()
        ),
        Err(why) => println!("  Redis: not measured, {why}"),
    }
    let _ = fs::remove_dir_all(folder);
}

/// Puts orders into the books, and says how long that took without making them.
fn rest(venue: &mut Venue, accounts: u32, orders: u32) -> Duration {
    let mut took = Duration::ZERO;
    for first in (0..orders).step_by(BATCH as usize) {
        let last = orders.min(first + BATCH);
        let commands: Vec<_> = (first..last).map(|at| one(venue, accounts, at)).collect();
        let started = Instant::now();
        for command in &commands {
            venue.run(command);
            venue.events.clear();
        }
        venue.engine.root_stage();
        took += started.elapsed();
    }
    assert_eq!(venue.engine.live_orders(), orders, "every order rests");
    took
}

fn one(venue: &mut Venue, accounts: u32, at: u32) -> CheckedCommand {
    let order = limit(
        at * 7 % BOOKS,
        Side::Buy,
        1,
        3_000 + at % 1_000,
        TimeInForce::GoodTilCancelled,
    );
    venue.command(1 + at % accounts, Action::PlaceOrder(order))
}

fn loading(what: &str, venue: &Venue, folder: &Path) {
    let path = folder.join("state");
    let started = Instant::now();
    let mut image = Vec::new();
    let written = venue.engine.write_snapshot(&mut image);
    written.expect("a snapshot in memory");
    fs::write(&path, &image).expect("a snapshot file");
    drop(image);
    let written = started.elapsed();
    let root = venue.engine.state_root();
    let bare = median(|| {
        let image = fs::read(&path).expect("the snapshot");
        assert!(!image.is_empty());
    });
    // The last one is dropped before the next begins, which is not part of loading.
    let load = (0..RUNS).map(|_| {
        let started = Instant::now();
        let image = fs::read(&path).expect("the snapshot");
        let engine = Engine::read_snapshot(&mut image.as_slice()).expect("the snapshot");
        assert_eq!(engine.state_root(), root);
        started.elapsed().as_secs_f64()
    });
    let load = median_and_best(load.collect());
    let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
    println!(
        "  {what}: {} MiB, written in {:.2} s; loaded in {:.3} [{:.3}] s, {:.1} times reading the file ({:.3} s)",
        bytes >> 20,
        written.as_secs_f64(),
        load.0,
        load.1,
        load.0 / bare.0,
        bare.0
    );
}

fn median(mut work: impl FnMut()) -> (f64, f64) {
    let seconds = || {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    median_and_best(std::iter::repeat_with(seconds).take(RUNS).collect())
}

/// A Redis server that ends with its value.
struct Redis {
    child: Child,
    port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    fn start(folder: &Path, aof: bool) -> Result<(Self, Duration), String> {
        let free =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = free.local_addr().map_err(|error| error.to_string())?.port();
        drop(free);
        let started = Instant::now();
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
            ])
            .args(["--appendonly", if aof { "yes" } else { "no" }])
            .args(["--aof-use-rdb-preamble", "no", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|_| "there is no redis-server on this machine".to_owned())?;
        let server = Self { child, port };
        // It answers LOADING until it has loaded.
        while started.elapsed() < Duration::from_secs(300) {
            if server
                .ask(b"PING\r\n")
                .is_ok_and(|answer| answer.starts_with(b"+PONG"))
            {
                return Ok((server, started.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("it did not start".to_owned())
    }

    fn ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(request)?;
        let mut answer = vec![0; 64];
        let count = stream.read(&mut answer)?;
        answer.truncate(count);
        Ok(answer)
    }

    fn fill(&self, keys: u32) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let mut writer = BufWriter::with_capacity(BUFFER, stream.try_clone()?);
        let drain = std::thread::spawn(move || {
            let mut left = keys as usize * 5; // "+OK\r\n" for each.
            let mut buffer = vec![0; 1 << 16];
            while left > 0 {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left -= count.min(left),
                }
            }
        });
        for at in 0..keys {
            let value = [b'x'; 64];
            write!(writer, "*3\r\n$3\r\nSET\r\n$14\r\norder:{at:08}\r\n$64\r\n")?;
            writer.write_all(&value)?;
            writer.write_all(b"\r\n")?;
        }
        writer.flush()?;
        let _ = drain.join();
        Ok(())
    }
}

/// How long Redis takes to load an RDB and to replay an AOF of so many keys of 64 bytes.
fn redis(folder: &Path, keys: u32) -> Result<(Duration, Duration), String> {
    let failed = |error: std::io::Error| error.to_string();
    let place = |name: &str| -> Result<PathBuf, String> {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(path)
    };
    let (rdb, aof) = (place("rdb")?, place("aof")?);
    for (path, append) in [(&rdb, false), (&aof, true)] {
        let (server, _) = Redis::start(path, append)?;
        server.fill(keys).map_err(failed)?;
        let saving: &[u8] = if append {
            b"SHUTDOWN NOSAVE\r\n"
        } else {
            b"SAVE\r\n"
        };
        let _ = server.ask(saving);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok((Redis::start(&rdb, false)?.1, Redis::start(&aof, true)?.1))
}
