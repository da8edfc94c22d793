//! Snapshots and proofs.

use super::*;

#[test]
fn a_snapshot_restores_the_same_future() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    venue
        .run(1, place(limit(call, Side::Sell, 10, 2_000)))
        .unwrap();
    venue
        .run(2, place(limit(call, Side::Buy, 4, 2_000)))
        .unwrap();
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let restored = Engine::read_snapshot(&mut bytes.as_slice()).unwrap();
    assert_eq!(restored.state_root(), venue.engine.state_root());
    let mut again = Vec::new();
    restored.write_snapshot(&mut again).unwrap();
    assert_eq!(bytes, again);
    let mut twin = Venue {
        engine: restored,
        events: Vec::new(),
        queue: Vec::new(),
        ..venue
    };
    let mut venue = venue_like(&twin, &bytes);
    for v in [&mut venue, &mut twin] {
        v.observe(91_000);
        v.send(1, place(limit(call, Side::Buy, 3, 2_500)));
        v.send(2, Action::CancelAll(CancelScope::Account));
    }
    assert_eq!(venue.block(), twin.block());
    assert_eq!(venue.engine.state_root(), twin.engine.state_root());
}

fn venue_like(other: &Venue, bytes: &[u8]) -> Venue {
    Venue {
        engine: Engine::read_snapshot(&mut &bytes[..]).unwrap(),
        time: other.time,
        nonce: other.nonce,
        events: Vec::new(),
        queue: Vec::new(),
        agreed: other.agreed,
    }
}

#[test]
fn a_corrupted_snapshot_is_refused() {
    let venue = Venue::new(&[1_000_000]);
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(
            Engine::read_snapshot(&mut bad.as_slice()).is_err(),
            "byte {at}"
        );
        assert!(Engine::read_snapshot(&mut &bytes[..at]).is_err());
    }
}

#[test]
fn accounts_and_orders_are_provable() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let placed = venue
        .run(1, place(limit(call, Side::Buy, 10, 1_000)))
        .unwrap();
    let Event::OrderPlaced(order) = &placed[0] else {
        panic!()
    };
    assert!(venue.engine.prove_account(AccountId::new(1)).is_some());
    assert!(venue.engine.prove_order(order.order).is_some());
}
