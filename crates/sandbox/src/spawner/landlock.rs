//! A second wall around a function's files: Landlock rules that hold even where a mount or a descriptor of the host's leaked in.
//!
//! Each cell opens a rule set of its own once its root stands; the processes of the function then bind themselves to it. Best effort: kernels
//! without Landlock, or before its second version (which cannot allow renames between folders), have the first wall only.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

/// What the rules are written for; older kernels keep those they know.
const WANTED: ABI = ABI::V6;

/// The rules of a sandbox, for the root this process has: all of it may be read and run, `/tmp` changed, devices and `/proc` written where
/// their own permissions let one. Signals stay inside. `None` where this kernel has no Landlock that could be used.
pub fn rules() -> io::Result<Option<OwnedFd>> {
    if usable().is_none() {
        return Ok(None);
    }
    build().map_err(io::Error::other)
}

fn build() -> Result<Option<OwnedFd>, landlock::RulesetError> {
    let read = AccessFs::from_read(WANTED);
    let write = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::Signal)?;
    let mut ruleset = ruleset.create()?;
    for (path, access) in
        [("/", read), ("/tmp", AccessFs::from_all(WANTED)), ("/dev", write | read), ("/proc", write | read)]
    {
        // A path that is not there needs no rule.
        let Ok(folder) = PathFd::new(path) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(folder, access))?;
    }
    Ok(ruleset.into())
}

/// Binds this process, and all it will start, to the rules. Privileges must have been given up for good before.
pub fn enforce(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor and no pointers.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Landlock's version in this kernel, if it is one that is used here.
pub fn usable() -> Option<i64> {
    Some(version()).filter(|version| *version >= 2)
}

/// Landlock's version in this kernel; zero or less where it is missing or switched off.
fn version() -> libc::c_long {
    const VERSION: u32 = 1;
    // SAFETY: asks for the version; with no attributes nothing is read.
    unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_bound_thread_reads_everything_and_changes_only_tmp() {
        let Some(rules) = rules().unwrap() else {
            println!("skipped: no Landlock");
            return;
        };
        let outside = tempfile::tempdir_in("/var/tmp").unwrap();
        let elsewhere = outside.path().join("written-by-a-test");
        let inside = tempfile::tempdir_in("/tmp").unwrap();
        // Landlock binds a thread, which ends here.
        let tried = std::thread::scope(|scope| {
            let bound = scope.spawn(|| {
                super::super::confine::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).unwrap();
                enforce(rules.as_fd()).unwrap();
                let (first, second) = (inside.path().join("a"), inside.path().join("b/c"));
                fs::write(&first, "").unwrap();
                fs::create_dir(inside.path().join("b")).unwrap();
                fs::rename(&first, &second).unwrap();
                fs::read("/proc/self/status").unwrap();
                fs::write("/dev/null", "x").unwrap();
                fs::write(&elsewhere, "").map_err(|error| error.raw_os_error())
            });
            bound.join().unwrap()
        });
        assert_eq!(tried, Err(Some(libc::EACCES)));
    }
}
