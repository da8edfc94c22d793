//! Rate limits: one token bucket a connection and one an account.

use std::time::Instant;

/// How many requests may be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second, sustained.
    pub per_second: f64,
    /// Requests at once after a pause.
    pub burst: f64,
}

/// A bucket that fills at a rate and is drained by requests.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: Rate,
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: rate.burst,
            filled_at: now,
        }
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate.per_second).min(self.rate.burst);
        self.filled_at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let rate = Rate {
            per_second: 10.0,
            burst: 5.0,
        };
        let mut bucket = TokenBucket::new(rate, start);
        let burst = (0..10).filter(|_| bucket.take(start)).count();
        assert_eq!(burst, 5);
        assert!(!bucket.take(start + Duration::from_millis(99)));
        assert!(bucket.take(start + Duration::from_millis(200)));
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 5);
    }
}
