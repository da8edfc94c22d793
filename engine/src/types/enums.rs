//! Small enumerations that commands, state and events share.

use borsh::{BorshDeserialize, BorshSerialize};

macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            BorshSerialize, BorshDeserialize,
        )]
        #[borsh(use_discriminant = false)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every variant, in discriminant order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

enumeration!(/// The side of an order or quote.
Side {
    /// Bids.
    Buy,
    /// Asks.
    Sell,
});
enumeration!(/// A European option's right.
OptionKind {
    /// Pays the settlement price above the strike.
    Call,
    /// Pays the settlement price below the strike.
    Put,
});
enumeration!(/// What happens to a post-only order that would trade at once.
PostOnly {
    /// The order may take.
    Off,
    /// It is rejected.
    Reject,
    /// Its price is moved one tick behind the opposite best price.
    Slide,
});
enumeration!(/// What happens when an order would trade with one of the same account.
SelfTradePrevention {
    /// The rest of the taker is cancelled.
    CancelTaker,
    /// The resting order is cancelled and matching goes on.
    CancelMaker,
    /// Both are cancelled.
    CancelBoth,
});
enumeration!(/// What happens to a resting order when the venue comes back from an outage.
RecoveryPolicy {
    /// It comes back at its old place in the queue.
    Keep,
    /// It is cancelled before anything can trade.
    Cancel,
});
enumeration!(/// Which margin rules an account is under.
MarginModel {
    /// Scenario-based portfolio margin (PM2).
    Portfolio,
    /// Deribit-style standard margin.
    Standard,
});
enumeration!(/// The venue's mode. `modes` holds the transition and permission tables.
Mode {
    /// Everything goes on.
    Open,
    /// Nothing trades; cancels only inside the rules.
    Halted,
    /// Waiting until a quorum agrees on the root and sources agree on prices.
    Verify,
    /// Orders may only be cancelled.
    CancelOnly,
    /// Orders may rest but not take.
    PostOnly,
    /// The matching layer is out; margin, liquidation, expiry, deposits and withdrawals go on.
    ClearingOnly,
    /// The reopening auction collects orders.
    Auction,
    /// The vault is frozen on chain. Terminal.
    Exit,
});

impl Side {
    /// The other side.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// +1 for a buy, −1 for a sell.
    #[inline]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }
}

/// How long an order lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    GoodTilCancelled,
    /// Until a block's time reaches this instant.
    GoodTilDate(super::TimeMs),
    /// What does not trade at once is cancelled.
    ImmediateOrCancel,
    /// It trades whole at once or not at all.
    FillOrKill,
}
