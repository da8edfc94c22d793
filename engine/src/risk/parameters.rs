//! What the two margin models are set to. All ratios are [`Ratio`]s: fixed point, 1e-9.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::lanes::{SKEW_SCENARIOS_MAX, SPOT_SCENARIOS_MAX};

/// A dimensionless number (a factor, a volatility, a rate, a confidence) in 1e-9. Range ±9.2e9.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
#[repr(transparent)]
pub struct Ratio(i64);

impl Ratio {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(1_000_000_000);

    /// Wraps a number of 1e-9 steps.
    pub const fn new(raw: i64) -> Self {
        Self(raw)
    }

    /// `millionths` · 1e-6.
    pub const fn from_ppm(millionths: i32) -> Self {
        Self((millionths as i64).saturating_mul(1_000))
    }

    /// The number of 1e-9 steps.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// What a scenario does to volatility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum VolShock {
    /// Up by the range of the expiry's term, to the minimum at least.
    Up,
    /// As marked.
    None,
    /// Down by the range of the expiry's term.
    Down,
    /// Tilted linearly in log moneyness; each expiry counts as a loss of its absolute change.
    SkewLinear,
    /// Tilted by absolute log moneyness; counted the same way.
    SkewAbsolute,
}

impl VolShock {
    /// Whether this is one of the two skew shocks.
    pub const fn is_skew(self) -> bool {
        matches!(self, Self::SkewLinear | Self::SkewAbsolute)
    }
}

/// One scenario of portfolio margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Scenario {
    /// Factor on spot and forwards.
    pub spot: Ratio,
    /// Shock to volatility.
    pub vol: VolShock,
    /// Factor on the resulting profit or loss.
    pub damping: Ratio,
}

/// Volatility shocks. Up: `max(min, v·(1 + range_up·m))`, down: `v·max(0, 1 − range_down·m)`,
/// `m = (30 days / max(term, dte_floor))^power`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct VolShockParameters {
    /// Relative move up at 30 days.
    pub range_up: Ratio,
    /// Relative move down at 30 days.
    pub range_down: Ratio,
    /// Least volatility after a move up.
    pub min_shocked: Ratio,
    /// Power up to 30 days.
    pub short_term_power: Ratio,
    /// Power beyond 30 days.
    pub long_term_power: Ratio,
    /// Shortest term that the power sees, in days.
    pub dte_floor_days: Ratio,
}

/// Skew shocks: the cap is `base·√τ + scale_cap`, reached at `k*`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SkewParameters {
    /// Constant part of the linear cap.
    pub linear_scale_cap: Ratio,
    /// Part of the linear cap that grows with √τ.
    pub linear_base: Ratio,
    /// Constant part of the absolute cap.
    pub abs_scale_cap: Ratio,
    /// Part of the absolute cap that grows with √τ.
    pub abs_base: Ratio,
    /// Least `k*`.
    pub min_k_star: Ratio,
    /// Width of `k*` in standard deviations.
    pub min_width_scale: Ratio,
    /// Volatility of `k*`, constant part.
    pub vol_static: Ratio,
    /// Volatility of `k*`, part that grows with √τ.
    pub vol_scale: Ratio,
}

/// Loss factors and static discounts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LossParameters {
    /// Factor on the worst loss in maintenance margin.
    pub mm_loss_factor: Ratio,
    /// Factor on the worst loss in initial margin.
    pub im_loss_factor: Ratio,
    /// Discount on positive shocked values.
    pub static_discount_pos: Ratio,
    /// Mark-up on negative shocked values.
    pub static_discount_neg: Ratio,
    /// Multiple of the rate that further discounts positive values.
    pub long_rate_mult: Ratio,
    /// Added to that rate.
    pub long_rate_add: Ratio,
    /// Multiple of the rate that further marks up negative values.
    pub short_rate_mult: Ratio,
    /// Added to that rate.
    pub short_rate_add: Ratio,
}

/// Forward (basis) contingency.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BasisParameters {
    /// Spot factor of the up move.
    pub spot_up: Ratio,
    /// Spot factor of the down move.
    pub spot_down: Ratio,
    /// Constant part of the share of the loss that counts.
    pub add_factor: Ratio,
    /// Part that grows with τ.
    pub mult_factor: Ratio,
}

/// Contingencies and surcharges.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ContingencyParameters {
    /// Stable price under which the peg surcharge starts.
    pub peg_loss_threshold: Ratio,
    /// Loss factor added per unit under it.
    pub peg_loss_factor: Ratio,
    /// Confidence under which the surcharge applies.
    pub confidence_threshold: Ratio,
    /// Share of notional per unit of missing confidence.
    pub confidence_margin: Ratio,
    /// Share of perpetual notional in maintenance.
    pub mm_perp: Ratio,
    /// Share of perpetual notional on top in initial.
    pub im_perp: Ratio,
    /// Share of naked shorts' notional in maintenance.
    pub mm_option: Ratio,
    /// Share of naked shorts' notional on top in initial.
    pub im_option: Ratio,
}

/// Portfolio margin (PM2). The default is the venue's.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pm2Parameters {
    /// Scenarios: at most [`SPOT_SCENARIOS_MAX`] and [`SKEW_SCENARIOS_MAX`] skew ones.
    pub scenarios: Vec<Scenario>,
    /// Volatility shocks.
    pub vol: VolShockParameters,
    /// Skew shocks.
    pub skew: SkewParameters,
    /// Loss factors and static discounts.
    pub loss: LossParameters,
    /// Forward contingency.
    pub basis: BasisParameters,
    /// Contingencies and surcharges.
    pub contingency: ContingencyParameters,
}

/// A parameter set that the models cannot run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterError {
    /// More scenarios than there are lanes.
    TooManyScenarios,
    /// A long is worth more than a short costs: margin would not be concave, and the bound for
    /// open orders would not hold.
    NotConcave,
    /// A factor that must not be negative is.
    Negative,
}

impl core::fmt::Display for ParameterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooManyScenarios => "there are more scenarios than lanes",
            Self::NotConcave => {
                "the static discount is over 1 on gains or under 1 on losses, so that an order's \
                 margin would not be bounded"
            }
            Self::Negative => "a factor that may only add to margin is negative",
        })
    }
}

/// Spot moves of the regular scenarios that come with all three volatility shocks, in 1e-6.
const REGULAR_MOVES_PPM: [i32; 7] = [135_000, 90_000, 45_000, 0, -45_000, -90_000, -135_000];
/// Spot moves of the tails, in 1e-6. Each is damped by 0.1386 / |move|.
const TAIL_MOVES_PPM: [i32; 8] = [
    -660_000, -330_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000,
];
/// 0.1386 in 1e-9 · 1e-6 steps: divided by a move in 1e-6 it gives a damping in 1e-9.
const TAIL_DAMPING: i64 = 138_600_000_000_000;

impl Scenario {
    fn moved(move_ppm: i32, vol: VolShock, damping: Ratio) -> Self {
        Self {
            spot: Ratio::from_ppm(move_ppm.saturating_add(1_000_000)),
            vol,
            damping,
        }
    }

    fn tail(move_ppm: i32) -> Self {
        let damping = TAIL_DAMPING
            .checked_div(i64::from(move_ppm).abs())
            .unwrap_or(Ratio::ONE.0);
        Self::moved(move_ppm, VolShock::Up, Ratio::new(damping))
    }

    /// The venue's 23 regular, 8 tail and 2 skew scenarios.
    fn venue() -> Vec<Self> {
        let shocks = [VolShock::Down, VolShock::None, VolShock::Up];
        let regular = REGULAR_MOVES_PPM
            .iter()
            .flat_map(|&m| shocks.map(|vol| Self::moved(m, vol, Ratio::ONE)));
        let wings = [180_000, -180_000].map(|m| Self::moved(m, VolShock::Up, Ratio::ONE));
        let skews = [VolShock::SkewLinear, VolShock::SkewAbsolute]
            .map(|vol| Self::moved(0, vol, Ratio::ONE));
        regular
            .chain(wings)
            .chain(TAIL_MOVES_PPM.iter().map(|&m| Self::tail(m)))
            .chain(skews)
            .collect()
    }
}

impl Default for Pm2Parameters {
    fn default() -> Self {
        Self {
            scenarios: Scenario::venue(),
            vol: VolShockParameters {
                range_up: Ratio::from_ppm(500_000),
                range_down: Ratio::from_ppm(300_000),
                min_shocked: Ratio::from_ppm(400_000),
                short_term_power: Ratio::from_ppm(300_000),
                long_term_power: Ratio::from_ppm(130_000),
                dte_floor_days: Ratio::ONE,
            },
            skew: SkewParameters {
                linear_scale_cap: Ratio::from_ppm(150_000),
                linear_base: Ratio::from_ppm(-50_000),
                abs_scale_cap: Ratio::from_ppm(150_000),
                abs_base: Ratio::from_ppm(-50_000),
                min_k_star: Ratio::from_ppm(10_000),
                min_width_scale: Ratio::from_ppm(4_000_000),
                vol_static: Ratio::from_ppm(600_000),
                vol_scale: Ratio::from_ppm(-100_000),
            },
            loss: LossParameters {
                mm_loss_factor: Ratio::from_ppm(800_000),
                im_loss_factor: Ratio::ONE,
                static_discount_pos: Ratio::from_ppm(950_000),
                static_discount_neg: Ratio::from_ppm(1_040_000),
                long_rate_mult: Ratio::ONE,
                long_rate_add: Ratio::from_ppm(80_000),
                short_rate_mult: Ratio::from_ppm(500_000),
                short_rate_add: Ratio::from_ppm(80_000),
            },
            basis: BasisParameters {
                spot_up: Ratio::from_ppm(1_045_000),
                spot_down: Ratio::from_ppm(955_000),
                add_factor: Ratio::from_ppm(500_000),
                mult_factor: Ratio::from_ppm(2_000_000),
            },
            contingency: ContingencyParameters {
                peg_loss_threshold: Ratio::from_ppm(990_000),
                peg_loss_factor: Ratio::from_ppm(4_000_000),
                confidence_threshold: Ratio::from_ppm(550_000),
                confidence_margin: Ratio::ONE,
                mm_perp: Ratio::from_ppm(30_000),
                im_perp: Ratio::from_ppm(10_000),
                mm_option: Ratio::from_ppm(3_000),
                im_option: Ratio::from_ppm(2_000),
            },
        }
    }
}

impl Pm2Parameters {
    /// Checks what the fast order bound relies on. The exact evaluation runs on any set that fits
    /// the lanes; a venue is only opened on a valid one.
    ///
    /// # Errors
    /// The first rule that the set breaks.
    pub fn validate(&self) -> Result<(), ParameterError> {
        self.validate_lanes()?;
        let loss = &self.loss;
        let (pos, neg) = (loss.static_discount_pos, loss.static_discount_neg);
        // With both, positive values are discounted by at most 1 and negative ones by at least 1,
        // because the cap on the latter, 1/df, is at least 1 for a rate that is not negative.
        if pos > Ratio::ONE || neg < Ratio::ONE {
            return Err(ParameterError::NotConcave);
        }
        let never_negative = [
            pos,
            loss.mm_loss_factor,
            loss.im_loss_factor,
            loss.long_rate_mult,
            loss.long_rate_add,
            loss.short_rate_mult,
            loss.short_rate_add,
            self.basis.add_factor,
            self.basis.mult_factor,
            self.contingency.mm_option,
            self.contingency.im_option,
            self.contingency.mm_perp,
            self.contingency.im_perp,
            self.contingency.confidence_margin,
            self.contingency.peg_loss_factor,
        ];
        let dampings = self.scenarios.iter().map(|scenario| scenario.damping);
        if never_negative
            .into_iter()
            .chain(dampings)
            .any(|r| r < Ratio::ZERO)
        {
            return Err(ParameterError::Negative);
        }
        Ok(())
    }

    /// Whether the scenarios fit the lanes.
    pub(super) fn validate_lanes(&self) -> Result<(), ParameterError> {
        let skews = self.scenarios.iter().filter(|s| s.vol.is_skew()).count();
        let spots = self.scenarios.len().saturating_sub(skews);
        if skews > SKEW_SCENARIOS_MAX || spots > SPOT_SCENARIOS_MAX {
            return Err(ParameterError::TooManyScenarios);
        }
        Ok(())
    }
}

/// Standard margin, per contract. The default is the venue's.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StandardParameters {
    /// a: share of spot in a short option's initial margin at the money.
    pub im_spot: Ratio,
    /// b: its least share out of the money.
    pub im_spot_min: Ratio,
    /// c: share of spot in a short option's maintenance margin.
    pub mm_spot: Ratio,
    /// Least initial margin of a short put as a multiple of its maintenance margin.
    pub put_im_over_mm: Ratio,
    /// u in initial margin: share of the forward that a net short call can lose beyond all strikes.
    pub unpaired_im: Ratio,
    /// u in maintenance margin.
    pub unpaired_mm: Ratio,
    /// Share of perpetual notional in initial margin.
    pub perp_im: Ratio,
    /// Share of perpetual notional in maintenance margin.
    pub perp_mm: Ratio,
    /// Share of base collateral's value that counts.
    pub base_share: Ratio,
    /// Share of base collateral's counted value that counts in initial margin.
    pub base_im_share: Ratio,
    /// Stable price under which the peg surcharge starts.
    pub depeg_threshold: Ratio,
    /// Share of short notional per unit under it.
    pub depeg_factor: Ratio,
    /// Confidence under which the surcharge applies.
    pub confidence_threshold: Ratio,
    /// Share of notional per unit of missing confidence.
    pub confidence_margin: Ratio,
}

impl Default for StandardParameters {
    fn default() -> Self {
        Self {
            im_spot: Ratio::from_ppm(150_000),
            im_spot_min: Ratio::from_ppm(100_000),
            mm_spot: Ratio::from_ppm(75_000),
            put_im_over_mm: Ratio::from_ppm(1_050_000),
            unpaired_im: Ratio::from_ppm(1_200_000),
            unpaired_mm: Ratio::from_ppm(1_100_000),
            perp_im: Ratio::from_ppm(65_000),
            perp_mm: Ratio::from_ppm(50_000),
            base_share: Ratio::from_ppm(100_000),
            base_im_share: Ratio::ONE,
            depeg_threshold: Ratio::from_ppm(980_000),
            depeg_factor: Ratio::from_ppm(1_200_000),
            confidence_threshold: Ratio::from_ppm(550_000),
            confidence_margin: Ratio::from_ppm(400_000),
        }
    }
}
