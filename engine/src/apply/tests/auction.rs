//! The reopening auction: sealing, closing, opening, clearing.

use commonware_codec::Encode;
use commonware_cryptography::bls12381::primitives::group::Private;
use commonware_cryptography::bls12381::primitives::{ops, variant::MinSig};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::auction::*;
use crate::event::{Cleared, Indication};
use crate::params::AuctionParameters;

const BTC: UnderlyingId = UnderlyingId::new(0);

/// The validators together: whoever holds this can sign for the group.
fn group() -> (Private, SealKey) {
    let (private, public) = ops::keypair::<_, MinSig>(&mut StdRng::seed_from_u64(7));
    let key = SealKey(public.encode().as_ref().try_into().unwrap());
    (private, key)
}

fn parameters() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.auction.key = Some(group().1);
    parameters
}

fn target_of(venue: &Venue) -> [u8; TARGET_BYTES] {
    let auction = venue.engine.auctions.get(BTC).unwrap();
    seal_target(&ChainId([7; 32]), auction.number, auction.began_at)
}

fn number(venue: &Venue) -> u64 {
    venue.engine.auctions.get(BTC).unwrap().number
}

fn signature_over(target: &[u8; TARGET_BYTES]) -> SealSignature {
    let signed = ops::sign_message::<MinSig>(&group().0, SEAL_NAMESPACE, target);
    SealSignature(signed.encode().as_ref().try_into().unwrap())
}

/// What somebody wants: price in dollars, size in lots.
fn terms(instrument: InstrumentId, side: Side, lots: u32, price: u32) -> SealedTerms {
    SealedTerms {
        account: AccountId::new(0),
        nonce: Nonce::new(0),
        instrument,
        side,
        price: PriceTicks::new(price),
        lots: Lots::new(lots),
        rests: true,
        reduce_only: false,
        recovery: RecoveryPolicy::Keep,
        self_trade: SelfTradePrevention::CancelTaker,
    }
}

fn ciphertext(venue: &Venue, terms: &SealedTerms) -> [u8; CIPHERTEXT_BYTES] {
    let mut rng = StdRng::seed_from_u64(venue.nonce);
    seal(&mut rng, &group().1, &target_of(venue), terms).unwrap()
}

/// Seals for an account and its next nonce.
fn sealed(venue: &Venue, account: u32, terms: SealedTerms, bond: i64) -> Action {
    let terms = SealedTerms {
        account: AccountId::new(account),
        nonce: Nonce::new(venue.nonce + 1),
        ..terms
    };
    Action::SealOrder(SealOrder {
        underlying: BTC,
        auction: number(venue),
        ciphertext: ciphertext(venue, &terms),
        bond: Cash::new(bond * 1_000_000),
    })
}

/// From a halt to the beginning of the auction.
fn reach_auction(venue: &mut Venue) {
    venue.block_after(61_000);
    let found = venue.observe_until(90_000, 500, |events| {
        events.iter().any(|e| {
            matches!(
                e,
                Event::ModeChanged {
                    to: Mode::Auction,
                    ..
                }
            )
        })
    });
    assert!(found, "the ladder leads to the auction");
}

/// Until BTC's auction closes; the events of the closing block.
fn close(venue: &mut Venue) -> Vec<Event> {
    for _ in 0..200 {
        venue.observe(90_000);
        let events = venue.block();
        if events.iter().any(|e| {
            matches!(
                e,
                Event::AuctionClosed {
                    underlying: BTC,
                    ..
                }
            )
        }) {
            return events;
        }
    }
    panic!("the auction never closed");
}

/// The validators sign, the signature is ordered, and seals are opened; all events of it.
fn open_all(venue: &mut Venue) -> Vec<Event> {
    let signature = signature_over(&target_of(venue));
    let auction = number(venue);
    venue.report(0, Report::OpenAuction { auction, signature });
    let mut events = venue.block();
    events.extend(venue.block());
    events
}

fn trades(events: &[Event]) -> Vec<(u32, u32, i64, i64)> {
    let trade = |event: &Event| match event {
        Event::Traded(t) => {
            let (buyer, seller) = match t.taker_side {
                Side::Buy => (t.taker, t.maker),
                Side::Sell => (t.maker, t.taker),
            };
            let price = t.price.get() / 1_000_000;
            Some((buyer.get(), seller.get(), price, t.qty.get() / 1_000_000))
        }
        _ => None,
    };
    events.iter().filter_map(trade).collect()
}

fn cleared(events: &[Event]) -> Vec<Cleared> {
    let all = events.iter().filter_map(|event| match event {
        Event::AuctionCleared(cleared) => Some(*cleared),
        _ => None,
    });
    all.collect()
}

fn dropped(events: &[Event]) -> Vec<(u32, Reject, i64)> {
    let all = events.iter().filter_map(|event| match event {
        Event::SealDropped {
            seal,
            reason,
            forfeited,
            ..
        } => Some((*seal, *reason, forfeited.get())),
        _ => None,
    });
    all.collect()
}

fn mark(venue: &Venue, id: InstrumentId) -> u32 {
    let mark = venue.engine.instruments().get(id).unwrap().mark.unwrap();
    u32::try_from(mark.price.get() / 1_000_000).unwrap()
}

#[test]
fn sealed_and_kept_orders_trade_at_one_price() {
    let mut venue = Venue::with(&[1_000_000; 4], parameters());
    let call = venue.call();
    let m = mark(&venue, call);
    venue
        .run(1, place(limit(call, Side::Sell, 3, i64::from(m) + 20)))
        .unwrap();
    reach_auction(&mut venue);
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 5, m + 50), 50_000);
    let events = venue.run(2, seal).unwrap();
    assert!(matches!(events[0], Event::OrderSealed { seal: 0, .. }));
    let seal = sealed(&venue, 3, terms(call, Side::Sell, 1, m + 10), 50_000);
    venue.run(3, seal).unwrap();
    close(&mut venue);
    let events = open_all(&mut venue);
    assert!(dropped(&events).is_empty(), "{:?}", dropped(&events));
    let cleared = cleared(&events);
    // 5 bid for up to m + 50, 4 offered from m + 20 on: the nearest price to the mark is m + 20.
    assert_eq!(cleared[0].qty, qty(4));
    assert_eq!(cleared[0].price, usd(i64::from(m) + 20));
    assert_eq!(cleared[0].imbalance, qty(1));
    let price = i64::from(m) + 20;
    assert_eq!(trades(&events), [(2, 3, price, 1), (2, 1, price, 3)]);
    assert!(events.contains(&Event::AuctionEnded {
        underlying: BTC,
        auction: cleared[0].auction
    }));
    // What is left of the bid rests.
    let best = venue.engine.books.best(call, Side::Buy).unwrap();
    assert_eq!(best.get(), m + 50);
    assert_eq!(venue.engine.live_orders(), 1);
    assert!(venue.engine.auctions.bond_of(AccountId::new(2)).is_zero());
}

#[test]
fn the_ladder_goes_through_the_auction() {
    let mut venue = Venue::with(&[1_000_000; 2], Parameters::default());
    reach_auction(&mut venue);
    let since = venue.time;
    let call = venue.call();
    assert_eq!(
        venue.run(1, place(limit(call, Side::Buy, 1, 1_000))),
        Err(Reject::ModeForbids)
    );
    let mut reached = Vec::new();
    for _ in 0..200 {
        venue.observe(90_000);
        for event in venue.block() {
            if let Event::ModeChanged { to, .. } = event {
                reached.push((to, venue.time - since));
            }
        }
    }
    assert_eq!(reached[0].0, Mode::PostOnly);
    assert!((120_000..=123_000).contains(&reached[0].1), "{reached:?}");
    assert_eq!(reached[1].0, Mode::Open);
}
