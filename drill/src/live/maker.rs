//! A maker whose validator dies as it leads, and with it the maker's connection.
//!
//! What the maker's session does is what a session must do: cancel-on-disconnect is a cancel that was
//! signed beforehand and goes to another validator. Quotes that were under way when the connection
//! dropped carry a `valid_until`, so that after it nothing of them can come to rest any more, and a
//! second cancel after that time makes the end certain.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use lifeboat_engine::command::{Action, CancelScope};
use lifeboat_engine::types::{AccountId, OrderId, TimeMs};
use lifeboat_engine::{Command, Event};
use lifeboat_node::ingress::{BlockingClient, Reply, Request};
use lifeboat_node::outcome::Verdict;
use lifeboat_node::shared::millis as wall;

use super::fleet::{Fleet, FleetError};
use super::load::Load;
use super::scene::{DrillError, Scene, load_settings};
use super::strike::lost;
use super::survey::replay;
use crate::evidence::DrillReport;
use crate::log_audit::audit_log;
use crate::market::{LoadPlan, LoadSettings, Participant};

/// How long a quote under way may still come to rest.
const VALID_MS: u64 = 1_000;
const ANSWER: Duration = Duration::from_secs(30);
const TURN: Duration = Duration::from_secs(20);

/// A maker with a connection of its own.
pub struct Maker {
    participant: Participant,
    plan: LoadPlan,
    messages: usize,
    /// Quoted levels, bids and asks.
    levels: usize,
    /// The validator it is connected to.
    home: usize,
    client: Option<BlockingClient>,
}

impl Maker {
    /// A maker of `levels` quotes, bids and asks.
    ///
    /// # Errors
    /// When the venue lists too few options for them.
    pub fn new(scene: &Scene, levels: usize) -> Result<Self, DrillError> {
        let all = load_settings(&scene.fleet);
        let account = AccountId::new(all.first_account.get() + all.traders);
        let settings = LoadSettings {
            first_account: account,
            traders: 0,
            quoters: 1,
            levels_per_quote: 100,
            ..all
        };
        let new_plan = || LoadPlan::new(settings, scene.targets.clone());
        // The plan goes around all instruments; 400 levels are the first few messages.
        let mut seen = BTreeSet::new();
        let mut messages = 0;
        let mut plan = new_plan();
        while seen.len() * 2 < levels {
            let Some(Action::MassQuote(quote)) = plan.mass_quotes(1).pop().and_then(action) else {
                return Err(DrillError::Listed(scene.targets.len()));
            };
            let new = quote
                .entries
                .iter()
                .filter(|entry| seen.insert(entry.instrument));
            if new.count() == 0 {
                return Err(DrillError::Listed(scene.targets.len()));
            }
            messages += 1;
        }
        Ok(Self {
            participant: Participant::development(all.seed, account, all.chain),
            plan: new_plan(),
            messages,
            levels,
            home: 0,
            client: None,
        })
    }

    /// The validator it is connected to.
    pub const fn home(&self) -> usize {
        self.home
    }

    /// Connects to a validator that the seed chooses, and quotes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn come(&mut self, scene: &mut Scene) -> Result<(), DrillError> {
        self.home = scene.dice.below(scene.fleet.len());
        let address = scene.fleet.ingress()[self.home];
        let quotes = self.quotes(TimeMs::new(0), scene);
        let opened = BlockingClient::connect(address, ANSWER);
        let mut client = opened.map_err(|error| lost(scene, error))?;
        if !submit(&mut client, &quotes).map_err(|error| lost(scene, error))? {
            let what = "the maker's first quotes were not all taken";
            scene.report.finding(what);
        }
        self.client = Some(client);
        Ok(())
    }

    /// New quotes are under way to its validator when that dies, as it leads.
    ///
    /// # Errors
    /// When it does not lead, or nobody takes the cancel.
    pub fn drop_out(&mut self, scene: &mut Scene, load: &Load) -> Result<Dropped, DrillError> {
        let until = wall(std::time::SystemTime::now()).plus_ms(VALID_MS + 1_000);
        let requotes = self.quotes(until, scene);
        let cancels = [self.cancel(), self.cancel()];
        let home = self.home;
        let fleet = &mut scene.fleet;
        fleet.wait_for("the maker's validator to lead", TURN, |fleet| {
            Ok(fleet.leader() == home)
        })?;
        let mut client = self.client.take();
        let mut under_way = false;
        if let Some(client) = &mut client {
            for (id, command) in (0..).zip(requotes) {
                client.queue(&Request::Submit { id, command });
            }
            under_way = client.flush().is_ok();
        }
        let at = load.mark_fault();
        let began = Instant::now();
        fleet.kill(home)?;
        // The maker sees its connection end; whatever answers still came are of no use to it.
        while under_way
            && client
                .as_mut()
                .is_some_and(|client| client.receive().is_ok())
        {}
        submit_somewhere(fleet, &cancels[0])?;
        let cancelled = began.elapsed();
        fleet.wait_for("block time to pass the quotes' validity", ANSWER, |fleet| {
            let statuses = fleet.statuses();
            Ok(statuses.iter().flatten().any(|status| status.time >= until))
        })?;
        submit_somewhere(fleet, &cancels[1])?;
        Ok(Dropped {
            at,
            cancelled,
            certain: began.elapsed(),
        })
    }

    /// Every quote that ever rested was cancelled or filled, by the events and by the engine's own books.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub fn account_for_quotes(
        &self,
        fleet: &Fleet,
        report: &mut DrillReport,
    ) -> Result<(), FleetError> {
        account_for_quotes(fleet, self.participant.account(), self.levels, report)
    }

    /// Quotes on the same instruments each time, at new prices.
    fn quotes(&mut self, valid_until: TimeMs, scene: &Scene) -> Vec<Command> {
        let mut commands = Vec::new();
        for command in self.plan.mass_quotes(self.messages) {
            if let Some(action) = action(command) {
                commands.push(self.participant.sign_until(action, valid_until));
            }
        }
        // Around again, so that the next quotes are for the same instruments.
        let settings = LoadSettings {
            first_account: self.participant.account(),
            traders: 0,
            quoters: 1,
            seed: valid_until.get(),
            ..load_settings(&scene.fleet)
        };
        self.plan = LoadPlan::new(settings, scene.targets.clone());
        commands
    }

    fn cancel(&mut self) -> Command {
        self.participant
            .sign(Action::CancelAll(CancelScope::Quotes))
    }
}

fn action(command: Command) -> Option<Action> {
    match command {
        Command::User(user) => Some(user.payload.action),
        Command::Validator(_) => None,
    }
}

/// Submits commands and waits for all their answers; true if each was done.
fn submit(client: &mut BlockingClient, commands: &[Command]) -> io::Result<bool> {
    for (id, command) in (0..).zip(commands) {
        let command = command.clone();
        client.queue(&Request::Submit { id, command });
    }
    client.flush()?;
    let mut done = 0;
    for _ in commands {
        if let Reply::Outcome { outcome, .. } = client.receive()? {
            done += usize::from(outcome.verdict == Verdict::Applied);
        }
    }
    Ok(done == commands.len())
}

/// Submits a command to whichever validator is up and answers, until one says that it was done.
fn submit_somewhere(fleet: &mut Fleet, command: &Command) -> Result<(), FleetError> {
    let mut at = 0;
    let addresses = fleet.ingress();
    fleet.wait_for("the maker's cancel to be acknowledged", ANSWER, |fleet| {
        at = (at + 1) % addresses.len();
        if !fleet.is_up(at) {
            return Ok(false);
        }
        let client = BlockingClient::connect(addresses[at], ANSWER);
        let done = client.and_then(|mut client| submit(&mut client, std::slice::from_ref(command)));
        Ok(done.unwrap_or(false))
    })?;
    Ok(())
}

/// What became of a maker whose validator died.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// When the validator died, on the load's clock.
    pub at: Duration,
    /// Until its quotes were cancelled.
    pub cancelled: Duration,
    /// Until none could come to rest any more.
    pub certain: Duration,
}

fn account_for_quotes(
    fleet: &Fleet,
    account: AccountId,
    levels: usize,
    report: &mut DrillReport,
) -> Result<(), FleetError> {
    let mut resting: BTreeSet<OrderId> = BTreeSet::new();
    let (mut placed, mut most) = (0u64, 0);
    let audited = audit_log(fleet.files(0)?, fleet.genesis(), |_, events, _, _| {
        for event in events {
            match event {
                Event::QuotePlaced {
                    account: of, order, ..
                } if *of == account => {
                    placed += 1;
                    resting.insert(*order);
                }
                Event::OrderCancelled { order, .. } => {
                    resting.remove(order);
                }
                Event::Traded(trade) if trade.maker_filled => {
                    resting.remove(&trade.maker_order);
                }
                _ => {}
            }
            most = most.max(resting.len());
        }
    });
    if let Err(finding) = audited {
        report.finding(finding.to_string());
    }
    let open =
        replay(fleet.files(0)?, fleet.genesis()).map(|engine| engine.open_orders(account).len());
    report.figures.insert("quotes_placed".into(), placed as f64);
    report
        .figures
        .insert("quotes_resting_at_once".into(), most as f64);
    report.checked("I4", placed);
    if !resting.is_empty() || open != Some(0) {
        let (left, open) = (resting.len(), open.unwrap_or_default());
        report.finding(format!(
            "{left} quotes of the maker were never ended; {open} still rest"
        ));
    }
    if most + 20 < levels {
        report.finding(format!("the maker never had more than {most} quotes"));
    }
    Ok(())
}
