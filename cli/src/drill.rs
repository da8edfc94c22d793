//! `lifeboat drill` and `lifeboat bench`: faults and load against validators of this very binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_drill::live::{self, BenchSettings, Drill, DrillSettings};

use crate::arguments::{BenchArguments, DrillArguments};
use crate::development::wall_ms;
use crate::say::Say;

/// How long the load runs before each fault.
const BEFORE_FAULT: Duration = Duration::from_secs(2);

/// Carries out one drill, or lists them.
pub fn drill(arguments: &DrillArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let Some(name) = &arguments.name else {
        for drill in Drill::ALL {
            say.line(format!("{:<12} {}", drill.name(), drill.title()));
        }
        return Ok(());
    };
    let drill = Drill::named(name)
        .with_context(|| format!("there is no drill `{name}`; `lifeboat drill` lists them"))?;
    let settings = DrillSettings {
        binary: own_binary()?,
        evidence: evidence(arguments.keep.as_deref(), drill.name())?,
        seed: arguments.seed,
        runs: arguments.runs,
        rate: arguments.rate,
        before: BEFORE_FAULT,
    };
    let report = live::run(drill, &settings, &mut |text| say.line(text))?;
    say.line(report.to_string());
    say.object(&report);
    if !report.passed {
        bail!(
            "drill {name} failed; its evidence is in {}",
            report.evidence.display()
        );
    }
    Ok(())
}

/// Measures a whole venue of four processes.
pub fn bench(arguments: &BenchArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let settings = BenchSettings {
        binary: own_binary()?,
        evidence: evidence(None, "bench")?,
        seed: arguments.seed,
        window: Duration::from_secs(arguments.seconds),
        orders: arguments.orders,
        levels: arguments.levels,
    };
    let report = live::bench(&settings, &mut |text| say.line(text))?;
    say.line(report.to_string());
    say.object(&report);
    Ok(())
}

fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("finding the running program")
}

/// A new folder for what a run leaves behind.
fn evidence(keep: Option<&Path>, name: &str) -> Result<PathBuf> {
    let folder = match keep {
        Some(folder) => folder.to_owned(),
        None => {
            let run = format!("lifeboat-{name}-{}-{}", wall_ms(), std::process::id());
            std::env::temp_dir().join(run)
        }
    };
    if folder.exists() {
        bail!(
            "{} exists already; nothing was started. Choose another folder",
            folder.display()
        );
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
