//! Runs commands one after another, shows their output as it comes, and keeps count.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::count::Count;

/// What a step's success is worth in the final count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Preparation: counts only when it fails.
    Nothing,
    /// The whole step is one check.
    OneCheck,
    /// The runner inside prints its own summary.
    ItsSummary,
}

struct Finished {
    name: &'static str,
    took: Duration,
    count: Count,
}

/// The steps that ran so far.
#[derive(Default)]
pub struct Steps {
    finished: Vec<Finished>,
}

impl Steps {
    /// Runs one step; a failure is counted, and the next step runs all the same.
    ///
    /// # Errors
    /// When the program cannot be started at all.
    pub fn run(&mut self, name: &'static str, worth: Worth, command: &mut Command) -> Result<bool> {
        println!("\n== {name}: {}", shown(command));
        let start = Instant::now();
        let (ok, printed) = run_counting(command)?;
        let count = settle(worth, ok, printed);
        let took = start.elapsed();
        println!(
            "== {name}: {} in {:.1} s",
            if ok { "ok" } else { "FAILED" },
            took.as_secs_f64()
        );
        self.finished.push(Finished { name, took, count });
        Ok(ok)
    }

    /// Prints every step with its time and, last, the plain line `N passed, N failed`.
    ///
    /// # Errors
    /// When anything failed.
    pub fn finish(self) -> Result<()> {
        let mut total = Count::default();
        println!(
            "\n{:<12} {:>8} {:>8} {:>8}",
            "step", "seconds", "passed", "failed"
        );
        for step in &self.finished {
            let (seconds, count) = (step.took.as_secs_f64(), step.count);
            println!(
                "{:<12} {seconds:>8.1} {:>8} {:>8}",
                step.name, count.passed, count.failed
            );
            total += count;
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        if total.failed > 0 {
            std::process::exit(1);
        }
        Ok(())
    }
}

/// What a step adds to the count. A step that exits badly without naming a failed test (a compile
/// error, a crash) is one failure: it never vanishes from the sum.
fn settle(worth: Worth, ok: bool, printed: Count) -> Count {
    let mut count = match worth {
        Worth::ItsSummary => printed,
        Worth::OneCheck => Count {
            passed: u64::from(ok),
            failed: 0,
        },
        Worth::Nothing => Count::default(),
    };
    if !ok && count.failed == 0 {
        count.failed = 1;
    }
    count
}

/// Runs a command to its end with its output shown.
///
/// # Errors
/// When it cannot be started or exits with anything but success.
pub fn must(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Whether a program answers to `arguments` with success.
pub fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn run_counting(command: &mut Command) -> Result<(bool, Count)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("CARGO_TERM_COLOR", "never");
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let out = child.stdout.take().context("the child has no output")?;
    let err = child
        .stderr
        .take()
        .context("the child has no error output")?;
    let reader = std::thread::spawn(move || show_and_count(err));
    let mut count = show_and_count(out);
    count += reader.join().unwrap_or_default();
    Ok((child.wait()?.success(), count))
}

fn show_and_count(output: impl Read) -> Count {
    let mut total = Count::default();
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        if let Some(count) = Count::in_line(&text) {
            total += count;
        }
        line.clear();
    }
    total
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Count, Worth, settle};

    #[test]
    fn a_failure_never_vanishes_from_the_count() {
        let none = Count::default();
        let (one, two) = (
            Count {
                passed: 0,
                failed: 1,
            },
            Count {
                passed: 5,
                failed: 2,
            },
        );
        assert_eq!(settle(Worth::ItsSummary, false, none), one);
        assert_eq!(settle(Worth::ItsSummary, false, two), two);
        assert_eq!(settle(Worth::OneCheck, false, none), one);
        assert_eq!(settle(Worth::Nothing, false, none), one);
        assert_eq!(settle(Worth::Nothing, true, none), none);
        assert_eq!(
            settle(Worth::OneCheck, true, none),
            Count {
                passed: 1,
                failed: 0
            }
        );
    }
}
