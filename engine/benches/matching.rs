//! Matching only, over recorded order streams: what a command costs, its tail, and memory an order.
//!
//! `cargo bench -p lifeboat-engine --bench matching -- one_book.bin thousand_books.bin`, or the
//! paths in `LIFEBOAT_STREAMS`, separated by spaces. A stream is a 64-byte header with the answer
//! (fills, volume, notional checksum, orders live at the end), then 24-byte operations: the prefill,
//! which is not timed, and the timed ones. Client ids are turned into order ids beforehand, as a
//! client would, in a run that also proves the answer. Every 1 000 commands the touched slots are
//! drained, as at the end of a block, inside the timed part. Times are this thread's CPU time; pin
//! the process to one core.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

use lifeboat_engine::book::{Books, NewOrder, Taken, Taker};
use lifeboat_engine::types::{
    AccountId, InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side,
};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

const HEADER_BYTES: usize = 64;
const OPERATION_BYTES: usize = 24;
const COMMANDS_PER_BLOCK: usize = 1_000;
const RUNS: usize = 9;
/// How many commands ahead a command's own lines, and those they lead to, are fetched.
const AHEAD: (usize, usize) = (12, 6);

#[derive(Clone, Copy)]
enum Kind {
    Add,
    Cancel,
    Replace,
    Take,
}

/// A command in the engine's own terms.
#[derive(Clone, Copy)]
struct Command {
    target: OrderId,
    book: u16,
    kind: Kind,
    side: Side,
    price: u32,
    lots: u32,
    /// Low bits of the stream's id, which the checksum takes from each maker.
    tag: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    fills: u64,
    volume: u64,
    notional: u64,
    live: u64,
}

struct Stream {
    books: u32,
    prefill: usize,
    commands: Vec<Command>,
    answer: Answer,
}

fn integer<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

impl Stream {
    fn read(path: &str) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let whole = bytes.len().checked_sub(HEADER_BYTES);
        if whole.is_none_or(|rest| rest % OPERATION_BYTES != 0) || bytes[..4] != *b"HCTI" {
            return Err(format!("{path}: not an order stream"));
        }
        let id_end = integer::<8>(&bytes, 24) as usize;
        let mut stream = Self {
            books: integer::<4>(&bytes, 8) as u32,
            prefill: integer::<4>(&bytes, 12) as usize,
            commands: Vec::new(),
            answer: Answer {
                fills: integer::<8>(&bytes, 32),
                volume: integer::<8>(&bytes, 40),
                notional: integer::<8>(&bytes, 48),
                live: integer::<8>(&bytes, 56),
            },
        };
        stream.translate(&bytes[HEADER_BYTES..], id_end);
        Ok(stream)
    }

    /// Plays the operations once to learn the order ids that the books give.
    fn translate(&mut self, operations: &[u8], id_end: usize) {
        let mut ids = vec![OrderId::default(); id_end + 1];
        let mut venue = Venue::open(self.books);
        for operation in operations.chunks_exact(OPERATION_BYTES) {
            let id = integer::<4>(operation, 8) as usize;
            let kind = match operation[0] {
                1 => Kind::Add,
                2 => Kind::Cancel,
                3 => Kind::Replace,
                _ => Kind::Take,
            };
            let named = match kind {
                Kind::Replace => integer::<4>(operation, 12) as usize,
                _ => id,
            };
            let command = Command {
                target: ids[id],
                book: integer::<2>(operation, 2) as u16,
                kind,
                side: Side::ALL[usize::from(operation[1])],
                price: integer::<4>(operation, 16) as u32,
                lots: integer::<4>(operation, 4) as u32,
                tag: named as u8,
            };
            self.commands.push(command);
            if let Some(order) = venue.apply(&command) {
                ids[named] = order;
            }
        }
        assert_eq!(venue.answer(), self.answer, "the stream's own answer");
    }
}

struct Venue {
    books: Books,
    sums: Answer,
    touched: Vec<u32>,
}

impl Venue {
    fn open(books: u32) -> Self {
        let mut venue = Self {
            books: Books::new(),
            sums: Answer::default(),
            touched: Vec::new(),
        };
        (0..books).for_each(|book| assert!(venue.books.open(InstrumentId::new(book))));
        venue
    }

    fn answer(&self) -> Answer {
        Answer {
            live: u64::from(self.books.live()),
            ..self.sums
        }
    }

    #[inline]
    fn apply(&mut self, command: &Command) -> Option<OrderId> {
        let book = InstrumentId::new(u32::from(command.book));
        let order = NewOrder {
            side: command.side,
            price: PriceTicks::new(command.price),
            lots: Lots::new(command.lots),
            owner: AccountId::new(1),
            flags: command.tag,
        };
        match command.kind {
            Kind::Add => self.books.insert(book, order),
            Kind::Cancel => {
                self.books.remove(command.target)?;
                None
            }
            Kind::Replace => {
                self.books.remove(command.target)?;
                self.books.insert(book, order)
            }
            Kind::Take => {
                self.take(book, &order);
                None
            }
        }
    }

    fn take(&mut self, book: InstrumentId, order: &NewOrder) {
        let taker = Taker {
            account: AccountId::new(2),
            side: order.side,
            limit: order.price,
            lots: order.lots,
            stp: SelfTradePrevention::CancelTaker,
        };
        let sums = &mut self.sums;
        self.books.take(book, taker, &mut |step| {
            if let Taken::Fill(fill) = step {
                let (lots, price) = (u64::from(fill.lots.get()), u64::from(fill.price.get()));
                let notional = lots * price * u64::from(fill.maker_flags);
                sums.fills += 1;
                sums.volume += lots;
                sums.notional = sums.notional.wrapping_add(notional);
            }
            ControlFlow::Continue(())
        });
    }

    fn end_block(&mut self) {
        self.touched.clear();
        self.books.drain_touched(&mut self.touched);
        black_box(&self.touched);
    }

    /// Every command has a target; the oldest order stands in where there is none, which costs less
    /// than a branch that the processor cannot foresee.
    fn hint(&self, commands: &[Command], at: usize) {
        if let Some(command) = commands.get(at + AHEAD.0) {
            let book = InstrumentId::new(u32::from(command.book));
            self.books.prefetch_order(command.target);
            self.books.prefetch_side(book, command.side);
        }
        if let Some(command) = commands.get(at + AHEAD.1) {
            self.books.prefetch_queue(command.target);
        }
    }
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn prefilled(stream: &Stream) -> Venue {
    let mut venue = Venue::open(stream.books);
    stream.commands[..stream.prefill]
        .iter()
        .for_each(|command| {
            venue.apply(command);
        });
    venue.end_block();
    venue
}

/// CPU nanoseconds a command, and the venue afterwards.
fn timed(stream: &Stream, hints: bool) -> (f64, Venue) {
    let mut venue = prefilled(stream);
    let commands = &stream.commands[stream.prefill..];
    let start = thread_ns();
    for block in commands.chunks(COMMANDS_PER_BLOCK) {
        for (at, command) in block.iter().enumerate() {
            if hints {
                venue.hint(block, at);
            }
            black_box(venue.apply(command));
        }
        venue.end_block();
    }
    let spent = thread_ns() - start;
    (spent as f64 / commands.len() as f64, venue)
}

/// Median and best of several runs, each checked against the stream's answer.
fn cost(stream: &Stream, hints: bool) -> (f64, f64) {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (ns, venue) = timed(stream, hints);
            assert_eq!(venue.answer(), stream.answer, "the stream's own answer");
            ns
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    (runs[RUNS / 2], runs[0])
}

/// Wall nanoseconds of single commands, ascending. The clock's own cost is in them.
fn singles(stream: &Stream) -> Vec<u32> {
    let mut venue = prefilled(stream);
    let mut times: Vec<u32> = Vec::with_capacity(stream.commands.len());
    for block in stream.commands[stream.prefill..].chunks(COMMANDS_PER_BLOCK) {
        for command in block {
            let start = Instant::now();
            black_box(venue.apply(command));
            times.push(start.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
        }
        venue.end_block();
    }
    times.sort_unstable();
    times
}

fn clock_ns() -> u32 {
    let times = (0..10_001).map(|_| Instant::now().elapsed().as_nanos() as u32);
    let mut times: Vec<u32> = times.collect();
    times.sort_unstable();
    times[5_000]
}

fn report(path: &str) -> Result<(), String> {
    let stream = Stream::read(path)?;
    let timed_commands = stream.commands.len() - stream.prefill;
    println!(
        "{path}: {} book(s), {} orders prefilled, {timed_commands} commands, {} fills, {} live at the end",
        stream.books, stream.prefill, stream.answer.fills, stream.answer.live
    );
    for (name, hints) in [("one by one", false), ("with hints a block ahead", true)] {
        let (median, best) = cost(&stream, hints);
        println!("  {name}: median {median:.1} ns, best {best:.1} ns a command (CPU, {RUNS} runs)");
    }
    let singles = singles(&stream);
    let at = |per_mille: usize| singles[singles.len() * per_mille / 1_000];
    println!(
        "  single commands (clock {} ns included): p50 {} ns, p99 {} ns, p99.9 {} ns, worst {} ns",
        clock_ns(),
        at(500),
        at(990),
        at(999),
        singles[singles.len() - 1]
    );
    let (_, venue) = timed(&stream, false);
    let bytes = venue.books.bytes();
    println!(
        "  memory: {bytes} bytes, {:.1} an order live at the end",
        bytes as f64 / stream.answer.live.max(1) as f64
    );
    Ok(())
}

fn main() {
    let from_environment = std::env::var("LIFEBOAT_STREAMS").unwrap_or_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = arguments
        .iter()
        .map(String::as_str)
        .chain(from_environment.split_whitespace());
    let paths: Vec<&str> = given
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if paths.is_empty() {
        println!(
            "matching: no order stream given, nothing measured. Make one with the matching \
             workload's generator (gen OUT BOOKS PREFILL OPERATIONS SEED ZIPF) and name it as an \
             argument or in LIFEBOAT_STREAMS."
        );
    }
    for path in paths {
        if let Err(problem) = report(path) {
            eprintln!("matching: {problem}");
            std::process::exit(1);
        }
    }
}
