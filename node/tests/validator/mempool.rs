//! Admission, order, cancels first, bounds, and who is told what.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::{
    Action, CancelScope, MassQuote, UserCommand, UserPayload, UserSignature,
};
use lifeboat_engine::types::{
    AccountId, ChainId, Digest, Height, Nonce, PublicKey, RecoveryPolicy, TimeMs,
};
use lifeboat_engine::{Command, Event, Reject};
use lifeboat_node::block::keccak256;
use lifeboat_node::mempool::{Admission, Mempool, MempoolLimits, Pending};
use lifeboat_node::outcome::{Answer, Outcome, Verdict, Waiter, spans};
use tokio::sync::oneshot;

const CHAIN: ChainId = ChainId([1; 32]);

fn pending(account: u32, nonce: u64, valid_until: u64, cancel: bool) -> Pending {
    let signing = SigningKey::from([5; 32]);
    let action = if cancel {
        Action::CancelAll(CancelScope::Account)
    } else {
        let (entries, recovery) = (Vec::new(), RecoveryPolicy::Cancel);
        Action::MassQuote(MassQuote { entries, recovery })
    };
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
    let chosen = mempool.select(&BTreeSet::new(), now, 100, 1 << 20);
    assert_eq!(keys(&chosen), keys(&all));
    let in_flight = BTreeSet::from([all[0].key, all[4].key]);
    let chosen = mempool.select(&in_flight, now, 100, 1 << 20);
    assert_eq!(keys(&chosen), keys(&all[1..4]));
    assert!(mempool.waiting_beside(&in_flight) > 0);
    assert_eq!(mempool.waiting_beside(&keys(&all).into_iter().collect()), 0);
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
    let chosen = mempool.select(&BTreeSet::new(), TimeMs::new(0), 3, 1 << 20);
    assert_eq!(keys(&chosen), [all[4].key, all[5].key, all[0].key]);
    let bytes_max = all[4].bytes.len() + all[5].bytes.len();
    let chosen = mempool.select(&BTreeSet::new(), TimeMs::new(0), 100, bytes_max);
    assert_eq!(keys(&chosen), [all[4].key, all[5].key]);
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
    assert!(
        mempool
            .select(&BTreeSet::new(), TimeMs::new(50), 9, 9_999)
            .len()
            == 1
    );
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
    assert!(
        mempool
            .regossip(TimeMs::new(99), TimeMs::new(399), 9_999)
            .is_empty()
    );
    assert_eq!(
        mempool.regossip(TimeMs::new(100), TimeMs::new(400), 9_999),
        std::slice::from_ref(&own.bytes)
    );
    assert!(
        mempool
            .regossip(TimeMs::new(399), TimeMs::new(700), 9_999)
            .is_empty()
    );
    mempool.executed(own.key, outcome(0));
    assert!(
        mempool
            .regossip(TimeMs::new(900), TimeMs::new(999), 9_999)
            .is_empty()
    );
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
    let lone = Event::IndexLost {
        underlying: lifeboat_engine::types::UnderlyingId::new(0),
        sources: 0,
        fault: lifeboat_engine::settlement::IndexFault::TooFew,
        frozen: Vec::new(),
        dispersion_ppm: None,
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
