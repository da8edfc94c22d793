//! Price-time order books: one slab of order slots, one flat price ladder a side and book.
//!
//! **Owns** resting orders: their slots, generations, places in the queue and the free list. An
//! order's id is `generation << 32 | slot`, so it is looked up without a map and never reused.
//!
//! **Never** knows the ledger, margin, modes or an instrument's terms: prices are ticks, sizes are
//! lots, and the caller's `flags` are carried but not read. It refuses (`None`, `false`) what does
//! not fit its bounds and never panics.
//!
//! **How.** Prices are turned into keys of which the smallest is the best on either side, so both
//! sides run the same branch-free code. 32 consecutive keys share a page of levels; a side reaches
//! its pages through a four-entry window around the touch and, outside it, a radix tree. An order
//! slot names its level, so a cancel walks nothing. Pages are pooled over all books.
//!
//! Invariants: I4 (queue order within a level is ascending priority; slots, generations, free list
//! and priorities survive a snapshot exactly, and each slot's leaf commits to them).

mod books;
mod directory;
mod ladder;
mod leaf;
mod matching;
pub(crate) mod prefetch;
mod slab;
mod slots;
mod snapshot;
mod touched;
mod view;

#[cfg(test)]
mod tests;

pub use books::{Books, NewOrder, Resting};
pub use ladder::ORDERS_PER_LEVEL_MAX;
pub use leaf::{BooksLeaf, SLOT_LEAF_BYTES, SlotLeaf};
pub use matching::{Fill, MatchStop, Taken, Taker};
pub use view::LevelTotal;
