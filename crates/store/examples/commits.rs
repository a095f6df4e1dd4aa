//! How many commits and reads a second this disk and machine give: `cargo run --release -p tidemill-store --example
//! commits`. Bounded to a few seconds; writes to a temporary folder.

use std::time::{Duration, Instant};

use tidemill_store::{Batch, Options, Partition, Store, Table};

const ROWS: Table<u64, Vec<u8>> = Table::new("bench.rows");

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let folder = tempfile::tempdir_in(".").expect("a folder can be made here");
    let store = Store::open(Options::path(folder.path())).expect("a new folder opens");
    println!("callers   commits/s   p50 ms   p99 ms");
    for callers in [1_u64, 16, 256] {
        let mut times = runtime.block_on(commits(&store, callers));
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!("{callers:>7}   {:>9}   {:>6.2}   {:>6.2}", times.len() / 2, at(50), at(99));
    }
    let (begin, mut found) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(1) {
        found += usize::from(
            store.get(&ROWS, Partition::FIRST, &(found as u64 % 1000)).expect("rows are whole").is_some(),
        );
    }
    println!("gets/s    {found}");
    store.close();
}

/// Two seconds of 1 KiB commits by so many callers; how long each took.
async fn commits(store: &Store, callers: u64) -> Vec<Duration> {
    let until = Instant::now() + Duration::from_secs(2);
    let tasks = (0..callers).map(|caller| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut times, mut number) = (Vec::new(), caller);
            while Instant::now() < until {
                let begin = Instant::now();
                let mut batch = Batch::new(Partition::FIRST);
                batch.put(&ROWS, &(number % 100_000), &vec![7; 1024]);
                store.commit(batch).await.expect("there is room");
                times.push(begin.elapsed());
                number += callers;
            }
            times
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await.expect("a caller ends"));
    }
    all
}
