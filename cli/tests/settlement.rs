//! A venue and its vault, from the command line: money in, a trade, money out, the venue's end, and
//! everything else out with nobody's help. On the embedded chain, and against a real node on loopback,
//! where the vault is robbed as well.
//!
//! Where the node is not installed its test says so and ends; with `LIFEBOAT_TOOLS=required`, as
//! `cargo xtask test` sets it, that is a failure.

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lifeboat_chain::drills::{Anvil, FUNDED_KEY};
use lifeboat_chain::{Address, ChainKey};
use lifeboat_engine::command::{
    Action, OrderPrice, PlaceOrder, UserCommand, UserPayload, UserSignature,
};
use lifeboat_engine::types::{
    AccountId, ChainId, InstrumentId, Nonce, PostOnly, Qty, RecoveryPolicy, SelfTradePrevention,
    Side, TimeInForce,
};
use lifeboat_engine::{Command as Order, Event};
use lifeboat_node::ingress::{Client, Reply};
use lifeboat_node::keys::from_hex;
use serde_json::{Value, json};
use support::{PATIENCE, Venue, alone, binary};

/// Seconds.
const DAY: u64 = 86_400;

/// Runs commands beside a venue, with one key.
struct Owner {
    data: PathBuf,
    key: PathBuf,
}

impl Owner {
    fn of(venue: &Venue) -> Self {
        let data = venue.data();
        let key = data.with_file_name("key");
        Self { data, key }
    }

    fn run(&self, command: &str, options: &[&str]) -> Output {
        let mut run = Command::new(binary());
        run.env_remove("LIFEBOAT_KEY").arg(command).args(options);
        run.arg("--json").arg("--data").arg(&self.data);
        if command != "anchor" {
            run.arg("--key-file").arg(&self.key);
        }
        run.output().unwrap()
    }

    /// The last line, which is JSON.
    #[track_caller]
    fn object(&self, command: &str, options: &[&str]) -> Value {
        let output = self.run(command, options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}{said}"))
    }

    fn path(&self, name: &str) -> String {
        self.data.with_file_name(name).to_str().unwrap().to_owned()
    }

    fn address(&self) -> Address {
        let text = std::fs::read_to_string(&self.key).unwrap();
        ChainKey::parse(&text).unwrap().address()
    }
}

/// Buys an option at the market, signed by the owner; what was bought.
fn buy(venue: &Venue, owner: &Owner, account: u32) -> u32 {
    let text = std::fs::read_to_string(&owner.key).unwrap();
    let key = ChainKey::parse(&text).unwrap();
    let chain = venue.status()["chain"].as_str().unwrap().to_owned();
    let chain = ChainId(from_hex(&chain[2..]).unwrap().try_into().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = Client::connect(venue.clients[0]).await.unwrap();
        let first = client.status().await.unwrap().time.get() * 1_000;
        for instrument in 0..400_u32 {
            let payload = UserPayload {
                account: AccountId::new(account),
                nonce: Nonce::new(first + u64::from(instrument)),
                valid_until: lifeboat_engine::types::TimeMs::new(0),
                action: Action::PlaceOrder(PlaceOrder {
                    instrument: InstrumentId::new(instrument),
                    side: Side::Buy,
                    qty: Qty::new(1_000_000),
                    price: OrderPrice::Market,
                    time_in_force: TimeInForce::ImmediateOrCancel,
                    post_only: PostOnly::Off,
                    reduce_only: false,
                    self_trade: SelfTradePrevention::CancelMaker,
                    recovery: RecoveryPolicy::Keep,
                    protected: false,
                    client_id: Default::default(),
                    label: Vec::new(),
                }),
            };
            let digest = payload.owner_digest(&chain).0.into();
            let signature = key.sign(&digest).unwrap().as_bytes();
            let signature = UserSignature::Owner { signature };
            let command = Order::User(UserCommand { payload, signature });
            let reply = client.submit(u64::from(instrument), command).await.unwrap();
            if let Reply::Outcome { outcome, .. } = reply
                && outcome
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Traded(_)))
            {
                return instrument;
            }
        }
        panic!("nothing could be bought");
    })
}

/// The owner lets a new API key trade: it sees the account, rests an order, and cannot after it was revoked.
fn trade_by_api_key(venue: &Venue, owner: &Owner, account: u32) {
    let made = owner.object("session", &["--days", "1"]);
    assert_eq!(made["account"], account, "{made}");
    let grant = json!({"grant_type": "client_credentials", "client_id": made["client_id"],
        "client_secret": made["client_secret"]});
    let deadline = Instant::now() + PATIENCE;
    let token = loop {
        let (_, answer) = venue.post("public/auth", grant.clone(), None);
        if let Some(token) = answer["result"]["access_token"].as_str() {
            break token.to_owned();
        }
        assert!(
            Instant::now() < deadline,
            "the gateway never heard of the key: {answer}"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    let ask = |method: &str, params: Value| venue.post(method, params, Some(&token)).1;
    let held = ask(
        "private/get_positions",
        json!({"currency": "any", "kind": "option"}),
    );
    assert_eq!(held["result"].as_array().map(Vec::len), Some(1), "{held}");
    let (name, price) = venue.quoted();
    let order = json!({"instrument_name": name, "amount": 0.01, "type": "limit", "post_only": true,
        "price": (price * 0.9).floor()});
    let rests = ask("private/buy", order.clone());
    assert_eq!(rests["result"]["order"]["order_state"], "open", "{rests}");
    assert_eq!(ask("private/cancel_all", json!({}))["result"], 1);
    let session = made["session"].as_str().unwrap();
    owner.object("session", &["--revoke", session]);
    let refused = ask("private/buy", order);
    assert!(refused["error"]["code"].is_i64(), "{refused}");
}

/// Calls a chain's node.
fn rpc(url: &str, method: &str, params: Value) -> Value {
    let address: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let body = call.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let (_, body) = support::http(address, request.as_bytes());
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

fn days_pass(url: &str, days: u64) {
    rpc(url, "evm_increaseTime", json!([days * DAY]));
    rpc(url, "evm_mine", json!([]));
}

/// Money in, a trade, money out. What is left is an account with an open option.
fn live_with(venue: &Venue, owner: &Owner) -> u32 {
    let paid = owner.object("deposit", &["--amount", "2000", "--new-key"]);
    let account = u32::try_from(paid["account"].as_u64().unwrap()).unwrap();
    buy(venue, owner, account);
    trade_by_api_key(venue, owner, account);
    let proof = owner.path("withdrawal.json");
    let out = owner.object("withdraw", &["--amount", "250.5", "--proof", &proof]);
    assert_eq!(out["number"], 0, "{out}");
    let too_much = owner.run(
        "withdraw",
        &["--amount", "5000", "--proof", &owner.path("x")],
    );
    let said = String::from_utf8_lossy(&too_much.stderr).into_owned();
    assert!(
        !too_much.status.success() && said.contains("code 802"),
        "{said}"
    );
    let anchor = owner.object("anchor", &[]);
    assert_eq!(anchor["covered"], true, "{anchor}");
    assert_eq!(anchor["withdrawals"], 0, "{anchor}");
    account
}

/// Until a checkpoint that may be posted, and so is published, has every account's present state.
fn settled(venue: &Venue) {
    let height = venue.status()["height"].as_u64().unwrap();
    venue.until("a checkpoint of now", |status| {
        status["settlement"]["newest"].as_u64().unwrap() > height + 130
    });
}

/// The venue's chain without the venue.
struct AloneChain {
    child: Child,
    url: String,
}

impl AloneChain {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(binary());
        command.args(["chain", "--json", "--listen", "127.0.0.1:0", "--data"]);
        let mut child = command.arg(data).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["chain"].as_str().unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for AloneChain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nobody answers any more: the account asks by published blocks and the chain alone, and a day later
/// freezes the vault and leaves; what came of that.
fn leave(owner: &Owner, url: &str) -> Value {
    let place = format!("folder:{}", owner.data.join("published").display());
    let genesis = owner.data.join("node-0");
    let saved = owner.path("proof.json");
    let genesis = genesis.to_str().unwrap();
    let from = ["--from", &place, "--genesis", genesis, "--save", &saved];
    let waiting = owner.object("exit", &from);
    assert_eq!(waiting["left"], false, "{waiting}");
    days_pass(url, 1);
    go_on(owner)
}

/// The same with the proof that was saved.
fn go_on(owner: &Owner) -> Value {
    owner.object("exit", &["--proof", &owner.path("proof.json")])
}

#[test]
fn money_goes_in_and_out_and_the_rest_leaves_alone() {
    let _alone = alone();
    let mut venue = Venue::start();
    let owner = Owner::of(&venue);
    live_with(&venue, &owner);
    let occupied = Command::new(binary())
        .args(["chain", "--data", venue.data().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        !occupied.status.success(),
        "two processes would share one chain"
    );
    settled(&venue);
    venue.kill();
    let chain = AloneChain::start(&venue.data());
    let left = leave(&owner, &chain.url);
    assert_eq!(left["left"], true, "{left}");
    let paid = left["paid"].as_u64().unwrap();
    // Of 1 749.5 USDC a part went for the option, which is paid at the chain's price.
    assert!((1_000_000_000..2_500_000_000).contains(&paid), "{left}");
}

#[test]
fn a_robbed_vault_holds_withdrawals_up_and_accounts_still_leave() {
    let Some(node) = Anvil::start(&[]).unwrap() else {
        let message = "anvil is not installed; `cargo xtask setup` installs it";
        let required = std::env::var_os("LIFEBOAT_TOOLS").is_some_and(|how| how == "required");
        assert!(!required, "{message}");
        println!("skipped: {message}");
        return;
    };
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let steward = folder.path().join("steward");
    std::fs::write(&steward, FUNDED_KEY).unwrap();
    let steward = steward.to_str().unwrap();
    let mut venue = Venue::start_with(&[
        "--settlement",
        &node.url,
        "--settlement-key",
        steward,
        "--settlement-depth",
        "0",
    ]);
    let owner = Owner::of(&venue);
    let key = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    std::fs::write(&owner.key, key).unwrap();
    let paid = owner.object("deposit", &["--amount", "2000"]);
    assert!(paid["account"].is_u64(), "{paid}");
    let proof = owner.path("withdrawal.json");
    owner.object("withdraw", &["--amount", "500", "--proof", &proof]);

    rob(&venue, &node.url);
    let holder = json!({"owner": owner.address().to_string()});
    let deadline = Instant::now() + PATIENCE;
    while venue.ask("lifeboat/get_account", holder.clone())["withdrawals_held"] != true {
        assert!(Instant::now() < deadline, "the venue does not notice");
        std::thread::park_timeout(Duration::from_millis(200));
    }
    let held = owner.run(
        "withdraw",
        &["--amount", "1", "--proof", &owner.path("held.json")],
    );
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(
        !held.status.success() && said.contains("WithdrawalsHeld"),
        "{said}"
    );
    let anchor = owner.run("anchor", &[]);
    let said = String::from_utf8_lossy(&anchor.stderr).into_owned();
    assert!(
        !anchor.status.success() && said.contains("less than it owes"),
        "{said}"
    );

    settled(&venue);
    venue.kill();
    // What the vault lacks is everybody's: exits are noted for a week and paid by their share.
    let noted = leave(&owner, &node.url);
    assert_eq!(noted["left"], false, "{noted}");
    days_pass(&node.url, 7);
    let left = go_on(&owner);
    assert_eq!(left["left"], true, "{left}");
    let paid = left["paid"].as_u64().unwrap();
    assert!((1_499_000_000..=1_500_000_000).contains(&paid), "{left}");
}

/// Takes a token out of the vault, as only somebody can who commands the chain itself.
fn rob(venue: &Venue, url: &str) {
    let file = std::fs::read_to_string(venue.data().join("settlement.toml")).unwrap();
    let field = |name: &str| {
        let line = file.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let vault = field("vault");
    // `TOKEN()`, and `transfer(address,uint256)` of one unit.
    let token = rpc(
        url,
        "eth_call",
        json!([{"to": vault, "data": "0x82bfefc8"}, "latest"]),
    );
    let token = format!("0x{}", &token.as_str().unwrap()[26..]);
    let input = format!("0xa9059cbb{:0>64}{:0>64}", "bad", "1");
    rpc(url, "anvil_impersonateAccount", json!([vault]));
    rpc(url, "anvil_setBalance", json!([vault, "0xde0b6b3a7640000"]));
    rpc(
        url,
        "eth_sendTransaction",
        json!([{"from": vault, "to": token, "data": input}]),
    );
}

#[test]
fn drills_of_the_chain_leave_evidence() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["15", "17", "20", "21"] {
        let kept = folder.path().join(name);
        let mut drill = Command::new(binary());
        drill.args(["drill", name, "--simulated", "--accounts", "100", "--json"]);
        let output = drill.arg("--keep").arg(&kept).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(report["passed"], true, "{report}");
        assert_eq!(report["name"], name);
        for file in ["plan.toml", "report.json", "timeline.jsonl", "report.html"] {
            assert!(kept.join(file).exists(), "{name}: {file}");
        }
    }
}
