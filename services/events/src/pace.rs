//! `InvocationRateLimitPerSecond`: at most so many invocations in any second. Who is over it sleeps until its slot.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Slots that are remembered of one destination; higher rates are kept over a shorter time than a second.
const MOST_SLOTS: u32 = 1000;

/// Destination ARN → its latest slots, in milliseconds since 1970.
#[derive(Default)]
pub struct Pace(Mutex<BTreeMap<String, VecDeque<i64>>>);

impl Pace {
    /// Takes the next slot, in milliseconds since 1970; not before `now`.
    pub fn slot(&self, destination: &str, a_second: u32, now: i64) -> i64 {
        let count = a_second.clamp(1, MOST_SLOTS);
        let span_ms = i64::from(count) * 1000 / i64::from(a_second.max(1));
        let count = count as usize;
        let mut all = self.0.lock();
        all.retain(|name, slots| name == destination || slots.back().is_some_and(|last| last + 1000 > now));
        let slots = all.entry(destination.into()).or_default();
        slots.drain(..slots.len().saturating_sub(count));
        let free = slots.front().filter(|_| slots.len() == count).map_or(now, |first| first + span_ms);
        let at = free.max(now);
        slots.push_back(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_allowed() {
        let pace = Pace::default();
        let slots: Vec<i64> = (0..5).map(|_| pace.slot("a", 2, 1000)).collect();
        assert_eq!(slots, [1000, 1000, 2000, 2000, 3000]);
        assert_eq!(pace.slot("b", 2, 1000), 1000);
        assert_eq!(pace.slot("a", 2, 9000), 9000);
    }

    #[test]
    fn high_rates_are_kept_over_shorter_times() {
        let pace = Pace::default();
        let slots: Vec<i64> = (0..1001).map(|_| pace.slot("a", 10_000, 0)).collect();
        assert_eq!((slots[999], slots[1000]), (0, 100));
    }
}
