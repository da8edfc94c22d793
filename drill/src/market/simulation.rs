//! The whole market in one place: an outlook, its makers and takers, stepped by block time.

use lifeboat_engine::command::{Action, CancelScope, OptionTerms};
use lifeboat_engine::types::{
    AccountId, ChainId, InstrumentId, Mode, Price, PublicKey, Qty, TimeMs,
};
use lifeboat_engine::{Command, Event};

use super::instruments::Instruments;
use super::maker::{Maker, MakerSettings};
use super::outlook::Outlook;
use super::participant::Participant;
use super::taker::{Taker, TakerSettings};

/// Who takes part.
#[derive(Clone, Debug)]
pub struct SimulationSettings {
    /// Decides keys and behaviour.
    pub seed: u64,
    /// The venue.
    pub chain: ChainId,
    /// The first maker's account; makers and then takers have consecutive ids from it.
    pub first_account: AccountId,
    /// Makers; each is a little wider than the one before.
    pub makers: u32,
    /// Takers.
    pub takers: u32,
    /// How makers quote.
    pub maker: MakerSettings,
    /// How takers behave.
    pub taker: TakerSettings,
    /// Tick and lot of each underlying, in the order of their ids.
    pub steps: Vec<(Price, Qty)>,
}

/// A market that is stepped. Feed it the venue's events in order, then ask it what happens next.
pub struct Simulation {
    outlook: Box<dyn Outlook>,
    instruments: Instruments,
    makers: Vec<Maker>,
    takers: Vec<Taker>,
    mode: Mode,
}

impl Simulation {
    /// A market on `outlook`.
    pub fn new(settings: &SimulationSettings, outlook: Box<dyn Outlook>) -> Self {
        let participant = |n: u32| {
            let account = AccountId::new(settings.first_account.get() + n);
            Participant::development(settings.seed, account, settings.chain)
        };
        let maker = |n: u32| {
            let width = settings.maker.width * (1.0 + 0.25 * f64::from(n));
            Maker::new(
                participant(n),
                MakerSettings {
                    width,
                    ..settings.maker
                },
            )
        };
        let taker = |n: u32| {
            let participant = participant(settings.makers + n);
            Taker::new(participant, settings.taker, settings.seed)
        };
        Self {
            outlook,
            instruments: Instruments::new(settings.steps.clone()),
            makers: (0..settings.makers).map(maker).collect(),
            takers: (0..settings.takers).map(taker).collect(),
            mode: Mode::Open,
        }
    }

    /// The session keys that the participants sign with, in the order of their accounts.
    pub fn session_keys(&mut self) -> Vec<(AccountId, PublicKey)> {
        self.participants()
            .map(|one| (one.account(), one.public()))
            .collect()
    }

    /// Goes on where an earlier process stopped: nonces move past what it used, and takers cancel
    /// the orders that they do not remember.
    pub fn resume(&mut self, now: TimeMs) -> Vec<Command> {
        self.participants()
            .for_each(|participant| participant.resume(now));
        let cancel_all = |taker: &mut Taker| {
            taker
                .participant()
                .sign(Action::CancelAll(CancelScope::Account))
        };
        self.takers.iter_mut().map(cancel_all).collect()
    }

    /// What an account holds from before; makers lean against it.
    pub fn holds(&mut self, account: AccountId, instrument: InstrumentId, qty: Qty) {
        let mut makers = self.makers.iter_mut();
        if let Some(maker) = makers.find(|maker| maker.account() == account) {
            maker.holds(instrument, qty);
        }
    }

    /// An instrument that was listed before the first event this market is given.
    pub fn know(&mut self, id: InstrumentId, terms: OptionTerms) {
        self.instruments.list(id, terms);
    }

    /// The instruments as events told.
    pub const fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Learns what happened.
    pub fn on_events(&mut self, events: &[Event]) {
        for event in events {
            if let Event::ModeChanged { to, .. } = event {
                self.mode = *to;
            }
            self.instruments.on_event(event);
            self.makers
                .iter_mut()
                .for_each(|maker| maker.on_event(event));
            self.takers
                .iter_mut()
                .for_each(|taker| taker.on_event(event));
        }
    }

    /// The mode of a venue that ran before.
    pub const fn in_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// What the participants send by block time `now`: makers quote once orders may rest, takers trade
    /// while the venue is open.
    pub fn step(&mut self, now: TimeMs) -> Vec<Command> {
        let mut commands = Vec::new();
        if !matches!(self.mode, Mode::Open | Mode::PostOnly) {
            return commands;
        }
        let outlook = self.outlook.as_mut();
        for maker in &mut self.makers {
            commands.extend(maker.step(outlook, &self.instruments, now));
        }
        if self.mode != Mode::Open {
            return commands;
        }
        for taker in &mut self.takers {
            commands.extend(taker.step(outlook, &self.instruments, now));
        }
        commands
    }

    fn participants(&mut self) -> impl Iterator<Item = &mut Participant> {
        let makers = self.makers.iter_mut().map(Maker::participant);
        makers.chain(self.takers.iter_mut().map(Taker::participant))
    }
}
