//! The back-test as a page of the documentation.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::data::{date, day_of, moment};
use super::label::{KNOWN, ONE_IN_DAYS};
use super::picture::picture;
use super::proxy::Regression;
use super::{Backtest, OWN, PRICE_ONLY, SPLIT_DAY, Score, Scored};

/// Writes `backtest.md` and `img/backtest.svg` into a folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(folder: &Path, backtest: &Backtest) -> io::Result<()> {
    fs::create_dir_all(folder.join("img"))?;
    fs::write(folder.join("img/backtest.svg"), picture(backtest))?;
    fs::write(folder.join("backtest.md"), page(backtest))
}

/// The page.
pub fn page(backtest: &Backtest) -> String {
    let mut out = String::from("# Breakers on recorded history\n\n");
    out.push_str(
        "Written by `lifeboat backtest`; every figure is recomputed when it runs. The breakers are the \
         engine's own, with the parameters that a venue begins with.\n\n\
         ![Volatility, price, disorderly days and halts](img/backtest.svg)\n\n",
    );
    verdict(&mut out, backtest);
    table(&mut out, backtest);
    data(&mut out, backtest);
    regressions(&mut out, backtest);
    chains(&mut out, backtest);
    labels(&mut out, backtest);
    yardsticks(&mut out);
    halts(&mut out, backtest);
    out
}

fn find<'a>(backtest: &'a Backtest, name: &str) -> Option<&'a Scored> {
    backtest.scored.iter().find(|scored| scored.name == name)
}

/// The aim beside what came of it.
fn verdict(out: &mut String, backtest: &Backtest) {
    let (Some(own), Some(price)) = (find(backtest, OWN), find(backtest, PRICE_ONLY)) else {
        return;
    };
    out.push_str(
        "The aim: at most half of the false halts of breakers on price alone, at no less protection.\n\n",
    );
    let split = date(SPLIT_DAY);
    for (when, own, price) in [
        ("All recorded years".to_owned(), own.all(), price.all()),
        (
            "Cross-validated by quarter, the bound of each chosen on the others".to_owned(),
            backtest.validated.score,
            price.all(),
        ),
        (format!("Before {split} alone"), own.before, price.before),
        (format!("From {split} on alone"), own.after, price.after),
    ] {
        let fewer = own.wrong() * 2 <= price.wrong();
        let as_much = own.protection() >= price.protection();
        let _ = writeln!(
            out,
            "- {when}: {} false halts beside {}, protection {:.1} % beside {:.1} %: {}.",
            own.wrong(),
            price.wrong(),
            100.0 * own.protection(),
            100.0 * price.protection(),
            match (fewer, as_much) {
                (true, true) => "met",
                (true, false) => "half of the false halts, but less protection: not met",
                (false, true) => "no less protection, but more false halts: not met",
                (false, false) => "not met",
            }
        );
    }
    out.push('\n');
}

fn table(out: &mut String, backtest: &Backtest) {
    out.push_str(
        "| breakers | years | halts | a year | in disorderly days | false | false a year | disorderly days \
         caught | protection | lost in halts |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for scored in &backtest.scored {
        let all = scored.all();
        for (years, score) in [
            ("before 2025", scored.before),
            ("from 2025 on", scored.after),
            ("all", all),
        ] {
            row(out, &scored.name, years, &score);
        }
    }
    for scored in &backtest.scored {
        for (symbol, score) in &scored.by_underlying {
            row(out, &scored.name, symbol, score);
        }
    }
    out.push_str("\nA year is one of one underlying.\n\n");
}

fn row(out: &mut String, name: &str, years: &str, score: &Score) {
    let _ = writeln!(
        out,
        "| {name} | {years} | {} | {:.1} | {:.0} % | {} | {:.1} | {} of {} | {:.1} % | {:.1} % |",
        score.halts,
        score.per_year(score.halts),
        100.0 * score.precision(),
        score.wrong(),
        score.per_year(score.wrong()),
        score.caught,
        score.disorderly,
        100.0 * score.protection(),
        100.0 * score.in_halts,
    );
}

fn data(out: &mut String, backtest: &Backtest) {
    out.push_str("## The data\n\n");
    for underlying in &backtest.underlyings {
        if let (Some(first), Some(last)) = (underlying.bars.first(), underlying.bars.last()) {
            let _ = writeln!(
                out,
                "- {}: {} hourly bars, {} to {}.",
                underlying.symbol,
                underlying.bars.len(),
                date(day_of(first.at_ms)),
                date(day_of(last.at_ms))
            );
        }
    }
    out.push_str(
        "\nThe hourly files are named for 2020 to 2024 and hold these years instead: March 2020, May 2021 \
         and November 2022 are not in them. A bar is walked along its quarters: to the extreme that a bar of \
         its direction visits first, to the other, to its close. All breakers see the same points.\n\n",
    );
    chosen(out, backtest);
}

/// How the parameters came about, and what their neighbours do.
fn chosen(out: &mut String, backtest: &Backtest) {
    out.push_str(
        "## How the parameters were chosen\n\n\
         What stops most often is the range of a session's prices, beside what is usual for the underlying and borne \
         out by the volatility index. Its one bound is the one with the best protection at no more than half of \
         the false halts. The bounds chosen on the other quarters, by quarter: ",
    );
    let bounds = backtest.validated.chosen.iter();
    let bounds: Vec<String> = bounds
        .map(|bound| format!("{:.1}", *bound as f64 / 1e3))
        .collect();
    out.push_str(&bounds.join(", "));
    out.push_str(
        ".\n\nCross-validation covers the bound alone. That the figure is a session's range, when sessions begin, how long \
         the usual is remembered and by how much options must have noticed was decided by somebody who had seen \
         all of these years, after bounds on moves beside implied volatility had caught little of the years after \
         those they were fitted to (23.4 % beside 51.1). What a year that nobody has seen brings, nobody knows. Neighbours, on all recorded \
         years; days here are days of UTC, which suits sessions that begin near midnight:\n\n\
         | instead | halts | false | protection |\n|---|---|---|---|\n",
    );
    for neighbour in &backtest.neighbours {
        let score = &neighbour.score;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.1} % |",
            neighbour.what,
            score.halts,
            score.wrong(),
            100.0 * score.protection()
        );
    }
    out.push('\n');
}

fn regressions(out: &mut String, backtest: &Backtest) {
    out.push_str(
        "## The volatility index\n\nRecorded once a day for BTC and never for ETH. Within a day, after the \
         recording ends, and for ETH it is made of prices by two regressions, calibrated on BTC's recorded \
         days before the years after. It knows nothing of options that prices do not: in this back-test the \
         index bears a price move out less than one that is traded would.\n\n\
         | regression | constant | second | third | fourth | R² | misses by | after | days |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let fit = &backtest.fit;
    for (name, regression) in [
        (
            "level: ln of realised volatility of a day, a week, a month",
            &fit.level,
        ),
        (
            "change in a day: distance from the level, realised over implied, loss over implied",
            &fit.change,
        ),
    ] {
        regression_row(out, name, regression);
    }
    out.push('\n');
}

fn regression_row(out: &mut String, name: &str, regression: &Regression) {
    let [a, b, c, d] = regression.coefficients;
    let _ = writeln!(
        out,
        "| {name} | {a:.4} | {b:.4} | {c:.4} | {d:.4} | {:.2} | {:.1} % | {:.1} % | {} and {} |",
        regression.r2,
        100.0 * regression.error,
        100.0 * regression.error_after,
        regression.days.0,
        regression.days.1
    );
}

fn chains(out: &mut String, backtest: &Backtest) {
    if backtest.chains.is_empty() {
        return;
    }
    out.push_str(
        "\nThe engine's own index of the recorded option chains beside it:\n\n\
         | | moment | index of the chain | of prices |\n|---|---|---|---|\n",
    );
    for (symbol, at_ms, index, proxy) in backtest.chains.iter().step_by(3) {
        let _ = writeln!(
            out,
            "| {symbol} | {} | {:.1} | {:.1} |",
            moment(*at_ms),
            100.0 * index,
            100.0 * proxy
        );
    }
    out.push('\n');
}

fn labels(out: &mut String, backtest: &Backtest) {
    let _ = writeln!(
        out,
        "## Disorderly days\n\nFixed without any breaker: a day whose range (ln of high over low) or whose \
         realised volatility is among the worst one in {ONE_IN_DAYS} of that underlying's days, or one of the \
         days known for forced liquidations and broken venues. A halt is right when it falls into such a day \
         or into the six hours before one.\n"
    );
    for underlying in &backtest.underlyings {
        let _ = writeln!(
            out,
            "- {}: range from {:.1} %, or realised volatility from {:.0} % a year.",
            underlying.symbol,
            100.0 * underlying.labels.range,
            100.0 * underlying.labels.realised
        );
    }
    out.push_str("\nKnown days: ");
    let known = KNOWN
        .iter()
        .map(|(day, what)| format!("{} ({what})", date(*day)));
    out.push_str(&known.collect::<Vec<_>>().join(", "));
    out.push_str(".\n\n");
}

fn yardsticks(out: &mut String) {
    out.push_str(
        "## The yardsticks\n\n\
         - **False**: a halt in a day that was not disorderly.\n\
         - **Protection**: a straddle of 30 days is sold at the money when a disorderly day begins, on \
         margin. Of its worst loss that day, summed over these days, the part that came after trading was \
         first stopped: what there was time to add collateral for, to buy back, or to liquidate in an auction \
         instead of into an empty book. It is an upper bound on the loss avoided.\n\
         - **Lost in halts**: what such a straddle, sold as trading stops, had lost at worst by the first \
         price after it went on, summed over all halts, in parts of the coin's price: the adverse move that a \
         halt kept from being traded, and that nobody could cover meanwhile.\n\
         - A halt lasts as the ladder says (an auction 3 minutes, a halt 8½), five minutes for LULD, two for \
         CME's limits, until the settlement at its last.\n\n",
    );
}

fn halts(out: &mut String, backtest: &Backtest) {
    out.push_str(
        "## Every halt of Lifeboat's breakers\n\n| | when | level | why | disorderly |\n|---|---|---|---|---|\n",
    );
    for halt in &backtest.halts {
        let underlying = backtest
            .underlyings
            .iter()
            .find(|u| u.symbol == halt.symbol);
        let right = underlying.is_some_and(|u| u.labels.is_disorderly(halt.at_ms));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            halt.symbol,
            moment(halt.at_ms),
            halt.level,
            halt.why,
            if right { "yes" } else { "**no**" }
        );
    }
}
