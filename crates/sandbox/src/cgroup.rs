//! Control groups: memory, cpu and process limits of a sandbox, and its freezing. Version 2 or version 1, whichever this machine lets us write.
//!
//! What cannot be written is reported once and left out; the limits that need it then do not hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::memory_watch::MemoryWatch;

/// A function may use this much over its memory size: what the runtime needs before any of the function's code runs.
const ALLOWANCE_MB: u64 = 16;
/// Lambda gives a whole CPU at this memory size.
const MB_PER_CPU: u64 = 1769;
const PIDS_MAX: u64 = 1024;
const ROOT: &str = "/sys/fs/cgroup";
const V1_CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "freezer"];

/// Where this process may make groups.
#[derive(Clone, Debug)]
pub enum Hierarchy {
    V2(PathBuf),
    /// A folder a controller, for those that could be made.
    V1(Vec<(&'static str, PathBuf)>),
    None,
}

impl Hierarchy {
    /// Makes our own group under the one this process is in, or the nearest writable one above it. `missing` says what cannot be had.
    pub fn find(name: &str, missing: &mut Vec<String>) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            if let Some(base) = find_v2(&own, name) {
                return Self::V2(base);
            }
        } else {
            let bases: Vec<_> =
                V1_CONTROLLERS.iter().filter_map(|c| Some((*c, find_v1(&own, c, name)?))).collect();
            for controller in V1_CONTROLLERS.iter().filter(|c| !bases.iter().any(|(have, _)| have == *c)) {
                missing.push(format!(
                    "The cgroup controller {controller} cannot be used by this user; {}",
                    effect_of(controller)
                ));
            }
            if !bases.is_empty() {
                return Self::V1(bases);
            }
            return Self::None;
        }
        missing.push("Control groups cannot be written by this user (start under `systemd-run --user --scope -p Delegate=yes`, or as root): memory and cpu limits of functions are not enforced.".into());
        Self::None
    }

    /// A group for one sandbox.
    pub fn create(&self, name: &str) -> io::Result<Option<Cgroup>> {
        let dirs: Vec<(&'static str, PathBuf)> = match self {
            Self::None => return Ok(None),
            Self::V2(base) => vec![("v2", base.join(name))],
            Self::V1(bases) => {
                bases.iter().map(|(controller, base)| (*controller, base.join(name))).collect()
            }
        };
        for (_, dir) in &dirs {
            fs::create_dir(dir)?;
        }
        let group = Cgroup { dirs, usage: None, freezer: None };
        group.write(&[("v2", "pids.max"), ("pids", "pids.max")], &PIDS_MAX.to_string());
        Ok(Some(group.open()))
    }

    /// Removes our own groups; every sandbox must be gone.
    pub fn remove(&self) {
        let bases: Vec<&PathBuf> = match self {
            Self::None => return,
            Self::V2(base) => vec![base],
            Self::V1(bases) => bases.iter().map(|(_, base)| base).collect(),
        };
        for base in bases {
            remove_tree(base);
        }
    }
}

fn effect_of(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory limits of functions are not enforced.",
        "cpu" => "functions share the cpu evenly whatever their memory size.",
        "pids" => "the number of processes is limited per user only.",
        _ => "idle functions are not frozen.",
    }
}

fn find_v2(own: &str, name: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = Path::new(ROOT).join(path.trim_start_matches('/'));
    // The group this process is in may not have groups with limits below it; a sibling may.
    let first = if own == Path::new(ROOT) { own.as_path() } else { own.parent()? };
    first.ancestors().take_while(|dir| dir.starts_with(ROOT)).find_map(|dir| make_v2(dir, name))
}

fn make_v2(parent: &Path, name: &str) -> Option<PathBuf> {
    remove_left_behind(parent);
    let base = parent.join(name);
    fs::create_dir(&base).ok()?;
    let usable = fs::read_to_string(base.join("cgroup.controllers"))
        .is_ok_and(|have| have.contains("memory"))
        && fs::write(base.join("cgroup.subtree_control"), "+memory +pids").is_ok();
    if !usable {
        let _ = fs::remove_dir(&base);
        return None;
    }
    // Not every delegation includes the cpu controller.
    let _ = fs::write(base.join("cgroup.subtree_control"), "+cpu");
    Some(base)
}

fn find_v1(own: &str, controller: &str, name: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|c| c == controller).then_some(path)
    })?;
    let root = Path::new(ROOT).join(controller);
    let own = root.join(path.trim_start_matches('/'));
    [own, root].into_iter().find_map(|parent| {
        remove_left_behind(&parent);
        let base = parent.join(name);
        fs::create_dir(&base).ok().map(|()| base)
    })
}

/// Removes groups of platforms that were killed: `tidemill-<pid>-...` of processes that are gone.
fn remove_left_behind(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("tidemill-").and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            remove_tree(&entry.path());
        }
    }
}

fn remove_tree(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let _ = fs::write(entry.path().join("freezer.state"), "THAWED");
        let _ = fs::remove_dir(entry.path());
    }
    let _ = fs::remove_dir(base);
}

/// The group of one sandbox. Removed by `remove`, when nothing runs in it any more.
pub struct Cgroup {
    dirs: Vec<(&'static str, PathBuf)>,
    usage: Option<File>,
    freezer: Option<(File, &'static [u8], &'static [u8])>,
}

impl Cgroup {
    fn open(mut self) -> Self {
        let read = |found: Option<PathBuf>| found.and_then(|path| File::open(path).ok());
        self.usage = read(self.path("v2", "memory.peak"))
            .or_else(|| read(self.path("memory", "memory.max_usage_in_bytes")))
            .or_else(|| read(self.path("v2", "memory.current")));
        let write =
            |found: Option<PathBuf>| found.and_then(|path| OpenOptions::new().write(true).open(path).ok());
        self.freezer = if let Some(file) = write(self.path("v2", "cgroup.freeze")) {
            Some((file, b"1", b"0"))
        } else {
            write(self.path("freezer", "freezer.state"))
                .map(|file| (file, b"FROZEN".as_slice(), b"THAWED".as_slice()))
        };
        self
    }

    fn path(&self, controller: &str, file: &str) -> Option<PathBuf> {
        self.dirs.iter().find(|(c, _)| *c == controller).map(|(_, dir)| dir.join(file))
    }

    /// Writes the first of `files` whose controller is there; whether that worked.
    fn write(&self, files: &[(&str, &str)], value: &str) -> bool {
        files
            .iter()
            .filter_map(|(controller, file)| self.path(controller, file))
            .any(|path| fs::write(path, value).is_ok())
    }

    /// Descriptors a process writes "0" to in order to enter. Not kept: a thousand sandboxes have many descriptors.
    pub fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open =
            |dir: &Path| OpenOptions::new().write(true).open(dir.join("cgroup.procs")).map(OwnedFd::from);
        self.dirs.iter().map(|(_, dir)| open(dir)).collect()
    }

    /// Sets the limits of a function. With `tmp_mb` files in `/tmp` are in memory, where on Lambda they are not: what watches that must be run.
    pub fn limit(&self, memory_mb: u32, tmp_mb: Option<u32>) -> Option<MemoryWatch> {
        let memory = (u64::from(memory_mb) + ALLOWANCE_MB) << 20;
        self.limit_memory(memory);
        self.write(&[("v2", "memory.swap.max")], "0");
        // One function that runs out ends as a whole, as on Lambda.
        self.write(&[("v2", "memory.oom.group")], "1");
        let share = u64::from(memory_mb).max(1);
        self.write(&[("v2", "cpu.weight")], &(share * 100 / MB_PER_CPU).clamp(1, 10_000).to_string());
        self.write(&[("cpu", "cpu.shares")], &(share * 1024 / MB_PER_CPU).clamp(2, 262_144).to_string());
        self.watch(memory, u64::from(tmp_mb?) << 20)
    }

    fn limit_memory(&self, bytes: u64) {
        self.write(&[("v2", "memory.max"), ("memory", "memory.limit_in_bytes")], &bytes.to_string());
        self.write(&[("memory", "memory.memsw.limit_in_bytes")], &bytes.to_string());
    }

    fn watch(&self, memory: u64, files: u64) -> Option<MemoryWatch> {
        let dir =
            |controller: &str| self.dirs.iter().find(|(c, _)| *c == controller).map(|(_, dir)| dir.as_path());
        let watch = match (dir("v2"), dir("memory")) {
            (Some(dir), _) => MemoryWatch::v2(dir, memory, files),
            (None, Some(dir)) => MemoryWatch::v1(dir, memory, files),
            (None, None) => return None,
        };
        // Without the watch, files must not end a function, so both together are the limit.
        watch.map_err(|_| self.limit_memory(memory + files)).ok()
    }

    /// The most memory used so far, in bytes.
    pub fn peak(&self) -> u64 {
        let mut text = [0; 24];
        let Some(read) = self.usage.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()) else {
            return 0;
        };
        std::str::from_utf8(&text[..read]).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether the kernel killed something in here for want of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let paths = [self.path("v2", "memory.events"), self.path("memory", "memory.oom_control")];
        paths.into_iter().flatten().filter_map(|path| fs::read_to_string(path).ok()).any(|text| {
            text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        })
    }

    pub fn freeze(&self) {
        if let Some((file, frozen, _)) = &self.freezer {
            let _ = (&mut &*file).write_all(frozen);
        }
    }

    pub fn thaw(&self) {
        if let Some((file, _, thawed)) = &self.freezer {
            let _ = (&mut &*file).write_all(thawed);
        }
    }

    /// Version 1 only: the descriptor whoever ends the sandbox without us thaws it with.
    pub fn v1_freezer(&self) -> Option<BorrowedFd<'_>> {
        self.freezer.as_ref().filter(|(_, _, thawed)| *thawed == b"THAWED").map(|(file, ..)| file.as_fd())
    }

    /// Removes the group; false while something still runs in it.
    pub fn remove(&self) -> bool {
        self.dirs.iter().all(|(_, dir)| match fs::remove_dir(dir) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
    }

    /// Kills whatever is in here: the process tier's way to reach processes that left their group.
    pub fn kill_all(&self) {
        for (_, dir) in self.dirs.iter().take(1) {
            for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                if let Ok(pid) = pid.parse() {
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(pid),
                        nix::sys::signal::Signal::SIGKILL,
                    );
                }
            }
        }
    }
}
