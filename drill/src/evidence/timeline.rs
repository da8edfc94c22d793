//! What happened in a run, by time.

use serde::Serialize;

/// Width of one sample of the load.
pub const SAMPLE_MS: u64 = 100;

/// Something that happened: a fault, or what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Which run, from 1.
    pub run: u32,
    /// Milliseconds since the run's load began.
    pub at_ms: f64,
    /// What, such as `kill` or `ready`.
    pub what: String,
    /// Whom it concerns; nobody in particular if empty.
    pub who: Vec<usize>,
    /// Whether the plan did it.
    pub is_fault: bool,
    /// More, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The load over [`SAMPLE_MS`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Which run.
    pub run: u32,
    /// Where it begins.
    pub at_ms: u64,
    /// Commands that were sent for the first time.
    pub sent: u32,
    /// Commands that were acknowledged.
    pub acknowledged: u32,
    /// Milliseconds from due to acknowledgement: the middle of those acknowledged here. 0 if none.
    pub p50_ms: f64,
    /// The 99th hundredth.
    pub p99_ms: f64,
}

/// One cancel of a client that watches a storm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cancel {
    /// Which run.
    pub run: u32,
    /// When it was sent, by the run's clock.
    pub at_ms: f64,
    /// Milliseconds until its answer.
    pub took_ms: f64,
    /// Milliseconds of those until the time of the block that carries it.
    pub waited_ms: f64,
    /// Height of that block.
    pub block: u64,
}

/// A stretch of time in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// Which run.
    pub run: u32,
    /// From here, by the run's clock.
    pub from_ms: f64,
    /// To here.
    pub to_ms: f64,
    /// The mode.
    pub mode: String,
}

/// A run, or several one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Faults and what became of them.
    pub moments: Vec<Moment>,
    /// The load.
    pub samples: Vec<Sample>,
    /// The venue's modes.
    pub bands: Vec<Band>,
    /// Cancels that were watched one by one.
    pub cancels: Vec<Cancel>,
}

/// One command, as far as a sample of the load is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    /// When it should have been sent.
    pub due_ms: f64,
    /// When it was first sent; `None` if never.
    pub sent_ms: Option<f64>,
    /// When it was acknowledged; `None` if not.
    pub acknowledged_ms: Option<f64>,
}

impl Timeline {
    /// Adds one run's load.
    pub fn trace(&mut self, run: u32, commands: impl IntoIterator<Item = Traced>) {
        let mut sent: Vec<u32> = Vec::new();
        let mut answered: Vec<Vec<f64>> = Vec::new();
        let place = |at: f64| (at.max(0.0) as u64 / SAMPLE_MS) as usize;
        for command in commands {
            if let Some(at) = command.sent_ms.map(place) {
                sent.resize(sent.len().max(at + 1), 0);
                sent[at] += 1;
            }
            if let Some(at) = command.acknowledged_ms {
                let bucket = place(at);
                answered.resize(answered.len().max(bucket + 1), Vec::new());
                answered[bucket].push(at - command.due_ms);
            }
        }
        for at in 0..sent.len().max(answered.len()) {
            let mut took = answered.get(at).cloned().unwrap_or_default();
            took.sort_by(f64::total_cmp);
            let share = |hundredths: usize| {
                took.get((took.len() * hundredths / 100).min(took.len().saturating_sub(1)))
                    .copied()
            };
            self.samples.push(Sample {
                run,
                at_ms: at as u64 * SAMPLE_MS,
                sent: sent.get(at).copied().unwrap_or_default(),
                acknowledged: took.len() as u32,
                p50_ms: share(50).unwrap_or_default(),
                p99_ms: share(99).unwrap_or_default(),
            });
        }
    }

    /// One JSON object a line: moments and modes by time, then the load, then cancels.
    pub fn lines(&self) -> String {
        let line =
            |kind: &str, value: &dyn erased::Json| format!("{{\"{kind}\":{}}}\n", value.json());
        let moments = self.moments.iter().map(|one| line("moment", one));
        let bands = self.bands.iter().map(|one| line("mode", one));
        let samples = self.samples.iter().map(|one| line("load", one));
        let cancels = self.cancels.iter().map(|one| line("cancel", one));
        moments.chain(bands).chain(samples).chain(cancels).collect()
    }
}

/// Lets one closure write any of the four.
mod erased {
    use serde::Serialize;

    pub trait Json {
        fn json(&self) -> String;
    }

    impl<T: Serialize> Json for T {
        fn json(&self) -> String {
            // Plain structs of numbers and texts.
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fall_into_their_samples() {
        let mut timeline = Timeline::default();
        let traced = |due: f64, answered: Option<f64>| Traced {
            due_ms: due,
            sent_ms: Some(due),
            acknowledged_ms: answered,
        };
        let commands = [
            traced(0.0, Some(50.0)),
            traced(10.0, Some(250.0)),
            traced(20.0, None),
        ];
        timeline.trace(2, commands);
        let told: Vec<_> = timeline
            .samples
            .iter()
            .map(|one| {
                (
                    one.run,
                    one.at_ms,
                    one.sent,
                    one.acknowledged,
                    one.p50_ms,
                    one.p99_ms,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (2, 0, 3, 1, 50.0, 50.0),
                (2, 100, 0, 0, 0.0, 0.0),
                (2, 200, 0, 1, 240.0, 240.0)
            ]
        );
        timeline.cancels.push(Cancel {
            run: 2,
            at_ms: 5.0,
            took_ms: 20.0,
            waited_ms: 8.0,
            block: 3,
        });
        let lines = timeline.lines();
        assert_eq!(lines.lines().count(), 4);
        let first: serde_json::Value =
            serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["load"]["sent"], 3);
        let last: serde_json::Value =
            serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["cancel"]["block"], 3);
    }
}
