//! What can be asked of the engine, in the exact bytes that are signed, ordered and replayed.
//!
//! **Owns** the command types, their canonical encoding and the signed payloads. **Never** checks a
//! signature (`auth` does) or looks at state.

use alloc::boxed::Box;
use alloc::vec::Vec;
use borsh::io::{Error, ErrorKind, Read, Result as IoResult};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::{
    FORWARDS_MAX, LABEL_BYTES_MAX, QUOTES_PER_COMMAND_MAX, SOURCES_MAX, VAULT_EVENTS_MAX,
};

use crate::auction::{CIPHERTEXT_BYTES, SealSignature};
use crate::types::Cash;
use crate::types::{
    AccountId, Address, ChainId, ClientOrderId, Digest, InstrumentId, MarginModel, Nonce,
    OptionKind, OrderId, PostOnly, Price, PublicKey, Qty, RecoveryPolicy, SelfTradePrevention,
    SettlementChain, Side, TimeInForce, TimeMs, UnderlyingId, ValidatorId,
};
use crate::vault::Deposit;

/// One entry of a block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Command {
    /// From a user: signed by the account's owner or one of its session keys.
    User(UserCommand),
    /// From a validator: observations and attestations.
    Validator(ValidatorCommand),
}

/// A user's signed command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UserCommand {
    /// The part that is signed.
    pub payload: UserPayload,
    /// Who signed it.
    pub signature: UserSignature,
}

/// The signed part of a user's command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UserPayload {
    /// The account it acts for.
    pub account: AccountId,
    /// Used once per key.
    pub nonce: Nonce,
    /// From this block time on the command can no longer execute; 0 means never. It bounds how
    /// long a fate can be unknown, and keeps queued orders from executing late.
    pub valid_until: TimeMs,
    /// What to do.
    pub action: Action,
}

/// The signature over a user's payload.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum UserSignature {
    /// ed25519 by a registered session key, over [`UserPayload::session_message`].
    Session {
        /// The session's verification key.
        key: PublicKey,
        /// 64 bytes, R then s.
        signature: [u8; 64],
    },
    /// secp256k1 by the owner key, over [`UserPayload::owner_digest`] (EIP-712), r, s, v.
    Owner {
        /// 65 bytes; v is 27 or 28.
        signature: [u8; 65],
    },
}

/// What a user can ask for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Action {
    /// Places one order.
    PlaceOrder(PlaceOrder),
    /// Changes a resting order's price or size.
    AmendOrder(AmendOrder),
    /// Cancels one order.
    CancelOrder(OrderRef),
    /// Cancels all orders in a scope.
    CancelAll(CancelScope),
    /// Replaces two-sided quotes in many instruments of one underlying.
    MassQuote(MassQuote),
    /// Sets or clears market-maker protection for one underlying.
    SetMarketMakerProtection(MarketMakerProtection),
    /// Registers a trade-only session key. Owner only.
    RegisterSession {
        /// The session's ed25519 key.
        key: PublicKey,
        /// Block time from which it is refused.
        expires_at: TimeMs,
    },
    /// Removes a session key. Owner only.
    RevokeSession {
        /// The session's ed25519 key.
        key: PublicKey,
    },
    /// Chooses the account's margin model; refused while the account would be under initial margin
    /// by it. Owner only.
    SetMarginModel(MarginModel),
    /// Buys a slice of an account in liquidation.
    BidLiquidation {
        /// The account in liquidation.
        account: AccountId,
        /// Largest part of the portfolio, in millionths.
        part_ppm: u32,
        /// Most the bidder pays for that part (may be negative: the least it receives).
        price_max: Cash,
    },
    /// Takes cash off the account, to be claimed from the vault with the next checkpoint. Owner
    /// only.
    Withdraw {
        /// The settlement chain that pays.
        chain: SettlementChain,
        /// Who is paid; not the zero address.
        recipient: Address,
        /// How much; positive.
        amount: Cash,
    },
    /// Puts a sealed order into a running auction. Boxed: it is larger than all others.
    SealOrder(Box<SealOrder>),
    /// Takes a sealed order back before the auction closes.
    WithdrawSealed {
        /// The auction's underlying.
        underlying: UnderlyingId,
        /// The auction's number.
        auction: u64,
        /// The number that the sealed order was answered with.
        seal: u32,
    },
}

/// A sealed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SealOrder {
    /// The auction's underlying.
    pub underlying: UnderlyingId,
    /// The auction's number: what the order is sealed to.
    pub auction: u64,
    /// The order, by [`seal`](crate::auction::seal).
    pub ciphertext: [u8; CIPHERTEXT_BYTES],
    /// Free initial margin that is held from now on. An order that needs more is out when it opens.
    /// Everybody sees it, so it should say no more than that it suffices.
    pub bond: Cash,
}

/// A new order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PlaceOrder {
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// At which price.
    pub price: OrderPrice,
    /// For how long.
    pub time_in_force: TimeInForce,
    /// Whether it may take.
    pub post_only: PostOnly,
    /// It may only bring the position nearer to zero.
    pub reduce_only: bool,
    /// What to do on meeting an order of the same account.
    pub self_trade: SelfTradePrevention,
    /// What happens to it after an outage.
    pub recovery: RecoveryPolicy,
    /// Counted by market-maker protection.
    pub protected: bool,
    /// The client's id; 0 means none. A second order with an id still remembered is answered with
    /// the first order's id and changes nothing.
    pub client_id: ClientOrderId,
    /// Free text of at most `LABEL_BYTES_MAX` bytes, echoed in events.
    #[borsh(deserialize_with = "bounded::<_, _, LABEL_BYTES_MAX>")]
    pub label: Vec<u8>,
}

/// An order's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum OrderPrice {
    /// No worse than this.
    Limit(Price),
    /// The best there is, within the instrument's market bound around its mark. Never rests.
    Market,
}

/// Names a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum OrderRef {
    /// By the venue's id.
    Id(OrderId),
    /// By the client's id.
    ClientId(ClientOrderId),
}

/// A change to a resting order. Priority is kept when only the size shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AmendOrder {
    /// Which order.
    pub order: OrderRef,
    /// The new total size, what has been filled included.
    pub qty: Qty,
    /// The new price.
    pub price: Price,
    /// Whether the amended order may take.
    pub post_only: PostOnly,
}

/// Which orders a cancel-all means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum CancelScope {
    /// All of the account's orders and quotes.
    Account,
    /// Those on one underlying.
    Underlying(UnderlyingId),
    /// Those in one instrument.
    Instrument(InstrumentId),
    /// Only quotes, on every underlying.
    Quotes,
}

/// Two-sided quotes. Each entry replaces the account's quote of that instrument and side. Quotes
/// never take: a side that would is refused on its own, the others stand.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MassQuote {
    /// Strictly ascending by instrument, at most `QUOTES_PER_COMMAND_MAX`.
    #[borsh(deserialize_with = "bounded::<_, _, QUOTES_PER_COMMAND_MAX>")]
    pub entries: Vec<QuoteEntry>,
    /// What happens to the quotes after an outage.
    pub recovery: RecoveryPolicy,
}

/// One instrument's quote. A side with size 0 is pulled; a side that is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct QuoteEntry {
    /// Where.
    pub instrument: InstrumentId,
    /// The bid's new price and size.
    pub bid: Option<QuoteSide>,
    /// The ask's new price and size.
    pub ask: Option<QuoteSide>,
}

/// A quote's price and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct QuoteSide {
    /// Price; ignored when the size is 0.
    pub price: Price,
    /// Size; 0 pulls the quote.
    pub qty: Qty,
}

/// Limits on what a maker may trade within an interval; all quotes are pulled and refused for
/// `frozen_ms` when one is passed. An interval of 0 clears the protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MarketMakerProtection {
    /// For which underlying.
    pub underlying: UnderlyingId,
    /// Length of the interval.
    pub interval_ms: u32,
    /// How long quotes are refused after a trip.
    pub frozen_ms: u32,
    /// Most coin traded; 0 is no limit.
    pub qty_max: Qty,
    /// Most delta traded, in coin; 0 is no limit.
    pub delta_max: Qty,
    /// Most vega traded, in USDC for one volatility point; 0 is no limit.
    pub vega_max: Cash,
}

/// A validator's signed command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ValidatorCommand {
    /// The part that is signed.
    pub payload: ValidatorPayload,
    /// The validator's ed25519 command key.
    pub key: PublicKey,
    /// By that key, over [`ValidatorPayload::message`].
    pub signature: [u8; 64],
}

/// The signed part of a validator's command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ValidatorPayload {
    /// Which validator.
    pub validator: ValidatorId,
    /// Used once.
    pub nonce: Nonce,
    /// What it says.
    pub report: Report,
}

/// What a validator can say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Report {
    /// Prices it saw.
    Observe(Observation),
    /// It agrees that this should happen; it happens once, when 2f+1 validators attested the same.
    Attest(Proposal),
    /// Its share of the signature that opens an auction's seals, once the closing block was final. Whoever
    /// has enough of them makes the signature; the engine keeps the first of each validator.
    ShareOpening {
        /// The auction's number.
        auction: u64,
        /// The validator's place in the group's polynomial.
        participant: u32,
        /// The share, over [`seal_target`](crate::auction::seal_target).
        share: SealSignature,
    },
    /// The signature that opens an auction's seals. The first that verifies counts, whoever sent it.
    OpenAuction {
        /// The auction's number.
        auction: u64,
        /// The group's signature over [`seal_target`](crate::auction::seal_target).
        signature: SealSignature,
    },
}

/// Prices of one underlying as one validator saw them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Observation {
    /// Which underlying.
    pub underlying: UnderlyingId,
    /// When the validator looked. Not later than the block that carries it, else refused.
    pub observed_at: TimeMs,
    /// One price per configured source; `None` is "no price". At most `SOURCES_MAX`.
    #[borsh(deserialize_with = "bounded::<_, _, SOURCES_MAX>")]
    pub sources: Vec<Option<SourcePrice>>,
    /// Forward prices by expiry, ascending; empty leaves the forwards as they were.
    #[borsh(deserialize_with = "bounded::<_, _, FORWARDS_MAX>")]
    pub forwards: Vec<ForwardPrice>,
}

/// One source's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SourcePrice {
    /// The price; 0 and below are "no price".
    pub price: Price,
    /// When the source last changed it.
    pub updated_at: TimeMs,
}

/// The forward for one expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ForwardPrice {
    /// The expiry.
    pub expiry: TimeMs,
    /// Forward price.
    pub price: Price,
}

/// Something that happens when a quorum of validators attests it. `reference` makes two otherwise
/// equal proposals different; each proposal happens once.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Proposal {
    /// Lists one option outside the listing rules (replays, new underlyings).
    ListOption(OptionTerms),
    /// Halts the venue or starts its reopening.
    SetHalt {
        /// Halt, or start reopening.
        halted: bool,
        /// Distinguishes one request from the next.
        reference: Digest,
    },
    /// Something happened to a vault and is final on its chain. These are done in the vault's own
    /// order; a validator that attests another one of the same kind takes its last back.
    Vault {
        /// The vault's chain.
        chain: SettlementChain,
        /// What happened.
        event: VaultEvent,
    },
}

/// What happened to a vault. Lists hold 1 to `VAULT_EVENTS_MAX` entries and begin where the engine's
/// cursor stands ([`crate::vault::VaultState`]). Validators that cut them at the settlement chain's
/// blocks attest the same ones.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum VaultEvent {
    /// Deposits, in the vault's order. Opens accounts for owners that have none.
    Deposits {
        /// Number of the first.
        first: u64,
        /// They.
        #[borsh(deserialize_with = "bounded::<_, _, VAULT_EVENTS_MAX>")]
        deposits: Vec<Deposit>,
    },
    /// The last credited deposits were taken away by a reorganisation of the chain.
    DepositsUnwound {
        /// Number of the first of them; the last is the last one credited.
        first: u64,
        /// The vault's hash over the deposits before them.
        previous: Digest,
        /// They, as they were credited.
        #[borsh(deserialize_with = "bounded::<_, _, VAULT_EVENTS_MAX>")]
        deposits: Vec<Deposit>,
    },
    /// Requests for forced withdrawal, in the vault's order. Each is answered at once: the account's
    /// orders are cancelled and what is free is paid, up to the amount.
    ForcedRequests {
        /// Number of the first.
        first: u64,
        /// They.
        #[borsh(deserialize_with = "bounded::<_, _, VAULT_EVENTS_MAX>")]
        requests: Vec<ForcedRequest>,
    },
    /// Accounts that the insurance pool bought in an outage, in the vault's order.
    Crystallised {
        /// Number of the first.
        first: u64,
        /// They.
        #[borsh(deserialize_with = "bounded::<_, _, VAULT_EVENTS_MAX>")]
        accounts: Vec<Crystallisation>,
    },
    /// What the vault holds. While it is less than it owes, nothing is withdrawn.
    Anchored {
        /// The settlement chain's block; higher than the last one's.
        block: u64,
        /// The vault's balance of the token.
        assets: Cash,
        /// What it has paid for withdrawals so far.
        paid: Cash,
    },
    /// The vault is frozen: the venue is over, everybody leaves on chain.
    Frozen,
}

/// A request for forced withdrawal, as the vault's event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ForcedRequest {
    /// Who asks: the owner of the account.
    pub owner: Address,
    /// How much at most.
    pub amount: Cash,
    /// Who is paid; the owner where it is the zero address.
    pub recipient: Address,
}

/// An account that the insurance pool bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Crystallisation {
    /// The account: the index of its exit leaf.
    pub account: AccountId,
    /// The cash in the leaf it was bought by.
    pub cash: Cash,
    /// What the pool paid for it.
    pub paid: Cash,
}

/// The terms of a European, cash-settled option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct OptionTerms {
    /// On what.
    pub underlying: UnderlyingId,
    /// When it settles.
    pub expiry: TimeMs,
    /// Strike in USDC for one coin.
    pub strike: Price,
    /// Call or put.
    pub kind: OptionKind,
}

/// Reads a list of at most `MAX` entries. A longer stated length is refused before anything is
/// allocated for it.
fn bounded<T: BorshDeserialize, R: Read, const MAX: usize>(reader: &mut R) -> IoResult<Vec<T>> {
    let count = usize::try_from(u32::deserialize_reader(reader)?).unwrap_or(usize::MAX);
    if count > MAX {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "a list is longer than its bound",
        ));
    }
    (0..count).map(|_| T::deserialize_reader(reader)).collect()
}

/// Domain of session signatures.
const SESSION_DOMAIN: &[u8] = b"LIFEBOAT_SESSION_COMMAND_1";
/// Domain of validators' signatures.
const VALIDATOR_DOMAIN: &[u8] = b"LIFEBOAT_VALIDATOR_COMMAND_1";

fn domain_message(domain: &[u8], chain: &ChainId, payload: &impl BorshSerialize) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    message.extend_from_slice(domain);
    message.extend_from_slice(&chain.0);
    // Writing into a Vec cannot fail; an impossible error would leave a message nobody signed.
    let _ = payload.serialize(&mut message);
    message
}

impl UserPayload {
    /// The bytes a session key signs: domain, chain id, borsh of the payload.
    pub fn session_message(&self, chain: &ChainId) -> Vec<u8> {
        domain_message(SESSION_DOMAIN, chain, self)
    }
}

impl ValidatorPayload {
    /// The bytes a validator signs: domain, chain id, borsh of the payload.
    pub fn message(&self, chain: &ChainId) -> Vec<u8> {
        domain_message(VALIDATOR_DOMAIN, chain, self)
    }
}
