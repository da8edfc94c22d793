//! A venue in one thread: an engine, the validators' feeds and a market, without consensus.
//!
//! **Owns** nothing that a real venue has not got: it makes blocks of what feeds and participants
//! send and hands them to the engine, with the ledger auditor listening. A day of trading takes
//! seconds, and the same settings give the same roots. **Never** stands in for consensus: order,
//! loss and delay are the node's to show.

use lifeboat_engine::auth::check_batch;
use lifeboat_engine::types::{Digest, Height, Qty, TimeMs};
use lifeboat_engine::{AgreedRoot, Applied, Block, Command, Engine, Event, Genesis, GenesisError};

use crate::market::{Feed, Instruments, Outlook, Simulation};
use crate::twin::{Finding, LedgerAuditor, LedgerState};

/// One validator: what it observes with, and what it looks at.
pub struct Observer {
    /// Signs its observations.
    pub feed: Feed,
    /// Its own view of the path.
    pub outlook: Box<dyn Outlook>,
}

/// The venue. See the module's head.
pub struct Rehearsal {
    engine: Engine,
    observers: Vec<Observer>,
    simulation: Simulation,
    instruments: Instruments,
    auditor: LedgerAuditor,
    agreed: Option<AgreedRoot>,
    extra: Vec<Command>,
    commands: u64,
}

impl Rehearsal {
    /// A venue at its genesis.
    ///
    /// # Errors
    /// When the engine refuses the genesis.
    pub fn new(
        genesis: &Genesis,
        observers: Vec<Observer>,
        simulation: Simulation,
    ) -> Result<Self, GenesisError> {
        let engine = Engine::genesis(genesis)?;
        let underlyings = &genesis.parameters.underlyings;
        let steps = underlyings
            .iter()
            .map(|underlying| (underlying.tick, underlying.lot));
        Ok(Self {
            engine,
            observers,
            simulation,
            instruments: Instruments::new(steps.collect()),
            auditor: LedgerAuditor::of(genesis),
            agreed: None,
            extra: Vec::new(),
            commands: 0,
        })
    }

    /// Puts a command into the next block, after what feeds and participants send.
    pub fn submit(&mut self, command: Command) {
        self.extra.push(command);
    }

    /// One block, `ms` after the last: everybody acts on the last block's time.
    ///
    /// # Errors
    /// What the auditor found.
    pub fn step(&mut self, ms: u64) -> Result<(Applied, Vec<Event>), Finding> {
        let now = self.engine.time();
        let mut commands = Vec::new();
        for observer in &mut self.observers {
            let outlook = observer.outlook.as_mut();
            commands.extend(observer.feed.step(outlook, &self.instruments, now));
        }
        commands.extend(self.simulation.step(now));
        commands.append(&mut self.extra);
        self.commands += commands.len() as u64;
        self.apply(now.plus_ms(ms), commands)
    }

    fn apply(
        &mut self,
        time: TimeMs,
        commands: Vec<Command>,
    ) -> Result<(Applied, Vec<Event>), Finding> {
        let height = self.engine.height().next();
        let commands = check_batch(self.engine.chain(), commands);
        let block = Block {
            height,
            time,
            agreed: self.agreed,
            commands,
        };
        let mut events = Vec::new();
        let applied = self
            .engine
            .apply(&block, &mut events)
            .map_err(|error| Finding {
                invariant: "I2",
                event: self.engine.events_emitted(),
                what: error.to_string(),
            })?;
        self.agreed = Some(AgreedRoot {
            height,
            root: applied.state_root,
        });
        self.simulation.on_events(&events);
        events
            .iter()
            .for_each(|event| self.instruments.on_event(event));
        self.auditor
            .observe_at(time, applied.first_event, &events)?;
        Ok((applied, events))
    }

    /// Holds the engine's books to the auditor's.
    ///
    /// # Errors
    /// What the auditor found.
    pub fn audit(&mut self) -> Result<(), Finding> {
        self.auditor.compare(&ledger_state(&self.engine))
    }

    /// The auditor, for its counts.
    pub const fn auditor(&self) -> &LedgerAuditor {
        &self.auditor
    }

    /// The engine, for reading.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Commands sent so far.
    pub const fn commands(&self) -> u64 {
        self.commands
    }

    /// Height and root now.
    pub fn root(&self) -> (Height, Digest) {
        (self.engine.height(), self.engine.state_root())
    }
}

/// What an engine holds, in the auditor's form.
pub fn ledger_state(engine: &Engine) -> LedgerState {
    let mut state = LedgerState {
        fees: engine.ledger().fees,
        ..LedgerState::default()
    };
    for (id, account) in engine.ledger().iter() {
        state.cash.insert(id, account.cash);
        if account.open_orders > 0 {
            state.open_orders.insert(id, account.open_orders);
        }
        for holding in account
            .holdings
            .iter()
            .filter(|holding| holding.position != 0)
        {
            let lot = engine
                .instruments()
                .get(holding.instrument)
                .map_or(0, |i| i.lot.get());
            let place = (holding.instrument, id);
            state
                .positions
                .insert(place, Qty::new(holding.position * lot));
        }
    }
    state
}
