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
        say.line(sentence(&scored.name, &scored.all()));
    }
    let validated = &found.validated.score;
    say.line(sentence("Lifeboat, cross-validated", validated));
    let page = arguments.out.join("backtest.md");
    say.line(format!("All of it is in {}.", page.display()));
    let scored: Vec<Value> = found.scored.iter().map(object).collect();
    let validated = part(validated);
    say.object(&json!({"page": page, "breakers": scored, "cross_validated": validated}));
    Ok(())
}

fn sentence(name: &str, score: &Score) -> String {
    format!(
        "{name}: {} halts, {} of them false, protection {:.1} %.",
        score.halts,
        score.wrong(),
        100.0 * score.protection()
    )
}

fn object(scored: &Scored) -> Value {
    json!({"name": scored.name, "all": part(&scored.all()), "before": part(&scored.before),
        "after": part(&scored.after)})
}

fn part(score: &Score) -> Value {
    json!({
        "days": score.days,
        "disorderly": score.disorderly,
        "halts": score.halts,
        "false": score.wrong(),
        "caught": score.caught,
        "protection": score.protection(),
        "lost_in_halts": score.in_halts,
    })
}
