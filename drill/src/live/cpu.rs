//! Processor time of threads, as Linux counts it; nothing on other systems.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Linux counts in hundredths of a second on every architecture it is used on here.
const TICKS_PER_SECOND: f64 = 100.0;

/// Ticks of all threads of the processes `ids` and of this one, by the threads' names. Numbers at a
/// name's end are left out, so that a pool's threads count together.
pub fn by_thread(ids: &[u32]) -> BTreeMap<String, u64> {
    let mut ticks = BTreeMap::new();
    let processes = ids
        .iter()
        .map(|id| (id.to_string(), ""))
        .chain([("self".into(), "load/")]);
    for (process, prefix) in processes {
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            if let Some((name, used)) = parse(&stat) {
                *ticks.entry(format!("{prefix}{name}")).or_insert(0) += used;
            }
        }
    }
    ticks
}

/// Name and ticks in user and system mode of a `stat` line.
fn parse(stat: &str) -> Option<(String, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user + system))
}

/// Processors used between two counts.
pub fn difference(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    elapsed: Duration,
) -> BTreeMap<String, f64> {
    let used = |(name, ticks): (&String, &u64)| {
        let earlier = before.get(name).copied().unwrap_or(0);
        let seconds = ticks.saturating_sub(earlier) as f64 / TICKS_PER_SECOND;
        (name.clone(), seconds / elapsed.as_secs_f64().max(1e-9))
    };
    after.iter().map(used).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_threads_name() {
        let line = "12 (node-3 (x) 7) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20 0 1";
        assert_eq!(parse(line), Some(("node-3 (x) ".into(), 42)));
        assert_eq!(parse("nonsense"), None);
    }
}
