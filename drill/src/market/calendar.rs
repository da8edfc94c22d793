//! Timestamps of recordings: `2026-01-30T08:00:00.123456+00:00` to milliseconds.

use lifeboat_engine::types::TimeMs;

/// Parses an ISO 8601 instant in UTC; `None` when it is anything else.
pub fn parse_utc(text: &str) -> Option<TimeMs> {
    let (date, time) = text.split_once('T')?;
    let time = time
        .strip_suffix("+00:00")
        .or_else(|| time.strip_suffix('Z'))?;
    let [year, month, day] = three(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = three(clock, ':')?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    u64::try_from(seconds * 1_000 + millis)
        .ok()
        .map(TimeMs::new)
}

fn three(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text
        .split(separator)
        .map(|part| part.parse::<u32>().ok().map(i64::from));
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted from 1 March so that the leap
/// day comes last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse_utc;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(parse_utc(text).map(|time| time.get()), millis, "{text}");
    }

    #[test]
    fn instants_are_read_and_nonsense_is_not() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-01-30T08:00:00+00:00", Some(1_769_760_000_000));
        check("2026-01-28T04:00:47.979950+00:00", Some(1_769_572_847_979));
        check("2024-02-29T00:00:00.5+00:00", Some(1_709_164_800_500));
        check("2026-01-30 08:00:00", None);
        check("2026-13-30T08:00:00Z", None);
        check("2026-01-30T08:00:00+02:00", None);
        check("", None);
    }
}
