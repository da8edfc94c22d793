//! The gateway's parameters. Every bound on what a client can cost is here.

use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::Rate;

/// Parameters of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// This gateway's number: session keys are derived with it, so that two gateways of one venue
    /// never share a nonce sequence.
    pub gateway: u16,
    /// Sockets at once; one more is told 503 and closed.
    pub connections_max: usize,
    /// Bytes of one request or message.
    pub message_bytes_max: usize,
    /// Bytes of answers and notifications that may wait for one client.
    pub outbox_bytes_max: usize,
    /// Requests of one connection that may wait for an outcome; the next is read after one is done.
    pub requests_open_max: usize,
    /// Commands of one session key that may be open. Below the engine's nonce window, so that
    /// reordering on the way makes no nonce stale.
    pub commands_open_max: usize,
    /// Requests of one connection.
    pub connection_rate: Rate,
    /// Requests of one account over all its connections.
    pub account_rate: Rate,
    /// How long a request waits for its outcome before `outcome_unknown`.
    pub outcome_timeout: Duration,
    /// How long after the latest block's time a command stays valid, in milliseconds.
    pub command_valid_ms: u64,
    /// How long the head of an HTTP request may take.
    pub head_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// A WebSocket silent for so long is pinged; silent for twice as long it is closed.
    pub idle_timeout: Duration,
    /// A root this old, or blocks this late, make the venue not ready.
    pub fresh_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8_080)),
            gateway: 0,
            connections_max: 10_000,
            message_bytes_max: 64 << 10,
            outbox_bytes_max: 4 << 20,
            requests_open_max: 64,
            commands_open_max: 100,
            connection_rate: Rate {
                per_second: 1_000.0,
                burst: 2_000.0,
            },
            account_rate: Rate {
                per_second: 5_000.0,
                burst: 10_000.0,
            },
            outcome_timeout: Duration::from_secs(3),
            command_valid_ms: 10_000,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            fresh_ms: 5_000,
        }
    }
}
