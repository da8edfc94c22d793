//! Where each scenario stands in a row of values, and the kernels over such rows.
//!
//! A row holds, for one lot of one instrument, what it adds to its expiry in every scenario, in
//! [`SUBUNITS`](super::SUBUNITS) of a cash unit. There are two forms, `a` with the discount of
//! positive values and `b` with that of negative ones. For an expiry the sums over its positions are
//! linear, and because shorts are never discounted more kindly than longs, its profit or loss is
//! `min(a, b)`: concave and positively homogeneous in the positions, exactly, in integers.

/// Lanes of one form.
pub const LANES: usize = 40;
/// Most scenarios that are not skews.
pub const SPOT_SCENARIOS_MAX: usize = 31;
/// Most skew scenarios.
pub const SKEW_SCENARIOS_MAX: usize = 2;
/// The forward contingency: `a` holds the move up, `b` the move down, times the expiry's factor.
pub const LANE_FORWARD: usize = 31;
/// The first skew scenario.
pub const LANE_SKEW: usize = 32;
/// The value at the mark, the same in both forms.
pub const LANE_MARK: usize = 34;
/// Lanes below this one compete for the worst scenario.
pub const LANES_SCENARIO: usize = 34;

/// One form of a row, or a sum of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Lanes(pub [i64; LANES]);

/// Both forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Pair {
    /// With the discount of positive values.
    pub a: Lanes,
    /// With the discount of negative values.
    pub b: Lanes,
}

impl Lanes {
    /// All zero.
    pub const ZERO: Self = Self([0; LANES]);
}

impl Pair {
    /// All zero.
    pub const ZERO: Self = Self {
        a: Lanes::ZERO,
        b: Lanes::ZERO,
    };
}

/// Which lanes count as a loss of their absolute amount: the skew scenarios.
const SKEWED: [bool; LANES] = {
    let mut mask = [false; LANES];
    mask[LANE_SKEW] = true;
    mask[LANE_SKEW + 1] = true;
    mask
};

cpufeatures::new!(avx2_unit, "avx2");
cpufeatures::new!(avx512_unit, "avx512f", "avx512dq");

/// Which vector unit runs the kernels. All give the same integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// What the target guarantees.
    Portable,
    /// 256 bits.
    Avx2,
    /// 512 bits with 64-bit products.
    Avx512,
}

impl Width {
    /// The widest that this machine has.
    pub fn detect() -> Self {
        if avx512_unit::get() {
            Self::Avx512
        } else if avx2_unit::get() {
            Self::Avx2
        } else {
            Self::Portable
        }
    }

    /// Every width that this machine has, narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let widest = Self::detect();
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(move |width| *width as u8 <= widest as u8)
    }
}

/// What lanes are summed in: `i64` where a bound on the sum of products has been checked, `i128`
/// where it is exceeded.
pub(super) trait Number: Copy + Ord {
    const ZERO: Self;
    fn product(value: i64, lots: i64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn negated(self) -> Self;
    /// `−|self|`.
    fn as_loss(self) -> Self;
    /// Cut to 64 bits.
    fn narrow(self) -> i64;
}

impl Number for i64 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn product(value: i64, lots: i64) -> Self {
        value.wrapping_mul(lots)
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn negated(self) -> Self {
        self.wrapping_neg()
    }
    #[inline(always)]
    fn as_loss(self) -> Self {
        if self < 0 { self } else { self.wrapping_neg() }
    }
    #[inline(always)]
    fn narrow(self) -> i64 {
        self
    }
}

impl Number for i128 {
    const ZERO: Self = 0;
    fn product(value: i64, lots: i64) -> Self {
        Self::from(value).saturating_mul(Self::from(lots))
    }
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }
    fn negated(self) -> Self {
        self.saturating_neg()
    }
    fn as_loss(self) -> Self {
        if self < 0 {
            self
        } else {
            self.saturating_neg()
        }
    }
    fn narrow(self) -> i64 {
        self.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// Sums of a pair's two forms over the positions of one expiry.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Sums<T> {
    pub a: [T; LANES],
    pub b: [T; LANES],
}

/// Sums of results over expiries.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Total<T>(pub [T; LANES]);

impl<T: Number> Sums<T> {
    pub const ZERO: Self = Self {
        a: [T::ZERO; LANES],
        b: [T::ZERO; LANES],
    };

    /// Adds `lots` of `row`.
    #[inline(always)]
    pub fn add(&mut self, row: &Pair, lots: i64) {
        for (sum, value) in self.a.iter_mut().zip(&row.a.0) {
            *sum = sum.plus(T::product(*value, lots));
        }
        for (sum, value) in self.b.iter_mut().zip(&row.b.0) {
            *sum = sum.plus(T::product(*value, lots));
        }
    }

    /// What the expiry adds in each lane: the lower of both forms (the higher where the expiry is
    /// not concave), the forward contingency at most zero, skews as losses.
    #[inline(always)]
    pub fn result(&self, concave: bool) -> [T; LANES] {
        let mut out = [T::ZERO; LANES];
        let lanes = out.iter_mut().zip(self.a.iter().zip(&self.b)).zip(SKEWED);
        for ((out, (a, b)), skewed) in lanes {
            let chosen = if concave { (*a).min(*b) } else { (*a).max(*b) };
            *out = if skewed { chosen.as_loss() } else { chosen };
        }
        if let (Some(out), Some(a), Some(b)) = (
            out.get_mut(LANE_FORWARD),
            self.a.get(LANE_FORWARD),
            self.b.get(LANE_FORWARD),
        ) {
            *out = (*a).min(*b).min(T::ZERO);
        }
        out
    }
}

impl<T: Number> Total<T> {
    pub const ZERO: Self = Self([T::ZERO; LANES]);

    /// Adds one expiry's result.
    #[inline(always)]
    pub fn add(&mut self, result: &[T; LANES]) {
        for (sum, value) in self.0.iter_mut().zip(result) {
            *sum = sum.plus(*value);
        }
    }

    /// The worst scenario's lane and amount. The forward contingency is one of them and never above
    /// zero.
    #[inline(always)]
    pub fn worst(&self) -> T {
        self.0
            .iter()
            .take(LANES_SCENARIO)
            .fold(T::ZERO, |worst, value| worst.min(*value))
    }

    /// Exchanges one expiry's result for another.
    #[inline(always)]
    pub fn replace(&mut self, old: &[T; LANES], new: &[T; LANES]) {
        for (sum, (old, new)) in self.0.iter_mut().zip(old.iter().zip(new)) {
            *sum = sum.plus(*new).plus(T::negated(*old));
        }
    }

    /// The value at the mark.
    #[inline(always)]
    pub fn mark(&self) -> T {
        self.0.get(LANE_MARK).copied().unwrap_or(T::ZERO)
    }
}

impl Total<i64> {
    /// Takes the value at the mark from `other`.
    pub const fn keep_mark(&mut self, other: &Self) {
        self.0[LANE_MARK] = other.0[LANE_MARK];
    }
}

/// The worst scenario of `sums` with `lots` of `open` on top.
#[inline(always)]
fn worst_sum(sums: &Total<i64>, open: &Lanes, lots: i64) -> i64 {
    let mut least = [0_i64; 8];
    let chunks = sums.0.chunks_exact(8).zip(open.0.chunks_exact(8));
    for (chunk, (sums, open)) in chunks.enumerate() {
        for (lane, (least, (sum, open))) in least.iter_mut().zip(sums.iter().zip(open)).enumerate()
        {
            let value = sum.wrapping_add(open.wrapping_mul(lots));
            // Only the last chunk has lanes that are not scenarios.
            let counts = chunk < 4 || lane < LANES_SCENARIO - 32;
            *least = (*least).min(if counts { value } else { 0 });
        }
    }
    least.into_iter().fold(0, i64::min)
}

#[inline(always)]
fn add_lanes(sums: &mut Total<i64>, open: &Lanes, lots: i64) {
    for (sum, open) in sums.0.iter_mut().zip(&open.0) {
        *sum = sum.wrapping_add(open.wrapping_mul(lots));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn worst_sum_avx512(sums: &Total<i64>, open: &Lanes, lots: i64) -> i64 {
    worst_sum(sums, open, lots)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn add_lanes_avx512(sums: &mut Total<i64>, open: &Lanes, lots: i64) {
    add_lanes(sums, open, lots);
}

/// The worst scenario of `sums` with `lots` of `open` on top.
#[inline(always)]
pub(super) fn worst_with(width: Width, sums: &Total<i64>, open: &Lanes, lots: i64) -> i64 {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a risk book only takes a width that the machine was found to have.
        Width::Avx512 => unsafe { worst_sum_avx512(sums, open, lots) },
        _ => worst_sum(sums, open, lots),
    }
}

/// Adds `lots` of `open` to `sums`.
#[inline(always)]
pub(super) fn add_scaled(width: Width, sums: &mut Total<i64>, open: &Lanes, lots: i64) {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Width::Avx512 => unsafe { add_lanes_avx512(sums, open, lots) },
        _ => add_lanes(sums, open, lots),
    }
}
