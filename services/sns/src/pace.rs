//! `maxReceivesPerSecond`: when the next request to an endpoint may be sent.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Subscriptions whose slots are remembered; beyond it the past ones are forgotten.
const REMEMBERED: usize = 4096;

/// The next free moment of each subscription that has a pace, in microseconds since 1970.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<String, i64>>);

impl Pace {
    /// Takes the next slot; gives its moment in milliseconds since 1970, which is not before `now`.
    pub fn slot(&self, subscription: &str, a_second: u32, now: i64) -> i64 {
        let step = 1_000_000 / i64::from(a_second.max(1));
        let mut next = self.0.lock();
        if next.len() > REMEMBERED {
            next.retain(|_, at| *at > now * 1000);
        }
        let free = next.entry(subscription.into()).or_insert(0);
        let at = (*free).max(now * 1000);
        *free = at + step;
        at / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other() {
        let pace = Pace::default();
        let slots: Vec<i64> = (0..3).map(|_| pace.slot("a", 4, 1000)).collect();
        assert_eq!(slots, [1000, 1250, 1500]);
        assert_eq!(pace.slot("b", 4, 1000), 1000);
        assert_eq!(pace.slot("a", 4, 9000), 9000);
    }
}
