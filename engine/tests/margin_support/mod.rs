//! Reads third-party margin vectors into a risk book.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::PathBuf;

use lifeboat_engine::risk::{
    BasisParameters, CollateralTerms, ContingencyParameters, ExpiryState, Holding, InstrumentKind,
    InstrumentTerms, LossParameters, Pm2Parameters, Ratio, RiskBook, Scenario, Settled,
    SkewParameters, StandardParameters, UnderlyingState, VolMark, VolShock, VolShockParameters,
};
use lifeboat_engine::types::{Cash, InstrumentId, OptionKind, Price, Qty, TimeMs, UnderlyingId};
use serde_json::Value;

/// Lots that every position is cut into.
const LOTS: i64 = 7;
/// A moment to count expiries from.
const NOW: TimeMs = TimeMs::new(1_740_000_000_000);

/// A case, ready to evaluate.
pub struct Case {
    pub book: RiskBook,
    pub holdings: Vec<Holding>,
    pub cash: Cash,
}

/// Relative to the wanted value, with the smallest cash unit as a floor.
pub fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= (want.abs() * tolerance).max(2e-6)
}

/// A shared data file, or `None` with a message when there is none.
pub fn shared_json(path: &str) -> Option<Value> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("LIFEBOAT_SHARED").map(PathBuf::from);
    let beside = ["../../shared", "../../../shared"].map(|relative| manifest.join(relative));
    let file = shared
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("data").join(path))
        .find(|file| file.exists());
    let Some(file) = file else {
        println!("skipped: no third-party data; set LIFEBOAT_SHARED to test against {path}");
        return None;
    };
    let text = std::fs::read_to_string(&file).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

pub fn ratio(value: &Value) -> Ratio {
    Ratio::new((number(value) * 1e9).round() as i64)
}

fn price(value: f64) -> Price {
    Price::new((value * 1e6).round() as i64)
}

fn cash(value: f64) -> Cash {
    Cash::new((value * 1e6).round() as i64)
}

/// An amount as `lots` lots: the lot is the amount's magnitude cut into [`LOTS`] parts.
fn lots(amount: f64) -> (Qty, i64) {
    let lot = (amount.abs() * 1e8 / LOTS as f64).round() as i64;
    (Qty::new(lot), LOTS * amount.signum() as i64)
}

struct Builder {
    book: RiskBook,
    holdings: Vec<Holding>,
    marks: Vec<VolMark>,
}

impl Builder {
    fn add(&mut self, kind: InstrumentKind, amount: f64) -> InstrumentId {
        self.add_on(0, kind, amount)
    }

    fn add_on(&mut self, underlying: u8, kind: InstrumentKind, amount: f64) -> InstrumentId {
        let instrument = InstrumentId::new(self.holdings.len() as u32);
        let (lot, lots) = lots(amount);
        let underlying = UnderlyingId::new(underlying);
        let terms = InstrumentTerms {
            underlying,
            lot,
            kind,
        };
        self.book.set_instrument(instrument, terms).unwrap();
        self.holdings.push(Holding::position(instrument, lots));
        instrument
    }
}

fn expiry_of(seconds: &Value) -> TimeMs {
    NOW.plus_ms((number(seconds) * 1e3).round() as u64)
}

/// Builds one case of `pm2.json`.
pub fn pm2_case(case: &Value) -> Case {
    let scenario = &case["scenario"];
    let book = RiskBook::new(
        pm2_parameters(&case["parameters"]),
        StandardParameters::default(),
        1,
    );
    let mut builder = Builder {
        book: book.unwrap(),
        holdings: Vec::new(),
        marks: Vec::new(),
    };
    let feeds = scenario["OptionFeeds"].as_array().unwrap();
    for option in scenario["Options"].as_array().unwrap() {
        let feed = feeds
            .iter()
            .find(|f| f["FeedExpiry"] == option["Expiry"])
            .unwrap();
        let kind = InstrumentKind::Option {
            expiry: expiry_of(&option["Expiry"]),
            strike: price(number(&option["Strike"])),
            kind: if number(&option["IsCall"]) == 1.0 {
                OptionKind::Call
            } else {
                OptionKind::Put
            },
        };
        let instrument = builder.add(kind, number(&option["Amount"]));
        let confidence = ratio(&feed["OptionVolConfidences"]);
        let vol = ratio(&option["MarkVol"]);
        builder.marks.push(VolMark {
            instrument,
            vol,
            confidence,
        });
    }
    let perps = number(&scenario["NumPerps"]);
    if perps != 0.0 {
        builder.add(InstrumentKind::Perp, perps);
    }
    for collateral in scenario["Collaterals"].as_array().unwrap() {
        add_collateral(&mut builder, collateral);
    }
    let market = pm2_market(scenario, feeds);
    builder.book.tick(&market, &builder.marks).unwrap();
    let names = ["Cash", "UnrealisedPerpPNL", "UnrealisedFunding"];
    Case {
        book: builder.book,
        holdings: builder.holdings,
        cash: cash(names.iter().map(|name| number(&scenario[*name])).sum()),
    }
}

fn add_collateral(builder: &mut Builder, collateral: &Value) {
    // A stablecoin is counted in thousands, so that its price keeps nine digits.
    let dollars = number(&collateral["Price"]);
    let unit = if dollars < 100.0 { 1e3 } else { 1.0 };
    let terms = CollateralTerms {
        price: price(dollars * unit),
        confidence: ratio(&collateral["Confidence"]),
        risk_cancelling: collateral["IsRiskCancelling"].as_bool().unwrap(),
        im_haircut: ratio(&collateral["IMHaircut"]),
        mm_haircut: ratio(&collateral["MMHaircut"]),
    };
    builder.add(
        InstrumentKind::Collateral(terms),
        number(&collateral["Amount"]) / unit,
    );
}

fn pm2_market(scenario: &Value, feeds: &[Value]) -> UnderlyingState {
    let expiries = feeds.iter().map(|feed| ExpiryState {
        expiry: expiry_of(&feed["FeedExpiry"]),
        forward: price(number(&feed["Forward"])),
        settled: None,
        rate: ratio(&feed["Rate"]),
        confidence: ratio(&feed["ForwardConfidence"]).min(ratio(&feed["RateConfidence"])),
    });
    UnderlyingState {
        underlying: UnderlyingId::new(0),
        now: NOW,
        spot: price(number(&scenario["SpotPrice"])),
        spot_confidence: ratio(&scenario["SpotConfidence"]),
        perp: price(number(&scenario["PerpPrice"])),
        perp_confidence: ratio(&scenario["PerpConfidence"]),
        stable: ratio(&scenario["StablePrice"]),
        expiries: expiries.collect(),
    }
}

fn pm2_parameters(parameters: &Value) -> Pm2Parameters {
    let p = |section: &str, name: &str| ratio(&parameters[section][name]);
    let scenarios = parameters["Scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| Scenario {
            spot: ratio(&s["SpotShock"]),
            vol: match s["VolShockDirection"].as_str().unwrap() {
                "Up" => VolShock::Up,
                "Down" => VolShock::Down,
                "None" => VolShock::None,
                "LINEAR" => VolShock::SkewLinear,
                "ABS" => VolShock::SkewAbsolute,
                other => panic!("unknown shock {other}"),
            },
            damping: ratio(&s["DampeningFactor"]),
        });
    Pm2Parameters {
        scenarios: scenarios.collect(),
        vol: VolShockParameters {
            range_up: p("VolShock", "VOLRANGEUP"),
            range_down: p("VolShock", "VOLRANGEDOWN"),
            min_shocked: p("VolShock", "MIN_VOL_EVAL_SHOCKED"),
            short_term_power: p("VolShock", "SHORTTERMPOWER"),
            long_term_power: p("VolShock", "LONGTERMPOWER"),
            dte_floor_days: p("VolShock", "DTE_FLOOR"),
        },
        skew: SkewParameters {
            linear_scale_cap: p("SkewShock", "LINEAR_SCALE_CAP"),
            linear_base: p("SkewShock", "LINEAR_CBASE"),
            abs_scale_cap: p("SkewShock", "ABS_SCALE_CAP"),
            abs_base: p("SkewShock", "ABS_CBASE"),
            min_k_star: p("SkewShock", "MIN_K_STAR"),
            min_width_scale: p("SkewShock", "MIN_WIDTH_SCALE"),
            vol_static: p("SkewShock", "VOL_PARAM_STATIC"),
            vol_scale: p("SkewShock", "VOL_PARAM_SCALE"),
        },
        loss: LossParameters {
            mm_loss_factor: p("Margin", "MM_LOSS_FACTOR"),
            im_loss_factor: p("Margin", "IM_LOSS_FACTOR"),
            static_discount_pos: p("Margin", "BASE_STATIC_DISCOUNT"),
            static_discount_neg: p("Margin", "BASE_STATIC_DISCOUNT_NEG"),
            long_rate_mult: p("Margin", "LONG_RATE_MULTSCALE"),
            long_rate_add: p("Margin", "LONG_RATE_ADDSCALE"),
            short_rate_mult: p("Margin", "SHORT_RATE_MULTSCALE"),
            short_rate_add: p("Margin", "SHORT_RATE_ADDSCALE"),
        },
        basis: BasisParameters {
            spot_up: p("BasisContingency", "SCENARIO_SPOT_UP"),
            spot_down: p("BasisContingency", "SCENARIO_SPOT_DOWN"),
            add_factor: p("BasisContingency", "BASIS_CONT_ADD_FACTOR"),
            mult_factor: p("BasisContingency", "BASIS_CONT_MULT_FACTOR"),
        },
        contingency: ContingencyParameters {
            peg_loss_threshold: p("OtherContingency", "PEG_LOSS_THRESHOLD"),
            peg_loss_factor: p("OtherContingency", "PEG_LOSS_FACTOR"),
            confidence_threshold: p("OtherContingency", "CONF_THRESHOLD"),
            confidence_margin: p("OtherContingency", "CONF_MARGIN"),
            mm_perp: p("OtherContingency", "MM_PERP_PERCENT"),
            im_perp: p("OtherContingency", "IM_PERP_PERCENT"),
            mm_option: p("OtherContingency", "MM_OPTION_PERCENT"),
            im_option: p("OtherContingency", "IM_OPTION_PERCENT"),
        },
    }
}

/// A fixed-point number with 18 decimals.
fn wei(value: &Value) -> f64 {
    if value.is_null() {
        0.0
    } else {
        number(value) * 1e-18
    }
}

fn wei_ratio(value: &Value) -> Ratio {
    Ratio::new((wei(value) * 1e9).round() as i64)
}

/// The underlyings of the standard-margin cases, in the order of their price lists.
const NAMES: [&str; 2] = ["ETH", "BTC"];

/// Builds one case of `standard.json`.
pub fn standard_case(case: &Value) -> Case {
    let scenario = &case["Scenario"];
    let book = RiskBook::new(Pm2Parameters::default(), StandardParameters::default(), 1);
    let mut builder = Builder {
        book: book.unwrap(),
        holdings: Vec::new(),
        marks: Vec::new(),
    };
    let list = |name: &str| scenario[name].as_array().unwrap();
    for (at, name) in list("OptionUnderlying").iter().enumerate() {
        let underlying = NAMES
            .iter()
            .position(|known| name.as_str() == Some(*known))
            .unwrap();
        let kind = InstrumentKind::Option {
            expiry: expiry_of(&list("OptionExpiries")[at]),
            strike: price(wei(&list("OptionStrikes")[at])),
            kind: match number(&list("OptionIsCall")[at]) as u8 {
                1 => OptionKind::Call,
                _ => OptionKind::Put,
            },
        };
        let amount = wei(&list("OptionAmounts")[at]);
        let instrument = builder.add_on(underlying as u8, kind, amount);
        let vol = wei_ratio(&list("OptionVols")[at]);
        let confidence = wei_ratio(&list("OptionVolConfidences")[at]);
        builder.marks.push(VolMark {
            instrument,
            vol,
            confidence,
        });
    }
    for (at, name) in NAMES.iter().enumerate() {
        let perps = wei(&scenario[format!("Perps_{name}").as_str()]);
        if perps != 0.0 {
            builder.add_on(at as u8, InstrumentKind::Perp, perps);
        }
        let base = wei(&scenario[format!("w{name}").as_str()]);
        if base != 0.0 {
            let terms = CollateralTerms {
                price: price(wei(&scenario[format!("{name}SpotPrice").as_str()])),
                confidence: Ratio::ONE,
                risk_cancelling: false,
                im_haircut: Ratio::ZERO,
                mm_haircut: Ratio::ZERO,
            };
            builder.add_on(at as u8, InstrumentKind::Collateral(terms), base);
        }
    }
    for at in 0..NAMES.len() {
        let market = standard_market(scenario, at);
        builder.book.tick(&market, &builder.marks).unwrap();
    }
    let result = &case["Result"];
    let credits = ["UnrealizedPNL", "UnsettledFunding"].map(|name| wei(&result[name]));
    let held = wei(&scenario["Cash"]);
    Case {
        book: builder.book,
        holdings: builder.holdings,
        cash: cash(held + credits.iter().sum::<f64>()),
    }
}

fn standard_market(scenario: &Value, at: usize) -> UnderlyingState {
    let name = NAMES[at];
    let of = |field: String| wei(&scenario[field.as_str()]);
    let list = |name: &str| scenario[name].as_array().unwrap();
    let share = scenario[format!("PercentFixed{name}").as_str()]
        .as_f64()
        .unwrap_or(0.0);
    let mean = price(of(format!("TWAP_{name}")));
    let feeds = list("FeedExpiries").iter().enumerate();
    let own = feeds.filter(|(feed, _)| list("OptionUnderlying")[*feed].as_str() == Some(name));
    let expiries = own.map(|(feed, seconds)| {
        let share = Ratio::new((share * 1e9) as i64);
        let in_window = number(seconds) < 1800.0;
        ExpiryState {
            expiry: expiry_of(seconds),
            forward: price(wei(&list("Forwards")[feed])),
            settled: in_window.then_some(Settled { mean, share }),
            // These cases mark options without discounting.
            rate: Ratio::ZERO,
            confidence: wei_ratio(&list("ForwardConfidences")[feed])
                .min(wei_ratio(&list("DiscountConfidences")[feed])),
        }
    });
    UnderlyingState {
        underlying: UnderlyingId::new(at as u8),
        now: NOW,
        spot: price(of(format!("{name}SpotPrice"))),
        spot_confidence: wei_ratio(&scenario["SpotPerpConfidences"][at][0]),
        perp: price(wei(&scenario["PerpPrice"][at])),
        perp_confidence: wei_ratio(&scenario["SpotPerpConfidences"][at][1]),
        stable: wei_ratio(&scenario["USDCValue"]),
        expiries: expiries.collect(),
    }
}
