//! What a drill leaves behind, the same from both executors: its report, its timeline, a page that
//! shows them, the plan as it was carried out, and the command that does it again.
//!
//! **Owns** the folder's layout: `plan.toml`, `report.json`, `timeline.jsonl`, `report.html`; beside
//! them lie `logs/` and `venue/` of a live run. **Never** judges.

mod market;
mod page;
mod plot;
mod report;
pub mod svg;
mod timeline;

use std::fs;
use std::io;
use std::path::Path;

use lifeboat_engine::types::Mode;

pub use market::MarketFigures;
pub use page::page;
pub use report::{DrillReport, Figures, RootAt, Versions, millis};
pub use timeline::{Band, Cancel, Moment, SAMPLE_MS, Sample, Timeline, Traced};

use crate::plan::Plan;

/// Writes a drill's evidence into `folder`.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(folder: &Path, plan: &Plan, report: &DrillReport) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let object = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    fs::write(folder.join("plan.toml"), plan.to_toml())?;
    fs::write(folder.join("report.json"), object)?;
    fs::write(folder.join("timeline.jsonl"), report.timeline.lines())?;
    fs::write(folder.join("report.html"), page(plan, report))
}

/// A mode as plans and pages write it.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Open => "OPEN",
        Mode::Halted => "HALTED",
        Mode::Verify => "VERIFY",
        Mode::CancelOnly => "CANCEL_ONLY",
        Mode::Auction => "AUCTION",
        Mode::PostOnly => "POST_ONLY",
        Mode::ClearingOnly => "CLEARING_ONLY",
        Mode::Exit => "EXIT",
    }
}
