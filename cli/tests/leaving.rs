//! Leaving from the command line as the README says, against a real node on loopback.
//!
//! Where the node is not installed the test says so and ends; with `LIFEBOAT_TOOLS=required`, as
//! `cargo xtask test` sets it, that is a failure.

use std::path::Path;
use std::process::{Command, Output};

use lifeboat_chain::drills::{Anvil, FUNDED_KEY};
use lifeboat_chain::{ChainKey, Development as _, Finality, RpcChain, RpcConfig};
use serde_json::Value;

fn lifeboat(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    command.env_remove("LIFEBOAT_KEY").args(arguments);
    command.output().unwrap()
}

/// The last line, which is JSON.
fn object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    })
}

fn a_day_passes(url: &str) {
    let config = RpcConfig {
        url: url.into(),
        witnesses: Vec::new(),
        key: Some(ChainKey::parse(FUNDED_KEY).unwrap()),
        finality: Finality::Depth(0),
        poll: std::time::Duration::from_millis(10),
        timeout: std::time::Duration::from_secs(30),
        own_authority: false,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let chain = RpcChain::open(config).await.unwrap();
        chain.advance(86_400).await.unwrap();
    });
}

#[test]
fn an_account_leaves_from_the_command_line() {
    let Some(node) = Anvil::start(&[]).unwrap() else {
        let message = "anvil is not installed; `cargo xtask setup` installs it";
        assert!(
            std::env::var_os("LIFEBOAT_TOOLS").is_none_or(|how| how != "required"),
            "{message}"
        );
        println!("skipped: {message}");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("practice");
    let path = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let url = node.url.as_str();
    let made = lifeboat(&[
        "practice",
        "--rpc",
        url,
        "--out",
        out.to_str().unwrap(),
        "--json",
    ]);
    let vault = object(&made)["deployment"]["vault"]
        .as_str()
        .unwrap()
        .to_owned();
    let again = lifeboat(&["practice", "--rpc", url, "--out", out.to_str().unwrap()]);
    assert!(!again.status.success(), "it does not write over a folder");

    let anchor = [
        "anchor", "--rpc", url, "--depth", "0", "--vault", &vault, "--json",
    ];
    let anchored = object(&lifeboat(&anchor));
    assert_eq!(anchored["covered"], true);
    assert_eq!(anchored["assets"], anchored["liabilities"]);

    let (proof, key) = (path("proof.json"), path("key"));
    let exit = [
        "exit",
        "--rpc",
        url,
        "--proof",
        &proof,
        "--key-file",
        &key,
        "--json",
    ];
    let keyless = lifeboat(&["exit", "--rpc", url, "--proof", &proof]);
    let said = String::from_utf8_lossy(&keyless.stderr).into_owned();
    assert!(
        !keyless.status.success() && said.contains("LIFEBOAT_KEY"),
        "{said}"
    );
    let waiting = object(&lifeboat(&exit));
    assert_eq!(waiting["left"], false);
    assert!(
        waiting["until"]
            .as_u64()
            .is_some_and(|until| until > 86_400)
    );
    a_day_passes(url);
    let left = object(&lifeboat(&exit));
    assert_eq!(left["left"], true, "{left}");
    // Ten lots of a call a step over the mark and 25 000 USDC, as the proof's ladder says at the mark.
    assert!(
        left["paid"]
            .as_u64()
            .is_some_and(|paid| paid > 25_000_000_000),
        "{left}"
    );
    let twice = object(&lifeboat(&exit));
    assert_eq!(
        (&twice["left"], &twice["paid"]),
        (&true.into(), &0.into()),
        "{twice}"
    );
    assert!(Path::new(&proof).exists());
}
