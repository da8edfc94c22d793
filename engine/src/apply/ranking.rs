//! In which order positions are torn up, known to everybody beforehand.
//!
//! Of those who hold the other side the insurance fund comes first, since it is there to bear risk;
//! then whoever gained most by the position for each unit of maintenance margin, as automatic
//! deleveraging ranks; at last by account number. **Never** changes anything.

use alloc::vec::Vec;

use super::{Engine, INSURANCE_FUND};
use crate::ledger::Account;
use crate::risk::Workspace;
use crate::types::{AccountId, InstrumentId, Side};

/// One holder in the order in which positions are torn up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearUpRank {
    /// Whose position.
    pub account: AccountId,
    /// Its lots; negative when short.
    pub lots: i64,
    /// Gain on the position at the mark for each unit of the account's maintenance requirement, in
    /// millionths; cut to the range of the type.
    pub return_ppm: i64,
}

impl Engine {
    /// Who holds an instrument on one side (`Buy` for long), first to be torn up first.
    pub fn tear_up_ranking(&self, instrument: InstrumentId, side: Side) -> Vec<TearUpRank> {
        let mut rankings = self.rankings(&[(instrument, side)]);
        rankings.pop().unwrap_or_default()
    }

    /// The same of several instruments, ascending by id and each once, in one pass over the accounts.
    pub(super) fn rankings(&self, wanted: &[(InstrumentId, Side)]) -> Vec<Vec<TearUpRank>> {
        let mut rankings = Vec::new();
        rankings.resize_with(wanted.len(), Vec::new);
        let mut work = Workspace::default();
        for (id, account) in self.ledger.iter() {
            let mut required = None;
            for holding in account.holdings.iter().filter(|h| h.position != 0) {
                let found = wanted.binary_search_by_key(&holding.instrument, |(id, _)| *id);
                let Some((at, (_, side))) = found.ok().and_then(|at| Some((at, wanted.get(at)?)))
                else {
                    continue;
                };
                if (holding.position > 0) != (*side == Side::Buy) {
                    continue;
                }
                let required = *required
                    .get_or_insert_with(|| self.maintenance_requirement(account, &mut work));
                let value = i128::from(holding.position)
                    .saturating_mul(self.mark_of_lot(holding.instrument).into());
                let gain = value.saturating_sub(holding.cost.get().into());
                if let Some(ranking) = rankings.get_mut(at) {
                    ranking.push(TearUpRank {
                        account: id,
                        lots: holding.position,
                        return_ppm: return_ppm(gain, required),
                    });
                }
            }
        }
        for ranking in &mut rankings {
            let first = |rank: &TearUpRank| rank.account != INSURANCE_FUND;
            ranking.sort_by_key(|rank| {
                let gain = core::cmp::Reverse(rank.return_ppm);
                (first(rank), gain, rank.account)
            });
        }
        rankings
    }

    fn maintenance_requirement(&self, account: &Account, work: &mut Workspace) -> i128 {
        let margin = self.margin_apart(account, work);
        i128::from(margin.equity.get()).saturating_sub(i128::from(margin.mm.get()))
    }
}

fn return_ppm(gain: i128, required: i128) -> i64 {
    let ppm = gain
        .saturating_mul(1_000_000)
        .checked_div(required.max(1))
        .unwrap_or(0);
    i64::try_from(ppm).unwrap_or(if ppm < 0 { i64::MIN } else { i64::MAX })
}
