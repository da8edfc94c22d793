//! `lifeboat verify`: an auditor's replay of one validator's log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use lifeboat_drill::log_audit::{LogReport, audit_log};
use lifeboat_node::config::{NodeFile, read_venue};
use lifeboat_node::files::Disk;
use lifeboat_node::verify::{Verified, verify_folder};
use serde_json::json;

use crate::arguments::VerifyArguments;
use crate::say::Say;

/// Replays a validator's log: every root that was agreed, the certificate that covers it, and then the
/// books after every block. The books need the log from genesis on.
pub fn verify(arguments: &VerifyArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let folder = folder(&arguments.data)?;
    let checked = certified(&folder, say).and_then(|certified| {
        let report = certified.base.is_none().then(|| books(&folder, say));
        Ok((certified, report.transpose()?))
    });
    match checked {
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

fn certified(folder: &Path, say: Say) -> Result<Verified> {
    let bar = say.bar(0, "roots and certificate");
    let verified = verify_folder(folder, |bytes, bytes_total| {
        bar.set_length(bytes_total);
        bar.set_position(bytes);
    });
    bar.finish_and_clear();
    Ok(verified?)
}

fn books(folder: &Path, say: Say) -> Result<LogReport> {
    let venue = read_venue(&folder.join("genesis.bin"))?;
    let node = NodeFile::load(&folder.join("node.toml"))?;
    let disk = Disk::open(folder.join(node.data).join("state"))?;
    let bar = say.bar(0, "books");
    let audited = audit_log(Arc::new(disk), venue.genesis(), |_, _, progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    Ok(audited?)
}

/// A validator's folder: the one given, or the first in a venue's.
fn folder(given: &Path) -> Result<PathBuf> {
    let first = given.join("node-0");
    for folder in [given, &first] {
        if folder.join("genesis.bin").exists() {
            return Ok(folder.to_owned());
        }
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
