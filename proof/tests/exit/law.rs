//! I9: for any positions that sum to zero and any price, the exit values sum to at most the vault, and
//! are short of it by less than a unit an account; at grid levels they are equal before rounding.

use lifeboat_engine::types::{Cash, Price, UnderlyingId};
use lifeboat_proof::exit::{ExitValue, Grid, Ladder, PricePoint, UnderlyingLadder, WEIGHT_ONE};
use proptest::prelude::*;

const UNDERLYINGS: usize = 3;

/// A venue: instruments by underlying, and accounts whose positions sum to zero in each.
#[derive(Clone, Debug)]
struct Venue {
    grids: Vec<Grid>,
    cash: Vec<i64>,
    /// By account, then underlying.
    ladders: Vec<Vec<UnderlyingLadder>>,
}

prop_compose! {
    fn instrument()(underlying in 0..UNDERLYINGS, levels in prop::array::uniform17(-1_000_000_000_i64..1_000_000_000_000))
        -> (usize, Ladder)
    {
        (underlying, Ladder(levels))
    }
}

prop_compose! {
    fn venue()(
        steps in prop::array::uniform3(1_u64..20_000_000_000),
        instruments in prop::collection::vec(instrument(), 1..6),
        cash in prop::collection::vec(-1_000_000_000_000_i64..1_000_000_000_000, 2..12),
        trades in prop::collection::vec((0_usize..100, 0_usize..100, 0_usize..100, -5_000_i64..5_000), 0..40),
    ) -> Venue {
        let accounts = cash.len();
        let mut ladders = vec![vec![Ladder::ZERO; UNDERLYINGS]; accounts];
        for (instrument, buyer, seller, lots) in trades {
            let (underlying, one_lot) = &instruments[instrument % instruments.len()];
            ladders[buyer % accounts][*underlying].add_lots(one_lot, lots).unwrap();
            ladders[seller % accounts][*underlying].add_lots(one_lot, -lots).unwrap();
        }
        let ladders = ladders.into_iter().map(entries).collect();
        let grids = steps.map(|step| Grid::from_step(step).unwrap()).to_vec();
        Venue { grids, cash, ladders }
    }
}

fn entries(ladders: Vec<Ladder>) -> Vec<UnderlyingLadder> {
    let named = (0..).map(UnderlyingId::new).zip(ladders);
    named
        .filter(|(_, ladder)| !ladder.is_zero())
        .map(|(underlying, ladder)| UnderlyingLadder { underlying, ladder })
        .collect()
}

impl Venue {
    fn values(&self, points: &[PricePoint]) -> Vec<i128> {
        let accounts = self.cash.iter().zip(&self.ladders);
        accounts
            .map(|(cash, ladders)| {
                ExitValue::of(Cash::new(*cash), ladders, points)
                    .unwrap()
                    .get()
            })
            .collect()
    }

    /// The same without rounding, in 2⁻³² of a unit.
    fn scaled(&self, points: &[PricePoint]) -> i128 {
        let accounts = self.cash.iter().zip(&self.ladders);
        accounts
            .map(|(cash, ladders)| {
                let options = ladders.iter().map(|entry| {
                    entry
                        .ladder
                        .value_scaled(points[usize::from(entry.underlying.get())])
                });
                (i128::from(*cash) << 32) + options.sum::<i128>()
            })
            .sum()
    }

    fn vault(&self) -> i128 {
        self.cash.iter().copied().map(i128::from).sum()
    }
}

proptest! {
    #[test]
    fn values_sum_to_the_vault(venue in venue(), prices in prop::array::uniform3(0_i64..2_000_000_000_000)) {
        let points: Vec<_> = venue.grids.iter().zip(prices).map(|(grid, price)| grid.point(Price::new(price))).collect();
        let sum: i128 = venue.values(&points).iter().sum();
        prop_assert!(sum <= venue.vault());
        prop_assert!(venue.vault() - sum < venue.cash.len() as i128);
        // Before rounding there is no difference at all, at any price.
        prop_assert_eq!(venue.scaled(&points), venue.vault() << 32);
    }

    #[test]
    fn values_at_levels_are_the_levels(venue in venue(), level in 0_usize..17) {
        let points: Vec<_> = venue.grids.iter().map(|grid| grid.point(grid.level(level).unwrap())).collect();
        for (cash, ladders) in venue.cash.iter().zip(&venue.ladders) {
            let expected = cash + ladders.iter().map(|entry| entry.ladder.0[level]).sum::<i64>();
            let value = ExitValue::of(Cash::new(*cash), ladders, &points).unwrap();
            prop_assert_eq!(value.get(), i128::from(expected));
        }
        prop_assert_eq!(venue.values(&points).iter().sum::<i128>(), venue.vault());
    }
}

#[test]
fn lines_go_on_past_the_last_level() {
    let grid = Grid::from_step(1_000).unwrap();
    let ladder = Ladder(core::array::from_fn(|level| {
        if level > 8 {
            10 * (level as i64 - 8)
        } else {
            0
        }
    }));
    let value = |price| ladder.value_scaled(grid.point(Price::new(price)));
    assert_eq!(value(16_000), 80 << 32);
    assert_eq!(value(20_000), 120 << 32);
    assert_eq!(value(20_500), 125 << 32);
    // Under zero is zero; the axis ends at 2²⁰ steps.
    assert_eq!(value(-1), 0);
    assert_eq!(value((1 << 20) * 1_000), value(i64::MAX));
}

#[test]
fn a_point_is_cut_to_its_grid() {
    let grid = Grid::from_mark(Price::new(95_663_506_000)).unwrap();
    assert_eq!(grid.step(), 11_957_938_250);
    let point = grid.point(Price::new(95_663_506_000));
    assert_eq!((point.cell(), point.weight()), (8, 0));
    let last = grid.point(grid.level(16).unwrap());
    assert_eq!((last.cell(), last.weight()), (15, WEIGHT_ONE));
    assert_eq!(grid.level(17), None);
    for refused in [0, 7, -1] {
        assert_eq!(Grid::from_mark(Price::new(refused)), None);
    }
    assert_eq!(Grid::from_step(u64::MAX), None);
}

#[test]
fn an_overflowing_ladder_is_left_as_it_was() {
    let mut ladder = Ladder([7; 17]);
    let mut one = Ladder::ZERO;
    one.0[16] = i64::MAX;
    assert_eq!(ladder.add_lots(&one, 1), None);
    assert_eq!(ladder, Ladder([7; 17]));
}

#[test]
fn the_largest_figures_fit() {
    let grid = Grid::from_step(1).unwrap();
    let mut steep = Ladder([i64::MIN; 17]);
    steep.0[16] = i64::MAX;
    let ladders: Vec<_> = (0..16)
        .map(|id| UnderlyingLadder {
            underlying: UnderlyingId::new(id),
            ladder: steep,
        })
        .collect();
    let points = vec![grid.point(Price::MAX); 16];
    let rise = i128::from(u64::MAX) * ((1 << 20) - 15);
    let expected = 16 * (i128::from(i64::MIN) + rise) + i128::from(i64::MIN);
    let value = ExitValue::of(Cash::new(i64::MIN), &ladders, &points).unwrap();
    assert_eq!(value.get(), expected);
}
