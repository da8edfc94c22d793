//! Identifiers. Each is a newtype with a private field: an id of one kind is never taken for another.

use borsh::{BorshDeserialize, BorshSerialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            BorshSerialize, BorshDeserialize,
        )]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw value.
            #[inline]
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw value.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(/// An account's dense index, given in the order of first deposits. `0..ACCOUNTS_MAX`.
    AccountId(u32));
id!(/// An instrument's dense index, given in listing order and never reused.
    InstrumentId(u32));
id!(/// An underlying's index in the venue's parameters (BTC, ETH, …).
    UnderlyingId(u8));
id!(/// A validator's index in the venue's validator set.
    ValidatorId(u16));
id!(/// An order's permanent id: `generation << 32 | slot`. Never reused, identical on every replica
    /// and after every recovery.
    OrderId(u64));
id!(/// The client's own order id; 0 means none. Idempotent per account.
    ClientOrderId(u64));
id!(/// A number that a key uses once. See `auth` for the window that tolerates reordering.
    Nonce(u64));
id!(/// A block's height; genesis is 0, the first block 1.
    Height(u64));
id!(/// Milliseconds since the Unix epoch, as agreed in a block header.
    TimeMs(u64));
id!(/// A settlement chain by number: the EIP-155 id of an EVM chain.
    SettlementChain(u64));

impl OrderId {
    /// The id of the `generation`-th order that used `slot`.
    #[inline]
    pub const fn from_parts(generation: u32, slot: u32) -> Self {
        Self(((generation as u64) << 32) | slot as u64)
    }

    /// The order slot this id points into.
    #[inline]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// How often the slot had been used when this order took it.
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Height {
    /// The next height. Saturates, which no chain reaches.
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl TimeMs {
    /// This instant moved forward; saturates at the end of time.
    #[inline]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 if it is not earlier.
    #[inline]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident($len:literal)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
        )]
        pub struct $name(pub [u8; $len]);

        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

bytes!(/// An owner's Ethereum-style address: the last 20 bytes of keccak256 of the public key.
    Address(20));
bytes!(/// An ed25519 verification key (a session's or a validator's).
    PublicKey(32));
bytes!(/// A keccak256 digest: block digests, state roots, command digests.
    Digest(32));
bytes!(/// Which venue a signature is for: bound into every signed payload.
    ChainId(32));
