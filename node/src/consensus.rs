//! Wires the consensus library: simplex with BLS12-381 threshold certificates, marshal, block
//! broadcast and backfill.
//!
//! **Owns** concrete types and figures for the library; nothing outside this crate names it.
//! **Never** decides anything about blocks: `application` judges, `executor` executes.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_broadcast::buffered;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::marshal::core::{Actor as MarshalActor, Mailbox};
use commonware_consensus::marshal::resolver::p2p as backfill;
use commonware_consensus::marshal::standard::{Deferred, Standard};
use commonware_consensus::marshal::{self, Update};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::types::{Activity, Finalization, Subject};
use commonware_consensus::simplex::{self, SkipBudget};
use commonware_consensus::types::{Epoch, ViewDelta};
use commonware_consensus::{Reporter, Viewable as _};
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::Sharing;
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::certificate::ConstantProvider;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey as PeerKey};
use commonware_cryptography::keccak256::Digest as BlockDigest;
use commonware_cryptography::{Digested, Digestible as _, Sha256};
use commonware_p2p::{Blocker, Provider, Receiver, Sender, max_message_size};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Quota, Spawner, Storage};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::ordered::Set;
use commonware_utils::{NZDuration, NZU16, NZU32, NZU64, NZUsize};
use lifeboat_engine::types::ChainId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::CryptoRng;
use tokio::sync::watch;

use crate::application::Proposer;
use crate::block::{Block, Header};
use crate::epochs::Epochs;
use crate::shared::Shared;
use crate::sync;
use crate::votes;

/// The runtime a node needs: production's or the simulator's.
pub trait Environment: Clock + CryptoRng + Spawner + Storage + Metrics {}
impl<E: Clock + CryptoRng + Spawner + Storage + Metrics> Environment for E {}

pub use crate::votes::{Scheme, Suspects};

/// A certificate that a block is final.
pub type Certificate = Finalization<Scheme, BlockDigest>;
/// The certificate in `encoded`, if it is one of this very block, in its epoch, and verifies.
pub fn certificate_of(block: &Block, encoded: &Bytes, scheme: &Scheme) -> Option<Certificate> {
    header_certificate(block.header(), encoded.clone(), scheme)
}

/// The certificate in `encoded`, if it is one of the block with this header, in its epoch, and
/// verifies.
pub fn header_certificate(header: &Header, encoded: Bytes, scheme: &Scheme) -> Option<Certificate> {
    let certificate = Certificate::decode(encoded).ok()?;
    let digest = BlockDigest(header.digest().0);
    let names_block = certificate.proposal.payload == digest
        && certificate.proposal.round.epoch().get() == header.epoch;
    let mut rng = StdRng::from_seed(digest.0);
    (names_block && certificate.verify(&mut rng, scheme, &Sequential)).then_some(certificate)
}

/// The same certificate for everybody outside, who knows the validators' key and nothing else of them: encoded as ever, its end
/// is the committee's signature. `None` if it does not verify, or a bad share is in it: then the next block's will do.
pub fn outward(header: &Header, encoded: Bytes, scheme: &Scheme) -> Option<Vec<u8>> {
    let mut certificate = header_certificate(header, encoded, scheme)?;
    let mut rng = StdRng::from_seed(header.digest().0);
    let subject = Subject::Finalize {
        proposal: &certificate.proposal,
    };
    let recovered = scheme.recover(&mut rng, subject, &certificate.certificate)?;
    certificate.certificate = votes::Certificate::Recovered(recovered);
    Some(certificate.encode().to_vec())
}

/// The library's block store and synchroniser.
pub type Marshal = Mailbox<Scheme, Standard<Block>>;

/// Bytes of gossiped commands in one message.
pub const GOSSIP_BYTES_MAX: usize = 512 << 10;

/// Votes, certificates, certificate requests, block requests, blocks, gossip, snapshots: channel
/// numbers.
pub const CHANNELS: [u64; 7] = [0, 1, 2, 3, 4, 5, 6];

/// Messages a second on each channel from each peer.
pub const CHANNEL_QUOTA: Quota = Quota::per_second(NZU32!(512));

const PAGE_SIZE: NonZeroU16 = NZU16!(4_084);
const PAGES: NonZeroUsize = NZUsize!(512);
const BUFFER: NonZeroUsize = NZUsize!(64 << 10);
const MAILBOX: NonZeroUsize = NZUsize!(1_024);
const BLOCKS_PER_SECTION: NonZeroU64 = NZU64!(4_096);
const VIEW_RETENTION: ViewDelta = ViewDelta::new(64);

/// The largest message any node sends; all nodes must agree on it.
pub fn message_bytes_max(validators: u32) -> u32 {
    max_message_size(&[
        simplex::max_payload_size::<Scheme, BlockDigest>(validators),
        marshal::max_payload_size::<Standard<Block>, Scheme>(validators, &()),
        GOSSIP_BYTES_MAX + 64,
        sync::MESSAGE_BYTES_MAX,
    ])
}

/// What separates this venue's votes from every other's.
pub fn namespace(chain: &ChainId) -> Vec<u8> {
    [b"LIFEBOAT_1_".as_slice(), &chain.0].concat()
}

/// Timeouts of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Until a leader must have proposed; includes pacing.
    pub leader_ms: u64,
    /// Until a view must be certified. Over `leader_ms`.
    pub certification_ms: u64,
    /// Between attempts to leave a stuck view.
    pub retry_ms: u64,
    /// After which a silent leader's turns are skipped. Over both.
    pub skip_ms: u64,
    /// Until a request to a peer is given up.
    pub fetch_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            leader_ms: 200,
            certification_ms: 350,
            retry_ms: 150,
            skip_ms: 450,
            fetch_ms: 500,
        }
    }
}

/// Who this validator is among the others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its network key.
    pub peer: PeerKey,
    /// The secret part of it, which signs its votes.
    pub key: PrivateKey,
    /// Every validator's network key.
    pub committee: Set<PeerKey>,
    /// The committee's public polynomial.
    pub polynomial: Sharing<MinSig>,
    /// This validator's share of the signing key.
    pub share: Share,
    /// Whose shares are looked at before their votes count.
    pub suspects: Suspects,
}

impl Identity {
    /// The scheme that verifies only.
    pub fn verifier(&self, chain: &ChainId) -> Scheme {
        Scheme::verifier(
            &namespace(chain),
            self.committee.clone(),
            self.polynomial.clone(),
            self.suspects.clone(),
        )
    }

    /// The scheme that signs; `None` if the key or the share is not this committee's.
    pub fn signer(&self, chain: &ChainId) -> Option<Scheme> {
        Scheme::signer(
            &namespace(chain),
            self.committee.clone(),
            self.polynomial.clone(),
            (self.key.clone(), self.share.clone()),
            self.suspects.clone(),
        )
    }
}

/// One channel's two ends.
pub type Channel<S, R> = (S, R);

/// A node's connection to its peers.
#[derive(Debug)]
pub struct Transport<S, R, B, P> {
    /// Simplex's votes.
    pub votes: Channel<S, R>,
    /// Simplex's certificates.
    pub certificates: Channel<S, R>,
    /// Simplex's requests for certificates.
    pub requests: Channel<S, R>,
    /// Marshal's requests for blocks.
    pub backfill: Channel<S, R>,
    /// Proposed blocks.
    pub blocks: Channel<S, R>,
    /// Commands and tips.
    pub gossip: Channel<S, R>,
    /// Snapshots.
    pub snapshots: Channel<S, R>,
    /// Cuts off a peer that misbehaves.
    pub blocker: B,
    /// Knows the peers.
    pub peers: P,
}

/// What marshal is started with.
#[derive(Debug)]
pub struct MarshalSetup<S, R, B, P> {
    /// Who this is.
    pub identity: Identity,
    /// The first block.
    pub genesis: Block,
    /// Where to start instead of the first block, after a snapshot was fetched.
    pub floor: Option<Certificate>,
    /// Requests for blocks.
    pub backfill: Channel<S, R>,
    /// Proposed blocks.
    pub blocks: Channel<S, R>,
    /// Cuts off a peer that misbehaves.
    pub blocker: B,
    /// Knows the peers.
    pub peers: P,
    /// Until a request is given up.
    pub fetch: Duration,
    /// Which heights belong to which run of consensus.
    pub epochs: Epochs,
    /// Precedes the names of all stored partitions.
    pub prefix: String,
}

fn archive<C>(
    prefix: &str,
    name: &str,
    cache: CacheRef,
    codec_config: C,
) -> prunable::Config<EightCap, C> {
    let name = format!("{prefix}{name}");
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-metadata"),
        key_partition: format!("{name}-key"),
        key_page_cache: cache,
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config,
        items_per_section: BLOCKS_PER_SECTION,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        replay_buffer: BUFFER,
    }
}

/// Starts block storage, broadcast and backfill. Finalized blocks go to `reporter` in height order,
/// each at least once.
pub async fn start_marshal<E, S, R, B, P>(
    context: &E,
    chain: ChainId,
    setup: MarshalSetup<S, R, B, P>,
    reporter: impl Reporter<Activity = Update<Block>>,
) -> Marshal
where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
    B: Blocker<PublicKey = PeerKey>,
    P: Provider<PublicKey = PeerKey>,
{
    let cache = page_cache();
    let peer = setup.identity.peer.clone();
    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key: peer.clone(),
            peer_provider: setup.peers.clone(),
            blocker: setup.blocker,
            mailbox_size: MAILBOX,
            fetch_timeout: nonzero(setup.fetch),
            fetch_retry_delay: setup.fetch / 5,
            priority_requests: false,
            priority_responses: false,
        },
        setup.backfill,
    );
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: peer,
            mailbox_size: MAILBOX,
            deque_size: 16,
            priority: false,
            codec_config: (),
            peer_provider: setup.peers,
            strategy: Sequential,
        },
    );
    broadcast.start(setup.blocks);
    let config = marshal::Config {
        provider: ConstantProvider::new(setup.identity.verifier(&chain)),
        epocher: setup.epochs,
        start: match setup.floor {
            Some(floor) => marshal::Start::Floor(floor),
            None => marshal::Start::Genesis(digested(setup.genesis)),
        },
        partition_prefix: format!("{}marshal", setup.prefix),
        mailbox_size: MAILBOX,
        view_retention: VIEW_RETENTION,
        prunable_items_per_section: BLOCKS_PER_SECTION,
        page_cache: cache.clone(),
        replay_buffer: BUFFER,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        block_codec_config: (),
        max_repair: NZUsize!(32),
        max_pending_acks: NZUsize!(16),
        strategy: Sequential,
    };
    let (finalizations, blocks) = open_archives(context, &setup.prefix, cache).await;
    let (actor, mailbox, _) =
        MarshalActor::init(context.child("marshal"), finalizations, blocks, config).await;
    actor.start(reporter, buffer, resolver);
    mailbox
}

/// Certificates by height.
pub type CertificateArchive<E> = prunable::Archive<EightCap, E, BlockDigest, Certificate>;
/// Finalized blocks by height.
pub type BlockArchive<E> = prunable::Archive<EightCap, E, BlockDigest, Arc<Block>>;

/// Opens the library's stores of what is final.
///
/// # Panics
/// When one cannot be opened.
pub async fn open_archives<E: Environment>(
    context: &E,
    prefix: &str,
    cache: CacheRef,
) -> (CertificateArchive<E>, BlockArchive<E>) {
    let finalizations = prunable::Archive::init(
        context.child("finalizations"),
        archive(prefix, "finalizations", cache.clone(), ()),
    )
    .await
    .expect("the finalization archive must open: a damaged one is repaired by wiping the folder");
    let blocks = prunable::Archive::init(
        context.child("blocks"),
        archive(prefix, "blocks", cache, ()),
    )
    .await
    .expect("the block archive must open: a damaged one is repaired by wiping the folder");
    (finalizations, blocks)
}

/// The cache of pages that a node's stores share.
pub fn page_cache() -> CacheRef {
    CacheRef::new(PAGE_SIZE, PAGES)
}

fn nonzero(duration: Duration) -> commonware_utils::NonZeroDuration {
    commonware_utils::NonZeroDuration::new(duration).unwrap_or(NZDuration!(Duration::from_secs(1)))
}

/// Pairs a block with its digest.
pub fn digested(block: Block) -> Digested<Block> {
    let digest = block.digest();
    Digested::precomputed(block, digest)
}

/// How a node takes part.
#[derive(Clone, Debug)]
pub enum Role {
    /// It votes, from a certificate on or from the beginning.
    Vote(Option<Box<Certificate>>),
    /// It follows and never signs.
    Follow,
}

/// What simplex is started with.
#[derive(Debug)]
pub struct SimplexSetup<S, R, B> {
    /// Who this is.
    pub identity: Identity,
    /// How it takes part.
    pub role: Role,
    /// The first block.
    pub genesis: BlockDigest,
    /// Votes.
    pub votes: Channel<S, R>,
    /// Certificates.
    pub certificates: Channel<S, R>,
    /// Requests for certificates.
    pub requests: Channel<S, R>,
    /// Cuts off a peer that misbehaves.
    pub blocker: B,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// The runs of consensus; votes are cast in the last.
    pub epochs: Epochs,
    /// Precedes the names of all stored partitions.
    pub prefix: String,
}

/// Starts voting, or following. `finalized` gets every certificate seen.
///
/// # Panics
/// When the share is not this committee's; `config` checks that first.
pub fn start_simplex<E, S, R, B>(
    context: &E,
    shared: Arc<Shared>,
    setup: SimplexSetup<S, R, B>,
    marshal: Marshal,
    finalized: watch::Sender<Option<Certificate>>,
) -> Handle<()>
where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
    B: Blocker<PublicKey = PeerKey>,
{
    let chain = shared.chain;
    let deferred = Deferred::new(
        context.child("deferred"),
        Proposer::new(shared.clone()),
        marshal,
        setup.epochs.clone(),
    );
    let epoch = Epoch::new(setup.epochs.current());
    let anchor = setup.epochs.anchor();
    let genesis = anchor.map_or(setup.genesis, |anchor| BlockDigest(anchor.digest.0));
    let (scheme, floor, partition) = match setup.role {
        Role::Vote(from) => (
            setup
                .identity
                .signer(&chain)
                .expect("the share fits the committee"),
            from.map_or(Floor::Genesis(genesis), |from| Floor::Finalized(*from)),
            "votes-2",
        ),
        Role::Follow => (
            setup.identity.verifier(&chain),
            Floor::Genesis(genesis),
            "followed-2",
        ),
    };
    let ms = Duration::from_millis;
    let timeouts = setup.timeouts;
    let config = simplex::Config {
        scheme,
        elector: RoundRobin::<Sha256>::default(),
        blocker: setup.blocker,
        automaton: deferred.clone(),
        relay: deferred.clone(),
        reporter: Tap {
            inner: deferred,
            shared,
            finalized,
        },
        strategy: Sequential,
        partition: format!("{}{partition}", setup.prefix),
        mailbox_size: MAILBOX,
        epoch,
        floor,
        replay_buffer: BUFFER,
        write_buffer: BUFFER,
        page_cache: page_cache(),
        leader_timeout: ms(timeouts.leader_ms),
        certification_timeout: ms(timeouts.certification_ms),
        timeout_retry: ms(timeouts.retry_ms),
        view_retention: VIEW_RETENTION,
        skip: SkipPolicy::Enabled {
            timeout: ms(timeouts.skip_ms),
            budget: SkipBudget::Participants,
        },
        fetch_timeout: nonzero(ms(timeouts.fetch_ms)),
        fetch_retry_delay: ms(timeouts.fetch_ms / 5),
        forward: ForwardPolicy::Disabled,
        track_historical_votes: false,
    };
    simplex::Engine::new(context.child("simplex"), config).start(
        setup.votes,
        setup.certificates,
        setup.requests,
    )
}

/// Passes consensus activity on and notes certificates on the way.
#[derive(Clone)]
struct Tap<R> {
    inner: R,
    shared: Arc<Shared>,
    finalized: watch::Sender<Option<Certificate>>,
}

impl<R: Reporter<Activity = Activity<Scheme, BlockDigest>>> Reporter for Tap<R> {
    type Activity = Activity<Scheme, BlockDigest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        if let Activity::Finalization(certificate) = &activity {
            let view = certificate.view().get();
            let before = self
                .shared
                .finalized_view
                .fetch_max(view, Ordering::Relaxed);
            let digest = certificate.proposal.payload;
            let finality = &self.shared.finality;
            finality.certified(digest, certificate.encode());
            if view > before {
                self.finalized.send_replace(Some(certificate.clone()));
            }
        }
        self.inner.report(activity)
    }
}
