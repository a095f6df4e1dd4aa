//! Flexible time windows: EventBridge Scheduler invokes a target at some moment within the window behind the scheduled
//! time, so that many schedules do not come due at once.

use jiff::{SignedDuration, Timestamp};

/// A flexible time window of 1 to 1440 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlexibleWindow {
    minutes: u16,
}

impl FlexibleWindow {
    /// A window of this many minutes; `None` outside 1 to 1440 (`MaximumWindowInMinutes`).
    pub fn new(minutes: u16) -> Option<Self> {
        (1..=1440).contains(&minutes).then_some(Self { minutes })
    }

    /// The moment within the window behind `scheduled` that `random` picks, to the millisecond; all are equally likely.
    pub fn pick(self, scheduled: Timestamp, random: u64) -> Timestamp {
        let window_ms = u64::from(self.minutes) * 60_000;
        let offset_ms = ((u128::from(random) * u128::from(window_ms)) >> 64) as i64;
        scheduled.saturating_add(SignedDuration::from_millis(offset_ms)).unwrap_or(scheduled)
    }
}

#[cfg(test)]
mod tests {
    use super::FlexibleWindow;
    use jiff::Timestamp;

    #[test]
    fn picks_lie_in_the_window() {
        let window = FlexibleWindow::new(15).expect("in range");
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        assert_eq!(window.pick(at, 0), at);
        assert_eq!(window.pick(at, u64::MAX).to_string(), "2026-11-22T12:14:59.999Z");
        assert_eq!(window.pick(at, u64::MAX / 2).to_string(), "2026-11-22T12:07:29.999Z");
        assert_eq!((FlexibleWindow::new(0), FlexibleWindow::new(1441)), (None, None));
    }
}
