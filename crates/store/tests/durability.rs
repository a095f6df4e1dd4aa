//! What was acknowledged is there: after closing, after a crash, after a torn write; damage and strangers are refused.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use proptest::prelude::*;
use tidemill_store::{Batch, OpenError, Options, Partition, Store, Table};

const ROWS: Table<u64, String> = Table::new("test.rows");
const COUNT: Table<u64, u64> = Table::new("test.count");
const PARTITION: Partition = Partition::FIRST;
/// Set for the process that is to be killed.
const VICTIM: &str = "TIDEMILL_STORE_VICTIM";

fn open(path: &Path) -> Store {
    Store::open(Options::path(path)).unwrap()
}

async fn put(store: &Store, key: u64, value: &str) {
    let mut batch = Batch::new(PARTITION);
    batch.put(&ROWS, &key, &value.to_string());
    store.commit(batch).await.unwrap();
}

fn get(store: &Store, key: u64) -> Option<String> {
    store.get(&ROWS, PARTITION, &key).unwrap().map(|found| found.value)
}

fn last_segment(folder: &Path) -> std::path::PathBuf {
    let mut segments: Vec<_> =
        fs::read_dir(folder.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments.pop().unwrap()
}

#[tokio::test]
async fn rows_outlive_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, "one").await;
    store.close();
    assert!(store.submit(Batch::new(PARTITION)).is_err());
    drop(store);
    let store = open(folder.path());
    assert_eq!(get(&store, 1).as_deref(), Some("one"));
    put(&store, 2, "two").await;
    drop(store);
    assert_eq!(get(&open(folder.path()), 2).as_deref(), Some("two"));
}

#[tokio::test]
async fn a_torn_last_frame_is_cut_wherever_it_tore() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, "one").await;
    let whole = store.stats().log_bytes as usize;
    put(&store, 2, "two").await;
    let end = store.stats().log_bytes as usize;
    let segment = last_segment(folder.path());
    let bytes = fs::read(&segment).unwrap();
    // The store is left as a crash would leave it: nothing is folded.
    std::mem::forget(store);
    for torn in whole..end {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("log")).unwrap();
        fs::copy(folder.path().join("FORMAT"), copy.path().join("FORMAT")).unwrap();
        let mut cut = bytes[..torn].to_vec();
        cut.resize(end + 4096, 0);
        fs::write(copy.path().join("log").join(segment.file_name().unwrap()), cut).unwrap();
        for again in 0..2 {
            let store = open(copy.path());
            assert_eq!(
                (get(&store, 1).as_deref(), get(&store, 2)),
                (Some("one"), None),
                "torn at {torn}, opened {again} times before"
            );
            put(&store, 3, "three").await;
            assert_eq!(get(&store, 3).as_deref(), Some("three"));
        }
    }
}

#[tokio::test]
async fn damage_before_the_end_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, "one").await;
    put(&store, 2, "two").await;
    let segment = last_segment(folder.path());
    std::mem::forget(store);
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("log")).unwrap();
    fs::copy(folder.path().join("FORMAT"), copy.path().join("FORMAT")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[20] ^= 1;
    fs::write(copy.path().join("log").join(segment.file_name().unwrap()), bytes).unwrap();
    let refused = Store::open(Options::path(copy.path())).err().unwrap();
    assert!(matches!(&refused, OpenError::Damaged { place, .. } if place.ends_with("byte 0")), "{refused}");
}

#[tokio::test]
async fn a_write_of_which_only_later_blocks_arrived_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, "one").await;
    let whole = store.stats().log_bytes as usize;
    // Two frames of one write: neither was acknowledged before the other was made.
    let tickets: Vec<_> = [2_u64, 3]
        .map(|key| {
            let mut batch = Batch::new(PARTITION);
            batch.put(&ROWS, &key, &"unacknowledged".to_string());
            store.submit(batch).unwrap()
        })
        .into();
    for ticket in tickets {
        ticket.await;
    }
    let segment = last_segment(folder.path());
    std::mem::forget(store);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[whole..whole + 30].fill(0);
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("log")).unwrap();
    fs::copy(folder.path().join("FORMAT"), copy.path().join("FORMAT")).unwrap();
    fs::write(copy.path().join("log").join(segment.file_name().unwrap()), bytes).unwrap();
    let store = open(copy.path());
    assert_eq!((get(&store, 1).as_deref(), get(&store, 2), get(&store, 3)), (Some("one"), None, None));
}

#[tokio::test]
async fn segments_are_used_again_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = "v".repeat(2 << 20);
    // Rows of two mebibytes, each key written over and over: several segments, of which most are folded.
    for round in 0..300_u64 {
        put(&store, round % 10, &format!("{round} {value}")).await;
        if round % 60 == 59 {
            store.checkpoint().unwrap();
        }
    }
    let log = folder.path().join("log");
    let files = |extension: &str| -> usize {
        let all = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().unwrap() == extension).count()
    };
    assert!(files("log") <= 3 && files("ready") >= 1, "{} and {}", files("log"), files("ready"));
    put(&store, 11, "in a segment used again").await;
    // As a crash leaves it.
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("log")).unwrap();
    for name in ["FORMAT", "store.redb"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    for entry in fs::read_dir(&log).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join("log").join(path.file_name().unwrap())).unwrap();
    }
    std::mem::forget(store);
    for _ in 0..2 {
        let store = open(copy.path());
        for key in 0..10 {
            assert!(get(&store, key).unwrap().starts_with(&format!("{} v", 290 + key)));
        }
        assert_eq!(get(&store, 11).as_deref(), Some("in a segment used again"));
        put(&store, 12, "more").await;
    }
    assert_eq!(get(&open(copy.path()), 12).as_deref(), Some("more"));
}

#[test]
fn strangers_and_second_processes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.doc"), "years of work").unwrap();
    assert!(matches!(Store::open(Options::path(folder.path())), Err(OpenError::Foreign(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(Store::open(Options::path(folder.path())), Err(OpenError::InUse(_))));
    drop(first);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("FORMAT"), "tidemill data 99\n").unwrap();
    assert!(matches!(Store::open(Options::path(folder.path())), Err(OpenError::Newer(..))));
}

#[tokio::test]
async fn a_folder_of_the_format_before_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    put(&open(folder.path()), 1, "kept").await;
    let mark = folder.path().join("FORMAT");
    fs::write(&mark, "tidemill data 2\n").unwrap();
    fs::write(folder.path().join("FORMAT.new"), "tidem").unwrap();
    assert_eq!(get(&open(folder.path()), 1).as_deref(), Some("kept"));
    assert_eq!(fs::read_to_string(&mark).unwrap(), "tidemill data 3\n");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("FORMAT.new"), "tidem").unwrap();
    put(&open(folder.path()), 1, "begun again").await;
}

#[test]
fn acknowledged_rows_survive_kill_9() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        return commit_for_ever(Path::new(&folder), |number| (number, format!("row {number}")));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..12_u64 {
        let acknowledged =
            killed(folder.path(), "acknowledged_rows_survive_kill_9", 20 + round as usize * 13);
        let store = open(folder.path());
        for number in &acknowledged {
            assert_eq!(get(&store, *number), Some(format!("row {number}")), "round {round}");
        }
        assert!(acknowledged[0] >= next);
        next = acknowledged.last().unwrap() + 1;
        if round % 3 == 0 {
            store.checkpoint().unwrap();
        }
    }
}

#[test]
fn acknowledged_rows_survive_kill_9_while_segments_are_used_again() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        let pad = "p".repeat(1 << 20);
        return commit_for_ever(Path::new(&folder), |number| (number % 20, format!("{number} {pad}")));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut first = 0;
    for round in 0..4 {
        let name = "acknowledged_rows_survive_kill_9_while_segments_are_used_again";
        let acknowledged = killed(folder.path(), name, 250 + round * 37);
        let store = open(folder.path());
        let last = acknowledged.last().unwrap();
        for key in 0..20 {
            let found = get(&store, key).unwrap();
            let number: u64 = found.split_once(' ').unwrap().0.parse().unwrap();
            // One more may have been written that was not acknowledged any more.
            assert!(number % 20 == key && number + 20 > *last, "round {round}: {number} after {last}");
        }
        assert!(*last > first);
        first = *last;
    }
}

/// Runs a test of this file as a process that commits rows, and kills it when so many were acknowledged; all that were.
fn killed(folder: &Path, test: &str, wanted: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VICTIM, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let number = |line: String| line.strip_prefix("ack ")?.parse::<u64>().ok();
    while acknowledged.len() < wanted {
        acknowledged.extend(number(lines.next().unwrap().unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.extend(lines.map_while(Result::ok).filter_map(number));
    acknowledged
}

fn commit_for_ever(folder: &Path, row: impl Fn(u64) -> (u64, String)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(folder);
        let first = count(&store);
        let until = tokio::time::Instant::now() + Duration::from_secs(60);
        for number in first.. {
            let (key, value) = row(number);
            let mut batch = Batch::new(PARTITION);
            batch.put(&ROWS, &key, &value).put(&COUNT, &0, &(number + 1));
            store.commit(batch).await.unwrap();
            println!("ack {number}");
            assert!(tokio::time::Instant::now() < until, "nobody killed this process");
        }
    });
}

/// How many rows were committed.
fn count(store: &Store) -> u64 {
    store.get(&COUNT, PARTITION, &0).unwrap().map_or(0, |found| found.value)
}

#[derive(Debug, Clone)]
enum Act {
    Put(u64, String),
    Delete(u64),
    Checkpoint,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_u64..60, "[a-z]{0,6}").prop_map(|(key, value)| Act::Put(key, value)),
        4 => (0_u64..60).prop_map(Act::Delete),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_store_is_an_ordered_map(acts in proptest::collection::vec(act(), 1..80), low in 0_u64..60, high in 0_u64..60) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut model = BTreeMap::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for act in acts {
            match act {
                Act::Put(key, value) => {
                    runtime.block_on(put(&store, key, &value));
                    model.insert(key, value);
                }
                Act::Delete(key) => {
                    let mut batch = Batch::new(PARTITION);
                    batch.delete(&ROWS, &key);
                    runtime.block_on(store.commit(batch)).unwrap();
                    model.remove(&key);
                }
                Act::Checkpoint => store.checkpoint().unwrap(),
                Act::Reopen => {
                    store.close();
                    drop(store);
                    store = open(folder.path());
                }
            }
        }
        let all: Vec<(u64, String)> = store.all(&ROWS, PARTITION).unwrap();
        prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
        let mut back = Vec::new();
        store.scan_back(&ROWS, PARTITION, .., |key, value| { back.push((key, value)); ControlFlow::Continue(()) }).unwrap();
        back.reverse();
        prop_assert_eq!(&back, &all);
        if low <= high {
            let mut some = Vec::new();
            store.scan(&ROWS, PARTITION, low..high, |key, value| { some.push((key, value)); ControlFlow::Continue(()) }).unwrap();
            prop_assert_eq!(some, model.range(low..high).map(|(k, v)| (*k, v.clone())).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn memory_keeps_nothing_on_disk_and_everything_else() {
    let store = Store::open(Options::memory()).unwrap();
    put(&store, 1, "one").await;
    assert_eq!(get(&store, 1).as_deref(), Some("one"));
    let mut batch = Batch::new(PARTITION);
    batch.delete(&ROWS, &1);
    store.commit(batch).await.unwrap();
    assert_eq!(get(&store, 1), None);
}
