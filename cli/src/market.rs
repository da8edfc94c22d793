//! Drives what a venue lives on: validators' observations, makers and takers, block by block.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use lifeboat_drill::market::{
    Cast, Instruments, MakerSettings, Outlook, Recording, ReplayOutlook, SimulatedOutlook,
    Simulation, SimulationSettings, TakerSettings,
};
use lifeboat_engine::instrument::Instrument;
use lifeboat_engine::params::Parameters;
use lifeboat_engine::types::{Price, Qty, TimeMs};
use lifeboat_engine::{Command, Engine};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::handle::NodeHandle;
use lifeboat_node::outcome::Waiter;
use lifeboat_node::shared::AppliedBlock;
use tokio::sync::{broadcast, oneshot, watch};

use crate::attest::Voice;
use crate::development::{VenueFile, wall_ms};

/// Error of each price source, as a share of the price.
pub const SOURCE_NOISE: f64 = 2e-4;
/// Block time between two observations.
const OBSERVE_MS: u64 = 1_000;

/// How often a node's readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The node of the moment: it is replaced once when it may vote after losing its data.
pub type CurrentNode = watch::Receiver<Option<NodeHandle>>;

/// What everybody on a venue looks at.
pub enum Scene {
    /// A seeded path.
    Simulated {
        /// Its seed.
        seed: u64,
        /// Where it begins.
        origin: TimeMs,
    },
    /// A recording.
    Recorded(Arc<Recording>),
}

impl Scene {
    /// The scene of a venue.
    pub fn of(file: &VenueFile) -> Result<Self> {
        Ok(match file.recording()? {
            Some(recording) => Self::Recorded(Arc::new(recording)),
            None => Self::Simulated {
                seed: file.seed,
                origin: TimeMs::new(file.start_ms),
            },
        })
    }

    fn outlook(&self) -> Box<dyn Outlook> {
        match self {
            Self::Simulated { seed, origin } => {
                Box::new(SimulatedOutlook::default_pair(*seed, *origin))
            }
            Self::Recorded(recording) => Box::new(ReplayOutlook::new(recording)),
        }
    }
}

fn steps(parameters: &Parameters) -> Vec<(Price, Qty)> {
    parameters
        .underlyings
        .iter()
        .map(|underlying| (underlying.tick, underlying.lot))
        .collect()
}

/// Reads a node's engine; `None` while there is none.
pub fn read<R>(node: &NodeHandle, read: impl FnOnce(&Engine) -> R) -> Option<R> {
    node.with_engine(read)
}

/// Submits commands whose fates nobody waits for.
pub fn send(node: &NodeHandle, commands: Vec<Command>) {
    for command in commands {
        // What becomes of it shows in the blocks, like everybody else's.
        let (nobody, _) = oneshot::channel();
        node.submit_with(command, Waiter::Once(nobody));
    }
}

fn listed(engine: &Engine) -> Vec<Instrument> {
    engine
        .instruments()
        .iter()
        .filter(|instrument| instrument.is_listed())
        .copied()
        .collect()
}

/// Waits until a node has replayed what it had and goes on with the others; false when it stops.
/// Before that its blocks are history, and nobody should act on them.
pub async fn is_live(node: &NodeHandle) -> bool {
    let live = async {
        let ready = || {
            let status = node.status(TimeMs::new(wall_ms()));
            status.ready && status.height.get() > 0
        };
        while !ready() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        _ = node.stopped() => false,
        () = live => true,
    }
}

/// Waits for the next block; after falling behind, for the next there is.
async fn next_block(
    blocks: &mut broadcast::Receiver<Arc<AppliedBlock>>,
) -> Option<(Arc<AppliedBlock>, bool)> {
    let mut missed = false;
    loop {
        match blocks.recv().await {
            Ok(block) => return Some((block, missed)),
            Err(broadcast::error::RecvError::Lagged(_)) => missed = true,
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

/// Observes for one validator as long as its node runs.
pub async fn observe(
    config: NodeConfig,
    scene: Arc<Scene>,
    voice: Voice,
    mut current: CurrentNode,
) {
    let genesis = config.venue.genesis();
    loop {
        let node = current.borrow_and_update().clone();
        if let Some(node) = node {
            let mut instruments = Instruments::new(steps(&genesis.parameters));
            observe_node(&voice, scene.outlook(), &mut instruments, &node).await;
        }
        if current.changed().await.is_err() {
            return;
        }
    }
}

async fn observe_node(
    voice: &Voice,
    mut outlook: Box<dyn Outlook>,
    instruments: &mut Instruments,
    node: &NodeHandle,
) {
    if !is_live(node).await {
        return;
    }
    let mut blocks = node.subscribe();
    let known = read(node, |engine| (engine.time(), listed(engine)));
    let Some((mut now, known)) = known else {
        return;
    };
    let feed = || voice.lock().unwrap_or_else(PoisonError::into_inner);
    feed().resume(now);
    known
        .iter()
        .for_each(|instrument| instruments.list(instrument.id, instrument.terms));
    let mut observed_at = TimeMs::new(0);
    loop {
        if now.since(observed_at) >= OBSERVE_MS {
            observed_at = now;
            let reports = feed().step(outlook.as_mut(), instruments, now);
            send(node, reports);
        }
        let block = tokio::select! {
            _ = node.stopped() => return,
            block = next_block(&mut blocks) => block,
        };
        let Some((block, missed)) = block else { return };
        block
            .events
            .iter()
            .for_each(|event| instruments.on_event(event));
        if missed {
            let known = read(node, listed).unwrap_or_default();
            known
                .iter()
                .for_each(|instrument| instruments.list(instrument.id, instrument.terms));
        }
        now = block.applied.time;
    }
}

/// Makes and takes through `nodes` in turn, as long as they run.
pub async fn trade(cast: Cast, scene: Arc<Scene>, parameters: Parameters, nodes: Vec<CurrentNode>) {
    let settings = SimulationSettings {
        seed: cast.seed,
        chain: cast.chain,
        first_account: cast.first_maker(),
        makers: cast.makers,
        takers: cast.takers,
        maker: MakerSettings::default(),
        taker: TakerSettings::default(),
        steps: steps(&parameters),
    };
    let mut simulation = Simulation::new(&settings, scene.outlook());
    let handles = || -> Vec<NodeHandle> {
        nodes
            .iter()
            .filter_map(|node| node.borrow().clone())
            .collect()
    };
    let Some(first) = handles().first().cloned() else {
        return;
    };
    if !is_live(&first).await {
        return;
    }
    let mut blocks = first.subscribe();
    let Some(now) = read(&first, |engine| adopt(&mut simulation, engine)) else {
        return;
    };
    send(&first, simulation.resume(now));
    let mut turn = 0;
    while let Some((block, missed)) = next_block(&mut blocks).await {
        simulation.on_events(&block.events);
        if missed {
            read(&first, |engine| adopt(&mut simulation, engine));
        }
        let handles = handles();
        turn += 1;
        if let Some(node) = handles.get(turn % handles.len().max(1)) {
            send(node, simulation.step(block.applied.time));
        }
    }
}

/// Takes over what a running venue lists and what its makers hold. Returns its time.
fn adopt(simulation: &mut Simulation, engine: &Engine) -> TimeMs {
    for instrument in listed(engine) {
        simulation.know(instrument.id, instrument.terms);
    }
    for (account, entry) in engine.ledger().iter() {
        for holding in &entry.holdings {
            let lot = engine
                .instruments()
                .get(holding.instrument)
                .map_or(0, |i| i.lot.get());
            let qty = Qty::new(holding.position.saturating_mul(lot));
            simulation.holds(account, holding.instrument, qty);
        }
    }
    simulation.in_mode(engine.mode().mode);
    engine.time()
}
