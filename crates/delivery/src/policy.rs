//! When to try again, and when to give up.

use serde::{Deserialize, Serialize};
use tidemill_platform::Random;

/// How often and how long an event is tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Attempts that count, the first included; at least 1.
    pub max_attempts: u32,
    /// Seconds after its acceptance at which an event is given up.
    pub max_age_s: i64,
    pub backoff: Backoff,
}

/// The wait before the next attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Backoff {
    /// Seconds before the second, third, … attempt; the last one repeats.
    Fixed(Vec<i64>),
    /// Doubles from `first_ms` up to `max_ms`, of which a random half is taken off (AWS's "backoff with jitter").
    Exponential { first_ms: i64, max_ms: i64 },
}

impl Policy {
    /// Lambda's asynchronous invocation: two retries, after one and two minutes, within six hours.
    pub fn lambda_async() -> Policy {
        Policy { max_attempts: 3, max_age_s: 21_600, backoff: Backoff::Fixed(vec![60, 120]) }
    }

    /// EventBridge's target: 185 retries within 24 hours.
    pub fn event_bridge() -> Policy {
        Policy {
            max_attempts: 186,
            max_age_s: 86_400,
            backoff: Backoff::Exponential { first_ms: 1000, max_ms: 480_000 },
        }
    }

    /// Milliseconds to wait after the `tries`-th attempt (1 for the first).
    pub fn wait_ms(&self, tries: u32, random: &Random) -> i64 {
        match &self.backoff {
            Backoff::Fixed(waits) => {
                let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
                waits.get(at).or(waits.last()).copied().unwrap_or(0).saturating_mul(1000)
            }
            Backoff::Exponential { first_ms, max_ms } => {
                let doubled =
                    first_ms.saturating_mul(1 << tries.saturating_sub(1).min(30)).clamp(1, (*max_ms).max(1));
                doubled - (random.below(doubled.unsigned_abs() / 2 + 1) as i64)
            }
        }
    }
}

/// The wait after a throttled attempt of an asynchronous invocation: from one second, doubling, up to five minutes.
pub fn throttle_wait_ms(tries: u32) -> i64 {
    (1000_i64 << tries.saturating_sub(1).min(20)).min(300_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_waits_one_minute_then_two() {
        let (policy, random) = (Policy::lambda_async(), Random::seeded(1));
        assert_eq!([1, 2, 3].map(|tries| policy.wait_ms(tries, &random)), [60_000, 120_000, 120_000]);
    }

    #[test]
    fn exponential_waits_stay_between_half_and_whole() {
        let (policy, random) = (Policy::event_bridge(), Random::seeded(1));
        for (tries, whole) in [(1, 1000), (2, 2000), (5, 16_000), (100, 480_000)] {
            let wait = policy.wait_ms(tries, &random);
            assert!(wait >= whole / 2 && wait <= whole, "{wait} for {tries}");
        }
    }

    #[test]
    fn throttled_attempts_wait_up_to_five_minutes() {
        assert_eq!([1, 2, 9, 40].map(throttle_wait_ms), [1000, 2000, 256_000, 300_000]);
    }
}
