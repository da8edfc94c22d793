//! The engine's own breakers along a recorded history.

use lifeboat_engine::breakers::{
    Breaker, BreakerParameters, Reading, Trip, UnderlyingWatch, Verdict,
};
use lifeboat_engine::params::{AuctionParameters, ModeParameters};
use lifeboat_engine::types::{Price, TimeMs};

use super::{Halt, Underlying};

/// Trading stops at level 2 for the auction and the post-only minute after it, at level 3 for the whole
/// ladder. Readings come only while trading goes on, as in a venue.
pub fn halts(underlying: &Underlying, parameters: &BreakerParameters) -> Vec<Halt> {
    let mut watch = UnderlyingWatch::default();
    let mut halts: Vec<Halt> = Vec::new();
    for point in &underlying.points {
        let closed = halts.last().is_some_and(|halt| point.at_ms < halt.until_ms);
        if closed {
            continue;
        }
        let reading = Reading {
            at: TimeMs::new(point.at_ms),
            market: Some((
                (point.volatility * 1e6) as u32,
                Price::new((point.price * 1e6) as i64),
            )),
            agreement: None,
            depth: None,
        };
        let trips = watch.observe(&reading, parameters).into_iter();
        let trips = trips.filter_map(|verdict| match verdict {
            Verdict::Tripped(trip) => Some(trip),
            Verdict::Released { .. } => None,
        });
        let highest = trips.max_by_key(|trip| trip.level);
        if let Some(trip) = highest.filter(|trip| trip.level >= 2) {
            halts.push(Halt {
                by: "lifeboat",
                symbol: underlying.symbol,
                at_ms: point.at_ms,
                until_ms: point.at_ms + closed_ms(trip.level),
                level: trip.level,
                why: why(&trip),
            });
        }
    }
    halts
}

/// For how long trading is stopped, extensions and waits for sources apart.
fn closed_ms(level: u8) -> u64 {
    let (modes, auction) = (ModeParameters::default(), AuctionParameters::default());
    let auction_ms = auction.length_ms + modes.post_only_ms;
    if level == 2 {
        auction_ms
    } else {
        modes.agreement_ms + modes.cancel_only_ms + auction_ms
    }
}

fn why(trip: &Trip) -> String {
    let name = match trip.breaker {
        Breaker::Speed => "volatility rose",
        Breaker::Jump => "price moved",
        Breaker::Level => "volatility stood",
        Breaker::Range => {
            return format!(
                "prices of the session {:.1} times the usual apart (bound {:.1})",
                trip.figure as f64 / 1_000.0,
                trip.bound as f64 / 1_000.0
            );
        }
        other => return format!("{other:?}"),
    };
    let over = match trip.horizon_ms {
        0 => String::new(),
        ms if ms < 3_600_000 => format!(" in {} min", ms / 60_000),
        ms => format!(" in {} h", ms / 3_600_000),
    };
    let thousandths = |figure: i64| figure as f64 / 1_000.0;
    format!(
        "{name} {:.1} deviations{over} (bound {:.1})",
        thousandths(trip.figure),
        thousandths(trip.bound)
    )
}
