//! The `lifeboat` binary: the one place where the parts are put together.
//!
//! **Owns** the command line, what is said to a person, and the wiring of node, market and gateway.
//! **Never** decides anything about orders or money.

mod anchor;
mod arguments;
mod attest;
mod backtest;
mod chain;
mod descriptors;
mod development;
mod drill;
mod exit;
mod gateway;
mod init;
mod layer;
mod market;
mod money;
mod node;
mod opening;
mod pages;
mod practice;
mod prove;
mod publish;
mod recover;
mod relay;
mod run;
mod say;
mod session;
mod settlement;
mod settlement_drill;
mod signals;
mod vault;
mod venue;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::arguments::{Arguments, Command};

// A program that an order can break is for tests: only the profile `tested`, which sets debug
// assertions for this package, and a development build make one, and only when told to.
const _: () = assert!(
    !lifeboat_engine::POISON || (cfg!(feature = "poison") && cfg!(debug_assertions)),
    "the feature `poison` is for tests; build without it"
);
const _: () = assert!(
    !lifeboat_node::sabotage::SABOTAGE || (cfg!(feature = "sabotage") && cfg!(debug_assertions)),
    "the feature `sabotage` is for tests; build without it"
);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    pages::ask_for_huge();
    log_to_stderr();
    descriptors::raise();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lifeboat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<()> {
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(run) => run::run(&run),
        Command::Node(node) => node::node(&node),
        Command::Init(init) => init::init(&init),
        Command::Drill(arguments) => drill::drill(&arguments),
        Command::Bench(arguments) => drill::bench(&arguments),
        Command::Recover(arguments) => recover::recover(&arguments),
        Command::Verify(verify) => verify::verify(&verify),
        Command::Exit(arguments) => exit::exit(&arguments),
        Command::Chain(arguments) => chain::chain(&arguments),
        Command::Deposit(arguments) => money::deposit(&arguments),
        Command::Withdraw(arguments) => money::withdraw(&arguments),
        Command::Session(arguments) => session::session(&arguments),
        Command::Anchor(arguments) => anchor::anchor(&arguments),
        Command::Practice(arguments) => practice::practice(&arguments),
        Command::Backtest(arguments) => backtest::backtest(&arguments),
    }
}

/// Warnings of the venue's own parts go to standard error; `RUST_LOG` asks for more or for others'.
fn log_to_stderr() {
    let own = "lifeboat=warn,lifeboat_node=warn,lifeboat_da=warn,lifeboat_gateway=warn,lifeboat_drill=warn,lifeboat_chain=warn";
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(own));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
