//! Standard margin: short options pay by formula, bounded by the expiry's largest loss.

use super::book::RiskBook;
use super::evaluate::Margin;
use super::market::{Holding, InstrumentTerms, UnderlyingState};
use super::parameters::StandardParameters;
use crate::types::Cash;

/// What standard margin needs of an instrument, per lot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StandardRow {}

impl StandardRow {
    pub fn option(
        _parameters: &StandardParameters,
        _market: &UnderlyingState,
        _terms: &InstrumentTerms,
        _mark: i64,
    ) -> Self {
        Self {}
    }
}

impl RiskBook {
    pub(super) fn standard_margin(
        &mut self,
        _holdings: impl Iterator<Item = Holding>,
        cash: Cash,
    ) -> Margin {
        Margin {
            im: cash,
            mm: cash,
            equity: cash,
            ..Margin::default()
        }
    }
}
