//! Price levels: pages of consecutive keys, and what each side of a book knows of its own.

use super::directory::{Directory, Root};
use super::prefetch::fetch;
use super::slab::{LEVEL_RETIRED, NONE};
use crate::types::{InstrumentId, PriceTicks, Side};
use alloc::vec::Vec;

/// Orders that one price level holds at most; a level's lots then fit beside their count.
pub const ORDERS_PER_LEVEL_MAX: u32 = (1 << 19) - 1;

const LOTS_BITS: u32 = 45;
/// One order in a level's sum.
const ONE_ORDER: u64 = 1 << LOTS_BITS;
/// The sum of `ORDERS_PER_LEVEL_MAX` orders of `ORDER_LOTS_MAX` lots leaves the count's bits alone.
const _: () = assert!(
    ORDERS_PER_LEVEL_MAX as u64 * (crate::limits::ORDER_LOTS_MAX as u64) < ONE_ORDER
        && (ORDERS_PER_LEVEL_MAX as u64) < 1 << (64 - LOTS_BITS)
);

/// Keys are below this. It mirrors a bid's price so that a higher one has a smaller key.
const KEY_END: u32 = 1 << 31;
const _: () = assert!(crate::limits::PRICE_TICKS_MAX < KEY_END);
/// A page has `2^PAGE_BITS` levels. More hold the touch in fewer pages; fewer waste less memory on an
/// order far from all others. A side's window covers four pages.
const PAGE_BITS: u32 = 5;
const PAGE_LEVELS: usize = 1 << PAGE_BITS;
const OFFSET_MASK: u32 = (1 << PAGE_BITS) - 1;
/// `SideBook::best_key` of an empty side: no limit reaches it.
pub(super) const NO_KEY: u32 = u32::MAX;

/// The page of a level, or the number of a key's page.
#[inline]
const fn page_of(index: u32) -> u32 {
    index >> PAGE_BITS
}

/// A level's or key's place in its page.
#[inline]
const fn offset_of(index: u32) -> u32 {
    index & OFFSET_MASK
}

/// A level from its page, or a key from its page's number, with the place of `index`.
#[inline]
const fn join(page: u32, index: u32) -> u32 {
    (page << PAGE_BITS) | offset_of(index)
}

/// A price's key: of two prices on one side, the better has the smaller key.
#[inline]
pub(super) const fn key_of(side: Side, price: PriceTicks) -> u32 {
    let price = price.get();
    let price = if price < KEY_END { price } else { KEY_END - 1 };
    price ^ mirror(side)
}

/// The price of a key.
#[inline]
const fn price_of(side: Side, key: u32) -> PriceTicks {
    PriceTicks::new(key ^ mirror(side))
}

#[inline]
const fn mirror(side: Side) -> u32 {
    match side {
        Side::Buy => KEY_END - 1,
        Side::Sell => 0,
    }
}

/// The queue at one price and its sum. `sum` is `orders << 45 | lots`, so both change in one add.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(super) struct Level {
    /// First in the queue; meaningless while the sum is 0.
    pub(super) head: u32,
    /// Last in the queue; meaningless while the sum is 0.
    pub(super) tail: u32,
    pub(super) sum: u64,
}

impl Level {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        sum: 0,
    };

    #[inline]
    pub(super) const fn lots(&self) -> u64 {
        self.sum & (ONE_ORDER - 1)
    }

    #[inline]
    pub(super) const fn orders(&self) -> u32 {
        (self.sum >> LOTS_BITS) as u32
    }

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.orders() >= ORDERS_PER_LEVEL_MAX
    }

    /// Adds an order to the sum. The caller has checked that the level is not full.
    #[inline]
    pub(super) fn count(&mut self, lots: u32) {
        self.sum = self.sum.wrapping_add(ONE_ORDER | lots as u64);
    }

    /// Takes an order with this many lots left out of the sum.
    #[inline]
    pub(super) fn discount(&mut self, lots: u32) {
        self.sum = self.sum.wrapping_sub(ONE_ORDER | lots as u64);
    }

    /// Takes lots of an order that stays out of the sum.
    #[inline]
    pub(super) fn shrink(&mut self, lots: u32) {
        self.sum = self.sum.wrapping_sub(lots as u64);
    }
}

/// What a page needs besides its levels.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct Page {
    /// Bit `i`: the level of its `i`-th key has orders.
    bits: u64,
    /// Its keys without their low bits.
    number: u32,
    /// The side it belongs to.
    side: u32,
}

/// One side of one book; a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct SideBook {
    /// The best price's key, or `NO_KEY`.
    pub(super) best_key: u32,
    /// The best price's level.
    pub(super) best_level: u32,
    /// The four pages asked for last, by the low bits of their numbers: (number, page).
    window: [(u32, u32); 4],
    root: Root,
    pub(super) book: u32,
    pub(super) side: Side,
}

const _: () = assert!(size_of::<SideBook>() == 64);
const NO_PAGE: (u32, u32) = (NONE, NONE);

impl SideBook {
    const fn new(book: InstrumentId, side: Side) -> Self {
        Self {
            best_key: NO_KEY,
            best_level: NONE,
            window: [NO_PAGE; 4],
            root: Root::EMPTY,
            book: book.get(),
            side,
        }
    }
}

/// Where a level is: its side's entry, its book, side and price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) book: InstrumentId,
    pub(super) side: Side,
    pub(super) price: PriceTicks,
}

/// The levels of all sides of all books.
#[derive(Clone, Debug, Default)]
pub(super) struct Ladders {
    sides: Vec<SideBook>,
    free_pairs: Vec<u32>,
    pages: Vec<Page>,
    free_pages: Vec<u32>,
    levels: Vec<Level>,
    directory: Directory,
}

#[inline]
const fn bit(index: u32) -> u64 {
    1u64.wrapping_shl(index)
}

impl Ladders {
    /// Two empty sides for a book: its pair number. The bid side's entry is twice that, the ask
    /// side's one more.
    pub(super) fn open(&mut self, book: InstrumentId) -> Option<u32> {
        let both = [Side::Buy, Side::Sell].map(|side| SideBook::new(book, side));
        if let Some(pair) = self.free_pairs.pop() {
            for (entry, fresh) in (pair.wrapping_mul(2)..).zip(both) {
                *self.sides.get_mut(entry as usize)? = fresh;
            }
            return Some(pair);
        }
        let pair = u32::try_from(self.sides.len()).ok()? >> 1;
        self.sides.extend(both);
        Some(pair)
    }

    /// Gives back a pair of empty sides.
    pub(super) fn close(&mut self, pair: u32) {
        self.free_pairs.push(pair);
    }

    #[inline]
    pub(super) fn side(&self, entry: u32) -> Option<&SideBook> {
        self.sides.get(entry as usize)
    }

    #[inline]
    pub(super) fn level(&self, level: u32) -> Option<&Level> {
        self.levels.get(level as usize)
    }

    #[inline]
    pub(super) fn level_mut(&mut self, level: u32) -> Option<&mut Level> {
        self.levels.get_mut(level as usize)
    }

    /// Asks the processor to fetch a level and its page.
    #[inline]
    pub(super) fn prefetch_level(&self, level: u32) {
        fetch(self.level(level));
        fetch(self.pages.get(page_of(level) as usize));
    }

    /// The book, side and price of a level that has orders.
    #[inline]
    pub(super) fn place(&self, level: u32) -> Option<Place> {
        let page = self.pages.get(page_of(level) as usize)?;
        let side = self.sides.get(page.side as usize)?;
        Some(Place {
            book: InstrumentId::new(side.book),
            side: side.side,
            price: price_of(side.side, join(page.number, level)),
        })
    }

    /// The level of this key if its page exists. The level may be empty.
    pub(super) fn find(&self, entry: u32, key: u32) -> Option<u32> {
        let side = self.sides.get(entry as usize)?;
        let number = page_of(key);
        let (near, page) = window_of(side, number);
        let page = if near == number {
            page
        } else {
            self.directory.find(side.root, number)?
        };
        Some(join(page, key))
    }

    /// The level of this key, with a page made for it if there is none.
    #[inline]
    pub(super) fn find_or_make(&mut self, entry: u32, key: u32) -> Option<u32> {
        let side = self.sides.get(entry as usize)?;
        let number = page_of(key);
        let (near, page) = window_of(side, number);
        let page = if near == number {
            page
        } else {
            self.bring_near(entry, number)?
        };
        Some(join(page, key))
    }

    /// Puts a page into the side's window, making it if it is not there.
    #[cold]
    fn bring_near(&mut self, entry: u32, number: u32) -> Option<u32> {
        let side = self.sides.get_mut(entry as usize)?;
        let page = match self.directory.find(side.root, number) {
            Some(page) => page,
            None => {
                let fresh = Page {
                    bits: 0,
                    number,
                    side: entry,
                };
                let page = match self.free_pages.pop() {
                    Some(page) => page,
                    None => append_page(&mut self.pages, &mut self.levels)?,
                };
                *self.pages.get_mut(page as usize)? = fresh;
                self.directory.enter(&mut side.root, number, page);
                page
            }
        };
        *side.window.get_mut((number & 3) as usize)? = (number, page);
        Some(page)
    }

    /// Records that the level of `key` got its first order.
    #[inline]
    pub(super) fn occupied(&mut self, entry: u32, key: u32, level: u32) {
        if let Some(page) = self.pages.get_mut(page_of(level) as usize) {
            page.bits |= bit(offset_of(level));
        }
        if let Some(side) = self.sides.get_mut(entry as usize)
            && key < side.best_key
        {
            side.best_key = key;
            side.best_level = level;
        }
    }

    /// The same for a level that is known by its number.
    pub(super) fn occupied_at(&mut self, level: u32) {
        if let Some(page) = self.pages.get(page_of(level) as usize) {
            let (entry, key) = (page.side, join(page.number, level));
            self.occupied(entry, key, level);
        }
    }

    /// Records that a level lost its last order: moves the best price on, lets an empty page go.
    #[inline]
    pub(super) fn emptied(&mut self, level: u32) {
        let Some(page) = self.pages.get_mut(page_of(level) as usize) else {
            return;
        };
        page.bits &= !bit(offset_of(level));
        let (bits, entry, number) = (page.bits, page.side, page.number);
        if bits == 0 {
            return self.let_go(page_of(level), entry, number);
        }
        let Some(side) = self.sides.get_mut(entry as usize) else {
            return;
        };
        if side.best_level == level {
            // The best page has no smaller key, so its next one is the side's next best.
            let next = bits.trailing_zeros();
            side.best_key = join(number, next);
            side.best_level = join(page_of(level), next);
        }
    }

    /// Gives an empty page back to the pool and finds the best price without it.
    #[cold]
    fn let_go(&mut self, page: u32, entry: u32, number: u32) {
        let Some(side) = self.sides.get_mut(entry as usize) else {
            return;
        };
        self.directory.leave(&mut side.root, number);
        if let Some(near) = side.window.get_mut((number & 3) as usize)
            && near.0 == number
        {
            *near = NO_PAGE;
        }
        self.free_pages.push(page);
        if page_of(side.best_level) != page {
            return;
        }
        let first = self.directory.first(side.root);
        let next = first.and_then(|first| Some((first, self.pages.get(first as usize)?)));
        (side.best_key, side.best_level) = next.map_or((NO_KEY, NONE), |(index, page)| {
            let offset = page.bits.trailing_zeros();
            (join(page.number, offset), join(index, offset))
        });
    }

    /// The side's levels with orders, best first.
    pub(super) fn levels(&self, entry: u32) -> impl Iterator<Item = u32> + '_ {
        let best = self.side(entry).map(|side| side.best_level);
        let first = best.filter(|level| *level != NONE);
        core::iter::successors(first, |level| self.next_level(*level))
    }

    /// The next worse level with orders.
    fn next_level(&self, level: u32) -> Option<u32> {
        let page = self.pages.get(page_of(level) as usize)?;
        let above = page.bits & u64::MAX.wrapping_shl(offset_of(level)) & !bit(offset_of(level));
        if above != 0 {
            return Some(join(page_of(level), above.trailing_zeros()));
        }
        let root = self.sides.get(page.side as usize)?.root;
        let next = self.directory.after(root, page.number)?;
        let bits = self.pages.get(next as usize)?.bits;
        (bits != 0).then(|| join(next, bits.trailing_zeros()))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let pool = self
            .free_pairs
            .capacity()
            .saturating_add(self.free_pages.capacity());
        [
            self.sides.capacity().saturating_mul(size_of::<SideBook>()),
            self.pages.capacity().saturating_mul(size_of::<Page>()),
            self.levels.capacity().saturating_mul(size_of::<Level>()),
            pool.saturating_mul(size_of::<u32>()),
            self.directory.bytes(),
        ]
        .iter()
        .fold(0, |sum: usize, part| sum.saturating_add(*part))
    }
}

/// The window's entry for a page number. The compiler sees that the index is in range.
#[inline]
fn window_of(side: &SideBook, number: u32) -> (u32, u32) {
    let near = side.window.get((number & 3) as usize);
    near.copied().unwrap_or(NO_PAGE)
}

/// A page's levels are in a row; a level's index must stay below the slots' marks.
#[cold]
fn append_page(pages: &mut Vec<Page>, levels: &mut Vec<Level>) -> Option<u32> {
    let index = u32::try_from(pages.len()).ok()?;
    if index >= LEVEL_RETIRED >> PAGE_BITS {
        return None;
    }
    pages.push(Page {
        bits: 0,
        number: NONE,
        side: NONE,
    });
    levels.resize(levels.len().saturating_add(PAGE_LEVELS), Level::EMPTY);
    Some(index)
}
