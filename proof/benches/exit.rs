//! Exit leaves, ladders, safe range and root of a million accounts with ten positions each, on two cores.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use std::thread;

use lifeboat_engine::types::{AccountId, Address, Cash, Digest, UnderlyingId};
use lifeboat_proof::exit::{
    ExitTree, Ladder, LeafHasher, LeafView, SafeRange, SettlementChain, UnderlyingLadder,
};

const ACCOUNTS: usize = 1_000_000;
const POSITIONS: usize = 10;
const INSTRUMENTS: usize = 1_000;
const CORES: usize = 2;

struct Venue {
    /// One lot's ladder; the first half are of underlying 0, the others of 1.
    instruments: Vec<Ladder>,
    positions: Vec<[(u16, i32); POSITIONS]>,
}

fn venue() -> Venue {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let instruments = (0..INSTRUMENTS)
        .map(|_| Ladder(core::array::from_fn(|_| (next() % 1_000_000_000) as i64)))
        .collect();
    let positions = (0..ACCOUNTS)
        .map(|_| {
            core::array::from_fn(|_| {
                let drawn = next();
                (
                    (drawn % INSTRUMENTS as u64) as u16,
                    (drawn >> 40) as i32 % 100 - 50,
                )
            })
        })
        .collect();
    Venue {
        instruments,
        positions,
    }
}

/// The two ladders of an account.
fn ladders(venue: &Venue, account: usize) -> [UnderlyingLadder; 2] {
    let mut sums = [Ladder::ZERO; 2];
    for (instrument, lots) in venue.positions[account] {
        let instrument = usize::from(instrument);
        let sum = &mut sums[usize::from(instrument >= INSTRUMENTS / 2)];
        sum.add_lots(&venue.instruments[instrument], i64::from(lots))
            .unwrap();
    }
    let [first, second] = sums;
    [(0, first), (1, second)].map(|(id, ladder)| UnderlyingLadder {
        underlying: UnderlyingId::new(id),
        ladder,
    })
}

fn part(venue: &Venue, range: core::ops::Range<usize>) -> (Vec<Digest>, SafeRange) {
    let mut digests = Vec::with_capacity(range.len());
    let mut safe = SafeRange::default();
    let encode = |slot: u32, out: &mut Vec<u8>| {
        let account = range.start + slot as usize;
        let ladders = ladders(venue, account);
        let leaf = LeafView {
            settlement: SettlementChain::new(1),
            account: AccountId::new(account as u32),
            owner: Address([account as u8; 20]),
            cash: Cash::new(1_000_000_000_000),
            critical: Cash::new(1_000_000),
            ladders: &ladders,
        };
        safe.add(&leaf);
        leaf.encode_into(out);
    };
    LeafHasher::default().hash(range.len() as u32, encode, &mut digests);
    (digests, safe)
}

/// Everything anew, and the root.
fn recompute(venue: &Venue, tree: &mut ExitTree) -> Digest {
    let share = ACCOUNTS / CORES;
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..CORES)
            .map(|core| scope.spawn(move || part(venue, core * share..(core + 1) * share)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect::<Vec<_>>()
    });
    for (core, (digests, _)) in parts.iter().enumerate() {
        tree.set_digests((core * share) as u32, digests);
    }
    let safe: SafeRange = parts.into_iter().map(|(_, safe)| safe).collect();
    divan::black_box(safe);
    tree.root()
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn million_accounts(bencher: divan::Bencher) {
    let venue = venue();
    let mut tree = ExitTree::default();
    recompute(&venue, &mut tree);
    bencher.bench_local(|| recompute(&venue, &mut tree));
}

fn main() {
    divan::main();
}
