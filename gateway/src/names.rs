//! Instrument names and channel currencies as Deribit's linear options have them:
//! `BTC_USDC-27DEC26-100000-C`, a strike's decimal point written as `d`.

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{DAY_MS, OptionKind, Price, TimeMs};

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

/// The name of an option on `coin` (`BTC`, `ETH`).
pub fn option_name(coin: &str, terms: &OptionTerms) -> String {
    let kind = match terms.kind {
        OptionKind::Call => 'C',
        OptionKind::Put => 'P',
    };
    format!(
        "{coin}_USDC-{}-{}-{kind}",
        expiry_name(terms.expiry),
        strike_name(terms.strike)
    )
}

/// An expiry's day: `27DEC26`, `5JAN27`.
pub fn expiry_name(expiry: TimeMs) -> String {
    let (year, month, day) = civil_date(expiry.get() / DAY_MS);
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or("???");
    format!("{day}{month}{:02}", year % 100)
}

/// A strike without trailing zeros, its decimal point as `d`.
fn strike_name(strike: Price) -> String {
    let text = strike.to_string();
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    trimmed.replace('.', "d")
}

/// The index of a coin's price in USDC: `btc_usdc`.
pub fn index_name(coin: &str) -> String {
    format!("{}_usdc", coin.to_ascii_lowercase())
}

/// Year, month (1–12) and day (1–31) of a day since 1970-01-01 (Hinnant's `civil_from_days`).
pub fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::UnderlyingId;

    fn name(expiry_ms: u64, strike: i64, kind: OptionKind) -> String {
        let terms = OptionTerms {
            underlying: UnderlyingId::new(0),
            expiry: TimeMs::new(expiry_ms),
            strike: Price::new(strike),
            kind,
        };
        option_name("BTC", &terms)
    }

    #[test]
    fn names_are_deribits() {
        let dec = 1_798_358_400_000; // 2026-12-27 08:00 UTC
        assert_eq!(
            name(dec, 100_000_000_000, OptionKind::Call),
            "BTC_USDC-27DEC26-100000-C"
        );
        let jan = 1_799_136_000_000; // 2027-01-05 08:00 UTC
        assert_eq!(name(jan, 500_000, OptionKind::Put), "BTC_USDC-5JAN27-0d5-P");
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(index_name("ETH"), "eth_usdc");
    }
}
