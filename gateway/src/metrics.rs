//! Counters of the gateway, and their Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or gauge.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $help:literal;)+) => {
        /// All counters.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: Count,)+ }

        impl Metrics {
            /// Prometheus text.
            pub fn text(&self) -> String {
                let mut out = String::new();
                $(line(&mut out, concat!("lifeboat_gateway_", stringify!($name)), $kind, $help,
                    self.$name.get() as f64);)+
                out
            }
        }
    };
}

metrics! {
    /// Open sockets.
    connections: "gauge", "Open sockets";
    /// Sockets turned away at the limit.
    connections_refused_total: "counter", "Sockets turned away at the limit";
    /// Requests.
    requests_total: "counter", "Requests";
    /// Requests answered with an error.
    errors_total: "counter", "Requests answered with an error";
    /// Requests over a rate.
    throttled_total: "counter", "Requests over a rate limit";
    /// Commands submitted.
    commands_total: "counter", "Commands submitted to the venue";
    /// Commands whose request gave up waiting.
    outcome_unknown_total: "counter", "Requests answered outcome_unknown";
    /// Blocks followed.
    blocks_total: "counter", "Blocks followed";
    /// Times the gateway missed blocks.
    gaps_total: "counter", "Times that blocks were missed and streams interrupted";
    /// Clients closed for reading too slowly.
    slow_consumers_total: "counter", "Clients closed for reading too slowly";
}

/// One metric with its help and type.
pub fn line(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    let _ = writeln!(
        out,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}
