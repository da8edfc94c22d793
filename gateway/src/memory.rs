//! What the gateway knows from the blocks it has seen: names, tapes, indices, the accounts it
//! serves, the fate of its commands.
//!
//! **Owns** the fold of blocks into that memory. **Never** decides anything: the engine did.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lifeboat_engine::command::UserSignature;
use lifeboat_engine::event::Trade;
use lifeboat_engine::types::{
    AccountId, Digest, Height, InstrumentId, Mode, Price, TimeMs, UnderlyingId,
};
use lifeboat_engine::{Command, Event};
use serde_json::{Value, json};

use crate::decimal::{cash, price, qty};
use crate::directory::Directory;
use crate::orders::{Deposit, Desks, Fill, OrderRecord, SettledPosition, place_order};
use crate::outage::{Moment, Outages, Step, is_out, is_reopening};
use crate::outcome::{Effects, Fate, Outcomes, Ticket};
use crate::port::AppliedBlock;
use crate::seals::SealBook;
use crate::snapshot::Snapshot;
use crate::tape::{IndexHistory, PublicTrade, Tape};
use crate::view::{Standing, View};

/// Settled instruments remembered.
const SETTLEMENTS_MAX: usize = 10_000;

/// Where the chain stands.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Latest block.
    pub height: Height,
    /// Its time.
    pub time: TimeMs,
    /// The root after it.
    pub root: Digest,
    /// The mode after it.
    pub mode: Mode,
    /// When the mode began, as far as the gateway saw.
    pub mode_since: TimeMs,
    /// Number of the latest event.
    pub event: u64,
}

impl Clock {
    /// This place in history.
    pub const fn moment(&self) -> Moment {
        self.at(self.event)
    }

    /// This place in history, at an event of the latest block.
    const fn at(&self, event: u64) -> Moment {
        Moment {
            height: self.height,
            time: self.time,
            event,
            root: self.root,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            height: Height::default(),
            time: TimeMs::default(),
            root: Digest::default(),
            mode: Mode::Open,
            mode_since: TimeMs::default(),
            event: 0,
        }
    }
}

/// What a block changed, for the subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Books that may have changed.
    pub books: BTreeSet<InstrumentId>,
    /// Underlyings with a new index.
    pub indices: BTreeSet<UnderlyingId>,
    /// Underlyings with new marks.
    pub marks: BTreeSet<UnderlyingId>,
    /// Public trades.
    pub trades: Vec<PublicTrade>,
    /// Orders of served accounts as they stood after each command.
    pub orders: Vec<(AccountId, OrderRecord)>,
    /// Fills of served accounts.
    pub fills: Vec<(AccountId, Fill)>,
    /// Served accounts whose money or positions changed.
    pub accounts: BTreeSet<AccountId>,
    /// Instruments listed (`true`) or settled.
    pub listings: Vec<(InstrumentId, bool)>,
    /// Whether the mode changed.
    pub mode_changed: bool,
    /// Whether an outage is over and its orders' fates are settled.
    pub restated: bool,
}

/// An instrument that settled.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// When.
    pub time: TimeMs,
    /// Which.
    pub instrument: InstrumentId,
    /// The settlement price of its underlying.
    pub settlement: Price,
    /// What one coin of it paid.
    pub payoff: Price,
}

/// The gateway's memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// Names.
    pub directory: Directory,
    /// Trades of each instrument.
    pub tapes: BTreeMap<InstrumentId, Tape>,
    /// Indices.
    pub indices: BTreeMap<UnderlyingId, IndexHistory>,
    /// The accounts served.
    pub desks: Desks,
    /// The fate of the gateway's commands.
    pub outcomes: Outcomes,
    /// Instruments that settled, oldest first.
    pub settlements: VecDeque<Settled>,
    /// Expiries whose settlement waits for samples, with how many there were at first.
    pub deferred: BTreeMap<(UnderlyingId, TimeMs), u32>,
    /// Where the chain stands.
    pub clock: Clock,
    /// Where each underlying stands.
    pub standings: BTreeMap<UnderlyingId, Standing>,
    /// Outages, the present one and the last few.
    pub outages: Outages,
    /// What became of sealed orders.
    pub seals: SealBook,
    loaded: bool,
}

/// The command whose events are being read.
struct Group {
    ticket: Ticket,
    account: AccountId,
    effects: Effects,
}

impl Memory {
    /// Takes over the venue's state as it is now: at start, and after blocks were missed.
    pub fn load(&mut self, view: &View<'_>) {
        let before = std::mem::replace(&mut self.clock, view.clock());
        let anew = !std::mem::replace(&mut self.loaded, true);
        self.directory = Directory::read(view);
        for underlying in self.directory.underlyings() {
            let standing = view.standing(underlying.id);
            self.standings.insert(underlying.id, standing);
            if let Some(price) = view.index(underlying.id) {
                let history = self.indices.entry(underlying.id).or_default();
                history.push(view.time(), price);
            }
        }
        let halted_at = view.halted_at();
        let stopped_unseen = !anew && halted_at > before.height;
        if self.outages.current().is_none() && stopped_unseen {
            self.begin_outage(before.moment(), |_| true);
        }
        let (time, fills) = (view.time(), view.fills());
        for (&account, desk) in self.desks.iter_mut() {
            desk.reconcile(&view.orders(account), time);
            desk.miss(fills);
        }
        self.catch_up(anew, halted_at);
        self.outcomes.expire(time);
    }

    /// Brings the outages up to a state that was loaded instead of followed.
    fn catch_up(&mut self, anew: bool, halted_at: Height) {
        let Clock {
            mode, mode_since, ..
        } = self.clock;
        let now = self.clock.moment();
        if self.outages.current().is_none() && anew && is_reopening(mode) {
            // Nothing can be placed before POST_ONLY, so what is older than this mode was kept.
            self.begin_outage(now, |order| {
                mode == Mode::CancelOnly || order.created < mode_since
            });
        } else if is_out(mode) {
            if self.outages.current().is_none() {
                self.outages.begin(now, false);
            }
            // Nothing can be placed in an outage, so what rests now rested before it.
            self.watch(|_| true);
        }
        self.outages.unseen(halted_at, !anew);
        if !is_out(mode) && mode != Mode::Exit {
            self.restate(now);
        }
    }

    /// An outage whose beginning was not seen: the open orders that a test holds for are watched.
    fn begin_outage(&mut self, at: Moment, test: impl Fn(&OrderRecord) -> bool) {
        self.outages.begin(at, false);
        self.watch(test);
    }

    fn watch(&mut self, test: impl Fn(&OrderRecord) -> bool) {
        for (_, desk) in self.desks.iter_mut() {
            desk.watch(&test);
        }
    }

    /// Settles what became of the watched orders. True when an outage was on.
    fn restate(&mut self, at: Moment) -> bool {
        let Some(outage) = self.outages.finish(at) else {
            return false;
        };
        for (_, desk) in self.desks.iter_mut() {
            desk.restate(outage);
        }
        true
    }

    /// Folds a block in. `marks` holds the marks of the instruments that traded.
    pub fn apply(&mut self, block: &AppliedBlock, marks: &Snapshot) -> Changes {
        let mut changes = Changes::default();
        self.clock.height = block.height;
        self.clock.time = block.time;
        self.clock.root = block.root;
        self.clock.mode = block.mode;
        self.clock.event = (block.first_event + block.events.len() as u64).saturating_sub(1);
        let mut index = None;
        let mut group: Option<Group> = None;
        for (number, event) in (block.first_event..).zip(&block.events) {
            match event {
                Event::CommandApplied { index: next } => {
                    self.close(group.take(), block.height);
                    index = Some(*next);
                    group = self.group(block, *next);
                }
                Event::CommandRejected { index, reject } => {
                    self.close(group.take(), block.height);
                    let height = block.height;
                    let fate = Fate::Rejected {
                        height,
                        reject: *reject,
                    };
                    self.settle(block, *index, fate);
                }
                Event::CommandQuarantined { index } => {
                    self.close(group.take(), block.height);
                    let height = block.height;
                    self.settle(block, *index, Fate::Quarantined { height });
                }
                other => {
                    let command = index.and_then(|at| block.commands.get(at as usize));
                    let mut scene = Scene {
                        number,
                        command,
                        marks,
                        changes: &mut changes,
                        group: group.as_mut(),
                    };
                    self.event(other, &mut scene);
                }
            }
        }
        self.close(group.take(), block.height);
        if self.outages.has_returned() {
            changes.restated |= self.restate(self.clock.moment());
        }
        self.outcomes.expire(block.time);
        changes
    }

    fn ticket(block: &AppliedBlock, index: u32) -> Option<Ticket> {
        let Command::User(user) = block.commands.get(index as usize)? else {
            return None;
        };
        let UserSignature::Session { key, .. } = user.signature else {
            return None;
        };
        Some(Ticket {
            key,
            nonce: user.payload.nonce,
        })
    }

    fn group(&self, block: &AppliedBlock, index: u32) -> Option<Group> {
        let ticket = Self::ticket(block, index)?;
        let account = self.outcomes.account_of(ticket)?;
        Some(Group {
            ticket,
            account,
            effects: Effects::default(),
        })
    }

    /// A block that the loaded state already holds: only the fates of the gateway's commands are
    /// taken from it.
    pub fn settle_from(&mut self, block: &AppliedBlock) {
        let height = block.height;
        for event in &block.events {
            match event {
                Event::CommandApplied { index } => {
                    let effects = Box::default();
                    self.settle(block, *index, Fate::Applied { height, effects });
                }
                Event::CommandRejected { index, reject } => {
                    let reject = *reject;
                    self.settle(block, *index, Fate::Rejected { height, reject });
                }
                Event::CommandQuarantined { index } => {
                    self.settle(block, *index, Fate::Quarantined { height });
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self, block: &AppliedBlock, index: u32, fate: Fate) {
        if let Some(ticket) = Self::ticket(block, index) {
            self.outcomes.settle(ticket, fate);
        }
    }

    /// A command's events are complete.
    fn close(&mut self, group: Option<Group>, height: Height) {
        let Some(mut group) = group else { return };
        if let Some(desk) = self.desks.get(group.account) {
            for order in &mut group.effects.orders {
                if let Some(latest) = desk.order(order.order) {
                    *order = latest.clone();
                }
            }
        }
        let effects = Box::new(group.effects);
        self.outcomes
            .settle(group.ticket, Fate::Applied { height, effects });
    }

    fn event(&mut self, event: &Event, scene: &mut Scene<'_>) {
        let now = self.clock.time;
        match event {
            Event::OrderPlaced(_)
            | Event::OrderRepeated { .. }
            | Event::OrderAmended { .. }
            | Event::OrderCancelled { .. }
            | Event::QuotePlaced { .. }
            | Event::QuoteRejected { .. } => self.order_event(event, scene),
            Event::OrderSealed { account, .. }
            | Event::SealWithdrawn { account, .. }
            | Event::SealOpened { account, .. }
            | Event::SealDropped { account, .. } => {
                if self.desks.get(*account).is_some()
                    && let Some((account, record)) = self.seals.learn(event)
                {
                    scene.own(account, |effects| effects.sealed = Some(record));
                    scene.touch(account, &self.desks);
                }
            }
            Event::Traded(trade) => self.trade(trade, scene),
            Event::InstrumentListed { instrument, terms } => {
                self.directory.list(*instrument, *terms, now);
                scene.changes.listings.push((*instrument, true));
            }
            Event::InstrumentSettled {
                instrument,
                settlement,
                payoff,
            } => {
                self.directory.settle(*instrument);
                self.tapes.remove(instrument);
                scene.changes.listings.push((*instrument, false));
                self.settlements.push_back(Settled {
                    time: now,
                    instrument: *instrument,
                    settlement: *settlement,
                    payoff: *payoff,
                });
                if self.settlements.len() > SETTLEMENTS_MAX {
                    self.settlements.pop_front();
                }
            }
            Event::SettlementDeferred {
                underlying,
                expiry,
                samples,
            } => {
                self.deferred.insert((*underlying, *expiry), *samples);
            }
            Event::ExpirySettled {
                underlying, expiry, ..
            } => {
                self.deferred.remove(&(*underlying, *expiry));
            }
            Event::PositionSettled {
                account,
                instrument,
                position,
                cash,
            } => {
                if let Some(desk) = self.desks.get_mut(*account) {
                    desk.settle(*instrument, *position, *cash, now);
                    scene.changes.accounts.insert(*account);
                }
            }
            Event::Deposited {
                account,
                amount,
                chain,
                number,
            } => {
                if let Some(desk) = self.desks.get_mut(*account) {
                    desk.deposit(Deposit {
                        time: now,
                        amount: *amount,
                        chain: *chain,
                        number: *number,
                    });
                    scene.changes.accounts.insert(*account);
                }
            }
            Event::IndexUpdated {
                underlying, price, ..
            } => {
                let history = self.indices.entry(*underlying).or_default();
                history.push(now, *price);
                scene.changes.indices.insert(*underlying);
            }
            Event::MarksUpdated { underlying, .. } => {
                scene.changes.marks.insert(*underlying);
            }
            Event::VolatilityIndexUpdated {
                underlying, ppm, ..
            } => {
                let standing = self.standings.entry(*underlying).or_default();
                standing.volatility_ppm = *ppm;
            }
            Event::UnderlyingModeChanged { underlying, to, .. } => {
                let standing = self.standings.entry(*underlying).or_default();
                (standing.mode, standing.since) = (*to, now);
            }
            Event::ModeChanged { from, to, reason } => self.mode_changed(
                Step {
                    at: self.clock.at(scene.number),
                    from: *from,
                    to: *to,
                    reason: *reason,
                },
                scene,
            ),
            Event::LiquidationStarted { account, .. }
            | Event::LiquidationToFund { account, .. }
            | Event::GraceGiven { account, .. }
            | Event::ClosedOut { account, .. }
            | Event::GainHaircut { account, .. }
            | Event::LiquidationEnded { account } => scene.touch(*account, &self.desks),
            Event::LiquidationSold {
                account,
                buyer: other,
                ..
            }
            | Event::PositionTornUp {
                account,
                holder: other,
                ..
            } => {
                scene.touch(*account, &self.desks);
                scene.touch(*other, &self.desks);
            }
            _ => {}
        }
    }

    /// A settled position as clients see it.
    pub fn settlement(&self, settled: &SettledPosition) -> Value {
        let mut all = self.settlements.iter();
        let at = all.find(|s| s.instrument == settled.instrument);
        json!({
            "type": "delivery",
            "timestamp": settled.time.get(),
            "instrument_name": self.directory.name(settled.instrument),
            "position": qty(settled.position),
            "profit_loss": cash(settled.cash),
            "session_profit_loss": cash(settled.cash),
            "index_price": at.map(|s| price(s.settlement)),
            "mark_price": at.map(|s| price(s.payoff)),
        })
    }

    fn mode_changed(&mut self, step: Step, scene: &mut Scene<'_>) {
        self.clock.mode_since = self.clock.time;
        scene.changes.mode_changed = true;
        if step.stops() && self.outages.has_returned() {
            // One outage is over and another begins in the same block.
            scene.changes.restated |= self.restate(self.clock.at(scene.number - 1));
        }
        if self.outages.step(step) {
            self.watch(|_| true);
        }
    }

    fn order_event(&mut self, event: &Event, scene: &mut Scene<'_>) {
        let now = self.clock.time;
        match event {
            Event::OrderPlaced(placed) => {
                scene.changes.books.insert(placed.instrument);
                if let Some(desk) = self.desks.get_mut(placed.account) {
                    let command = scene.command.and_then(place_order);
                    desk.place(OrderRecord::placed(placed, command, now));
                }
                scene.own(placed.account, |effects| {
                    effects.placed = Some(placed.clone())
                });
                self.touched(placed.account, placed.order, scene);
            }
            Event::OrderRepeated { account, order, .. } => {
                scene.own(*account, |effects| effects.repeated = Some(*order));
            }
            Event::OrderAmended {
                account,
                order,
                instrument,
                price,
                qty,
                ..
            } => {
                scene.changes.books.insert(*instrument);
                if let Some(desk) = self.desks.get_mut(*account) {
                    desk.amend(*order, *price, *qty, now);
                }
                self.touched(*account, *order, scene);
            }
            Event::OrderCancelled {
                account,
                order,
                instrument,
                reason,
                ..
            } => {
                scene.changes.books.insert(*instrument);
                if let Some(desk) = self.desks.get_mut(*account) {
                    desk.cancel(*order, *reason, now);
                }
                scene.own(*account, |effects| effects.cancelled += 1);
                self.touched(*account, *order, scene);
            }
            Event::QuotePlaced {
                account,
                order,
                instrument,
                side,
                price,
                qty,
            } => {
                scene.changes.books.insert(*instrument);
                if let Some(desk) = self.desks.get_mut(*account) {
                    desk.quote(*order, (*instrument, *side), (*price, *qty), now);
                }
                self.touched(*account, *order, scene);
            }
            Event::QuoteRejected {
                account,
                instrument,
                side,
                reject,
            } => scene.own(*account, |effects| {
                effects.refused.push((*instrument, *side, *reject));
            }),
            _ => {}
        }
    }

    /// An order of an account changed: tells its subscribers and the request that caused it.
    fn touched(
        &self,
        account: AccountId,
        order: lifeboat_engine::types::OrderId,
        scene: &mut Scene<'_>,
    ) {
        let Some(record) = self.desks.get(account).and_then(|desk| desk.order(order)) else {
            return;
        };
        scene.changes.accounts.insert(account);
        scene.changes.orders.push((account, record.clone()));
        scene.own(account, |effects| {
            if effects.orders.iter().all(|known| known.order != order) {
                effects.orders.push(record.clone());
            }
        });
    }

    fn trade(&mut self, trade: &Trade, scene: &mut Scene<'_>) {
        let listed = self.directory.get(trade.instrument);
        let underlying = listed.map(|listed| listed.instrument.terms.underlying);
        let index = underlying
            .and_then(|underlying| self.indices.get(&underlying))
            .and_then(IndexHistory::last);
        let mark = scene.marks.mark(trade.instrument);
        let seen = PublicTrade {
            trade: trade.trade,
            seq: 0,
            time: self.clock.time,
            instrument: trade.instrument,
            price: trade.price,
            qty: trade.qty,
            side: trade.taker_side,
            tick_direction: 0,
            mark: mark.map(|mark| mark.price),
            iv: mark.map(|mark| mark.iv),
            index,
        };
        let seen = self.tapes.entry(trade.instrument).or_default().push(seen);
        scene.changes.trades.push(seen);
        scene.changes.books.insert(trade.instrument);
        for (account, maker) in [(trade.maker, true), (trade.taker, false)] {
            let Some(desk) = self.desks.get_mut(account) else {
                continue;
            };
            let fill = desk.fill(trade, maker, scene.number, &seen);
            scene.own(account, |effects| effects.fills.push(fill.clone()));
            let order = fill.order;
            scene.changes.fills.push((account, fill));
            self.touched(account, order, scene);
        }
    }
}

/// What an event is read with.
struct Scene<'a> {
    /// The event's number.
    number: u64,
    command: Option<&'a Command>,
    marks: &'a Snapshot,
    changes: &'a mut Changes,
    group: Option<&'a mut Group>,
}

impl Scene<'_> {
    /// Adds to the effects of the command being read, when it is this account's.
    fn own(&mut self, account: AccountId, add: impl FnOnce(&mut Effects)) {
        if let Some(group) = self.group.as_mut().filter(|group| group.account == account) {
            add(&mut group.effects);
        }
    }

    fn touch(&mut self, account: AccountId, desks: &Desks) {
        if desks.get(account).is_some() {
            self.changes.accounts.insert(account);
        }
    }
}

/// The instruments that trade in a block.
pub fn traded(block: &AppliedBlock) -> BTreeSet<InstrumentId> {
    block
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Traded(trade) => Some(trade.instrument),
            _ => None,
        })
        .collect()
}
