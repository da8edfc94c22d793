//! Who is on a development venue: every account, its money and its keys, from one seed.
//!
//! All keys follow from the seed, which is no secret: never for a venue with real money.

use k256::ecdsa::SigningKey;
use lifeboat_engine::GenesisAccount;
use lifeboat_engine::auth::address_of;
use lifeboat_engine::types::{AccountId, Address, Cash, ChainId, MarginModel, PublicKey, TimeMs};

use super::dice::Dice;
use super::participant::Participant;

const MILLION: i64 = 1_000_000 * 1_000_000;
/// What all traders have together at most: a venue's money is one 64-bit figure.
const TRADERS_CASH_MAX: i64 = 4_000_000 * MILLION;
/// Session keys of a development venue do not expire.
const NEVER: TimeMs = TimeMs::new(u64::MAX);

/// How many of each there are. Accounts are numbered in this order from 1; account 0 is the
/// insurance fund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Decides every key.
    pub seed: u64,
    /// The venue.
    pub chain: ChainId,
    /// Market makers of the simulation.
    pub makers: u32,
    /// Takers of the simulation.
    pub takers: u32,
    /// Accounts for people who connect to the gateway.
    pub clients: u32,
    /// Accounts that load generators trade from.
    pub traders: u32,
    /// Accounts that load generators quote from.
    pub quoters: u32,
}

impl Cast {
    /// The simulation's first account.
    pub const fn first_maker(&self) -> AccountId {
        AccountId::new(1)
    }

    /// The clients' accounts.
    pub fn clients(&self) -> impl Iterator<Item = AccountId> + use<> {
        let first = 1 + self.makers + self.takers;
        (first..first + self.clients).map(AccountId::new)
    }

    /// The load generators' first account: traders, then quoters.
    pub const fn first_trader(&self) -> AccountId {
        AccountId::new(1 + self.makers + self.takers + self.clients)
    }

    /// Every account as genesis has it, each with its development session key; a client's also with
    /// the key that `session_of` names.
    pub fn genesis_accounts<S: IntoIterator<Item = PublicKey>>(
        &self,
        sessions_of: impl Fn(AccountId) -> S,
    ) -> Vec<GenesisAccount> {
        let each = TRADERS_CASH_MAX / i64::from(self.traders.max(1));
        let groups = [
            (self.makers, 1_000 * MILLION),
            (self.takers, 50 * MILLION),
            (self.clients, MILLION),
            (self.traders, each.min(50 * MILLION)),
            (self.quoters, 5_000 * MILLION),
        ];
        let cash = groups
            .iter()
            .flat_map(|(count, cash)| (0..*count).map(|_| Cash::new(*cash)));
        let accounts = (1..).map(AccountId::new).zip(cash);
        accounts
            .map(|(account, cash)| self.account(account, cash, sessions_of(account)))
            .collect()
    }

    fn account(
        &self,
        account: AccountId,
        cash: Cash,
        sessions: impl IntoIterator<Item = PublicKey>,
    ) -> GenesisAccount {
        let own = Participant::development(self.seed, account, self.chain).public();
        let sessions = [own].into_iter().chain(sessions);
        GenesisAccount {
            owner: address_of(self.owner_key(account).verifying_key()),
            cash,
            model: MarginModel::Portfolio,
            sessions: sessions.map(|key| (key, NEVER)).collect(),
        }
    }

    /// Who owns the operator's stake; no account of the cast.
    pub fn operator(&self) -> Address {
        // No cast has so many accounts.
        address_of(self.owner_key(AccountId::new(u32::MAX)).verifying_key())
    }

    /// The key that owns an account.
    pub fn owner_key(&self, account: AccountId) -> SigningKey {
        let place = [u64::from_le_bytes(*b"owner\0\0\0"), account.get().into()];
        let mut dice = Dice::at(self.seed, &place);
        // All but one in 2^128 of 32 random bytes are a key.
        loop {
            if let Ok(key) = SigningKey::from_slice(&dice.key()) {
                return key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn accounts_are_numbered_by_role_and_owners_differ() {
        let (makers, takers, clients, traders, quoters) = (2, 3, 2, 5, 1);
        let chain = ChainId([1; 32]);
        let cast = Cast {
            seed: 9,
            chain,
            makers,
            takers,
            clients,
            traders,
            quoters,
        };
        let client_key = PublicKey([7; 32]);
        let is_client = |account| cast.clients().any(|client| client == account);
        let accounts = cast.genesis_accounts(|account| is_client(account).then_some(client_key));
        assert_eq!(accounts.len(), 13);
        let owners: BTreeSet<_> = accounts.iter().map(|account| account.owner).collect();
        assert_eq!(owners.len(), 13);
        let with_two = accounts.iter().map(|account| account.sessions.len() == 2);
        let with_two: Vec<bool> = with_two.collect();
        let first_client = cast.clients().next().map(|account| account.get() as usize);
        assert_eq!(first_client, Some(6));
        assert!(with_two[5] && with_two[6] && !with_two[4] && !with_two[7]);
        assert_eq!(cast.first_trader(), AccountId::new(8));
    }
}
