//! Who may run now: places under a version's provisioned, a function's reserved and the account's concurrency.
//!
//! Provisioned concurrency is taken first; what it has no place for spills over to what is left of the reservation or the account.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use tidemill_platform::Fault;

use crate::{api::TooManyRequestsException, names::home, state::FunctionRow};

type Counter = Arc<AtomicI32>;

pub struct Places {
    /// Invocations of an account at the same time.
    most: i32,
    /// Function ARN → invocations under way, of functions with a reservation.
    functions: Mutex<HashMap<String, Counter>>,
    /// Function ARN and version → invocations on provisioned sandboxes.
    provisioned: Mutex<HashMap<(String, String), Counter>>,
    /// Account and region, as function ARNs begin → what functions without a reservation share.
    shared: Mutex<HashMap<String, Shared>>,
}

#[derive(Default)]
struct Shared {
    busy: Counter,
    /// What functions keep for themselves.
    kept: i32,
}

/// A running invocation's place under a limit; given back when it is dropped.
pub struct Place(Counter);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Places {
    pub fn new(most: i32) -> Places {
        Places { most, functions: Mutex::default(), provisioned: Mutex::default(), shared: Mutex::default() }
    }

    pub fn enter(&self, row: &FunctionRow, version: &str) -> Result<Place, Fault> {
        let provisioned = row.provisioned_total();
        if provisioned > 0
            && let Some(place) = self.enter_provisioned(row, version)
        {
            return Ok(place);
        }
        let (counter, limit, reason) = match row.reserved_concurrency {
            Some(limit) => {
                let counter = self.functions.lock().entry(row.arn.clone()).or_default().clone();
                (counter, limit - provisioned, "ReservedFunctionConcurrentInvocationLimitExceeded")
            }
            None => {
                let (busy, kept) = self.shared(home(&row.arn));
                (busy, self.most - kept, "ConcurrentInvocationLimitExceeded")
            }
        };
        take(counter, limit).ok_or_else(|| throttled(reason))
    }

    fn enter_provisioned(&self, row: &FunctionRow, version: &str) -> Option<Place> {
        let limit = *row.provisioned_by_version().get(version)?;
        let key = (row.arn.clone(), version.to_string());
        let counter = self.provisioned.lock().entry(key).or_default().clone();
        take(counter, limit)
    }

    fn shared(&self, home: &str) -> (Counter, i32) {
        let mut all = self.shared.lock();
        if !all.contains_key(home) {
            all.insert(home.to_string(), Shared::default());
        }
        all.get(home).map_or_else(Default::default, |shared| (shared.busy.clone(), shared.kept))
    }

    /// Notes what the functions of the account and region of `arn` keep for themselves in all.
    pub fn keep(&self, arn: &str, kept: i32) {
        self.shared.lock().entry(home(arn).to_string()).or_default().kept = kept;
    }
}

fn take(counter: Counter, limit: i32) -> Option<Place> {
    let before = counter.fetch_add(1, Ordering::AcqRel);
    let place = Place(counter);
    (before < limit).then_some(place)
}

pub fn throttled(reason: &str) -> Fault {
    let mut error = TooManyRequestsException::new("Rate Exceeded.");
    error.reason = Some(reason.into());
    error.r#type = Some("User".into());
    error.into()
}
