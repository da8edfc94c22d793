//! What a validator does, in one program: each test that starts nodes brings consensus with it, and
//! building that once is minutes less than once a file.

mod auction;
mod cluster;
mod exit_certificate;
mod exits;
mod live;
mod mempool;
#[cfg(feature = "poison")]
mod poison;
mod storage;
mod sync;
mod vectors;
mod votes;
