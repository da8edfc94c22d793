//! The repository's own checks and tasks: `cargo xtask <task>`.
//!
//! Depends on the standard library and `anyhow` only, so that it builds in seconds and never
//! shares a compile error with what it checks.

mod client;
mod contracts;
mod count;
mod python;
mod steps;
mod tasks;
mod tools;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <task> [arguments]

  test               installs what the tests need and runs every check; ends with the count
  fmt                formats the code
  clippy             lints, warnings are errors
  bench [ARGS]       runs the benchmarks (arguments go to `cargo bench`)
  vectors            regenerates vectors/ from the code and shows what changed
  sweep [N] [FIRST]  simulates N seeds (default 2000) from FIRST (default 0)
  fuzz [SECONDS]     fuzzes every decoder that meets the network (default 60 s each)
  contracts [TASK]   tests the contracts; or: artifacts (writes them), gas (measures it),
                     analyse (slither and symbolic tests, some minutes)
  setup              installs what the tests need, and nothing else
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    std::env::set_current_dir(tasks::root())?;
    match task {
        "test" => tasks::test(),
        "fmt" => tasks::fmt(),
        "clippy" => tasks::clippy(),
        "bench" => tasks::bench(rest),
        "vectors" => tasks::vectors(),
        "sweep" => tasks::sweep(rest),
        "fuzz" => tasks::fuzz(rest),
        "contracts" => contracts::task(rest),
        "setup" => tasks::setup(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no task `{other}`\n\n{USAGE}"),
    }
}
