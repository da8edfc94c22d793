//! The contracts' toolchain, from npm alone: installing it, testing, artifacts, gas, analysis.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::python;
use crate::steps::{Steps, Worth, answers, must};

/// Symbolic tests give up on one query after so many milliseconds.
const SOLVER_TIMEOUT_MS: &str = "120000";
/// Symbolic tests unroll loops so often; the longest of theirs has six rounds.
const LOOP_BOUND: &str = "8";

fn folder() -> PathBuf {
    crate::tasks::root().join("contracts")
}

/// A command in the contracts' folder with npm's programs in its path.
fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let bin = folder().join("node_modules/.bin");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&paths));
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(folder());
    if let Ok(paths) = std::env::join_paths(paths) {
        command.env("PATH", paths);
    }
    command
}

fn forge(arguments: &[&str]) -> Command {
    command(folder().join("node_modules/.bin/forge"), arguments)
}

/// Installs compiler, test runner and libraries at their pinned versions; quick when they are there.
///
/// # Errors
/// When npm is absent or its registry cannot be reached.
pub fn install() -> Result<()> {
    if !answers("npm", &["--version"]) {
        bail!("the contracts' tests need node and npm; install them and run again");
    }
    let modified = |name: &str| std::fs::metadata(folder().join(name)).and_then(|m| m.modified());
    let installed = modified("node_modules/.package-lock.json");
    let wanted = modified("package.json")?;
    if installed.is_ok_and(|installed| installed >= wanted) {
        return Ok(());
    }
    // A lock file would name the registry it came from; versions are exact in package.json.
    let install = &[
        "install",
        "--no-package-lock",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ];
    must(&mut command("npm", install))
}

/// Builds, tests and compares what is checked in with what the compiler gives.
///
/// # Errors
/// When a program cannot be started.
pub fn test(steps: &mut Steps) -> Result<()> {
    let built = steps.run("forge build", Worth::Nothing, &mut forge(&["build"]))?;
    if !built {
        return Ok(());
    }
    let check = &mut command(folder().join("bin/artifacts"), &["--check"]);
    steps.run("artifacts", Worth::OneCheck, check)?;
    let tests = &mut forge(&["test", "--no-match-path", "test/gas/*"]);
    steps.run("forge", Worth::ItsSummary, tests)?;
    let gas = &["test", "--isolate", "--match-path", "test/gas/*"];
    let gas = &mut forge(gas);
    gas.args(["--gas-snapshot-check", "true"]);
    steps.run("gas", Worth::ItsSummary, gas)?;
    Ok(())
}

/// One of the contracts' own tasks.
///
/// # Errors
/// When there is no such task, or it fails.
pub fn task(rest: &[String]) -> Result<()> {
    install()?;
    match rest.first().map_or("test", String::as_str) {
        "test" => {
            let mut steps = Steps::default();
            test(&mut steps)?;
            steps.finish()
        }
        "artifacts" => {
            must(&mut forge(&["build"]))?;
            must(&mut command(folder().join("bin/artifacts"), &[]))
        }
        "gas" => {
            let gas = &["test", "--isolate", "--match-path", "test/gas/*"];
            must(&mut forge(gas))
        }
        "analyse" => analyse(),
        other => bail!("there is no task `contracts {other}`; test, artifacts, gas, analyse"),
    }
}

/// Static analysis and symbolic tests; minutes.
fn analyse() -> Result<()> {
    python::install_packages("contracts/requirements.txt")?;
    let tool = |name: &str| python::interpreter().with_file_name(name);
    must(&mut command(
        tool("slither"),
        &[".", "--config-file", "slither.config.json"],
    ))?;
    must(&mut command(
        tool("halmos"),
        &[
            "--contract",
            "SymbolicTest",
            "--loop",
            LOOP_BOUND,
            "--solver-timeout-assertion",
            SOLVER_TIMEOUT_MS,
        ],
    ))
}
