//! The engine as the node's state machine.

use std::io;
use std::sync::Arc;

use lifeboat_engine::params::ExitParameters;
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{
    Advanced, Block, CheckedCommand, Command, Engine, Event, Genesis, GenesisError, auth,
};

use crate::machine::{Blueprint, Machine};
use crate::sabotage::Drift;

impl Machine for Engine {
    fn advance(&mut self, block: &Block, events: &mut Vec<Event>) -> Advanced {
        // The executor applies heights in order, so a refusal is a broken invariant (I3).
        Self::advance(self, block, events).expect("I3: blocks come in height order")
    }

    fn commit(&mut self) -> Digest {
        Self::commit(self)
    }

    fn position(&self) -> (Height, TimeMs, Mode) {
        (self.height(), self.time(), self.mode().mode)
    }

    fn state_root(&self) -> Digest {
        Self::state_root(self)
    }

    fn write_snapshot(&self, mut out: &mut dyn io::Write) -> io::Result<()> {
        Self::write_snapshot(self, &mut out)
    }

    fn quarantine(&mut self, height: Height, index: u32) {
        Self::quarantine(self, height, index);
    }

    fn engine(&self) -> Option<&Engine> {
        Some(self)
    }
}

/// Makes engines of one venue.
#[derive(Clone, Debug)]
pub struct Venue {
    genesis: Genesis,
    drift: Arc<Drift>,
}

impl Venue {
    /// A venue that begins as `genesis` says.
    ///
    /// # Errors
    /// When the genesis is not valid.
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        Engine::genesis(&genesis)?;
        Ok(Self {
            genesis,
            drift: Arc::default(),
        })
    }

    /// The same venue on a node that is to do something else than the others, once.
    #[must_use]
    pub fn drifting(self) -> Self {
        Self {
            drift: Arc::new(Drift::armed()),
            ..self
        }
    }

    /// How it begins.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }
}

impl Blueprint for Venue {
    fn chain(&self) -> ChainId {
        self.genesis.chain
    }

    fn genesis_time(&self) -> TimeMs {
        self.genesis.time
    }

    fn exits(&self) -> Option<ExitParameters> {
        let parameters = &self.genesis.parameters;
        (!parameters.vaults.is_empty()).then_some(parameters.exits)
    }

    fn genesis(&self) -> Box<dyn Machine> {
        Box::new(Engine::genesis(&self.genesis).expect("it was valid when the venue was made"))
    }

    fn restore(&self, mut snapshot: &mut dyn io::Read) -> io::Result<Box<dyn Machine>> {
        let engine = Engine::read_snapshot(&mut snapshot)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(engine))
    }

    fn drift(&self) -> Option<&Drift> {
        Some(&self.drift)
    }

    fn check(&self, commands: Vec<Command>) -> Vec<CheckedCommand> {
        auth::check_batch(&self.genesis.chain, commands)
    }
}
