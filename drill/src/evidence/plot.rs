//! A run as a picture: throughput and latency over time, with faults and modes.

use std::fmt::Write as _;

use super::report::DrillReport;
use super::svg::{escape, line, round_up, text};
use super::timeline::{SAMPLE_MS, Sample};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
/// Faults are written in so many rows, so that neighbours do not overlap.
const ROWS: usize = 4;
const ROW_HEIGHT: f64 = 13.0;
const BAND_TOP: f64 = 12.0 + ROWS as f64 * ROW_HEIGHT;
const LOAD_TOP: f64 = BAND_TOP + 34.0;
const LOAD_HEIGHT: f64 = 150.0;
const LATENCY_TOP: f64 = LOAD_TOP + LOAD_HEIGHT + 34.0;
const LATENCY_HEIGHT: f64 = 120.0;
const BOTTOM: f64 = LATENCY_TOP + LATENCY_HEIGHT;
const HEIGHT: f64 = BOTTOM + 26.0;
/// The scale of latency: 1 ms to 100 s, by tens.
const DECADES: f64 = 5.0;

/// The scale of time.
struct Scale {
    ms: f64,
}

impl Scale {
    fn x(&self, at_ms: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (at_ms / self.ms).clamp(0.0, 1.0)
    }
}

/// The picture of a run.
pub fn plot(report: &DrillReport, run: u32) -> String {
    let samples = report
        .timeline
        .samples
        .iter()
        .filter(|sample| sample.run == run);
    let mut samples: Vec<&Sample> = samples.collect();
    let busy = samples
        .iter()
        .rposition(|one| one.acknowledged > 0 || one.sent > 0);
    samples.truncate(busy.map_or(0, |last| last + 1));
    let end = samples
        .last()
        .map_or(1_000, |sample| sample.at_ms + SAMPLE_MS);
    let scale = Scale { ms: end as f64 };
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"throughput, latency, faults and \
         modes over time\">"
    );
    bands(&mut out, report, run, &scale);
    load(&mut out, &samples, &scale);
    latency(&mut out, &samples, &scale);
    seconds(&mut out, &scale);
    faults(&mut out, report, run, &scale);
    out.push_str("</svg>");
    out
}

fn bands(out: &mut String, report: &DrillReport, run: u32, scale: &Scale) {
    text(out, LEFT - 6.0, BAND_TOP + 11.0, "end", "mode");
    for band in report.timeline.bands.iter().filter(|band| band.run == run) {
        let (from, to) = (scale.x(band.from_ms), scale.x(band.to_ms));
        let color = if band.mode == "OPEN" {
            "soft"
        } else {
            "closed"
        };
        let _ = write!(
            out,
            "<rect x=\"{from:.1}\" y=\"{BAND_TOP}\" width=\"{:.1}\" height=\"15\" fill=\"var(--{color})\">\
             <title>{}</title></rect>",
            (to - from).max(1.0),
            escape(&band.mode)
        );
        if to - from > 8.0 * band.mode.len() as f64 {
            text(out, from + 4.0, BAND_TOP + 11.0, "start", &band.mode);
        }
    }
}

fn load(out: &mut String, samples: &[&Sample], scale: &Scale) {
    let rate = |count: u32| f64::from(count) * 1e3 / SAMPLE_MS as f64;
    let highest = samples
        .iter()
        .map(|one| rate(one.acknowledged.max(one.sent)));
    let top = round_up(highest.fold(1.0, f64::max));
    let y = |rate: f64| LOAD_TOP + LOAD_HEIGHT * (1.0 - rate / top);
    text(
        out,
        LEFT,
        LOAD_TOP - 8.0,
        "start",
        "commands a second: acknowledged, and sent (line)",
    );
    for part in [0.0, 0.5, 1.0] {
        let at = y(top * part);
        line(out, (LEFT, at), (WIDTH - RIGHT, at), "line", "");
        text(
            out,
            LEFT - 6.0,
            at + 4.0,
            "end",
            &format!("{:.0}", top * part),
        );
    }
    let (mut sent, mut area) = (String::new(), format!("{LEFT:.1},{:.1} ", y(0.0)));
    for sample in samples {
        let (from, to) = (
            scale.x(sample.at_ms as f64),
            scale.x((sample.at_ms + SAMPLE_MS) as f64),
        );
        let at = y(rate(sample.acknowledged));
        let _ = write!(area, "{from:.1},{at:.1} {to:.1},{at:.1} ");
        let _ = write!(sent, "{from:.1},{:.1} ", y(rate(sample.sent)));
    }
    let end = samples
        .last()
        .map_or(LEFT, |one| scale.x((one.at_ms + SAMPLE_MS) as f64));
    let _ = write!(
        out,
        "<polygon points=\"{area}{end:.1},{:.1}\" fill=\"var(--load)\" opacity=\".55\"/>\
         <polyline points=\"{sent}\" fill=\"none\" stroke=\"var(--dim)\"/>",
        y(0.0)
    );
}

fn latency(out: &mut String, samples: &[&Sample], scale: &Scale) {
    let y = |ms: f64| LATENCY_TOP + LATENCY_HEIGHT * (1.0 - ms.max(1.0).log10() / DECADES);
    let what =
        "milliseconds from due to acknowledged, by when that was: median (line), 99th (points)";
    text(out, LEFT, LATENCY_TOP - 8.0, "start", what);
    for decade in 0..=DECADES as i32 {
        let ms = 10f64.powi(decade);
        line(out, (LEFT, y(ms)), (WIDTH - RIGHT, y(ms)), "line", "");
        text(out, LEFT - 6.0, y(ms) + 4.0, "end", &format!("{ms:.0}"));
    }
    let answered = samples.iter().filter(|sample| sample.acknowledged > 0);
    let mut median = String::new();
    for sample in answered {
        let x = scale.x(sample.at_ms as f64 + SAMPLE_MS as f64 / 2.0);
        let _ = write!(median, "{x:.1},{:.1} ", y(sample.p50_ms));
        let _ = write!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"1.6\" fill=\"var(--late)\"/>",
            y(sample.p99_ms)
        );
    }
    let _ = write!(
        out,
        "<polyline points=\"{median}\" fill=\"none\" stroke=\"var(--late)\"/>"
    );
}

fn seconds(out: &mut String, scale: &Scale) {
    let step = round_up(scale.ms / 1e3 / 12.0);
    let mut at = 0.0;
    while at * 1e3 <= scale.ms {
        text(
            out,
            scale.x(at * 1e3),
            BOTTOM + 16.0,
            "middle",
            &format!("{at:.0} s"),
        );
        at += step;
    }
}

fn faults(out: &mut String, report: &DrillReport, run: u32, scale: &Scale) {
    let faults = report.timeline.moments.iter();
    let faults = faults.filter(|moment| moment.is_fault && moment.run == run);
    for (place, moment) in faults.enumerate() {
        let x = scale.x(moment.at_ms);
        let row = 12.0 + (place % ROWS) as f64 * ROW_HEIGHT;
        line(
            out,
            (x, row),
            (x, BOTTOM),
            "bad",
            "stroke-dasharray=\"3 3\"",
        );
        let who: Vec<String> = moment.who.iter().map(usize::to_string).collect();
        let label = format!("{} {}", moment.what, who.join(" "));
        let (anchor, x) = if x > WIDTH * 0.85 {
            ("end", x - 3.0)
        } else {
            ("start", x + 3.0)
        };
        text(out, x, row, anchor, label.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_load_still_has_a_picture() {
        let picture = plot(&DrillReport::default(), 1);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
