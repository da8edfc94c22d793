//! One validator: consensus wiring, executor, journal, snapshots.
