//! Whether this validator may vote.
//!
//! **Owns** the rule that no validator votes twice in a view. A validator whose data is gone cannot
//! know what it voted for, so it follows without signing until a block is final in a view well past
//! every view it can have been in, and votes only from that certificate on. Views advance only by
//! certificates of 2f+1 validators, so a validator was never in a view far past what its peers had
//! finalized when it came back; `views_margin` covers views given up in between.
//!
//! When more than f validators lose their data at once, the rest cannot finalize anything and the
//! followers wait for ever: that is the point where a venue is rebuilt from its data-availability
//! layer instead.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::Viewable as _;
use commonware_runtime::{Clock, Storage};
use tokio::sync::watch;

use crate::consensus::{Certificate, Role};
use crate::files::Files;
use crate::shared::{Shared, Stop};

/// Left by `init`: this folder was never used, so voting from the first view on is safe.
const FRESH: &str = "fresh";
/// This node votes; holds the certificate it votes from on, or nothing for the beginning.
const VOTING: &str = "votes-2";
/// What it was in earlier builds: votes in formats that this program cannot read.
const VOTED: [&str; 2] = ["voting", "votes"];
/// Lies beside consensus's vote journal, so that a marker without the journal is not believed.
const GUARD: &str = "guard";

/// How long the first certificates are watched for the highest view.
const OBSERVE: Duration = Duration::from_secs(1);
/// How near to the tip a follower must have executed before it votes.
const LAG_MAX: u64 = 64;

/// Marks a new data folder as never used.
///
/// # Errors
/// When the folder cannot be written.
pub fn mark_fresh(files: &dyn Files) -> io::Result<()> {
    files.replace(FRESH, b"")
}

/// Whether this folder was never used.
///
/// # Errors
/// When the folder cannot be read.
pub fn is_fresh(files: &dyn Files) -> io::Result<bool> {
    Ok(files.len(FRESH)?.is_some())
}

async fn set_guard(storage: &impl Storage, prefix: &str) -> io::Result<()> {
    let partition = format!("{prefix}{GUARD}");
    match storage.open(&partition, GUARD.as_bytes()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Decides how this node takes part.
///
/// # Errors
/// When a marker cannot be read or written, or the votes here are of another format.
pub async fn role(storage: &impl Storage, prefix: &str, files: &dyn Files) -> Result<Role, Stop> {
    for marker in VOTED {
        if files.len(marker).map_err(marker_error)?.is_some() {
            return Err(Stop::OldVotes);
        }
    }
    own_role(storage, prefix, files).await.map_err(marker_error)
}

/// Why a node stops that cannot tell whether it may vote.
pub fn marker_error(error: io::Error) -> Stop {
    Stop::Storage {
        context: "reading or writing the voting marker".to_owned(),
        error: error.to_string(),
    }
}

async fn own_role(storage: &impl Storage, prefix: &str, files: &dyn Files) -> io::Result<Role> {
    let partition = format!("{prefix}{GUARD}");
    let guarded = storage
        .scan(&partition)
        .await
        .is_ok_and(|blobs| !blobs.is_empty());
    if let (Some(from), true) = (files.read(VOTING)?, guarded) {
        if from.is_empty() {
            return Ok(Role::Vote(None));
        }
        let decoded = Certificate::decode(from);
        let certificate = decoded.map_err(|error| io::Error::other(error.to_string()))?;
        return Ok(Role::Vote(Some(Box::new(certificate))));
    }
    if is_fresh(files)? {
        set_guard(storage, prefix).await?;
        files.replace(VOTING, b"")?;
        files.remove(FRESH)?;
        return Ok(Role::Vote(None));
    }
    Ok(Role::Follow)
}

/// Follows until voting is safe, writes that down, and stops the node so that it starts voting.
///
/// # Errors
/// When the marker cannot be written.
pub async fn wait_to_vote<E: Clock + Storage>(
    context: &E,
    prefix: &str,
    shared: &Arc<Shared>,
    files: &dyn Files,
    views_margin: u64,
    mut finalized: watch::Receiver<Option<Certificate>>,
) -> io::Result<()> {
    if finalized.wait_for(Option::is_some).await.is_err() {
        return Ok(());
    }
    context.sleep(OBSERVE).await;
    let seen = shared.finalized_view.load(Ordering::Relaxed);
    let target = seen.saturating_add(views_margin);
    tracing::info!(
        seen,
        target,
        "following without voting until this view is final"
    );
    loop {
        let certificate = finalized.borrow_and_update().clone();
        let executed = shared.frontier().height.get();
        let near = executed + LAG_MAX >= shared.finalized_height.load(Ordering::Relaxed);
        if let Some(certificate) = certificate
            && certificate.view().get() >= target
            && near
        {
            set_guard(context, prefix).await?;
            files.replace(VOTING, &certificate.encode())?;
            shared.stop(Stop::MayVote);
            return Ok(());
        }
        if finalized.changed().await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Memory;
    use commonware_runtime::{Runner as _, deterministic};

    #[test]
    fn votes_that_this_program_cannot_read_are_not_passed_over() {
        deterministic::Runner::default().start(|context| async move {
            let files = Memory::default();
            mark_fresh(&files).expect("memory does not fail");
            for _ in 0..2 {
                let role = role(&context, "", &files).await;
                assert!(matches!(role, Ok(Role::Vote(None))));
            }
            for marker in VOTED {
                files.replace(marker, b"").expect("memory does not fail");
                let refused = role(&context, "", &files).await.map(drop);
                assert_eq!(refused, Err(Stop::OldVotes), "it may have voted");
                files.remove(marker).expect("memory does not fail");
            }
        });
    }
}
