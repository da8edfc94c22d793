//! Who paid for losses, and that no money came from nowhere.

use std::collections::BTreeMap;

use lifeboat_engine::event::LossStep;
use lifeboat_engine::types::Cash;
use lifeboat_engine::{Engine, Event};

use super::Named;

/// Losses and who bore them, in 1e-6 USDC.
#[derive(Clone, Debug, Default)]
pub struct Money {
    paid: BTreeMap<&'static str, i64>,
    /// What all accounts and funds held after the first block, and after the last less what was paid in
    /// and out since.
    first: Option<i128>,
    last: i128,
    moved: i128,
}

const fn name(step: LossStep) -> &'static str {
    match step {
        LossStep::Fund => "fund_used_usdc",
        LossStep::Stake => "stake_used_usdc",
        LossStep::Haircut => "gains_taken_usdc",
        LossStep::TearUp => "held_back_usdc",
        LossStep::Debt => "debt_usdc",
    }
}

impl Money {
    /// Takes an event in.
    pub fn see(&mut self, event: &Event) {
        let (name, paid) = match event {
            Event::ClosedOut { mark_to_market, .. } => {
                ("loss_usdc", mark_to_market.get().min(0).saturating_neg())
            }
            Event::LossAllocated { step, paid, .. } => (name(*step), paid.get()),
            Event::LiquidationToFund { paid_by_fund, .. } => ("fund_used_usdc", paid_by_fund.get()),
            Event::Deposited { amount, .. } => return self.moved += i128::from(amount.get()),
            Event::DepositUnwound { amount, .. } => {
                return self.moved -= i128::from(amount.get());
            }
            Event::Withdrawn {
                account: Some(_),
                amount,
                ..
            } => return self.moved -= i128::from(amount.get()),
            _ => return,
        };
        *self.paid.entry(name).or_default() += paid;
    }

    /// Counts what all hold after a block.
    pub fn count(&mut self, engine: &Engine) {
        let all = engine.ledger().iter().map(|(_, account)| account.cash);
        let all = all.chain([engine.ledger().fees]);
        let sum = all.map(|cash: Cash| i128::from(cash.get())).sum::<i128>() - self.moved;
        self.first.get_or_insert(sum);
        self.last = sum;
    }

    /// The figures in USDC. What was made from nothing is 0 unless the books are wrong.
    pub fn named(&self) -> Named {
        let usdc = |cash: i128| cash as f64 / 1e6;
        let paid = self.paid.iter();
        let mut named: Named = paid
            .map(|(name, paid)| ((*name).to_owned(), usdc((*paid).into())))
            .collect();
        for step in [
            LossStep::Fund,
            LossStep::Stake,
            LossStep::Haircut,
            LossStep::TearUp,
        ] {
            if !self.paid.contains_key(name(step)) {
                named.push((name(step).to_owned(), 0.0));
            }
        }
        let made = self.last - self.first.unwrap_or(self.last);
        named.push(("money_made_usdc".to_owned(), usdc(made).abs()));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::AccountId;

    #[test]
    fn steps_of_the_waterfall_add_up_by_payer() {
        let mut money = Money::default();
        let allocated = |step, paid| Event::LossAllocated {
            account: AccountId::new(1),
            step,
            payer: None,
            paid: Cash::new(paid),
            bound: Cash::new(paid),
            left: Cash::new(0),
        };
        money.see(&allocated(LossStep::Fund, 8_000_000));
        money.see(&allocated(LossStep::Fund, 1_000_000));
        money.see(&allocated(LossStep::Stake, 2_000_000));
        let named: BTreeMap<String, f64> = money.named().into_iter().collect();
        assert_eq!(named["fund_used_usdc"], 9.0);
        assert_eq!(named["stake_used_usdc"], 2.0);
        assert_eq!(named["gains_taken_usdc"], 0.0);
    }
}
