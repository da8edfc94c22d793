//! Every decoder of the engine that meets the network, on bytes that came out wrong: it never
//! panics, never takes more memory than its bound, and knows one encoding for one value.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../../fuzz/src/books.rs"]
mod books;
#[path = "../../fuzz/src/command.rs"]
mod command;
#[path = "decoders/memory.rs"]
mod memory;
#[path = "decoders/mutations.rs"]
mod mutations;
#[path = "decoders/samples.rs"]
mod samples;

use lifeboat_engine::Command;
use lifeboat_engine::book::{Books, NewOrder};
use lifeboat_engine::limits::{COMMAND_BYTES_MAX, INSTRUMENTS_MAX};
use lifeboat_engine::types::{AccountId, InstrumentId, Lots, PriceTicks, Side};
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Most memory that decoding and encoding one command may hold: lists grow with what was read, of
/// which there is at most `COMMAND_BYTES_MAX`, and a stated length reserves nothing.
const COMMAND_MEMORY_MAX: usize = 8 * COMMAND_BYTES_MAX;

/// Memory that reading books may hold: for each byte read (a lone order needs a page of levels), and
/// on top a table of books by instrument id, which one high id makes as long as it can get; twice,
/// while it grows.
const BOOKS_MEMORY_PER_BYTE: usize = 512;
const BOOKS_MEMORY_BASE: usize = (64 << 10) + 2 * 4 * INSTRUMENTS_MAX as usize;

fn check_command(bytes: &[u8]) {
    mutations::bounded(bytes, COMMAND_MEMORY_MAX, command::check);
}

fn check_books(bytes: &[u8]) {
    let most = BOOKS_MEMORY_BASE + BOOKS_MEMORY_PER_BYTE * bytes.len();
    mutations::bounded(bytes, most, books::check);
}

#[test]
fn commands_round_trip() {
    for sample in samples::commands() {
        let bytes = borsh::to_vec(&sample).unwrap();
        assert!(command::check(&bytes), "{sample:?}");
        assert_eq!(borsh::from_slice::<Command>(&bytes).unwrap(), sample);
    }
}

#[test]
fn wrong_commands_get_an_answer() {
    for sample in samples::commands() {
        mutations::each(&borsh::to_vec(&sample).unwrap(), check_command);
    }
}

fn some_books() -> Vec<u8> {
    let mut books = Books::new();
    for book in [0, 3] {
        assert!(books.open(InstrumentId::new(book)));
    }
    let order = |side, price, lots| NewOrder {
        side,
        price: PriceTicks::new(price),
        lots: Lots::new(lots),
        owner: AccountId::new(lots),
        flags: 1,
    };
    let mut ids = Vec::new();
    for number in 1..=6 {
        ids.extend(books.insert(
            InstrumentId::new(0),
            order(Side::Buy, 100 + number % 2, number),
        ));
        ids.extend(books.insert(
            InstrumentId::new(3),
            order(Side::Sell, 900 * number, number),
        ));
    }
    assert_eq!(ids.len(), 12);
    assert!(books.remove(ids[4]).is_some() && books.remove(ids[7]).is_some());
    assert!(books.allocate().is_some());
    let mut bytes = Vec::new();
    books.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn wrong_books_get_an_answer() {
    let bytes = some_books();
    assert!(books::check(&bytes));
    mutations::each(&bytes, check_books);
}

/// A snapshot of books that ends early is refused, wherever it ends.
#[test]
fn truncated_books_are_refused() {
    let bytes = some_books();
    for length in 0..bytes.len() {
        assert!(!books::check(&bytes[..length]), "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check_command(&bytes);
        check_books(&bytes);
    }

    /// Two valid encodings, cut and joined anywhere.
    #[test]
    fn spliced_commands_get_an_answer(
        first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(), join in any::<prop::sample::Index>(),
    ) {
        let samples = samples::commands();
        let first = borsh::to_vec(first.get(&samples)).unwrap();
        let second = borsh::to_vec(second.get(&samples)).unwrap();
        let spliced = [&first[..cut.index(first.len())], &second[join.index(second.len())..]];
        check_command(&spliced.concat());
    }
}
