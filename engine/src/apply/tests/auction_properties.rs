//! What no participant can do to an auction, and the engine beside a slow twin that tries every price.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::auction::*;
use super::*;
use crate::auction::SealedTerms;

/// An order as the twin sees it; prices from the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bid {
    account: u32,
    side: Side,
    price: i64,
    lots: u32,
    self_trade: SelfTradePrevention,
    rests: bool,
}

const PRICES: i64 = 60;
const ACCOUNTS: u32 = 4;

/// What the auction made: its price, each trade (buyer, seller, lots) and what rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    price: Option<i64>,
    trades: Vec<(u32, u32, u32)>,
    rests: Vec<Resting>,
}

/// Whose, whether it buys, price, lots.
type Resting = (u32, bool, i64, u32);

/// The slow twin: orders enter one by one under their self-trade rules, every price is tried, and lots
/// are given out by price, then time.
fn twin(kept: &[Bid], sealed: &[Bid]) -> Outcome {
    let mut pool: Vec<Bid> = kept.to_vec();
    for new in sealed {
        let meets = |old: &Bid| {
            let (buy, sell) = if new.side == Side::Buy {
                (new.price, old.price)
            } else {
                (old.price, new.price)
            };
            old.account == new.account && old.side != new.side && buy >= sell
        };
        let best = (0..pool.len())
            .filter(|at| meets(&pool[*at]))
            .min_by_key(|at| (pool[*at].price * new.side.sign(), *at));
        match (best, new.self_trade) {
            (None, _) => pool.push(*new),
            (Some(_), SelfTradePrevention::CancelTaker) => {}
            (Some(_), SelfTradePrevention::CancelMaker) => {
                pool.retain(|old| !meets(old));
                pool.push(*new);
            }
            (Some(best), SelfTradePrevention::CancelBoth) => {
                pool.remove(best);
            }
        }
    }
    give_out(pool)
}

/// Lots bid for at a price or better, and offered at it or better.
fn at_price(pool: &[Bid], price: i64) -> (i64, i64) {
    let sum = |side: Side, good: &dyn Fn(i64) -> bool| -> i64 {
        let of_side = pool.iter().filter(|o| o.side == side && good(o.price));
        of_side.map(|o| i64::from(o.lots)).sum()
    };
    (
        sum(Side::Buy, &|p| p >= price),
        sum(Side::Sell, &|p| p <= price),
    )
}

fn give_out(mut pool: Vec<Bid>) -> Outcome {
    let judged = (-2 * PRICES..=2 * PRICES).map(|price| {
        let (demand, supply) = at_price(&pool, price);
        let order = (
            -demand.min(supply),
            (demand - supply).abs(),
            price.abs(),
            price,
        );
        (order, price)
    });
    let ((volume, ..), price) = judged.min().unwrap();
    let mut left = -volume;
    let mut outcome = Outcome {
        price: (left > 0).then_some(price),
        ..Outcome::default()
    };
    let ranked = |side: Side, pool: &[Bid]| {
        let mut places: Vec<usize> = (0..pool.len())
            .filter(|at| pool[*at].side == side)
            .collect();
        places.sort_by_key(|at| (-pool[*at].price * side.sign(), *at));
        places
    };
    let (buys, sells) = (ranked(Side::Buy, &pool), ranked(Side::Sell, &pool));
    let (mut buy, mut sell) = (0, 0);
    while left > 0 {
        let (b, s) = (buys[buy], sells[sell]);
        let lots = pool[b].lots.min(pool[s].lots).min(left as u32);
        outcome
            .trades
            .push((pool[b].account, pool[s].account, lots));
        for at in [b, s] {
            pool[at].lots -= lots;
        }
        left -= i64::from(lots);
        buy += usize::from(pool[b].lots == 0);
        sell += usize::from(pool[s].lots == 0);
    }
    let rest = pool.iter().filter(|o| o.lots > 0 && o.rests);
    outcome.rests = rest
        .map(|o| (o.account, o.side == Side::Buy, o.price, o.lots))
        .collect();
    outcome.rests.sort_unstable();
    outcome
}

fn quick() -> Parameters {
    let mut parameters = parameters();
    parameters.auction.length_ms = 8_000;
    parameters.auction.last_phase_ms = 4_000;
    parameters.auction.indication_ms = 1_000;
    parameters
}

/// A venue of which nothing but `kept` rests, in its sealed phase.
fn venue_with(kept: &[Bid]) -> (Venue, InstrumentId, i64) {
    let mut venue = Venue::with(&[5_000_000; ACCOUNTS as usize], quick());
    let call = venue.call();
    let mark = i64::from(mark(&venue, call));
    for bid in kept {
        let order = limit(call, bid.side, bid.lots.into(), mark + bid.price);
        venue.send(bid.account, place(order));
    }
    venue.block();
    reach_auction(&mut venue);
    (venue, call, mark)
}

fn sealed_terms(call: InstrumentId, mark: i64, bid: &Bid) -> SealedTerms {
    SealedTerms {
        self_trade: bid.self_trade,
        rests: bid.rests,
        ..terms(call, bid.side, bid.lots, (mark + bid.price) as u32)
    }
}

fn seal_one(venue: &mut Venue, call: InstrumentId, mark: i64, bid: &Bid) {
    let action = sealed(venue, bid.account, sealed_terms(call, mark, bid), 20_000);
    venue.send(bid.account, action);
}

/// What the events and the books say the auction made.
fn outcome(venue: &Venue, events: &[Event], call: InstrumentId, mark: i64) -> Outcome {
    let price = cleared(events).first().map(|c| c.price.get() / 1_000_000);
    let traded = trades(events);
    assert!(traded.iter().all(|t| Some(t.2) == price), "one price");
    let mut rests = Vec::new();
    for side in Side::ALL {
        for order in venue.engine.books.orders(call, *side) {
            let price = i64::from(order.price.get()) - mark;
            let buys = *side == Side::Buy;
            rests.push((order.owner.get(), buys, price, order.lots.get()));
        }
    }
    rests.sort_unstable();
    Outcome {
        price: price.map(|price| price - mark),
        trades: traded.iter().map(|t| (t.0, t.1, t.3 as u32)).collect(),
        rests,
    }
}

fn bid(kept: bool) -> impl Strategy<Value = Bid> {
    let rule = prop_oneof![
        Just(SelfTradePrevention::CancelTaker),
        Just(SelfTradePrevention::CancelMaker),
        Just(SelfTradePrevention::CancelBoth),
    ];
    let price = -PRICES / 4..PRICES / 4;
    (
        1..=ACCOUNTS,
        any::<bool>(),
        price,
        1_u32..6,
        rule,
        any::<bool>(),
    )
        .prop_map(move |(account, buys, price, lots, self_trade, rests)| {
            let side = if buys { Side::Buy } else { Side::Sell };
            let price = match (kept, side) {
                (false, _) => price,
                (true, Side::Buy) => -price.abs() - 1,
                (true, Side::Sell) => price.abs(),
            };
            Bid {
                account,
                side,
                price,
                lots,
                self_trade,
                rests: kept || rests,
            }
        })
}

type Flow = (Vec<Bid>, Vec<Bid>);

fn flow() -> impl Strategy<Value = Flow> {
    (
        proptest::collection::vec(bid(true), 0..5),
        proptest::collection::vec(bid(false), 1..12),
    )
}

fn for_flows<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let checked = |value| {
        test(value);
        Ok(())
    };
    TestRunner::new(config).run(&strategy, checked).unwrap();
}

#[test]
fn prices_fills_and_what_rests_are_the_slow_twins() {
    for_flows(24, flow(), |(kept, sealed)| {
        let (mut venue, call, mark) = venue_with(&kept);
        for bid in &sealed {
            seal_one(&mut venue, call, mark, bid);
        }
        close(&mut venue);
        let events = open_all(&mut venue);
        assert!(dropped(&events).is_empty(), "{:?}", dropped(&events));
        assert_eq!(outcome(&venue, &events, call, mark), twin(&kept, &sealed));
    });
}

#[test]
fn until_it_closes_nothing_public_depends_on_what_others_sealed() {
    let two = (
        proptest::collection::vec(bid(true), 0..5),
        proptest::collection::vec((bid(false), bid(false)), 1..8),
    );
    for_flows(12, two, |(kept, pairs)| {
        let events = |contents: &dyn Fn(&(Bid, Bid)) -> Bid| {
            let (mut venue, call, mark) = venue_with(&kept);
            for pair in &pairs {
                let bid = Bid {
                    account: pair.0.account,
                    ..contents(pair)
                };
                seal_one(&mut venue, call, mark, &bid);
                venue.observe(90_000);
                venue.block();
            }
            close(&mut venue);
            borsh::to_vec(&venue.events).unwrap()
        };
        assert!(events(&|pair| pair.0) == events(&|pair| pair.1));
    });
}

#[test]
fn what_is_sealed_and_withdrawn_again_changes_nothing() {
    let extra = proptest::collection::vec((bid(false), 0_usize..12), 1..6);
    for_flows(12, (flow(), extra), |((kept, sealed), extra)| {
        let run = |extra: &[(Bid, usize)]| {
            let (mut venue, call, mark) = venue_with(&kept);
            let mut withdrawn = Vec::new();
            let mut numbered = 0;
            for (at, bid) in sealed.iter().enumerate() {
                for (other, _) in extra.iter().filter(|(_, place)| *place == at) {
                    seal_one(&mut venue, call, mark, other);
                    withdrawn.push((other.account, numbered));
                    numbered += 1;
                }
                seal_one(&mut venue, call, mark, bid);
                numbered += 1;
            }
            for (account, seal) in withdrawn {
                let withdraw = Action::WithdrawSealed {
                    underlying: BTC,
                    auction: number(&venue),
                    seal,
                };
                venue.send(account, withdraw);
            }
            close(&mut venue);
            let events = open_all(&mut venue);
            let cash: Vec<i64> = (0..=ACCOUNTS).map(|account| venue.cash(account)).collect();
            (outcome(&venue, &events, call, mark), cash)
        };
        assert_eq!(run(&extra), run(&[]));
    });
}

/// Numbers without end from a seed (splitmix64): the test's own, so that its figures stay.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }
}

/// Lots that the participant has a use for, either way.
const WANTED: i64 = 4;
const ME: u32 = 1;

fn order(account: u32, side: Side, price: i64, lots: i64) -> Bid {
    Bid {
        account,
        side,
        price,
        lots: lots as u32,
        self_trade: SelfTradePrevention::CancelTaker,
        rests: false,
    }
}

/// Public orders and the sealed ones of many others, each with a value of its own.
fn others(dice: &mut Dice) -> Flow {
    let kept = (0..6).map(|at| {
        let side = if at % 2 == 0 { Side::Buy } else { Side::Sell };
        let price = -side.sign() * dice.within(1, 20);
        order(2 + at, side, price, dice.within(1, 5))
    });
    let kept = kept.collect();
    let sealed = (0..24).map(|at| {
        let side = if dice.next().is_multiple_of(2) {
            Side::Buy
        } else {
            Side::Sell
        };
        let price = dice.within(-25, 25);
        order(10 + at, side, price, dice.within(1, 5))
    });
    (kept, sealed.collect())
}

/// How much less than its value a lot is worth that it did not want, and how much more one costs that it
/// sold without wanting to.
const UNWANTED: i64 = 30;

/// What the participant gains by its trades: each lot is worth `value` to it, up to what it wants on either
/// side.
fn surplus(outcome: &Outcome, value: i64) -> i64 {
    let price = outcome.price.unwrap_or(0);
    let bought: i64 = lots_of(outcome, |t| t.0);
    let sold: i64 = lots_of(outcome, |t| t.1);
    let net = bought - sold;
    (value - price) * net - UNWANTED * (net.abs() - WANTED).max(0)
}

fn lots_of(outcome: &Outcome, who: impl Fn(&(u32, u32, u32)) -> u32) -> i64 {
    let own = outcome.trades.iter().filter(|trade| who(trade) == ME);
    own.map(|trade| i64::from(trade.2)).sum()
}

/// What the participant seals, given its value and its last look at the public orders.
type Strategy_ = fn(i64, &[Bid]) -> Vec<Bid>;

/// Says what it wants at what it is worth: buys up to its value, sells above it.
fn honest(value: i64, _: &[Bid]) -> Vec<Bid> {
    vec![
        order(ME, Side::Buy, value, WANTED),
        order(ME, Side::Sell, value + 1, WANTED),
    ]
}

fn with(value: i64, kept: &[Bid], more: Vec<Bid>) -> Vec<Bid> {
    [honest(value, kept), more].concat()
}

fn offers_under_value(value: i64, rule: SelfTradePrevention) -> Bid {
    Bid {
        self_trade: rule,
        ..order(ME, Side::Sell, value - 5, 2)
    }
}

const TRICKS: [(&str, Strategy_); 9] = [
    ("fake offers in front of the public bid", |value, kept| {
        let bids = kept.iter().filter(|o| o.side == Side::Buy);
        let best = bids.map(|o| o.price).max().unwrap_or(0);
        let fake = order(ME, Side::Sell, (best + 1).max(value + 1), 4);
        with(value, kept, vec![fake])
    }),
    ("layers of offers above its value", |value, kept| {
        let layer = |step: i64| order(ME, Side::Sell, value + 1 + 2 * step, 1);
        with(value, kept, (1..6).map(layer).collect())
    }),
    ("layers of bids under its value", |value, kept| {
        let layer = |step: i64| order(ME, Side::Buy, value - 2 * step, 1);
        with(value, kept, (1..6).map(layer).collect())
    }),
    ("one more lot over its value", |value, _| {
        let more = order(ME, Side::Buy, value + 8, 1);
        vec![more, order(ME, Side::Buy, value, WANTED)]
    }),
    ("all lots at any price", |_, _| {
        vec![order(ME, Side::Buy, PRICES, WANTED)]
    }),
    (
        "offers under its value before its own bid",
        |value, kept| {
            let mut all = vec![offers_under_value(value, SelfTradePrevention::CancelTaker)];
            all.extend(honest(value, kept));
            all
        },
    ),
    ("a wash that cancels the later", |value, kept| {
        let rule = SelfTradePrevention::CancelTaker;
        with(value, kept, vec![offers_under_value(value, rule)])
    }),
    ("a wash that cancels the earlier", |value, kept| {
        let rule = SelfTradePrevention::CancelMaker;
        with(value, kept, vec![offers_under_value(value, rule)])
    }),
    ("a wash that cancels both", |value, kept| {
        let rule = SelfTradePrevention::CancelBoth;
        with(value, kept, vec![offers_under_value(value, rule)])
    }),
];

/// What no uniform price excludes, for comparison: it takes no order but fewer or lower ones.
const SHADING: [(&str, Strategy_); 2] = [
    ("fewer lots than it wants", |value, _| {
        vec![
            order(ME, Side::Buy, value, WANTED - 1),
            order(ME, Side::Sell, value + 1, WANTED - 1),
        ]
    }),
    ("a price a little worse than its value", |value, _| {
        vec![
            order(ME, Side::Buy, value - 1, WANTED),
            order(ME, Side::Sell, value + 2, WANTED),
        ]
    }),
];

/// Mean gain of a trick on honest orders, over the same draws, and its standard error.
fn gain_of(trick: Strategy_) -> (f64, f64) {
    const SAMPLES: u64 = 2_000;
    let gain = |sample: u64| {
        let mut dice = Dice(sample * 7_919);
        let (kept, flow) = others(&mut dice);
        let value = dice.within(-20, 20);
        let place = dice.within(0, flow.len() as i64) as usize;
        let surplus_of = |mine: Vec<Bid>| {
            let (before, after) = flow.split_at(place);
            let sealed = [before, &mine, after].concat();
            surplus(&twin(&kept, &sealed), value)
        };
        surplus_of(trick(value, &kept)) - surplus_of(honest(value, &kept))
    };
    let gains: Vec<f64> = (0..SAMPLES).map(|sample| gain(sample) as f64).collect();
    let mean = gains.iter().sum::<f64>() / SAMPLES as f64;
    let spread = gains.iter().map(|g| (g - mean).powi(2)).sum::<f64>();
    (mean, spread.sqrt() / SAMPLES as f64)
}

#[test]
fn further_orders_gain_nothing_on_honest_ones() {
    for (name, shading) in SHADING {
        let (mean, error) = gain_of(shading);
        println!("not excluded: {name}: {mean:.2} +- {error:.2}");
    }
    for (name, trick) in TRICKS {
        let (mean, error) = gain_of(trick);
        println!("{name}: {mean:.2} +- {error:.2}");
        assert!(mean <= 3.0 * error, "{name}: {mean} +- {error}");
    }
}
