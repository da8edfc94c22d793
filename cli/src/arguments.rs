//! The command line, as typed. What it means is resolved by the command it belongs to.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A crypto-options venue that survives the loss of its parts.
#[derive(Parser)]
#[command(name = "lifeboat", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; without it, `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArguments,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Run a whole venue on this machine: four validators, a market, the gateway (the default)
    Run(RunArguments),
    /// Run one validator from its configuration file
    Node(NodeArguments),
    /// Make keys and configuration for the validators of a new venue
    Init(InitArguments),
    /// Break a venue on purpose and measure how it comes back
    Drill(DrillArguments),
    /// Rebuild a validator's data folder from published blocks
    Recover(RecoverArguments),
    /// Replay a node's journal and compare every root that was agreed
    Verify(VerifyArguments),
    /// Measure a whole venue under load
    Bench(BenchArguments),
    /// Leave a vault with a key and a proof, with no server of the venue's
    Exit(ExitArguments),
    /// Compare what a vault owes with what it holds, proven from its chain
    Anchor(AnchorArguments),
    /// Pay into a venue's vault; on a development chain the money comes from nowhere
    Deposit(DepositArguments),
    /// Take money out of a venue into one's own hands on its chain
    Withdraw(WithdrawArguments),
    /// Let a key trade for an account, or no longer: by default a new API key for the gateway
    Session(SessionArguments),
    /// Serve a venue's embedded chain without the venue: to try its end
    Chain(ServeChainArguments),
    /// Put a vault and an account to leave it with on a development chain
    Practice(PracticeArguments),
    /// Run the venue's breakers along recorded history, beside breakers on price alone
    Backtest(BacktestArguments),
}

/// Options of `run`.
#[derive(Args, Clone)]
pub struct RunArguments {
    /// Folder for keys, journals and snapshots; an existing one is continued
    #[arg(long, default_value = "lifeboat-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Address of the gateway
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Trade recorded option chains instead of a simulated market
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// How many times faster than life a recording runs
    #[arg(long, default_value_t = 60, value_name = "FACTOR", requires = "replay")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub speed: u32,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Which chain a new venue settles on
    #[command(flatten)]
    pub settlement: SettlementArguments,
    /// Stop cleanly after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub stop_after: Option<u64>,
    /// When ready, print one JSON object as a line of its own
    #[arg(long)]
    pub json: bool,
}

/// Options of `node`.
#[derive(Args)]
pub struct NodeArguments {
    /// The validator's configuration file, as `init` writes it
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Serve the API to clients here too, with the API keys in `api-keys.json` beside the configuration
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<SocketAddr>,
    /// When ready, print one JSON object as a line of its own
    #[arg(long)]
    pub json: bool,
}

/// Options of `init`.
#[derive(Args)]
pub struct InitArguments {
    /// Folder to write; it must not exist yet
    #[arg(value_name = "DIR")]
    pub out: PathBuf,
    /// How many validators; 3f + 1 survive the loss of f
    #[arg(long, default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=128))]
    pub validators: u16,
    /// First of the ports; each validator takes a few
    #[arg(long, default_value_t = 21_000)]
    pub base_port: u16,
    /// Accounts from which load generators send single orders
    #[arg(long, default_value_t = 64)]
    pub traders: u32,
    /// Accounts from which load generators quote
    #[arg(long, default_value_t = 4)]
    pub quoters: u32,
    /// Seed of the development accounts and of the simulated market
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where every validator publishes finalized blocks, such as folder:/mnt/archive
    #[arg(long, value_name = "PLACE")]
    pub publish: Option<String>,
    /// How many times faster than life block time runs
    #[arg(long, default_value_t = 1, value_name = "FACTOR")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub speed: u32,
    /// Block time at the beginning, in milliseconds since the epoch; without it, now
    #[arg(long, value_name = "MS")]
    pub start_ms: Option<u64>,
    /// What the insurance fund begins with
    #[arg(long, default_value_t = 0, value_name = "USDC")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub fund_usdc: u64,
    /// What the operator sets aside to bear losses after the fund
    #[arg(long, default_value_t = 0, value_name = "USDC")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub stake_usdc: u64,
    /// Which chain the venue settles on; without one it has no vault
    #[command(flatten)]
    pub settlement: SettlementArguments,
}

/// Which chain a new venue settles on.
#[derive(Args, Clone)]
pub struct SettlementArguments {
    /// Put a new venue's vault on this chain, for development, by the URL of a node's JSON-RPC; without
    /// it, `run` has a chain of its own in the data folder
    #[arg(long, value_name = "URL")]
    pub settlement: Option<String>,
    /// File with the key that deploys the vault and pays for checkpoints
    #[arg(long, value_name = "FILE", requires = "settlement")]
    pub settlement_key: Option<PathBuf>,
    /// Take a block with so many on top for final, as development chains need; without it, what the
    /// node's consensus calls final
    #[arg(long, value_name = "BLOCKS", requires = "settlement")]
    pub settlement_depth: Option<u64>,
}

/// Options of `drill`.
#[derive(Args)]
pub struct DrillArguments {
    /// Which drill, or the file of a plan of one's own; without it, they are listed
    pub name: Option<String>,
    /// How often the plan's faults happen, one after the other on the same venue
    #[arg(long, default_value_t = 1, conflicts_with = "simulated")]
    pub runs: u32,
    /// Of drill 21: how many accounts leave
    #[arg(long, value_name = "COUNT")]
    pub accounts: Option<u32>,
    /// Seed of the load and of the moment of each fault; the plan's own if absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Single orders a second; the plan's own if absent
    #[arg(long)]
    pub rate: Option<u32>,
    /// Put the evidence here: plan, report, timeline, page, data folders and logs
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Simulate it: the same plan and validators under a seeded runtime, in seconds
    #[arg(long)]
    pub simulated: bool,
    /// Simulate so many seeds, from `--seed` on; failing ones are made smaller and written down
    #[arg(long, requires = "simulated")]
    pub seeds: Option<u64>,
    /// Simulate random faults, another plan for each seed
    #[arg(long, requires = "simulated", conflicts_with = "name")]
    pub random: bool,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `recover`.
#[derive(Args)]
pub struct RecoverArguments {
    /// The validator's configuration file; its keys, committee and genesis lie beside it, and its
    /// data folder must not exist or be empty
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the state comes from
    #[arg(long, value_enum, default_value_t = RecoverSource::Da)]
    pub from: RecoverSource,
    /// With `da`, where blocks were published (default: `publish` of the configuration); with
    /// `folder` and `snapshot`, the data folder of another validator or a copy of it
    #[arg(long, value_name = "PLACE")]
    pub place: Option<String>,
    /// Begin a new consensus epoch behind the last block. Only when too many validators lost their
    /// data for the venue to go on, and then on every one of them
    #[arg(long)]
    pub new_epoch: bool,
    /// Stop at this block at the latest
    #[arg(long, value_name = "HEIGHT")]
    pub until: Option<u64>,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Where a recovery finds blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecoverSource {
    /// The data-availability layer
    Da,
    /// The log of another validator, stopped or a copy
    Folder,
    /// The other validators, which must run
    Peers,
    /// The newest certified snapshot in another validator's data folder; the blocks after it come
    /// from the other validators when this one starts
    Snapshot,
}

/// Options of `verify`.
#[derive(Args)]
pub struct VerifyArguments {
    /// A validator's folder; with `--from`, any folder that holds the venue's genesis.bin and
    /// committee.toml
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// Replay what was published at this place instead of the validator's own log
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Replay with another build of lifeboat as well, and compare: what an upgrade must pass before
    /// it may vote
    #[arg(long, value_name = "BINARY")]
    pub with: Option<PathBuf>,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `bench`.
#[derive(Args)]
pub struct BenchArguments {
    /// How long each measurement runs
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Single orders a second; without it, the highest rate is searched
    #[arg(long)]
    pub orders: Option<u32>,
    /// Quoted levels a second, in mass quotes; without it, the highest rate is searched
    #[arg(long)]
    pub levels: Option<u32>,
    /// Instead: what snapshots and exits cost whoever trades, in venues of many accounts
    #[arg(long, conflicts_with = "levels")]
    pub background: bool,
    /// Accounts of these venues
    #[arg(long, default_value_t = 100_000, requires = "background")]
    pub accounts: u32,
    /// Orders at rest in them
    #[arg(long, default_value_t = 100_000, requires = "background")]
    pub resting: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 3, requires = "background")]
    pub rounds: u32,
    /// Blocks between two snapshots, or two workings-out of the exits; a venue's own figure is 500
    #[arg(
        long,
        default_value_t = 150,
        requires = "background",
        value_name = "BLOCKS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(101..))]
    pub every: u64,
    /// Seed of the load
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Which settlement chain.
#[derive(Args)]
pub struct ChainArguments {
    /// URL of a node's JSON-RPC; without it, the chain of the venue in `--data`
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// Folder of a venue on this machine, as `lifeboat run` keeps it
    #[arg(long, default_value = "lifeboat-data", value_name = "DIR")]
    pub data: PathBuf,
    /// URL of another node, which must give the same final blocks; may be repeated
    #[arg(long, value_name = "URL")]
    pub witness: Vec<String>,
    /// Take a block with so many on top for final, as development chains need; without it, what the
    /// node's consensus calls final
    #[arg(long, value_name = "BLOCKS")]
    pub depth: Option<u64>,
}

/// Options of `exit`.
#[derive(Args)]
pub struct ExitArguments {
    /// The chain
    #[command(flatten)]
    pub chain: ChainArguments,
    /// The saved proof of an account, or of a withdrawal to claim
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
    /// Make the proof from the blocks that were published at this place, such as folder:/mnt/archive:
    /// no server of the venue's is asked
    #[arg(
        long,
        value_name = "PLACE",
        conflicts_with = "proof",
        requires = "genesis"
    )]
    pub from: Option<String>,
    /// With `--from`, a folder that holds the venue's genesis.bin and committee.toml
    #[arg(long, value_name = "DIR")]
    pub genesis: Option<PathBuf>,
    /// With `--from`, the account; without it, the one whose owner the key is
    #[arg(long, value_name = "NUMBER", conflicts_with = "withdrawal")]
    pub account: Option<u32>,
    /// With `--from`, a withdrawal to claim
    #[arg(long, value_name = "NUMBER")]
    pub withdrawal: Option<u32>,
    /// With `--from`, keep the proof in this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// The vault; without it, the one that the proof names
    #[arg(long, value_name = "ADDRESS")]
    pub vault: Option<lifeboat_chain::Address>,
    /// File with the key that pays for transactions: the owner's. Without it, LIFEBOAT_KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Who is paid; without it, the owner. Another needs the owner's key
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<lifeboat_chain::Address>,
    /// A block before the vault's first: spares a public node a long search
    #[arg(long, default_value_t = 0, value_name = "BLOCK")]
    pub from_block: u64,
    /// Go on until the account has left, for days if need be
    #[arg(long)]
    pub wait: bool,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `anchor`.
#[derive(Args)]
pub struct AnchorArguments {
    /// The chain
    #[command(flatten)]
    pub chain: ChainArguments,
    /// The vault; without it, that of the venue in `--data`
    #[arg(long, value_name = "ADDRESS")]
    pub vault: Option<lifeboat_chain::Address>,
    /// A block before the vault's first: spares a public node a long search
    #[arg(long, default_value_t = 0, value_name = "BLOCK")]
    pub from_block: u64,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `practice`.
#[derive(Args)]
pub struct PracticeArguments {
    /// The chain, which must be for development, such as anvil's
    #[command(flatten)]
    pub chain: ChainArguments,
    /// Folder to write; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `backtest`.
#[derive(Args)]
pub struct BacktestArguments {
    /// Folder with the recordings: hourly prices, a daily volatility index and option chains in `market/`
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the page and its picture
    #[arg(long, default_value = "docs", value_name = "DIR")]
    pub out: PathBuf,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `chain`.
#[derive(Args)]
pub struct ServeChainArguments {
    /// Folder of the venue
    #[arg(long, default_value = "lifeboat-data", value_name = "DIR")]
    pub data: PathBuf,
    /// Loopback address
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// When ready, print one JSON object as a line of its own
    #[arg(long)]
    pub json: bool,
}

/// Options of `deposit`.
#[derive(Args)]
pub struct DepositArguments {
    /// The chain
    #[command(flatten)]
    pub chain: ChainArguments,
    /// How much, in USDC
    #[arg(long, value_name = "USDC")]
    pub amount: String,
    /// File with the key that pays. Without it, LIFEBOAT_KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Make the key first; its file must not exist yet
    #[arg(long, requires = "key_file")]
    pub new_key: bool,
    /// Whose account; without it, that of the key
    #[arg(long, value_name = "ADDRESS")]
    pub owner: Option<lifeboat_chain::Address>,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

/// Options of `session`.
#[derive(Args)]
pub struct SessionArguments {
    /// Folder of a venue that runs on this machine
    #[arg(long, default_value = "lifeboat-data", value_name = "DIR")]
    pub data: PathBuf,
    /// File with the owner's key. Without it, LIFEBOAT_KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Register this ed25519 public key (hex) instead of making an API key
    #[arg(long, value_name = "KEY", value_parser = session_key)]
    pub register: Option<[u8; 32]>,
    /// Take this ed25519 public key's right away
    #[arg(long, value_name = "KEY", value_parser = session_key, conflicts_with = "register")]
    pub revoke: Option<[u8; 32]>,
    /// For how many days it may trade
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub days: u64,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

fn session_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = lifeboat_node::keys::from_hex(text.trim_start_matches("0x"));
    let key = bytes.and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| "an ed25519 public key is 32 bytes in hex".to_owned())
}

/// Options of `withdraw`.
#[derive(Args)]
pub struct WithdrawArguments {
    /// The chain
    #[command(flatten)]
    pub chain: ChainArguments,
    /// How much, in USDC
    #[arg(long, value_name = "USDC")]
    pub amount: String,
    /// File with the owner's key. Without it, LIFEBOAT_KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Who is paid; without it, the owner
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<lifeboat_chain::Address>,
    /// Where the proof is kept that claims it; must not exist yet
    #[arg(long, default_value = "withdrawal.json", value_name = "FILE")]
    pub proof: PathBuf,
    /// End when the proof is kept; `lifeboat exit --proof` claims it
    #[arg(long)]
    pub unclaimed: bool,
    /// End with one JSON object as the last line
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_run() -> Result<(), clap::Error> {
        let bare = Arguments::try_parse_from(["lifeboat", "--seed", "7"])?;
        assert!(bare.command.is_none() && bare.run.seed == 7);
        let named = Arguments::try_parse_from(["lifeboat", "run", "--seed", "7"])?;
        assert!(matches!(named.command, Some(Command::Run(run)) if run.seed == 7));
        assert!(Arguments::try_parse_from(["lifeboat", "run", "--speed", "10"]).is_err());
        assert!(Arguments::try_parse_from(["lifeboat", "--seed", "7", "drill"]).is_err());
        Ok(())
    }
}
