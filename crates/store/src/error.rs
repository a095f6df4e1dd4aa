//! What can go wrong, in sentences that say what to do.

use std::{fmt, path::PathBuf};

/// A write that was not taken. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no room for the log. Writes are taken again as soon as there is.
    DiskFull,
    /// Larger than a batch may be, in bytes.
    TooLarge(usize),
    /// The store has been closed.
    Closed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::DiskFull => {
                f.write_str("the disk of the data folder is full; writes are taken again when there is space")
            }
            Refused::TooLarge(bytes) => write!(f, "{bytes} bytes are more than one write may hold"),
            Refused::Closed => f.write_str("the platform is shutting down"),
        }
    }
}

impl std::error::Error for Refused {}

/// Something that was written cannot be read back as it was.
#[derive(Debug, Clone)]
pub struct Damaged(pub(crate) String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// Why a data folder is not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds it.
    InUse(PathBuf),
    /// Files of others are in it.
    Foreign(PathBuf),
    /// Written by a newer version.
    Newer(PathBuf, String),
    /// An earlier version wrote it, in a format that is read no more.
    Earlier(PathBuf, String),
    /// It does not hold what was written, at this place.
    Damaged {
        place: String,
        what: String,
    },
    Io(PathBuf, std::io::Error),
    Backing(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(path) => write!(
                f,
                "{} is in use by another process; stop that one or choose another folder",
                path.display()
            ),
            OpenError::Foreign(path) => write!(
                f,
                "{} holds files that are not a data folder's; choose an empty or new folder",
                path.display()
            ),
            OpenError::Earlier(path, found) => write!(
                f,
                "{} was written by a version before the first release ({found}) and cannot be opened; remove it or use another folder",
                path.display()
            ),
            OpenError::Newer(path, found) => {
                write!(f, "{} was written by a newer version ({found}); upgrade to open it", path.display())
            }
            OpenError::Damaged { place, what } => write!(
                f,
                "the data folder is damaged at {place}: {what}; nothing was changed, restore it from a copy"
            ),
            OpenError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            OpenError::Backing(error) => {
                write!(f, "the checkpoint of the data folder cannot be opened: {error}")
            }
        }
    }
}

impl std::error::Error for OpenError {}
