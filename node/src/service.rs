//! A node as a thread of this process.
//!
//! **Owns** its runtime, its ingress, and starting again: when the node may vote after following, has
//! fetched a snapshot, diverged for the first time at a height, or found its block store damaged.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use commonware_runtime::{Runner as _, Supervisor as _, tokio as runtime};
use lifeboat_engine::types::Height;
use tokio::sync::watch;

use crate::config::NodeConfig;
use crate::files::Disk;
use crate::handle::NodeHandle;
use crate::ingress;
use crate::network::connect;
use crate::node::{NodeSetup, Yielding, start};
use crate::quarantine::panic_message;
use crate::repair::{Suspicion, repair};
use crate::shared::{Stop, lock};

/// A node running on its own thread.
#[derive(Debug)]
pub struct Service {
    current: watch::Receiver<Option<NodeHandle>>,
    asked: Arc<Mutex<bool>>,
    thread: JoinHandle<Stop>,
}

fn storage(context: String, error: impl ToString) -> Stop {
    Stop::Storage {
        context,
        error: error.to_string(),
    }
}

impl Service {
    /// Starts a node and waits until its data folder is open.
    ///
    /// # Errors
    /// The reason when it cannot start.
    pub fn spawn(config: NodeConfig) -> Result<Self, Stop> {
        let (sender, current) = watch::channel(None);
        let asked = Arc::new(Mutex::new(false));
        let thread = std::thread::Builder::new()
            .name(format!("node-{}", config.index))
            .spawn({
                let asked = asked.clone();
                move || run(&config, &sender, &asked)
            })
            .map_err(|error| storage("starting a thread".into(), error))?;
        let mut service = Self {
            current,
            asked,
            thread,
        };
        let opened = futures::executor::block_on(service.current.wait_for(Option::is_some)).is_ok();
        if opened {
            Ok(service)
        } else {
            Err(service.join())
        }
    }

    /// The running node. Another one after a node that had lost its data starts to vote.
    pub fn handle(&self) -> NodeHandle {
        let current = self.current.borrow();
        current.clone().expect("spawn waited for the first one")
    }

    /// Notices when the node is replaced by one that votes.
    pub fn watch(&self) -> watch::Receiver<Option<NodeHandle>> {
        self.current.clone()
    }

    /// Whether the node has stopped.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the node to stop.
    pub fn shutdown(&self) {
        *lock(&self.asked) = true;
        self.handle().shutdown();
    }

    /// Waits for the node to stop and says why it did.
    pub fn join(self) -> Stop {
        self.thread
            .join()
            .unwrap_or_else(|panic| storage("running the node".into(), panic_message(&*panic)))
    }
}

fn run(
    config: &NodeConfig,
    sender: &watch::Sender<Option<NodeHandle>>,
    asked: &Mutex<bool>,
) -> Stop {
    let mut diverged = None;
    loop {
        let stop = catch_unwind(AssertUnwindSafe(|| run_once(config, sender)));
        let stop = match stop {
            Ok(stop @ Stop::Missing { .. }) => broken_down(config, stop, Suspicion::Certain),
            Ok(stop) => stop,
            Err(panic) => {
                let stop = storage("running the node".into(), panic_message(&*panic));
                broken_down(config, stop, Suspicion::Possible)
            }
        };
        if *lock(asked) || !starts_again(&stop, &mut diverged) {
            return stop;
        }
        tracing::warn!(node = config.index, "{stop}");
    }
}

/// What to do when the node broke down: damage in consensus's store of blocks can be repaired.
fn broken_down(config: &NodeConfig, stop: Stop, suspicion: Suspicion) -> Stop {
    match repair(config, suspicion) {
        Ok(Some(aside)) => Stop::Repaired {
            cause: stop.to_string(),
            aside: aside.display().to_string(),
        },
        Ok(None) => stop,
        Err(error) => storage(format!("repairing the block store after: {stop}"), error),
    }
}

/// Whether the node is started again by itself. After a divergence it is rebuilt from the last state
/// that was agreed: what a flipped bit did is gone then. A second divergence at the same height is no
/// accident, so that one stays stopped for a person to look at.
fn starts_again(stop: &Stop, diverged: &mut Option<Height>) -> bool {
    match stop {
        Stop::Diverged { height, .. } => diverged.replace(*height) != Some(*height),
        stop => stop.starts_again(),
    }
}

fn run_once(config: &NodeConfig, sender: &watch::Sender<Option<NodeHandle>>) -> Stop {
    // The network library panics when it cannot listen; ask first, for an error that helps.
    for address in [Some(config.listen()), config.ingress]
        .into_iter()
        .flatten()
    {
        if let Err(error) = TcpListener::bind(address) {
            return storage(
                format!("listening on {address}, which something else may be using"),
                error,
            );
        }
    }
    let consensus = runtime::Config::new()
        .with_worker_threads(config.threads)
        .with_storage_directory(config.data.join("consensus"));
    runtime::Runner::new(consensus).start(|context| async move {
        let started = open(config, &context);
        let (handle, task) = match started {
            Ok(started) => started,
            Err(stop) => return stop,
        };
        let ingress = match config.ingress {
            Some(address) => {
                ingress::serve(address, handle.clone(), ingress::Limits::default()).await
            }
            None => Ok(()),
        };
        if let Err(error) = ingress {
            return storage("listening for clients".into(), error);
        }
        sender.send_replace(Some(handle));
        task.await
            .unwrap_or_else(|error| storage("running the node".into(), error))
    })
}

fn open(
    config: &NodeConfig,
    context: &runtime::Context,
) -> Result<(NodeHandle, commonware_runtime::Handle<Stop>), Stop> {
    let keys = |error| storage("reading keys".into(), error);
    let peers = config.committee.network_keys().map_err(keys)?;
    let addresses = config.committee.members.iter().map(|member| member.address);
    let transport = connect(
        context,
        &config.venue.genesis().chain,
        config.secrets.network().map_err(keys)?,
        config.listen(),
        peers.into_iter().zip(addresses).collect(),
    );
    let folder = config.data.join("state");
    let disk = Disk::open(&folder)
        .map_err(|error| storage(format!("opening {}", folder.display()), error))?;
    let setup = NodeSetup {
        blueprint: config.venue.clone(),
        identity: config.identity.clone(),
        files: Arc::new(disk),
        tuning: config.tuning,
        epochs: config.epochs.clone(),
        background: Yielding::Always,
        prefix: String::new(),
    };
    start(context.child("node"), setup, transport)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::Digest;

    #[test]
    fn a_divergence_is_rebuilt_once_and_a_second_at_its_height_stays_stopped() {
        let at = |height| Stop::Diverged {
            height: Height::new(height),
            agreed: Digest([1; 32]),
            own: Digest([2; 32]),
            kept: Height::new(0),
        };
        let mut diverged = None;
        assert!(starts_again(&at(7), &mut diverged));
        assert!(starts_again(&Stop::MayVote, &mut diverged));
        assert!(starts_again(&at(9), &mut diverged));
        assert!(!starts_again(&at(9), &mut diverged));
        assert!(!starts_again(&Stop::Requested, &mut diverged));
    }
}
