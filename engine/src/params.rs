//! The venue's parameters and its genesis. Data, not code: every figure has a name, a unit and a
//! default, and all of it is under the state root.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::auction::SealKey;
use crate::breakers::BreakerParameters;
use crate::risk::{Pm2Parameters, StandardParameters};
use crate::types::{
    Address, Cash, ChainId, Height, MarginModel, Price, PublicKey, Qty, SettlementChain, TimeMs,
};

/// How the venue begins.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Genesis {
    /// Which venue this is; bound into every signature.
    pub chain: ChainId,
    /// Time of height 0.
    pub time: TimeMs,
    /// Validators' command keys, in the order of their ids.
    pub validators: Vec<PublicKey>,
    /// The rules' figures.
    pub parameters: Parameters,
    /// Accounts that exist from the start (development venues, migrations).
    pub accounts: Vec<GenesisAccount>,
}

/// An account that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisAccount {
    /// Its owner.
    pub owner: Address,
    /// Its collateral; not negative. Where there is a vault, cash that is not zero is one of its
    /// deposits: they are numbered in the order of the accounts, from 0.
    pub cash: Cash,
    /// Its margin model.
    pub model: MarginModel,
    /// Session keys and when they expire.
    pub sessions: Vec<(PublicKey, TimeMs)>,
}

/// Every figure of the venue's rules.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Parameters {
    /// The underlyings, in the order of their ids.
    pub underlyings: Vec<UnderlyingParameters>,
    /// Trading fees.
    pub fees: FeeSchedule,
    /// Portfolio margin.
    pub portfolio_margin: Pm2Parameters,
    /// Standard margin.
    pub standard_margin: StandardParameters,
    /// Index and marks.
    pub index: IndexParameters,
    /// Expiry settlement.
    pub settlement: SettlementParameters,
    /// Liquidation.
    pub liquidation: LiquidationParameters,
    /// The reopening ladder.
    pub modes: ModeParameters,
    /// When exits are computed.
    pub exits: ExitParameters,
    /// The vaults that hold the collateral, one on each settlement chain; at most `VAULTS_MAX`. Without
    /// one nothing is ever paid in or out, and genesis cash is on nobody's word.
    pub vaults: Vec<VaultParameters>,
    /// The reopening auction.
    pub auction: AuctionParameters,
    /// The settlement stablecoin's price in dollars, observed like an index; without it, it counts as
    /// one dollar.
    pub stable: Option<StableParameters>,
    /// What stops continuous trading.
    pub breakers: BreakerParameters,
    /// Who bears losses that an account cannot.
    pub waterfall: WaterfallParameters,
}

/// The steps below an account's own collateral. The fund comes first, tear-up last; neither has a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WaterfallParameters {
    /// The insurance fund's cash at the start. Where there is a vault, cash that is not zero is its
    /// first deposit, by the pool.
    pub fund: Cash,
    /// What the operator sets aside; it bears losses after the fund and before anybody else.
    pub stake: Option<OperatorStake>,
    /// Most of an account's gain of the day that one loss takes, in millionths. Half: who gained keeps
    /// more than they give.
    pub haircut_ppm_max: u32,
}

/// The operator's stake: an account that nobody acts for. Where there is a vault its cash is the last of
/// the genesis deposits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OperatorStake {
    /// Who owns it, once the venue is over; no other account's owner.
    pub owner: Address,
    /// How much at the start.
    pub cash: Cash,
}

/// The feed of the settlement stablecoin. It is guarded by the same figures as any index.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StableParameters {
    /// Weight of each price source; only their proportions matter.
    pub source_weights: Vec<u32>,
}

/// When exits are computed and from when a header must carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExitParameters {
    /// Blocks from one computation to the next.
    pub every: u64,
    /// Blocks that a validator has for it: a header carries the exits of the last multiple of `every`
    /// that is at least so many blocks before the height its state root is of.
    pub lag: u64,
}

/// A vault on a settlement chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct VaultParameters {
    /// The chain.
    pub chain: SettlementChain,
    /// The vault's address there.
    pub vault: Address,
    /// Its insurance pool, which owns the insurance fund's account.
    pub pool: Address,
    /// Least withdrawal; an account may always take out everything it has.
    pub withdrawal_min: Cash,
}

/// One underlying's figures.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UnderlyingParameters {
    /// Its symbol, upper case (`BTC`).
    pub symbol: String,
    /// Price step of its options.
    pub tick: Price,
    /// Size step of its options.
    pub lot: Qty,
    /// Largest order in lots.
    pub order_lots_max: u32,
    /// How far a limit price may be from the mark, in millionths of the index price.
    pub band_ppm: u32,
    /// How far a market order may trade from the mark, in millionths of the index price.
    pub market_bound_ppm: u32,
    /// Weight of each price source; only their proportions matter.
    pub source_weights: Vec<u32>,
    /// Volatility of a new expiry's surface before it has quotes, in millionths.
    pub initial_volatility_ppm: u32,
    /// Which options the venue lists by itself; `None` lists by proposal only.
    pub listing: Option<ListingRules>,
}

/// Which options are listed, rolled by rule at every expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ListingRules {
    /// Daily expiries ahead.
    pub dailies: u8,
    /// Weekly (Friday) expiries ahead.
    pub weeklies: u8,
    /// Monthly (last Friday) expiries ahead.
    pub monthlies: u8,
    /// Quarterly (last Friday of March, June, September, December) expiries ahead.
    pub quarterlies: u8,
    /// Strikes are listed while a call's delta is within this and one minus this, in millionths.
    pub delta_min_ppm: u32,
    /// Strikes each side of the forward at most.
    pub strikes_per_side_max: u8,
}

/// Trading fees. The fee is a share of the index price, at most a share of the option's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FeeSchedule {
    /// Taker's share of the index notional, in millionths.
    pub taker_ppm: u32,
    /// Maker's share of the index notional, in millionths.
    pub maker_ppm: u32,
    /// Largest share of the premium, in millionths.
    pub premium_cap_ppm: u32,
    /// Share of fees that goes to the insurance fund, in millionths.
    pub insurance_ppm: u32,
}

/// Index and marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IndexParameters {
    /// A source older than this is no price.
    pub source_age_ms_max: u64,
    /// Each source is clamped to this distance from the median, in millionths.
    pub clamp_ppm: u32,
    /// Fewest good sources of a validator's index.
    pub sources_min: u8,
    /// Time between two mark ticks of an underlying.
    pub tick_interval_ms: u64,
    /// Interest rate used for discounting, in billionths a year.
    pub rate_ppb: i64,
    /// Most that a surface moves in one tick, in millionths of volatility.
    pub volatility_move_ppm_max: u32,
    /// A source that has not changed for so long while the others moved is no price. A minute: quiet
    /// sources of liquid coins change several times in it.
    pub frozen_ms: u64,
    /// How far the others must have moved for that, in millionths. Under the clamp, so that a source
    /// is found to stand still before it weighs on the index as far as it can.
    pub frozen_ppm: u32,
    /// A source outside the clamp for so long is named. It counts at the clamp all the while.
    pub apart_ms: u64,
    /// Fewer than `sources_min` sources, or than a quorum of validators, within this of their median,
    /// in millionths: no index. Twice the clamp, so that a clamped source is not one that disagrees.
    pub dispersion_ppm_max: u32,
    /// Initial margin's factor on losses while there is no index, in millionths: a quarter more, for
    /// whoever knows that the price has moved must not add risk, or leave, before the venue sees it.
    pub lost_margin_ppm: u32,
}

/// Expiry settlement by the mean of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SettlementParameters {
    /// Window before expiry.
    pub window_ms: u64,
    /// Time between two samples.
    pub sample_interval_ms: u64,
    /// Fewest samples, in millionths of a full window's.
    pub samples_min_ppm: u32,
    /// Longest deferral; after it the samples there are decide.
    pub deferral_ms_max: u64,
}

/// Staged liquidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LiquidationParameters {
    /// Buffer over maintenance that a liquidation restores, in millionths of (MM − MtM).
    pub buffer_ppm: u32,
    /// Auction discount at its start, in millionths.
    pub discount_start_ppm: u32,
    /// Discount at the end of the fast phase, in millionths.
    pub discount_fast_ppm: u32,
    /// Length of the fast phase.
    pub fast_ms: u64,
    /// Length of the slow phase, in which the discount falls to 0.
    pub slow_ms: u64,
    /// Length of the insolvent phase, in which the fund pays more and more.
    pub insolvent_ms: u64,
    /// No index older than this liquidates.
    pub index_age_ms_max: u64,
    /// How long after an outage accounts under maintenance have to add collateral, from the return of
    /// trading. An hour: a deposit needs the settlement chain's finality, some 15 min, and somebody awake.
    pub grace_ms: u64,
    /// An account whose equity is under this part of what maintenance requires, in millionths, is
    /// auctioned in grace too: with half of it gone, waiting puts others' money at risk.
    pub deep_ppm: u32,
}

/// The reopening ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ModeParameters {
    /// A longer gap between two blocks halts the venue.
    pub block_gap_ms_max: u64,
    /// How long sources must agree.
    pub agreement_ms: u64,
    /// Within what distance they agree, in millionths.
    pub agreement_ppm: u32,
    /// Fewest sources that must agree.
    pub agreement_sources_min: u8,
    /// Length of CANCEL_ONLY.
    pub cancel_only_ms: u64,
    /// Length of POST_ONLY.
    pub post_only_ms: u64,
}

/// The reopening auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuctionParameters {
    /// The validators' group key, to which orders are sealed. Without one an auction clears what is
    /// public.
    pub key: Option<SealKey>,
    /// From an auction's beginning to its close. Two minutes let people read the restatement and act on
    /// it, programs included; longer keeps risk unhedged.
    pub length_ms: u64,
    /// The end of it in which indicative prices are published: late enough that what they show is what
    /// will be there, long enough to answer them.
    pub last_phase_ms: u64,
    /// Time between two publications. Every instrument is in each, so they are no ticker.
    pub indication_ms: u64,
    /// Length of an extension, once, for the instruments whose price left the collar: half of the first,
    /// since only those who would trade at such a price are waited for.
    pub extension_ms: u64,
    /// From the close until seals without a signature are out. The signature takes two blocks; ten
    /// seconds outlast a lost leader, and public orders are locked no longer than that.
    pub opening_timeout_ms: u64,
    /// How far the price may be from the mark, in millionths of the mark: what a 15 % change of
    /// volatility makes of an option at the money, and some more.
    pub collar_mark_ppm: u32,
    /// The same in millionths of the index, for options that are worth little; the larger counts.
    pub collar_index_ppm: u32,
    /// Sealed orders of one account in one auction.
    pub seals_per_account_max: u32,
    /// Sealed orders in one auction. At a millisecond each they are opened within seconds.
    pub seals_max: u32,
    /// The least bond: each seal holds margin, so they are no free option to crowd others out.
    pub bond_min: Cash,
    /// What a seal that is no order costs its account, to the insurance fund: opening it took every
    /// validator a pairing. Not more than the least bond.
    pub forfeit: Cash,
}

impl Default for AuctionParameters {
    fn default() -> Self {
        Self {
            key: None,
            length_ms: 120_000,
            last_phase_ms: 30_000,
            indication_ms: 5_000,
            extension_ms: 60_000,
            opening_timeout_ms: 10_000,
            collar_mark_ppm: 200_000,
            collar_index_ppm: 2_500,
            seals_per_account_max: 32,
            seals_max: 2_048,
            bond_min: Cash::new(10_000_000),
            forfeit: Cash::new(1_000_000),
        }
    }
}

impl Default for FeeSchedule {
    fn default() -> Self {
        Self {
            taker_ppm: 300,
            maker_ppm: 300,
            premium_cap_ppm: 125_000,
            insurance_ppm: 250_000,
        }
    }
}

impl Default for IndexParameters {
    fn default() -> Self {
        Self {
            source_age_ms_max: 180_000,
            clamp_ppm: 5_000,
            sources_min: 3,
            tick_interval_ms: 1_000,
            rate_ppb: 0,
            volatility_move_ppm_max: 50_000,
            frozen_ms: 60_000,
            frozen_ppm: 3_000,
            apart_ms: 60_000,
            dispersion_ppm_max: 10_000,
            lost_margin_ppm: 1_250_000,
        }
    }
}

impl Default for SettlementParameters {
    fn default() -> Self {
        Self {
            window_ms: 1_800_000,
            sample_interval_ms: 6_000,
            samples_min_ppm: 800_000,
            deferral_ms_max: 14_400_000,
        }
    }
}

impl Default for LiquidationParameters {
    fn default() -> Self {
        Self {
            buffer_ppm: 200_000,
            discount_start_ppm: 950_000,
            discount_fast_ppm: 700_000,
            fast_ms: 900_000,
            slow_ms: 43_200_000,
            insolvent_ms: 3_600_000,
            index_age_ms_max: 180_000,
            grace_ms: 3_600_000,
            deep_ppm: 500_000,
        }
    }
}

impl Default for ModeParameters {
    fn default() -> Self {
        Self {
            block_gap_ms_max: 60_000,
            agreement_ms: 30_000,
            agreement_ppm: 5_000,
            agreement_sources_min: 5,
            cancel_only_ms: 300_000,
            post_only_ms: 60_000,
        }
    }
}

impl Default for ExitParameters {
    fn default() -> Self {
        Self {
            every: 500,
            lag: 100,
        }
    }
}

impl ExitParameters {
    /// The height whose exits go with the state after `executed`; 0 while there are none.
    pub const fn height_for(&self, executed: Height) -> Height {
        let settled = executed.get().saturating_sub(self.lag);
        match settled.checked_rem(self.every) {
            Some(past) => Height::new(settled.saturating_sub(past)),
            None => Height::new(0),
        }
    }

    /// Whether exits are computed after this height.
    pub const fn is_due(&self, height: Height) -> bool {
        height.get() > 0 && matches!(height.get().checked_rem(self.every), Some(0))
    }
}

impl Default for ListingRules {
    fn default() -> Self {
        Self {
            dailies: 2,
            weeklies: 3,
            monthlies: 2,
            quarterlies: 3,
            delta_min_ppm: 20_000,
            strikes_per_side_max: 12,
        }
    }
}

impl Default for WaterfallParameters {
    fn default() -> Self {
        Self {
            fund: Cash::ZERO,
            stake: None,
            haircut_ppm_max: 500_000,
        }
    }
}

impl Default for StableParameters {
    fn default() -> Self {
        Self {
            source_weights: alloc::vec![1; 5],
        }
    }
}

impl UnderlyingParameters {
    /// BTC as the venue lists it by default.
    pub fn btc() -> Self {
        Self {
            symbol: String::from("BTC"),
            tick: Price::new(1_000_000),
            lot: Qty::new(1_000_000),
            order_lots_max: 100_000,
            band_ppm: 200_000,
            market_bound_ppm: 20_000,
            source_weights: alloc::vec![1; 5],
            initial_volatility_ppm: 550_000,
            listing: Some(ListingRules::default()),
        }
    }

    /// ETH as the venue lists it by default.
    pub fn eth() -> Self {
        Self {
            symbol: String::from("ETH"),
            tick: Price::new(100_000),
            lot: Qty::new(10_000_000),
            initial_volatility_ppm: 700_000,
            ..Self::btc()
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            underlyings: alloc::vec![UnderlyingParameters::btc(), UnderlyingParameters::eth()],
            fees: FeeSchedule::default(),
            portfolio_margin: Pm2Parameters::default(),
            standard_margin: StandardParameters::default(),
            index: IndexParameters::default(),
            settlement: SettlementParameters::default(),
            liquidation: LiquidationParameters::default(),
            modes: ModeParameters::default(),
            exits: ExitParameters::default(),
            vaults: Vec::new(),
            auction: AuctionParameters::default(),
            stable: Some(StableParameters::default()),
            breakers: BreakerParameters::default(),
            waterfall: WaterfallParameters::default(),
        }
    }
}
