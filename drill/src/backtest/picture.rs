//! The back-test as a picture: volatility and price through the years, disorderly days, and what each kind
//! of breaker stopped.

use std::fmt::Write as _;

use lifeboat_engine::types::DAY_MS;

use super::data::{date, day_of};
use super::{Backtest, Halt, SPLIT_DAY, Underlying};
use crate::evidence::svg::{line, round_up, text};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 44.0;
const CHART: f64 = 130.0;
const STRIP: f64 = 16.0;
const PANEL: f64 = CHART + 2.0 * STRIP + 58.0;
const FOOT: f64 = 24.0;

const STYLE: &str = "<style>svg{--ink:#1c2530;--dim:#5b6875;--line:#d5dbe1;--good:#137a4b;--bad:#b3261e;\
--load:#2563a8;--late:#c2620a;--closed:#f3d9b1;background:#fff}text{fill:#5b6875;font:11px system-ui,\
sans-serif}.head{fill:#1c2530;font-weight:600}</style>";

/// Where days lie from left to right.
struct Days {
    from: i64,
    to: i64,
}

impl Days {
    fn x(&self, day: f64) -> f64 {
        let share = (day - self.from as f64) / (self.to - self.from).max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    }

    fn of_halt(&self, halt: &Halt) -> f64 {
        self.x(halt.at_ms as f64 / DAY_MS as f64)
    }
}

/// The picture, a file of its own.
pub fn picture(backtest: &Backtest) -> String {
    let height = TOP + PANEL * backtest.underlyings.len() as f64 + FOOT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"volatility index, price, disorderly days and halts\">{STYLE}"
    );
    let what = "line: volatility index; thin: price; shaded: disorderly days; below: halts, green in \
                disorderly days and red in others";
    text(&mut out, LEFT, 16.0, "start", what);
    for (at, underlying) in backtest.underlyings.iter().enumerate() {
        panel(&mut out, backtest, underlying, TOP + PANEL * at as f64);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, backtest: &Backtest, underlying: &Underlying, top: f64) {
    let points = &underlying.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return;
    };
    let days = Days {
        from: day_of(first.at_ms),
        to: day_of(last.at_ms) + 1,
    };
    text(out, LEFT, top - 8.0, "start", underlying.symbol);
    for day in underlying.labels.disorderly() {
        if day >= days.from {
            let (x, width) = (
                days.x(day as f64),
                days.x(day as f64 + 1.0) - days.x(day as f64),
            );
            let _ = write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{CHART}\" \
                 fill=\"var(--closed)\"><title>{}</title></rect>",
                width.max(1.2),
                date(day)
            );
        }
    }
    chart(out, underlying, &days, top);
    for (row, (name, halts)) in [
        ("Lifeboat", &backtest.halts),
        ("LULD, CME", &backtest.price_halts),
    ]
    .into_iter()
    .enumerate()
    {
        let y = top + CHART + 6.0 + row as f64 * (STRIP + 4.0);
        text(out, LEFT - 6.0, y + 12.0, "end", name);
        line(
            out,
            (LEFT, y + STRIP),
            (WIDTH - RIGHT, y + STRIP),
            "line",
            "",
        );
        for halt in halts.iter().filter(|halt| halt.symbol == underlying.symbol) {
            let good = underlying.labels.is_disorderly(halt.at_ms);
            let (x, color) = (days.of_halt(halt), if good { "good" } else { "bad" });
            line(out, (x, y), (x, y + STRIP), color, "stroke-width=\"1.4\"");
        }
    }
    years(out, &days, top);
}

/// A day's volatility at its highest and its last price.
fn chart(out: &mut String, underlying: &Underlying, days: &Days, top: f64) {
    let daily: Vec<(i64, f64, f64)> = underlying
        .points
        .chunk_by(|a, b| day_of(a.at_ms) == day_of(b.at_ms))
        .map(|day| {
            let highest = day.iter().map(|p| p.volatility).fold(0.0, f64::max);
            let last = day[day.len() - 1];
            (day_of(last.at_ms), highest, last.price)
        })
        .collect();
    let ceiling = round_up(daily.iter().map(|d| d.1 * 100.0).fold(1.0, f64::max));
    let lowest = daily.iter().map(|d| d.2).fold(f64::MAX, f64::min).ln();
    let highest = daily.iter().map(|d| d.2).fold(f64::MIN, f64::max).ln();
    for part in [0.0, 0.5, 1.0] {
        let y = top + CHART * (1.0 - part);
        line(out, (LEFT, y), (WIDTH - RIGHT, y), "line", "");
        text(
            out,
            LEFT - 6.0,
            y + 4.0,
            "end",
            &format!("{:.0}", ceiling * part),
        );
    }
    let (mut volatility, mut price) = (String::new(), String::new());
    for (day, index, last) in daily {
        let x = days.x(day as f64 + 0.5);
        let y = top + CHART * (1.0 - index * 100.0 / ceiling);
        let _ = write!(volatility, "{x:.1},{y:.1} ");
        let share = (last.ln() - lowest) / (highest - lowest).max(1e-9);
        let _ = write!(price, "{x:.1},{:.1} ", top + CHART * (1.0 - 0.9 * share));
    }
    let _ = write!(
        out,
        "<polyline points=\"{price}\" fill=\"none\" stroke=\"var(--dim)\" stroke-width=\".6\"/>\
         <polyline points=\"{volatility}\" fill=\"none\" stroke=\"var(--load)\" stroke-width=\"1.2\"/>"
    );
}

fn years(out: &mut String, days: &Days, top: f64) {
    let bottom = top + CHART + 2.0 * STRIP + 26.0;
    for day in days.from..days.to {
        let text_of = date(day);
        if text_of.ends_with("-01-01") || text_of.ends_with("-07-01") {
            let x = days.x(day as f64);
            line(out, (x, top), (x, top + CHART), "line", "");
            text(out, x, bottom, "middle", &text_of[..7]);
        }
    }
    let x = days.x(SPLIT_DAY as f64);
    line(
        out,
        (x, top),
        (x, bottom - 12.0),
        "late",
        "stroke-dasharray=\"4 3\"",
    );
}
