//! What happened, in the past tense. The stream is part of replay: same blocks, same events.
//!
//! Every event carries the venue's gap-free sequence number by position: the `n`-th event since
//! genesis has sequence `n`, and [`crate::Applied`] names the first of its block.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::auction::SealSignature;
use crate::breakers::{Breaker, Trip};
use crate::command::OptionTerms;
use crate::reject::Reject;
use crate::settlement::{IndexFault, SourceDoubt};
use crate::types::{
    AccountId, Address, Cash, ClientOrderId, Height, InstrumentId, Mode, OrderId, Price, PublicKey,
    Qty, SettlementChain, Side, TimeMs, UnderlyingId, ValidatorId,
};

/// Appends an event that is made where it will lie. `push` makes it first and copies it then, which
/// reads back in wide pieces what was just written in small ones: the processor must let all earlier
/// writes finish for that, and they go to memory far away.
#[inline(always)]
pub(crate) fn emit(events: &mut Vec<Event>, make: impl FnOnce() -> Event) {
    let count = events.len();
    if count == events.capacity() {
        events.reserve(1);
    }
    if let Some(place) = events.spare_capacity_mut().first_mut() {
        place.write(make());
        // SAFETY: there is room for one more, and it was just written.
        unsafe { events.set_len(count.wrapping_add(1)) };
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Event {
    /// The `index`-th command of the block was done.
    CommandApplied { index: u32 },
    /// The `index`-th command of the block was refused and left no trace.
    CommandRejected { index: u32, reject: Reject },
    /// The `index`-th command is on the quarantine list and was skipped.
    CommandQuarantined { index: u32 },
    /// An order was accepted. What it traded at once follows.
    OrderPlaced(OrderPlaced),
    /// An order with a remembered client id was sent again; this is the first one's id.
    OrderRepeated {
        account: AccountId,
        client_id: ClientOrderId,
        order: OrderId,
    },
    /// An order's price or size changed: its account asked, or it is reduce-only and was cut to the
    /// position that is left to reduce. `qty` is the whole size, filled part included.
    OrderAmended {
        account: AccountId,
        order: OrderId,
        instrument: InstrumentId,
        price: Price,
        qty: Qty,
        kept_priority: bool,
    },
    /// An order ended without being filled whole.
    OrderCancelled {
        account: AccountId,
        order: OrderId,
        instrument: InstrumentId,
        unfilled: Qty,
        reason: CancelReason,
    },
    /// A quote was set, or moved: it keeps its id, and its place only if its price stays and its
    /// size does not grow.
    QuotePlaced {
        account: AccountId,
        order: OrderId,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        qty: Qty,
    },
    /// An entry of a mass quote was refused; the account's earlier quote of that side is gone.
    QuoteRejected {
        account: AccountId,
        instrument: InstrumentId,
        side: Side,
        reject: Reject,
    },
    /// Two orders traded.
    Traded(Trade),
    /// An account's market-maker protection tripped; its quotes were pulled.
    ProtectionTripped {
        account: AccountId,
        underlying: UnderlyingId,
        frozen_until: TimeMs,
    },
    /// A session key was registered.
    SessionRegistered {
        account: AccountId,
        key: PublicKey,
        expires_at: TimeMs,
    },
    /// A session key was removed.
    SessionRevoked { account: AccountId, key: PublicKey },
    /// An account was opened by its first deposit.
    AccountOpened { account: AccountId, owner: Address },
    /// A vault's deposit was credited.
    Deposited {
        account: AccountId,
        amount: Cash,
        chain: SettlementChain,
        number: u64,
    },
    /// An instrument was listed.
    InstrumentListed {
        instrument: InstrumentId,
        terms: OptionTerms,
    },
    /// An instrument settled and is gone from the books.
    InstrumentSettled {
        instrument: InstrumentId,
        settlement: Price,
        payoff: Price,
    },
    /// A position was settled in cash.
    PositionSettled {
        account: AccountId,
        instrument: InstrumentId,
        position: Qty,
        cash: Cash,
    },
    /// Settlement waits for more samples.
    SettlementDeferred {
        underlying: UnderlyingId,
        expiry: TimeMs,
        samples: u32,
    },
    /// The index moved.
    IndexUpdated {
        underlying: UnderlyingId,
        price: Price,
        sources: u8,
    },
    /// There is no index any more: no mark moves, nobody is liquidated by it, and initial margin on
    /// what it prices is higher until it is back. `sources` has the thinnest validator, `frozen` are the
    /// sources that stand still, and `dispersion_ppm` is how far apart they are, where there are any.
    IndexLost {
        underlying: UnderlyingId,
        sources: u8,
        fault: IndexFault,
        frozen: Vec<u8>,
        dispersion_ppm: Option<u32>,
    },
    /// Marks and margin were computed anew.
    MarksUpdated {
        underlying: UnderlyingId,
        instruments: u32,
    },
    /// An account went under maintenance margin.
    LiquidationStarted {
        account: AccountId,
        maintenance: Cash,
        mark_to_market: Cash,
        basis: LiquidationBasis,
    },
    /// A slice was sold to a backstop maker. Margins are those before it.
    LiquidationSold {
        account: AccountId,
        buyer: AccountId,
        part_ppm: u32,
        price: Cash,
        maintenance: Cash,
        mark_to_market: Cash,
        basis: LiquidationBasis,
    },
    /// The insurance fund took over what was left.
    LiquidationToFund {
        account: AccountId,
        paid_by_fund: Cash,
        basis: LiquidationBasis,
    },
    /// The account is above maintenance plus buffer again.
    LiquidationEnded { account: AccountId },
    /// The venue's mode changed.
    ModeChanged {
        from: Mode,
        to: Mode,
        reason: ModeReason,
    },
    /// A deposit for which there is no room in the venue; it goes back as the withdrawal that
    /// follows.
    DepositReturned {
        owner: Address,
        amount: Cash,
        chain: SettlementChain,
        number: u64,
    },
    /// A credited deposit was taken back: its chain forgot it. `owed` is how far the account's cash is
    /// under zero since.
    DepositUnwound {
        account: AccountId,
        amount: Cash,
        chain: SettlementChain,
        number: u64,
        owed: Cash,
    },
    /// Cash left an account, or a returned deposit the venue, to be claimed from a vault by this number.
    Withdrawn {
        account: Option<AccountId>,
        chain: SettlementChain,
        number: u32,
        owner: Address,
        recipient: Address,
        amount: Cash,
    },
    /// A request for forced withdrawal was answered; a payment precedes it.
    ForcedAnswered {
        chain: SettlementChain,
        number: u64,
        owner: Address,
        asked: Cash,
        paid: Cash,
    },
    /// The fund took over an account that the insurance pool had bought.
    AccountCrystallised {
        account: AccountId,
        chain: SettlementChain,
        number: u64,
        cash: Cash,
        paid: Cash,
    },
    /// The insurance pool's purchase of an account lapsed: the account had gone on since the leaf it was
    /// bought by.
    CrystallisationLapsed {
        account: AccountId,
        chain: SettlementChain,
        number: u64,
    },
    /// Withdrawals are held, or held no longer: what the vault holds beside what it owes.
    VaultAnchored {
        chain: SettlementChain,
        block: u64,
        assets: Cash,
        owed: Cash,
        held: bool,
    },
    /// An underlying's auction began. Orders are sealed to its number and `began_at`, if at all.
    AuctionBegan {
        underlying: UnderlyingId,
        auction: u64,
        began_at: TimeMs,
        closes_at: TimeMs,
        sealed: bool,
    },
    /// A sealed order was taken in; `seal` is its number in the auction.
    OrderSealed {
        account: AccountId,
        underlying: UnderlyingId,
        auction: u64,
        seal: u32,
        bond: Cash,
    },
    /// A sealed order was taken back.
    SealWithdrawn {
        account: AccountId,
        underlying: UnderlyingId,
        auction: u64,
        seal: u32,
        bond: Cash,
    },
    /// Where the public orders of an auction would clear, in its last phase, and how many sealed ones
    /// there are besides.
    AuctionIndicated {
        underlying: UnderlyingId,
        auction: u64,
        seals: u32,
        indications: Vec<Indication>,
    },
    /// An auction closed with this block: nothing is placed in it or withdrawn from it any more.
    AuctionClosed {
        underlying: UnderlyingId,
        auction: u64,
        seals: u32,
    },
    /// The signature that opens an auction's seals came and verified.
    AuctionOpened {
        underlying: UnderlyingId,
        auction: u64,
        signature: SealSignature,
    },
    /// A seal was opened; the order that was in it follows.
    SealOpened {
        account: AccountId,
        underlying: UnderlyingId,
        auction: u64,
        seal: u32,
        order: OrderId,
    },
    /// A sealed order is out, and why. Its bond is released but for what it forfeits to the insurance
    /// fund.
    SealDropped {
        account: AccountId,
        underlying: UnderlyingId,
        auction: u64,
        seal: u32,
        reason: Reject,
        forfeited: Cash,
    },
    /// An instrument was cleared; its trades follow, all at this price.
    AuctionCleared(Cleared),
    /// The price of these instruments left the collar: they go on collecting under another number. What
    /// is public in them stays as it is.
    AuctionExtended {
        underlying: UnderlyingId,
        auction: u64,
        next: u64,
        began_at: TimeMs,
        closes_at: TimeMs,
        instruments: Vec<InstrumentId>,
    },
    /// An underlying's auction is over.
    AuctionEnded {
        underlying: UnderlyingId,
        auction: u64,
    },
    /// An underlying's auction was given up because the venue stopped.
    AuctionAborted {
        underlying: UnderlyingId,
        auction: u64,
    },
    /// A lost index is back after so long.
    IndexRestored {
        underlying: UnderlyingId,
        price: Price,
        sources: u8,
        lost_ms: u64,
    },
    /// A source stands still, or apart, as a validator sees it; or it no longer does.
    SourceDoubted {
        underlying: UnderlyingId,
        validator: ValidatorId,
        source: u8,
        doubt: SourceDoubt,
        price: Price,
        median: Price,
    },
    /// The settlement stablecoin's price in dollars changed.
    StableUpdated { price: Price, sources: u8 },
    /// Sources agree on an underlying again after an outage or the loss of its index: it liquidates.
    SourcesAgreed {
        underlying: UnderlyingId,
        sources: u8,
    },
    /// An account is under maintenance and has time to add collateral: until then, or until an hour (by
    /// default) after trading is back where it is `None`. Its orders that could add risk are cancelled.
    GraceGiven {
        account: AccountId,
        maintenance: Cash,
        mark_to_market: Cash,
        until: Option<TimeMs>,
    },
    /// The volatility index was made anew, in 1e-6 (550 000 is an index of 55), from so many strikes of
    /// the last expiry within 30 days and of the first beyond; 0 where one expiry stands alone.
    VolatilityIndexUpdated {
        underlying: UnderlyingId,
        ppm: u32,
        strikes_near: u16,
        strikes_next: u16,
    },
    /// A breaker tripped: the figure reached the bound of the level. Without an underlying it is one of
    /// the whole venue's.
    BreakerTripped {
        underlying: Option<UnderlyingId>,
        trip: Trip,
    },
    /// A breaker's figure is back, and it may trip at its first level again.
    BreakerReleased {
        underlying: Option<UnderlyingId>,
        breaker: Breaker,
        horizon_ms: u64,
        figure: i64,
    },
    /// Price bands of an underlying are tight until then.
    BandsTightened {
        underlying: UnderlyingId,
        until: TimeMs,
        band_ppm: u32,
        market_bound_ppm: u32,
    },
    /// The mode of one underlying changed; it counts while the venue is open.
    UnderlyingModeChanged {
        underlying: UnderlyingId,
        from: Mode,
        to: Mode,
        reason: ModeReason,
    },
    /// The fund can not take over what a liquidation left, or not carry what it has: the waterfall
    /// follows. Margins are those before it.
    ClosedOut {
        account: AccountId,
        maintenance: Cash,
        mark_to_market: Cash,
        basis: LiquidationBasis,
    },
    /// A step of the waterfall bore `paid` of an account's loss, at most its bound; so much is left. The
    /// payer is one account, or those that the events before name.
    LossAllocated {
        account: AccountId,
        step: LossStep,
        payer: Option<AccountId>,
        paid: Cash,
        bound: Cash,
        left: Cash,
    },
    /// A part of an account's gain of the day went to a loss.
    GainHaircut {
        account: AccountId,
        loser: AccountId,
        gain: Cash,
        bound: Cash,
        paid: Cash,
    },
    /// A position of an account was closed at the mark against a holder of the other side, by rank. Of
    /// `position` (signed, as the account held it) nothing is left with the account, and as much is gone
    /// from the holder. The account paid the holder `cash`: what the position is worth less what was held
    /// back for the loss.
    PositionTornUp {
        account: AccountId,
        holder: AccountId,
        instrument: InstrumentId,
        position: Qty,
        cash: Cash,
        held_back: Cash,
        rank: u32,
    },
    /// An expiry settled: at the mean of so many samples of those wanted, so long after its time, and
    /// whether the wait was over before there were enough. Its positions and instruments follow.
    ExpirySettled {
        underlying: UnderlyingId,
        expiry: TimeMs,
        price: Price,
        samples: u32,
        samples_min: u32,
        deferred_ms: u64,
        waited_out: bool,
    },
    /// A day began, at 08:00 UTC: gains are counted from here.
    DayBegan { day: u32 },
}

/// A step of the waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LossStep {
    /// The insurance fund, as far as it keeps its own maintenance margin.
    Fund,
    /// The operator's stake.
    Stake,
    /// A share of the day's gains.
    Haircut,
    /// What those are owed whose positions are torn up.
    TearUp,
    /// What nobody could bear: the fund owes it, and fees go there until it is paid.
    Debt,
}

/// Where an instrument's public orders would clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Indication {
    /// Where.
    pub instrument: InstrumentId,
    /// The price: of the trades there would be, or, where the sides do not cross, the one between them
    /// that is nearest to the mark.
    pub price: Price,
    /// How much would trade.
    pub qty: Qty,
    /// What is bid for at that price or better less what is offered.
    pub imbalance: Qty,
}

/// How an instrument was cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Cleared {
    /// The auction.
    pub auction: u64,
    /// Where.
    pub instrument: InstrumentId,
    /// The one price; the collar's nearest end where nothing trades within it.
    pub price: Price,
    /// How much trades.
    pub qty: Qty,
    /// What is bid for at that price or better less what is offered.
    pub imbalance: Qty,
    /// The price that the orders alone would have made.
    pub free_price: Price,
    /// The mark that the collar lies around.
    pub mark: Price,
    /// The collar's low end.
    pub low: Price,
    /// The collar's high end.
    pub high: Price,
}

/// The prices that an account was liquidated by, at the moment of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LiquidationBasis {
    /// Age of the oldest of the indices under what it holds.
    pub age_ms: u64,
    /// Fewest sources behind any of them.
    pub sources: u8,
    /// Until when it has grace: 0 for none, the greatest time while trading is out. In grace only
    /// accounts far under maintenance are sold, at auction.
    pub grace_until: TimeMs,
}

/// A newly accepted order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OrderPlaced {
    /// Whose.
    pub account: AccountId,
    /// Its permanent id.
    pub order: OrderId,
    /// The client's id, or 0.
    pub client_id: ClientOrderId,
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// Its price after sliding or bounding.
    pub price: Price,
    /// Its whole size.
    pub qty: Qty,
    /// Echoed from the command.
    pub label: Vec<u8>,
}

/// One fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Trade {
    /// The venue-wide trade number, gap-free from 1.
    pub trade: u64,
    /// Where.
    pub instrument: InstrumentId,
    /// At the maker's price; in an auction at its one price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// The aggressor's side; in an auction that of the order that came later, and both pay as makers.
    pub taker_side: Side,
    /// The aggressor.
    pub taker: AccountId,
    /// The aggressor's order.
    pub taker_order: OrderId,
    /// What the aggressor paid.
    pub taker_fee: Cash,
    /// The resting side.
    pub maker: AccountId,
    /// The resting order.
    pub maker_order: OrderId,
    /// What the maker paid (a rebate is negative).
    pub maker_fee: Cash,
    /// Whether the maker's order has nothing left.
    pub maker_filled: bool,
}

/// Why an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum CancelReason {
    /// The account asked.
    User,
    /// What an IOC or market order could not trade.
    Immediate,
    /// A good-til-date order's time came.
    Expired,
    /// It met an order of the same account.
    SelfTrade,
    /// Market-maker protection tripped.
    Protection,
    /// The account is in liquidation.
    Liquidation,
    /// The instrument settled.
    Settlement,
    /// Its recovery policy, after an outage.
    Recovery,
    /// A new quote took its place.
    Requoted,
    /// A reduce-only order that no longer reduces.
    NotReducing,
    /// It would have traded at the auction's unbounded price, but not within the collar, and cannot rest
    /// through the other side.
    AuctionCollar,
    /// Its fill in the auction could have taken the account under initial margin.
    AuctionMargin,
    /// It came out of a sealed order whose auction was given up.
    AuctionAborted,
}

/// Why the mode changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ModeReason {
    /// No block for longer than the gap allows.
    BlockGap { gap_ms: u64 },
    /// A command broke the engine and was quarantined.
    Quarantine { height: Height, index: u32 },
    /// A quorum agreed on a root past the fault.
    RootAgreed { height: Height },
    /// Sources agree for as long as the rule asks.
    PricesAgree,
    /// The mode's time has run.
    TimeElapsed,
    /// A quorum of validators asked.
    Attested,
    /// A vault is frozen on its chain.
    VaultFrozen,
    /// Every auction is over.
    AuctionOver,
    /// A breaker tripped at this level.
    Breaker { breaker: Breaker, level: u8 },
}
