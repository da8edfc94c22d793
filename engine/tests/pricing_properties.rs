//! What must hold for every option, on random inputs.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use lifeboat_engine::pricing::{Black76, black76, implied_volatility};
use lifeboat_engine::types::OptionKind;
use proptest::prelude::*;

prop_compose! {
    fn option()(
        forward in 1.0..200_000.0_f64,
        ratio in 0.2..5.0_f64,
        years in 0.0005..2.0_f64,
        volatility in 0.05..3.0_f64,
        discount in 0.8..1.0_f64,
    ) -> Black76 {
        Black76 { forward, strike: forward * ratio, years, volatility, discount }
    }
}

proptest! {
    // A failing seed is printed; nothing is kept beside the test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn put_call_parity(input in option()) {
        let v = black76(&input);
        let parity = input.discount * (input.forward - input.strike);
        prop_assert!((v.call - v.put - parity).abs() < 1e-13 * (input.forward + input.strike));
        prop_assert!((v.call_delta - v.put_delta - input.discount).abs() < 1e-14);
    }

    #[test]
    fn values_stay_between_intrinsic_value_and_what_is_bought(input in option()) {
        let v = black76(&input);
        let slack = 1e-13 * (input.forward + input.strike);
        let forward = input.discount * input.forward;
        let strike = input.discount * input.strike;
        prop_assert!(v.call >= (forward - strike).max(0.0) - slack && v.call <= forward + slack);
        prop_assert!(v.put >= (strike - forward).max(0.0) - slack && v.put <= strike + slack);
        prop_assert!(v.gamma >= 0.0 && v.vega >= 0.0);
    }

    #[test]
    fn calls_rise_with_forward_and_volatility(input in option(), step in 0.001..0.5_f64) {
        let slack = 1e-12 * (input.forward + input.strike);
        let base = black76(&input);
        let higher = black76(&Black76 { forward: input.forward * (1.0 + step), ..input });
        let wilder = black76(&Black76 { volatility: input.volatility * (1.0 + step), ..input });
        prop_assert!(higher.call >= base.call - slack && higher.put <= base.put + slack);
        prop_assert!(wilder.call >= base.call - slack && wilder.put >= base.put - slack);
    }

    #[test]
    fn greeks_are_the_slopes_of_values(input in option()) {
        let h = 1e-4;
        let at = |forward: f64, volatility: f64| {
            black76(&Black76 {
                forward: input.forward * forward,
                volatility: input.volatility * volatility,
                ..input
            })
        };
        let v = black76(&input);
        let (up, down) = (at(1.0 + h, 1.0), at(1.0 - h, 1.0));
        let delta = (up.call - down.call) / (2.0 * h * input.forward);
        let gamma = (up.call_delta - down.call_delta) / (2.0 * h * input.forward);
        let vega = (at(1.0, 1.0 + h).call - at(1.0, 1.0 - h).call) / (2.0 * h * input.volatility);
        // The smallest σ√T here is 0.001: there a step is no small one.
        let sharp = input.volatility * input.years.sqrt() > 0.02;
        if sharp {
            prop_assert!((delta - v.call_delta).abs() < 1e-4);
            prop_assert!((gamma - v.gamma).abs() * input.forward < 5e-3);
            prop_assert!((vega - v.vega).abs() < 1e-6 * input.forward);
        }
    }

    #[test]
    fn implied_volatility_makes_the_round_trip(input in option(), is_call: bool) {
        let kind = if is_call { OptionKind::Call } else { OptionKind::Put };
        let greeks = input.greeks(kind);
        let implied = implied_volatility(kind, greeks.price, &input);
        // A volatility is worth what its vega is worth beside the value's rounding.
        let scale = 1e-13 * (input.forward + input.strike) / greeks.vega;
        if scale < 1e-6 {
            let error = (implied.unwrap() - input.volatility).abs();
            prop_assert!(error < 1e-10 + 10.0 * scale, "off by {error:e}");
        }
    }

    #[test]
    fn implied_volatility_never_answers_outside_arbitrage_bounds(
        input in option(), share in -1.0..0.999_f64, is_call: bool,
    ) {
        let (kind, bound, intrinsic) = if is_call {
            (OptionKind::Call, input.forward, input.forward - input.strike)
        } else {
            (OptionKind::Put, input.strike, input.strike - input.forward)
        };
        let intrinsic = intrinsic.max(0.0) * input.discount;
        let under = intrinsic - share.abs() * intrinsic - 1e-9;
        let over = bound * input.discount * (1.0 + share.abs());
        prop_assert_eq!(implied_volatility(kind, under, &input), None);
        prop_assert_eq!(implied_volatility(kind, over, &input), None);
        prop_assert_eq!(implied_volatility(kind, f64::NAN, &input), None);
    }

    #[test]
    fn without_time_or_volatility_it_is_intrinsic_value(input in option()) {
        for input in [Black76 { years: 0.0, ..input }, Black76 { volatility: 0.0, ..input }] {
            let v = black76(&input);
            let intrinsic = input.discount * (input.forward - input.strike);
            prop_assert!((v.call - intrinsic.max(0.0)).abs() < 1e-9);
            prop_assert!((v.put - (-intrinsic).max(0.0)).abs() < 1e-9);
            prop_assert!(v.gamma == 0.0 && v.vega.abs() < 1e-200);
        }
    }
}
