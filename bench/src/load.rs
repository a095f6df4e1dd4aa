//! A workload over several connections in a closed loop: each sends its next request when the last one was answered.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::http::{Answer, Connection, Request};

/// How long connections run before what they do counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long an answer may take, in milliseconds.
const PATIENCE_MS: u16 = 60_000;

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
    let plan = Plan { address, service, connections, duration, steps: 1, a_thread: A_THREAD };
    plan.run(|at, number, _| Ok(make(at, number)))
}

/// The same for requests and answers of a size that takes time to pass: each connection has a thread of its own.
pub fn run_large(
    address: SocketAddr,
    service: &str,
    connections: usize,
    duration: Duration,
    make: impl Fn(usize, usize) -> Request + Sync,
) -> Result<Measured> {
    let plan = Plan { address, service, connections, duration, steps: 1, a_thread: 1 };
    plan.run(|at, number, _| Ok(make(at, number)))
}

/// Runs sequences of `steps` requests, each of which is made of its number and the answer before it. What counts, and is
/// timed, is the whole sequence.
pub fn run_steps(
    address: SocketAddr,
    service: &str,
    connections: usize,
    duration: Duration,
    steps: usize,
    make: impl Fn(usize, Option<&Answer>) -> Result<Request> + Sync,
) -> Result<Measured> {
    let plan = Plan { address, service, connections, duration, steps, a_thread: A_THREAD };
    plan.run(|_, number, answer| make(number % steps, answer))
}

/// Connections that one thread serves: their answers are read as they come, without a change of threads for each.
const A_THREAD: usize = 16;

struct Plan<'a> {
    address: SocketAddr,
    service: &'a str,
    connections: usize,
    duration: Duration,
    /// Requests that count as one.
    steps: usize,
    a_thread: usize,
}

impl Plan<'_> {
    fn run(
        &self,
        make: impl Fn(usize, usize, Option<&Answer>) -> Result<Request> + Sync,
    ) -> Result<Measured> {
        let start = Barrier::new(self.connections.div_ceil(self.a_thread));
        let (start, make) = (&start, &make);
        let workers: Vec<Result<Worker>> = thread::scope(|scope| {
            let running: Vec<_> = (0..self.connections)
                .step_by(self.a_thread)
                .map(|from| from..self.connections.min(from + self.a_thread))
                .map(|places| scope.spawn(move || self.work(places, start, make)))
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
        Ok(Measured { errors, ..Measured::of(latencies, self.duration) })
    }

    fn work(
        &self,
        places: Range<usize>,
        start: &Barrier,
        make: &(impl Fn(usize, usize, Option<&Answer>) -> Result<Request> + Sync),
    ) -> Result<Worker> {
        let open = |at| Ok(Lane { at, number: 0, began: Instant::now(), connection: self.open()? });
        let lanes: Result<Vec<Lane>> = places.map(open).collect();
        let many = lanes.as_ref().map_or(0, Vec::len);
        start.wait();
        // One that is done leaves its place empty.
        let mut lanes: Vec<Option<Lane>> = lanes?.into_iter().map(Some).collect();
        let bell = Bell::of(lanes.iter().flatten())?;
        let mut worker = Worker { latencies: Vec::with_capacity(1 << 16), errors: 0, first_error: None };
        let counts_from = Instant::now() + WARM_UP;
        let ends = counts_from + self.duration;
        for lane in lanes.iter_mut().flatten() {
            lane.began = Instant::now();
            lane.connection.send(&make(lane.at, 0, None)?)?;
        }
        let mut done = 0;
        while done < many {
            for place in bell.answered()? {
                let Some(lane) = &mut lanes[place] else { continue };
                let answer = lane.connection.receive()?;
                lane.number += 1;
                let is_whole = lane.number.is_multiple_of(self.steps);
                worker.note(&answer, lane.began, is_whole && lane.began >= counts_from);
                let now = Instant::now();
                if is_whole && now >= ends {
                    lanes[place] = None;
                    done += 1;
                    continue;
                }
                if is_whole {
                    lane.began = now;
                }
                lane.connection.send(&make(lane.at, lane.number, Some(&answer))?)?;
            }
        }
        Ok(worker)
    }

    fn open(&self) -> Result<Connection> {
        Connection::open(self.address, self.service)
    }
}

/// A connection with its request on the way.
struct Lane {
    at: usize,
    number: usize,
    /// When the first request of the sequence was sent.
    began: Instant,
    connection: Connection,
}

/// Tells which lanes have an answer.
struct Bell(Epoll);

impl Bell {
    /// Of these lanes, by their places.
    fn of<'a>(lanes: impl Iterator<Item = &'a Lane>) -> Result<Bell> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (place, lane) in lanes.enumerate() {
            epoll.add(&lane.connection, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
        }
        Ok(Bell(epoll))
    }

    /// The places of lanes whose answer has begun to arrive; waits until there are some.
    fn answered(&self) -> Result<impl Iterator<Item = usize>> {
        let mut events = [EpollEvent::empty(); A_THREAD];
        let many = self.0.wait(&mut events, PATIENCE_MS)?;
        if many == 0 {
            bail!("no answer came in {PATIENCE_MS} ms");
        }
        Ok(events.into_iter().take(many).map(|event| event.data() as usize))
    }
}

struct Worker {
    latencies: Vec<u32>,
    errors: usize,
    first_error: Option<String>,
}

impl Worker {
    fn note(&mut self, answer: &Answer, began: Instant, counts: bool) {
        if !(200..300).contains(&answer.status) {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| {
                format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
            });
        } else if counts {
            self.latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}
