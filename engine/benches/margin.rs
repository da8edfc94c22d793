//! Margin: a mark tick over all accounts, and the check of an order.
//!
//! `cargo bench -p lifeboat-engine --bench margin`. Workload: 2 underlyings of 10 expiries, 25 strikes,
//! calls and puts (1 000 instruments); 100 000 accounts with 10 positions each in random
//! instruments. Each figure is the best of several runs in processor time; pin the process to one core.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

use lifeboat_engine::risk::{
    AccountCheck, ExpiryState, Holding, InstrumentKind, InstrumentTerms, OpenChange, OrderCheck,
    Pm2Parameters, PositionChange, Ratio, RiskBook, StandardParameters, UnderlyingState, VolMark,
    Width,
};
use lifeboat_engine::types::{
    AccountId, Cash, InstrumentId, MarginModel, OptionKind, Price, Qty, Side, TimeMs, UnderlyingId,
};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

const NOW: TimeMs = TimeMs::new(1_790_000_000_000);
const SPOTS: [i64; 2] = [95_000, 3_200];
const LOTS: [i64; 2] = [1_000_000, 10_000_000];
const EXPIRIES: u64 = 10;
const STRIKES: i64 = 25;
const ACCOUNTS: usize = 100_000;
const POSITIONS: usize = 10;
const CACHED: usize = 16_384;
const RUNS: usize = 9;

/// A small generator (splitmix64): the same workload every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn lots(&mut self) -> i64 {
        self.below(2_001) as i64 - 1_000
    }
}

fn expiry(at: u64) -> TimeMs {
    NOW.plus_ms((at * at * 3 + 1) * 86_400_000)
}

fn list(book: &mut RiskBook) -> u32 {
    let mut id = 0;
    for (underlying, spot) in SPOTS.iter().enumerate() {
        for at in 0..EXPIRIES {
            for strike in 0..STRIKES {
                for kind in [OptionKind::Call, OptionKind::Put] {
                    let strike = Price::new(spot * (40 + strike * 5) * 10_000);
                    let terms = InstrumentTerms {
                        underlying: UnderlyingId::new(underlying as u8),
                        lot: Qty::new(LOTS[underlying]),
                        kind: InstrumentKind::Option {
                            expiry: expiry(at),
                            strike,
                            kind,
                        },
                    };
                    book.set_instrument(InstrumentId::new(id), terms).unwrap();
                    id += 1;
                }
            }
        }
    }
    id
}

fn markets(step: i64) -> Vec<UnderlyingState> {
    let market = |(underlying, spot): (usize, &i64)| {
        let spot = spot * 1_000_000 + step * spot * 100;
        let expiries = (0..EXPIRIES).map(|at| ExpiryState {
            expiry: expiry(at),
            forward: Price::new(spot + spot / 2_000 * at as i64),
            settled: None,
            rate: Ratio::new(40_000_000),
            confidence: Ratio::ONE,
        });
        UnderlyingState {
            underlying: UnderlyingId::new(underlying as u8),
            now: NOW,
            spot: Price::new(spot),
            spot_confidence: Ratio::ONE,
            perp: Price::ZERO,
            perp_confidence: Ratio::ONE,
            stable: Ratio::ONE,
            expiries: expiries.collect(),
        }
    };
    SPOTS.iter().enumerate().map(market).collect()
}

fn accounts(instruments: u32) -> Vec<Holding> {
    let mut dice = Dice(1);
    let mut all = Vec::with_capacity(ACCOUNTS * POSITIONS);
    for _ in 0..ACCOUNTS {
        let from = all.len();
        while all.len() < from + POSITIONS {
            let instrument = InstrumentId::new(dice.below(instruments as usize) as u32);
            if all[from..]
                .iter()
                .all(|held: &Holding| held.instrument != instrument)
            {
                all.push(Holding::position(instrument, dice.lots()));
            }
        }
        all[from..].sort_unstable_by_key(|held| held.instrument);
    }
    all
}

/// This thread's processor time: others share the machine.
fn thread_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The best time of several runs, in ns.
fn best(mut run: impl FnMut()) -> f64 {
    let times = (0..RUNS).map(|_| {
        let start = thread_ns();
        run();
        (thread_ns() - start) as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut book = RiskBook::new(
        Pm2Parameters::default(),
        StandardParameters::default(),
        CACHED,
    )
    .unwrap();
    let instruments = list(&mut book);
    let marks: Vec<VolMark> = (0..instruments)
        .map(|id| VolMark {
            instrument: InstrumentId::new(id),
            vol: Ratio::new(450_000_000 + i64::from(id % 50) * 4_000_000),
            confidence: Ratio::ONE,
        })
        .collect();
    let holdings = accounts(instruments);
    println!("{instruments} instruments, {ACCOUNTS} accounts of {POSITIONS} positions");
    let mut step = 0;
    let reprice = best(|| {
        step += 1;
        for market in &markets(step) {
            book.tick(market, &marks).unwrap();
        }
    });
    println!(
        "mark tick, values of {instruments} instruments: {:.2} ms",
        reprice / 1e6
    );
    for width in Width::available() {
        book.set_width(width);
        let sums = best(|| {
            let mut under = 0_u32;
            for held in holdings.chunks_exact(POSITIONS) {
                let margin = book.margin(held.iter().copied(), Cash::ZERO, MarginModel::Portfolio);
                under += u32::from(margin.mm < Cash::ZERO);
            }
            black_box(under);
        });
        let positions = (ACCOUNTS * POSITIONS) as f64;
        println!(
            "mark tick, margin of all accounts, {width:?}: {:.2} ms, {:.1} ns a position; \
             whole tick {:.2} ms (aim 20)",
            sums / 1e6,
            sums / positions,
            (sums + reprice) / 1e6
        );
    }
    orders(&mut book, &holdings, instruments);
}

fn orders(book: &mut RiskBook, holdings: &[Holding], instruments: u32) {
    let mut dice = Dice(2);
    const CHECKS: usize = 200_000;
    for (accounts, what) in [(1, "1 account"), (10_000, "10 000 accounts")] {
        for (cash, path) in [(i64::MAX / 4, "bound"), (0, "exact")] {
            let checks: Vec<(usize, OrderCheck)> = (0..CHECKS)
                .map(|_| {
                    let instrument = InstrumentId::new(dice.below(instruments as usize) as u32);
                    let side = if dice.below(2) == 0 {
                        Side::Buy
                    } else {
                        Side::Sell
                    };
                    let price_per_lot = book.row(instrument).unwrap().mark_per_lot();
                    let lots = 1 + dice.below(100) as u32;
                    let fee_max = Cash::ZERO;
                    let order = OrderCheck {
                        instrument,
                        side,
                        lots,
                        price_per_lot,
                        fee_max,
                    };
                    (dice.below(accounts), order)
                })
                .collect();
            let time = best(|| {
                let mut fits = 0_u32;
                for (at, order) in &checks {
                    let account = AccountCheck {
                        account: AccountId::new(*at as u32),
                        cash: Cash::new(cash),
                        model: MarginModel::Portfolio,
                    };
                    let held = holdings[at * POSITIONS..][..POSITIONS].iter().copied();
                    fits += u32::from(book.check_order(&account, held, order).is_ok());
                }
                black_box(fits);
            });
            println!(
                "order check, {what}, {path}: {:.1} ns",
                time / CHECKS as f64
            );
        }
    }
    changes(book, holdings, instruments);
    let per_account = book.cache_bytes() as f64 / 10_000.0;
    println!("memory of 10 000 remembered accounts: {per_account:.0} bytes each");
}

fn changes(book: &mut RiskBook, holdings: &[Holding], instruments: u32) {
    let mut dice = Dice(3);
    const CHANGES: usize = 100_000;
    let held: Vec<Holding> = (0..CHANGES)
        .map(|_| holdings[dice.below(10_000 * POSITIONS)])
        .collect();
    let account = |at: usize| AccountId::new((at % 10_000) as u32);
    let open = best(|| {
        for (at, held) in held.iter().enumerate() {
            for lots in [5, -5] {
                let change = OpenChange {
                    instrument: held.instrument,
                    side: Side::Sell,
                    lots,
                    drag: Cash::ZERO,
                };
                book.on_open_change(account(at), &change);
            }
        }
    });
    println!(
        "open order added or removed: {:.1} ns",
        open / CHANGES as f64 / 2.0
    );
    let fill = best(|| {
        for at in 0..CHANGES {
            let holding = holdings[at % (10_000 * POSITIONS)];
            let owner = AccountId::new((at % (10_000 * POSITIONS) / POSITIONS) as u32);
            let (before, after) = (holding.position, holding.position + 5);
            for (before, after) in [(before, after), (after, before)] {
                let change = PositionChange {
                    instrument: holding.instrument,
                    before,
                    after,
                };
                book.on_position_change(owner, &change);
            }
        }
    });
    println!(
        "position changed by a fill: {:.1} ns",
        fill / CHANGES as f64 / 2.0
    );
    let fresh = best(|| {
        // Accounts that share a slot of the cache: none is remembered.
        for at in 0..10_000 {
            let number = (at % 6) * CACHED;
            let held = holdings[number * POSITIONS..][..POSITIONS].iter().copied();
            let account = AccountCheck {
                account: AccountId::new(number as u32),
                cash: Cash::ZERO,
                model: MarginModel::Portfolio,
            };
            black_box(book.initial_with_orders(&account, held).unwrap());
        }
    });
    println!("account summed anew: {:.1} ns", fresh / 1e4);
    let _ = instruments;
}
