//! The reopening auction: sealing, closing, opening, clearing.

use commonware_codec::Encode;
use commonware_cryptography::bls12381::primitives::group::Private;
use commonware_cryptography::bls12381::primitives::{ops, variant::MinSig};
use rand::SeedableRng;
use rand::rngs::StdRng;

use alloc::boxed::Box;

use super::*;
use crate::auction::*;
use crate::event::Cleared;

pub(super) const BTC: UnderlyingId = UnderlyingId::new(0);

/// The validators together: whoever holds this can sign for the group.
pub(super) fn group() -> (Private, SealKey) {
    let (private, public) = ops::keypair::<_, MinSig>(&mut StdRng::seed_from_u64(7));
    let key = SealKey(public.encode().as_ref().try_into().unwrap());
    (private, key)
}

pub(super) fn parameters() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.auction.key = Some(group().1);
    parameters.modes.agreement_ms = 2_000;
    parameters.modes.cancel_only_ms = 2_000;
    parameters.auction.length_ms = 40_000;
    parameters
}

pub(super) fn target_of(venue: &Venue) -> [u8; TARGET_BYTES] {
    let auction = venue.engine.auctions.get(BTC).unwrap();
    seal_target(&ChainId([7; 32]), auction.number, auction.began_at)
}

pub(super) fn number(venue: &Venue) -> u64 {
    venue.engine.auctions.get(BTC).unwrap().number
}

pub(super) fn signature_over(target: &[u8; TARGET_BYTES]) -> SealSignature {
    let signed = ops::sign_message::<MinSig>(&group().0, SEAL_NAMESPACE, target);
    SealSignature(signed.encode().as_ref().try_into().unwrap())
}

/// What somebody wants: price in dollars, size in lots.
pub(super) fn terms(instrument: InstrumentId, side: Side, lots: u32, price: u32) -> SealedTerms {
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
pub(super) fn sealed(venue: &Venue, account: u32, terms: SealedTerms, bond: i64) -> Action {
    let terms = SealedTerms {
        account: AccountId::new(account),
        nonce: Nonce::new(venue.nonce + 1),
        ..terms
    };
    Action::SealOrder(Box::new(SealOrder {
        underlying: BTC,
        auction: number(venue),
        ciphertext: ciphertext(venue, &terms),
        bond: Cash::new(bond * 1_000_000),
    }))
}

/// From a halt to the beginning of the auction.
pub(super) fn reach_auction(venue: &mut Venue) {
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
pub(super) fn close(venue: &mut Venue) -> Vec<Event> {
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
pub(super) fn open_all(venue: &mut Venue) -> Vec<Event> {
    let signature = signature_over(&target_of(venue));
    let auction = number(venue);
    venue.report(0, Report::OpenAuction { auction, signature });
    let mut events = venue.block();
    events.extend(venue.block());
    events
}

pub(super) fn trades(events: &[Event]) -> Vec<(u32, u32, i64, i64)> {
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

pub(super) fn cleared(events: &[Event]) -> Vec<Cleared> {
    let all = events.iter().filter_map(|event| match event {
        Event::AuctionCleared(cleared) => Some(*cleared),
        _ => None,
    });
    all.collect()
}

pub(super) fn dropped(events: &[Event]) -> Vec<(u32, Reject, i64)> {
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

pub(super) fn mark(venue: &Venue, id: InstrumentId) -> u32 {
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

/// A venue of four accounts in the sealed phase, with a kept offer of 3 lots at 20 over the mark.
fn collecting() -> (Venue, InstrumentId, u32) {
    let mut venue = Venue::with(&[1_000_000; 4], parameters());
    let call = venue.call();
    let mark = mark(&venue, call);
    venue
        .run(1, place(limit(call, Side::Sell, 3, i64::from(mark) + 20)))
        .unwrap();
    reach_auction(&mut venue);
    (venue, call, mark)
}

#[test]
fn nothing_comes_or_goes_from_the_closing_block_on() {
    let (mut venue, call, m) = collecting();
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 5, m + 50), 50_000);
    venue.run(2, seal).unwrap();
    let kept = venue.engine.books.orders(call, Side::Sell).next().unwrap();
    let auction = number(&venue);
    // In the closing block itself it is too late.
    while venue.time + 1_000 < venue.engine.auctions.get(BTC).unwrap().closes_at.get() {
        venue.observe(90_000);
        venue.block();
    }
    let late = sealed(&venue, 3, terms(call, Side::Buy, 5, m + 50), 50_000);
    venue.send(3, late);
    let withdraw = Action::WithdrawSealed {
        underlying: BTC,
        auction,
        seal: 0,
    };
    venue.send(2, withdraw.clone());
    venue.send(1, Action::CancelOrder(OrderRef::Id(kept.order)));
    let shrunk = Action::AmendOrder(AmendOrder {
        order: OrderRef::Id(kept.order),
        qty: qty(1),
        price: usd(i64::from(m) + 20),
        post_only: PostOnly::Off,
    });
    venue.send(1, shrunk);
    let events = venue.block();
    assert!(events.contains(&Event::AuctionClosed {
        underlying: BTC,
        auction,
        seals: 1
    }));
    let refused: Vec<Reject> = events
        .iter()
        .filter_map(|e| match e {
            Event::CommandRejected { reject, .. } => Some(*reject),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [Reject::AuctionClosed; 4]);
    // All at once spares what is locked and says nothing was asked of it.
    venue
        .run(1, Action::CancelAll(CancelScope::Account))
        .unwrap();
    assert_eq!(venue.engine.live_orders(), 1);
    assert_eq!(trades(&open_all(&mut venue)).len(), 1);
    // Over: what is left can be cancelled again.
    venue
        .run(2, Action::CancelAll(CancelScope::Account))
        .unwrap();
    assert_eq!(venue.engine.live_orders(), 0);
}

#[test]
fn a_copied_ciphertext_opens_for_nobody_else() {
    let (mut venue, call, m) = collecting();
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 2, m + 50), 50_000);
    let Action::SealOrder(original) = &seal else {
        panic!("a sealed order");
    };
    let copy = Action::SealOrder(original.clone());
    venue.run(2, seal.clone()).unwrap();
    venue.run(3, copy.clone()).unwrap();
    // The account's own, sent again under another nonce, is no second order either.
    venue.run(2, copy).unwrap();
    // And what was sealed to another auction does not open at all.
    let other = {
        let mut rng = StdRng::seed_from_u64(1);
        let target = seal_target(&ChainId([7; 32]), number(&venue) + 1, TimeMs::new(1));
        let terms = SealedTerms {
            account: AccountId::new(4),
            nonce: Nonce::new(venue.nonce + 1),
            ..terms(call, Side::Buy, 2, m + 50)
        };
        seal_to(&mut rng, &target, &terms)
    };
    let other = SealOrder {
        ciphertext: other,
        ..**original
    };
    venue.run(4, Action::SealOrder(Box::new(other))).unwrap();
    close(&mut venue);
    let before: Vec<i64> = (1..5).map(|account| venue.cash(account)).collect();
    let events = open_all(&mut venue);
    let misplaced = Reject::SealMisplaced;
    assert_eq!(
        dropped(&events),
        [
            (1, misplaced, 1_000_000),
            (2, misplaced, 1_000_000),
            (3, Reject::SealBroken, 1_000_000)
        ]
    );
    assert_eq!(trades(&events), [(2, 1, i64::from(m) + 20, 2)]);
    // What is forfeited goes to the fund; nothing is held any more.
    assert_eq!(venue.cash(3), before[2] - 1_000_000);
    assert_eq!(venue.cash(4), before[3] - 1_000_000);
    for account in 1..5 {
        assert!(
            venue
                .engine
                .auctions
                .bond_of(AccountId::new(account))
                .is_zero()
        );
    }
}

fn seal_to(
    rng: &mut StdRng,
    target: &[u8; TARGET_BYTES],
    terms: &SealedTerms,
) -> [u8; CIPHERTEXT_BYTES] {
    seal(rng, &group().1, target, terms).unwrap()
}

#[test]
fn orders_that_do_not_open_are_out_by_rule() {
    let (mut venue, call, m) = collecting();
    let eth = venue.engine.instruments().iter();
    let eth = eth
        .filter(|i| i.terms.underlying != BTC)
        .map(|i| i.id)
        .next();
    let largest = parameters().underlyings[0].order_lots_max;
    let bad = [
        (
            terms(eth.unwrap(), Side::Buy, 1, m),
            Reject::SealMisplaced,
            1_000_000,
        ),
        (
            terms(InstrumentId::new(1 << 19), Side::Buy, 1, m),
            Reject::UnknownInstrument,
            1_000_000,
        ),
        (terms(call, Side::Buy, 1, 0), Reject::OffTick, 1_000_000),
        (terms(call, Side::Buy, 0, m), Reject::OffLot, 1_000_000),
        (
            terms(call, Side::Buy, largest + 1, m),
            Reject::OrderTooLarge,
            1_000_000,
        ),
        (
            terms(call, Side::Buy, 1, m + 40_000),
            Reject::PriceOutsideBand,
            1_000_000,
        ),
        (
            terms(call, Side::Buy, 2_000, m),
            Reject::BondTooSmall,
            1_000_000,
        ),
        (
            SealedTerms {
                reduce_only: true,
                ..terms(call, Side::Buy, 1, m)
            },
            Reject::WouldNotReduce,
            1_000_000,
        ),
    ];
    for (at, (terms, ..)) in bad.iter().enumerate() {
        let action = sealed(&venue, 2 + at as u32 % 2, *terms, 100);
        venue.run(2 + at as u32 % 2, action).unwrap();
    }
    close(&mut venue);
    let events = open_all(&mut venue);
    let expected: Vec<_> = (0..)
        .zip(bad)
        .map(|(at, (_, why, cost))| (at, why, cost))
        .collect();
    assert_eq!(dropped(&events), expected);
    assert!(trades(&events).is_empty());
    assert_eq!(venue.engine.live_orders(), 1);
}

#[test]
fn a_bond_is_free_margin_that_nothing_else_may_use() {
    let (mut venue, call, m) = collecting();
    let free = |venue: &Venue| venue.engine.free_cash(AccountId::new(2)).unwrap().get();
    let before = free(&venue);
    let small = sealed(&venue, 2, terms(call, Side::Buy, 1, m), 9);
    assert_eq!(venue.run(2, small), Err(Reject::BondTooSmall));
    let large = sealed(&venue, 2, terms(call, Side::Buy, 1, m), 1_000_001);
    assert_eq!(venue.run(2, large), Err(Reject::MarginBelowInitial));
    let most = sealed(&venue, 2, terms(call, Side::Buy, 1, m), 999_000);
    venue.run(2, most).unwrap();
    assert_eq!(free(&venue), before - 999_000_000_000);
    let more = sealed(&venue, 2, terms(call, Side::Buy, 1, m), 2_000);
    assert_eq!(venue.run(2, more), Err(Reject::MarginBelowInitial));
    let auction = number(&venue);
    let withdraw = |seal| Action::WithdrawSealed {
        underlying: BTC,
        auction,
        seal,
    };
    assert_eq!(venue.run(3, withdraw(0)), Err(Reject::UnknownSeal));
    venue.run(2, withdraw(0)).unwrap();
    assert_eq!(venue.run(2, withdraw(0)), Err(Reject::UnknownSeal));
    assert_eq!(free(&venue), before);
}

#[test]
fn without_an_opening_the_public_orders_clear_alone() {
    let (mut venue, call, m) = collecting();
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 5, m + 50), 50_000);
    venue.run(2, seal).unwrap();
    close(&mut venue);
    // A signature of somebody else, and one over another target, open nothing.
    let auction = number(&venue);
    let stranger = ops::keypair::<_, MinSig>(&mut StdRng::seed_from_u64(8)).0;
    let target = target_of(&venue);
    let forged = ops::sign_message::<MinSig>(&stranger, SEAL_NAMESPACE, &target);
    let forged = SealSignature(forged.encode().as_ref().try_into().unwrap());
    let other = signature_over(&seal_target(&ChainId([7; 32]), auction + 1, TimeMs::new(5)));
    for signature in [forged, other, SealSignature([0; 48])] {
        venue.report(0, Report::OpenAuction { auction, signature });
    }
    let share = SealSignature([1; 48]);
    for (validator, participant) in [(1, 1), (1, 2)] {
        let report = Report::ShareOpening {
            auction,
            participant,
            share,
        };
        venue.report(validator, report);
    }
    let events = venue.block();
    let refused = events.iter().filter(|e| {
        matches!(
            e,
            Event::CommandRejected {
                reject: Reject::BadOpening,
                ..
            }
        )
    });
    assert_eq!(refused.count(), 4);
    let closed_at = venue.time - 1_000;
    let mut events = Vec::new();
    while dropped(&events).is_empty() {
        venue.observe(90_000);
        events = venue.block();
    }
    assert_eq!(dropped(&events), [(0, Reject::SealUnopened, 0)]);
    assert_eq!(venue.time - closed_at, 10_000);
    assert!(cleared(&events).is_empty());
    assert!(events.contains(&Event::AuctionEnded {
        underlying: BTC,
        auction
    }));
    // The signature that comes after that opens nothing.
    let signature = signature_over(&target);
    venue.report(0, Report::OpenAuction { auction, signature });
    assert!(venue.block().contains(&Event::CommandRejected {
        index: 0,
        reject: Reject::NoAuction
    }));
    assert_eq!(venue.engine.live_orders(), 1);
    assert!(venue.observe_until(90_000, 100, |events| {
        events
            .iter()
            .any(|e| matches!(e, Event::ModeChanged { to: Mode::Open, .. }))
    }));
}

#[test]
fn a_price_outside_the_collar_is_waited_for_once_and_then_bounded() {
    let (mut venue, call, m) = collecting();
    let reach = (m / 5).max(225);
    // 5 bid for far over the collar; one lot is offered far over it too.
    let high = m + reach + 100;
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 9, high + 100), 50_000);
    venue.run(2, seal).unwrap();
    let seal = sealed(&venue, 3, terms(call, Side::Sell, 5, high), 50_000);
    venue.run(3, seal).unwrap();
    close(&mut venue);
    let first = number(&venue);
    let events = open_all(&mut venue);
    assert!(cleared(&events).is_empty());
    let extended = events.iter().find_map(|e| match e {
        Event::AuctionExtended {
            auction,
            next,
            instruments,
            closes_at,
            ..
        } => Some((*auction, *next, instruments.clone(), *closes_at)),
        _ => None,
    });
    let (auction, next, instruments, closes_at) = extended.unwrap();
    assert_eq!((auction, instruments), (first, vec![call]));
    assert!(next > first);
    assert_eq!(closes_at.get(), venue.time + 60_000);
    // What is on show stays: nobody answers what was sealed by taking his own away.
    let kept = venue.engine.books.orders(call, Side::Sell).next().unwrap();
    let cancel = Action::CancelOrder(OrderRef::Id(kept.order));
    assert_eq!(venue.run(1, cancel), Err(Reject::AuctionClosed));
    // A sealed order of the extension brings two lots at the mark.
    let seal = sealed(&venue, 4, terms(call, Side::Sell, 2, m), 50_000);
    venue.run(4, seal).unwrap();
    let indicated = |e: &Event| match e {
        Event::AuctionIndicated {
            indications, seals, ..
        } => Some((indications.clone(), *seals)),
        _ => None,
    };
    close(&mut venue);
    let last = venue.events.iter().rev().find_map(indicated).unwrap();
    assert_eq!(last.1, 1);
    assert_eq!(last.0.len(), 1);
    let events = open_all(&mut venue);
    let cleared = cleared(&events);
    assert_eq!(cleared.len(), 1);
    assert_eq!(cleared[0].qty, qty(5));
    assert!(cleared[0].price <= cleared[0].high && cleared[0].free_price > cleared[0].high);
    let all = trades(&events);
    assert_eq!(
        all.iter().map(|t| (t.0, t.1, t.3)).collect::<Vec<_>>(),
        [(2, 4, 2), (2, 1, 3)]
    );
    // What is left of the bid would trade with the offer outside the collar: it goes, the offer rests.
    assert!(events.iter().any(|e| matches!(
        e,
        Event::OrderCancelled {
            reason: CancelReason::AuctionCollar,
            ..
        }
    )));
    assert_eq!(venue.engine.books.best(call, Side::Buy), None);
    assert_eq!(
        venue.engine.books.best(call, Side::Sell).unwrap().get(),
        high
    );
}

#[test]
fn an_account_that_meets_itself_follows_its_rule() {
    for (rule, seller_left, traded) in [
        // The later order goes; the earlier one trades with somebody else's.
        (SelfTradePrevention::CancelTaker, 1, 1),
        (SelfTradePrevention::CancelMaker, 0, 0),
        (SelfTradePrevention::CancelBoth, 0, 0),
    ] {
        let (mut venue, call, m) = collecting();
        let own = SealedTerms {
            self_trade: rule,
            ..terms(call, Side::Buy, 3, m + 30)
        };
        let seal = sealed(&venue, 1, own, 50_000);
        venue.run(1, seal).unwrap();
        let seal = sealed(&venue, 2, terms(call, Side::Buy, 2, m + 25), 50_000);
        venue.run(2, seal).unwrap();
        close(&mut venue);
        let events = open_all(&mut venue);
        assert_eq!(trades(&events).len(), traded, "{rule:?}");
        assert!(trades(&events).iter().all(|t| t.0 != t.1));
        let asks = venue.engine.books.orders(call, Side::Sell).count();
        assert_eq!(asks, seller_left, "{rule:?}");
        let gone = events.iter().filter(|e| {
            matches!(
                e,
                Event::OrderCancelled {
                    reason: CancelReason::SelfTrade,
                    ..
                }
            )
        });
        let expected = if rule == SelfTradePrevention::CancelBoth {
            2
        } else {
            1
        };
        assert_eq!(gone.count(), expected, "{rule:?}");
    }
}

#[test]
fn a_halt_gives_every_auction_up_and_leaves_no_book_crossed() {
    let (mut venue, call, m) = collecting();
    let high = m + (m / 5).max(225) + 100;
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 9, high), 50_000);
    venue.run(2, seal).unwrap();
    let seal = sealed(&venue, 3, terms(call, Side::Sell, 5, high), 50_000);
    venue.run(3, seal).unwrap();
    close(&mut venue);
    open_all(&mut venue);
    let seal = sealed(&venue, 4, terms(call, Side::Sell, 2, m), 50_000);
    venue.run(4, seal).unwrap();
    let books = &venue.engine.books;
    assert!(books.best(call, Side::Buy) >= books.best(call, Side::Sell));
    let events = venue.block_after(61_000);
    assert_eq!(venue.mode(), Mode::Halted);
    assert_eq!(dropped(&events), [(0, Reject::AuctionAborted, 0)]);
    assert!(venue.engine.auctions.is_empty());
    assert_eq!(venue.engine.live_orders(), 1);
    // The next one is another auction.
    reach_auction_again(&mut venue);
    assert_eq!(number(&venue), 4);
}

fn reach_auction_again(venue: &mut Venue) {
    assert!(venue.observe_until(90_000, 500, |events| {
        events
            .iter()
            .any(|e| matches!(e, Event::AuctionBegan { .. }))
    }));
}

#[test]
fn a_snapshot_in_the_middle_changes_nothing() {
    let (mut venue, call, m) = collecting();
    let high = m + (m / 5).max(225) + 100;
    let restored = |venue: &mut Venue| {
        let mut bytes = Vec::new();
        venue.engine.write_snapshot(&mut bytes).unwrap();
        let engine = Engine::read_snapshot(&mut bytes.as_slice()).unwrap();
        assert_eq!(engine.state_root(), venue.engine.state_root());
        assert_eq!(engine.auctions, venue.engine.auctions);
        venue.engine = engine;
    };
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 9, high), 50_000);
    venue.run(2, seal).unwrap();
    restored(&mut venue);
    let seal = sealed(&venue, 3, terms(call, Side::Sell, 5, high), 50_000);
    venue.run(3, seal).unwrap();
    close(&mut venue);
    restored(&mut venue);
    let signature = signature_over(&target_of(&venue));
    let auction = number(&venue);
    venue.report(0, Report::OpenAuction { auction, signature });
    venue.block();
    restored(&mut venue);
    venue.block();
    restored(&mut venue);
    assert!(venue.engine.auctions.get(BTC).unwrap().extended.is_some());
    close(&mut venue);
    assert_eq!(venue.engine.trades, 1);
    // A snapshot whose seals were changed is refused.
    let (mut venue, call, m) = collecting();
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 9, m), 50_000);
    venue.run(2, seal).unwrap();
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let sealed = venue.engine.auctions.get(BTC).unwrap().seals[&0].ciphertext;
    let at = bytes
        .windows(sealed.len())
        .position(|w| w == sealed)
        .unwrap();
    bytes[at + 40] ^= 1;
    assert!(Engine::read_snapshot(&mut bytes.as_slice()).is_err());
}

/// Every validator says that no source has a price.
fn lose_prices(venue: &mut Venue) {
    for validator in 0..4 {
        let observed_at = TimeMs::new(venue.time);
        let observation = Observation {
            underlying: BTC,
            observed_at,
            sources: vec![None; 5],
            forwards: Vec::new(),
        };
        venue.report(validator, Report::Observe(observation));
    }
}

#[test]
fn an_auction_waits_for_an_index_and_lets_people_go_meanwhile() {
    let (mut venue, call, m) = collecting();
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 5, m + 50), 50_000);
    venue.run(2, seal).unwrap();
    let closes_at = venue.engine.auctions.get(BTC).unwrap().closes_at.get();
    while venue.time < closes_at + 20_000 {
        lose_prices(&mut venue);
        let events = venue.block();
        let closed = |e: &Event| {
            matches!(
                e,
                Event::AuctionClosed {
                    underlying: BTC,
                    ..
                }
            )
        };
        assert!(!events.iter().any(closed));
    }
    let withdraw = Action::WithdrawSealed {
        underlying: BTC,
        auction: number(&venue),
        seal: 0,
    };
    venue.run(2, withdraw).unwrap();
    venue
        .run(1, Action::CancelAll(CancelScope::Account))
        .unwrap();
    assert_eq!(venue.engine.live_orders(), 0);
    close(&mut venue);
    assert!(venue.engine.auction_over(BTC));
}

#[test]
fn reduce_only_orders_rank_behind_their_accounts_others() {
    let mut venue = Venue::with(&[1_000_000; 4], parameters());
    let call = venue.call();
    let m = mark(&venue, call);
    venue.trade(1, 2, call, 5, i64::from(m));
    reach_auction(&mut venue);
    let only = SealedTerms {
        reduce_only: true,
        ..terms(call, Side::Sell, 9, m)
    };
    let seal = sealed(&venue, 2, only, 50_000);
    venue.run(2, seal).unwrap();
    let seal = sealed(&venue, 2, terms(call, Side::Sell, 3, m), 50_000);
    venue.run(2, seal).unwrap();
    let seal = sealed(&venue, 3, terms(call, Side::Buy, 20, m), 50_000);
    venue.run(3, seal).unwrap();
    close(&mut venue);
    let events = open_all(&mut venue);
    // Nine were asked for, five could be reduced, and three of those another order takes.
    assert_eq!(cleared(&events)[0].qty, qty(5));
    assert!(events.iter().any(|e| matches!(
        e,
        Event::OrderAmended { qty: left, .. } if *left == qty(2)
    )));
    assert_eq!(venue.position(2, call), 0);
    assert_eq!(venue.position(3, call), 5);
}

#[test]
fn no_fill_takes_an_account_under_initial_margin() {
    let mut parameters = parameters();
    parameters.auction.collar_index_ppm = 1_000_000;
    let mut venue = Venue::with(&[16_000, 1_000_000, 1_000_000], parameters);
    let call = venue.call();
    let m = mark(&venue, call);
    venue
        .run(1, place(limit(call, Side::Sell, 100, i64::from(m) + 20)))
        .unwrap();
    venue
        .run(3, place(limit(call, Side::Sell, 100, i64::from(m) + 30)))
        .unwrap();
    reach_auction(&mut venue);
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 100, m + 50), 100_000);
    venue.run(2, seal).unwrap();
    // While it collects the market rises by a tenth: what the first account offered it can no longer
    // afford to have sold.
    let auction = number(&venue);
    let closed = |e: &Event| {
        matches!(
            e,
            Event::AuctionClosed {
                underlying: BTC,
                ..
            }
        )
    };
    assert!(venue.observe_until(99_000, 60, |events| events.iter().any(closed)));
    assert_eq!(number(&venue), auction);
    let events = open_all(&mut venue);
    let left_out = events.iter().filter_map(|e| match e {
        Event::OrderCancelled {
            account,
            reason: CancelReason::AuctionMargin,
            ..
        } => Some(account.get()),
        _ => None,
    });
    assert_eq!(left_out.collect::<Vec<_>>(), [1]);
    let traded = trades(&events);
    assert_eq!((traded[0].0, traded[0].1, traded.len()), (2, 3, 1));
    for account in 1..4 {
        let (_, free) = venue
            .engine
            .margin_with_orders(AccountId::new(account))
            .unwrap();
        assert!(free.get() >= 0, "account {account}");
    }
}

#[test]
fn many_seals_open_over_several_blocks_in_their_order() {
    let (mut venue, call, m) = collecting();
    for at in 0..75_u32 {
        let account = 2 + at % 3;
        let action = sealed(&venue, account, terms(call, Side::Buy, 1, m + 30), 1_000);
        venue.send(account, action);
    }
    venue.block();
    // As many of one account as it may, and no more.
    for _ in 0..7 {
        let action = sealed(&venue, 2, terms(call, Side::Buy, 1, m + 30), 1_000);
        venue.run(2, action).unwrap();
    }
    let one_more = sealed(&venue, 2, terms(call, Side::Buy, 1, m + 30), 1_000);
    assert_eq!(venue.run(2, one_more), Err(Reject::TooManySeals));
    close(&mut venue);
    let signature = signature_over(&target_of(&venue));
    let auction = number(&venue);
    venue.report(0, Report::OpenAuction { auction, signature });
    venue.block();
    let opened = |events: &[Event]| -> Vec<u32> {
        let seal = |event: &Event| match event {
            Event::SealOpened { seal, .. } => Some(*seal),
            _ => None,
        };
        events.iter().filter_map(seal).collect()
    };
    let first = venue.block();
    assert_eq!(opened(&first), (0..64).collect::<Vec<_>>());
    assert!(cleared(&first).is_empty());
    let second = venue.block();
    assert_eq!(opened(&second), (64..82).collect::<Vec<_>>());
    // The first three of those that came get the three lots on offer.
    let traded = trades(&second);
    let buyers: Vec<u32> = traded.iter().map(|t| t.0).collect();
    assert_eq!(buyers, [2, 3, 4]);
}

#[test]
fn protection_counts_what_an_auction_fills_and_pulls_the_rest() {
    let mut venue = Venue::with(&[1_000_000; 3], parameters());
    let call = venue.call();
    let m = mark(&venue, call);
    let limits = MarketMakerProtection {
        underlying: BTC,
        interval_ms: 5_000,
        frozen_ms: 10_000,
        qty_max: qty(3),
        ..MarketMakerProtection::default()
    };
    let side = |price| {
        Some(QuoteSide {
            price: usd(i64::from(price)),
            qty: qty(5),
        })
    };
    let quotes = MassQuote {
        entries: vec![QuoteEntry {
            instrument: call,
            bid: side(m - 50),
            ask: side(m + 20),
        }],
        recovery: RecoveryPolicy::Keep,
    };
    venue
        .run(1, Action::SetMarketMakerProtection(limits))
        .unwrap();
    venue.run(1, Action::MassQuote(quotes)).unwrap();
    reach_auction(&mut venue);
    assert_eq!(venue.engine.open_orders(AccountId::new(1)).len(), 2);
    let seal = sealed(&venue, 2, terms(call, Side::Buy, 4, m + 50), 50_000);
    venue.run(2, seal).unwrap();
    close(&mut venue);
    let events = open_all(&mut venue);
    assert_eq!(trades(&events), [(2, 1, i64::from(m) + 20, 4)]);
    let tripped =
        |e: &Event| matches!(e, Event::ProtectionTripped { account, .. } if account.get() == 1);
    assert_eq!(events.iter().filter(|e| tripped(e)).count(), 1);
    assert!(venue.engine.open_orders(AccountId::new(1)).is_empty());
}

#[test]
fn a_liquidation_takes_sealed_orders_out_and_gives_their_bond_back() {
    let mut venue = Venue::with(&[20_000, 10_000_000, 10_000_000], parameters());
    let call = venue.call();
    let m = mark(&venue, call);
    venue.trade(1, 2, call, 80, i64::from(m));
    reach_auction(&mut venue);
    let seal = sealed(&venue, 1, terms(call, Side::Buy, 2, m), 10);
    venue.run(1, seal).unwrap();
    assert!(!venue.engine.auctions.bond_of(AccountId::new(1)).is_zero());
    // So far under maintenance that grace does not hold.
    let started = |events: &[Event]| {
        events
            .iter()
            .any(|e| matches!(e, Event::LiquidationStarted { .. }))
    };
    assert!(venue.observe_until(112_000, 20, started));
    assert_eq!(venue.mode(), Mode::Auction);
    let dropped = dropped(&venue.events);
    assert_eq!(dropped, [(0, Reject::AccountInLiquidation, 0)]);
    assert!(venue.engine.auctions.bond_of(AccountId::new(1)).is_zero());
    let again = sealed(&venue, 1, terms(call, Side::Buy, 2, m), 10);
    assert_eq!(venue.run(1, again), Err(Reject::AccountInLiquidation));
}
