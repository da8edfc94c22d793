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

/// Client order ids of live orders come back with the orders, those of ended ones with the account.
#[test]
fn client_order_ids_are_remembered_across_a_restore() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let with_id = |id: u64| {
        let mut order = limit(call, Side::Buy, 1, 1_000);
        order.client_id = ClientOrderId::new(id);
        place(order)
    };
    venue.run(1, with_id(7)).unwrap();
    venue
        .run(1, Action::CancelAll(CancelScope::Account))
        .unwrap();
    venue.run(1, with_id(8)).unwrap();
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let mut restored = venue_like(&venue, &bytes);
    for id in [7, 8] {
        let events = restored.run(1, with_id(id)).unwrap();
        assert!(matches!(events[..], [Event::OrderRepeated { .. }]), "{id}");
    }
    let account = restored.engine.prove_account(AccountId::new(1)).unwrap();
    assert_eq!(
        account.parts.len(),
        2,
        "one chunk of stakes, one of ended ids"
    );
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
    let account = venue.engine.prove_account(AccountId::new(1)).unwrap();
    assert_eq!(account.parts.len(), 1, "one chunk of stakes");
    assert!(venue.engine.prove_order(order.order).is_some());
}
