//! Tells files in `/tmp` from memory. Both are charged to a sandbox's cgroup, but on Lambda only memory counts against the memory size.
//!
//! The limit stands a margin above the memory size. When a sandbox comes near it, this is woken and raises it by what files in `/tmp` take; a
//! function that took memory instead runs into it and is ended by the kernel.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::async_fd;

/// What may be taken before this has been woken and has acted.
const MARGIN: u64 = 32 << 20;
/// Version 1 tells of every 2 MB it reclaims; more often than this is not looked.
const REST: Duration = Duration::from_millis(5);

pub struct MemoryWatch {
    events: AsyncFd<OwnedFd>,
    dir: PathBuf,
    version: Version,
    /// What memory may take, without files, and the most files may take.
    memory: u64,
    files_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl MemoryWatch {
    /// Watches a version 1 group.
    pub fn v1(dir: &Path, memory: u64, files_max: u64) -> io::Result<Self> {
        // SAFETY: makes a new descriptor, owned here.
        let events = unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))? };
        let watch = Self::new(events, dir, Version::V1, memory, files_max)?;
        watch.set_limit(memory + MARGIN)?;
        Ok(watch)
    }

    /// Watches a version 2 group. `memory.high` becomes the working limit, `memory.max` the last one.
    pub fn v2(dir: &Path, memory: u64, files_max: u64) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(dir.join("memory.events").as_os_str().as_bytes())
            .map_err(io::Error::other)?;
        // SAFETY: makes a new descriptor, owned here; the path is a C string.
        let events = unsafe {
            let events = owned(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK))?;
            if libc::inotify_add_watch(events.as_raw_fd(), path.as_ptr(), libc::IN_MODIFY) < 0 {
                return Err(io::Error::last_os_error());
            }
            events
        };
        let watch = Self::new(events, dir, Version::V2, memory, files_max)?;
        watch.set_limit(memory + MARGIN)?;
        Ok(watch)
    }

    fn new(events: OwnedFd, dir: &Path, version: Version, memory: u64, files_max: u64) -> io::Result<Self> {
        let events = async_fd::register(events, Interest::READABLE)?;
        Ok(Self { events, dir: dir.to_owned(), version, memory, files_max })
    }

    /// Serves for ever; ends with the sandbox, or when the group cannot be read any more. The kernel takes milliseconds for some of these
    /// writes, so they are made on a thread that may block.
    pub async fn run(self) {
        let watch = Arc::new(self);
        let mut limit = watch.memory + MARGIN;
        if blocking(&watch, Self::tell_all).await.is_none() {
            return;
        }
        let mut buffer = [0; 4096];
        loop {
            let event = watch.events.async_io(Interest::READABLE, |fd| {
                nix::unistd::read(fd, &mut buffer).map_err(io::Error::from)
            });
            if event.await.is_err() {
                return;
            }
            match blocking(&watch, move |watch| watch.raise(limit)).await {
                Some(raised) => limit = raised,
                None => return,
            }
            tokio::time::sleep(REST).await;
        }
    }

    fn tell_all(&self) -> io::Result<()> {
        if self.version == Version::V1 {
            // Reclaim tells that pages of read files make room at the limit: usage does not move then, and files may still have grown.
            self.tell_v1("memory.pressure_level", "low")?;
            self.tell_v1("memory.usage_in_bytes", &self.near(self.memory + MARGIN).to_string())?;
        }
        Ok(())
    }

    /// Raises the limit by what files take, and further ahead the more a function writes. Gives the limit that holds then.
    fn raise(&self, limit: u64) -> io::Result<u64> {
        let files = self.stat("shmem ")?;
        let wanted = self.memory + files + (4 * files).clamp(MARGIN, self.files_max.max(MARGIN));
        if wanted <= limit {
            if self.version == Version::V2 && self.stat("anon ")? >= self.memory {
                // Above `memory.high` a function is only slowed down, for a long time: this is the end it would come to.
                fs::write(self.dir.join("memory.max"), self.memory.to_string())?;
            }
            return Ok(limit);
        }
        self.set_limit(wanted)?;
        if self.version == Version::V1 {
            self.tell_v1("memory.usage_in_bytes", &self.near(wanted).to_string())?;
        }
        Ok(wanted)
    }

    fn set_limit(&self, limit: u64) -> io::Result<()> {
        match self.version {
            Version::V1 => {
                // Where swap is accounted, that limit must not be below the other one. Not every kernel has it.
                let _ = fs::write(self.dir.join("memory.memsw.limit_in_bytes"), limit.to_string());
                fs::write(self.dir.join("memory.limit_in_bytes"), limit.to_string())?;
                let _ = fs::write(self.dir.join("memory.memsw.limit_in_bytes"), limit.to_string());
                Ok(())
            }
            Version::V2 => {
                fs::write(self.dir.join("memory.max"), limit.to_string())?;
                fs::write(self.dir.join("memory.high"), self.near(limit).to_string())
            }
        }
    }

    /// Where this is woken before a limit is reached.
    fn near(&self, limit: u64) -> u64 {
        limit - MARGIN * 3 / 4
    }

    fn tell_v1(&self, file: &str, condition: &str) -> io::Result<()> {
        let watched = fs::File::open(self.dir.join(file))?;
        let line = format!("{} {} {condition}", self.events.get_ref().as_raw_fd(), watched.as_raw_fd());
        fs::write(self.dir.join("cgroup.event_control"), line)
    }

    fn stat(&self, name: &str) -> io::Result<u64> {
        let stat = fs::read_to_string(self.dir.join("memory.stat"))?;
        Ok(stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0))
    }
}

async fn blocking<T: Send + 'static>(
    watch: &Arc<MemoryWatch>,
    work: impl FnOnce(&MemoryWatch) -> io::Result<T> + Send + 'static,
) -> Option<T> {
    let watch = watch.clone();
    tokio::task::spawn_blocking(move || work(&watch)).await.ok()?.ok()
}

/// # Safety
/// `fd` must be a new descriptor nobody else owns, or negative with `errno` set.
unsafe fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as promised by the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
