//! The days.

use lifeboat_engine::Parameters;
use lifeboat_engine::command::{Action, OrderPrice, PlaceOrder};
use lifeboat_engine::types::{AccountId, Cash, Mode, OptionKind, Price, Side, TimeInForce};

use super::stage::{Actor, BTC, Stage};
use super::{Day, Played};
use crate::market::{Move, Moved, SourceFault, Stress, Wrong};
use crate::twin::Finding;

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
/// The trouble begins when everybody has what the day needs.
const TROUBLE: u64 = 10 * MINUTE;
/// Lots by which a position grows until there is no margin for more.
const LOTS: i64 = 250;
/// The insurance fund's account: the first.
const INSURANCE_FUND: AccountId = AccountId::new(0);
/// No time at all that anybody would wait.
pub const NEVER: u64 = u64::MAX / 4;
/// Losses in money.
pub const LOST: &str = "lost_usdc";

/// Days that happened, the oldest first.
pub const HISTORICAL: &[Day] = &[
    Day {
        name: "deribit-2019",
        title: "31 October 2019: one constituent's wrong price in the index",
        about: "One of an index's sources reported a price far under the others', the index followed it, and \
                accounts were liquidated that nothing had happened to; the venue paid for it. Here one source \
                of five says a quarter of the price for a minute, while an account is short a straddle.",
        rule: Some("each source counts within half a percent of the median"),
        unit: LOST,
        most: 0.0,
        play: deribit_2019,
    },
    Day {
        name: "bitmex-2020",
        title: "13 March 2020: queued orders executed late",
        about: "While a venue could not be reached orders queued up, and were executed at the prices of before \
                when it came back. Here an order to buy waits ten minutes in which the price falls by a tenth.",
        rule: Some("no block for over a minute halts the venue, and what waited is refused"),
        unit: LOST,
        most: 0.0,
        play: bitmex_2020,
    },
    Day {
        name: "nyse-2023",
        title: "24 January 2023: no opening auction",
        about: "A recovery system left running made an exchange skip the opening auctions of some stocks: the \
                first orders traded with whatever there was. Here a venue opens after an outage with one stale \
                offer in the book, and an order at the market is waiting.",
        rule: Some("the reopening ladder: cancel only, auction, post only, then open"),
        unit: LOST,
        most: 2_000.0,
        play: nyse_2023,
    },
    Day {
        name: "jelly-2025",
        title: "26 March 2025: a concentrated short, and a fund that is everybody's",
        about: "Somebody sold short what trades on few markets, let it be pumped there, and the venue's shared fund \
                was to inherit the loss. Here an account is short calls as far as its margin goes, two sources of five \
                say four times the price for five minutes, and whoever buys what is liquidated is paid by the fund.",
        rule: Some("each source counts within half a percent of the median"),
        unit: LOST,
        most: 0.0,
        play: jelly_2025,
    },
    Day {
        name: "dydx-2025",
        title: "10 October 2025: stale prices after a restart",
        about: "A chain halted in a crash and came back with the prices of before the halt: accounts were \
                liquidated at prices that were no more. Here the price falls by fifteen percent as the venue \
                stops, is back when it starts, and the sources go on saying what they said last.",
        rule: Some(
            "no price older than three minutes counts, and sources must agree before anything goes on",
        ),
        unit: LOST,
        most: 0.0,
        play: dydx_2025,
    },
    Day {
        name: "paradex-2026",
        title: "19 January 2026: a price of zero after a migration",
        about: "After a migration a venue's price was zero for a while, and it liquidated its users at it. Here \
                all sources say zero for half a minute. A venue that takes zero for a price is played with the \
                smallest price there is: there is no switch here for believing in zero.",
        rule: Some("a price of zero is no price"),
        unit: LOST,
        most: 0.0,
        play: paradex_2026,
    },
];

/// A venue that believes whatever its sources say.
pub fn believing(parameters: &mut Parameters) {
    parameters.index.clamp_ppm = 4_000_000_000;
    parameters.index.sources_min = 1;
    parameters.index.frozen_ms = NEVER;
    parameters.index.dispersion_ppm_max = u32::MAX;
}

/// A venue that goes on as if there had been no outage.
fn heedless(parameters: &mut Parameters) {
    parameters.modes.block_gap_ms_max = NEVER;
}

/// A venue that takes prices of any age.
fn forgetful(parameters: &mut Parameters) {
    parameters.index.source_age_ms_max = NEVER;
    parameters.liquidation.index_age_ms_max = NEVER;
}

pub fn played(stage: &mut Stage, who: Actor) -> Played {
    let account = stage.account(who);
    Played {
        lost: stage.lost(account),
        liquidations: stage.counts.liquidations,
        modes: stage.counts.modes.clone(),
        ..Played::default()
    }
}

/// An account that is short a straddle, as far as its margin goes.
pub fn short_straddle(stage: &mut Stage) -> Result<(), Finding> {
    stage.until(MINUTE)?;
    let put = need(stage.option(OptionKind::Put, 1.0, 20))?;
    let call = need(stage.option(OptionKind::Call, 1.0, 20))?;
    stage.sell_most(Actor::Victim, &[put, call], LOTS)?;
    stage.until(TROUBLE - SECOND)?;
    stage.remember();
    Ok(())
}

pub fn need<T>(found: Option<T>) -> Result<T, Finding> {
    found.ok_or_else(|| Finding {
        invariant: "day",
        event: 0,
        what: "nothing of the kind is listed".to_owned(),
    })
}

pub fn wrong(sources: Vec<usize>, how: Wrong, for_ms: u64) -> Stress {
    Stress {
        moves: Vec::new(),
        faults: vec![SourceFault {
            at_ms: TROUBLE,
            until_ms: TROUBLE + for_ms,
            underlying: BTC.get(),
            sources,
            how,
        }],
    }
}

pub fn price(at_ms: u64, to_ppm: u64) -> Move {
    Move {
        at_ms,
        over_ms: 0,
        underlying: BTC.get(),
        what: Moved::Price,
        to_ppm,
    }
}

fn deribit_2019(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    if !ruled {
        believing(&mut parameters);
    }
    let stress = wrong(vec![0], Wrong::Scaled(250_000), MINUTE);
    let mut stage = Stage::new(parameters, &stress);
    short_straddle(&mut stage)?;
    stage.until(TROUBLE + 10 * MINUTE)?;
    Ok(played(&mut stage, Actor::Victim))
}

fn paradex_2026(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    let how = if ruled { Wrong::Zero } else { Wrong::Scaled(1) };
    if !ruled {
        believing(&mut parameters);
    }
    let stress = wrong(vec![0, 1, 2, 3, 4], how, MINUTE / 2);
    let mut stage = Stage::new(parameters, &stress);
    short_straddle(&mut stage)?;
    stage.until(TROUBLE + 10 * MINUTE)?;
    Ok(played(&mut stage, Actor::Victim))
}

fn bitmex_2020(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    if !ruled {
        heedless(&mut parameters);
    }
    let stress = Stress {
        moves: vec![price(TROUBLE + MINUTE, 900_000)],
        ..Stress::default()
    };
    let mut stage = Stage::new(parameters, &stress);
    stage.until(TROUBLE)?;
    stage.remember();
    let listed = need(stage.option(OptionKind::Call, 1.0, 5))?;
    let ask = need(stage.engine().best(listed.id, Side::Sell))?;
    let ask = need(listed.on_tick(Side::Sell, 1.05 * ask.get() as f64 / 1e6))?;
    let order = PlaceOrder {
        time_in_force: TimeInForce::ImmediateOrCancel,
        ..listed.order(Side::Buy, listed.lots(20), ask)
    };
    stage.send(Actor::Victim, Action::PlaceOrder(order));
    stage.block(10 * MINUTE)?;
    stage.until(TROUBLE + 30 * MINUTE)?;
    Ok(played(&mut stage, Actor::Victim))
}

fn dydx_2025(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    if !ruled {
        heedless(&mut parameters);
        forgetful(&mut parameters);
    }
    // The sources' last word is of the moment in which the price was low.
    let low = TROUBLE;
    let stress = Stress {
        moves: vec![price(low, 850_000), price(low + 5 * MINUTE, 1_176_471)],
        faults: vec![SourceFault {
            at_ms: low + SECOND,
            until_ms: low + 15 * MINUTE,
            underlying: BTC.get(),
            sources: vec![0, 1, 2, 3, 4],
            how: Wrong::Silent,
        }],
    };
    let mut stage = Stage::new(parameters, &stress);
    short_straddle(&mut stage)?;
    // What the validators see now is in the first block after the outage.
    stage.until(low)?;
    stage.block(10 * MINUTE)?;
    stage.until(TROUBLE + 60 * MINUTE)?;
    Ok(played(&mut stage, Actor::Victim))
}

fn nyse_2023(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    if !ruled {
        parameters.modes.agreement_ms = 0;
        parameters.modes.cancel_only_ms = 0;
        parameters.modes.post_only_ms = 0;
        parameters.auction.length_ms = 0;
    }
    let mut stage = Stage::new(parameters, &Stress::default());
    stage.until(TROUBLE)?;
    let listed = need(stage.option(OptionKind::Call, 1.0, 5))?;
    // An offer that stays through the outage, as dear as one may be taken.
    let index = need(stage.engine().index_price(BTC))?.get() as f64 / 1e6;
    let dear = stage.worth(&listed) + 0.018 * index;
    let dear = need(listed.on_tick(Side::Sell, dear))?;
    let offer = listed.order(Side::Sell, listed.lots(100), dear);
    stage.send(Actor::Vulture, Action::PlaceOrder(offer));
    stage.block(SECOND)?;
    stage.remember();
    stage.block(10 * MINUTE)?;
    let end = stage.now_ms() + 20 * MINUTE;
    // Whoever wants to be first sends again until it is taken.
    while stage.position(Actor::Victim, listed.id) == 0 && stage.now_ms() < end {
        let order = PlaceOrder {
            price: OrderPrice::Market,
            time_in_force: TimeInForce::ImmediateOrCancel,
            ..listed.order(Side::Buy, listed.lots(20), Price::new(0))
        };
        stage.send(Actor::Victim, Action::PlaceOrder(order));
        stage.block(SECOND)?;
    }
    let opened = stage.counts.modes.last() == Some(&Mode::Open);
    let mut played = played(&mut stage, Actor::Victim);
    played.figures.insert("opened", f64::from(u8::from(opened)));
    Ok(played)
}

fn jelly_2025(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    parameters.waterfall.fund = Cash::new(8_000_000 * 1_000_000);
    if !ruled {
        believing(&mut parameters);
    }
    let stress = wrong(vec![0, 1], Wrong::Scaled(4_000_000), 5 * MINUTE);
    let mut stage = Stage::new(parameters, &stress);
    stage.until(MINUTE)?;
    let call = need(stage.option(OptionKind::Call, 1.1, 20))?;
    stage.sell_most(Actor::Vulture, &[call], LOTS)?;
    stage.until(TROUBLE - SECOND)?;
    stage.remember();
    stage.until(TROUBLE + 20 * MINUTE)?;
    let played = played(&mut stage, Actor::Victim);
    Ok(Played {
        lost: stage.lost(INSURANCE_FUND),
        ..played
    })
}
