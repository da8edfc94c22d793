//! A market maker: quotes every instrument around its own value and leans against its inventory.

use std::collections::BTreeMap;

use lifeboat_engine::command::{Action, MassQuote, QuoteEntry, QuoteSide};
use lifeboat_engine::event::Trade;
use lifeboat_engine::types::{
    AccountId, InstrumentId, Qty, RecoveryPolicy, Side, TimeMs, UnderlyingId,
};
use lifeboat_engine::{Command, Event};

use super::instruments::{Instruments, Listed};
use super::outlook::Outlook;
use super::participant::Participant;

/// Entries of one mass quote: well under the engine's bound, so that a command stays small.
const ENTRIES_PER_COMMAND: usize = 100;

/// How a maker quotes.
#[derive(Clone, Copy, Debug)]
pub struct MakerSettings {
    /// Quotes of an expiry are sent anew when its forward moved by this share.
    pub requote_move: f64,
    /// …or when they are this old.
    pub requote_age_ms: u64,
    /// Multiplies the outlook's half spreads.
    pub width: f64,
    /// Size of each quote in lots.
    pub lots: u32,
    /// At this inventory in lots the maker stops adding to it; on the way it shifts its prices by
    /// up to one half spread.
    pub inventory_lots_max: u32,
    /// Expiries that one step sends anew at most; the oldest first.
    pub expiries_per_step: usize,
}

impl Default for MakerSettings {
    fn default() -> Self {
        Self {
            requote_move: 3e-4,
            requote_age_ms: 10_000,
            width: 1.0,
            lots: 20,
            inventory_lots_max: 400,
            expiries_per_step: 2,
        }
    }
}

#[derive(Clone, Copy)]
struct Quoted {
    at: TimeMs,
    forward: f64,
    instruments: usize,
}

/// One maker.
pub struct Maker {
    participant: Participant,
    settings: MakerSettings,
    inventory: BTreeMap<InstrumentId, i64>,
    quoted: BTreeMap<(UnderlyingId, TimeMs), Quoted>,
}

impl Maker {
    /// A maker without quotes or inventory.
    pub const fn new(participant: Participant, settings: MakerSettings) -> Self {
        Self {
            participant,
            settings,
            inventory: BTreeMap::new(),
            quoted: BTreeMap::new(),
        }
    }

    /// Who it is.
    pub const fn participant(&mut self) -> &mut Participant {
        &mut self.participant
    }

    /// Whose quotes these are.
    pub const fn account(&self) -> AccountId {
        self.participant.account()
    }

    /// What it holds from before.
    pub fn holds(&mut self, instrument: InstrumentId, qty: Qty) {
        self.inventory.insert(instrument, qty.get());
    }

    /// Learns its fills, and forgets what settled. After a protection trip or a cancel-all by the
    /// venue it quotes everything anew.
    pub fn on_event(&mut self, event: &Event) {
        let me = self.participant.account();
        match event {
            Event::Traded(trade) => self.on_trade(trade),
            Event::InstrumentSettled { instrument, .. } => {
                self.inventory.remove(instrument);
            }
            Event::ProtectionTripped { account, .. } if *account == me => self.quoted.clear(),
            Event::ModeChanged { .. } => self.quoted.clear(),
            _ => {}
        }
    }

    fn on_trade(&mut self, trade: &Trade) {
        let me = self.participant.account();
        let sign = match (trade.maker == me, trade.taker == me) {
            (true, false) => trade.taker_side.opposite().sign(),
            (false, true) => trade.taker_side.sign(),
            _ => return,
        };
        *self.inventory.entry(trade.instrument).or_default() += sign * trade.qty.get();
    }

    /// The mass quotes that are due.
    pub fn step(
        &mut self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        now: TimeMs,
    ) -> Vec<Command> {
        self.quoted.retain(|(_, expiry), _| *expiry > now);
        let mut by_expiry: BTreeMap<(UnderlyingId, TimeMs), Vec<Listed>> = BTreeMap::new();
        for listed in instruments.tradable(now) {
            let place = (listed.terms.underlying, listed.terms.expiry);
            by_expiry.entry(place).or_default().push(*listed);
        }
        let mut due = self.due(outlook, &by_expiry, now);
        due.sort_by_key(|(at, place, _)| (*at, *place));
        due.truncate(self.settings.expiries_per_step);
        let mut commands = Vec::new();
        for (_, place, forward) in due {
            let listed = by_expiry.remove(&place).unwrap_or_default();
            let quoted = Quoted {
                at: now,
                forward,
                instruments: listed.len(),
            };
            self.quoted.insert(place, quoted);
            commands.extend(self.quote(outlook, &listed, now));
        }
        commands
    }

    /// The expiries to quote anew: when each was last quoted, and its forward.
    fn due(
        &self,
        outlook: &mut dyn Outlook,
        by_expiry: &BTreeMap<(UnderlyingId, TimeMs), Vec<Listed>>,
        now: TimeMs,
    ) -> Vec<(TimeMs, (UnderlyingId, TimeMs), f64)> {
        let mut due = Vec::new();
        for (place, listed) in by_expiry {
            let Some(forward) = outlook.forward(place.0, place.1, now) else {
                continue;
            };
            let last = self.quoted.get(place);
            let stale = last.is_none_or(|last| {
                last.instruments != listed.len()
                    || now.since(last.at) >= self.settings.requote_age_ms
                    || (forward / last.forward - 1.0).abs() >= self.settings.requote_move
            });
            if stale {
                due.push((last.map_or(TimeMs::new(0), |last| last.at), *place, forward));
            }
        }
        due
    }

    fn quote(&mut self, outlook: &mut dyn Outlook, listed: &[Listed], now: TimeMs) -> Vec<Command> {
        let entries: Vec<QuoteEntry> = listed
            .iter()
            .filter_map(|listed| self.entry(outlook, listed, now))
            .collect();
        let chunks = entries.chunks(ENTRIES_PER_COMMAND);
        let quotes = chunks.map(|entries| {
            let quote = MassQuote {
                entries: entries.to_vec(),
                recovery: RecoveryPolicy::Cancel,
            };
            Action::MassQuote(quote)
        });
        quotes.map(|action| self.participant.sign(action)).collect()
    }

    /// Both sides of one instrument; a side that cannot be quoted is pulled.
    fn entry(&self, outlook: &mut dyn Outlook, listed: &Listed, now: TimeMs) -> Option<QuoteEntry> {
        let value = outlook.value(&listed.terms, now)?;
        let spreads = outlook.half_spreads(&listed.terms, &value, now);
        let held = self.inventory.get(&listed.id).copied().unwrap_or_default() as f64;
        let lean = held / listed.lots(self.settings.inventory_lots_max).get() as f64;
        let side = |side: Side, half: Option<f64>| {
            let full = lean * side.sign() as f64 >= 1.0;
            let half = half.filter(|_| !full)? * self.settings.width;
            let lean = lean.clamp(-1.0, 1.0) * half;
            let price = value.price - lean - half * side.sign() as f64;
            let price = listed.on_tick(side, price)?;
            Some(QuoteSide {
                price,
                qty: listed.lots(self.settings.lots),
            })
        };
        let pulled = QuoteSide {
            price: listed.tick,
            qty: Qty::ZERO,
        };
        Some(QuoteEntry {
            instrument: listed.id,
            bid: Some(side(Side::Buy, spreads[0]).unwrap_or(pulled)),
            ask: Some(side(Side::Sell, spreads[1]).unwrap_or(pulled)),
        })
    }
}
