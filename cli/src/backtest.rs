//! `lifeboat backtest`: the venue's breakers along recorded history, as a page with a picture.

use anyhow::{Context as _, Result};
use lifeboat_drill::backtest::{self, Score, Scored};
use serde_json::{Value, json};

use crate::arguments::BacktestArguments;
use crate::say::Say;

/// Runs the back-test and writes its page.
pub fn backtest(arguments: &BacktestArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let found = backtest::run(&arguments.data)?;
    backtest::write(&arguments.out, &found)
        .with_context(|| format!("the page cannot be written to {}", arguments.out.display()))?;
    for scored in &found.scored {
        say.line(sentence(scored));
    }
    let page = arguments.out.join("backtest.md");
    say.line(format!("All of it is in {}.", page.display()));
    let scored: Vec<Value> = found.scored.iter().map(object).collect();
    say.object(&json!({ "page": page, "breakers": scored }));
    Ok(())
}

fn sentence(scored: &Scored) -> String {
    let (before, after) = (scored.before, scored.after);
    let part = |score: &Score| {
        format!(
            "{} halts, {} of them false, protection {:.1} %",
            score.halts,
            score.wrong(),
            100.0 * score.protection()
        )
    };
    format!(
        "{}: {}; in the years after, {}.",
        scored.name,
        part(&before),
        part(&after)
    )
}

fn object(scored: &Scored) -> Value {
    let part = |score: &Score| {
        json!({
            "days": score.days,
            "disorderly": score.disorderly,
            "halts": score.halts,
            "false": score.wrong(),
            "caught": score.caught,
            "protection": score.protection(),
            "lost_in_halts": score.in_halts,
        })
    };
    json!({ "name": scored.name, "before": part(&scored.before), "after": part(&scored.after) })
}
