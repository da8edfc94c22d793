//! The matching workload through the whole engine: nonces, portfolio margin on every order, fees,
//! ledger, events.
//!
//! Each book is one option, all near the money, because the stream's prices are much the same in all
//! books; before the timed part a few ticks bring the marks to the books' prices. 900 accounts make, 100 others take, so nobody meets an own order. Adds
//! and takes are limit orders, replaces are amendments that lose their place. The engine's fills,
//! volume and live orders must be the stream's own.

use crate::clock::{allocations, cpu_ns, median_and_best, timed, wall_clock_ns};
use crate::venue::{LOT, TICK, Venue, limit};
use lifeboat_engine::CheckedCommand;
use lifeboat_engine::command::{Action, AmendOrder, OrderRef};
use lifeboat_engine::event::Event;
use lifeboat_engine::types::{
    ClientOrderId, Digest, OrderId, PostOnly, Price, Qty, Side, TimeInForce,
};
use std::time::Instant;

const HEADER_BYTES: usize = 64;
const OPERATION_BYTES: usize = 24;
const COMMANDS_PER_BLOCK: usize = 1_000;
const BLOCK_MS: u64 = 50;
const MAKERS: u32 = 900;
const ACCOUNTS: u32 = 1_000;
const TICKS_BEFORE: u32 = 20;
const RUNS: usize = 5;
const RUNS_OF_SINGLES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    Cancel,
    Replace,
    Take,
}

#[derive(Clone, Copy)]
struct Operation {
    target: OrderId,
    kind: Kind,
    side: Side,
    book: u16,
    price: u32,
    lots: u32,
    account: u32,
    /// Lots of the target filled before, which an amended total includes.
    filled: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    fills: u64,
    volume: u64,
    live: u64,
}

struct Stream {
    books: u32,
    prefill: usize,
    operations: Vec<Operation>,
    answer: Answer,
    client_ids: bool,
}

/// Nanoseconds of CPU a command, by stage, and allocations a million commands.
#[derive(Clone, Copy, Default)]
struct Cost {
    commands: f64,
    begin: f64,
    root: f64,
    allocations: f64,
    /// The state after the last command: two builds that agree on it behaved alike.
    state_root: Digest,
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
        let mut stream = Self {
            books: integer::<4>(&bytes, 8) as u32,
            prefill: integer::<4>(&bytes, 12) as usize,
            operations: Vec::new(),
            answer: Answer {
                fills: integer::<8>(&bytes, 32),
                volume: integer::<8>(&bytes, 40),
                live: integer::<8>(&bytes, 56),
            },
            client_ids: false,
        };
        let id_end = integer::<8>(&bytes, 24) as usize;
        stream.translate(&bytes[HEADER_BYTES..], id_end);
        Ok(stream)
    }

    /// Plays the stream once to learn the venue's order ids and how far orders were filled.
    fn translate(&mut self, bytes: &[u8], id_end: usize) {
        let mut ids = vec![OrderId::default(); id_end + 1];
        let mut accounts = vec![0; id_end + 1];
        let mut filled: Vec<u32> = Vec::new();
        let mut run = Run::open(self);
        for (at, record) in bytes.chunks_exact(OPERATION_BYTES).enumerate() {
            let id = integer::<4>(record, 8) as usize;
            let kind = match record[0] {
                1 => Kind::Add,
                2 => Kind::Cancel,
                3 => Kind::Replace,
                _ => Kind::Take,
            };
            // Neighbours in time are of different accounts.
            let spread =
                |id: usize, among: u32| (id as u64 * 2_654_435_761 % u64::from(among)) as u32;
            let account = match kind {
                Kind::Add => 1 + spread(id, MAKERS),
                Kind::Take => 1 + MAKERS + spread(id, ACCOUNTS - MAKERS),
                _ => accounts[id],
            };
            let target = ids[id];
            let operation = Operation {
                target,
                kind,
                side: Side::ALL[usize::from(record[1])],
                book: integer::<2>(record, 2) as u16,
                price: integer::<4>(record, 16) as u32,
                lots: integer::<4>(record, 4) as u32,
                account,
                filled: filled.get(target.slot() as usize).copied().unwrap_or(0),
            };
            self.operations.push(operation);
            if at % COMMANDS_PER_BLOCK == 0 {
                run.venue.begin(BLOCK_MS);
            }
            let from = run.venue.events.len();
            let command = run.command(&operation, at as u64, false);
            run.venue.run(&command);
            run.count(from);
            learn(&run.venue.events[from..], &mut filled);
            let named = match kind {
                Kind::Replace => integer::<4>(record, 12) as usize,
                _ => id,
            };
            (ids[named], accounts[named]) = (run.placed(from).unwrap_or(target), account);
        }
        assert_eq!(run.answer(), self.answer, "the stream's own answer");
    }

    fn timed_operations(&self) -> &[Operation] {
        &self.operations[self.prefill..]
    }
}

/// Keeps the lots filled of the order in each slot.
fn learn(events: &[Event], filled: &mut Vec<u32>) {
    for event in events {
        match event {
            Event::OrderPlaced(placed) => {
                let slot = placed.order.slot() as usize;
                if filled.len() <= slot {
                    filled.resize(slot + 1, 0);
                }
                filled[slot] = 0;
            }
            Event::Traded(trade) => {
                filled[trade.maker_order.slot() as usize] += (trade.qty.get() / LOT) as u32;
            }
            _ => {}
        }
    }
}

struct Run {
    venue: Venue,
    sums: Answer,
}

impl Run {
    fn open(stream: &Stream) -> Self {
        let mut venue = Venue::open(ACCOUNTS, 1_000_000_000, stream.books, 1);
        venue.events.reserve(16 * COMMANDS_PER_BLOCK);
        Self {
            venue,
            sums: Answer::default(),
        }
    }

    fn prefilled(stream: &Stream) -> Self {
        let mut run = Self::open(stream);
        let prefill = stream.operations[..stream.prefill].chunks(COMMANDS_PER_BLOCK);
        for (at, block) in prefill.enumerate() {
            let commands = run.commands(stream, block, at * COMMANDS_PER_BLOCK);
            run.venue.begin(BLOCK_MS);
            commands.iter().for_each(|command| run.venue.run(command));
            run.count(0);
            run.venue.engine.root_stage();
        }
        (0..TICKS_BEFORE).for_each(|_| run.venue.begin(1_000));
        run
    }

    fn commands(
        &mut self,
        stream: &Stream,
        block: &[Operation],
        from: usize,
    ) -> Vec<CheckedCommand> {
        let numbered = block.iter().zip(from as u64..);
        numbered
            .map(|(operation, number)| self.command(operation, number, stream.client_ids))
            .collect()
    }

    fn command(&mut self, operation: &Operation, number: u64, client_ids: bool) -> CheckedCommand {
        let qty = |lots: u32| Qty::new(i64::from(lots) * LOT);
        let order = OrderRef::Id(operation.target);
        let place = |good_for| {
            let Operation {
                book,
                side,
                lots,
                price,
                ..
            } = *operation;
            let mut order = limit(u32::from(book), side, lots, price, good_for);
            order.client_id = ClientOrderId::new(if client_ids { number + 1 } else { 0 });
            Action::PlaceOrder(order)
        };
        let action = match operation.kind {
            Kind::Add => place(TimeInForce::GoodTilCancelled),
            Kind::Take => place(TimeInForce::ImmediateOrCancel),
            Kind::Cancel => Action::CancelOrder(order),
            Kind::Replace => Action::AmendOrder(AmendOrder {
                order,
                qty: qty(operation.lots + operation.filled),
                price: Price::new(i64::from(operation.price) * TICK),
                post_only: PostOnly::Off,
            }),
        };
        self.venue.command(operation.account, action)
    }

    fn count(&mut self, from: usize) {
        for event in &self.venue.events[from..] {
            match event {
                Event::Traded(trade) => {
                    self.sums.fills += 1;
                    self.sums.volume += (trade.qty.get() / LOT) as u64;
                }
                Event::CommandRejected { reject, .. } => panic!("{reject:?}"),
                _ => {}
            }
        }
    }

    fn placed(&self, from: usize) -> Option<OrderId> {
        self.venue.events[from..]
            .iter()
            .find_map(|event| match event {
                Event::OrderPlaced(placed) => Some(placed.order),
                _ => None,
            })
    }

    fn answer(&self) -> Answer {
        Answer {
            live: u64::from(self.venue.engine.live_orders()),
            ..self.sums
        }
    }
}

fn run(stream: &Stream) -> Cost {
    let mut run = Run::prefilled(stream);
    let (mut begin, mut spent, mut root, mut allocated) = (0, 0, 0, 0);
    let blocks = stream.timed_operations().chunks(COMMANDS_PER_BLOCK);
    for (at, block) in blocks.enumerate() {
        let from = stream.prefill + at * COMMANDS_PER_BLOCK;
        let commands = run.commands(stream, block, from);
        begin += timed(|| run.venue.begin(BLOCK_MS)).1;
        let Venue { engine, events, .. } = &mut run.venue;
        let before = allocations();
        let start = cpu_ns();
        engine.commands_stage(&commands, events);
        spent += cpu_ns() - start;
        allocated += allocations() - before;
        root += timed(|| engine.root_stage()).1;
        run.count(0);
    }
    assert_eq!(run.answer(), stream.answer, "the stream's own answer");
    let each = |ns: u64| ns as f64 / stream.timed_operations().len() as f64;
    Cost {
        commands: each(spent),
        begin: each(begin),
        root: each(root),
        allocations: each(allocated) * 1e6,
        state_root: run.venue.engine.state_root(),
    }
}

/// Wall nanoseconds of single commands, the least of several runs for each, and in one run.
fn singles(stream: &Stream) -> (Vec<u32>, Vec<u32>) {
    let mut least = vec![u32::MAX; stream.timed_operations().len()];
    let mut last = least.clone();
    for _ in 0..RUNS_OF_SINGLES {
        let mut run = Run::prefilled(stream);
        for (at, block) in (0..)
            .step_by(COMMANDS_PER_BLOCK)
            .zip(stream.timed_operations().chunks(COMMANDS_PER_BLOCK))
        {
            let commands = run.commands(stream, block, stream.prefill + at);
            run.venue.begin(BLOCK_MS);
            let Venue { engine, events, .. } = &mut run.venue;
            for (index, command) in (0..).zip(&commands) {
                let start = Instant::now();
                engine.command_stage(index, command, events);
                let ns = start.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32;
                let at = at + index as usize;
                (least[at], last[at]) = (least[at].min(ns), ns);
            }
            engine.root_stage();
        }
    }
    least.sort_unstable();
    last.sort_unstable();
    (least, last)
}

fn report_costs(stream: &Stream, name: &str) {
    let costs: Vec<Cost> = (0..RUNS).map(|_| run(stream)).collect();
    let figure = |of: fn(&Cost) -> f64| median_and_best(costs.iter().map(of).collect());
    let (commands, root, begin) = (
        figure(|cost| cost.commands),
        figure(|cost| cost.root),
        figure(|cost| cost.begin),
    );
    let whole = figure(|cost| cost.commands + cost.root);
    println!("  {name} (CPU ns a command, median [best] of {RUNS} runs):");
    println!(
        "    commands {:.0} [{:.0}], with state roots {:.0} [{:.0}] (roots alone {:.0} [{:.0}]); block beginnings with a tick a second {:.0} [{:.0}]",
        commands.0, commands.1, whole.0, whole.1, root.0, root.1, begin.0, begin.1
    );
    println!(
        "    allocations a million commands: {:.0}",
        figure(|cost| cost.allocations).0
    );
}

fn report_singles(stream: &Stream) {
    let (least, last) = singles(stream);
    println!(
        "  single commands, wall ns, the clock's {} included:",
        wall_clock_ns()
    );
    for (name, times) in [("one run", last), ("least of 3 runs each", least)] {
        let at = |per_mille: usize| times[times.len() * per_mille / 1_000];
        println!(
            "    {name}: p50 {}, p99 {}, p99.9 {}, worst {}",
            at(500),
            at(990),
            at(999),
            times[times.len() - 1]
        );
    }
}

/// Measures one stream.
pub fn report(path: &str, quick: bool) -> Result<(), String> {
    let mut stream = Stream::read(path)?;
    println!(
        "{path}: {} book(s), {} orders prefilled, {} commands, {} fills, {} live at the end; {ACCOUNTS} accounts, portfolio margin on every order, blocks of {COMMANDS_PER_BLOCK}; answer verified",
        stream.books,
        stream.prefill,
        stream.timed_operations().len(),
        stream.answer.fills,
        stream.answer.live
    );
    if quick {
        let cost = run(&stream);
        println!(
            "  one run: commands {:.0}, roots {:.0}, begin {:.0}, allocations {:.0}, last state root {}",
            cost.commands, cost.root, cost.begin, cost.allocations, cost.state_root
        );
        return Ok(());
    }
    report_costs(&stream, "without client ids");
    report_singles(&stream);
    stream.client_ids = true;
    report_costs(&stream, "with a client id on every order");
    Ok(())
}
