//! Why a command was refused. Numbers are permanent: clients and the log depend on them.

use borsh::{BorshDeserialize, BorshSerialize};

macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// A coded refusal. It is replicated: every validator refuses the same command for the
        /// same reason. Ranges: 1xx auth, 2xx order form, 3xx book, 4xx risk, 5xx modes, 6xx
        /// liquidation, 7xx validators, 8xx vaults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reject { $($(#[$doc])* $name = $code,)+ }

        impl Reject {
            /// Every reject, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The permanent number.
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The reject with this number.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }

            /// The rule's name, as clients see it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

rejects! {
    /// The bytes are not a command, or it is over its bounds.
    Malformed = 100,
    /// The account does not exist.
    UnknownAccount = 101,
    /// The signature does not verify.
    BadSignature = 102,
    /// The session key is not registered for the account.
    UnknownSession = 103,
    /// The session key has expired.
    SessionExpired = 104,
    /// The nonce was used, or is below the window.
    StaleNonce = 105,
    /// `valid_until` has passed.
    CommandExpired = 106,
    /// Only the owner key may do this.
    OwnerKeyRequired = 107,
    /// The account has as many sessions as it may.
    TooManySessions = 108,
    /// The session key was removed before and cannot come back.
    SessionRetired = 109,
    /// No such instrument.
    UnknownInstrument = 200,
    /// The instrument has expired or is settling.
    InstrumentClosed = 201,
    /// The price is not a positive whole number of ticks.
    OffTick = 202,
    /// The size is not a positive whole number of lots.
    OffLot = 203,
    /// The size is over the instrument's limit.
    OrderTooLarge = 204,
    /// The price is outside the instrument's band around its mark.
    PriceOutsideBand = 205,
    /// Options that exclude each other (a market order that rests, a post-only IOC, …).
    ConflictingFlags = 206,
    /// The expiry of a good-til-date order has passed.
    ExpiryInPast = 207,
    /// The label is too long.
    LabelTooLong = 208,
    /// A mass quote without entries, with too many, or with one instrument twice.
    BadQuoteSet = 209,
    /// No live order by that id on this account.
    UnknownOrder = 300,
    /// A post-only order would have traded.
    WouldTake = 301,
    /// A fill-or-kill order could not be filled whole.
    NotFillable = 302,
    /// A reduce-only order would not reduce.
    WouldNotReduce = 303,
    /// The client order id is remembered; nothing was done.
    DuplicateClientId = 304,
    /// The account has as many orders as it may.
    TooManyOrders = 305,
    /// The account holds as many instruments as it may.
    TooManyHoldings = 306,
    /// The amended size is at or below what was filled.
    AmendBelowFilled = 307,
    /// Nothing to trade against and nothing that may rest.
    NoLiquidity = 308,
    /// Initial margin would not be met.
    MarginBelowInitial = 400,
    /// There is no mark to margin this instrument by.
    NoMark = 401,
    /// The position would be over its limit.
    PositionTooLarge = 402,
    /// The account is in liquidation.
    AccountInLiquidation = 403,
    /// Market-maker protection has tripped and is still frozen.
    ProtectionFrozen = 404,
    /// The venue is over a limit of its own (orders, accounts).
    VenueFull = 405,
    /// The venue's mode does not permit it.
    ModeForbids = 500,
    /// No auction of that number collects orders.
    NoAuction = 520,
    /// The auction has closed: until it has cleared nothing is placed in it or withdrawn from it.
    AuctionClosed = 521,
    /// The venue has no key to seal orders to.
    SealsOff = 522,
    /// The auction, or the account in it, has as many sealed orders as it may.
    TooManySeals = 523,
    /// The bond is under the least one, or under the margin that the order needs.
    BondTooSmall = 524,
    /// The account has no sealed order of that number.
    UnknownSeal = 525,
    /// The seal does not open, or there is no order in it.
    SealBroken = 526,
    /// The order in the seal is not of this account or command, or not for this auction.
    SealMisplaced = 527,
    /// The validators did not open the seals in time.
    SealUnopened = 528,
    /// The auction was given up.
    AuctionAborted = 529,
    /// The signature does not open this auction, or a share of it is there already.
    BadOpening = 530,
    /// The account is not in liquidation.
    NotInLiquidation = 600,
    /// The bid is under the auction's price.
    BidBelowAuction = 601,
    /// The part is zero or larger than may be sold.
    BadPart = 602,
    /// The account has time to add collateral after an outage.
    InGrace = 603,
    /// Not a validator, or not its key.
    UnknownValidator = 700,
    /// An observation from the future, older than the last, or with too many entries.
    BadObservation = 701,
    /// The proposal already happened, or the validator attested it already.
    AlreadyAttested = 702,
    /// The proposal is not well-formed.
    BadProposal = 703,
    /// A vault's events that do not begin where the engine's cursor stands.
    NotNext = 704,
    /// The venue has no vault on that chain.
    UnknownVault = 800,
    /// An amount of nothing or under the vault's least, or no recipient.
    BadWithdrawal = 801,
    /// More than the account's cash.
    AboveCash = 802,
    /// Withdrawals are held: the venue's books do not add up (I1), or the vault holds less than it
    /// owes.
    WithdrawalsHeld = 803,
}

impl BorshSerialize for Reject {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.code().serialize(writer)
    }
}

impl BorshDeserialize for Reject {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Self::from_code(u16::deserialize_reader(reader)?).ok_or_else(|| {
            borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "unknown reject code")
        })
    }
}
