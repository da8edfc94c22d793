//! `lifeboat drill` and `lifeboat bench`: faults and load against validators of this very binary.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lifeboat_drill::days::{self, Day};
use lifeboat_drill::evidence::{self, DrillReport};
use lifeboat_drill::live::{self, BackgroundSettings, BenchSettings, DrillSettings};
use lifeboat_drill::plan::{self, Executor, LIBRARY, Plan};
use lifeboat_drill::sim;

use crate::arguments::{BenchArguments, DrillArguments};
use crate::development::wall_ms;
use crate::say::Say;
use crate::settlement_drill::SettlementDrill;

/// How often a sweep says how far it is.
const SAY_EVERY: u64 = 50;
/// Orders a second beside snapshots and exits.
const BACKGROUND_ORDERS: u32 = 1_000;

/// Carries out one drill or a sweep of them, or lists them.
pub fn drill(arguments: &DrillArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    if arguments.simulated && (arguments.random || arguments.seeds.is_some()) {
        return sweep(arguments, say);
    }
    let Some(name) = &arguments.name else {
        return list(say);
    };
    if let Some(drill) = SettlementDrill::named(name) {
        return settlement(drill, arguments, say);
    }
    if let Some(day) = days::find(name) {
        return play(day, arguments, say);
    }
    let plan = chosen(name, arguments)?;
    let folder = evidence_folder(arguments.keep.as_deref(), &plan.name)?;
    let report = if arguments.simulated {
        simulate(&plan, &folder, arguments)?
    } else {
        let settings = DrillSettings {
            binary: own_binary()?,
            evidence: folder,
            runs: arguments.runs,
        };
        live::execute(&plan, &settings, again(&plan, arguments), &mut |text| {
            say.line(text)
        })?
    };
    conclude(&report, say)
}

fn conclude(report: &DrillReport, say: Say) -> Result<()> {
    say.line(report.to_string());
    say.object(report);
    if !report.passed {
        let page = report.evidence.join("report.html");
        bail!("drill {} failed; see {}", report.name, page.display());
    }
    Ok(())
}

/// A drill of the settlement chain, which has no validators to break.
fn settlement(drill: SettlementDrill, arguments: &DrillArguments, say: Say) -> Result<()> {
    let folder = evidence_folder(arguments.keep.as_deref(), drill.name())?;
    let plan = drill.plan();
    let executor = match arguments.simulated {
        true => Executor::Simulated,
        false => Executor::Live,
    };
    let report = drill.carry_out((executor, arguments.accounts), folder.clone(), say)?;
    evidence::write(&folder, &plan, &report)
        .with_context(|| format!("writing the evidence into {}", folder.display()))?;
    conclude(&report, say)
}

/// A day on which a venue lost its users' money, by the rules and without the one that it is about.
fn play(day: &Day, arguments: &DrillArguments, say: Say) -> Result<()> {
    let folder = evidence_folder(arguments.keep.as_deref(), day.name)?;
    let report = day.report(folder.clone());
    evidence::write(&folder, &day.plan(), &report)
        .with_context(|| format!("writing the evidence into {}", folder.display()))?;
    say.line(day.text());
    conclude(&report, say)
}

fn list(say: Say) -> Result<()> {
    for (_, text) in LIBRARY {
        let plan = Plan::parse("the library", text)?;
        let simulated = if plan.is_for(Executor::Simulated) {
            "live, simulated"
        } else {
            "live"
        };
        say.line(format!("{:<12} {:<52} {simulated}", plan.name, plan.title));
    }
    for drill in SettlementDrill::ALL {
        let (name, title) = (drill.name(), drill.title());
        say.line(format!("{name:<12} {title:<52} live, simulated"));
    }
    for day in days::all() {
        say.line(format!(
            "{:<12} {:<52} with and without the rule",
            day.name, day.title
        ));
    }
    Ok(())
}

/// The plan of that name, or in that file, with what the command line changes.
fn chosen(name: &str, arguments: &DrillArguments) -> Result<Plan> {
    let mut plan = match plan::find(name)? {
        Some(plan) => plan,
        None => {
            let text = std::fs::read_to_string(name).with_context(|| {
                format!("there is no drill and no file `{name}`; `lifeboat drill` lists the drills")
            })?;
            Plan::parse(name, &text)?
        }
    };
    plan.seed = arguments.seed.unwrap_or(plan.seed);
    plan.workload.rate = arguments.rate.unwrap_or(plan.workload.rate);
    Ok(plan)
}

/// The command that does it again.
fn again(plan: &Plan, arguments: &DrillArguments) -> String {
    let name = arguments.name.as_deref().unwrap_or_default();
    let (seed, rate) = (plan.seed, plan.workload.rate);
    if arguments.simulated {
        return format!("lifeboat drill {name} --simulated --seed {seed}");
    }
    let runs = arguments.runs;
    format!("lifeboat drill {name} --seed {seed} --runs {runs} --rate {rate}")
}

fn simulate(plan: &Plan, folder: &Path, arguments: &DrillArguments) -> Result<DrillReport> {
    if let Some(why) = sim::refuses(plan) {
        bail!(why);
    }
    let mut report = sim::simulate(plan).report;
    report.evidence = folder.to_owned();
    report.reproduce = again(plan, arguments);
    evidence::write(folder, plan, &report)
        .with_context(|| format!("writing the evidence into {}", folder.display()))?;
    Ok(report)
}

/// Simulates many seeds; the plans of those that fail are made smaller and kept.
fn sweep(arguments: &DrillArguments, say: Say) -> Result<()> {
    let base = match (&arguments.name, arguments.random) {
        (Some(name), false) => Some(chosen(name, arguments)?),
        (None, true) => None,
        _ => bail!("say which drill to simulate, or --random"),
    };
    if let Some(why) = base.as_ref().and_then(sim::refuses) {
        bail!(why);
    }
    let plan_of = |seed| match &base {
        Some(plan) => Plan {
            seed,
            ..plan.clone()
        },
        None => plan::random(seed),
    };
    let (first, seeds) = (arguments.seed.unwrap_or(0), arguments.seeds.unwrap_or(1));
    let began = Instant::now();
    let found = sim::sweep(first, seeds, plan_of, |seed, run| {
        let done = seed - first + 1;
        if !run.report.passed {
            say.line(format!(
                "seed {seed} FAILED: {}",
                run.report.findings.join("; ")
            ));
        }
        if done.is_multiple_of(SAY_EVERY) {
            let spent = began.elapsed().as_secs();
            say.line(format!("{done} of {seeds} seeds, {spent} s"));
        }
    });
    let failed = found.broken.len();
    say.line(format!(
        "{} seeds, {failed} failed; {} checks, {} commands acknowledged; after the faults all was \
         settled within {:.1} simulated seconds",
        found.seeds,
        found.checks,
        found.acknowledged,
        found.settled_ms_worst / 1e3
    ));
    say.object(&found);
    if failed > 0 {
        let folder = evidence_folder(arguments.keep.as_deref(), "sweep")?;
        for broken in &found.broken {
            let path = folder.join(format!("{}.toml", broken.smallest.name));
            std::fs::write(&path, broken.smallest.to_toml())
                .with_context(|| format!("writing {}", path.display()))?;
            say.line(format!("lifeboat drill {} --simulated", path.display()));
        }
        bail!("{failed} seeds failed; the lines above run the smallest plan of each");
    }
    Ok(())
}

/// Measures a whole venue of four processes.
pub fn bench(arguments: &BenchArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    if arguments.background {
        return bench_background(arguments, say);
    }
    let settings = BenchSettings {
        binary: own_binary()?,
        evidence: evidence_folder(None, "bench")?,
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

fn bench_background(arguments: &BenchArguments, say: Say) -> Result<()> {
    let settings = BackgroundSettings {
        binary: own_binary()?,
        evidence: evidence_folder(None, "background")?,
        seed: arguments.seed,
        accounts: arguments.accounts,
        resting: arguments.resting,
        rate: arguments.orders.unwrap_or(BACKGROUND_ORDERS),
        window: Duration::from_secs(arguments.seconds),
        rounds: arguments.rounds,
        every: arguments.every,
    };
    let report = live::background(&settings, &mut |text| say.line(text))?;
    say.line(report.to_string());
    say.object(&report);
    Ok(())
}

fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("finding the running program")
}

/// A new folder for what a run leaves behind.
fn evidence_folder(keep: Option<&Path>, name: &str) -> Result<PathBuf> {
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
