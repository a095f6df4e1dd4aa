//! The store: submitting batches, reading rows, opening and closing.

use std::{
    collections::HashMap,
    fs::File,
    ops::{Bound, ControlFlow, Range, RangeBounds},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread::JoinHandle,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use serde::de::DeserializeOwned;

use crate::{
    Batch, Damaged, Durable, Key, OpenError, Partition, Refused, Seq, Table, Ticket, ahead,
    backing::Backing,
    checkpoint::{self, Signal},
    committer::{self, Queue, Queued},
    folder,
    frame::{self, Head},
    log::Log,
    overlay::{FullKey, KeptKey, Overlay, full_key, kept_key},
    scan,
    ticket::Progress,
};

/// One batch holds no more than this, in bytes.
const MOST_BATCH: usize = 256 << 20;
/// Names of tables → their numbers. In partition 0.
const CATALOG: u16 = 0;

/// Where state is kept.
#[derive(Debug, Clone)]
pub struct Options {
    folder: Option<PathBuf>,
}

impl Options {
    /// Nothing outlives the process; for tests.
    pub fn memory() -> Options {
        Options { folder: None }
    }

    pub fn path(folder: &Path) -> Options {
        Options { folder: Some(folder.to_path_buf()) }
    }
}

/// A row as found.
#[derive(Debug, Clone)]
pub struct Found<V> {
    pub value: V,
    /// Must be durable before the row may be shown to anyone; see [`Store::durable`].
    pub seq: Seq,
}

/// Figures for diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub submitted: u64,
    pub durable: u64,
    pub overlay_bytes: usize,
    pub log_bytes: u64,
}

/// Durable state. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

pub(crate) struct Inner {
    pub overlay: RwLock<Overlay>,
    pub backing: Option<Backing>,
    pub progress: Arc<Progress>,
    pub writing: Mutex<Writing>,
    /// Held by whoever folds.
    pub folding: Mutex<()>,
    tables: RwLock<FxHashMap<String, u16>>,
    queue: Arc<Queue>,
    pub signal: Arc<Signal>,
    ahead: Arc<Signal>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Option<File>,
}

/// What is decided under the one lock that orders the log.
pub(crate) struct Writing {
    pub next: u64,
    pub log: Option<Log>,
    closed: bool,
}

impl Store {
    /// Opens a data folder, replaying what a crash left in the log.
    pub fn open(options: Options) -> Result<Store, OpenError> {
        let Some(path) = options.folder else {
            return Ok(Store(Arc::new(Inner::new(None, None, None, Overlay::default(), 1))));
        };
        let lock = folder::open(&path)?;
        let (backing, folded) = Backing::open(&path.join("store.redb"))?;
        let (mut overlay, mut last) = (Overlay::default(), folded);
        let log = Log::open(&path.join("log"), folded, |seq, changes| {
            last = last.max(seq);
            for change in changes {
                let key = kept_key(change.partition, change.table, &change.key);
                // Whether a row was new is not in the log: deleted ones are deleted below as well.
                overlay.apply(key, seq, change.value, false);
            }
        })?;
        let inner = Arc::new(Inner::new(Some(lock), Some(backing), Some(log), overlay, last + 1));
        // What was read from the log is durable: it was synced or it is about to be seen for the first time.
        inner.progress.reached(last);
        inner.load_catalog().map_err(|damaged| OpenError::Backing(damaged.to_string()))?;
        Inner::begin(&inner);
        Ok(Store(inner))
    }

    /// Takes a batch: from now on it is seen by readers, and it is durable when the ticket is through. The order of calls
    /// is the order of the log, so it is called while holding the lock under which the batch was decided.
    ///
    /// # Errors
    /// [`Refused`], and then nothing changed.
    pub fn submit(&self, batch: Batch) -> Result<Ticket, Refused> {
        let inner = &self.0;
        if checkpoint::is_stuck(inner, &inner.signal) {
            return Err(Refused::DiskFull);
        }
        let waited_for = !batch.unhurried;
        // A table that is new gets its number while nobody else writes; others are numbered without holding anybody up.
        let early = if inner.knows(&batch) { Ok(inner.numbered(batch)?) } else { Err(batch) };
        let mut writing = inner.writing.lock();
        if writing.closed {
            return Err(Refused::Closed);
        }
        let Numbered { mut frame, packed, rows, fresh } = early.or_else(|batch| inner.numbered(batch))?;
        let seq = writing.next;
        let synced = inner.progress.durable();
        let (frame, logged) = match packed {
            Some(mut packed) => {
                frame::seal(&mut packed, seq, synced);
                (Bytes::from(frame), Bytes::from(packed))
            }
            None => {
                frame::seal(&mut frame, seq, synced);
                let frame = Bytes::from(frame);
                (frame.clone(), frame)
            }
        };
        if let Some(log) = &mut writing.log {
            let place = log.take(seq, logged.len() as u64).map_err(|error| {
                tracing::warn!(%error, "the log has no room");
                Refused::DiskFull
            })?;
            inner.queue.push(Queued { seq, place, bytes: logged }, waited_for);
            if log.asks_for_next() {
                inner.ahead.want();
            }
        }
        writing.next += 1;
        if !fresh.is_empty() {
            inner.tables.write().extend(fresh);
        }
        {
            let mut overlay = inner.overlay.write();
            for row in rows {
                overlay.apply(row.key, seq, row.value.map(|value| part(&frame, value)), row.is_new);
            }
        }
        if writing.log.is_none() {
            inner.progress.reached(seq);
        }
        Ok(Ticket(Durable::new(seq, inner.progress.clone())))
    }

    /// Submits a batch and waits until it is durable.
    pub async fn commit(&self, batch: Batch) -> Result<Seq, Refused> {
        Ok(self.submit(batch)?.await)
    }

    /// The last batch taken: whoever waits for it to be durable can show whatever was read before.
    pub fn submitted(&self) -> Seq {
        Seq(self.0.writing.lock().next - 1)
    }

    /// Ready when a sequence is durable; at once when it is already.
    pub fn durable(&self, seq: Seq) -> Durable {
        Durable::new(seq.0, self.0.progress.clone())
    }

    pub fn get<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        key: &K,
    ) -> Result<Option<Found<V>>, Damaged> {
        let Some(number) = self.0.number_of(table.name) else { return Ok(None) };
        let full = full(partition, number, key);
        let over = self.0.overlay.read().get(&full).cloned();
        let (value, seq) = match over {
            Some(entry) => (entry.value, entry.seq),
            None => (self.0.backing.as_ref().map_or(Ok(None), |backing| backing.get(&full))?, 0),
        };
        let seq = if seq <= self.0.progress.durable() { Seq::ZERO } else { Seq(seq) };
        value.map(|value| Ok(Found { value: row(table.name, &value)?, seq })).transpose()
    }

    /// Calls `each` with the rows of a range in the order of their keys until it breaks.
    pub fn scan<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        range: impl RangeBounds<K>,
        each: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), Damaged> {
        self.scan_seen(table, partition, range, each).map(drop)
    }

    /// As [`Store::scan`], from the end of the range.
    pub fn scan_back<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        range: impl RangeBounds<K>,
        each: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), Damaged> {
        self.scan_back_seen(table, partition, range, each).map(drop)
    }

    /// As [`Store::scan`]; gives the sequence that must be durable before the rows may be shown.
    pub fn scan_seen<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        range: impl RangeBounds<K>,
        each: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<Seq, Damaged> {
        self.walk(table, partition, range, false, each)
    }

    /// As [`Store::scan_seen`], from the end of the range.
    pub fn scan_back_seen<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        range: impl RangeBounds<K>,
        each: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<Seq, Damaged> {
        self.walk(table, partition, range, true, each)
    }

    fn walk<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
        range: impl RangeBounds<K>,
        back: bool,
        mut each: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<Seq, Damaged> {
        let Some(number) = self.0.number_of(table.name) else { return Ok(Seq::ZERO) };
        let low = match range.start_bound() {
            Bound::Included(key) => Bound::Included(full(partition, number, key)),
            Bound::Excluded(key) => Bound::Excluded(full(partition, number, key)),
            Bound::Unbounded => Bound::Included(full_key(partition.0, number, &[])),
        };
        let high = match range.end_bound() {
            Bound::Included(key) => Bound::Included(full(partition, number, key)),
            Bound::Excluded(key) => Bound::Excluded(full(partition, number, key)),
            Bound::Unbounded => Bound::Excluded(full_key(partition.0, number + 1, &[])),
        };
        let seen = scan::scan(&self.0, low, high, back, |key, value| {
            let broken = || Damaged(format!("a key of {} is not what was written", table.name));
            let key = K::decode(&mut key.get(3..).ok_or_else(broken)?).ok_or_else(broken)?;
            Ok(each(key, row(table.name, &value)?))
        })?;
        Ok(Seq(seen))
    }

    /// All rows of a table in a partition.
    pub fn all<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
    ) -> Result<Vec<(K, V)>, Damaged> {
        let mut rows = Vec::new();
        self.scan(table, partition, .., |key, value| {
            rows.push((key, value));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    pub fn first_key<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
    ) -> Result<Option<K>, Damaged> {
        let mut first = None;
        self.scan(table, partition, .., |key, _| {
            first = Some(key);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    pub fn last_key<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        partition: Partition,
    ) -> Result<Option<K>, Damaged> {
        let mut last = None;
        self.scan_back(table, partition, .., |key, _| {
            last = Some(key);
            ControlFlow::Break(())
        })?;
        Ok(last)
    }

    /// Takes no more batches, makes what was taken durable and folds it. Later calls do nothing.
    pub fn close(&self) {
        {
            let mut writing = self.0.writing.lock();
            if std::mem::replace(&mut writing.closed, true) {
                return;
            }
        }
        self.0.queue.close();
        self.0.signal.close();
        self.0.ahead.close();
        for thread in std::mem::take(&mut *self.0.threads.lock()) {
            let _ = thread.join();
        }
        if let Err(error) = checkpoint::fold(&self.0) {
            tracing::warn!(error, "the last checkpoint was not finished; the next start replays the log");
        }
        self.0.writing.lock().log.iter_mut().for_each(Log::close);
    }

    /// Folds everything that is durable now.
    pub fn checkpoint(&self) -> Result<(), String> {
        checkpoint::fold(&self.0)
    }

    pub fn stats(&self) -> Stats {
        let writing = self.0.writing.lock();
        Stats {
            submitted: writing.next - 1,
            durable: self.0.progress.durable(),
            overlay_bytes: self.0.overlay.read().all_bytes(),
            log_bytes: writing.log.as_ref().map_or(0, Log::bytes),
        }
    }
}

impl Inner {
    fn new(
        lock: Option<File>,
        backing: Option<Backing>,
        log: Option<Log>,
        overlay: Overlay,
        next: u64,
    ) -> Inner {
        Inner {
            overlay: RwLock::new(overlay),
            backing,
            progress: Arc::default(),
            writing: Mutex::new(Writing { next, log, closed: false }),
            folding: Mutex::new(()),
            tables: RwLock::default(),
            queue: Arc::default(),
            signal: Arc::default(),
            ahead: Arc::default(),
            threads: Mutex::default(),
            _lock: lock,
        }
    }

    /// Starts the committer, the thread that folds and the one that makes segments ready.
    fn begin(this: &Arc<Inner>) {
        let (queue, progress, signal, weak) =
            (this.queue.clone(), this.progress.clone(), this.signal.clone(), Arc::downgrade(this));
        let commit = named("commit", move || {
            committer::run(&queue, &progress, || {
                if let Some(store) = weak.upgrade() {
                    checkpoint::consider(&store, &signal);
                }
            });
        });
        let (signal, weak): (_, Weak<Inner>) = (this.signal.clone(), Arc::downgrade(this));
        let fold = named("fold", move || checkpoint::run(&signal, &weak));
        let (signal, weak): (_, Weak<Inner>) = (this.ahead.clone(), Arc::downgrade(this));
        let ahead = named("ahead", move || ahead::run(&signal, &weak));
        this.threads.lock().extend([commit, fold, ahead]);
    }

    fn load_catalog(&self) -> Result<(), Damaged> {
        let (low, high) =
            (Bound::Included(full_key(0, CATALOG, &[])), Bound::Excluded(full_key(0, CATALOG + 1, &[])));
        let mut tables = FxHashMap::default();
        scan::scan(self, low, high, false, |key, value| {
            let broken = || Damaged("the names of tables are not what was written".into());
            let name = std::str::from_utf8(key.get(3..).ok_or_else(broken)?).map_err(|_| broken())?;
            let number = value.first_chunk::<2>().ok_or_else(broken)?;
            tables.insert(name.to_string(), u16::from_le_bytes(*number));
            Ok(ControlFlow::Continue(()))
        })?;
        *self.tables.write() = tables;
        Ok(())
    }

    fn number_of(&self, table: &str) -> Option<u16> {
        self.tables.read().get(table).copied()
    }

    /// Whether all tables of a batch have their numbers.
    fn knows(&self, batch: &Batch) -> bool {
        let tables = self.tables.read();
        batch.effects.iter().all(|effect| tables.contains_key(effect.table))
    }

    /// The batch with numbers for its tables, and the names seen for the first time: they get their number in the same
    /// frame, and are known once that is taken. Where there are such the caller holds the lock that orders the log.
    fn numbered(&self, batch: Batch) -> Result<Numbered, Refused> {
        let Batch { mut frame, effects, .. } = batch;
        if frame.len() > MOST_BATCH {
            return Err(Refused::TooLarge(frame.len()));
        }
        let tables = self.tables.read();
        let mut fresh: HashMap<String, u16> = HashMap::new();
        let mut rows = Vec::with_capacity(effects.len());
        for effect in effects {
            let known = tables.get(effect.table).or_else(|| fresh.get(effect.table)).copied();
            let table = known.unwrap_or_else(|| {
                let number = u16::try_from(tables.len() + fresh.len() + 1).unwrap_or(u16::MAX);
                fresh.insert(effect.table.to_string(), number);
                number
            });
            frame::set_table(&mut frame, effect.at, table);
            let key = effect.at + frame::CHANGE_HEAD;
            let value = key + effect.key;
            rows.push(Row {
                key: kept_key(frame[effect.at], table, &frame[key..value]),
                value: effect.value.map(|length| value..value + length),
                is_new: effect.is_new,
            });
        }
        for (name, number) in &fresh {
            let at = frame::begin_change(&mut frame);
            frame.extend_from_slice(name.as_bytes());
            let value = frame.len();
            frame.extend_from_slice(&number.to_le_bytes());
            let head = Head { partition: 0, table: CATALOG, key: name.len(), value: Some(2) };
            frame::end_change(&mut frame, at, &head);
            let key = kept_key(0, CATALOG, name.as_bytes());
            rows.push(Row { key, value: Some(value..value + 2), is_new: false });
        }
        drop(tables);
        let packed = self.backing.as_ref().and_then(|_| frame::packed(&frame));
        Ok(Numbered { frame, packed, rows, fresh })
    }
}

/// A batch whose tables have their numbers.
struct Numbered {
    frame: Vec<u8>,
    /// The same compressed, if that is worth it: so it goes into the log.
    packed: Option<Vec<u8>>,
    rows: Vec<Row>,
    fresh: HashMap<String, u16>,
}

/// An effect as memory keeps it: its value is a part of the frame.
struct Row {
    key: KeptKey,
    value: Option<Range<usize>>,
    is_new: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.signal.close();
        self.ahead.close();
    }
}

/// A thread that tools show by its name.
fn named(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.unwrap_or_else(|error| panic!("the system gives no thread: {error}"))
}

/// A part of a frame: the same memory where it is most of the frame, its own where it would keep others' alive.
fn part(frame: &Bytes, range: Range<usize>) -> Bytes {
    if range.len() * 2 >= frame.len() { frame.slice(range) } else { Bytes::copy_from_slice(&frame[range]) }
}

fn full(partition: Partition, table: u16, key: &impl Key) -> FullKey {
    let mut bytes = full_key(partition.0, table, &[]);
    key.encode(&mut bytes);
    bytes
}

fn row<V: DeserializeOwned>(table: &str, value: &[u8]) -> Result<V, Damaged> {
    rmp_serde::from_slice(value).map_err(|error| Damaged(format!("a row of {table} cannot be read: {error}")))
}
