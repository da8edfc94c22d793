//! Modes: what may happen when, and how one mode follows another.
//!
//! **Owns** the permission table (action × mode) and the transition table, both plain data, by which the
//! venue and each underlying go. **Only** permits or refuses: it never touches an order, an account or a
//! price. Invariant I7.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::types::{Mode, TimeMs};

/// What a mode permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// An order that may trade at once.
    Take,
    /// An order or quote that may only rest.
    Rest,
    /// Cancelling, and amending an order to a smaller size.
    Cancel,
    /// Managing session keys, margin models and protection.
    Manage,
    /// Crediting deposits.
    Deposit,
    /// Withdrawing inside the solvency gate.
    Withdraw,
    /// Margin ticks and liquidation by auction.
    Liquidate,
    /// Expiry settlement.
    Settle,
    /// A sealed order for the reopening auction.
    AuctionOrder,
}

impl Activity {
    /// Every activity, in table order.
    pub const ALL: [Self; 9] = [
        Self::Take,
        Self::Rest,
        Self::Cancel,
        Self::Manage,
        Self::Deposit,
        Self::Withdraw,
        Self::Liquidate,
        Self::Settle,
        Self::AuctionOrder,
    ];
}

/// A mode's row of the permission table: the activities it permits.
struct Row {
    mode: Mode,
    permits: &'static [Activity],
}

use Activity::{AuctionOrder, Cancel, Deposit, Liquidate, Manage, Rest, Settle, Take, Withdraw};

/// Cash keeps moving, and orders can be cancelled, in every mode but the terminal one: a cancel only
/// takes risk away, and where nothing trades nobody gains by being the first to send one.
const PERMISSIONS: [Row; 8] = [
    Row {
        mode: Mode::Open,
        permits: &[
            Take, Rest, Cancel, Manage, Deposit, Withdraw, Liquidate, Settle,
        ],
    },
    Row {
        mode: Mode::Halted,
        permits: &[Cancel, Manage, Deposit, Withdraw, Settle],
    },
    Row {
        mode: Mode::Verify,
        permits: &[Cancel, Manage, Deposit, Withdraw, Settle],
    },
    Row {
        mode: Mode::CancelOnly,
        permits: &[Cancel, Manage, Deposit, Withdraw, Liquidate, Settle],
    },
    Row {
        mode: Mode::PostOnly,
        permits: &[Rest, Cancel, Manage, Deposit, Withdraw, Liquidate, Settle],
    },
    Row {
        mode: Mode::ClearingOnly,
        permits: &[Cancel, Manage, Deposit, Withdraw, Liquidate, Settle],
    },
    Row {
        mode: Mode::Auction,
        permits: &[
            AuctionOrder,
            Cancel,
            Manage,
            Deposit,
            Withdraw,
            Liquidate,
            Settle,
        ],
    },
    Row {
        mode: Mode::Exit,
        permits: &[],
    },
];

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "worked out when the crate is compiled, which stops at a mistake"
)]
/// The table's rows as bits, by mode: every command asks, so the rows are not searched each time.
const PERMITTED: [u16; PERMISSIONS.len()] = {
    let mut permitted = [0; PERMISSIONS.len()];
    let mut row = 0;
    while row < PERMISSIONS.len() {
        let mut at = 0;
        while at < PERMISSIONS[row].permits.len() {
            permitted[PERMISSIONS[row].mode as usize] |= 1 << PERMISSIONS[row].permits[at] as u16;
            at += 1;
        }
        row += 1;
    }
    permitted
};

/// Whether `mode` permits `activity`.
#[inline]
pub fn permits(mode: Mode, activity: Activity) -> bool {
    let row = PERMITTED.get(usize::from(mode as u8)).copied();
    row.unwrap_or(0) & (1 << (activity as u16)) != 0
}

/// What can move the venue from one mode to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Trigger {
    /// A breaker, or a quorum's request.
    Halt,
    /// No block for longer than the gap allows.
    BlockGap,
    /// A command was quarantined.
    MatchingFault,
    /// A quorum agreed on a root past the fault or the halt, and nobody asks for the halt any more.
    RootAgreed,
    /// Sources agreed for as long as the rule asks.
    PricesAgree,
    /// The mode's time has run.
    TimeElapsed,
    /// The vault is frozen on chain.
    VaultFrozen,
    /// Every auction is over.
    AuctionOver,
    /// A breaker asks for an auction.
    Pause,
}

struct Transition {
    from: &'static [Mode],
    trigger: Trigger,
    to: Mode,
}

const TRADING: &[Mode] = &[
    Mode::Open,
    Mode::CancelOnly,
    Mode::PostOnly,
    Mode::Auction,
    Mode::Verify,
];
const LIVE: &[Mode] = &[
    Mode::Open,
    Mode::CancelOnly,
    Mode::PostOnly,
    Mode::Auction,
    Mode::Verify,
    Mode::Halted,
    Mode::ClearingOnly,
];

const TRANSITIONS: [Transition; 10] = [
    Transition {
        from: TRADING,
        trigger: Trigger::Halt,
        to: Mode::Halted,
    },
    Transition {
        from: TRADING,
        trigger: Trigger::BlockGap,
        to: Mode::Halted,
    },
    Transition {
        from: LIVE,
        trigger: Trigger::MatchingFault,
        to: Mode::ClearingOnly,
    },
    Transition {
        from: &[Mode::Halted, Mode::ClearingOnly],
        trigger: Trigger::RootAgreed,
        to: Mode::Verify,
    },
    Transition {
        from: &[Mode::Verify],
        trigger: Trigger::PricesAgree,
        to: Mode::CancelOnly,
    },
    Transition {
        from: &[Mode::CancelOnly],
        trigger: Trigger::TimeElapsed,
        to: Mode::Auction,
    },
    Transition {
        from: &[Mode::Auction],
        trigger: Trigger::AuctionOver,
        to: Mode::PostOnly,
    },
    Transition {
        from: &[Mode::PostOnly],
        trigger: Trigger::TimeElapsed,
        to: Mode::Open,
    },
    Transition {
        from: LIVE,
        trigger: Trigger::VaultFrozen,
        to: Mode::Exit,
    },
    Transition {
        from: &[Mode::Open],
        trigger: Trigger::Pause,
        to: Mode::Auction,
    },
];

/// The mode that follows `from` on `trigger`; `None` when the table has no such row.
pub fn next(from: Mode, trigger: Trigger) -> Option<Mode> {
    TRANSITIONS
        .iter()
        .find(|t| t.trigger == trigger && t.from.contains(&from))
        .map(|t| t.to)
}

/// The current mode and what its exit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ModeState {
    /// The mode.
    pub mode: Mode,
    /// Since when.
    pub since: TimeMs,
    /// Height of the halt or fault; a root agreed at or after it lets the venue go on.
    pub fault_height: u64,
    /// A quorum asked for a halt and has not taken it back.
    pub halt_requested: bool,
    /// Since when sources have agreed on every live underlying; 0 while they do not.
    pub agreed_since: TimeMs,
}

impl ModeState {
    /// Open, since `time`.
    pub const fn open(time: TimeMs) -> Self {
        Self {
            mode: Mode::Open,
            since: time,
            fault_height: 0,
            halt_requested: false,
            agreed_since: TimeMs::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn trading_happens_only_where_the_table_says() {
        let takes: Vec<Mode> = Mode::ALL
            .iter()
            .copied()
            .filter(|&m| permits(m, Activity::Take))
            .collect();
        assert_eq!(takes, [Mode::Open]);
        let rests: Vec<Mode> = Mode::ALL
            .iter()
            .copied()
            .filter(|&m| permits(m, Activity::Rest))
            .collect();
        assert_eq!(rests, [Mode::Open, Mode::PostOnly]);
        for activity in Activity::ALL {
            assert!(!permits(Mode::Exit, activity));
        }
    }

    #[test]
    fn every_mode_has_one_row() {
        for (row, mode) in PERMISSIONS.iter().zip(Mode::ALL) {
            assert!(
                PERMISSIONS
                    .iter()
                    .filter(|other| other.mode == *mode)
                    .count()
                    == 1
            );
            let mut seen = Vec::new();
            for activity in row.permits {
                assert!(!seen.contains(activity));
                seen.push(*activity);
            }
        }
    }

    #[test]
    fn no_mode_but_exit_is_a_trap() {
        let triggers = [
            Trigger::Halt,
            Trigger::BlockGap,
            Trigger::MatchingFault,
            Trigger::RootAgreed,
            Trigger::PricesAgree,
            Trigger::TimeElapsed,
            Trigger::AuctionOver,
            Trigger::Pause,
        ];
        for start in Mode::ALL.iter().copied().filter(|&m| m != Mode::Exit) {
            let mut reached = vec![start];
            let mut at = 0;
            while at < reached.len() {
                for trigger in triggers {
                    if let Some(to) = next(reached[at], trigger)
                        && !reached.contains(&to)
                    {
                        reached.push(to);
                    }
                }
                at += 1;
            }
            assert!(reached.contains(&Mode::Open), "{start:?} never reopens");
        }
        for trigger in triggers {
            assert_eq!(next(Mode::Exit, trigger), None);
        }
    }
}
