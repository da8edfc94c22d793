//! Admission, order, cancels first, bounds, and who is told what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::{
    Action, CancelScope, MassQuote, OrderRef, QuoteEntry, QuoteSide, UserCommand, UserPayload,
    UserSignature,
};
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, Digest, Height, InstrumentId, Nonce, OrderId, Price,
    PublicKey, Qty, RecoveryPolicy, TimeMs,
};
use lifeboat_engine::{Command, Event, Reject};
use lifeboat_node::block::{Block, keccak256};
use lifeboat_node::mempool::{
    Admission, Flow, Mempool, MempoolLimits, Pending, Rank, Room, Waiting,
};
use lifeboat_node::outcome::{Answer, Outcome, Verdict, Waiter, spans};
use lifeboat_node::shared::{Pacing, Shared};
use tokio::sync::oneshot;

const CHAIN: ChainId = ChainId([1; 32]);
const ROOM: Room = Room {
    commands: 100,
    orders: 100,
    bytes: 1 << 20,
};

fn pending(account: u32, nonce: u64, valid_until: u64, cancel: bool) -> Pending {
    let action = if cancel {
        Action::CancelAll(CancelScope::Account)
    } else {
        let (entries, recovery) = (Vec::new(), RecoveryPolicy::Cancel);
        Action::MassQuote(MassQuote { entries, recovery })
    };
    acting(account, nonce, valid_until, action)
}

fn acting(account: u32, nonce: u64, valid_until: u64, action: Action) -> Pending {
    let signing = SigningKey::from([5; 32]);
    let payload = UserPayload {
        account: AccountId::new(account),
        nonce: Nonce::new(nonce),
        valid_until: TimeMs::new(valid_until),
        action,
    };
    let signature = signing.sign(&payload.session_message(&CHAIN)).to_bytes();
    let key = PublicKey(VerificationKeyBytes::from(&signing).into());
    let signature = UserSignature::Session { key, signature };
    let command = Command::User(UserCommand { payload, signature });
    let bytes = Bytes::from(borsh::to_vec(&command).expect("memory does not fail"));
    let checked = check_batch(&CHAIN, vec![command]).remove(0);
    assert!(checked.signer().is_some());
    Pending {
        key: keccak256(&[&bytes]),
        bytes,
        checked: Arc::new(checked),
    }
}

fn outcome(index: u32) -> Arc<Outcome> {
    Arc::new(Outcome {
        height: Height::new(3),
        time: TimeMs::new(9),
        index,
        verdict: Verdict::Applied,
        first_event: 1,
        events_total: 0,
        events: Vec::new(),
    })
}

fn keys(chosen: &[Pending]) -> Vec<Digest> {
    chosen.iter().map(|pending| pending.key).collect()
}

fn wait(mempool: &mut Mempool, key: Digest) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    mempool.wait(key, Waiter::Once(sender));
    receiver
}

#[test]
fn a_storm_is_a_venue_full_of_orders_to_which_many_offer_more() {
    let limits = MempoolLimits {
        orders_max: 1,
        ..MempoolLimits::default()
    };
    let genesis = Block::genesis(CHAIN, TimeMs::new(0), Digest([0; 32]));
    let shared = Shared::new(&genesis, Pacing::default(), limits);
    let (now, far) = (TimeMs::new(5), Duration::from_millis(32));
    let taken = |ahead| {
        let pressure = || shared.mempool().pressure();
        shared.storm.turns_taken(ahead, pressure, now);
    };
    taken(far);
    assert!(
        !shared.storm.blows(now),
        "nobody's orders wait: who is shed has only himself to blame"
    );
    let order = pending(1, 1, 0, false);
    assert_eq!(shared.mempool().add(order, None), Admission::Added);
    taken(far / 2);
    assert!(
        !shared.storm.blows(now),
        "a few who send again at once are none"
    );
    taken(far);
    assert!(shared.storm.blows(now));
}

#[test]
fn arrival_order_is_kept_and_what_is_in_flight_is_left_out() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    let all: Vec<Pending> = (0..5)
        .map(|nonce| pending(1, nonce, 0, nonce == 3))
        .collect();
    for pending in &all {
        assert_eq!(mempool.add(pending.clone(), None), Admission::Added);
    }
    assert_eq!(mempool.add(all[2].clone(), None), Admission::Known);
    let now = TimeMs::new(0);
    let chosen = mempool.select(&BTreeSet::new(), now, ROOM);
    assert_eq!(keys(&chosen), keys(&all));
    let in_flight = BTreeSet::from([all[0].key, all[4].key]);
    let chosen = mempool.select(&in_flight, now, ROOM);
    assert_eq!(keys(&chosen), keys(&all[1..4]));
    let waiting = |commands, ahead| Waiting { commands, ahead };
    assert_eq!(mempool.waiting_beside(&in_flight), waiting(3, true));
    let in_flight = BTreeSet::from([all[0].key, all[3].key]);
    assert_eq!(mempool.waiting_beside(&in_flight), waiting(3, false));
    let all = keys(&all).into_iter().collect();
    assert_eq!(mempool.waiting_beside(&all), waiting(0, false));
}

#[test]
fn cancels_go_first_when_a_block_is_full() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    let all: Vec<Pending> = (0..6)
        .map(|nonce| pending(1, nonce, 0, nonce >= 4))
        .collect();
    for pending in &all {
        mempool.add(pending.clone(), None);
    }
    let (none, now) = (BTreeSet::new(), TimeMs::new(0));
    let commands = |commands| Room { commands, ..ROOM };
    let chosen = mempool.select(&none, now, commands(3));
    assert_eq!(keys(&chosen), [all[4].key, all[5].key, all[0].key]);
    let bytes_max = all[4].bytes.len() + all[5].bytes.len();
    let bytes = |bytes| Room { bytes, ..ROOM };
    let chosen = mempool.select(&none, now, bytes(bytes_max));
    assert_eq!(keys(&chosen), [all[4].key, all[5].key]);
    let orders = |orders| Room { orders, ..ROOM };
    let chosen = mempool.select(&none, now, orders(1));
    assert_eq!(keys(&chosen), [all[4].key, all[5].key, all[0].key]);
    assert_eq!(mempool.select(&none, now, orders(4)).len(), 6);
}

#[test]
fn bounds_refuse_and_never_drop() {
    let limits = MempoolLimits {
        commands_max: 4,
        per_submitter_max: 2,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    assert_eq!(mempool.add(pending(1, 0, 0, true), None), Admission::Added);
    assert_eq!(mempool.add(pending(1, 1, 0, true), None), Admission::Added);
    assert_eq!(mempool.add(pending(1, 2, 0, true), None), Admission::Busy);
    assert_eq!(mempool.add(pending(2, 0, 0, true), None), Admission::Added);
    assert_eq!(mempool.add(pending(3, 0, 0, true), None), Admission::Added);
    assert_eq!(mempool.add(pending(4, 0, 0, true), None), Admission::Busy);
    assert_eq!(mempool.len(), 4);
    mempool.executed(pending(1, 0, 0, true).key, outcome(0));
    assert_eq!(mempool.add(pending(1, 2, 0, true), None), Admission::Added);
}

#[test]
fn orders_are_shed_first_and_cancels_find_room() {
    let limits = MempoolLimits {
        orders_max: 3,
        orders_per_account_max: 2,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    let sheds = |mempool: &Mempool, account, cancel| {
        let next = pending(account, 9, 0, cancel);
        mempool.sheds(next.checked.command(), next.bytes.len(), 0)
    };
    mempool.add(pending(1, 0, 0, false), None);
    mempool.add(pending(1, 1, 0, false), None);
    assert!(sheds(&mempool, 1, false), "one account has its share");
    assert!(!sheds(&mempool, 2, false));
    mempool.add(pending(2, 0, 0, false), None);
    assert!((mempool.pressure() - 1.0).abs() < 1e-9);
    assert!(sheds(&mempool, 2, false), "the room is taken");
    assert!(
        !sheds(&mempool, 3, false),
        "but for those who have none of it"
    );
    for nonce in 2..9 {
        assert!(!sheds(&mempool, 1, true));
        mempool.add(pending(1, nonce, 0, true), None);
    }
    assert!(
        (mempool.pressure() - 1.0).abs() < 1e-9,
        "cancels press nobody"
    );
    // What a peer let in is never refused for a share.
    for account in 3..6 {
        let heard = pending(account, 0, 0, false);
        assert_eq!(mempool.add(heard, None), Admission::Added);
    }
    assert!(sheds(&mempool, 7, false), "twice the room is taken");
}

#[test]
fn a_crowded_block_takes_everybodys_first_order_before_anybodys_second() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    let many: Vec<Pending> = (0..5).map(|nonce| pending(1, nonce, 0, false)).collect();
    let few: Vec<Pending> = (2..4)
        .map(|account| pending(account, 0, 0, false))
        .collect();
    for pending in many.iter().chain(&few) {
        mempool.add(pending.clone(), None);
    }
    let (none, now) = (BTreeSet::new(), TimeMs::new(0));
    let orders = |orders| Room { orders, ..ROOM };
    let chosen = mempool.select(&none, now, orders(4));
    let turns = [&many[0], &few[0], &few[1], &many[1]].map(|pending| pending.key);
    assert_eq!(keys(&chosen), turns);
    let in_flight = turns.into_iter().collect();
    let chosen = mempool.select(&in_flight, now, orders(2));
    assert_eq!(
        keys(&chosen),
        keys(&many[2..4]),
        "in the order of the account's own"
    );
    assert_eq!(
        keys(&mempool.select(&none, now, orders(7))),
        keys(&[many, few].concat())
    );
}

#[test]
fn every_command_has_its_rank() {
    let quote = |qty| QuoteSide {
        price: Price::new(1),
        qty: Qty::new(qty),
    };
    let entry = |bid, ask| QuoteEntry {
        instrument: InstrumentId::new(0),
        bid,
        ask,
    };
    let quotes = |entries| {
        Action::MassQuote(MassQuote {
            entries,
            recovery: RecoveryPolicy::Cancel,
        })
    };
    let ranks = [
        (quotes(Vec::new()), Rank::Order),
        (quotes(vec![entry(Some(quote(0)), None)]), Rank::Ahead),
        (
            quotes(vec![entry(Some(quote(0)), Some(quote(1)))]),
            Rank::Order,
        ),
        (
            Action::CancelOrder(OrderRef::Id(OrderId::new(7))),
            Rank::Ahead,
        ),
        (
            Action::CancelOrder(OrderRef::ClientId(ClientOrderId::new(7))),
            Rank::InLine,
        ),
        (Action::CancelAll(CancelScope::Quotes), Rank::Ahead),
    ];
    for (action, rank) in ranks {
        let mut command = pending(1, 0, 0, true).checked.command().clone();
        if let Command::User(user) = &mut command {
            user.payload.action = action;
        }
        assert_eq!(Rank::of(&command), rank, "{command:?}");
    }
}

#[test]
fn everybody_is_answered_once() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    let [done, late, open] = [
        pending(1, 0, 0, true),
        pending(1, 1, 50, true),
        pending(1, 2, 0, true),
    ];
    for pending in [&done, &late, &open] {
        mempool.add(pending.clone(), Some(TimeMs::new(0)));
    }
    let mut first = wait(&mut mempool, done.key);
    let mut second = wait(&mut mempool, done.key);
    let mut expired = wait(&mut mempool, late.key);
    let mut unknown = wait(&mut mempool, open.key);
    mempool.executed(done.key, outcome(4));
    assert_eq!(first.try_recv(), Ok(Answer::Outcome(outcome(4))));
    assert_eq!(second.try_recv(), Ok(Answer::Outcome(outcome(4))));
    mempool.executed(done.key, outcome(5));
    let mut again = wait(&mut mempool, done.key);
    assert_eq!(
        again.try_recv(),
        Ok(Answer::Outcome(outcome(4))),
        "the first execution counts"
    );
    assert_eq!(mempool.add(done, None), Admission::Executed);
    mempool.expire(Height::new(8), TimeMs::new(49));
    assert!(expired.try_recv().is_err());
    let left = mempool.select(&BTreeSet::new(), TimeMs::new(50), ROOM);
    assert_eq!(left.len(), 1);
    mempool.expire(Height::new(9), TimeMs::new(50));
    assert_eq!(
        expired.try_recv(),
        Ok(Answer::Expired {
            height: Height::new(9)
        })
    );
    mempool.abandon();
    assert_eq!(unknown.try_recv(), Ok(Answer::Unknown));
    assert_eq!(mempool.len(), 1);
}

#[test]
fn only_what_was_submitted_here_is_gossiped_again() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    let [own, heard] = [pending(1, 0, 0, true), pending(2, 0, 0, true)];
    mempool.add(own.clone(), Some(TimeMs::new(100)));
    mempool.add(heard, None);
    let mut again = |now| mempool.regossip(300, TimeMs::new(now), 9_999);
    assert!(again(399).is_empty());
    assert_eq!(again(400), std::slice::from_ref(&own.bytes));
    assert!(again(699).is_empty());
    assert_eq!(again(700).len(), 1, "a cancel waits no longer each time");
    mempool.executed(own.key, outcome(0));
    let late = mempool.regossip(300, TimeMs::new(9_999), 9_999);
    assert!(late.is_empty());
}

#[test]
fn an_order_that_waits_in_a_queue_is_gossiped_ever_more_rarely() {
    let mut mempool = Mempool::new(MempoolLimits::default());
    mempool.add(pending(1, 0, 0, false), Some(TimeMs::new(0)));
    let again = |now: &u64| {
        let again = mempool.regossip(300, TimeMs::new(*now), 9_999);
        !again.is_empty()
    };
    let times: Vec<u64> = (0..200).map(|step| step * 100).filter(again).collect();
    assert_eq!(times, [300, 900, 2_100, 4_500, 9_300, 14_100, 18_900]);
}

#[test]
fn fewer_orders_may_wait_when_blocks_are_small() {
    let limits = MempoolLimits {
        blocks_waiting_max: 2,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    for nonce in 0..5 {
        mempool.add(pending(1, nonce, 0, false), None);
    }
    mempool.add(pending(2, 0, 0, false), None);
    let next = pending(1, 9, 0, false);
    let (order, len) = (next.checked.command(), next.bytes.len());
    let flow = |window| Flow { window, rate: 100 };
    assert!(!mempool.sheds(order, len, 0));
    mempool.set_flow(flow(3));
    assert!(mempool.sheds(order, len, 0));
    assert!((mempool.pressure() - 1.0).abs() < 1e-9);
    mempool.set_flow(flow(4));
    assert!(!mempool.sheds(order, len, 0));
    assert!(
        mempool.sheds(order, len, 2),
        "nobody has looked at two more"
    );
}

#[test]
fn as_many_orders_may_wait_as_are_executed_in_a_while() {
    let limits = MempoolLimits {
        orders_least: 3,
        seconds_waiting_max: 2,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    let next = pending(9, 9, 0, false);
    let (order, len) = (next.checked.command(), next.bytes.len());
    let flow = |rate| Flow {
        window: 1_000,
        rate,
    };
    // Two of the waiting account's, so that its share of the room is no way in.
    for (account, nonce) in [(9, 0), (9, 1), (1, 0)] {
        mempool.add(pending(account, nonce, 0, false), None);
    }
    mempool.set_flow(flow(0));
    assert!(
        mempool.sheds(order, len, 0),
        "a venue that stood still takes the least"
    );
    mempool.set_flow(flow(2));
    assert!(!mempool.sheds(order, len, 0));
    mempool.add(pending(1, 1, 0, false), None);
    assert!(mempool.sheds(order, len, 0));
    mempool.set_flow(flow(1_000_000));
    assert!(!mempool.sheds(order, len, 0));
}

#[test]
fn each_validator_lets_in_its_part() {
    let limits = MempoolLimits {
        orders_max: 8,
        parts: 4,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    let here = Some(TimeMs::new(1));
    let sheds = |mempool: &Mempool, account| {
        let next = pending(account, 9, 0, false);
        mempool.sheds(next.checked.command(), next.bytes.len(), 0)
    };
    mempool.add(pending(1, 0, 0, true), here);
    for nonce in 1..4 {
        mempool.add(pending(1, nonce, 0, false), None);
    }
    assert!(
        !sheds(&mempool, 1),
        "cancels and what peers let in are no part of it"
    );
    let mine = [pending(1, 4, 0, false), pending(1, 5, 0, false)];
    for one in &mine {
        mempool.add(one.clone(), here);
    }
    assert!(sheds(&mempool, 1));
    assert!((mempool.pressure() - 1.0).abs() < 1e-9);
    assert!(!sheds(&mempool, 2), "but for those who have none of it");
    mempool.executed(mine[0].key, outcome(0));
    assert!(!sheds(&mempool, 1));
}

#[test]
fn what_is_remembered_is_bounded() {
    let limits = MempoolLimits {
        remembered_max: 3,
        ..MempoolLimits::default()
    };
    let mut mempool = Mempool::new(limits);
    for place in 0..5u8 {
        mempool.executed(Digest([place; 32]), outcome(u32::from(place)));
    }
    assert!(mempool.outcome(&Digest([1; 32])).is_none());
    assert_eq!(mempool.outcome(&Digest([2; 32])), Some(outcome(2)));
}

#[test]
fn events_are_split_by_command() {
    let lone = Event::LiquidationEnded {
        account: AccountId::new(1),
    };
    let reject = Reject::StaleNonce;
    let events = [
        lone.clone(),
        Event::CommandApplied { index: 0 },
        lone.clone(),
        lone,
        Event::CommandRejected { index: 1, reject },
        Event::CommandQuarantined { index: 3 },
    ];
    let found = spans(&events, 4);
    let place = |index: usize| found[index].map(|span| (span.verdict, span.start, span.end));
    assert_eq!(place(0), Some((Verdict::Applied, 2, 4)));
    assert_eq!(place(1), Some((Verdict::Rejected(reject), 5, 5)));
    assert_eq!(place(2), None);
    assert_eq!(place(3), Some((Verdict::Quarantined, 6, 6)));
}
