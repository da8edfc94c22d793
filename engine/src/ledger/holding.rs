//! One account's stake in one instrument.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::types::{Cash, InstrumentId, Side};

/// No order slot.
pub const NO_SLOT: u32 = u32::MAX;

/// Position and open orders of one account in one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshDeserialize)]
pub struct Holding {
    /// Net premium paid for the position (received is negative); for the average price.
    pub cost: Cash,
    /// Signed position in lots, within `POSITION_LOTS_MAX`.
    pub position: i64,
    /// Where.
    pub instrument: InstrumentId,
    /// Open lots on the bid side, quotes included.
    pub open_buy: u32,
    /// Open lots on the ask side, quotes included.
    pub open_sell: u32,
    /// Slot of the quoted bid, or [`NO_SLOT`].
    pub quote_bid: u32,
    /// Slot of the quoted ask, or [`NO_SLOT`].
    pub quote_ask: u32,
    /// Open reduce-only orders.
    pub reduce_only: u32,
}

/// All fields in one piece: accounts with hundreds of holdings are encoded in every block.
impl BorshSerialize for Holding {
    #[inline]
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        let mut bytes = [0; ENCODED_BYTES];
        let mut rest = bytes.as_mut_slice();
        let words = [self.cost.get(), self.position];
        let halves = [
            self.instrument.get(),
            self.open_buy,
            self.open_sell,
            self.quote_bid,
            self.quote_ask,
            self.reduce_only,
        ];
        for word in words {
            rest = put(rest, word.to_le_bytes());
        }
        for half in halves {
            rest = put(rest, half.to_le_bytes());
        }
        writer.write_all(&bytes)
    }
}

/// Two words and six half words.
const ENCODED_BYTES: usize = 2 * 8 + 6 * 4;

/// Writes `bytes` at the front of `place`, which has room, and returns what is behind them.
#[inline]
fn put<const N: usize>(place: &mut [u8], bytes: [u8; N]) -> &mut [u8] {
    match place.split_first_chunk_mut() {
        Some((front, behind)) => {
            *front = bytes;
            behind
        }
        None => &mut [],
    }
}

impl Holding {
    /// Nothing yet in `instrument`.
    pub const fn new(instrument: InstrumentId) -> Self {
        Self {
            cost: Cash::ZERO,
            position: 0,
            instrument,
            open_buy: 0,
            open_sell: 0,
            quote_bid: NO_SLOT,
            quote_ask: NO_SLOT,
            reduce_only: 0,
        }
    }

    /// Whether nothing is left of it.
    pub const fn is_empty(&self) -> bool {
        self.position == 0 && self.open_buy == 0 && self.open_sell == 0
    }

    /// Open lots of one side.
    pub const fn open(&self, side: Side) -> u32 {
        match side {
            Side::Buy => self.open_buy,
            Side::Sell => self.open_sell,
        }
    }

    /// Open lots of one side, for changing.
    pub const fn open_mut(&mut self, side: Side) -> &mut u32 {
        match side {
            Side::Buy => &mut self.open_buy,
            Side::Sell => &mut self.open_sell,
        }
    }

    /// Slot of the quote of one side.
    pub const fn quote(&self, side: Side) -> u32 {
        match side {
            Side::Buy => self.quote_bid,
            Side::Sell => self.quote_ask,
        }
    }

    /// Slot of the quote of one side, for changing.
    pub const fn quote_mut(&mut self, side: Side) -> &mut u32 {
        match side {
            Side::Buy => &mut self.quote_bid,
            Side::Sell => &mut self.quote_ask,
        }
    }

    /// Lots that an order of `side` may trade before the position would grow or turn: what a
    /// reduce-only order may be for, less what is open already on that side.
    pub fn reducible(&self, side: Side) -> u32 {
        let against = match side {
            Side::Buy => self.position.min(0).unsigned_abs(),
            Side::Sell => self.position.max(0).unsigned_abs(),
        };
        u32::try_from(against.saturating_sub(u64::from(self.open(side)))).unwrap_or(u32::MAX)
    }

    /// Moves the position by `lots` at a total premium of `premium` (positive when paid). A part
    /// that closes takes its share of the cost out, rounded towards zero.
    pub fn trade(&mut self, lots: i64, premium: Cash) {
        let before = self.position;
        self.position = before.saturating_add(lots);
        let closes = before != 0 && (before > 0) != (lots > 0);
        let cost = if !closes {
            self.cost.get().saturating_add(premium.get())
        } else if (self.position > 0) == (before > 0) && self.position != 0 {
            share(self.cost.get(), self.position, before)
        } else {
            share(premium.get(), self.position, lots)
        };
        self.cost = Cash::new(cost);
    }
}

/// `amount · part / whole`, towards zero; 0 for a whole of 0.
fn share(amount: i64, part: i64, whole: i64) -> i64 {
    let product = i128::from(amount).saturating_mul(i128::from(part));
    let share = product.checked_div(i128::from(whole)).unwrap_or(0);
    i64::try_from(share).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traded(trades: &[(i64, i64)]) -> (i64, i64) {
        let mut holding = Holding::new(InstrumentId::new(0));
        for (lots, premium) in trades {
            holding.trade(*lots, Cash::new(*premium));
        }
        (holding.position, holding.cost.get())
    }

    #[test]
    fn cost_follows_the_open_part_only() {
        assert_eq!(traded(&[(10, 100)]), (10, 100));
        assert_eq!(traded(&[(10, 100), (10, 300)]), (20, 400));
        assert_eq!(traded(&[(10, 100), (-4, -80)]), (6, 60));
        assert_eq!(traded(&[(10, 100), (-10, -500)]), (0, 0));
        assert_eq!(traded(&[(10, 100), (-15, -300)]), (-5, -100));
        assert_eq!(traded(&[(-10, -100), (4, 80)]), (-6, -60));
    }

    #[test]
    fn the_encoding_reads_back() {
        let mut holding = Holding::new(InstrumentId::new(7));
        (holding.cost, holding.position) = (Cash::new(-3), -9);
        (holding.open_buy, holding.open_sell) = (1, 2);
        (holding.quote_bid, holding.reduce_only) = (3, 4);
        let bytes = borsh::to_vec(&holding);
        let read = bytes.and_then(|bytes| borsh::from_slice(&bytes));
        assert_eq!(read.ok(), Some(holding));
    }

    #[test]
    fn reducible_counts_what_is_open_already() {
        let mut holding = Holding::new(InstrumentId::new(0));
        holding.position = 10;
        assert_eq!(holding.reducible(Side::Sell), 10);
        assert_eq!(holding.reducible(Side::Buy), 0);
        holding.open_sell = 7;
        assert_eq!(holding.reducible(Side::Sell), 3);
    }
}
