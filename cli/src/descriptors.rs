//! How many descriptors, sockets and files together, this process may have. Clients get a part of
//! them: a crowd of connections must never keep a validator from opening its journal.

/// Raises the process's limit as far as the system lets it. Some systems begin with 1024.
#[cfg(unix)]
pub fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?current, "the limit on open files could not be raised");
    }
}

/// How many connections a gateway takes: `wanted`, or half of what the process may have open.
#[cfg(unix)]
pub fn gateway_connections(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wanted.min(usize::try_from(limit / 2).unwrap_or(usize::MAX))
}

/// Nothing to raise.
#[cfg(not(unix))]
pub const fn raise() {}

/// What is wanted.
#[cfg(not(unix))]
pub const fn gateway_connections(wanted: usize) -> usize {
    wanted
}
