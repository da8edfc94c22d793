//! `vectors/margin.json`: what whoever recomputes a margin must get, to the unit, under the venue's
//! default parameters.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod vectors {
    use lifeboat_engine::risk::{
        AccountCheck, ExpiryState, Holding, InstrumentKind, InstrumentTerms, Margin, Pm2Parameters,
        Ratio, RiskBook, StandardParameters, UnderlyingState, VolMark,
    };
    use lifeboat_engine::types::{
        AccountId, Cash, InstrumentId, MarginModel, OptionKind, Price, Qty, TimeMs, UnderlyingId,
    };
    use serde_json::{Value, json};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/margin.json");
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";
    const NOW: TimeMs = TimeMs::new(1_790_000_000_000);
    const CASES: u64 = 24;
    const USDC: i64 = 1_000_000;

    /// One option of a case.
    struct Leg {
        hours: u64,
        strike: i64,
        kind: OptionKind,
        vol_ppm: i64,
        position: i64,
        open_buy: u64,
        open_sell: u64,
    }

    struct Case {
        spot: i64,
        lot: i64,
        rate_ppm: i64,
        stable_ppm: i64,
        confidence_ppm: i64,
        cash: i64,
        legs: Vec<Leg>,
    }

    /// splitmix64: the same cases every time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound
        }

        fn between(&mut self, low: i64, high: i64) -> i64 {
            low + self.below((high - low) as u64) as i64
        }
    }

    fn case(number: u64) -> Case {
        let mut dice = Dice(number);
        let bitcoin = number.is_multiple_of(2);
        let spot = if bitcoin {
            dice.between(20_000, 180_000)
        } else {
            dice.between(900, 7_000)
        };
        let legs = (0..=number % 7).map(|_| Leg {
            hours: [0, 5, 30, 400, 3_000][dice.below(5) as usize],
            strike: spot * dice.between(50, 180) / 100,
            kind: if dice.below(2) == 0 {
                OptionKind::Call
            } else {
                OptionKind::Put
            },
            vol_ppm: dice.between(150_000, 1_600_000),
            position: dice.between(-3_000, 3_000),
            open_buy: dice.below(3) * 150,
            open_sell: dice.below(3) * 150,
        });
        Case {
            spot,
            lot: if bitcoin { 1_000_000 } else { 10_000_000 },
            legs: legs.collect(),
            rate_ppm: dice.between(-10_000, 150_000),
            stable_ppm: if number.is_multiple_of(5) {
                930_000
            } else {
                1_000_000
            },
            confidence_ppm: if number.is_multiple_of(6) {
                400_000
            } else {
                1_000_000
            },
            cash: dice.between(-500_000, 500_000),
        }
    }

    fn ratio(ppm: i64) -> Ratio {
        Ratio::new(ppm * 1_000)
    }

    /// Twenty minutes after the hours, so that the shortest expiry is inside the settlement window.
    fn expiry(leg: &Leg) -> TimeMs {
        NOW.plus_ms(leg.hours * 3_600_000 + 1_200_000)
    }

    fn forward(case: &Case, leg: &Leg) -> Price {
        Price::new(case.spot * USDC + case.spot * leg.hours as i64 * 20)
    }

    fn book(case: &Case) -> RiskBook {
        let mut book =
            RiskBook::new(Pm2Parameters::default(), StandardParameters::default(), 1).unwrap();
        let mut expiries: Vec<ExpiryState> = Vec::new();
        let mut marks = Vec::new();
        for (at, leg) in case.legs.iter().enumerate() {
            let instrument = InstrumentId::new(at as u32);
            let strike = Price::new(leg.strike * USDC);
            let kind = InstrumentKind::Option {
                expiry: expiry(leg),
                strike,
                kind: leg.kind,
            };
            let lot = Qty::new(case.lot);
            let terms = InstrumentTerms {
                underlying: UnderlyingId::new(0),
                lot,
                kind,
            };
            book.set_instrument(instrument, terms).unwrap();
            let confidence = Ratio::ONE;
            marks.push(VolMark {
                instrument,
                vol: ratio(leg.vol_ppm),
                confidence,
            });
            expiries.retain(|known| known.expiry != expiry(leg));
            expiries.push(ExpiryState {
                expiry: expiry(leg),
                forward: forward(case, leg),
                settled: None,
                rate: ratio(case.rate_ppm),
                confidence: Ratio::ONE,
            });
        }
        let market = UnderlyingState {
            underlying: UnderlyingId::new(0),
            now: NOW,
            spot: Price::new(case.spot * USDC),
            spot_confidence: ratio(case.confidence_ppm),
            perp: Price::ZERO,
            perp_confidence: Ratio::ONE,
            stable: ratio(case.stable_ppm),
            expiries,
        };
        book.tick(&market, &marks).unwrap();
        book
    }

    fn result(margin: &Margin, with_orders: Cash) -> Value {
        json!({
            "initial": margin.im.to_string(),
            "maintenance": margin.mm.to_string(),
            "equity": margin.equity.to_string(),
            "worst": margin.worst.to_string(),
            "scenario": margin.scenario,
            "initial_with_orders": with_orders.to_string(),
        })
    }

    fn computed(case: &Case) -> Value {
        let book = book(case);
        let holdings = case.legs.iter().enumerate().map(|(at, leg)| Holding {
            instrument: InstrumentId::new(at as u32),
            position: leg.position,
            open_buy: leg.open_buy,
            open_sell: leg.open_sell,
            open_drag: Cash::ZERO,
        });
        let margin = |model| {
            let account = AccountCheck {
                account: AccountId::new(0),
                cash: Cash::new(case.cash * USDC),
                model,
            };
            let (margin, initial) = book.margin_with_orders(&account, holdings.clone()).unwrap();
            result(&margin, initial)
        };
        let legs = case.legs.iter().map(|leg| {
            json!({
                "seconds_left": leg.hours * 3_600 + 1_200,
                "forward": forward(case, leg).to_string(),
                "strike": leg.strike,
                "kind": if leg.kind == OptionKind::Call { "call" } else { "put" },
                "volatility_ppm": leg.vol_ppm,
                "position_lots": leg.position,
                "open_buy_lots": leg.open_buy,
                "open_sell_lots": leg.open_sell,
            })
        });
        json!({
            "spot": case.spot,
            "lot": Qty::new(case.lot).to_string(),
            "rate_ppm": case.rate_ppm,
            "stable_ppm": case.stable_ppm,
            "index_confidence_ppm": case.confidence_ppm,
            "cash": case.cash,
            "options": legs.collect::<Vec<_>>(),
            "portfolio": margin(MarginModel::Portfolio),
            "standard": margin(MarginModel::Standard),
        })
    }

    #[test]
    fn are_current() {
        let cases: Vec<Value> = (0..CASES).map(|number| computed(&case(number))).collect();
        let file = json!({
            "about": "Margin under the venue's default parameters, in USDC; a forward in the last \
                      30 min is fixed in part. Regenerate with `cargo xtask vectors`.",
            "cases": cases,
        });
        let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let kept = std::fs::read_to_string(FILE).unwrap();
        assert!(
            kept == text,
            "vectors/margin.json is not what the code gives"
        );
    }
}
