//! What sums left behind by ticks still prove is what exact sums say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use lifeboat_engine::risk::{
    AccountCheck, ExpiryState, Holding, InstrumentKind, InstrumentTerms, OpenChange, OrderCheck,
    Pm2Parameters, PositionChange, Ratio, RiskBook, StandardParameters, UnderlyingState, VolMark,
};
use lifeboat_engine::types::{
    AccountId, Cash, InstrumentId, MarginModel, OptionKind, Price, Qty, Side, TimeMs, UnderlyingId,
};

const NOW: TimeMs = TimeMs::new(1_790_000_000_000);
const ACCOUNT: AccountId = AccountId::new(7);
const INSTRUMENTS: u32 = 24;

/// A small generator (splitmix64): a seed is a run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn around_zero(&mut self, most: i64) -> i64 {
        self.below(2 * most as u64 + 1) as i64 - most
    }

    fn instrument(&mut self) -> InstrumentId {
        InstrumentId::new(self.below(INSTRUMENTS.into()) as u32)
    }
}

fn expiry(at: u32) -> TimeMs {
    NOW.plus_ms(u64::from(at + 1) * 9 * 86_400_000)
}

/// Two underlyings of two expiries, three strikes, calls and puts.
fn terms(id: u32) -> InstrumentTerms {
    let (underlying, expiry_at, strike) = (id % 2, id / 2 % 2, id / 4 % 3);
    InstrumentTerms {
        underlying: UnderlyingId::new(underlying as u8),
        lot: Qty::new([1_000_000, 10_000_000][underlying as usize]),
        kind: InstrumentKind::Option {
            expiry: expiry(expiry_at),
            strike: Price::new(SPOTS[underlying as usize] * (90 + 10 * i64::from(strike)) / 100),
            kind: OptionKind::ALL[(id / 12) as usize],
        },
    }
}

const SPOTS: [i64; 2] = [90_000_000_000, 3_000_000_000];

/// The exact book and the one that remembers, side by side.
struct Books {
    exact: RiskBook,
    remembering: RiskBook,
    spots: [i64; 2],
    held: Vec<Holding>,
}

impl Books {
    fn new() -> Self {
        let book = || {
            let (pm2, standard) = (Pm2Parameters::default(), StandardParameters::default());
            let mut book = RiskBook::new(pm2, standard, 4).unwrap();
            for id in 0..INSTRUMENTS {
                let set = book.set_instrument(InstrumentId::new(id), terms(id));
                set.unwrap();
            }
            book
        };
        Self {
            exact: book(),
            remembering: book(),
            spots: SPOTS,
            held: (0..INSTRUMENTS)
                .map(|id| Holding::position(InstrumentId::new(id), 0))
                .collect(),
        }
    }

    fn tick(&mut self, dice: &mut Dice) {
        let underlying = dice.below(2) as usize;
        self.spots[underlying] += SPOTS[underlying] / 1_000_000 * dice.around_zero(400);
        let spot = Price::new(self.spots[underlying]);
        let vol = Ratio::new(500_000_000 + dice.around_zero(5_000_000));
        let state = |at| ExpiryState {
            expiry: expiry(at),
            forward: spot,
            settled: None,
            rate: Ratio::new(40_000_000),
            confidence: Ratio::ONE,
        };
        let market = UnderlyingState {
            underlying: UnderlyingId::new(underlying as u8),
            now: NOW,
            spot,
            // Now and then the index is trusted less, and contingencies appear.
            spot_confidence: Ratio::new(1_000_000_000 - 100_000_000 * dice.below(3) as i64),
            perp: Price::ZERO,
            perp_confidence: Ratio::ONE,
            stable: Ratio::ONE,
            expiries: [0, 1].map(state).into(),
        };
        let marks = (0..INSTRUMENTS).filter(|id| *id as usize % 2 == underlying);
        let marks = marks.map(|id| VolMark {
            instrument: InstrumentId::new(id),
            vol,
            confidence: Ratio::ONE,
        });
        let marks: Vec<_> = marks.collect();
        self.exact.tick(&market, &marks).unwrap();
        self.remembering.tick(&market, &marks).unwrap();
    }

    fn change(&mut self, dice: &mut Dice) {
        let instrument = dice.instrument();
        let holding = &mut self.held[instrument.get() as usize];
        let lots = dice.around_zero(200);
        if dice.below(3) == 0 {
            let before = holding.position;
            holding.position += lots;
            let change = PositionChange {
                instrument,
                before,
                after: holding.position,
            };
            self.remembering.on_position_change(ACCOUNT, &change);
        } else {
            let side = Side::ALL[dice.below(2) as usize];
            let open = match side {
                Side::Buy => &mut holding.open_buy,
                Side::Sell => &mut holding.open_sell,
            };
            let lots = lots.max(-(*open as i64));
            *open = open.checked_add_signed(lots).unwrap();
            let change = OpenChange {
                instrument,
                side,
                lots,
                drag: Cash::ZERO,
            };
            self.remembering.on_open_change(ACCOUNT, &change);
        }
    }

    /// What the exact book says of an order that replaces lots of its side, and what the other
    /// proves.
    fn judge(&mut self, dice: &mut Dice) -> (bool, bool) {
        let side = Side::ALL[dice.below(2) as usize];
        let order = OrderCheck {
            instrument: dice.instrument(),
            side,
            lots: 1 + dice.below(300) as u32,
            price_per_lot: Cash::new(dice.below(5_000_000) as i64),
            fee_max: Cash::new(1_000),
        };
        let drag = Cash::new(-(dice.below(1_000_000) as i64));
        let mut held = self.held.clone();
        held[0].open_drag = drag;
        let holding = &mut held[order.instrument.get() as usize];
        let open = match side {
            Side::Buy => &mut holding.open_buy,
            Side::Sell => &mut holding.open_sell,
        };
        let replaced = dice.below((*open).min(300) + 1);
        *open -= replaced;
        let mut check = AccountCheck {
            account: ACCOUNT,
            cash: Cash::ZERO,
            model: MarginModel::Portfolio,
        };
        let exact = &mut self.exact;
        exact.forget(ACCOUNT);
        let initial = exact.initial_with_orders(&check, held.iter().copied());
        // Near the limit, or near enough that something is proven.
        let range = [3_000_000_000, 60_000_000_000][dice.below(2) as usize];
        let spare = dice.around_zero(range);
        check.cash = Cash::new(spare - initial.unwrap().get());
        let fits = exact.check_order(&check, held.iter().copied(), &order);
        let proven = self
            .remembering
            .surely_fits(check, drag, order, replaced as u32);
        (fits.is_ok(), proven)
    }
}

#[test]
fn what_is_proven_fits() {
    let (mut fitted, mut proven_after_ticks) = (0, 0);
    for seed in 0..200 {
        let (mut dice, mut books) = (Dice(seed), Books::new());
        (0..6).for_each(|_| books.tick(&mut dice));
        let held = books.held.clone();
        books.remembering.remember(ACCOUNT, held.into_iter());
        for step in 0..60 {
            match dice.below(4) {
                0 => books.tick(&mut dice),
                1 | 2 => books.change(&mut dice),
                _ => {
                    let (fits, proven) = books.judge(&mut dice);
                    assert!(fits || !proven, "seed {seed}, step {step}");
                    fitted += u32::from(fits);
                    proven_after_ticks += u32::from(proven && step > 20);
                }
            }
        }
    }
    assert!(proven_after_ticks > 200, "{proven_after_ticks} proven");
    assert!(proven_after_ticks < fitted);
}

/// Removing an instrument is no drift: nothing remembered proves anything until it is summed anew.
#[test]
fn a_delisting_forgets() {
    let (mut dice, mut books) = (Dice(1), Books::new());
    (0..6).for_each(|_| books.tick(&mut dice));
    let order = OrderCheck {
        instrument: InstrumentId::new(2),
        side: Side::Buy,
        lots: 1,
        price_per_lot: Cash::new(1),
        fee_max: Cash::ZERO,
    };
    let check = AccountCheck {
        account: ACCOUNT,
        cash: Cash::new(1_000_000_000_000),
        model: MarginModel::Portfolio,
    };
    let held = books.held.clone();
    let book = &mut books.remembering;
    assert!(!book.surely_fits(check, Cash::ZERO, order, 0));
    book.remember(ACCOUNT, held.iter().copied());
    assert!(book.surely_fits(check, Cash::ZERO, order, 0));
    book.remove_instrument(InstrumentId::new(0));
    assert!(!book.surely_fits(check, Cash::ZERO, order, 0));
    book.remember(ACCOUNT, held.into_iter());
    assert!(book.surely_fits(check, Cash::ZERO, order, 0));
}
