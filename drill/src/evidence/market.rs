//! What a run's events say of prices and of those who were liquidated by them.

use lifeboat_engine::Event;

/// Counts of what a drill of the market is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarketFigures {
    index_updates: u64,
    index_lost: u64,
    liquidations: u64,
    deferred: u64,
}

impl MarketFigures {
    /// Counts a block's events.
    pub fn note(&mut self, events: &[Event]) {
        for event in events {
            let count = match event {
                Event::IndexUpdated { .. } => &mut self.index_updates,
                Event::IndexLost { .. } => &mut self.index_lost,
                Event::LiquidationStarted { .. } => &mut self.liquidations,
                Event::SettlementDeferred { .. } => &mut self.deferred,
                _ => continue,
            };
            *count += 1;
        }
    }

    /// The figures by name.
    pub fn named(self) -> [(String, f64); 4] {
        [
            ("index_updates", self.index_updates),
            ("index_lost", self.index_lost),
            ("liquidations_started", self.liquidations),
            ("settlements_deferred", self.deferred),
        ]
        .map(|(name, count)| (name.to_owned(), count as f64))
    }
}
