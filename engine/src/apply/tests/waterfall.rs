//! The waterfall: who bears what an account cannot, in which order, and how much at most.

use super::*;
use crate::apply::INSURANCE_FUND;
use crate::event::LossStep;
use crate::params::{OperatorStake, WaterfallParameters};

const MILLION: i64 = 1_000_000_000_000;

/// Insolvent accounts are closed out after a minute, at most a fifth of a gain goes, and the ladder and
/// gaps are out of the way.
fn parameters(fund: i64, stake: i64) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.liquidation.insolvent_ms = 60_000;
    parameters.modes.block_gap_ms_max = u64::MAX;
    parameters.waterfall = WaterfallParameters {
        fund: Cash::new(fund),
        stake: Some(OperatorStake {
            owner: Address([0xdd; 20]),
            cash: Cash::new(stake),
        }),
        haircut_ppm_max: 200_000,
    };
    parameters
}

/// Account 1 is short 400 coin of calls that accounts 2, 3 and 4 hold, bought ever dearer; 6 holds
/// another 100 of account 5's, bought cheapest.
fn venue_with_big_short() -> (Venue, InstrumentId) {
    let cash = [
        7_000_000, 1_000_000, 1_000_000, 3_000_000, 90_000_000, 1_000_000,
    ];
    let mut venue = Venue::with(&cash, parameters(8 * MILLION, 2 * MILLION));
    let call = venue.call();
    for (buyer, lots, price) in [(2, 20_000, 900), (3, 10_000, 950), (4, 10_000, 1_500)] {
        venue.observe(90_000);
        venue.block();
        venue.trade(1, buyer, call, lots, price);
    }
    venue.observe(90_000);
    venue.block();
    venue.trade(5, 6, call, 10_000, 500);
    (venue, call)
}

fn steps(events: &[Event]) -> Vec<(LossStep, i64, i64, i64)> {
    let step = |e: &Event| match e {
        Event::LossAllocated {
            step,
            paid,
            bound,
            left,
            ..
        } => Some((*step, paid.get(), bound.get(), left.get())),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

fn torn_up(events: &[Event]) -> Vec<(u32, i64, i64, i64)> {
    let one = |e: &Event| match e {
        Event::PositionTornUp {
            holder,
            position,
            cash,
            held_back,
            ..
        } => Some((holder.get(), position.get(), cash.get(), held_back.get())),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn closes_out(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e, Event::ClosedOut { .. }))
}

fn positions_add_up(venue: &Venue) {
    for instrument in venue.engine.instruments().iter() {
        let held = venue
            .engine
            .ledger()
            .iter()
            .filter_map(|(_, a)| a.holding(instrument.id));
        assert_eq!(held.map(|h| h.position).sum::<i64>(), 0, "I8");
    }
}

/// Drill 18: some −20 M against a fund of 8 M.
#[test]
fn each_step_bears_what_it_can_in_order_and_the_rest_goes_on() {
    let (mut venue, call) = venue_with_big_short();
    let stake = venue.engine.stake_account().unwrap();
    assert_eq!(venue.cash(stake.get()), 2 * MILLION);
    let fund_before = venue.cash(0);
    let insolvent = |e: &[Event]| {
        e.iter()
            .any(|e| matches!(e, Event::LiquidationStarted { .. }))
    };
    assert!(venue.observe_until(158_000, 5, insolvent));
    let ranking = venue.engine.tear_up_ranking(call, Side::Buy);
    let ranked: Vec<u32> = ranking.iter().map(|rank| rank.account.get()).collect();
    let gains: Vec<i64> = (0..8)
        .map(|id| {
            let id = AccountId::new(id);
            let equity = venue.engine.margin_with_orders(id).unwrap().0.equity;
            venue.engine.gain_of_day(id, equity)
        })
        .collect();
    assert!(venue.observe_until(158_000, 100, closes_out));
    let events = venue.events.clone();
    let steps = steps(&events);
    let order: Vec<LossStep> = steps.iter().map(|step| step.0).collect();
    let all = [
        LossStep::Fund,
        LossStep::Stake,
        LossStep::Haircut,
        LossStep::TearUp,
    ];
    assert_eq!(order, all);
    let loss: i64 = steps.iter().map(|step| step.1).sum();
    assert!((18 * MILLION..24 * MILLION).contains(&loss), "{loss}");
    for (step, paid, bound, _) in &steps {
        assert!(paid <= bound && *paid > 0, "{step:?}: {paid} of {bound}");
    }
    assert_eq!(steps[0].1, fund_before, "the fund gives all it has");
    assert_eq!((steps[1].1, steps[3].3), (2 * MILLION, 0));
    assert_eq!((venue.cash(0), venue.cash(stake.get())), (0, 0));
    // Nobody gave more than a fifth of the gain, and all of them together what the step says.
    let mut given = 0;
    for event in &events {
        if let Event::GainHaircut {
            account,
            gain,
            paid,
            ..
        } = event
        {
            assert!(paid.get() <= gain.get() / 5, "{event:?}");
            let seen = gains[account.get() as usize];
            assert!((gain.get() - seen).abs() < seen / 100, "{event:?} {seen}");
            given += paid.get();
        }
    }
    assert_eq!(given, steps[2].1);
    // Ranks are as announced: 6 bought cheapest of those with little margin, and so on.
    let torn = torn_up(&events);
    let holders: Vec<u32> = torn.iter().map(|t| t.0).collect();
    assert_eq!(holders, ranked[..holders.len()]);
    let closed: i64 = torn.iter().map(|t| t.1).sum();
    assert_eq!(
        closed,
        -qty(40_000).get(),
        "partial: no more than the loser held"
    );
    assert_eq!(torn.iter().map(|t| t.3).sum::<i64>(), steps[3].1);
    assert!(torn.iter().all(|t| t.2 >= 0 && t.3 >= 0));
    let left: i64 = [2, 3, 4, 6].map(|a| venue.position(a, call)).iter().sum();
    assert_eq!(left, 10_000);
    assert_eq!((venue.cash(1), venue.position(1, call)), (0, 0));
    assert!(
        venue
            .engine
            .account(AccountId::new(1))
            .unwrap()
            .liquidation
            .is_none()
    );
    positions_add_up(&venue);
}

#[test]
fn a_fund_that_can_pay_and_carry_takes_the_account_over() {
    let (mut venue, call) = venue_with_big_short();
    venue
        .engine
        .ledger
        .deposit(INSURANCE_FUND, Cash::new(100 * MILLION))
        .unwrap();
    let taken = |e: &[Event]| {
        e.iter()
            .any(|e| matches!(e, Event::LiquidationToFund { .. }))
    };
    assert!(venue.observe_until(158_000, 100, taken));
    assert!(steps(&venue.events).is_empty());
    assert_eq!(
        (venue.position(0, call), venue.position(1, call)),
        (-40_000, 0)
    );
    // What it took it can carry; when prices run on it is closed out like anybody.
    assert!(venue.observe_until(400_000, 100, closes_out));
    assert_eq!(venue.position(0, call), 0);
    positions_add_up(&venue);
}

#[test]
fn without_fund_stake_and_gains_those_torn_up_bear_it_and_no_more_than_they_are_owed() {
    let mut parameters = parameters(0, 0);
    parameters.waterfall.haircut_ppm_max = 0;
    let mut venue = Venue::with(&[20_000, 1_000_000], parameters);
    let call = venue.call();
    venue.trade(1, 2, call, 80, 943);
    let before = venue.cash(1) + venue.cash(2);
    assert!(venue.observe_until(158_000, 100, closes_out));
    let steps = steps(&venue.events);
    let (step, paid, bound, left) = *steps.last().unwrap();
    assert_eq!((step, left), (LossStep::TearUp, 0));
    assert!(paid > 0 && paid <= bound);
    assert_eq!(venue.cash(1), 0);
    assert!(
        before - venue.cash(2) < before / 50,
        "the fund got a part of the fees"
    );
    positions_add_up(&venue);
}

#[test]
fn nobody_acts_for_the_stake() {
    let (mut venue, call) = venue_with_big_short();
    let stake = venue.engine.stake_account().unwrap();
    assert_eq!(venue.engine.free_cash(stake), Some(Cash::ZERO));
    let refused = venue.run(stake.get(), place(limit(call, Side::Buy, 1, 900)));
    assert_eq!(refused, Err(Reject::UnknownAccount));
}

/// Gains since 08:00, kept up lazily, are those that a sweep of all accounts would find.
#[test]
fn the_days_gains_are_those_of_a_sweep() {
    let mut venue = Venue::with(&[1_000_000; 4], parameters(0, 0));
    let listed = venue.engine.instruments().iter();
    let calls =
        listed.filter(|i| i.terms.strike == usd(90_000) && i.terms.kind == OptionKind::Call);
    let call = calls.max_by_key(|i| i.terms.expiry).unwrap().id;
    let mark = venue.engine.mark_of_lot(call) / 10_000;
    venue.trade(1, 2, call, 100, mark);
    venue.trade(3, 4, call, 50, mark);
    let worth = |venue: &Venue, id: u32| {
        let account = venue.engine.account(AccountId::new(id)).unwrap();
        let held = account.holdings.iter();
        let value = held.map(|h| h.position * venue.engine.mark_of_lot(h.instrument));
        account.cash.get() + value.sum::<i64>()
    };
    // To shortly before the day turns; then over it, with a block in which nobody acts.
    let to_eight = 20 * 3_600_000 - (venue.time - START);
    venue.observe(90_000);
    venue.block_after(to_eight - 5_000);
    venue.observe(91_000);
    venue.block_after(3_000);
    venue.observe(92_000);
    let events = venue.block_after(2_000);
    assert!(events.iter().any(|e| matches!(e, Event::DayBegan { .. })));
    let opens: Vec<i64> = (0..5).map(|id| worth(&venue, id)).collect();
    let check = |venue: &Venue, flows: [i64; 5]| {
        for id in 0..5_u32 {
            let at = id as usize;
            let now = worth(venue, id);
            let gain = venue.engine.gain_of_day(AccountId::new(id), Cash::new(now));
            assert_eq!(gain, now - opens[at] - flows[at], "account {id}");
        }
    };
    // The fund takes fees in: it and everybody else count the same.
    check(&venue, [0; 5]);
    venue.observe(93_000);
    venue.block();
    check(&venue, [0; 5]);
    venue.trade(2, 3, call, 30, mark);
    venue.observe(95_000);
    venue.block();
    check(&venue, [0; 5]);
    venue
        .engine
        .ledger
        .deposit(AccountId::new(4), Cash::new(7))
        .unwrap();
    venue.trade(4, 1, call, 10, mark);
    check(&venue, [0, 0, 0, 0, 7]);
    let mut image = Vec::new();
    venue.engine.write_snapshot(&mut image).unwrap();
    venue.engine = Engine::read_snapshot(&mut image.as_slice()).unwrap();
    venue.observe(89_000);
    venue.block();
    check(&venue, [0, 0, 0, 0, 7]);
}
