//! A moment in milliseconds since 1970. Codecs print it in the format the contract asks for.

/// Milliseconds since 1970-01-01T00:00:00Z; AWS's services answer no finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp(secs.saturating_mul(1000))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Seconds with their fraction, as JSON protocols print them.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}
