//! Parameters for a venue whose block time runs faster than life.

use lifeboat_engine::Parameters;

/// Stretches every interval that would pass between two blocks that lie `block_ms` of block time
/// apart: settlement samples, gaps that halt, ages that make a price stale. At life's pace nothing
/// changes.
pub fn for_pace(mut parameters: Parameters, block_ms: u64) -> Parameters {
    let several = block_ms.saturating_mul(20);
    let samples = &mut parameters.settlement.sample_interval_ms;
    *samples = (*samples).max(block_ms.saturating_mul(2));
    for bound in [
        &mut parameters.modes.block_gap_ms_max,
        &mut parameters.index.source_age_ms_max,
        &mut parameters.liquidation.index_age_ms_max,
    ] {
        *bound = (*bound).max(several);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifes_pace_changes_nothing_and_a_fast_one_widens_bounds() {
        let parameters = Parameters::default();
        assert_eq!(for_pace(parameters.clone(), 100), parameters);
        let fast = for_pace(parameters.clone(), 60_000);
        assert_eq!(fast.settlement.sample_interval_ms, 120_000);
        assert_eq!(fast.modes.block_gap_ms_max, 1_200_000);
        assert_eq!(fast.settlement.window_ms, parameters.settlement.window_ms);
    }
}
