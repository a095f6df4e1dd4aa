//! The log's files: segments written front to back, replayed on opening, used again or removed when folded.
//!
//! A sync of blocks that were written before takes two thirds of one that also has to say which blocks are in use now.
//! So the next segment is made ready while the last is being written (`ahead.rs`), and a folded one becomes the next:
//! behind the frames of a segment there are zeros, or frames of an earlier life with lower sequences.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use crate::{
    OpenError, folder,
    frame::{self, Read},
};

/// What a segment holds unless one frame needs more, in bytes.
pub const SEGMENT: u64 = 64 << 20;
/// The first segment after opening: most folders of a day's tests never need a second.
const FIRST_SEGMENT: u64 = 4 << 20;
/// Segments that wait to be written, at most.
const MOST_READY: usize = 2;
/// What files of segments that are not part of the log yet are called.
const READY: &str = "ready";

/// A segment that is being written or waits to be folded.
#[derive(Clone)]
struct Segment {
    file: Arc<File>,
    path: PathBuf,
    /// In bytes.
    size: u64,
    /// The last sequence in it.
    last: u64,
}

/// A file that can become the next segment.
pub struct Ready {
    pub file: Arc<File>,
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
}

/// Where the next frame goes. Space is taken before anything is applied, so that a full disk refuses cleanly.
pub struct Log {
    folder: PathBuf,
    next_number: u64,
    segments: VecDeque<Segment>,
    ready: Vec<Ready>,
    /// Files of ready segments that were named.
    named: u64,
    /// Another one was asked for since the last segment was begun.
    asked: bool,
    /// Of the last segment: where the next frame goes and where it ends.
    at: u64,
    end: u64,
}

/// A place that was taken.
pub struct Place {
    pub file: Arc<File>,
    pub offset: u64,
}

/// Where the replay of a segment came to its end.
struct Replayed {
    /// The last sequence that was read, here or before.
    last: u64,
    /// Behind the last whole frame.
    at: usize,
    /// What is wrong there; `None` where nothing follows.
    wrong: Option<&'static str>,
}

impl Log {
    /// Opens the log and gives every frame to `apply`, in order; those up to `folded`, which are known to have been durable,
    /// without their changes. What a crash tore at its end, nothing of which was acknowledged, is cut off; damage anywhere
    /// else is refused with its place.
    pub fn open(
        folder: &Path,
        folded: u64,
        mut apply: impl FnMut(u64, Vec<frame::Change>),
    ) -> Result<Log, OpenError> {
        fs::create_dir_all(folder).map_err(|error| OpenError::Io(folder.to_path_buf(), error))?;
        let paths = paths(folder)?;
        let mut log = Log {
            folder: folder.to_path_buf(),
            next_number: paths.last().map_or(1, |(number, _)| number + 1),
            segments: VecDeque::new(),
            ready: Vec::new(),
            named: 0,
            asked: false,
            at: 0,
            end: 0,
        };
        let mut last = 0;
        let mut rest = paths.iter();
        while let Some((_, path)) = rest.next() {
            let replayed = replay(path, last, folded, &mut apply)?;
            last = replayed.last;
            let goes_on = rest.as_slice().first().map_or(Ok(false), |(_, next)| continues(next, last))?;
            let is_end = !goes_on && (replayed.wrong.is_some() || rest.len() == 0);
            if let Some(wrong) = replayed.wrong.filter(|_| !goes_on) {
                // The crash may have come while two segments were written; the second can be whole where the first is not.
                if !cut(folder, &mut rest, last.max(folded))? {
                    return Err(damaged(path, replayed.at, wrong));
                }
            }
            log.keep(path, last, is_end.then_some(replayed.at))?;
        }
        Ok(log)
    }

    /// Takes in a segment that was read. Behind the end of the log there is nothing, or what a crash tore; the next frames go
    /// to a new segment. What was read counts as durable from now on, so it is made so.
    fn keep(&mut self, path: &Path, last: u64, end: Option<usize>) -> Result<(), OpenError> {
        let io = |error| OpenError::Io(path.to_path_buf(), error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        end.map_or(Ok(()), |end| file.set_len(end as u64)).and_then(|()| file.sync_all()).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        self.segments.push_back(Segment { file: Arc::new(file), path: path.to_path_buf(), size, last });
        Ok(())
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
        let found = self.ready.iter().position(|ready| ready.size >= least);
        let next = match found.map(|at| self.ready.swap_remove(at)) {
            Some(ready) => {
                fs::rename(&ready.path, &path)?;
                ready
            }
            None => {
                let first = if self.segments.is_empty() { FIRST_SEGMENT } else { SEGMENT };
                allocated(&path, first.max(least))?
            }
        };
        if let Err(error) = folder::sync_folder(&self.folder) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.next_number += 1;
        self.asked = false;
        (self.at, self.end) = (0, next.size);
        self.segments.push_back(Segment { file: next.file, path, size: next.size, last: 0 });
        Ok(())
    }

    /// Whether it is time to make the next segment; true once for each that is being written.
    pub fn asks_for_next(&mut self) -> bool {
        let asks = !self.asked && self.ready.is_empty() && self.at > self.end / 2;
        self.asked |= asks;
        asks
    }

    /// The path for the file of a segment that is to be ready, if there is none.
    pub fn wanted(&mut self) -> Option<PathBuf> {
        self.ready.is_empty().then(|| self.name_ready())
    }

    fn name_ready(&mut self) -> PathBuf {
        self.named += 1;
        self.folder.join(format!("{}.{READY}", self.named))
    }

    /// Takes a segment that was made at a path that [`Log::wanted`] gave.
    pub fn is_ready(&mut self, ready: Ready) {
        self.ready.push(ready);
    }

    /// Removes what is ready to become a segment; nothing more will be written.
    pub fn close(&mut self) {
        for ready in self.ready.drain(..) {
            let _ = fs::remove_file(&ready.path);
        }
    }

    /// Takes the segments of which everything is folded out of the log, except the one being written. Some become the next
    /// ones; the files of the others, which are given, are to be removed.
    pub fn drop_folded(&mut self, folded: u64) -> Vec<PathBuf> {
        let mut left = Vec::new();
        while self.segments.len() > 1 && self.segments.front().is_some_and(|segment| segment.last <= folded) {
            let Some(segment) = self.segments.pop_front() else { break };
            let path = self.name_ready();
            if segment.size == SEGMENT
                && self.ready.len() < MOST_READY
                && fs::rename(&segment.path, &path).is_ok()
            {
                self.ready.push(Ready { file: segment.file, path, size: segment.size });
            } else {
                left.push(segment.path);
            }
        }
        left
    }

    /// Bytes of segments that are kept.
    pub fn bytes(&self) -> u64 {
        let before = self.segments.iter().rev().skip(1).map(|segment| segment.size).sum::<u64>();
        before + self.at
    }
}

/// A new file of this size, which the disk has room for.
pub fn allocated(path: &Path, size: u64) -> io::Result<Ready> {
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
    let room = nix::fcntl::posix_fallocate(&file, 0, i64::try_from(size).unwrap_or(i64::MAX));
    if let Err(error) = room.map_err(io::Error::from).and_then(|()| file.sync_all()) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(Ready { file: Arc::new(file), path: path.to_path_buf(), size })
}

/// The segments in a folder, in order. Removes those that were ready to become one.
fn paths(folder: &Path) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let io = |error| OpenError::Io(folder.to_path_buf(), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == READY) {
            fs::remove_file(&path).map_err(io)?;
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        match stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()) {
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
    Ok(paths)
}

fn replay(
    path: &Path,
    before: u64,
    folded: u64,
    apply: &mut impl FnMut(u64, Vec<frame::Change>),
) -> Result<Replayed, OpenError> {
    let bytes = fs::read(path).map_err(|error| OpenError::Io(path.to_path_buf(), error))?;
    let (mut at, mut last) = (0, before);
    let wrong = loop {
        match frame::read(&bytes[at..], folded) {
            Read::Frame { seq, .. } if last != 0 && seq != last + 1 => break "frames are missing",
            Read::Frame { seq, changes, size, .. } => {
                apply(seq, changes);
                last = seq;
                at += size;
            }
            Read::End if bytes[at..].iter().all(|byte| *byte == 0) => {
                return Ok(Replayed { last, at, wrong: None });
            }
            Read::End => break "frames follow a gap",
            Read::Torn => break "a frame is not what was written",
        }
    };
    // A crash may persist a write's later blocks without its first: nothing of it was acknowledged.
    if acknowledged(&bytes[at..], last.max(folded)) {
        return Err(damaged(path, at, wrong));
    }
    Ok(Replayed { last, at, wrong: Some(wrong) })
}

/// Whether a segment begins with the frame after `last`: then the one before it ended there, whatever stands behind that.
fn continues(path: &Path, last: u64) -> Result<bool, OpenError> {
    let begin = || {
        let file = File::open(path)?;
        let mut head = Vec::new();
        (&file).take(frame::HEAD as u64).read_to_end(&mut head)?;
        let length =
            frame::length(&head).filter(|length| *length <= file.metadata().map_or(0, |data| data.len()));
        (&file).take(length.unwrap_or(0)).read_to_end(&mut head)?;
        Ok(head)
    };
    let bytes = begin().map_err(|error| OpenError::Io(path.to_path_buf(), error))?;
    Ok(matches!(frame::read(&bytes, u64::MAX), Read::Frame { seq, .. } if seq == last + 1))
}

/// Removes the segments behind the end of the log. `false`, and nothing is removed, where something in them was acknowledged.
fn cut(folder: &Path, rest: &mut slice::Iter<'_, (u64, PathBuf)>, last: u64) -> Result<bool, OpenError> {
    let io = |error| OpenError::Io(folder.to_path_buf(), error);
    for (_, path) in rest.clone() {
        if acknowledged(&fs::read(path).map_err(io)?, last) {
            return Ok(false);
        }
    }
    rest.try_for_each(|(_, path)| fs::remove_file(path))
        .and_then(|()| folder::sync_folder(folder))
        .map_err(io)?;
    Ok(true)
}

fn damaged(path: &Path, at: usize, what: &str) -> OpenError {
    OpenError::Damaged { place: format!("{}, byte {at}", path.display()), what: what.to_string() }
}

/// Whether a later frame says that what stood here was synced: then it was not torn by a crash but damaged.
fn acknowledged(bytes: &[u8], last: u64) -> bool {
    (0..bytes.len()).any(|at| {
        // Cheap, for nearly everything here begins no frame, or one of an earlier life.
        frame::claims(&bytes[at..]).is_some_and(|(seq, synced)| seq > last && synced > last)
            && matches!(frame::read(&bytes[at..], u64::MAX), Read::Frame { .. })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of frames, each with its sequence and what was durable when it was made.
    fn segment(folder: &Path, number: u64, frames: &[(u64, u64)]) -> PathBuf {
        let mut bytes = Vec::new();
        for (seq, synced) in frames {
            let mut frame = Vec::new();
            frame::seal(&mut frame, *seq, *synced);
            bytes.extend(frame);
        }
        bytes.resize(4096, 0);
        let path = folder.join(format!("{number:016x}.log"));
        fs::write(&path, bytes).expect("a segment");
        path
    }

    /// Spoils the frame with this place in a segment.
    fn tear(path: &Path, place: usize) {
        let mut frame = Vec::new();
        frame::seal(&mut frame, 1, 0);
        let mut bytes = fs::read(path).expect("a segment");
        bytes[place * frame.len() + 4] ^= 1;
        fs::write(path, bytes).expect("a segment");
    }

    fn replayed(folder: &Path, folded: u64) -> Result<Vec<u64>, OpenError> {
        let mut seen = Vec::new();
        Log::open(folder, folded, |seq, _| seen.push(seq)).map(|_| seen)
    }

    #[test]
    fn a_crash_while_one_segment_follows_another_is_cut() {
        // Of 3 to 6 nothing was acknowledged; what arrived of them is chance.
        for torn in [(1, 2), (1, 3), (2, 0), (2, 1)] {
            let root = tempfile::tempdir().expect("a folder");
            let first = segment(root.path(), 1, &[(1, 0), (2, 1), (3, 2), (4, 2)]);
            let second = segment(root.path(), 2, &[(5, 2), (6, 2)]);
            tear(if torn.0 == 1 { &first } else { &second }, torn.1);
            let whole = if torn.0 == 1 { torn.1 as u64 } else { 4 + torn.1 as u64 };
            let expected: Vec<u64> = (1..=whole).collect();
            for _ in 0..2 {
                assert_eq!(replayed(root.path(), 0).expect("it opens"), expected, "{torn:?}");
            }
        }
    }

    #[test]
    fn a_hole_that_was_acknowledged_is_refused_and_nothing_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let first = segment(root.path(), 1, &[(1, 0), (2, 1), (3, 2), (4, 2)]);
        segment(root.path(), 2, &[(5, 3), (6, 3)]);
        tear(&first, 2);
        for _ in 0..2 {
            assert!(
                matches!(replayed(root.path(), 0), Err(OpenError::Damaged { place, .. }) if place.contains("1.log"))
            );
        }
        fs::remove_file(&first).expect("removed");
        segment(root.path(), 1, &[(1, 0), (2, 1)]);
        assert!(
            matches!(replayed(root.path(), 0), Err(OpenError::Damaged { place, .. }) if place.contains("2.log"))
        );
    }

    #[test]
    fn frames_of_an_earlier_life_stand_behind_the_end() {
        let root = tempfile::tempdir().expect("a folder");
        // 11 of 30 bytes was written over 1, the rest of which and what followed it are still there.
        let live = segment(root.path(), 4, &[(11, 10), (12, 11), (2, 1), (3, 2), (4, 3)]);
        assert_eq!(replayed(root.path(), 5).expect("it opens"), [11, 12]);
        assert_eq!(
            fs::metadata(&live).expect("it is there").len(),
            58,
            "nothing of it is left behind the end"
        );

        let live = segment(root.path(), 4, &[(11, 10), (12, 11), (2, 1), (3, 2), (4, 3)]);
        segment(root.path(), 5, &[(13, 12), (14, 13), (7, 6), (8, 7)]);
        assert_eq!(replayed(root.path(), 5).expect("it opens"), [11, 12, 13, 14]);
        segment(root.path(), 5, &[(13, 12), (14, 13)]);
        tear(&live, 2);
        assert_eq!(replayed(root.path(), 5).expect("it opens"), [11, 12, 13, 14]);
        // The next one was begun, but nothing arrived in it.
        segment(root.path(), 6, &[(5, 4), (6, 5)]);
        assert_eq!(replayed(root.path(), 5).expect("it opens"), [11, 12, 13, 14]);
    }

    #[test]
    fn damage_is_told_from_frames_of_an_earlier_life() {
        let root = tempfile::tempdir().expect("a folder");
        let live = segment(root.path(), 4, &[(11, 10), (12, 11), (2, 1), (3, 2)]);
        segment(root.path(), 5, &[(13, 12), (14, 13), (7, 6)]);
        tear(&live, 1);
        assert!(matches!(replayed(root.path(), 5), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn what_is_folded_says_that_a_torn_beginning_was_not_acknowledged() {
        let root = tempfile::tempdir().expect("a folder");
        let only = segment(root.path(), 7, &[(41, 40), (42, 40)]);
        tear(&only, 0);
        assert!(replayed(root.path(), 0).is_err());
        assert_eq!(replayed(root.path(), 40).expect("it opens"), Vec::<u64>::new());
    }
}
