//! The committer: one thread that writes all queued frames and syncs once for everyone who waits.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{log::Place, ticket::Progress};

/// A frame on its way into the log.
pub struct Queued {
    pub seq: u64,
    pub place: Place,
    pub bytes: Bytes,
}

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    frames: Vec<Queued>,
    closed: bool,
}

impl Queue {
    pub fn push(&self, frame: Queued) {
        let mut state = self.state.lock();
        state.frames.push(frame);
        if state.frames.len() == 1 {
            self.filled.notify_one();
        }
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }

    /// Everything that is queued; `None` when it is closed and empty.
    fn take(&self) -> Option<Vec<Queued>> {
        let mut state = self.state.lock();
        while state.frames.is_empty() {
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        Some(std::mem::take(&mut state.frames))
    }
}

/// Runs until the queue is closed and everything in it is durable.
pub fn run(queue: &Queue, progress: &Progress, synced: impl Fn()) {
    while let Some(frames) = queue.take() {
        let Some(last) = frames.last().map(|frame| frame.seq) else { continue };
        if let Err(error) = write(&frames) {
            // What the system acknowledges after a failed sync is unknown. Guessing could lose what was acknowledged.
            eprintln!(
                "tidemill: the log could not be written ({error}); stopping, so that nothing is acknowledged that may be lost"
            );
            std::process::abort();
        }
        progress.reached(last);
        synced();
    }
}

/// Writes frames, neighbours in one call, and syncs each file once.
fn write(frames: &[Queued]) -> std::io::Result<()> {
    let mut at = 0;
    let mut files: Vec<&Arc<File>> = Vec::new();
    let mut joined = Vec::new();
    while at < frames.len() {
        let first = &frames[at].place;
        joined.clear();
        let mut next = at;
        while next < frames.len()
            && Arc::ptr_eq(&frames[next].place.file, &first.file)
            && frames[next].place.offset == first.offset + joined.len() as u64
        {
            joined.extend_from_slice(&frames[next].bytes);
            next += 1;
        }
        first.file.write_all_at(&joined, first.offset)?;
        if !files.last().is_some_and(|file| Arc::ptr_eq(file, &first.file)) {
            files.push(&first.file);
        }
        at = next;
    }
    files.into_iter().try_for_each(|file| file.sync_data())
}
