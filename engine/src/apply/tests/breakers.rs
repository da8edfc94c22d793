//! Breakers in a venue: one bad strike, a crash, sources that disagree, and each underlying's own way
//! back.

use super::*;
use crate::breakers::{Breaker, Trip};
use crate::event::ModeReason;
use crate::pricing::Black76;

const BTC: UnderlyingId = UnderlyingId::new(0);
const ETH: UnderlyingId = UnderlyingId::new(1);
/// A point of the index.
const POINT_PPM: u32 = 10_000;

fn rich() -> Venue {
    Venue::new(&[2_000_000_000, 2_000_000_000])
}

impl Venue {
    /// The value of an option at a volatility, in whole ticks and at least one.
    fn value(&self, id: InstrumentId, volatility: f64) -> i64 {
        let terms = self.engine.instruments().get(id).unwrap().terms;
        let forward = self.engine.forward(terms.underlying, terms.expiry).unwrap();
        let left = terms.expiry.get() - self.time;
        let option = Black76 {
            forward: forward.get() as f64 / 1e6,
            strike: terms.strike.get() as f64 / 1e6,
            years: left as f64 / (365.0 * 86_400_000.0),
            volatility,
            discount: 1.0,
        };
        (option.greeks(terms.kind).price as i64).max(1)
    }

    /// Account 1 quotes an option around its value at a volatility.
    fn entry(&self, id: InstrumentId, volatility: f64) -> QuoteEntry {
        let value = self.value(id, volatility);
        let side = |price: i64| {
            Some(QuoteSide {
                price: usd(price),
                qty: qty(10),
            })
        };
        let half = value / 100;
        QuoteEntry {
            instrument: id,
            bid: side((value - half).max(1)),
            ask: side(value + half + 1),
        }
    }

    fn requote(&mut self, entries: Vec<QuoteEntry>) {
        for chunk in entries.chunks(200) {
            // The side that moves away first, so that no quote meets its own other side.
            let pulled = chunk.iter().map(|entry| QuoteEntry {
                instrument: entry.instrument,
                bid: Some(QuoteSide {
                    price: usd(1),
                    qty: Qty::ZERO,
                }),
                ask: Some(QuoteSide {
                    price: usd(1),
                    qty: Qty::ZERO,
                }),
            });
            for entries in [pulled.collect(), chunk.to_vec()] {
                let recovery = RecoveryPolicy::Cancel;
                self.send(1, Action::MassQuote(MassQuote { entries, recovery }));
            }
        }
    }

    fn btc_options(&self) -> Vec<InstrumentId> {
        let all = self.engine.instruments().iter();
        all.filter(|i| i.terms.underlying == BTC && i.is_listed())
            .filter(|i| i.terms.expiry.get() > self.time)
            .map(|i| i.id)
            .collect()
    }

    /// Account 1 quotes every BTC option at a volatility.
    fn quote_all(&mut self, volatility: f64) {
        let entries = self.btc_options();
        let entries = entries.iter().map(|id| self.entry(*id, volatility));
        let entries = entries.collect();
        self.requote(entries);
    }

    fn index_ppm(&self) -> u32 {
        self.engine.circuit(BTC).unwrap().volatility_ppm
    }

    fn own_mode(&self, underlying: UnderlyingId) -> Mode {
        self.engine.mode_of(underlying)
    }

    /// A second with the sources of BTC apart, or together.
    fn second(&mut self, apart: bool) -> Vec<Event> {
        for v in 0..4 {
            for (underlying, price) in [(BTC, 90_000), (ETH, 3_000)] {
                let at = TimeMs::new(self.time);
                let off = |i: i64| {
                    if apart && underlying == BTC && i > 1 {
                        900
                    } else {
                        0
                    }
                };
                let sources = (0..5).map(|i| {
                    Some(SourcePrice {
                        price: usd(price + off(i)),
                        updated_at: at,
                    })
                });
                self.report(
                    v,
                    Report::Observe(Observation {
                        underlying,
                        observed_at: at,
                        sources: sources.collect(),
                        forwards: Vec::new(),
                    }),
                );
            }
        }
        self.block()
    }
}

fn trips(events: &[Event]) -> Vec<Trip> {
    let trip = |event: &Event| match event {
        Event::BreakerTripped { trip, .. } => Some(*trip),
        _ => None,
    };
    events.iter().filter_map(trip).collect()
}

fn own_modes(events: &[Event]) -> Vec<(UnderlyingId, Mode)> {
    let to = |event: &Event| match event {
        Event::UnderlyingModeChanged { underlying, to, .. } => Some((*underlying, *to)),
        _ => None,
    };
    events.iter().filter_map(to).collect()
}

#[test]
fn the_index_is_published_with_every_tick_of_an_open_book() {
    let mut venue = rich();
    venue.quote_all(0.6);
    for _ in 0..5 {
        venue.observe(90_000);
        venue.block();
    }
    venue.observe(90_000);
    let events = venue.block();
    let published = events.iter().find_map(|event| match event {
        Event::VolatilityIndexUpdated {
            underlying: BTC,
            ppm,
            strikes_near,
            strikes_next,
        } => Some((*ppm, *strikes_near, *strikes_next)),
        _ => None,
    });
    let (ppm, near, next) = published.unwrap();
    assert_eq!(ppm, venue.index_ppm());
    assert!((580_000..620_000).contains(&ppm), "{ppm}");
    assert!(near >= 7 && next >= 7, "{near} {next}");
}

#[test]
fn one_strike_at_three_times_its_volatility_moves_nothing() {
    let mut venue = rich();
    for _ in 0..30 {
        venue.quote_all(0.6);
        venue.observe(90_000);
        venue.block();
    }
    let honest = venue.index_ppm();
    let mut image = Vec::new();
    venue.engine.write_snapshot(&mut image).unwrap();
    let mut worst = [0, 0, 0];
    // Every strike of the expiries that the index may be made of, far up, far down and not so far, for
    // long enough that its surface and so its mark have followed as far as they ever will.
    let options = venue.btc_options();
    let within = options.iter().filter(|id| {
        let terms = venue.engine.instruments().get(**id).unwrap().terms;
        let days = (terms.expiry.get() - venue.time) / 86_400_000;
        (10..70).contains(&days)
            && (terms.kind == OptionKind::Call) == (terms.strike >= usd(90_000))
    });
    let within: Vec<InstrumentId> = within.copied().collect();
    assert!(within.len() >= 30, "{}", within.len());
    let time = venue.time;
    for id in &within {
        for (at, factor) in [3.0, 1.0 / 3.0, 1.25].into_iter().enumerate() {
            venue.engine = Engine::read_snapshot(&mut image.as_slice()).unwrap();
            venue.time = time;
            let entry = venue.entry(*id, 0.6 * factor);
            venue.requote(vec![entry]);
            for _ in 0..8 {
                venue.observe(90_000);
                let events = venue.block();
                assert!(trips(&events).is_empty(), "{events:?}");
                let moved = venue.index_ppm().abs_diff(honest);
                worst[at] = worst[at].max(moved);
            }
        }
    }
    println!("{} strikes: {worst:?} of 1e-6 at worst", within.len());
    assert!(worst[0] < POINT_PPM && worst[1] < POINT_PPM, "{worst:?}");
    // A quarter off is not yet out of line with its neighbours: the surface bends to it.
    assert!(worst[2] < 3 * POINT_PPM, "{worst:?}");
}

#[test]
fn a_crash_with_volatility_doubling_halts_its_underlying_and_no_other() {
    let mut venue = rich();
    let blocks = |venue: &mut Venue, index: i64, volatility: f64| {
        venue.quote_all(volatility);
        venue.observe(index);
        venue.block_after(10_000)
    };
    for _ in 0..140 {
        let events = blocks(&mut venue, 90_000, 0.55);
        assert!(trips(&events).is_empty(), "{:?}", trips(&events));
    }
    // BTC −18 % and volatility 55 to 110 within ten minutes.
    let mut seen = Vec::new();
    for step in 1..=60 {
        let share = f64::from(step) / 60.0;
        let index = (90_000.0 * (1.0 - 0.18 * share)) as i64;
        let events = blocks(&mut venue, index, 0.55 * (1.0 + share));
        seen.extend(trips(&events));
        if venue.own_mode(BTC) == Mode::Halted {
            break;
        }
    }
    assert_eq!(venue.own_mode(BTC), Mode::Halted, "{seen:?}");
    assert_eq!(venue.mode(), Mode::Open);
    for trip in &seen {
        assert!(trip.figure >= trip.bound, "{trip:?}");
    }
    let reason = venue.events.iter().rev().find_map(|event| match event {
        Event::UnderlyingModeChanged {
            to: Mode::Halted,
            reason,
            ..
        } => Some(*reason),
        _ => None,
    });
    assert!(matches!(
        reason,
        Some(ModeReason::Breaker {
            breaker: Breaker::Jump | Breaker::Speed | Breaker::Level,
            level: 3
        })
    ));
}

#[test]
fn sources_apart_halt_one_underlying_and_it_climbs_back_by_rule() {
    let mut venue = rich();
    let call = venue.call();
    let eth = venue
        .engine
        .instruments()
        .iter()
        .find(|i| i.terms.underlying == ETH && i.terms.kind == OptionKind::Call)
        .map(|i| i.id)
        .unwrap();
    venue
        .run(1, place(limit(call, Side::Buy, 1, 1_000)))
        .unwrap();
    let fleeting = PlaceOrder {
        recovery: RecoveryPolicy::Cancel,
        ..limit(call, Side::Buy, 1, 1_001)
    };
    venue.run(1, place(fleeting)).unwrap();
    for _ in 0..40 {
        venue.second(true);
    }
    assert_eq!(
        venue.own_mode(BTC),
        Mode::Verify,
        "halted, and a root agreed"
    );
    assert_eq!(venue.own_mode(ETH), Mode::Open);
    let taking = place(limit(call, Side::Sell, 1, 1_000));
    assert_eq!(venue.run(2, taking), Err(Reject::ModeForbids));
    let eth_mark = venue.engine.instruments().get(eth).unwrap().mark.unwrap();
    let eth_price = eth_mark.price.get() / 1_000_000;
    let bid = PlaceOrder {
        qty: Qty::new(10_000_000),
        ..limit(eth, Side::Buy, 1, eth_price.max(1))
    };
    venue.run(2, place(bid)).unwrap();
    // Restarts keep it: the mode is state.
    let mut image = Vec::new();
    venue.engine.write_snapshot(&mut image).unwrap();
    venue.engine = Engine::read_snapshot(&mut image.as_slice()).unwrap();
    assert_eq!(venue.own_mode(BTC), Mode::Verify);
    let mut reached = Vec::new();
    for _ in 0..700 {
        let events = venue.second(false);
        for (underlying, mode) in own_modes(&events) {
            assert_eq!(underlying, BTC);
            reached.push((mode, venue.time));
        }
    }
    let modes: Vec<Mode> = reached.iter().map(|(mode, _)| *mode).collect();
    let ladder = [Mode::CancelOnly, Mode::Auction, Mode::PostOnly, Mode::Open];
    assert_eq!(modes, ladder);
    let spent: Vec<u64> = reached.windows(2).map(|w| w[1].1 - w[0].1).collect();
    assert!(spent[0] >= 300_000 && spent[1] >= 120_000 && spent[2] >= 60_000);
    let recovered = venue.events.iter().filter(|e| {
        matches!(e, Event::OrderCancelled { reason: CancelReason::Recovery, instrument, .. } if *instrument == call)
    });
    assert_eq!(recovered.count(), 1);
    assert!(venue.events.iter().any(|e| matches!(
        e,
        Event::AuctionBegan {
            underlying: BTC,
            ..
        }
    )));
    assert_eq!(venue.mode(), Mode::Open);
    venue
        .run(2, place(limit(call, Side::Sell, 1, 1_000)))
        .unwrap();
}

#[test]
fn level_two_is_an_auction_and_level_one_tightens_bands() {
    let mut parameters = Parameters::default();
    parameters.breakers.dispersion_ms = [2_000, 10_000, u64::MAX];
    let mut venue = Venue::with(&[2_000_000_000, 2_000_000_000], parameters);
    let call = venue.call();
    let mark = venue.engine.instruments().get(call).unwrap().mark.unwrap();
    let mark = mark.price.get() / 1_000_000;
    // Inside the band of 20 % of the index, outside half of it.
    let far = limit(call, Side::Buy, 1, mark + 12_000);
    let rest = PlaceOrder {
        post_only: PostOnly::Reject,
        ..far
    };
    venue.run(1, place(rest.clone())).unwrap();
    venue
        .run(1, Action::CancelAll(CancelScope::Account))
        .unwrap();
    for _ in 0..4 {
        venue.second(true);
    }
    let tightened = venue.events.iter().find_map(|e| match e {
        Event::BandsTightened {
            underlying,
            band_ppm,
            ..
        } => Some((*underlying, *band_ppm)),
        _ => None,
    });
    assert_eq!(tightened, Some((BTC, 100_000)));
    assert_eq!(venue.run(1, place(rest)), Err(Reject::PriceOutsideBand));
    assert_eq!(venue.own_mode(BTC), Mode::Open);
    for _ in 0..10 {
        venue.second(true);
    }
    assert_eq!(venue.own_mode(BTC), Mode::Auction);
    let since = venue.time;
    let mut reached = Vec::new();
    for _ in 0..200 {
        let events = venue.second(false);
        reached.extend(
            own_modes(&events)
                .into_iter()
                .map(|(_, mode)| (mode, venue.time - since)),
        );
    }
    assert_eq!(reached.len(), 2, "{reached:?}");
    assert_eq!((reached[0].0, reached[1].0), (Mode::PostOnly, Mode::Open));
    assert!(
        reached[0].1 >= 115_000 && reached[1].1 - reached[0].1 >= 60_000,
        "{reached:?}"
    );
}

#[test]
fn books_that_do_not_add_up_halt_the_venue_and_keep_it_halted() {
    let mut venue = rich();
    venue.engine.ledger.fees = Cash::new(venue.engine.ledger.fees.get() + 1);
    let block = |venue: &mut Venue| {
        venue.time += 1_000;
        let block = Block {
            height: venue.engine.height().next(),
            time: TimeMs::new(venue.time),
            agreed: venue.agreed,
            commands: Vec::new(),
        };
        let mut events = Vec::new();
        let applied = venue.engine.apply(&block, &mut events).unwrap();
        venue.agreed = Some(AgreedRoot {
            height: applied.height,
            root: applied.state_root,
        });
        events
    };
    let tripped = (0..3).find_map(|_| trips(&block(&mut venue)).first().copied());
    let trip = tripped.unwrap();
    assert_eq!(
        (trip.breaker, trip.level, trip.figure),
        (Breaker::Conservation, 3, -1)
    );
    for _ in 0..20 {
        block(&mut venue);
    }
    assert_eq!(venue.mode(), Mode::Halted);
    venue.engine.ledger.fees = Cash::new(venue.engine.ledger.fees.get() - 1);
    block(&mut venue);
    assert_eq!(venue.mode(), Mode::Verify);
}
