//! The margin of the engine against its slow twin, on random venues and accounts.

use lifeboat_drill::twin::SlowMargin;
use lifeboat_engine::risk::{
    AccountCheck, CollateralTerms, ExpiryState, Holding, InstrumentKind, InstrumentTerms,
    OpenChange, OrderCheck, Pm2Parameters, PositionChange, Ratio, RiskBook, RiskError,
    StandardParameters, UnderlyingState, VolMark, Width,
};
use lifeboat_engine::types::{
    AccountId, Cash, InstrumentId, MarginModel, OptionKind, Price, Qty, Side, TimeMs, UnderlyingId,
};
use proptest::prelude::*;

const NOW: TimeMs = TimeMs::new(1_790_000_000_000);
const SPOTS: [i64; 2] = [95_000, 3_200];
const LOTS: [i64; 2] = [1_000_000, 10_000_000];
const STRIKES_PERCENT: [i64; 5] = [70, 90, 100, 112, 150];
const EXPIRY_HOURS: [u64; 4] = [0, 20, 190, 2_400];
const CALL_AND_PUT: [OptionKind; 2] = [OptionKind::Call, OptionKind::Put];
/// Options of one underlying, then its perpetual and its collateral.
const OPTIONS: u32 = 40;
const PER_UNDERLYING: u32 = OPTIONS + 2;
const ACCOUNT: AccountId = AccountId::new(3);

/// What differs between venues.
#[derive(Clone, Debug)]
struct Weather {
    move_percent: i64,
    vol_percent: i64,
    rate_percent: i64,
    stable_percent: i64,
    confidence_percent: i64,
    vol_confidence_percent: i64,
    minutes: u64,
}

/// Nothing moves, nothing is missing, and volatility is low.
const CALM: Weather = Weather {
    move_percent: 0,
    vol_percent: 15,
    rate_percent: 0,
    stable_percent: 100,
    confidence_percent: 100,
    vol_confidence_percent: 100,
    minutes: 1,
};

fn weather() -> impl Strategy<Value = Weather> {
    let moves = (-40_i64..60, 15_i64..160, -3_i64..20);
    let trust = (
        prop_oneof![Just(100_i64), 90_i64..101],
        prop_oneof![3 => Just(100_i64), 1 => 20_i64..100],
        prop_oneof![3 => Just(100_i64), 1 => 20_i64..100],
    );
    (moves, trust, 1_u64..55).prop_map(|((spot, vol, rate), (stable, feeds, vols), minutes)| {
        Weather {
            move_percent: spot,
            vol_percent: vol,
            rate_percent: rate,
            stable_percent: stable,
            confidence_percent: feeds,
            vol_confidence_percent: vols,
            minutes,
        }
    })
}

fn percent(percent: i64) -> Ratio {
    Ratio::new(percent * 10_000_000)
}

fn expiry(at: usize, weather: &Weather) -> TimeMs {
    NOW.plus_ms(EXPIRY_HOURS[at] * 3_600_000 + weather.minutes * 60_000)
}

fn instruments(weather: &Weather) -> Vec<(InstrumentId, InstrumentTerms)> {
    let mut listed = Vec::new();
    for (underlying, spot) in SPOTS.iter().enumerate() {
        let mut list = |kind: InstrumentKind| {
            let terms = InstrumentTerms {
                underlying: UnderlyingId::new(underlying as u8),
                lot: Qty::new(LOTS[underlying]),
                kind,
            };
            listed.push((InstrumentId::new(listed.len() as u32), terms));
        };
        // Interleaved over expiries, so that ids are not grouped by expiry.
        for strike in STRIKES_PERCENT {
            for at in 0..EXPIRY_HOURS.len() {
                for kind in CALL_AND_PUT {
                    let strike = Price::new(spot * strike * 10_000);
                    list(InstrumentKind::Option {
                        expiry: expiry(at, weather),
                        strike,
                        kind,
                    });
                }
            }
        }
        list(InstrumentKind::Perp);
        list(InstrumentKind::Collateral(CollateralTerms {
            price: Price::new(spot * 1_001_000),
            confidence: percent(weather.confidence_percent),
            risk_cancelling: underlying == 0,
            im_haircut: percent(2),
            mm_haircut: percent(5),
        }));
    }
    listed
}

fn venue(weather: &Weather) -> SlowMargin {
    let instruments = instruments(weather);
    let markets = SPOTS.iter().enumerate().map(|(underlying, spot)| {
        let spot = spot * (100 + weather.move_percent) * 10_000;
        let expiries = (0..EXPIRY_HOURS.len()).map(|at| ExpiryState {
            expiry: expiry(at, weather),
            forward: Price::new(spot + spot / 1000 * at as i64),
            settled: None,
            rate: percent(weather.rate_percent),
            confidence: Ratio::ONE,
        });
        UnderlyingState {
            underlying: UnderlyingId::new(underlying as u8),
            now: NOW,
            spot: Price::new(spot),
            spot_confidence: percent(weather.confidence_percent),
            perp: Price::new(spot + spot / 2000),
            perp_confidence: percent(100 - (100 - weather.confidence_percent) / 2),
            stable: percent(weather.stable_percent),
            expiries: expiries.collect(),
        }
    });
    let is_option = |terms: &InstrumentTerms| matches!(terms.kind, InstrumentKind::Option { .. });
    let options = instruments.iter().filter(|(_, terms)| is_option(terms));
    let marks = options.map(|(instrument, _)| VolMark {
        instrument: *instrument,
        vol: percent(weather.vol_percent + i64::from(instrument.get() % 7)),
        confidence: percent(weather.vol_confidence_percent),
    });
    SlowMargin {
        parameters: Pm2Parameters::default(),
        standard: StandardParameters::default(),
        markets: markets.collect(),
        marks: marks.collect(),
        instruments: instruments.clone(),
    }
}

fn fast(slow: &SlowMargin) -> RiskBook {
    let mut book = RiskBook::new(slow.parameters.clone(), slow.standard.clone(), 4).unwrap();
    for (instrument, terms) in &slow.instruments {
        book.set_instrument(*instrument, *terms).unwrap();
    }
    for market in &slow.markets {
        book.tick(market, &slow.marks).unwrap();
    }
    book
}

/// Any instrument but collateral, which nobody trades.
fn tradable() -> impl Strategy<Value = InstrumentId> {
    (0_u32..2, 0..PER_UNDERLYING - 1)
        .prop_map(|(underlying, at)| InstrumentId::new(underlying * PER_UNDERLYING + at))
}

/// Instruments near each other, so that orders and positions meet in an expiry.
fn crowded() -> impl Strategy<Value = InstrumentId> {
    (0_u32..10).prop_map(InstrumentId::new)
}

fn positions(max: usize) -> impl Strategy<Value = Vec<(InstrumentId, i64)>> {
    let lots = prop_oneof![-5_i64..6, -5_000_i64..5_000];
    let traded = prop_oneof![2 => tradable(), 1 => crowded()];
    let positions = prop::collection::btree_map(traded, lots, 0..max);
    let collateral = (prop::bool::weighted(0.2), 0_u32..2, 1_i64..2_000);
    (positions, collateral).prop_map(|(positions, (has, underlying, lots))| {
        let asset = InstrumentId::new(underlying * PER_UNDERLYING + OPTIONS + 1);
        let asset = has.then_some((asset, lots));
        positions.into_iter().chain(asset).collect()
    })
}

fn holdings(positions: &[(InstrumentId, i64)]) -> Vec<Holding> {
    positions
        .iter()
        .map(|(id, lots)| Holding::position(*id, *lots))
        .collect()
}

fn usdc(cash: Cash) -> f64 {
    cash.get() as f64 * 1e-6
}

/// 1e-6 of what is at stake, and half a sub-unit a lot.
fn tolerance(at_stake: f64, lots: i64) -> f64 {
    at_stake.abs() * 1e-6 + (lots as f64 / 256.0 + 20.0) * 1e-6
}

fn all_lots(positions: &[(InstrumentId, i64)]) -> i64 {
    positions.iter().map(|(_, lots)| lots.abs()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exact_margin_equals_the_twin(
        weather in weather(),
        positions in positions(14),
        cash in -1_000_000_i64..1_000_000,
    ) {
        let slow = venue(&weather);
        let mut book = fast(&slow);
        for model in [MarginModel::Portfolio, MarginModel::Standard] {
            let want = match model {
                MarginModel::Portfolio => slow.portfolio(&positions, cash as f64),
                MarginModel::Standard => slow.standard(&positions, cash as f64),
            };
            let held = holdings(&positions);
            let got = book.margin(held.iter().copied(), Cash::new(cash * 1_000_000), model);
            let pairs = [("IM", got.im, want.im), ("MM", got.mm, want.mm)];
            for (what, got, want) in pairs.into_iter().chain([("equity", got.equity, want.equity)]) {
                let allowed = tolerance(want.abs().max(cash as f64), all_lots(&positions));
                prop_assert!(
                    (usdc(got) - want).abs() <= allowed,
                    "{model:?} {what}: {} is not {want} within {allowed}", usdc(got)
                );
            }
        }
    }

    #[test]
    fn every_width_gives_the_same_integers(weather in weather(), positions in positions(14)) {
        let slow = venue(&weather);
        let mut book = fast(&slow);
        let held = holdings(&positions);
        let margins: Vec<_> = Width::available()
            .map(|width| {
                book.set_width(width);
                book.margin(held.iter().copied(), Cash::ZERO, MarginModel::Portfolio)
            })
            .collect();
        prop_assert!(margins.windows(2).all(|pair| pair[0] == pair[1]), "{margins:?}");
    }
}

/// An open order: instrument, side, lots, and its price over the mark in percent.
type Open = (InstrumentId, Side, u32, i64);

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn open_orders(max: usize) -> impl Strategy<Value = Vec<Open>> {
    let place = prop_oneof![2 => crowded(), 1 => tradable()];
    prop::collection::vec((place, side(), 1_u32..400, -20_i64..20), 0..max)
}

fn price_per_lot(book: &RiskBook, (instrument, _, _, over): Open) -> Cash {
    let mark = book.row(instrument).unwrap().mark_per_lot().get();
    Cash::new(mark + mark / 100 * over)
}

fn order_check(book: &RiskBook, open: Open) -> OrderCheck {
    let (instrument, side, lots, _) = open;
    let price_per_lot = price_per_lot(book, open);
    OrderCheck {
        instrument,
        side,
        lots,
        price_per_lot,
        fee_max: Cash::ZERO,
    }
}

/// Holdings with these orders open.
fn with_orders(
    book: &RiskBook,
    positions: &[(InstrumentId, i64)],
    orders: &[Open],
) -> Vec<Holding> {
    let mut held = holdings(positions);
    for open in orders {
        let (instrument, side, lots, _) = *open;
        let at = held
            .iter()
            .position(|holding| holding.instrument == instrument);
        let at = at.unwrap_or_else(|| {
            held.push(Holding::position(instrument, 0));
            held.len() - 1
        });
        match side {
            Side::Buy => held[at].open_buy += u64::from(lots),
            Side::Sell => held[at].open_sell += u64::from(lots),
        }
        let drag = book.drag(&order_check(book, *open));
        held[at].open_drag = held[at].open_drag.checked_add(drag).unwrap();
    }
    held
}

/// Positions and cash after parts of the orders filled; `parts` holds quarters.
fn filled(
    book: &RiskBook,
    positions: &[(InstrumentId, i64)],
    cash: f64,
    orders: &[(Open, u32)],
) -> (Vec<(InstrumentId, i64)>, f64) {
    let (mut positions, mut cash) = (positions.to_vec(), cash);
    for (open, quarters) in orders {
        let (instrument, side, lots, _) = *open;
        let lots = i64::from(lots * quarters / 4) * side.sign();
        // A perpetual's price is its entry, not a payment; it has no value at the mark here.
        cash -= lots as f64 * usdc(price_per_lot(book, *open));
        match positions.iter_mut().find(|(id, _)| *id == instrument) {
            Some((_, held)) => *held += lots,
            None => positions.push((instrument, lots)),
        }
    }
    positions.retain(|(_, lots)| *lots != 0);
    (positions, cash)
}

fn twin_im(
    slow: &SlowMargin,
    model: MarginModel,
    positions: &[(InstrumentId, i64)],
    cash: f64,
) -> f64 {
    match model {
        MarginModel::Portfolio => slow.portfolio(positions, cash).im,
        MarginModel::Standard => slow.standard(positions, cash).im,
    }
}

fn model() -> impl Strategy<Value = MarginModel> {
    prop_oneof![3 => Just(MarginModel::Portfolio), 1 => Just(MarginModel::Standard)]
}

/// A short straddle at exactly its margin: the second leg lowers the worst loss by less than it costs
/// in price and contingency, and must not count its own price as having been lost before.
#[test]
fn an_order_below_the_mark_pays_for_it() {
    let weather = Weather {
        move_percent: -6,
        vol_percent: 114,
        rate_percent: 4,
        stable_percent: 100,
        confidence_percent: 100,
        vol_confidence_percent: 100,
        minutes: 25,
    };
    let mut book = fast(&venue(&weather));
    let (call, put) = (InstrumentId::new(6), InstrumentId::new(7));
    let held = [Holding::position(put, -686)];
    let model = MarginModel::Portfolio;
    let im = book.margin(held.into_iter(), Cash::ZERO, model).im;
    let account = AccountCheck {
        account: ACCOUNT,
        cash: im.checked_neg().unwrap(),
        model,
    };
    let below = order_check(&book, (call, Side::Sell, 1, -13));
    let refused = book.check_order(&account, held.into_iter(), &below);
    assert_eq!(refused, Err(RiskError::BelowInitial));
    let at_the_mark = order_check(&book, (call, Side::Sell, 1, 0));
    assert_eq!(
        book.check_order(&account, held.into_iter(), &at_the_mark),
        Ok(())
    );
}

/// Under standard margin an option held is never a credit, so what is paid for a second one is lost,
/// even where the pair is worth something at every settlement price.
#[test]
fn an_open_buy_is_not_paid_by_what_is_held() {
    let weather = CALM;
    let slow = venue(&weather);
    let mut book = fast(&slow);
    let (call, put) = (InstrumentId::new(0), InstrumentId::new(9));
    let positions = [(call, 1), (put, 1)];
    let held = with_orders(&book, &positions, &[(call, Side::Buy, 1, 0)]);
    let account = AccountCheck {
        account: ACCOUNT,
        cash: Cash::ZERO,
        model: MarginModel::Standard,
    };
    let bound = book
        .initial_with_orders(&account, held.iter().copied())
        .unwrap();
    let paid = book.row(call).unwrap().mark_per_lot();
    assert_eq!(bound, paid.checked_neg().unwrap());
}

/// Exhaustive over which orders fill, and how far.
fn bound_is_conservative(
    weather: &Weather,
    positions: &[(InstrumentId, i64)],
    orders: &[Open],
    model: MarginModel,
) -> Result<(), TestCaseError> {
    let slow = venue(weather);
    let mut book = fast(&slow);
    let held = with_orders(&book, positions, orders);
    let account = AccountCheck {
        account: ACCOUNT,
        cash: Cash::ZERO,
        model,
    };
    let bound = usdc(
        book.initial_with_orders(&account, held.iter().copied())
            .unwrap(),
    );
    let ways = 3_u32.pow(orders.len() as u32);
    for way in 0..ways {
        let quarters = |at: usize| [0, 2, 4][(way / 3_u32.pow(at as u32) % 3) as usize];
        let parts: Vec<_> = orders
            .iter()
            .enumerate()
            .map(|(at, open)| (*open, quarters(at)))
            .collect();
        let (after, cash) = filled(&book, positions, 0.0, &parts);
        let im = twin_im(&slow, model, &after, cash);
        let lots = all_lots(positions) + 2_000;
        let stake = im.abs().max(cash.abs()).max(bound.abs());
        prop_assert!(
            bound <= im + tolerance(stake, lots),
            "bound {bound} above {im} after {parts:?}"
        );
    }
    let (margin, initial) = book
        .margin_with_orders(&account, held.iter().copied())
        .unwrap();
    prop_assert_eq!(margin, book.margin(held.iter().copied(), Cash::ZERO, model));
    prop_assert_eq!(usdc(initial), bound);
    if orders.is_empty() {
        let exact = book.margin(held.iter().copied(), Cash::ZERO, model).im;
        prop_assert_eq!(usdc(exact), bound);
    }
    Ok(())
}

/// A call is sold below a higher strike that is held: the loss at that strike counts, too.
#[test]
fn a_call_sold_under_a_higher_strike_is_bounded_there() {
    let weather = CALM;
    let positions = [
        (InstrumentId::new(13), -1_366),
        (InstrumentId::new(21), 1_230),
    ];
    let orders = [(InstrumentId::new(4), Side::Sell, 1, 0)];
    bound_is_conservative(&weather, &positions, &orders, MarginModel::Standard).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_bound_is_never_above_what_any_fills_leave(
        weather in weather(),
        positions in positions(6),
        orders in open_orders(5),
        model in model(),
    ) {
        bound_is_conservative(&weather, &positions, &orders, model)?;
    }

    /// An accepted order leaves the account within margin, or no worse, whatever fills.
    #[test]
    fn an_accepted_order_fits(
        weather in weather(),
        positions in positions(6),
        orders in open_orders(3),
        order in (crowded(), side(), 1_u32..400, -20_i64..20),
        spare in prop_oneof![Just(0.0), 0.0..2.0_f64, -0.5..0.0_f64],
        model in model(),
    ) {
        let slow = venue(&weather);
        let mut book = fast(&slow);
        let held = with_orders(&book, &positions, &orders);
        let account = AccountCheck { account: ACCOUNT, cash: Cash::ZERO, model };
        let at_rest = book.initial_with_orders(&account, held.iter().copied()).unwrap();
        // Cash so that the account has room for a part of the order, or is under margin.
        let alone = slow.portfolio(&[(order.0, i64::from(order.2) * order.1.sign())], 0.0).im;
        let cash = Cash::new(-at_rest.get() + (alone.abs() * spare * 1e6) as i64);
        let account = AccountCheck { cash, ..account };
        let check = order_check(&book, order);
        let verdict = book.check_order(&account, held.iter().copied(), &check);
        let before = usdc(book.initial_with_orders(&account, held.iter().copied()).unwrap());
        if verdict.is_err() {
            return Ok(());
        }
        for way in 0..(1_u32 << orders.len()) * 5 {
            let resting = orders.iter().enumerate().map(|(at, open)| (*open, (((way / 5) >> at) & 1) * 4));
            let parts: Vec<_> = resting.chain([(order, way % 5)]).collect();
            let (after, cash_after) = filled(&book, &positions, usdc(cash), &parts);
            let im = twin_im(&slow, model, &after, cash_after);
            let stake = im.abs().max(cash_after.abs()).max(usdc(cash).abs()).max(alone.abs());
            prop_assert!(
                im >= before.min(0.0) - tolerance(stake, all_lots(&positions) + 2_000),
                "{im} is under {} after {parts:?}", before.min(0.0)
            );
        }
    }

    /// What is remembered between orders equals what is summed anew.
    #[test]
    fn remembered_sums_equal_fresh_ones(
        weather in weather(),
        start in positions(6),
        changes in prop::collection::vec((tradable(), 0_u32..3, -300_i64..300), 1..40),
    ) {
        let slow = venue(&weather);
        let mut book = fast(&slow);
        let mut held = holdings(&start);
        let account =
            AccountCheck { account: ACCOUNT, cash: Cash::ZERO, model: MarginModel::Portfolio };
        book.initial_with_orders(&account, held.iter().copied()).unwrap();
        for (instrument, what, lots) in changes {
            let at = held.iter().position(|holding| holding.instrument == instrument);
            let at = at.unwrap_or_else(|| {
                held.push(Holding::position(instrument, 0));
                held.len() - 1
            });
            let holding = &mut held[at];
            if what == 0 {
                let before = holding.position;
                holding.position += lots;
                let change = PositionChange { instrument, before, after: holding.position };
                book.on_position_change(ACCOUNT, &change);
            } else {
                let side = if what == 1 { Side::Buy } else { Side::Sell };
                let open = if what == 1 { &mut holding.open_buy } else { &mut holding.open_sell };
                let lots = lots.max(-(*open as i64));
                *open = open.checked_add_signed(lots).unwrap();
                let drag = Cash::new(-lots * 7);
                holding.open_drag = holding.open_drag.checked_add(drag).unwrap();
                book.on_open_change(ACCOUNT, &OpenChange { instrument, side, lots, drag });
            }
            // Never read: the sums are remembered.
            let remembered = book.initial_with_orders(&account, std::iter::empty()).unwrap();
            let mut fresh = fast(&slow);
            let anew = fresh.initial_with_orders(&account, held.iter().copied()).unwrap();
            prop_assert_eq!(remembered, anew);
        }
    }
}
