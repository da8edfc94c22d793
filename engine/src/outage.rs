//! When liquidation is held back: outages, the grace after them, sources that have to agree again.
//!
//! **Owns** the three questions that stand before a liquidation besides the age of a price, one gate for
//! each underlying, all of it under the state root. **Never** looks at an account. Invariant I5.
//!
//! An outage begins when trading stops by a halt, a gap between blocks or a fault (HALTED or
//! CLEARING_ONLY), and is over when trading is back: at the change of mode to OPEN. From then on grace
//! runs by block time.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::types::{Mode, TimeMs};

/// One underlying's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OutageGate {
    /// Whether trading is out on the whole venue.
    venue_out: bool,
    /// Whether it is out on this underlying alone.
    own_out: bool,
    /// When the last outage began; 0 before the first.
    pub began_at: TimeMs,
    /// Until when grace holds after it.
    grace_until: TimeMs,
    /// Whether sources agreed, for as long as VERIFY asks, since the last outage or loss of the index.
    trusted: bool,
    /// Since when they agree; 0 while they do not.
    agreed_since: TimeMs,
}

impl OutageGate {
    /// Before the first outage.
    pub const fn new() -> Self {
        Self {
            venue_out: false,
            own_out: false,
            began_at: TimeMs::new(0),
            grace_until: TimeMs::new(0),
            trusted: true,
            agreed_since: TimeMs::new(0),
        }
    }

    /// The mode of the underlying alone (`own`), or of the whole venue, is now `to`. Trading is back when
    /// both are.
    pub fn on_mode(&mut self, own: bool, to: Mode, now: TimeMs, grace_ms: u64) {
        let was_out = self.is_out();
        let out = match own {
            true => &mut self.own_out,
            false => &mut self.venue_out,
        };
        match to {
            Mode::Halted | Mode::ClearingOnly => {
                *out = true;
                if !was_out {
                    self.began_at = now;
                }
                self.distrust();
            }
            Mode::Open => {
                *out = false;
                if was_out && !self.is_out() {
                    self.grace_until = now.plus_ms(grace_ms);
                }
            }
            _ => {}
        }
    }

    const fn is_out(&self) -> bool {
        self.venue_out || self.own_out
    }

    /// Its sources have to agree again.
    pub const fn distrust(&mut self) {
        self.trusted = false;
        self.agreed_since = TimeMs::new(0);
    }

    /// Takes in whether sources agree at a tick. True when they have for long enough.
    pub fn look(&mut self, agree: bool, now: TimeMs, agreement_ms: u64) -> bool {
        if self.trusted {
            return false;
        }
        if !agree {
            self.agreed_since = TimeMs::new(0);
            return false;
        }
        if self.agreed_since.get() == 0 {
            self.agreed_since = now;
        }
        self.trusted = now.since(self.agreed_since) >= agreement_ms;
        self.trusted
    }

    /// Whether its price may liquidate.
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Since when its sources agree that now price it; 0 if they were never in doubt. Nothing was liquidated
    /// by its price from the outage or loss before until after this moment.
    pub const fn agreed_since(&self) -> TimeMs {
        self.agreed_since
    }

    /// Until when accounts have grace: without an end while trading is out, 0 when they have none.
    pub fn grace_until(&self, now: TimeMs) -> TimeMs {
        match self.is_out() {
            true => TimeMs::new(u64::MAX),
            false if now < self.grace_until => self.grace_until,
            false => TimeMs::new(0),
        }
    }
}

impl Default for OutageGate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> TimeMs {
        TimeMs::new(ms)
    }

    #[test]
    fn grace_lasts_through_an_outage_and_an_hour_from_the_return_of_trading() {
        let mut gate = OutageGate::new();
        assert_eq!(gate.grace_until(at(5)), at(0));
        let ladder = [
            (10, Mode::Halted),
            (11, Mode::Verify),
            (12, Mode::Halted),
            (13, Mode::Verify),
            (50, Mode::CancelOnly),
            (60, Mode::Auction),
            (70, Mode::PostOnly),
        ];
        for (now, mode) in ladder {
            gate.on_mode(false, mode, at(now), 3_600);
            assert_eq!(gate.grace_until(at(now)), at(u64::MAX));
        }
        assert_eq!(gate.began_at, at(10));
        gate.on_mode(false, Mode::Open, at(80), 3_600);
        assert_eq!(gate.grace_until(at(80)), at(3_680));
        assert_eq!(gate.grace_until(at(3_679)), at(3_680));
        assert_eq!(gate.grace_until(at(3_680)), at(0));
        // An auction that no halt led to is no outage.
        gate.on_mode(false, Mode::Auction, at(4_000), 3_600);
        assert_eq!(gate.grace_until(at(4_000)), at(0));
    }

    #[test]
    fn trading_is_back_when_the_venue_and_the_underlying_are() {
        let mut gate = OutageGate::new();
        gate.on_mode(true, Mode::Halted, at(10), 100);
        gate.on_mode(false, Mode::Halted, at(20), 100);
        gate.on_mode(false, Mode::Open, at(30), 100);
        assert_eq!(gate.grace_until(at(30)), at(u64::MAX));
        assert_eq!(gate.began_at, at(10));
        gate.on_mode(true, Mode::Open, at(40), 100);
        assert_eq!(gate.grace_until(at(40)), at(140));
    }

    #[test]
    fn sources_have_to_agree_without_a_break() {
        let mut gate = OutageGate::new();
        assert!(gate.is_trusted());
        gate.distrust();
        for (now, agree) in [(10, true), (20, true), (30, false), (40, true), (60, true)] {
            assert!(!gate.look(agree, at(now), 30));
            assert!(!gate.is_trusted());
        }
        assert!(gate.look(true, at(70), 30));
        assert!(gate.is_trusted());
        assert!(!gate.look(true, at(71), 30), "said once");
    }
}
