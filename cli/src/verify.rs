//! `lifeboat verify`: an auditor's replay of one validator's log, or of what was published.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use lifeboat_drill::log_audit::{LogReport, audit_log};
use lifeboat_engine::types::ChainId;
use lifeboat_node::config::{NodeFile, read_venue};
use lifeboat_node::files::Disk;
use lifeboat_node::journal::Writer;
use lifeboat_node::verify::{Verified, verify_log};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::arguments::VerifyArguments;
use crate::recover::{AHEAD, read_published};
use crate::say::Say;

/// Replays a validator's log, or what was published: every root that was agreed, the certificate that
/// covers it, and then the books after every block. The books need the log from genesis on.
pub fn verify(arguments: &VerifyArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let folder = folder(&arguments.data, arguments.from.is_some())?;
    match check(&folder, arguments, say) {
        Ok((certified, report)) => {
            tell(&certified, report.as_ref(), say);
            Ok(())
        }
        Err(finding) => {
            say.object(&json!({ "passed": false, "finding": format!("{finding:#}") }));
            Err(finding.context(format!("{} does not verify", folder.display())))
        }
    }
}

fn check(
    folder: &Path,
    arguments: &VerifyArguments,
    say: Say,
) -> Result<(Verified, Option<LogReport>)> {
    let fetched; // Keeps what was fetched until all of it was read.
    let log = match &arguments.from {
        Some(place) => {
            let chain = read_venue(&folder.join("genesis.bin"))?.genesis().chain;
            fetched = fetch(place, folder, chain, say)?;
            fetched.path().to_owned()
        }
        None => {
            let node = NodeFile::load(&folder.join("node.toml"))?;
            folder.join(node.data).join("state")
        }
    };
    let log = Disk::open(log)?;
    let certified = certified(folder, log.clone(), say)?;
    if let Some(binary) = &arguments.with {
        compare(binary, arguments, &certified, say)?;
    }
    let report = certified.base.is_none().then(|| books(folder, log, say));
    Ok((certified, report.transpose()?))
}

/// Copies what was published into a log of its own; relative paths are taken from `base`.
pub fn fetch(place: &str, base: &Path, chain: ChainId, say: Say) -> Result<TempDir> {
    let copy = TempDir::with_prefix("lifeboat-verify-")?;
    let (sender, mut published) = mpsc::channel(AHEAD);
    let reading = read_published(place, base, chain, sender)?;
    let mut log = Writer::open(Arc::new(Disk::open(copy.path())?))?;
    let bar = say.bar(0, "blocks fetched");
    while let Some(found) = published.blocking_recv() {
        let found = found.map_err(|error| anyhow!("the published history ends: {error}"))?;
        let block = found.decode();
        let block = block.with_context(|| format!("block {} is not a block", found.height))?;
        log.append(&block, &found.certificate)?;
        bar.set_position(found.height.get());
    }
    bar.finish_and_clear();
    let last = reading.join();
    let last = last.map_err(|_| anyhow!("the reader of blocks panicked"))?;
    say.line(format!("{last} blocks were published at {place}."));
    Ok(copy)
}

/// What another build makes of the same log: it must come to the same root after the same block.
fn compare(binary: &Path, arguments: &VerifyArguments, own: &Verified, say: Say) -> Result<()> {
    let name = binary.display();
    say.line(format!("Replaying with {name} as well ..."));
    let mut command = Command::new(binary);
    command.arg("verify").arg(&arguments.data).arg("--json");
    if let Some(place) = &arguments.from {
        command.arg("--from").arg(place);
    }
    let output = command
        .output()
        .with_context(|| format!("starting {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let other: Value = serde_json::from_str(last).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{name} did not say what it found: {}", said.trim())
    })?;
    if other["passed"] != true {
        bail!("{name} does not pass: {}", other["finding"]);
    }
    if other["height"] != own.height.get() {
        bail!(
            "{name} replayed {} blocks, this build {}: the log grew meanwhile. Stop the node, or give \
             --from for what was published",
            other["height"],
            own.height
        );
    }
    if other["root"] != own.root.to_string() {
        bail!(
            "after block {} this build has root {}, {name} has {}: it must not vote",
            own.height,
            own.root,
            other["root"]
        );
    }
    say.line(format!("{name} comes to the same root."));
    Ok(())
}

fn certified(folder: &Path, log: Disk, say: Say) -> Result<Verified> {
    let bar = say.bar(0, "roots and certificate");
    let verified = verify_log(folder, Arc::new(log), |bytes, bytes_total| {
        bar.set_length(bytes_total);
        bar.set_position(bytes);
    });
    bar.finish_and_clear();
    Ok(verified?)
}

fn books(folder: &Path, log: Disk, say: Say) -> Result<LogReport> {
    let venue = read_venue(&folder.join("genesis.bin"))?;
    let bar = say.bar(0, "books");
    let audited = audit_log(Arc::new(log), venue.genesis(), |_, _, _, progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    Ok(audited?)
}

/// A validator's folder: the one given, or the first in a venue's.
pub fn folder(given: &Path, public: bool) -> Result<PathBuf> {
    let first = given.join("node-0");
    for folder in [given, &first] {
        if folder.join("genesis.bin").exists() {
            return Ok(folder.to_owned());
        }
    }
    if public {
        bail!("{} holds no genesis.bin", given.display());
    }
    bail!(
        "{} is no validator's folder: there is no genesis.bin in it. Give the folder that holds \
         node.toml, or the one `lifeboat run` keeps its data in",
        given.display()
    );
}

fn tell(certified: &Verified, report: Option<&LogReport>, say: Say) {
    say.line(format!(
        "Blocks up to {}, {} commands. Root after the last: {}",
        certified.height, certified.commands, certified.root
    ));
    if let Some(height) = certified.certified {
        say.line(format!(
            "The validators' certificate covers every block up to {height}."
        ));
    }
    if let Some(torn) = &certified.torn {
        say.line(format!(
            "{torn}: a crash left that, and consensus's own store has the block."
        ));
    }
    match (report, certified.base) {
        (Some(report), _) => {
            let checks = report.checks.iter();
            let checks: Vec<String> = checks.map(|(id, count)| format!("{id} {count} times")).collect();
            say.line(format!(
                "{} trades. Everything holds. Checked: {}.",
                report.trades,
                checks.join(", ")
            ));
        }
        (None, base) => say.line(format!(
            "{} agreed roots hold. The log begins at the state after block {}, which the validators \
             certified and this one fetched from its peers; the books from genesis on are checked \
             where the whole log is.",
            certified.roots_compared,
            base.unwrap_or_default()
        )),
    }
    say.object(&json!({
        "passed": true,
        "base": certified.base.map(|height| height.get()),
        "roots_compared": certified.roots_compared,
        "certified": certified.certified.map(|height| height.get()),
        "height": certified.height.get(),
        "root": certified.root.to_string(),
        "commands": certified.commands,
        "rejected": report.map(|report| &report.rejected),
        "quarantined": report.map(|report| report.quarantined),
        "trades": report.map(|report| report.trades),
        "invariants": report.map(|report| &report.checks),
    }));
}
