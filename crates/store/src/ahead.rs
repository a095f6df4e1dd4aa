//! The next segment of the log, made while the last one is being written: its blocks are written once, so that syncs
//! need not say which of them are in use, and whoever fills a segment does not wait for the disk to find room.

use std::{fs, io, os::unix::fs::FileExt, path::Path, sync::Weak, thread, time::Duration};

use crate::{
    checkpoint::Signal,
    log::{self, Ready, SEGMENT},
    store::Inner,
};

/// Written at a time, in bytes: syncs of the log wait for no more than this.
const PIECE: usize = 512 << 10;
/// Between two pieces, so that the disk is the log's most of the time.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs until the store is closed.
pub fn run(signal: &Signal, store: &Weak<Inner>) {
    while signal.wait() {
        let Some(store) = store.upgrade() else { return };
        let Some(path) = store.writing.lock().log.as_mut().and_then(log::Log::wanted) else { continue };
        match written(&path, signal) {
            Ok(ready) => {
                if let Some(log) = &mut store.writing.lock().log {
                    log.is_ready(ready);
                }
            }
            // Whoever needs the segment makes it himself, and hears of a full disk then.
            Err(error) => tracing::debug!(%error, "no segment of the log was made ahead"),
        }
    }
}

/// A segment of zeros, every block of which was written.
fn written(path: &Path, signal: &Signal) -> io::Result<Ready> {
    let ready = log::allocated(path, SEGMENT)?;
    let zeros = vec![0; PIECE];
    for at in (0..SEGMENT).step_by(PIECE) {
        let wrote = match signal.is_closed() {
            true => Err(io::Error::other("the store is closed")),
            false => ready.file.write_all_at(&zeros, at).and_then(|()| ready.file.sync_data()),
        };
        if let Err(error) = wrote {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        thread::sleep(PAUSE);
    }
    Ok(ready)
}
