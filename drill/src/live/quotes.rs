//! Makers that follow a drill's script, as clients of real validators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use lifeboat_node::ingress::Request;
use lifeboat_node::shared::{VenueClock, millis as wall};

use super::connection::Connection;
use crate::market::Quoting;

/// Between two looks of the makers at their quotes.
const TURN: Duration = Duration::from_millis(100);

/// Makers under way. Dropping it stops them.
pub struct Quotes {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Quotes {
    /// Makers begin to quote through `validators`, one at a time: the next when it is lost.
    pub fn begin(validators: Vec<SocketAddr>, clock: VenueClock, mut quoting: Quoting) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let run = move || {
            let mut connection: Option<Connection> = None;
            let mut current = 0;
            while !stop.load(Ordering::SeqCst) {
                let quotes = quoting.step(clock.venue(wall(SystemTime::now())));
                if connection.is_none() {
                    connection = Connection::open(validators[current]).ok();
                }
                if let Some(open) = &mut connection {
                    for (id, command) in (0..).zip(quotes) {
                        open.queue(&Request::Submit { id, command });
                    }
                    // What became of quotes shows in the blocks, like everybody else's.
                    if open.pump(&mut Vec::new()).is_err() {
                        connection = None;
                    }
                }
                if connection.is_none() {
                    current = (current + 1) % validators.len();
                }
                thread::sleep(TURN);
            }
        };
        Self {
            stopping,
            thread: Some(thread::spawn(run)),
        }
    }
}

impl Drop for Quotes {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It ends within a turn.
            let _ = thread.join();
        }
    }
}
