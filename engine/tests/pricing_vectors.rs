//! `vectors/pricing.json`: what whoever recomputes a mark or a scenario value must get, to the bit.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod vectors {
    use lifeboat_engine::pricing::{
        Black76, EarlierExpiry, ExpiryView, Mark, Quote, Surface, SurfaceParameters, black76,
        float, implied_volatility, normal, rounding,
    };
    use lifeboat_engine::types::{OptionKind, Price};
    use serde_json::{Value, json};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/pricing.json");
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";
    const ARGUMENTS: [f64; 14] = [
        -800.0, -37.0, -8.125, -2.5, -1.0, -0.1, 0.0, 1e-9, 0.25, 1.0, 2.75, 10.0, 700.0, 1e300,
    ];
    const USDC: i64 = 1_000_000;

    /// The bits of a float, as hexadecimal digits.
    fn bits(value: f64) -> String {
        format!("0x{:016x}", value.to_bits())
    }

    fn functions() -> Vec<Value> {
        let row = |x: f64| {
            json!({
                "x": bits(x),
                "exp": bits(float::exp(x)),
                "ln": bits(float::ln(x)),
                "sqrt": bits(float::sqrt(x)),
                "normal_cdf": bits(normal::cdf(x)),
                "normal_pdf": bits(normal::pdf(x)),
            })
        };
        ARGUMENTS.into_iter().map(row).collect()
    }

    fn option(strike: f64, years: f64, volatility: f64) -> Value {
        let input = Black76 {
            forward: 89_153.15,
            strike,
            years,
            volatility,
            discount: 0.99,
        };
        let v = black76(&input);
        let implied = implied_volatility(OptionKind::Call, v.call, &input);
        json!({
            "forward": input.forward, "strike": strike, "years": years,
            "volatility": volatility, "discount": input.discount,
            "call": bits(v.call), "put": bits(v.put),
            "call_delta": bits(v.call_delta), "put_delta": bits(v.put_delta),
            "gamma": bits(v.gamma), "vega": bits(v.vega),
            "call_theta": bits(v.call_theta), "put_theta": bits(v.put_theta),
            "call_price_e6": rounding::to_nearest_price(v.call).unwrap().get(),
            "implied_volatility": implied.map(bits),
        })
    }

    fn options() -> Vec<Value> {
        let strikes = [20_000.0, 80_000.0, 89_153.15, 100_000.0, 300_000.0];
        let terms = [
            (0.0, 0.5),
            (0.001, 0.4),
            (0.025, 0.3972),
            (0.66, 0.4462),
            (0.5, 0.0),
        ];
        let all = strikes
            .into_iter()
            .flat_map(|k| terms.map(|(years, vol)| (k, years, vol)));
        all.map(|(strike, years, volatility)| option(strike, years, volatility))
            .collect()
    }

    fn view(days: u64) -> ExpiryView {
        ExpiryView {
            forward: Price::new(90_000 * USDC),
            time_left_ms: days * 86_400_000,
            discount_ppb: 1_000_000_000,
        }
    }

    /// Quotes half a volatility point either side of a parabola.
    fn quotes(view: &ExpiryView, level: u32) -> Vec<Quote> {
        let quote = |step: i64| {
            let strike = Price::new((90_000 + 2_000 * step) * USDC);
            let kind = if step < 0 {
                OptionKind::Put
            } else {
                OptionKind::Call
            };
            let middle = level + u32::try_from(400 * step * step).unwrap();
            let side = |ppm: u32| Mark::new(kind, strike, view, ppm).map(|mark| mark.price);
            Quote {
                strike,
                kind,
                bid: side(middle - 5_000),
                ask: side(middle + 5_000),
            }
        };
        (-8..=8).map(quote).collect()
    }

    fn raw(price: Option<Price>) -> Option<i64> {
        price.map(Price::get)
    }

    fn surface(
        days: u64,
        level: u32,
        last: Option<&Surface>,
        earlier: Option<EarlierExpiry<'_>>,
    ) -> (Surface, Value) {
        let view = view(days);
        let quotes = quotes(&view, level);
        let parameters = SurfaceParameters::DEFAULT;
        let surface = Surface::updated(&quotes, &view, last, earlier, &parameters).unwrap();
        let quotes = quotes.iter().map(|quote| {
            let mark = |kind| {
                let ppm = surface.volatility_ppm(quote.strike, view.forward);
                let mark = Mark::new(kind, quote.strike, &view, ppm).unwrap();
                json!({
                    "price_e6": mark.price.get(), "volatility_ppm": mark.volatility_ppm,
                    "delta_ppb": mark.delta_ppb, "gamma_e12": mark.gamma_e12,
                    "vega_e6": mark.vega_e6, "theta_e6": mark.theta_e6,
                })
            };
            json!({
                "strike_e6": quote.strike.get(), "is_call": quote.kind == OptionKind::Call,
                "bid_e6": raw(quote.bid), "ask_e6": raw(quote.ask),
                "call": mark(OptionKind::Call), "put": mark(OptionKind::Put),
            })
        });
        let hex: String = borsh::to_vec(&surface)
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let value = json!({
            "days": days, "forward_e6": view.forward.get(),
            "surface_borsh": format!("0x{hex}"), "quotes": quotes.collect::<Vec<_>>(),
        });
        (surface, value)
    }

    fn surfaces() -> Vec<Value> {
        let (first, first_value) = surface(7, 450_000, None, None);
        let (_, moved) = surface(7, 600_000, Some(&first), None);
        let earlier = EarlierExpiry {
            surface: &first,
            time_left_ms: view(7).time_left_ms,
        };
        let (_, later) = surface(8, 380_000, None, Some(earlier));
        vec![first_value, moved, later]
    }

    #[test]
    fn are_current() {
        let vectors = json!({
            "about": "Prices of the engine's own floating point. Floats are IEEE 754 bits; \
                      regenerate with `cargo xtask vectors`.",
            "functions": functions(),
            "options": options(),
            "surfaces": surfaces(),
        });
        let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let kept = std::fs::read_to_string(FILE).unwrap();
        assert!(
            kept == text,
            "vectors/pricing.json is not what the code gives"
        );
    }
}
