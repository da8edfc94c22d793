//! The tasks themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::client::Venue;
use crate::contracts;
use crate::python;
use crate::steps::{Steps, Worth, answers, must};
use crate::tools;

/// Seeds that every run of the tests simulates.
const SEEDS: &str = "200";
/// Seeds of a default sweep.
const SWEEP_SEEDS: &str = "2000";
/// Seconds a fuzz target runs by default.
const FUZZ_SECONDS: &str = "60";
/// The profile of everything that tests run, and its folder's name.
const PROFILE: &str = "tested";
/// What tests need beyond the defaults, and what the binary ships of the data-availability layers. All
/// of the steps name the same features, the same profile and the whole workspace: so every crate is
/// built once.
const FEATURES: &str = "lifeboat/poison,lifeboat-node/poison,lifeboat/sabotage,lifeboat-node/sabotage,\
                        lifeboat-da/s3,lifeboat-da/blobs,lifeboat-da/celestia,\
                        lifeboat-chain/drills,lifeboat-chain/rpc";
/// The script that drives the third-party client.
const CLIENT_TEST: &str = "gateway/tests/ccxt/run.py";

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The build folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(arguments);
    command
}

/// A cargo command over the whole workspace as tests are built.
fn tested(subcommand: &[&str], arguments: &[&str]) -> Command {
    let mut command = cargo(subcommand);
    let profile = match subcommand {
        ["nextest", ..] => "--cargo-profile",
        _ => "--profile",
    };
    command.args([profile, PROFILE, "--workspace", "--features", FEATURES]);
    command.args(arguments);
    command
}

/// Every check of the repository, each with its time.
pub fn test() -> Result<()> {
    let mut steps = Steps::default();
    steps.run(
        "fmt",
        Worth::OneCheck,
        &mut cargo(&["fmt", "--all", "--check"]),
    )?;
    steps.run("clippy", Worth::OneCheck, &mut clippy_command())?;
    let targets = &["--lib", "--bins", "--tests"];
    let built = steps.run("build", Worth::Nothing, &mut tested(&["build"], targets))?;
    tools::install()?;
    let mut tests = test_command();
    tests.env("LIFEBOAT_SIM_SEEDS", SEEDS);
    tests.env("LIFEBOAT_TOOLS", "required");
    steps.run("test", Worth::ItsSummary, &mut tests)?;
    steps.run(
        "doctest",
        Worth::ItsSummary,
        &mut tested(&["test"], &["--doc"]),
    )?;
    if answers("cargo", &["deny", "--version"]) {
        let deny = &["deny", "check", "licenses", "bans", "sources"];
        steps.run("deny", Worth::OneCheck, &mut cargo(deny))?;
    } else {
        println!("\n== deny: cargo-deny is not installed; licences and sources are not checked");
    }
    contracts::test(&mut steps)?;
    if built {
        python::install()?;
        let venue = Venue::start(
            &target().join(PROFILE).join("lifeboat"),
            &target().join("test-venue"),
        )?;
        let mut client = Command::new(python::interpreter());
        client.args([CLIENT_TEST, &venue.url, &venue.key, &venue.secret]);
        steps.run("ccxt", Worth::ItsSummary, &mut client)?;
    }
    steps.finish()
}

fn clippy_command() -> Command {
    tested(&["clippy"], &["--all-targets", "--", "-D", "warnings"])
}

fn test_command() -> Command {
    if answers("cargo", &["nextest", "--version"]) {
        return tested(&["nextest", "run"], &["--no-fail-fast"]);
    }
    let targets = &["--lib", "--bins", "--tests", "--no-fail-fast"];
    tested(&["test"], targets)
}

/// Formats the code.
pub fn fmt() -> Result<()> {
    must(&mut cargo(&["fmt", "--all"]))
}

/// Lints; warnings are errors.
pub fn clippy() -> Result<()> {
    must(&mut clippy_command())
}

/// Runs the benchmarks in the costlier profile.
pub fn bench(rest: &[String]) -> Result<()> {
    must(
        cargo(&[
            "bench",
            "--profile",
            "optimised",
            "--workspace",
            "--benches",
        ])
        .args(rest),
    )
}

/// Writes the test vectors anew from the code, then shows what changed.
pub fn vectors() -> Result<()> {
    let run = &["--lib", "--bins", "--tests", "--", "vectors::are_current"];
    must(tested(&["test"], run).env("LIFEBOAT_WRITE_VECTORS", "1"))?;
    must(Command::new("git").args(["status", "--short", "vectors"]))
}

/// Simulates random faults for many seeds; the smallest plan of each that fails is written down.
pub fn sweep(rest: &[String]) -> Result<()> {
    let seeds = rest.first().map_or(SWEEP_SEEDS, String::as_str);
    let first = rest.get(1).map_or("0", String::as_str);
    must(&mut tested(&["build"], &["--bins"]))?;
    let mut drill = Command::new(target().join(PROFILE).join("lifeboat"));
    drill.args([
        "drill",
        "--simulated",
        "--random",
        "--seeds",
        seeds,
        "--seed",
        first,
    ]);
    must(&mut drill)
}

/// Runs every fuzz target for a while.
pub fn fuzz(rest: &[String]) -> Result<()> {
    let folder = root().join("fuzz");
    if !answers("cargo", &["fuzz", "--version"]) {
        bail!("fuzzing needs a nightly toolchain and cargo-fuzz: cargo install cargo-fuzz");
    }
    let seconds = rest.first().map_or(FUZZ_SECONDS, String::as_str);
    let limit = format!("-max_total_time={seconds}");
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if let Some(target) = path.file_stem() {
            let mut run = Command::new("cargo");
            run.args(["+nightly", "fuzz", "run"])
                .arg(target)
                .args(["--", &limit]);
            must(run.current_dir(root()))?;
        }
    }
    Ok(())
}

/// Installs what the tests need.
pub fn setup() -> Result<()> {
    tools::install()?;
    python::install()
}
