//! The data folder: whose it is, and that only one process uses it.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
};

use crate::OpenError;

const MARK: &str = "FORMAT";
const DRAFT: &str = "FORMAT.new";
const FORMAT: &str = "tidemill data 3\n";
/// Knows no compression. All of it is read; the folder becomes one of the newer format as soon as it is opened.
const UNCOMPRESSED: &str = "tidemill data 2\n";
/// Written before the first release; nothing reads it any more.
const EARLIER: &str = "tidemill data 1\n";

/// Opens or makes the folder and takes its lock, which is held as long as the file is open.
pub fn open(path: &Path) -> Result<File, OpenError> {
    let io = |error| OpenError::Io(path.to_path_buf(), error);
    fs::create_dir_all(path).map_err(io)?;
    let mark = path.join(MARK);
    match fs::read_to_string(&mark) {
        Ok(found) if found == FORMAT || found == UNCOMPRESSED => {}
        Ok(found) if found == EARLIER => {
            return Err(OpenError::Earlier(path.to_path_buf(), found.trim().to_string()));
        }
        Ok(found) if found.starts_with("tidemill data ") => {
            return Err(OpenError::Newer(path.to_path_buf(), found.trim().to_string()));
        }
        Ok(_) => return Err(OpenError::Foreign(path.to_path_buf())),
        Err(_) => {
            let mut entries = fs::read_dir(path).map_err(io)?;
            let ours = |name: &OsStr| name == "LOCK" || name == DRAFT;
            if entries.any(|entry| entry.is_ok_and(|entry| !ours(&entry.file_name()))) {
                return Err(OpenError::Foreign(path.to_path_buf()));
            }
        }
    }
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.join("LOCK")).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_path_buf())),
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    if !fs::read_to_string(&mark).is_ok_and(|found| found == FORMAT) {
        write_mark(path, &mark).map_err(io)?;
    }
    Ok(lock)
}

/// Says which format the folder has; whole or not at all, whatever happens meanwhile.
fn write_mark(folder: &Path, mark: &Path) -> std::io::Result<()> {
    let draft = folder.join(DRAFT);
    let mut file = File::create(&draft)?;
    file.write_all(FORMAT.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, mark)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
