//! Seeded randomness: SplitMix64, so that a seed means the same stream for ever.

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Dice {
    /// The stream of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The stream that belongs to a place, such as (validator, source, second): random access
    /// without a history.
    pub fn at(seed: u64, place: &[u64]) -> Self {
        let fold = |state: u64, part: &u64| mix(state.wrapping_add(GOLDEN) ^ mix(*part));
        Self::new(place.iter().fold(mix(seed), fold))
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (core::f64::consts::TAU * self.unit()).cos()
    }

    /// Exponential with the given mean: the time to the next event of a Poisson process.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// 32 bytes, for a development key.
    pub fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&self.bits().to_le_bytes());
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn a_seed_means_one_stream_and_places_differ() {
        assert_eq!(
            Dice::new(0).bits(),
            0xE220_A839_7B1D_CDAF,
            "SplitMix64's published first value"
        );
        assert_eq!(Dice::at(7, &[1, 2]).bits(), Dice::at(7, &[1, 2]).bits());
        assert_ne!(Dice::at(7, &[1, 2]).bits(), Dice::at(7, &[2, 1]).bits());
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut dice = Dice::new(1);
        let n = 200_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || dice.unit()) - 0.5).abs() < 0.005);
        assert!(mean(&mut || dice.normal()).abs() < 0.01);
        assert!((mean(&mut || dice.normal().powi(2)) - 1.0).abs() < 0.02);
        assert!((mean(&mut || dice.exponential(3.0)) - 3.0).abs() < 0.05);
        assert!((mean(&mut || dice.below(7) as f64) - 3.0).abs() < 0.03);
    }
}
