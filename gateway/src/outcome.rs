//! The fate of every command the gateway submitted, matched by (session key, nonce).
//!
//! A command is *open* from its submission until the block that carries it, or until block time
//! passes its `valid_until`; from then on it is *dead* and certainly did nothing. A request that
//! waits for it may give up earlier and is then told `outcome_unknown`; the record stays.

use std::collections::{BTreeMap, VecDeque};

use lifeboat_engine::Reject;
use lifeboat_engine::event::OrderPlaced;
use lifeboat_engine::types::{
    AccountId, ClientOrderId, Height, InstrumentId, Nonce, OrderId, PublicKey, Side, TimeMs,
};
use tokio::sync::oneshot;

use crate::orders::{Fill, OrderRecord};
use crate::seals::SealRecord;

/// Settled outcomes remembered for each account.
const REMEMBERED_MAX: usize = 4_096;

/// What a command did.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The account's orders that the command touched, as they stood after it.
    pub orders: Vec<OrderRecord>,
    /// The account's fills.
    pub fills: Vec<Fill>,
    /// The order that a remembered client id already named.
    pub repeated: Option<OrderId>,
    /// Orders of the account that ended by it.
    pub cancelled: u32,
    /// Sides of a mass quote that were refused.
    pub refused: Vec<(InstrumentId, Side, Reject)>,
    /// The order it placed, for matching with the request.
    pub placed: Option<OrderPlaced>,
    /// The order it sealed.
    pub sealed: Option<SealRecord>,
}

/// Where a command stands.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Not known yet.
    Open,
    /// Done in this block.
    Applied {
        /// The block.
        height: Height,
        /// What it did.
        effects: Box<Effects>,
    },
    /// Refused in this block, without a trace.
    Rejected {
        /// The block.
        height: Height,
        /// Why.
        reject: Reject,
    },
    /// Skipped: the command is on the quarantine list.
    Quarantined {
        /// The block.
        height: Height,
    },
    /// Its `valid_until` passed without it.
    Dead,
}

impl Fate {
    /// The fate's name in answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "unknown",
            Self::Applied { .. } => "applied",
            Self::Rejected { .. } => "rejected",
            Self::Quarantined { .. } => "quarantined",
            Self::Dead => "dead",
        }
    }
}

/// Names a submitted command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The session key that signed it.
    pub key: PublicKey,
    /// Its nonce.
    pub nonce: Nonce,
}

/// A submitted command and where it stands.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its name.
    pub ticket: Ticket,
    /// The client order id it carries, or 0.
    pub client_id: ClientOrderId,
    /// The block time from which it is dead.
    pub valid_until: TimeMs,
    /// Where it stands.
    pub fate: Fate,
}

#[derive(Debug)]
struct Waiting {
    account: AccountId,
    record: Record,
    answer: oneshot::Sender<Fate>,
}

/// All submitted commands.
#[derive(Debug, Default)]
pub struct Outcomes {
    open: BTreeMap<Ticket, Waiting>,
    settled: BTreeMap<AccountId, VecDeque<Record>>,
}

impl Outcomes {
    /// Registers a command before it is submitted. The receiver gets its fate.
    pub fn open(
        &mut self,
        account: AccountId,
        ticket: Ticket,
        client_id: ClientOrderId,
        valid_until: TimeMs,
    ) -> oneshot::Receiver<Fate> {
        let (answer, receiver) = oneshot::channel();
        let record = Record {
            ticket,
            client_id,
            valid_until,
            fate: Fate::Open,
        };
        let waiting = Waiting {
            account,
            record,
            answer,
        };
        self.open.insert(ticket, waiting);
        receiver
    }

    /// Forgets a command that was certainly not queued.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
    }

    /// Whether this is one of the gateway's open commands, and whose.
    pub fn account_of(&self, ticket: Ticket) -> Option<AccountId> {
        self.open.get(&ticket).map(|waiting| waiting.account)
    }

    /// The fate of a command became known.
    pub fn settle(&mut self, ticket: Ticket, fate: Fate) {
        let Some(waiting) = self.open.remove(&ticket) else {
            return;
        };
        let log = self.settled.entry(waiting.account).or_default();
        log.push_back(Record {
            fate: fate.clone(),
            ..waiting.record
        });
        if log.len() > REMEMBERED_MAX {
            log.pop_front();
        }
        // Nobody waits any more when the request timed out: the record above is what is left.
        let _ = waiting.answer.send(fate);
    }

    /// Block time reached `now`: what is still open and not valid any more is dead.
    pub fn expire(&mut self, now: TimeMs) {
        let dead: Vec<Ticket> = self
            .open
            .values()
            .filter(|waiting| waiting.record.valid_until <= now)
            .map(|waiting| waiting.record.ticket)
            .collect();
        for ticket in dead {
            self.settle(ticket, Fate::Dead);
        }
    }

    /// How many commands of a session key are open.
    pub fn open_of(&self, key: PublicKey) -> usize {
        let from = Ticket {
            key,
            nonce: Nonce::new(0),
        };
        let to = Ticket {
            key,
            nonce: Nonce::new(u64::MAX),
        };
        self.open.range(from..=to).count()
    }

    /// How many commands are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The latest of an account's records that a test holds for.
    pub fn find(&self, account: AccountId, test: impl Fn(&Record) -> bool) -> Option<&Record> {
        let open = self.open.values().rev();
        open.filter(|waiting| waiting.account == account)
            .map(|waiting| &waiting.record)
            .find(|record| test(record))
            .or_else(|| {
                let log = self.settled.get(&account)?;
                log.iter().rev().find(|record| test(record))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(nonce: u64) -> Ticket {
        Ticket {
            key: PublicKey([1; 32]),
            nonce: Nonce::new(nonce),
        }
    }

    #[test]
    fn a_fate_reaches_its_waiter_and_stays() {
        let account = AccountId::new(4);
        let mut outcomes = Outcomes::default();
        let id = ClientOrderId::new(9);
        let mut answer = outcomes.open(account, ticket(1), id, TimeMs::new(100));
        assert_eq!(outcomes.account_of(ticket(1)), Some(account));
        let height = Height::new(7);
        let reject = Reject::OffTick;
        outcomes.settle(ticket(1), Fate::Rejected { height, reject });
        assert!(matches!(answer.try_recv(), Ok(Fate::Rejected { .. })));
        let record = outcomes.find(account, |r| r.client_id == id).expect("kept");
        assert_eq!(record.fate.name(), "rejected");
        assert_eq!(outcomes.open_count(), 0);
    }

    #[test]
    fn block_time_kills_what_is_late_and_nothing_else() {
        let account = AccountId::new(4);
        let mut outcomes = Outcomes::default();
        let none = ClientOrderId::default();
        let mut early = outcomes.open(account, ticket(1), none, TimeMs::new(100));
        let mut late = outcomes.open(account, ticket(2), none, TimeMs::new(101));
        outcomes.expire(TimeMs::new(100));
        assert!(matches!(early.try_recv(), Ok(Fate::Dead)));
        assert!(late.try_recv().is_err());
        assert_eq!(outcomes.open_of(PublicKey([1; 32])), 1);
        assert_eq!(outcomes.open_of(PublicKey([2; 32])), 0);
    }

    #[test]
    fn the_record_is_bounded() {
        let account = AccountId::new(4);
        let mut outcomes = Outcomes::default();
        for n in 0..6_000 {
            let none = ClientOrderId::default();
            drop(outcomes.open(account, ticket(n), none, TimeMs::new(1)));
        }
        outcomes.expire(TimeMs::new(1));
        let kept = outcomes.settled.get(&account).expect("a log");
        assert_eq!(kept.len(), REMEMBERED_MAX);
    }
}
