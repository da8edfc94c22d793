//! Four validators on real sockets, threads and disks, with the real engine.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::command::{Action, CancelScope, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, MarginModel, Nonce, PublicKey, TimeMs,
};
use lifeboat_engine::{Command, Genesis, GenesisAccount, Parameters, Reject};
use lifeboat_node::config::{InitPlan, NodeConfig, init};
use lifeboat_node::ingress::{BlockingClient, Client, Reply, Request};
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::Verdict;
use lifeboat_node::service::Service;
use lifeboat_node::shared::{Stop, millis};
use lifeboat_node::verify::verify_folder;

const CHAIN: ChainId = ChainId([3; 32]);
const PATIENCE: Duration = Duration::from_secs(20);

fn session() -> SigningKey {
    SigningKey::from([42; 32])
}

fn session_key() -> PublicKey {
    PublicKey(VerificationKeyBytes::from(&session()).into())
}

/// The first account after the insurance fund.
fn command(nonce: u64, chain: &ChainId) -> Command {
    let payload = UserPayload {
        account: AccountId::new(1),
        nonce: Nonce::new(nonce),
        valid_until: TimeMs::new(0),
        action: Action::CancelAll(CancelScope::Quotes),
    };
    let signature = session().sign(&payload.session_message(chain)).to_bytes();
    let key = session_key();
    Command::User(UserCommand {
        payload,
        signature: UserSignature::Session { key, signature },
    })
}

fn genesis() -> Genesis {
    Genesis {
        chain: CHAIN,
        time: millis(SystemTime::now()),
        validators: Vec::new(),
        parameters: Parameters::default(),
        accounts: vec![GenesisAccount {
            owner: Address([1; 20]),
            cash: Cash::new(1_000_000_000_000),
            model: MarginModel::Portfolio,
            sessions: vec![(session_key(), TimeMs::new(u64::MAX))],
        }],
    }
}

/// Ports that no other test of this run takes, under the range of outgoing connections.
fn plan(slot: u16) -> InitPlan {
    let base = 12_000 + (std::process::id() as u16 % 900) * 20 + slot * 10;
    InitPlan {
        validators: 4,
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer_port: base,
        ingress_port: base + 5,
        seed: [slot as u8 + 1; 32],
        publish: None,
        settlement: None,
        tuning: Tuning::default(),
    }
}

fn ingress(plan: &InitPlan, node: usize) -> SocketAddr {
    SocketAddr::new(plan.host, plan.ingress_port + node as u16)
}

fn spawn(folder: &Path) -> Service {
    let config = NodeConfig::load(&folder.join("node.toml")).expect("init wrote it");
    Service::spawn(config).expect("the node starts")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn is_ready(service: &Service) -> bool {
    service.handle().status(millis(SystemTime::now())).ready
}

/// Submits commands one by one at a steady pace and returns the latencies in milliseconds, sorted.
fn load(address: SocketAddr, nonces: Range<u64>, every: Duration) -> Vec<u64> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let mut client = Client::connect(address).await.expect("the node listens");
        let requests = client.sender();
        let started = Instant::now();
        let first = nonces.start;
        let count = (nonces.end - first) as usize;
        let due = move |nonce: u64| started + every * (nonce - first) as u32;
        tokio::spawn(async move {
            for id in nonces {
                tokio::time::sleep_until(due(id).into()).await;
                let command = command(id, &CHAIN);
                requests
                    .send(Request::Submit { id, command })
                    .await
                    .expect("it is connected");
            }
        });
        let mut answered = BTreeSet::new();
        let mut latencies = Vec::new();
        while answered.len() < count {
            match client.next().await.expect("an answer comes") {
                Reply::Outcome { id, outcome } => {
                    assert_eq!(outcome.verdict, Verdict::Applied, "command {id}");
                    assert!(answered.insert(id), "command {id} was answered twice");
                    latencies.push(due(id).elapsed().as_millis() as u64);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        latencies.sort_unstable();
        latencies
    })
}

fn at(latencies: &[u64], part: f64) -> u64 {
    latencies[((latencies.len() - 1) as f64 * part) as usize]
}

fn start_all(slot: u16) -> (tempfile::TempDir, InitPlan, Vec<PathBuf>, Vec<Service>) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let plan = plan(slot);
    let folders = init(root.path(), &plan, genesis()).expect("init writes");
    let services: Vec<Service> = folders.iter().map(|folder| spawn(folder)).collect();
    wait_until("four nodes are ready", || services.iter().all(is_ready));
    (root, plan, folders, services)
}

fn stop_all(services: Vec<Service>) {
    services.iter().for_each(Service::shutdown);
    for service in services {
        assert_eq!(service.join(), Stop::Requested);
    }
}

#[test]
fn a_venue_answers_survives_a_stop_and_replays() {
    let (_root, plan, folders, mut services) = start_all(0);
    let latencies = load(ingress(&plan, 0), 1..301, Duration::from_millis(5));
    println!(
        "calm: median {} ms, p99 {} ms",
        at(&latencies, 0.5),
        at(&latencies, 0.99)
    );

    let gone = services.remove(2);
    gone.shutdown();
    assert_eq!(gone.join(), Stop::Requested);
    let latencies = load(ingress(&plan, 1), 301..401, Duration::from_millis(5));
    println!(
        "one of four gone: median {} ms, worst {} ms",
        at(&latencies, 0.5),
        at(&latencies, 1.0)
    );

    services.insert(2, spawn(&folders[2]));
    wait_until("the stopped node is ready again", || is_ready(&services[2]));
    load(ingress(&plan, 2), 401..421, Duration::from_millis(5));
    stop_all(services);
    for folder in &folders {
        let verified = verify_folder(folder, |_, _| {}).expect("the log replays");
        assert!(
            verified.commands >= 400 && verified.roots_compared > 0,
            "{verified:?}"
        );
        assert!(
            verified.certified.is_some() && verified.torn.is_none(),
            "{verified:?}"
        );
    }
}

#[test]
fn a_damaged_block_store_is_set_aside_and_fetched_again() {
    let (_root, plan, folders, mut services) = start_all(2);
    load(ingress(&plan, 0), 1..101, Duration::from_millis(5));
    let gone = services.remove(2);
    gone.shutdown();
    assert_eq!(gone.join(), Stop::Requested);
    // One bit in the middle of every block's file.
    let data = folders[2].join("data");
    let values = fs::read_dir(data.join("consensus/blocks-value")).expect("it has blocks");
    for file in values {
        let path = file.expect("it lists").path();
        let mut bytes = fs::read(&path).expect("it reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("it writes");
    }
    services.insert(2, spawn(&folders[2]));
    wait_until("the damaged node is ready again", || is_ready(&services[2]));
    load(ingress(&plan, 2), 101..121, Duration::from_millis(5));
    stop_all(services);
    assert!(
        data.join("consensus-damaged-1").exists(),
        "the damage was not found"
    );
    let verified = verify_folder(&folders[2], |_, _| {}).expect("its log replays");
    assert!(verified.commands >= 120, "{verified:?}");
}

#[test]
fn bad_input_is_answered_and_others_go_on() {
    let (_root, plan, _folders, services) = start_all(1);
    let address = ingress(&plan, 3);
    let mut client = BlockingClient::connect(address, PATIENCE).expect("the node listens");
    // Signed for another venue.
    let foreign = command(1, &ChainId([4; 32]));
    client.queue(&Request::Submit {
        id: 1,
        command: foreign,
    });
    client.flush().expect("the connection holds");
    let reject = Reject::BadSignature;
    assert_eq!(
        client.receive().expect("an answer"),
        Reply::Refused { id: 1, reject }
    );
    // Twice the same: one execution, the same outcome for both.
    for id in [2, 3] {
        client.queue(&Request::Submit {
            id,
            command: command(2, &CHAIN),
        });
    }
    client.flush().expect("the connection holds");
    let (first, second) = (client.receive(), client.receive());
    let place = |reply: std::io::Result<Reply>| match reply.expect("an answer") {
        Reply::Outcome { outcome, .. } => (outcome.height, outcome.index),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(place(first), place(second));
    // The same nonce for something else is refused by the engine.
    let mut other = command(2, &CHAIN);
    if let Command::User(user) = &mut other {
        user.payload.valid_until = TimeMs::new(u64::MAX);
        let message = user.payload.session_message(&CHAIN);
        let signature = session().sign(&message).to_bytes();
        user.signature = UserSignature::Session {
            key: session_key(),
            signature,
        };
    }
    client.queue(&Request::Submit {
        id: 4,
        command: other,
    });
    client.flush().expect("the connection holds");
    match client.receive().expect("an answer") {
        Reply::Outcome { id: 4, outcome } => {
            assert_eq!(outcome.verdict, Verdict::Rejected(Reject::StaleNonce));
        }
        other => panic!("unexpected {other:?}"),
    }
    // Bytes that are no request end the connection, not the node.
    use std::io::{Read as _, Write as _};
    let mut raw = std::net::TcpStream::connect(address).expect("the node listens");
    raw.write_all(&[9, 0, 0, 0, 200, 1, 2, 3, 4, 5, 6, 7, 8])
        .expect("written");
    let mut rest = Vec::new();
    raw.read_to_end(&mut rest).expect("the node closes");
    assert_eq!(rest, [1, 0, 0, 0, 7]); // `Malformed`
    let mut raw = std::net::TcpStream::connect(address).expect("the node listens");
    raw.write_all(&u32::MAX.to_le_bytes()).expect("written");
    drop(raw);
    client.queue(&Request::Status);
    client.flush().expect("the connection holds");
    assert!(matches!(client.receive(), Ok(Reply::Status(status)) if status.ready));
    stop_all(services);
}
