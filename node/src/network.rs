//! Encrypted, authenticated connections to the other validators.
//!
//! **Owns** the figures of the network library. Every validator knows every other's key and address;
//! a connection from anybody else is refused.

use std::net::SocketAddr;
use std::time::Duration;

use commonware_cryptography::ChaCha20Poly1305;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey as PeerKey};
use commonware_p2p::authenticated::lookup::{self, Network};
use commonware_p2p::{Address, AddressableManager as _};
use commonware_runtime::{Network as RuntimeNetwork, Quota, Resolver};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use commonware_utils::{NZU32, NZUsize, TryCollect as _};
use lifeboat_engine::types::ChainId;

use crate::consensus::{
    CHANNEL_QUOTA, CHANNELS, Environment, Transport, message_bytes_max, namespace,
};

/// Production's transport.
pub type LiveTransport<E> = Transport<
    lookup::Sender<PeerKey, E>,
    lookup::Receiver<PeerKey>,
    lookup::Oracle<PeerKey>,
    lookup::Oracle<PeerKey>,
>;

/// Starts listening and dialling.
pub fn connect<E>(
    context: &E,
    chain: &ChainId,
    signer: PrivateKey,
    listen: SocketAddr,
    peers: Vec<(PeerKey, SocketAddr)>,
) -> LiveTransport<E>
where
    E: Environment + RuntimeNetwork + Resolver,
{
    let count = peers.len();
    let handshake = Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer,
            synchrony_bound: Duration::from_secs(5),
            max_handshake_age: Duration::from_secs(10),
            version: sake::Version::V1,
        },
        cups::Version::V1,
    );
    let namespace = [namespace(chain).as_slice(), b"_PEERS"].concat();
    let mut config = lookup::Config::local(
        handshake,
        &namespace,
        listen,
        NZUsize!(count.max(1)),
        message_bytes_max(count as u32),
        NZUsize!(1_024),
    );
    // A validator that comes back is to be reached again within a fraction of a second.
    config.peer_connection_cooldown = Duration::from_millis(100);
    config.dial_frequency = Duration::from_millis(50);
    config.dial_timeout = Duration::from_secs(2);
    config.handshake_timeout = Duration::from_secs(2);
    config.ping_frequency = Duration::from_secs(1);
    config.allowed_handshake_rate_per_ip = Quota::per_second(NZU32!(128));
    config.allowed_handshake_rate_per_subnet = Quota::per_second(NZU32!(256));
    config.tracked_peer_sets = NZUsize!(1);
    let (mut network, mut oracle) = Network::new(context.child("network"), config);
    let peers: Map<PeerKey, Address> = peers
        .into_iter()
        .map(|(key, address)| (key, Address::from(address)))
        .try_collect()
        .expect("a committee's keys differ");
    oracle.track(0, peers);
    let mut register = |place: usize| network.register(CHANNELS[place], CHANNEL_QUOTA);
    let transport = Transport {
        votes: register(0),
        certificates: register(1),
        requests: register(2),
        backfill: register(3),
        blocks: register(4),
        gossip: register(5),
        snapshots: register(6),
        blocker: oracle.clone(),
        peers: oracle,
    };
    network.start();
    transport
}
