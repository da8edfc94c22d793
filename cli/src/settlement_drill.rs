//! Drills 15, 17, 20 and 21: what happens to the vault's chain, and to its vault when nobody is left.
//!
//! Live they run against a real node on loopback, simulated on the embedded chain. The venue in them is
//! synthetic (`lifeboat_chain::drills`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lifeboat_chain::drills::{
    Anvil, DrillError, FUNDED_KEY, Halting, Interruption, Switch, World, deposit_reorg,
    everybody_leaves, halted_chain, stolen_key,
};
use lifeboat_chain::{
    Address, ChainKey, Clock, Development, EmbeddedChain, Finality, RpcChain, RpcConfig,
};
use lifeboat_drill::evidence::DrillReport;
use lifeboat_drill::market::Stress;
use lifeboat_drill::plan::{Backing, Bounds, Executor, Exit, Plan, Topology, Workload};
use lifeboat_proof::exit::SettlementChain;
use serde_json::Value;

use crate::say::Say;
use crate::settlement::runtime;

/// Blocks on top of a final one, in drill 15.
const FINAL_AFTER: u64 = 12;
/// Accounts that leave in drill 21, beside the fund.
const ACCOUNTS: u32 = 10_000;
/// Where the simulated chain's time begins.
const START: Clock = Clock::Manual(1_800_000_000);
/// Time for one answer: a halted node is not waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// The same when ten thousand transactions are under way.
const ANSWER_LOADED: Duration = Duration::from_secs(60);

/// A drill of the settlement chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlementDrill {
    /// 15.
    DepositReorganised,
    /// 17.
    StolenKey,
    /// 20.
    HaltedChain,
    /// 21.
    EverybodyLeaves,
}

impl SettlementDrill {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::DepositReorganised,
        Self::StolenKey,
        Self::HaltedChain,
        Self::EverybodyLeaves,
    ];

    /// The drill of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|drill| drill.name() == name)
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DepositReorganised => "15",
            Self::StolenKey => "17",
            Self::HaltedChain => "20",
            Self::EverybodyLeaves => "21",
        }
    }

    /// What happens in it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::DepositReorganised => "a deposit's block is reorganised away",
            Self::StolenKey => "stolen keys, and 30 % of the vault wanted",
            Self::HaltedChain => "the settlement chain stands still for five hours",
            Self::EverybodyLeaves => "the operator is gone for good and everybody leaves",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::DepositReorganised => {
                "Deposits are made and reorganised away at several depths. What is not final is never \
                 credited; a reorganisation deeper than finality names the credits it took, and the vault \
                 refuses a checkpoint that still has them."
            }
            Self::StolenKey => {
                "A thief has the relayer's key, which is the guardian's too, and the keys of owners with \
                 30 % of the vault. The first takes nothing. The others' withdrawals are paid as fast as \
                 the limiter lets, and everybody else leaves whole after a freeze."
            }
            Self::HaltedChain => {
                "The chain takes nothing for five hours while the venue goes on. Afterwards one checkpoint \
                 brings the vault level, and a deposit from just before is credited once."
            }
            Self::EverybodyLeaves => {
                "Every account holds options against others. The operator is gone, the index falls by 12 %, \
                 and a day later everybody leaves by the chain alone. Each is paid what its ladders say, to \
                 the unit, and what rounding left is less than a unit an account."
            }
        }
    }

    /// The drill as a plan, for its evidence. No validator takes part.
    pub fn plan(self) -> Plan {
        Plan {
            name: self.name().to_owned(),
            title: self.title().to_owned(),
            about: self.about().to_owned(),
            seed: 1,
            executors: vec![Executor::Live, Executor::Simulated],
            modes: Vec::new(),
            invariants: vec!["I1".to_owned()],
            topology: Topology {
                validators: 0,
                ..Topology::default()
            },
            workload: Workload {
                rate: 0,
                simulated_rate: 0,
                accounts: 0,
                ..Workload::default()
            },
            bounds: Bounds::default(),
            exit: Exit {
                load_ms: 0,
                ready_ms: 0,
            },
            venue: Backing::default(),
            at_most: BTreeMap::new(),
            at_least: BTreeMap::new(),
            stress: Stress::default(),
            faults: Vec::new(),
        }
    }

    /// Carries it out. What does not hold is in the report.
    pub fn carry_out(
        self,
        (executor, accounts): (Executor, Option<u32>),
        evidence: PathBuf,
        say: Say,
    ) -> Result<DrillReport> {
        let plan = self.plan();
        let accounts = accounts.unwrap_or(ACCOUNTS);
        let simulated = match executor {
            Executor::Simulated => " --simulated",
            Executor::Live => "",
        };
        let mut again = format!("lifeboat drill {}{simulated}", self.name());
        if self == Self::EverybodyLeaves {
            again.push_str(&format!(" --accounts {accounts}"));
        }
        let mut report = DrillReport::of(&plan, executor, evidence, again);
        say.line(format!("Drill {}: {}.", self.name(), self.title()));
        let began = Instant::now();
        let found = runtime()?.block_on(async {
            match executor {
                Executor::Live => self.live(accounts).await,
                Executor::Simulated => self.simulated(accounts).await,
            }
        })?;
        report.figures = match found {
            Ok(object) => figures(&object),
            Err(DrillError::Failed(finding)) => {
                report.finding(finding);
                BTreeMap::new()
            }
            Err(error) => return Err(error.into()),
        };
        let seconds = began.elapsed().as_secs_f64();
        report.figures.insert("seconds".to_owned(), seconds);
        let checks = report
            .figures
            .get("accounts")
            .map_or(1, |accounts| *accounts as u64);
        report.checked("I1", checks);
        report.conclude(&plan);
        Ok(report)
    }

    async fn live(self, accounts: u32) -> Result<Result<Value, DrillError>> {
        let node = Anvil::start(&[])?;
        let node = node.context(
            "anvil is not installed; `cargo xtask setup` installs it, or name it in LIFEBOAT_ANVIL. \
             --simulated needs none",
        )?;
        let depth = match self {
            Self::DepositReorganised => FINAL_AFTER,
            _ => 0,
        };
        let config = RpcConfig {
            url: node.url.clone(),
            witnesses: Vec::new(),
            key: Some(ChainKey::parse(FUNDED_KEY)?),
            finality: Finality::Depth(depth),
            poll: Duration::from_millis(5),
            timeout: match self {
                Self::HaltedChain => ANSWER,
                _ => ANSWER_LOADED,
            },
            own_authority: false,
        };
        let chain = Arc::new(RpcChain::open(config).await?);
        Ok(self.on(chain, &node, accounts).await)
    }

    async fn simulated(self, accounts: u32) -> Result<Result<Value, DrillError>> {
        let chain = EmbeddedChain::in_memory(SettlementChain::new(31_337), START);
        let chain = chain.sending_as(Address::repeat_byte(0xaa));
        let switch = Switch::default();
        let chain: Arc<dyn Development> = match self {
            Self::DepositReorganised => Arc::new(chain.final_after(FINAL_AFTER)),
            Self::HaltedChain => Arc::new(Halting::new(chain, switch.clone())),
            _ => Arc::new(chain),
        };
        Ok(self.on(chain, &switch, accounts).await)
    }

    async fn on(
        self,
        chain: Arc<dyn Development>,
        interruption: &dyn Interruption,
        accounts: u32,
    ) -> Result<Value, DrillError> {
        let mut world = World::new(chain).await?;
        let world = &mut world;
        let object = match self {
            Self::DepositReorganised => {
                serde_json::to_value(deposit_reorg(world, FINAL_AFTER).await?)
            }
            Self::StolenKey => serde_json::to_value(stolen_key(world).await?),
            Self::HaltedChain => serde_json::to_value(halted_chain(world, interruption).await?),
            Self::EverybodyLeaves => serde_json::to_value(everybody_leaves(world, accounts).await?),
        };
        object.map_err(|error| DrillError::Failed(error.to_string()))
    }
}

/// A report's numbers by name; what holds is 1, lists are numbered.
fn figures(report: &Value) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let number = |value: &Value| match value {
        Value::Bool(holds) => Some(f64::from(u8::from(*holds))),
        other => other.as_f64(),
    };
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Array(list) => {
                for (place, value) in list.iter().enumerate() {
                    let named = (format!("{name}_{place}"), number(value));
                    if let (name, Some(value)) = named {
                        figures.insert(name, value);
                    }
                }
            }
            one => {
                if let Some(value) = number(one) {
                    figures.insert(name.clone(), value);
                }
            }
        }
    }
    figures
}
