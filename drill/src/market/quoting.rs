//! Makers of a drill: they quote what options are worth by the script, and know nothing of the venue but
//! what it lists and what time it is.

use lifeboat_engine::Command;
use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{InstrumentId, Price, Qty, TimeMs};

use super::instruments::Instruments;
use super::maker::{Maker, MakerSettings};
use super::participant::Participant;
use super::simulated::SimulatedOutlook;
use super::stress::{StressFile, StressedOutlook};

/// Makers that a plan may ask for.
pub const MAKERS_MAX: u32 = 3;

/// Quotes of an expiry are sent anew when its forward moved by a thousandth, or after half a minute: a
/// drill's clock is fast, and one block later than the market is as late as one can be.
const SETTINGS: MakerSettings = MakerSettings {
    requote_move: 1e-3,
    requote_age_ms: 30_000,
    width: 1.0,
    lots: 500,
    inventory_lots_max: 1_000_000,
    expiries_per_step: 64,
};

/// Makers around one script. See the module's head.
pub struct Quoting {
    makers: Vec<Maker>,
    outlook: StressedOutlook,
    instruments: Instruments,
    /// The underlyings whose options they quote; all if none is named.
    of: Vec<u8>,
}

impl Quoting {
    /// Makers that quote the underlyings that `script` moves, or all if it moves none, on the path of a
    /// venue of this seed and genesis time. `steps` are tick and lot of each underlying.
    pub fn new(
        participants: impl Iterator<Item = Participant>,
        script: &StressFile,
        (seed, genesis): (u64, TimeMs),
        steps: Vec<(Price, Qty)>,
    ) -> Self {
        let maker = |(place, participant): (u32, Participant)| {
            let width = 1.0 + 0.25 * f64::from(place);
            Maker::new(participant, MakerSettings { width, ..SETTINGS })
        };
        let path = SimulatedOutlook::default_pair(seed, genesis);
        Self {
            makers: (0..).zip(participants).map(maker).collect(),
            outlook: script.outlook(Box::new(path)),
            instruments: Instruments::new(steps),
            of: script
                .stress
                .moves
                .iter()
                .map(|one| one.underlying)
                .collect(),
        }
    }

    /// Whether nobody quotes.
    pub const fn is_empty(&self) -> bool {
        self.makers.is_empty()
    }

    /// An option that the venue lists.
    pub fn know(&mut self, id: InstrumentId, terms: OptionTerms) {
        if self.of.is_empty() || self.of.contains(&terms.underlying.get()) {
            self.instruments.list(id, terms);
        }
    }

    /// The quotes that are due by block time `now`.
    pub fn step(&mut self, now: TimeMs) -> Vec<Command> {
        let (outlook, instruments) = (&mut self.outlook, &self.instruments);
        let makers = self.makers.iter_mut();
        makers
            .flat_map(|maker| maker.step(outlook, instruments, now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Move, Moved, Stress};
    use lifeboat_engine::types::{AccountId, ChainId, OptionKind, UnderlyingId};

    #[test]
    fn makers_quote_what_the_script_moves_again_when_it_moved() {
        let genesis = TimeMs::new(1_769_600_000_000);
        let fall = Move {
            at_ms: 60_000,
            over_ms: 0,
            underlying: 0,
            what: Moved::Price,
            to_ppm: 900_000,
        };
        let script = StressFile {
            began_ms: genesis.get(),
            stress: Stress {
                moves: vec![fall],
                ..Stress::default()
            },
        };
        let maker = Participant::development(1, AccountId::new(1), ChainId::default());
        let steps = vec![(Price::new(1_000_000), Qty::new(1_000_000)); 2];
        let mut quoting = Quoting::new([maker].into_iter(), &script, (1, genesis), steps);
        for underlying in [0, 1] {
            let terms = OptionTerms {
                underlying: UnderlyingId::new(underlying),
                expiry: genesis.plus_ms(30 * 86_400_000),
                strike: Price::new(90_000_000_000),
                kind: OptionKind::Put,
            };
            quoting.know(InstrumentId::new(underlying.into()), terms);
        }
        let quotes = |quoting: &mut Quoting, at: u64| quoting.step(genesis.plus_ms(at)).len();
        assert_eq!(quotes(&mut quoting, 58_000), 1);
        assert_eq!(quotes(&mut quoting, 59_000), 0, "nothing moved");
        assert_eq!(quotes(&mut quoting, 60_000), 1, "the price fell");
        assert_eq!(quotes(&mut quoting, 90_000), 1, "quotes are old");
    }
}
