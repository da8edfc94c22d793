//! Load for benchmarks and drills: commands that are signed before the clock starts.
//!
//! Single orders come from many accounts and refer to their own orders by client ids, so nothing
//! has to be learnt from answers and a plan can be signed ahead, on every core.

use std::collections::VecDeque;
use std::ops::Range;

use lifeboat_engine::Command;
use lifeboat_engine::command::{Action, MassQuote, OrderRef, PlaceOrder, QuoteEntry, QuoteSide};
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, RecoveryPolicy, Side, TimeInForce,
};

use super::dice::Dice;
use super::instruments::Listed;
use super::participant::Participant;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Decides every order.
    pub seed: u64,
    /// The venue.
    pub chain: ChainId,
    /// First of the accounts; session keys are [`Participant::development`]'s.
    pub first_account: AccountId,
    /// Accounts that send single orders.
    pub traders: u32,
    /// Accounts that send mass quotes; their ids follow the traders'.
    pub quoters: u32,
    /// Quoted levels in one mass quote: bids and asks counted, two an instrument.
    pub levels_per_quote: usize,
    /// Share of single commands that cancel the account's oldest order.
    pub cancel_share: f64,
    /// Share of single commands that are marketable and immediate-or-cancel.
    pub taker_share: f64,
    /// The nonce before the first one of every account.
    pub nonce_before: u64,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            chain: ChainId::default(),
            first_account: AccountId::new(0),
            traders: 200,
            quoters: 8,
            levels_per_quote: 100,
            cancel_share: 0.45,
            taker_share: 0.10,
            nonce_before: 0,
        }
    }
}

/// Signed commands from a seed. One plan is one stream; the same settings give the same bytes.
pub struct LoadPlan {
    settings: LoadSettings,
    targets: Vec<(Listed, f64)>,
    traders: Vec<Trader>,
    quoters: Vec<Participant>,
    dice: Dice,
    /// Stretches of targets that one mass quote covers: one underlying, ascending ids.
    runs: Vec<Range<usize>>,
    next_quoter: usize,
    next_run: usize,
}

struct Trader {
    participant: Participant,
    open: VecDeque<ClientOrderId>,
    last_client_id: u64,
}

impl LoadPlan {
    /// A plan over `targets`: instruments and their fair values in USDC. Without any it is empty.
    pub fn new(settings: LoadSettings, mut targets: Vec<(Listed, f64)>) -> Self {
        targets.sort_by_key(|(listed, _)| (listed.terms.underlying, listed.id));
        let runs = runs(&targets, (settings.levels_per_quote / 2).max(1));
        let participant = |n: u32| {
            let account = AccountId::new(settings.first_account.get() + n);
            Participant::development(settings.seed, account, settings.chain)
                .after(settings.nonce_before)
        };
        let trader = |n: u32| Trader {
            participant: participant(n),
            open: VecDeque::new(),
            last_client_id: settings.nonce_before,
        };
        let quoters = settings.traders..settings.traders + settings.quoters;
        Self {
            targets,
            runs,
            traders: (0..settings.traders).map(trader).collect(),
            quoters: quoters.map(participant).collect(),
            dice: Dice::new(settings.seed),
            next_quoter: 0,
            next_run: 0,
            settings,
        }
    }

    /// The participants, so that genesis can register their keys.
    pub fn participants(&mut self) -> impl Iterator<Item = &mut Participant> {
        let traders = self
            .traders
            .iter_mut()
            .map(|trader| &mut trader.participant);
        traders.chain(self.quoters.iter_mut())
    }

    /// The next `count` single commands: places, cancels, marketable orders.
    pub fn singles(&mut self, count: usize) -> Vec<Command> {
        (0..count).map_while(|_| self.single()).collect()
    }

    /// The next `count` orders that rest, and nothing else.
    pub fn resting(&mut self, count: usize) -> Vec<Command> {
        (0..count).map_while(|_| self.rest()).collect()
    }

    /// The next `count` mass quotes, from the quoters in turn.
    pub fn mass_quotes(&mut self, count: usize) -> Vec<Command> {
        (0..count).map_while(|_| self.mass_quote()).collect()
    }

    fn rest(&mut self) -> Option<Command> {
        let who = self.dice.below(self.traders.len());
        let action = Action::PlaceOrder(self.order(who, false)?);
        let trader = self.traders.get_mut(who)?;
        Some(trader.participant.sign(action))
    }

    fn single(&mut self) -> Option<Command> {
        let who = self.dice.below(self.traders.len());
        let roll = self.dice.unit();
        let taking = roll < self.settings.taker_share;
        let cancelling = !taking && roll < self.settings.taker_share + self.settings.cancel_share;
        let oldest = self
            .traders
            .get_mut(who)
            .and_then(|trader| cancelling.then(|| trader.open.pop_front()).flatten());
        let action = match oldest {
            Some(client_id) => Action::CancelOrder(OrderRef::ClientId(client_id)),
            None => Action::PlaceOrder(self.order(who, taking)?),
        };
        self.traders
            .get_mut(who)
            .map(|trader| trader.participant.sign(action))
    }

    /// Passive orders rest 2 to 6 % from fair value, inside the quotes; marketable ones reach 12 %
    /// through it.
    fn order(&mut self, who: usize, taking: bool) -> Option<PlaceOrder> {
        let at = self.dice.below(self.targets.len());
        let (listed, fair) = *self.targets.get(at)?;
        let side = if self.dice.chance(0.5) {
            Side::Buy
        } else {
            Side::Sell
        };
        let away = if taking {
            -0.12
        } else {
            0.02 + 0.04 * self.dice.unit()
        };
        let price = fair * (1.0 - away * side.sign() as f64);
        let price = listed.on_tick(side, price).unwrap_or(listed.tick);
        let qty = listed.lots(1 + self.dice.below(5) as u32);
        let client_id = self.traders.get_mut(who)?.next_client_id(!taking);
        let time_in_force = if taking {
            TimeInForce::ImmediateOrCancel
        } else {
            TimeInForce::GoodTilCancelled
        };
        Some(PlaceOrder {
            time_in_force,
            client_id,
            ..listed.order(side, qty, price)
        })
    }

    /// The next quoter's next run of instruments.
    fn mass_quote(&mut self) -> Option<Command> {
        let run = self
            .runs
            .get(self.next_run % self.runs.len().max(1))?
            .clone();
        let who = self.next_quoter % self.quoters.len().max(1);
        self.next_quoter += 1;
        if self.next_quoter.is_multiple_of(self.quoters.len().max(1)) {
            self.next_run += 1;
        }
        let entries = self.targets.get(run)?.to_vec();
        let entries = entries
            .iter()
            .map(|(listed, fair)| self.entry(listed, *fair))
            .collect();
        let quote = MassQuote {
            entries,
            recovery: RecoveryPolicy::Cancel,
        };
        Some(self.quoters.get_mut(who)?.sign(Action::MassQuote(quote)))
    }

    fn entry(&mut self, listed: &Listed, fair: f64) -> QuoteEntry {
        let qty = listed.lots(10);
        let mut side = |side: Side| {
            let away = 0.06 + 0.04 * self.dice.unit();
            let price = listed.on_tick(side, fair * (1.0 - away * side.sign() as f64));
            Some(QuoteSide {
                price: price.unwrap_or(listed.tick),
                qty,
            })
        };
        QuoteEntry {
            instrument: listed.id,
            bid: side(Side::Buy),
            ask: side(Side::Sell),
        }
    }
}

fn runs(targets: &[(Listed, f64)], length: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for same in targets.chunk_by(|a, b| a.0.terms.underlying == b.0.terms.underlying) {
        let end = start + same.len();
        runs.extend(
            (start..end)
                .step_by(length)
                .map(|at| at..(at + length).min(end)),
        );
        start = end;
    }
    runs
}

impl Trader {
    fn next_client_id(&mut self, rests: bool) -> ClientOrderId {
        self.last_client_id += 1;
        let id = ClientOrderId::new(self.last_client_id);
        if rests {
            self.open.push_back(id);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::command::{OptionTerms, UserCommand};
    use lifeboat_engine::types::{InstrumentId, OptionKind, Price, Qty, TimeMs, UnderlyingId};
    use std::collections::BTreeSet;

    fn targets() -> Vec<(Listed, f64)> {
        let target = |n: u32| {
            let underlying = UnderlyingId::new((n >= 30).into());
            let expiry = TimeMs::new(1_000_000);
            let strike = Price::new(i64::from(n) * 1_000_000_000);
            let terms = OptionTerms {
                underlying,
                expiry,
                strike,
                kind: OptionKind::Call,
            };
            let (tick, lot) = (Price::new(1_000_000), Qty::new(1_000_000));
            (
                Listed {
                    id: InstrumentId::new(n),
                    terms,
                    tick,
                    lot,
                },
                100.0 + f64::from(n),
            )
        };
        (0..60).map(target).collect()
    }

    #[test]
    fn a_seed_means_one_stream() {
        let stream = || LoadPlan::new(LoadSettings::default(), targets()).singles(500);
        assert_eq!(stream(), stream());
    }

    #[test]
    fn cancels_name_orders_that_were_placed_and_not_cancelled() {
        let mut open = BTreeSet::new();
        let (mut placed, mut cancelled) = (0, 0);
        for command in LoadPlan::new(LoadSettings::default(), targets()).singles(20_000) {
            let Command::User(UserCommand { payload, .. }) = command else {
                continue;
            };
            match payload.action {
                Action::PlaceOrder(order) => {
                    placed += 1;
                    assert!(open.insert((payload.account, order.client_id)));
                }
                Action::CancelOrder(OrderRef::ClientId(id)) => {
                    cancelled += 1;
                    assert!(open.remove(&(payload.account, id)));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(
            (8_000..9_000).contains(&cancelled),
            "{cancelled} of {placed}"
        );
    }

    #[test]
    fn mass_quotes_have_their_levels_and_one_underlying() {
        let settings = LoadSettings {
            levels_per_quote: 20,
            ..LoadSettings::default()
        };
        for command in LoadPlan::new(settings, targets()).mass_quotes(12) {
            let Command::User(UserCommand { payload, .. }) = command else {
                continue;
            };
            let Action::MassQuote(quote) = payload.action else {
                panic!("not a quote")
            };
            assert_eq!(quote.entries.len(), 10);
            for entry in &quote.entries {
                let (bid, ask) = (entry.bid.map(|b| b.price), entry.ask.map(|a| a.price));
                assert!(bid < ask, "{entry:?}");
            }
            assert!(
                quote
                    .entries
                    .is_sorted_by(|a, b| a.instrument < b.instrument)
            );
            let sides = quote
                .entries
                .iter()
                .map(|entry| entry.instrument.get() >= 30);
            assert_eq!(sides.collect::<BTreeSet<_>>().len(), 1);
        }
    }
}
