//! A market to run a venue with: prices, makers, takers and load, from a seed or a recording.
//!
//! **Owns** what participants and validators believe ([`Outlook`]) and the signed commands that
//! follow from it. Everything is a function of a seed, of block time and of the venue's own events:
//! the same inputs give the same commands.
//!
//! **Never** opens a socket, reads a clock or looks into an engine. Its arithmetic is plain `f64`:
//! nothing here is replicated.

mod black76;
mod calendar;
mod cast;
mod dice;
mod feed;
mod instruments;
mod load;
mod maker;
mod outlook;
mod pace;
mod participant;
mod quoting;
mod recording;
mod replay;
mod simulated;
mod simulation;
mod stress;
mod taker;

pub use black76::{Valuation, value};
pub use calendar::parse_utc;
pub use cast::Cast;
pub use dice::Dice;
pub use feed::{Feed, FeedSettings};
pub use instruments::{Instruments, Listed};
pub use load::{LoadPlan, LoadSettings};
pub use maker::{Maker, MakerSettings};
pub use outlook::{Outlook, YEAR_MS};
pub use pace::for_pace;
pub use participant::Participant;
pub use quoting::{MAKERS_MAX, Quoting};
pub use recording::{RecordedChain, RecordedOption, Recording, RecordingError};
pub use replay::ReplayOutlook;
pub use simulated::{SimulatedOutlook, SimulatedUnderlying};
pub use simulation::{Simulation, SimulationSettings};
pub use stress::{
    Move, Moved, SourceFault, SourceFaults, Stress, StressFile, StressedOutlook, Wrong,
};
pub use taker::{Taker, TakerSettings};
