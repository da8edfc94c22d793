//! A state machine that counts.
//!
//! **Owns** just enough state to show that every command was executed once and in the same order
//! everywhere: a running digest and the set of commands seen.

use std::collections::BTreeSet;
use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::command::{Action, CancelScope, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{AccountId, ChainId, Digest, Height, Mode, Nonce, PublicKey, TimeMs};
use lifeboat_engine::{Advanced, Block, CheckedCommand, Command, Event, Reject, auth};

use crate::block::keccak256;
use crate::machine::{Blueprint, Machine};
use crate::sabotage::{self, Mutant};

/// The counting state machine.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tally {
    root: Digest,
    height: Height,
    time: TimeMs,
    events: u64,
    seen: BTreeSet<Digest>,
    quarantined: BTreeSet<(Height, u32)>,
    mode: Mode,
    poison: Option<AccountId>,
    skew_at: Option<Height>,
}

impl Tally {
    /// How many commands it executed.
    pub fn executed(&self) -> usize {
        self.seen.len()
    }

    /// What a programmer gets who iterates over a hash map: another order in every process.
    fn mix_in_any_order(&mut self, block: &Block) {
        let key = |checked: &CheckedCommand| {
            keccak256(&[&borsh::to_vec(checked.command()).unwrap_or_default()])
        };
        #[allow(clippy::disallowed_types)] // this order is the mistake
        let keys: std::collections::HashSet<Digest> = block.commands.iter().map(key).collect();
        for key in keys {
            self.root = keccak256(&[&self.root.0, &key.0]);
        }
    }

    fn apply_one(
        &mut self,
        height: Height,
        index: u32,
        checked: &CheckedCommand,
        events: &mut Vec<Event>,
    ) {
        if self.quarantined.contains(&(height, index)) {
            self.mode = Mode::ClearingOnly;
            events.push(Event::CommandQuarantined { index });
            return;
        }
        if let Command::User(user) = checked.command()
            && Some(user.payload.account) == self.poison
        {
            panic!("poison at {height}/{index}");
        }
        let key = keccak256(&[&borsh::to_vec(checked.command()).unwrap_or_default()]);
        let reject = match checked.signer() {
            None => Some(Reject::BadSignature),
            Some(_) => (!self.seen.insert(key)).then_some(Reject::StaleNonce),
        };
        match reject {
            Some(reject) => events.push(Event::CommandRejected { index, reject }),
            None => {
                self.root = keccak256(&[&self.root.0, &key.0]);
                events.push(Event::CommandApplied { index });
            }
        }
    }
}

impl Machine for Tally {
    fn advance(&mut self, block: &Block, events: &mut Vec<Event>) -> Advanced {
        let first_event = self.events + 1;
        self.height = block.height;
        self.time = self.time.max(block.time);
        for (index, checked) in block.commands.iter().enumerate() {
            self.apply_one(block.height, index as u32, checked, events);
        }
        self.events += events.len() as u64;
        self.root = keccak256(&[&self.root.0, &block.height.get().to_be_bytes()]);
        if sabotage::is(Mutant::UnorderedMap) {
            self.mix_in_any_order(block);
        }
        if Some(block.height) == self.skew_at {
            self.root = keccak256(&[&self.root.0]);
        }
        Advanced {
            height: block.height,
            time: self.time,
            first_event,
            mode: self.mode,
        }
    }

    fn commit(&mut self) -> Digest {
        self.root
    }

    fn position(&self) -> (Height, TimeMs, Mode) {
        (self.height, self.time, self.mode)
    }

    fn state_root(&self) -> Digest {
        self.root
    }

    fn write_snapshot(&self, out: &mut dyn io::Write) -> io::Result<()> {
        borsh::to_writer(out, self)
    }

    fn quarantine(&mut self, height: Height, index: u32) {
        self.quarantined.insert((height, index));
    }
}

/// Makes [`Tally`]s.
#[derive(Clone, Debug)]
pub struct TallyBlueprint {
    /// Which venue.
    pub chain: ChainId,
    /// Commands of this account break it.
    pub poison: Option<AccountId>,
    /// At this height it computes another root than its peers.
    pub skew_at: Option<Height>,
}

impl Blueprint for TallyBlueprint {
    fn chain(&self) -> ChainId {
        self.chain
    }

    fn genesis_time(&self) -> TimeMs {
        TimeMs::new(0)
    }

    fn genesis(&self) -> Box<dyn Machine> {
        Box::new(Tally {
            root: keccak256(&[&self.chain.0]),
            height: Height::new(0),
            time: self.genesis_time(),
            events: 0,
            seen: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            mode: Mode::Open,
            poison: self.poison,
            skew_at: self.skew_at,
        })
    }

    fn restore(&self, mut snapshot: &mut dyn io::Read) -> io::Result<Box<dyn Machine>> {
        let tally: Tally = borsh::from_reader(&mut snapshot)?;
        Ok(Box::new(tally))
    }

    fn check(&self, commands: Vec<Command>) -> Vec<CheckedCommand> {
        auth::check_batch(&self.chain, commands)
    }
}

/// A signed command of `account`, told apart by `nonce`.
pub fn user_command(chain: &ChainId, account: AccountId, nonce: u64) -> Command {
    let mut seed = [7u8; 32];
    seed[..4].copy_from_slice(&account.get().to_le_bytes());
    let signing = SigningKey::from(seed);
    let payload = UserPayload {
        account,
        nonce: Nonce::new(nonce),
        valid_until: TimeMs::new(0),
        action: Action::CancelAll(CancelScope::Account),
    };
    let signature = signing.sign(&payload.session_message(chain)).to_bytes();
    let key = PublicKey(VerificationKeyBytes::from(&signing).into());
    Command::User(UserCommand {
        payload,
        signature: UserSignature::Session { key, signature },
    })
}
