//! One page that shows a drill to somebody who was not there. It needs no network and no script.
//!
//! **Owns** the page's layout and its plots. Every figure on it comes from the report.

use std::fmt::Write as _;

use super::plot::plot;
use super::report::{DrillReport, Figures};
use super::svg::escape;
use crate::plan::Plan;

const STYLE: &str = "\
:root{--ink:#1c2530;--dim:#5b6875;--line:#d5dbe1;--page:#fbfcfd;--card:#fff;--good:#137a4b;\
--bad:#b3261e;--load:#2563a8;--late:#c2620a;--soft:#9dbfe0;--closed:#f3d9b1}\
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--dim:#98a5b3;--line:#33404d;--page:#12181f;\
--card:#1a222b;--good:#5fd39b;--bad:#ff8a80;--load:#6fb1f0;--late:#f2a65a;--soft:#2f5478;--closed:#5a431f}}\
*{box-sizing:border-box}body{margin:0 auto;padding:24px;max-width:1060px;background:var(--page);\
color:var(--ink);font:15px/1.5 system-ui,sans-serif}h1{font-size:22px;margin:0}h2{font-size:16px;\
margin:28px 0 8px}p{margin:6px 0}.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}\
table{border-collapse:collapse;width:100%}td,th{padding:5px 12px 5px 0;text-align:left;vertical-align:top;\
border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}th{color:var(--dim);font-weight:500}\
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:var(--card);border:1px solid var(--line);\
padding:12px;overflow-x:auto;border-radius:6px}svg{width:100%;height:auto;background:var(--card);\
border:1px solid var(--line);border-radius:6px}.wide{overflow-x:auto}svg text{fill:var(--dim);\
font:11px system-ui,sans-serif}";

/// The page of a drill.
pub fn page(plan: &Plan, report: &DrillReport) -> String {
    let title = format!("Drill {}: {}", report.name, report.title);
    let (class, verdict) = if report.passed {
        ("good", "passed")
    } else {
        ("bad", "failed")
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title} <span class=\"{class}\">{verdict}</span></h1>\n\
         <p class=\"dim\">{executor}, seed {seed}, {validators} validators</p>\n<p>{about}</p>\n",
        title = escape(&title),
        executor = report.executor,
        seed = report.seed,
        validators = plan.topology.validators,
        about = escape(plan.about.trim()),
    );
    findings(&mut out, report);
    measured(&mut out, report);
    plots(&mut out, report);
    checks(&mut out, report);
    story(&mut out, report);
    rest(&mut out, plan, report);
    out.push_str("</body></html>\n");
    out
}

fn findings(out: &mut String, report: &DrillReport) {
    if report.findings.is_empty() {
        return;
    }
    out.push_str("<h2>What does not hold</h2>\n<ul>");
    for finding in &report.findings {
        let _ = write!(out, "<li class=\"bad\">{}</li>", escape(finding));
    }
    out.push_str("</ul>\n");
}

fn row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
}

/// RPO and RTO beside their bounds, then every other figure.
fn measured(out: &mut String, report: &DrillReport) {
    out.push_str("<h2>Measured</h2>\n<table><tr><th></th><th>measured</th><th>bound</th></tr>\n");
    let judged = |value: String, holds: bool| {
        let class = if holds { "good" } else { "bad" };
        format!("<span class=\"{class}\">{value}</span>")
    };
    let bounds = report.bounds;
    let lost = judged(
        report.rpo_commands.to_string(),
        report.rpo_commands <= bounds.rpo_commands,
    );
    let most = bounds.rpo_commands.to_string();
    row(
        out,
        &["RPO: acknowledged commands lost".to_owned(), lost, most],
    );
    let Figures {
        runs,
        median,
        worst,
    } = &report.rto_ms;
    let said = format!(
        "worst {worst:.0} ms, median {median:.0} ms of {}",
        runs.len()
    );
    let said = judged(said, *worst <= bounds.rto_ms as f64 && !runs.is_empty());
    let most = format!("{} ms", bounds.rto_ms);
    row(
        out,
        &["RTO: to the next accepted order".to_owned(), said, most],
    );
    let figures = report.figures.iter();
    for (name, value) in figures {
        let most = match name.as_str() {
            "oldest_unpublished_ms" => bounds.unpublished_ms,
            "found_ms_worst" => bounds.found_ms,
            _ => None,
        };
        let most = most.map_or(String::new(), |ms| format!("{ms} ms"));
        row(
            out,
            &[escape(&name.replace('_', " ")), format!("{value:.0}"), most],
        );
    }
    out.push_str("</table>\n");
}

fn plots(out: &mut String, report: &DrillReport) {
    let runs = report
        .timeline
        .samples
        .iter()
        .map(|sample| sample.run)
        .max();
    for run in 1..=runs.unwrap_or(0) {
        let _ = writeln!(
            out,
            "<h2>Run {run}</h2>\n<div class=\"wide\">{}</div>",
            plot(report, run)
        );
    }
}

fn checks(out: &mut String, report: &DrillReport) {
    out.push_str("<h2>Checked</h2>\n<table><tr><th>invariant</th><th>times</th></tr>\n");
    for (id, count) in &report.invariants {
        row(out, &[escape(id), count.to_string()]);
    }
    out.push_str("</table>\n");
}

fn story(out: &mut String, report: &DrillReport) {
    out.push_str("<h2>What happened</h2>\n<table><tr><th>run</th><th>s</th><th></th><th>validators</th></tr>\n");
    for moment in &report.timeline.moments {
        let who: Vec<String> = moment.who.iter().map(usize::to_string).collect();
        let what = match moment.is_fault {
            true => format!("<b>{}</b> {}", escape(&moment.what), escape(&moment.note)),
            false => format!("{} {}", escape(&moment.what), escape(&moment.note)),
        };
        let at = format!("{:.2}", moment.at_ms / 1e3);
        row(out, &[moment.run.to_string(), at, what, who.join(" ")]);
    }
    out.push_str("</table>\n");
}

fn rest(out: &mut String, plan: &Plan, report: &DrillReport) {
    out.push_str(
        "<h2>Roots</h2>\n<table><tr><th>block</th><th>root</th><th>validators</th></tr>\n",
    );
    for root in &report.roots {
        let digest = format!("<code>{}</code>", escape(&root.root));
        row(
            out,
            &[root.height.to_string(), digest, root.validators.to_string()],
        );
    }
    let versions = &report.versions;
    let _ = write!(
        out,
        "</table>\n<h2>Again</h2>\n<pre>{}</pre>\n<p class=\"dim\">Lifeboat {}, engine {} {}</p>\n\
         <h2>Plan</h2>\n<pre>{}</pre>\n",
        escape(&report.reproduce),
        versions.lifeboat,
        versions.engine,
        escape(&versions.binary),
        escape(&plan.to_toml()),
    );
}

#[cfg(test)]
mod tests {
    use super::super::{Band, Moment, Sample};
    use super::*;

    #[test]
    fn a_page_stands_alone_and_shows_what_was_measured() {
        let plan = crate::plan::calm();
        let mut report = DrillReport {
            name: "x".into(),
            title: "<leader> & all".into(),
            rto_ms: Figures::new(vec![123.0]),
            reproduce: "lifeboat drill x".into(),
            ..DrillReport::default()
        };
        report.bounds.rto_ms = 2_000;
        report.checked("I3", 41);
        report.finding("something \"broke\"");
        let sample = |at_ms| Sample {
            run: 1,
            at_ms,
            sent: 5,
            acknowledged: 4,
            p50_ms: 20.0,
            p99_ms: 90.0,
        };
        report.timeline.samples = (0..30).map(|at| sample(at * 100)).collect();
        report.timeline.bands = vec![Band {
            run: 1,
            from_ms: 0.0,
            to_ms: 3_000.0,
            mode: "OPEN".into(),
        }];
        report.timeline.moments = vec![Moment {
            run: 1,
            at_ms: 1_000.0,
            what: "kill".into(),
            who: vec![2],
            is_fault: true,
            note: String::new(),
        }];
        let page = page(&plan, &report);
        for part in [
            "&lt;leader&gt; &amp; all",
            "123 ms",
            "2000 ms",
            "I3",
            "41",
            "kill",
            "OPEN",
            "something &quot;broke&quot;",
            "lifeboat drill x",
            "<svg",
            "</html>",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["http", "<script", "src=", "@import", "<leader>"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
