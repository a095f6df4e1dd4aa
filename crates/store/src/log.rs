//! The log's files: preallocated segments, written front to back, replayed on opening, dropped when folded.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    OpenError, folder,
    frame::{self, Read},
};

/// What a segment holds unless one frame needs more, in bytes.
pub const SEGMENT: u64 = 64 << 20;

/// A segment that is being written or waits to be folded.
#[derive(Clone)]
pub struct Segment {
    pub file: Arc<File>,
    path: PathBuf,
    /// The last sequence in it.
    pub last: u64,
}

/// Where the next frame goes. Space is taken before anything is applied, so that a full disk refuses cleanly.
pub struct Log {
    folder: PathBuf,
    next_number: u64,
    segments: VecDeque<Segment>,
    /// Of the last segment: where the next frame goes and where it ends.
    at: u64,
    end: u64,
}

/// A place that was taken.
pub struct Place {
    pub file: Arc<File>,
    pub offset: u64,
}

impl Log {
    /// Opens the log and gives every frame to `apply`, in order. A torn last frame is cut off; damage anywhere else is
    /// refused with its place.
    pub fn open(folder: &Path, mut apply: impl FnMut(u64, Vec<frame::Change>)) -> Result<Log, OpenError> {
        let io = |error| OpenError::Io(folder.to_path_buf(), error);
        fs::create_dir_all(folder).map_err(io)?;
        let mut paths: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| u64::from_str_radix(stem, 16).ok());
            match number {
                Some(number) => paths.push((number, path)),
                None => {
                    return Err(OpenError::Damaged {
                        place: path.display().to_string(),
                        what: "it is not a segment of the log".into(),
                    });
                }
            }
        }
        paths.sort();
        let mut log = Log {
            folder: folder.to_path_buf(),
            next_number: paths.last().map_or(1, |(number, _)| number + 1),
            segments: VecDeque::new(),
            at: 0,
            end: 0,
        };
        let newest = paths.len();
        let mut seq = 0;
        for (place, (_, path)) in paths.into_iter().enumerate() {
            seq = log.replay(&path, seq, place + 1 == newest, &mut apply)?;
        }
        Ok(log)
    }

    fn replay(
        &mut self,
        path: &Path,
        before: u64,
        newest: bool,
        apply: &mut impl FnMut(u64, Vec<frame::Change>),
    ) -> Result<u64, OpenError> {
        let bytes = fs::read(path).map_err(|error| OpenError::Io(path.to_path_buf(), error))?;
        let (mut at, mut last) = (0, before);
        let damaged = |at: usize, what: &str| OpenError::Damaged {
            place: format!("{}, byte {at}", path.display()),
            what: what.to_string(),
        };
        loop {
            match frame::read(&bytes[at..]) {
                Read::Frame { seq, changes, size, .. } => {
                    if last != 0 && seq != last + 1 {
                        return Err(damaged(at, "frames are missing"));
                    }
                    apply(seq, changes);
                    last = seq;
                    at += size;
                }
                Read::End if bytes[at..].iter().all(|byte| *byte == 0) => break,
                // A crash may persist a write's later blocks without its first: nothing of it was acknowledged.
                Read::End | Read::Torn if newest && !acknowledged(&bytes[at + 1..], last) => break,
                Read::End => return Err(damaged(at, "frames follow a gap")),
                Read::Torn => return Err(damaged(at, "a frame is not what was written")),
            }
        }
        let io = |error| OpenError::Io(path.to_path_buf(), error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        if newest {
            // Behind the last whole frame there is nothing, or what a crash tore; the next frames go to a new segment.
            file.set_len(at as u64).and_then(|()| file.sync_all()).map_err(io)?;
        }
        self.segments.push_back(Segment { file: Arc::new(file), path: path.to_path_buf(), last });
        Ok(last)
    }

    /// Takes the place for a frame of this size; an error when the disk has no room for it.
    pub fn take(&mut self, seq: u64, size: u64) -> io::Result<Place> {
        if self.at + size > self.end {
            self.begin_segment(size)?;
        }
        let Some(segment) = self.segments.back_mut() else {
            return Err(io::Error::other("the log has no segment"));
        };
        segment.last = seq;
        let place = Place { file: segment.file.clone(), offset: self.at };
        self.at += size;
        Ok(place)
    }

    fn begin_segment(&mut self, least: u64) -> io::Result<()> {
        let path = self.folder.join(format!("{:016x}.log", self.next_number));
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        let size = SEGMENT.max(least);
        let allocated = nix::fcntl::posix_fallocate(&file, 0, i64::try_from(size).unwrap_or(i64::MAX));
        if let Err(error) = allocated
            .map_err(io::Error::from)
            .and_then(|()| file.sync_all())
            .and_then(|()| folder::sync_folder(&self.folder))
        {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.next_number += 1;
        self.segments.push_back(Segment { file: Arc::new(file), path, last: 0 });
        (self.at, self.end) = (0, size);
        Ok(())
    }

    /// Drops the segments of which everything is folded, except the one being written.
    pub fn drop_folded(&mut self, folded: u64) {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|segment| segment.last <= folded) {
            if let Some(segment) = self.segments.pop_front()
                && let Err(error) = fs::remove_file(&segment.path)
            {
                tracing::warn!(path = %segment.path.display(), %error, "a folded segment of the log stays");
            }
        }
    }

    /// Bytes of segments that are kept.
    pub fn bytes(&self) -> u64 {
        (self.segments.len() as u64).saturating_sub(1) * SEGMENT + self.at
    }
}

/// Whether a later frame says that what stood here was synced: then it was not torn by a crash but damaged.
fn acknowledged(bytes: &[u8], last: u64) -> bool {
    (0..bytes.len()).any(|at| {
        // Most of a preallocated segment is zeros, which begin few frames.
        let begins = bytes[at..].iter().take(4).any(|byte| *byte != 0);
        begins && matches!(frame::read(&bytes[at..]), Read::Frame { seq, synced, .. } if seq > last && synced > last)
    })
}
