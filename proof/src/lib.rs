//! What a distrustful user runs: inclusion, certificates, replay.
