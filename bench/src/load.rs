//! A workload over several connections in a closed loop: each sends its next request when the last one was answered.

use std::{
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::http::{Connection, Request};

/// How long connections run before what they do counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    pub count: usize,
    pub errors: usize,
    pub took: Duration,
    /// Microseconds, ascending.
    pub latencies: Vec<u32>,
}

impl Measured {
    pub fn of(mut latencies: Vec<u32>, took: Duration) -> Measured {
        latencies.sort_unstable();
        Measured { count: latencies.len(), errors: 0, took, latencies }
    }

    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Milliseconds under which this share (0 to 1) of the requests was answered.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = ((last as f64) * share).round() as usize;
        self.latencies.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

/// Runs requests made by `make(connection, number)` for `duration`. An answer that is no success counts as an error; if
/// there is nothing else, the first one is the outcome.
pub fn run(
    address: SocketAddr,
    service: &str,
    connections: usize,
    duration: Duration,
    make: impl Fn(usize, usize) -> Request + Sync,
) -> Result<Measured> {
    let start = Barrier::new(connections);
    let (start, make) = (&start, &make);
    let workers: Vec<Result<Worker>> = thread::scope(|scope| {
        let running: Vec<_> = (0..connections)
            .map(|at| scope.spawn(move || work(address, service, at, duration, start, make)))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a worker failed"))))
            .collect()
    });
    let (mut latencies, mut errors, mut first_error) = (Vec::new(), 0, None);
    for worker in workers {
        let worker = worker?;
        latencies.extend(worker.latencies);
        errors += worker.errors;
        first_error = first_error.or(worker.first_error);
    }
    if let Some(error) = first_error.filter(|_| latencies.is_empty()) {
        return Err(anyhow!(error));
    }
    Ok(Measured { errors, ..Measured::of(latencies, duration) })
}

struct Worker {
    latencies: Vec<u32>,
    errors: usize,
    first_error: Option<String>,
}

fn work(
    address: SocketAddr,
    service: &str,
    at: usize,
    duration: Duration,
    start: &Barrier,
    make: &(impl Fn(usize, usize) -> Request + Sync),
) -> Result<Worker> {
    let connection = Connection::open(address, service);
    start.wait();
    let mut connection = connection?;
    let mut worker = Worker { latencies: Vec::with_capacity(1 << 16), errors: 0, first_error: None };
    let counts_from = Instant::now() + WARM_UP;
    let ends = counts_from + duration;
    for number in 0.. {
        let request = make(at, number);
        let sent = Instant::now();
        if sent >= ends {
            break;
        }
        let answer = connection.call(&request)?;
        if !(200..300).contains(&answer.status) {
            worker.errors += 1;
            worker.first_error.get_or_insert_with(|| {
                format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
            });
        } else if sent >= counts_from {
            worker.latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok(worker)
}
