//! The breakers' figures: data, each with its reason.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::pricing::volatility::StrikeBand;

/// Bounds of one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rule {
    /// Of levels 1, 2 and 3, in the breaker's unit.
    pub bounds: [i64; 3],
    /// The highest level it may reach when nothing else bears it out.
    pub alone_max: u8,
}

/// Everything about breakers. Periods are in milliseconds of block time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BreakerParameters {
    /// How far a quote's volatility may be off its mark's in the volatility index, in millionths: 5 %, so
    /// that the heaviest of twenty strikes moves an index of 100 by well under a point, while honest
    /// quotes are hardly touched.
    pub strike_reach_ppm: u32,
    /// Quotes with a wider half spread, in volatility (1e-6), are passed over for the mark: ten points.
    pub half_spread_ppm_max: u32,
    /// Over which times moves are taken: five minutes (a flash crash), an hour (a cascade), a day (a
    /// regime). Ascending; the last is kept in coarse samples, the others in fine ones.
    pub horizons_ms: [u64; 3],
    /// Step of the samples of the shorter horizons: twelve or more a window.
    pub fine_ms: u64,
    /// Step of the samples of the last horizon.
    pub coarse_ms: u64,
    /// How long the index's own variability is remembered: 30 days, what the index looks ahead.
    pub memory_ms: u64,
    /// Samples (one a step) without which a horizon does not trip: a quarter of an hour, half a day, a
    /// week at the default steps.
    pub warm_up: [u32; 3],
    /// Least standard deviation of the index's change over each horizon, in 1e-6 of its logarithm, so
    /// that after a calm month a stir is not a storm.
    pub speed_floor_ppm: [i64; 3],
    /// Least standard deviation of the index's distance from its slow average, in 1e-6.
    pub level_floor_ppm: i64,
    /// Speed of the volatility index over each horizon.
    pub speed: [Rule; 3],
    /// Level of the volatility index.
    pub level: Rule,
    /// Realised move beside implied over each horizon: what nobody was paid for. Tails are fatter the shorter
    /// it is; a day's tightens bands, because what stops for a day's move is the session's range.
    pub jump: [Rule; 3],
    /// Range of the session's prices beside what is usual for the underlying. The bound of level 2 is the one
    /// with the best protection at half of the false halts of price-only breakers in the back-test; level 1
    /// comes at three quarters of it, level 3 at twice.
    pub range: Rule,
    /// A range is borne out once the volatility index is so far over where the session began, in 1e-6 of its
    /// logarithm: options have noticed.
    pub range_confirms_ppm: i64,
    /// How long what is usual for a session's range is remembered: half a year, longer than one regime.
    pub range_memory_ms: u64,
    /// When sessions begin, after midnight UTC: 21:00, when the futures of the traditional venues settle.
    pub session_begins_ms: u64,
    /// From which figure on a speed bears out other breakers, in thousandths.
    pub speed_confirms: i64,
    /// From which figure on a jump bears out other breakers, in thousandths.
    pub jump_confirms: i64,
    /// How long one figure bears out another: makers re-quote within minutes of a move.
    pub confirm_ms: u64,
    /// For how long sources must disagree for levels 1, 2 and 3: a slow source catches up in seconds; 30 s
    /// is what agreement takes on the way back.
    pub dispersion_ms: [u64; 3],
    /// Resting size beside its average.
    pub depth: Rule,
    /// For how long the book must be that thin: a mass quote that is replaced is gone for a block.
    pub depth_ms: u64,
    /// How long resting size is remembered: a day, since depth has hours of the day.
    pub depth_memory_ms: u64,
    /// Samples of depth (one a fine step) without which it does not trip: an hour.
    pub depth_warm_up: u32,
    /// Cash that leaves, of the collateral, within the window.
    pub outflow: Rule,
    /// Window of the outflow, in minutes of at most an hour: as the vault's own limiter counts.
    pub outflow_minutes: u8,
    /// A venue with less collateral than this (1e-6 USDC) has no outflow breaker: one account is most of
    /// it.
    pub outflow_collateral_min: i64,
    /// A breaker that tripped may trip at the same level again once its figure is under this part of its
    /// first bound, in millionths.
    pub release_ppm: u32,
    /// For how long bands stay tight after a trip.
    pub tight_ms: u64,
    /// What is left of price bands while they are tight, in millionths.
    pub tight_band_ppm: u32,
}

impl BreakerParameters {
    /// How the volatility index reads strikes.
    pub const fn strike_band(&self) -> StrikeBand {
        StrikeBand {
            reach_ppm: self.strike_reach_ppm,
            half_spread_ppm_max: self.half_spread_ppm_max,
        }
    }
}

impl Default for BreakerParameters {
    fn default() -> Self {
        Self {
            strike_reach_ppm: 50_000,
            half_spread_ppm_max: 100_000,
            horizons_ms: [300_000, 3_600_000, 86_400_000],
            fine_ms: 60_000,
            coarse_ms: 900_000,
            memory_ms: 2_592_000_000,
            warm_up: [15, 720, 672],
            speed_floor_ppm: [15_000, 12_000, 30_000],
            level_floor_ppm: 100_000,
            speed: [Rule {
                bounds: [6_000, 9_000, 14_000],
                alone_max: 1,
            }; 3],
            level: Rule {
                bounds: [3_000, 4_500, i64::MAX],
                alone_max: 1,
            },
            jump: [
                Rule {
                    bounds: [8_000, 16_000, 24_000],
                    alone_max: 1,
                },
                Rule {
                    bounds: [6_000, 16_000, 24_000],
                    alone_max: 1,
                },
                Rule {
                    bounds: [2_500, i64::MAX, i64::MAX],
                    alone_max: 1,
                },
            ],
            range: Rule {
                bounds: [1_700, 2_300, 4_600],
                alone_max: 1,
            },
            range_confirms_ppm: 20_000,
            range_memory_ms: 15_552_000_000,
            session_begins_ms: 75_600_000,
            speed_confirms: 1_500,
            jump_confirms: 4_000,
            confirm_ms: 900_000,
            dispersion_ms: [5_000, 30_000, 30_000],
            depth: Rule {
                bounds: [100_000, 20_000, 0],
                alone_max: 1,
            },
            depth_ms: 30_000,
            depth_memory_ms: 86_400_000,
            depth_warm_up: 60,
            outflow: Rule {
                bounds: [100_000, 250_000, 500_000],
                alone_max: 3,
            },
            outflow_minutes: 60,
            outflow_collateral_min: 1_000_000_000_000,
            release_ppm: 250_000,
            tight_ms: 900_000,
            tight_band_ppm: 500_000,
        }
    }
}
