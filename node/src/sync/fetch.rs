//! The side that fetches.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::ed25519::PublicKey as PeerKey;
use commonware_p2p::{Recipients, Sender};
use commonware_runtime::Clock;
use lifeboat_engine::types::Height;
use tokio::sync::mpsc;

use super::SyncPolicy;
use super::download::{Blame, Download};
use super::server::Heard;
use super::wire::Message;
use crate::consensus::Scheme;
use crate::files::Files;
use crate::machine::Blueprint;
use crate::shared::millis;
use crate::snapshot::{self, Manifest};

/// Left by a node that stopped because it was too far behind.
const WANTED: &str = "sync-wanted";
/// How often an open question is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Whether this folder's node should look for a snapshot before it follows the log: it holds no
/// state and has lost its votes, or it stopped for being far behind.
///
/// # Errors
/// When the folder cannot be read.
pub fn wanted(files: &dyn Files, height: Height, is_new: bool) -> io::Result<bool> {
    Ok(files.len(WANTED)?.is_some() || (height.get() == 0 && !is_new))
}

/// Makes the node look for a snapshot at its next start.
///
/// # Errors
/// When the folder cannot be written.
pub fn want(files: &dyn Files) -> io::Result<()> {
    files.replace(WANTED, b"")
}

/// What fetching needs to know.
pub struct Fetch {
    /// Makes the state machine.
    pub blueprint: Arc<dyn Blueprint>,
    /// The data folder.
    pub files: Arc<dyn Files>,
    /// Checks the validators' certificates.
    pub scheme: Scheme,
    /// How many peers there are.
    pub peers: usize,
    /// The last executed height.
    pub height: Height,
    /// The figures.
    pub policy: SyncPolicy,
}

/// A snapshot that was fetched, checked and made known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// After which block.
    pub height: Height,
    /// Chunks that each peer served.
    pub served: BTreeMap<PeerKey, u64>,
    /// Who sent something that does not verify.
    pub liars: BTreeSet<PeerKey>,
}

/// What came of one snapshot.
enum Attempt {
    Whole(BTreeMap<PeerKey, u64>),
    /// Nobody was left to ask.
    Stranded,
    /// Every chunk fits its manifest, but the state is not the one the validators certified: the
    /// manifest is made up, and so say all who offered it.
    MadeUp(String),
}

/// Looks for a snapshot that is nearer than the log and fetches it; `None` if no peer holds one.
///
/// # Errors
/// When the disk fails.
pub async fn fetch(
    clock: &impl Clock,
    task: &Fetch,
    sender: &mut impl Sender<PublicKey = PeerKey>,
    heard: &mut mpsc::Receiver<Heard>,
) -> io::Result<Option<Fetched>> {
    task.files.remove(WANTED)?;
    let mut liars = BTreeSet::new();
    let offers = collect_offers(clock, task, sender, heard, &mut liars).await;
    for (manifest, peers) in ranked(offers) {
        let height = manifest.frontier().height;
        tracing::info!(%height, peers = peers.len(), bytes = manifest.state_len, "fetching the state");
        let attempt = download(clock, task, &manifest, &peers, sender, heard, &mut liars).await?;
        match attempt {
            Attempt::Whole(served) => {
                return Ok(Some(Fetched {
                    height,
                    served,
                    liars,
                }));
            }
            Attempt::Stranded => tracing::warn!(%height, "no peer is left that serves this state"),
            Attempt::MadeUp(why) => {
                for peer in &peers {
                    tracing::warn!(%peer, %height, why, "dropped a peer: its snapshot is made up");
                }
                liars.extend(peers);
            }
        }
    }
    Ok(None)
}

/// Asks all peers until each has answered or the time is over.
async fn collect_offers(
    clock: &impl Clock,
    task: &Fetch,
    sender: &mut impl Sender<PublicKey = PeerKey>,
    heard: &mut mpsc::Receiver<Heard>,
    liars: &mut BTreeSet<PeerKey>,
) -> BTreeMap<PeerKey, Option<Manifest>> {
    let mut offers = BTreeMap::new();
    let deadline = millis(clock.current()).plus_ms(task.policy.ask_ms);
    while offers.len() < task.peers && millis(clock.current()) < deadline {
        let _ = sender.send(Recipients::All, Message::WantManifest.encode(), false);
        let until = clock.current() + LOOK;
        while offers.len() < task.peers
            && let Some(answer) = next_before(clock, heard, until).await
        {
            if let (peer, Message::Manifest(bytes)) = answer {
                match judge(task, &bytes) {
                    Ok(offer) => drop(offers.insert(peer, offer)),
                    Err(why) => {
                        tracing::warn!(%peer, why, "dropped a peer: its snapshot does not verify");
                        offers.insert(peer.clone(), None);
                        liars.insert(peer);
                    }
                }
            }
        }
    }
    offers
}

async fn next_before(
    clock: &impl Clock,
    heard: &mut mpsc::Receiver<Heard>,
    until: std::time::SystemTime,
) -> Option<Heard> {
    let left = until.duration_since(clock.current()).unwrap_or_default();
    if left.is_zero() {
        return None;
    }
    tokio::select! {
        biased;
        answer = heard.recv() => match answer {
            Some(answer) => Some(answer),
            None => {
                clock.sleep(left).await;
                None
            }
        },
        () = clock.sleep(left) => None,
    }
}

/// A manifest as offered: `None` if it is no use, an error if it is wrong.
fn judge(task: &Fetch, bytes: &[u8]) -> Result<Option<Manifest>, &'static str> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let manifest = Manifest::parse(task.blueprint.chain(), bytes)?;
    if !manifest.is_certified(&task.scheme) {
        return Err("no certificate of the validators covers its root");
    }
    let floor = manifest.floor(&task.scheme);
    let nearer = task.height.get().saturating_add(task.policy.nearer_blocks);
    let is_nearer = manifest.frontier().height.get() >= nearer;
    Ok((is_nearer && floor.is_some()).then(|| manifest.without_claims()))
}

/// Offers of the same bytes together; those of several peers first, then the newest.
fn ranked(offers: BTreeMap<PeerKey, Option<Manifest>>) -> Vec<(Manifest, Vec<PeerKey>)> {
    let mut groups: Vec<(Manifest, Vec<PeerKey>)> = Vec::new();
    for (peer, manifest) in offers {
        let Some(manifest) = manifest else { continue };
        match groups
            .iter_mut()
            .find(|(known, _)| known.same_state(&manifest))
        {
            Some((_, peers)) => peers.push(peer),
            None => groups.push((manifest, vec![peer])),
        }
    }
    groups.sort_by_key(|(manifest, peers)| {
        std::cmp::Reverse((peers.len() > 1, manifest.frontier().height))
    });
    groups
}

async fn download(
    clock: &impl Clock,
    task: &Fetch,
    manifest: &Manifest,
    peers: &[PeerKey],
    sender: &mut impl Sender<PublicKey = PeerKey>,
    heard: &mut mpsc::Receiver<Heard>,
    liars: &mut BTreeSet<PeerKey>,
) -> io::Result<Attempt> {
    let height = manifest.frontier().height.get();
    let mut arrival = snapshot::Arrival::resume(&*task.files, manifest)?;
    let mut download = Download::new(manifest, arrival.chunks(), peers.iter().cloned());
    let mut told = 0;
    while !download.is_whole() && !download.is_stranded() {
        for (peer, index) in download.ask(millis(clock.current())) {
            let question = Message::WantChunk { height, index };
            let _ = sender.send(Recipients::One(peer), question.encode(), false);
        }
        if let Some((
            peer,
            Message::Chunk {
                height: of,
                index,
                bytes,
            },
        )) = next_before(clock, heard, clock.current() + LOOK).await
            && of == height
        {
            download.take(&peer, index, bytes);
        }
        while let Some(bytes) = download.write_next() {
            arrival.append(&bytes)?;
        }
        let now = millis(clock.current()).get();
        download.give_up(lifeboat_engine::types::TimeMs::new(
            now.saturating_sub(task.policy.chunk_ms),
        ));
        let (written, all) = download.progress();
        let tenth = written.saturating_mul(10) / all.max(1);
        if tenth > told {
            told = tenth;
            tracing::info!(height, written, all, "chunks of the state fetched");
        }
    }
    for (peer, blame) in download.blamed() {
        tracing::warn!(%peer, height, ?blame, "dropped a peer while fetching the state");
        if *blame == Blame::Damaged {
            liars.insert(peer.clone());
        }
    }
    if !download.is_whole() {
        return Ok(Attempt::Stranded);
    }
    let served = download
        .served()
        .map(|(peer, count)| (peer.clone(), count))
        .collect();
    let restore = |state: &mut dyn io::Read| snapshot::accept(&*task.blueprint, manifest, state);
    match arrival.finish(restore)? {
        Ok(()) => Ok(Attempt::Whole(served)),
        Err(why) => Ok(Attempt::MadeUp(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::consensus::{Suspects, namespace};
    use crate::files::Memory;
    use crate::shared::Frontier;
    use crate::sim::TallyBlueprint;
    use crate::snapshot::{Certified, Writer};
    use commonware_cryptography::bls12381::dkg::feldman_desmedt::deal;
    use commonware_cryptography::bls12381::primitives::sharing::Mode as SharingMode;
    use commonware_cryptography::bls12381::primitives::variant::MinSig;
    use commonware_cryptography::ed25519::PrivateKey;
    use commonware_cryptography::{Signer as _, ed25519};
    use commonware_utils::N3f1;
    use commonware_utils::ordered::Set;
    use lifeboat_engine::types::{ChainId, Digest, Mode, TimeMs};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const CHAIN: ChainId = ChainId([1; 32]);

    fn task() -> Fetch {
        let keys = (0..4).map(|seed| PrivateKey::from_seed(seed).public_key());
        let committee: Set<ed25519::PublicKey> = Set::from_iter_dedup(keys);
        let mut rng = StdRng::seed_from_u64(1);
        let mode = SharingMode::NonZeroCounter;
        let dealt = deal::<MinSig, _, N3f1>(&mut rng, mode, committee.clone());
        let (output, _) = dealt.expect("a committee");
        let polynomial = output.public().clone();
        let blueprint = TallyBlueprint {
            chain: CHAIN,
            poison: None,
            skew_at: None,
        };
        Fetch {
            blueprint: Arc::new(blueprint),
            files: Arc::new(Memory::default()),
            scheme: Scheme::verifier(
                &namespace(&CHAIN),
                committee,
                polynomial,
                Suspects::default(),
            ),
            peers: 3,
            height: Height::new(0),
            policy: SyncPolicy::default(),
        }
    }

    /// A manifest of `chain` at height 9 000, stated by the next header, with a forged certificate.
    fn manifest(chain: ChainId) -> Vec<u8> {
        let genesis = Block::genesis(chain, TimeMs::new(1), Digest([3; 32]));
        let at = Height::new(9_000);
        let mut header = genesis.header().clone();
        (header.height, header.executed) = (at.next(), at);
        header.parent = Digest([2; 32]);
        let files = Memory::default();
        let frontier = Frontier {
            height: at,
            time: TimeMs::new(5),
            digest: header.parent,
            root: header.state_root,
            mode: Mode::Open,
        };
        let certified = Certified {
            headers: vec![header.encode().to_vec()],
            certificate: vec![4; 60],
            floor: Vec::new(),
        };
        let writer = Writer::begin(&files, at).expect("memory does not fail");
        let manifest = writer.finish(chain, frontier, Vec::new(), Some(certified));
        let manifest = manifest.expect("memory does not fail");
        manifest.encode().expect("memory does not fail")
    }

    #[test]
    fn what_a_peer_offers_is_judged_before_a_chunk_is_asked_for() {
        let task = task();
        assert_eq!(judge(&task, b""), Ok(None), "to hold nothing is no lie");
        let foreign = judge(&task, &manifest(ChainId([7; 32])));
        assert_eq!(foreign, Err("it belongs to another venue"));
        let forged = judge(&task, &manifest(CHAIN));
        assert_eq!(
            forged,
            Err("no certificate of the validators covers its root")
        );
        let mut flipped = manifest(CHAIN);
        flipped[40] ^= 1;
        assert_eq!(judge(&task, &flipped), Err("its manifest is damaged"));
        let oversized = vec![0; snapshot::MANIFEST_BYTES_MAX + 1];
        assert_eq!(judge(&task, &oversized), Err("it is over its bound"));
    }
}
