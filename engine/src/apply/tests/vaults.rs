//! Deposits, withdrawals and the gate in front of them.

use proptest::prelude::*;

use super::*;
use crate::block::{CheckedCommand, Signer};
use crate::modes::{Activity, permits};
use crate::params::VaultParameters;
use crate::vault::{Deposit, DepositChain};

const CHAIN: SettlementChain = SettlementChain::new(31_337);

fn vault() -> VaultParameters {
    VaultParameters {
        chain: CHAIN,
        vault: Address([0xaa; 20]),
        pool: Address([0xbb; 20]),
        withdrawal_min: Cash::new(1_000_000),
    }
}

fn with_vault(cash: &[i64]) -> Venue {
    let parameters = Parameters {
        vaults: vec![vault()],
        ..Parameters::default()
    };
    Venue::with(cash, parameters)
}

fn owner(account: u32) -> Address {
    Address([account as u8; 20])
}

fn deposit(account: u32, units: i64) -> Deposit {
    Deposit {
        owner: owner(account),
        amount: Cash::new(units),
    }
}

fn deposits(first: u64, deposits: &[Deposit]) -> VaultEvent {
    VaultEvent::Deposits {
        first,
        deposits: deposits.to_vec(),
    }
}

impl Venue {
    fn state(&self) -> &crate::vault::VaultState {
        &self.engine.vaults()[0]
    }

    /// A command that the owner's key signed, in a block of its own at the last one's time: no mark moves.
    fn run_owner(&mut self, account: u32, action: Action) -> Result<Vec<Event>, Reject> {
        let mut command = self.user(account, action);
        command.signature = UserSignature::Owner { signature: [0; 65] };
        let signer = Signer::Owner(owner(account));
        let block = Block {
            height: self.engine.height().next(),
            time: TimeMs::new(self.time),
            agreed: self.agreed,
            commands: vec![CheckedCommand::new(Command::User(command), Some(signer))],
        };
        let mut events = Vec::new();
        self.engine.apply(&block, &mut events).unwrap();
        self.balance();
        match verdict(&events) {
            Some(reject) => Err(reject),
            None => Ok(events),
        }
    }

    fn withdraw(&mut self, account: u32, units: i64) -> Result<Vec<Event>, Reject> {
        let action = Action::Withdraw {
            chain: CHAIN,
            recipient: Address([0xcc; 20]),
            amount: Cash::new(units),
        };
        self.run_owner(account, action)
    }

    /// The validators attest an event, each in turn; what the last of them got to hear.
    fn attest(&mut self, by: &[u16], event: &VaultEvent) -> Result<Vec<Event>, Reject> {
        let mut heard = Ok(Vec::new());
        for index in by {
            let proposal = Proposal::Vault {
                chain: CHAIN,
                event: event.clone(),
            };
            self.report(*index, Report::Attest(proposal));
            let events = self.block();
            heard = match verdict(&events) {
                Some(reject) => Err(reject),
                None => Ok(events),
            };
        }
        self.balance();
        heard
    }

    /// What the accounts own and what was withdrawn is what was deposited.
    fn balance(&self) {
        assert_eq!(self.engine.ledger().audit(), 0, "I1");
        assert!(self.engine.ledger().is_conserved());
        let owned = i128::from(self.engine.ledger().collateral.get());
        assert_eq!(self.state().collateral(), owned);
    }
}

fn verdict(events: &[Event]) -> Option<Reject> {
    events.iter().find_map(|event| match event {
        Event::CommandRejected { reject, .. } => Some(*reject),
        _ => None,
    })
}

const ALL: [u16; 3] = [0, 1, 2];

#[test]
fn cash_at_the_start_is_the_first_deposits() {
    let venue = with_vault(&[5, 0, 7]);
    let chain = DepositChain::default()
        .extended(&[deposit(1, 5_000_000), deposit(3, 7_000_000)])
        .unwrap();
    assert_eq!(venue.state().deposits, chain);
    assert_eq!(
        venue.engine.account_by_owner(&Address([0xbb; 20])),
        Some(AccountId::new(0))
    );
    venue.balance();
}

#[test]
fn deposits_are_credited_once_in_order_and_open_accounts() {
    let mut venue = with_vault(&[5]);
    let next = deposits(1, &[deposit(9, 3_000_000), deposit(1, 4)]);
    venue.attest(&[0, 1], &next).unwrap();
    assert_eq!(venue.state().deposits.cursor, 1, "no quorum yet");
    assert_eq!(venue.attest(&[1], &next), Err(Reject::AlreadyAttested));
    venue.attest(&[3], &next).unwrap();
    assert_eq!((venue.cash(1), venue.cash(2)), (5_000_004, 3_000_000));
    assert_eq!(venue.state().deposits.cursor, 3);
    for stale in [&next, &deposits(4, &[deposit(1, 4)])] {
        assert_eq!(venue.attest(&[2], stale), Err(Reject::NotNext));
    }
    let bad = [
        deposit(1, 0),
        deposit(1, -1),
        deposit(0, 5),
        deposit(1, i64::MAX),
    ];
    for bad in bad {
        assert_eq!(
            venue.attest(&[2], &deposits(3, &[bad])),
            Err(Reject::BadProposal)
        );
    }
    assert_eq!(
        venue.attest(&[2], &deposits(3, &[])),
        Err(Reject::BadProposal)
    );
}

#[test]
fn a_validator_has_one_word_about_what_is_next() {
    let mut venue = with_vault(&[5]);
    let (one, other) = (deposits(1, &[deposit(1, 7)]), deposits(1, &[deposit(1, 8)]));
    venue.attest(&[0, 1], &one).unwrap();
    // They take it back; a third who still says it is alone.
    venue.attest(&[0, 1], &other).unwrap();
    venue.attest(&[2], &one).unwrap();
    assert_eq!(venue.state().deposits.cursor, 1);
    venue.attest(&[3], &other).unwrap();
    assert_eq!(venue.cash(1), 5_000_008);
}

#[test]
fn what_a_chain_forgot_is_unwound_and_may_come_again() {
    let mut venue = with_vault(&[5]);
    let before = venue.state().deposits;
    let lost = [deposit(1, 7), deposit(2, 3_000_000)];
    venue.attest(&ALL, &deposits(1, &lost)).unwrap();
    assert!(venue.withdraw(2, 3_000_000).is_ok());
    let unwound = |first, previous, deposits: &[Deposit]| VaultEvent::DepositsUnwound {
        first,
        previous,
        deposits: deposits.to_vec(),
    };
    let [a, b] = lost;
    let wrong = [
        unwound(1, before.hash, &[b, a]),
        unwound(1, Digest([1; 32]), &lost),
        unwound(1, before.hash, &[a, deposit(2, 2)]),
    ];
    for wrong in wrong {
        assert_eq!(venue.attest(&[0], &wrong), Err(Reject::BadProposal));
    }
    assert_eq!(
        venue.attest(&[0], &unwound(1, before.hash, &[a])),
        Err(Reject::NotNext)
    );
    let events = venue.attest(&ALL, &unwound(1, before.hash, &lost)).unwrap();
    let owed = |account, owed| {
        let expected = (AccountId::new(account), Cash::new(owed));
        events.iter().any(|e| matches!(e, Event::DepositUnwound { account, owed, .. } if (*account, *owed) == expected))
    };
    assert!(owed(1, 0) && owed(2, 3_000_000));
    assert_eq!((venue.cash(1), venue.cash(2)), (5_000_000, -3_000_000));
    assert_eq!(venue.state().deposits, before);
    // The same deposits again, mined anew.
    venue.attest(&ALL, &deposits(1, &lost)).unwrap();
    assert_eq!(venue.cash(2), 0);
    assert_eq!(
        venue.withdraw(2, 1_000_000),
        Err(Reject::AccountInLiquidation),
        "until the next tick sees that it owes nothing"
    );
}

#[test]
fn votes_for_what_a_reorganisation_took_do_not_count_after_it() {
    let mut venue = with_vault(&[5]);
    let (first, later) = ([deposit(1, 7)], deposits(2, &[deposit(1, 8)]));
    let before = venue.state().deposits;
    venue.attest(&ALL, &deposits(1, &first)).unwrap();
    venue.attest(&[0, 1], &later).unwrap();
    let unwound = VaultEvent::DepositsUnwound {
        first: 1,
        previous: before.hash,
        deposits: first.to_vec(),
    };
    venue.attest(&ALL, &unwound).unwrap();
    venue.attest(&ALL, &deposits(1, &first)).unwrap();
    venue.attest(&[2], &later).unwrap();
    assert_eq!(
        venue.state().deposits.cursor,
        2,
        "one new word is no quorum"
    );
}

#[test]
fn a_withdrawal_is_debited_numbered_and_provable() {
    let mut venue = with_vault(&[5, 5]);
    let events = venue.withdraw(1, 2_000_000).unwrap();
    let expected = Event::Withdrawn {
        account: Some(AccountId::new(1)),
        chain: CHAIN,
        number: 0,
        owner: owner(1),
        recipient: Address([0xcc; 20]),
        amount: Cash::new(2_000_000),
    };
    assert!(events.contains(&expected));
    venue.withdraw(2, 5_000_000).unwrap();
    assert_eq!((venue.cash(1), venue.cash(2)), (3_000_000, 0));
    let state = venue.state();
    assert_eq!(
        (state.withdrawn().get(), state.withdrawals().len()),
        (7_000_000, 2)
    );
    let proof = state.prove_withdrawal(1).unwrap();
    assert_eq!(proof.count, 2);
    assert_ne!(state.withdrawals_root(), Digest::default());
}

#[test]
fn the_gate_refuses_in_a_fixed_order() {
    let mut venue = with_vault(&[5, 5]);
    let action = |chain: u64, recipient: Address, units| Action::Withdraw {
        chain: SettlementChain::new(chain),
        recipient,
        amount: Cash::new(units),
    };
    let (here, to) = (CHAIN.get(), owner(7));
    let cases = [
        (action(1, to, 2_000_000), Reject::UnknownVault),
        (
            action(here, Address::default(), 2_000_000),
            Reject::BadWithdrawal,
        ),
        (action(here, to, 0), Reject::BadWithdrawal),
        (action(here, to, -2_000_000), Reject::BadWithdrawal),
        (action(here, to, 999_999), Reject::BadWithdrawal),
        (action(here, to, 5_000_001), Reject::AboveCash),
    ];
    for (action, reject) in cases {
        assert_eq!(venue.run_owner(1, action), Err(reject));
    }
    assert_eq!(
        venue.run(1, action(here, to, 2_000_000)),
        Err(Reject::OwnerKeyRequired),
        "a session key trades only"
    );
    // Less than the least, but everything there is.
    venue.withdraw(1, 4_500_000).unwrap();
    venue.withdraw(1, 500_000).unwrap();
    assert_eq!(venue.cash(1), 0);
}

#[test]
fn nothing_leaves_below_initial_margin() {
    let mut venue = with_vault(&[100_000, 100_000]);
    let call = venue.call();
    venue.trade(1, 2, call, 50, 2_000);
    venue
        .run(1, place(limit(call, Side::Sell, 20, 3_000)))
        .unwrap();
    let seller = AccountId::new(1);
    let free = venue.engine.free_cash(seller).unwrap().get();
    assert!(free > 0 && free < venue.cash(1));
    assert_eq!(venue.withdraw(1, free + 1), Err(Reject::MarginBelowInitial));
    venue.withdraw(1, free).unwrap();
    let margin = venue.engine.margin_summary(seller).unwrap();
    assert_eq!(margin.equity, margin.initial, "to the unit");
    assert_eq!(venue.engine.free_cash(seller), Some(Cash::ZERO));
}

#[test]
fn more_margin_stays_while_prices_are_old() {
    let mut venue = with_vault(&[100_000, 100_000, 5]);
    let call = venue.call();
    venue.trade(1, 2, call, 50, 2_000);
    let seller = AccountId::new(1);
    let free = |venue: &Venue, id| venue.engine.free_cash(id).unwrap().get();
    let within = |venue: &Venue| {
        let margin = venue.engine.margin_summary(seller).unwrap();
        (margin.equity.get() - margin.initial.get()).min(venue.cash(1))
    };
    let required = |venue: &Venue| venue.engine.margin_summary(seller).unwrap().initial.get();
    assert_eq!(free(&venue, seller), within(&venue));
    let mut before = required(&venue);
    while venue.engine.feed(UnderlyingId::new(0)).unwrap().live {
        before = required(&venue);
        venue.block();
    }
    let more = required(&venue) - before;
    assert!((more - before / 4).abs() <= 2, "{more} on top of {before}");
    let held = within(&venue);
    assert_eq!(free(&venue, seller), held);
    assert_eq!(venue.withdraw(1, held + 1), Err(Reject::MarginBelowInitial));
    // Who holds nothing takes everything.
    assert_eq!(free(&venue, AccountId::new(3)), 5_000_000);
    venue.observe_until(90_000, 5, |_| false);
    assert_eq!(free(&venue, seller), within(&venue));
    assert!(free(&venue, seller) > held);
}

#[test]
fn a_vault_that_is_short_holds_withdrawals() {
    let mut venue = with_vault(&[5, 5]);
    let anchored = |block, assets, paid| VaultEvent::Anchored {
        block,
        assets: Cash::new(assets),
        paid: Cash::new(paid),
    };
    venue.attest(&ALL, &anchored(10, 10_000_000, 0)).unwrap();
    venue.withdraw(1, 2_000_000).unwrap();
    venue
        .attest(&ALL, &anchored(11, 8_000_000, 2_000_000))
        .unwrap();
    venue.withdraw(1, 1_000_000).unwrap();
    let events = venue
        .attest(&ALL, &anchored(12, 7_999_999, 2_000_000))
        .unwrap();
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::VaultAnchored { held: true, .. }))
    );
    assert_eq!(venue.withdraw(1, 1_000_000), Err(Reject::WithdrawalsHeld));
    assert_eq!(
        venue.attest(&[0], &anchored(12, 8_000_000, 2_000_000)),
        Err(Reject::NotNext)
    );
    venue
        .attest(&ALL, &anchored(13, 8_000_000, 2_000_000))
        .unwrap();
    venue.withdraw(1, 1_000_000).unwrap();
}

#[test]
fn a_forced_request_is_answered_with_what_is_free() {
    let mut venue = with_vault(&[100_000, 100_000]);
    let call = venue.call();
    venue.trade(1, 2, call, 50, 2_000);
    venue
        .run(1, place(limit(call, Side::Sell, 20, 3_000)))
        .unwrap();
    let request = |account, units, recipient| ForcedRequest {
        owner: owner(account),
        amount: Cash::new(units),
        recipient,
    };
    let requests = vec![
        request(1, i64::MAX, Address([0xcc; 20])),
        request(2, 3, Address::default()),
        request(77, 3, Address::default()),
        request(1, 1, Address::default()),
    ];
    let event = VaultEvent::ForcedRequests { first: 0, requests };
    let events = venue.attest(&ALL, &event).unwrap();
    let paid: Vec<i64> = events
        .iter()
        .filter_map(|e| match e {
            Event::ForcedAnswered { paid, .. } => Some(paid.get()),
            _ => None,
        })
        .collect();
    assert!(paid[0] > 0, "its order was cancelled first");
    assert_eq!(paid[1..], [3, 0, 0]);
    assert_eq!(venue.state().forced, 4);
    assert_eq!(venue.state().withdrawals()[1].recipient, owner(2));
    assert_eq!(venue.engine.open_orders(AccountId::new(1)).len(), 0);
    let margin = venue.engine.margin_summary(AccountId::new(1)).unwrap();
    assert_eq!(margin.equity, margin.initial);
}

#[test]
fn a_bought_account_goes_to_the_fund_at_the_price_paid() {
    let mut venue = with_vault(&[100_000, 100_000]);
    let call = venue.call();
    venue.trade(1, 2, call, 50, 2_000);
    let (cash, fund) = (venue.cash(1), venue.cash(0));
    let sale = |account, cash| Crystallisation {
        account: AccountId::new(account),
        cash: Cash::new(cash),
        paid: Cash::new(123),
    };
    let event = VaultEvent::Crystallised {
        first: 0,
        accounts: vec![sale(1, cash), sale(2, 1), sale(0, fund)],
    };
    let events = venue.attest(&ALL, &event).unwrap();
    let lapsed = events
        .iter()
        .filter(|e| matches!(e, Event::CrystallisationLapsed { .. }));
    assert_eq!(lapsed.count(), 2, "another cash, and the fund itself");
    assert_eq!((venue.cash(1), venue.cash(0)), (123, fund + cash - 123));
    assert_eq!((venue.position(1, call), venue.position(0, call)), (0, -50));
    assert_eq!(venue.state().crystallised, 3);
}

#[test]
fn a_frozen_vault_ends_the_venue() {
    let mut venue = with_vault(&[5]);
    venue.attest(&ALL, &VaultEvent::Frozen).unwrap();
    assert_eq!(venue.mode(), Mode::Exit);
    assert!(!permits(Mode::Exit, Activity::Withdraw));
    assert_eq!(venue.withdraw(1, 1_000_000), Err(Reject::ModeForbids));
    let late = deposits(1, &[deposit(1, 7)]);
    assert_eq!(venue.attest(&[0], &late), Err(Reject::ModeForbids));
}

#[test]
fn withdrawals_go_on_in_every_mode_but_exit() {
    for mode in Mode::ALL {
        assert_eq!(permits(*mode, Activity::Withdraw), *mode != Mode::Exit);
    }
    let mut venue = with_vault(&[5]);
    for v in ALL {
        let halt = Proposal::SetHalt {
            halted: true,
            reference: Digest([1; 32]),
        };
        venue.report(v, Report::Attest(halt));
    }
    venue.block();
    assert_eq!(venue.mode(), Mode::Halted);
    venue.withdraw(1, 5_000_000).unwrap();
}

#[test]
fn vaults_come_back_from_a_snapshot() {
    let mut venue = with_vault(&[5, 5]);
    venue
        .attest(&ALL, &deposits(2, &[deposit(9, 3_000_000)]))
        .unwrap();
    for _ in 0..5 {
        venue.withdraw(1, 1_000_000).unwrap();
    }
    venue
        .attest(&[0, 1], &deposits(3, &[deposit(9, 4)]))
        .unwrap();
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let restored = Engine::read_snapshot(&mut bytes.as_slice()).unwrap();
    assert_eq!(restored.state_root(), venue.engine.state_root());
    let (old, new) = (venue.state(), &restored.vaults()[0]);
    assert_eq!(old.withdrawals_root(), new.withdrawals_root());
    assert_eq!(old.prove_withdrawal(3), new.prove_withdrawal(3));
    assert_eq!(
        (old.deposits, old.withdrawn()),
        (new.deposits, new.withdrawn())
    );
    venue.engine = restored;
    venue.attest(&[2], &deposits(3, &[deposit(9, 4)])).unwrap();
    assert_eq!(venue.state().deposits.cursor, 4, "votes come back too");
}

/// What an owner, a trader or the chain may do.
#[derive(Clone, Debug)]
enum Step {
    Trade { seller: u32, lots: i64, price: i64 },
    Offer { account: u32, lots: i64 },
    Withdraw { account: u32, units: i64 },
    Force { account: u32, units: i64 },
    Deposit { account: u32, units: i64 },
    Index { price: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let account = || 1u32..4;
    let units = || prop_oneof![1i64..200_000_000_000, 1i64..5_000_000];
    prop_oneof![
        (account(), 1i64..60, 1_000i64..4_000).prop_map(|(seller, lots, price)| Step::Trade {
            seller,
            lots,
            price
        }),
        (account(), 1i64..60).prop_map(|(account, lots)| Step::Offer { account, lots }),
        (account(), units()).prop_map(|(account, units)| Step::Withdraw { account, units }),
        (account(), units()).prop_map(|(account, units)| Step::Force { account, units }),
        (account(), 1i64..50_000_000_000)
            .prop_map(|(account, units)| Step::Deposit { account, units }),
        (85_000i64..95_000).prop_map(|price| Step::Index { price }),
    ]
}

impl Venue {
    /// Does a step; checks the gate where money left.
    fn step(&mut self, step: &Step, call: InstrumentId) {
        match *step {
            Step::Trade {
                seller,
                lots,
                price,
            } => {
                let buyer = seller % 3 + 1;
                let _ = self.run(seller, place(limit(call, Side::Sell, lots, price)));
                let _ = self.run(buyer, place(limit(call, Side::Buy, lots, price)));
            }
            Step::Offer { account, lots } => {
                let _ = self.run(account, place(limit(call, Side::Sell, lots, 5_000)));
            }
            Step::Withdraw { account, units } => {
                let (cash, free) = (self.cash(account), self.free(account));
                let done = self.withdraw(account, units).is_ok();
                let whole = units >= 1_000_000 || units == cash;
                assert_eq!(done, units <= free && whole, "{units} of {free}");
                self.solvent(account, done);
            }
            Step::Force { account, units } => {
                let request = ForcedRequest {
                    owner: owner(account),
                    amount: Cash::new(units),
                    recipient: Address::default(),
                };
                let event = VaultEvent::ForcedRequests {
                    first: self.state().forced,
                    requests: vec![request],
                };
                let before = self.state().withdrawn();
                self.attest(&ALL, &event).unwrap();
                self.solvent(account, self.state().withdrawn() != before);
            }
            Step::Deposit { account, units } => {
                let event = deposits(self.state().deposits.cursor, &[deposit(account, units)]);
                self.attest(&ALL, &event).unwrap();
            }
            Step::Index { price } => {
                self.observe(price);
                self.block();
            }
        }
    }

    fn free(&self, account: u32) -> i64 {
        self.engine
            .free_cash(AccountId::new(account))
            .unwrap()
            .get()
    }

    fn solvent(&self, account: u32, paid: bool) {
        let margin = self.engine.margin_summary(AccountId::new(account)).unwrap();
        assert!(
            !paid || (margin.equity >= margin.initial && self.cash(account) >= 0),
            "I6"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// I1 and I6 whatever happens: what leaves was the account's, was free, and was the vault's.
    #[test]
    fn withdrawals_never_exceed_the_gate(steps in prop::collection::vec(step(), 1..40)) {
        let mut venue = with_vault(&[60_000, 60_000, 60_000]);
        let call = venue.call();
        for step in &steps {
            venue.step(step, call);
            venue.balance();
        }
        let owed: i64 = (0..4).map(|account| venue.cash(account)).sum();
        let fees = venue.engine.ledger().fees.get();
        prop_assert_eq!(i128::from(owed + fees), venue.state().collateral());
    }
}
