//! The committer: one thread that writes all queued frames and syncs once for everyone who waits.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{log::Place, ticket::Progress};

/// How long frames that nobody waits for may be alone before they are written.
const REST: Duration = Duration::from_millis(5);

/// Memory for joined frames that is kept from one write to the next, in bytes.
const MOST_JOINED: usize = 1 << 20;

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
    /// Somebody waits for one of them.
    waited_for: bool,
    closed: bool,
}

impl Queue {
    pub fn push(&self, frame: Queued, waited_for: bool) {
        let mut state = self.state.lock();
        state.frames.push(frame);
        if state.frames.len() == 1 || waited_for && !state.waited_for {
            self.filled.notify_one();
        }
        state.waited_for |= waited_for;
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }

    /// Everything that is queued; `None` when it is closed and empty.
    fn take(&self) -> Option<Vec<Queued>> {
        let mut state = self.state.lock();
        let mut rests_until = None;
        while !state.waited_for && !state.closed {
            if state.frames.is_empty() {
                self.filled.wait(&mut state);
                continue;
            }
            let until = *rests_until.get_or_insert_with(|| Instant::now() + REST);
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.waited_for = false;
        let frames = std::mem::take(&mut state.frames);
        (!frames.is_empty()).then_some(frames)
    }
}

/// Runs until the queue is closed and everything in it is durable.
pub fn run(queue: &Queue, progress: &Progress, synced: impl Fn()) {
    let mut joined = Vec::new();
    while let Some(frames) = queue.take() {
        let Some(last) = frames.last().map(|frame| frame.seq) else { continue };
        if let Err(error) = write(&frames, &mut joined) {
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

/// Writes frames, neighbours in one call, and syncs each file once. `joined` is memory for that.
fn write(frames: &[Queued], joined: &mut Vec<u8>) -> std::io::Result<()> {
    let mut at = 0;
    let mut files: Vec<&Arc<File>> = Vec::new();
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
        first.file.write_all_at(joined, first.offset)?;
        if !files.last().is_some_and(|file| Arc::ptr_eq(file, &first.file)) {
            files.push(&first.file);
        }
        at = next;
    }
    joined.clear();
    joined.shrink_to(MOST_JOINED);
    files.into_iter().try_for_each(|file| file.sync_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_nobody_waits_for_go_with_the_next_or_by_themselves() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let frame = |seq| Queued { seq, place: Place { file: file.clone(), offset: 0 }, bytes: Bytes::new() };
        let taken = |queue: &Queue| -> Option<Vec<u64>> {
            Some(queue.take()?.into_iter().map(|frame| frame.seq).collect())
        };
        let queue = Queue::default();
        queue.push(frame(1), false);
        queue.push(frame(2), true);
        queue.push(frame(3), false);
        assert_eq!(taken(&queue), Some(vec![1, 2, 3]));
        queue.push(frame(4), false);
        assert_eq!(taken(&queue), Some(vec![4]), "nothing is left lying");
        queue.push(frame(5), false);
        queue.close();
        assert_eq!((taken(&queue), taken(&queue)), (Some(vec![5]), None));
    }
}
