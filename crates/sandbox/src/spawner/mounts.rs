//! Mounting, in the words the cells and the template need: read-only binds, fresh file systems, changing the root.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::messages::Mounts;

/// Where the host's tree hangs in a cell until its function is known: in a folder nobody but a cell's init may enter.
pub const HOST: &str = "/.host/old";

/// Where functions see their code.
const TASK: &str = "/var/task";
const NONE: Option<&str> = None;

/// Binds `from` at `to`, with what is mounted below it, read-only, without devices and set-uid.
pub fn bind_read_only(from: &Path, to: &Path) -> io::Result<()> {
    bind(from, to)?;
    match protect_all(to) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => protect(to),
        other => other,
    }
}

/// `mount_setattr(2)`, Linux 5.12: the mount and all mounts below it.
fn protect_all(path: &Path) -> io::Result<()> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: a C string and a structure of the size given, both of which live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            name.as_ptr(),
            libc::AT_RECURSIVE,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// For older kernels: the mount alone, not what is mounted below it.
fn protect(to: &Path) -> io::Result<()> {
    let flags =
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // Inside a user namespace flags the host set (noexec, noatime) are locked: they must be named again.
    mount(NONE, to, NONE, flags | locked_flags(to), NONE).map_err(|e| context("read-only", to, e))
}

/// Binds `from` at `to` as it is.
pub fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(|e| context("bind", from, e))
}

fn locked_flags(path: &Path) -> MsFlags {
    let mut flags = MsFlags::empty();
    let Ok(stat) = nix::sys::statvfs::statvfs(path) else { return flags };
    let set = stat.flags().bits();
    for (bit, flag) in [
        (libc::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (libc::ST_NOATIME, MsFlags::MS_NOATIME),
        (libc::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (libc::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if set & bit != 0 {
            flags |= flag;
        }
    }
    flags
}

pub fn tmpfs(to: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), to, Some("tmpfs"), flags, Some(options)).map_err(|e| context("tmpfs", to, e))
}

pub fn resize_tmpfs(to: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_REMOUNT;
    mount(NONE, to, NONE, flags, Some(options)).map_err(|e| context("resize", to, e))
}

pub fn proc(to: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), to, Some("proc"), flags, NONE).map_err(|e| context("proc", to, e))
}

/// Makes `root`, with all mounted below it, the root; the old one hangs at [`HOST`].
pub fn pivot(root: &Path) -> io::Result<()> {
    let host = root.join(HOST.trim_start_matches('/'));
    nix::unistd::pivot_root(root, &host).map_err(|e| context("pivot_root", root, e))?;
    nix::unistd::chdir("/")?;
    Ok(())
}

/// Lets go of the host's tree.
pub fn drop_host() -> io::Result<()> {
    umount2(HOST, MntFlags::MNT_DETACH).map_err(|e| context("unmount", Path::new(HOST), e))
}

/// The interpreter at `/var/lang` and the SDK where the runtime looks for it.
pub fn bind_runtime(mounts: &Mounts) -> io::Result<()> {
    if mounts.started_early {
        tmpfs(Path::new(TASK), "size=4m,mode=755")?;
    }
    if let Some(lang) = &mounts.lang {
        bind_read_only(&of_host(lang), Path::new("/var/lang"))?;
    }
    for (from, to) in &mounts.sdk {
        bind_read_only(&of_host(from), to)?;
    }
    Ok(())
}

/// What a runtime that was started early has as its working folder: a link for each part of the code, which is then mounted over this.
pub fn link_code(code: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(code)? {
        let path = Path::new(TASK).join(entry?.file_name());
        std::os::unix::fs::symlink(&path, &path)?;
    }
    Ok(())
}

/// Where a path of the host is, as long as the host's tree hangs there.
pub fn of_host(path: &Path) -> PathBuf {
    below(Path::new(HOST), path)
}

/// The layers merged at `to`, later ones winning. One layer is bound, several are overlaid.
pub fn layers(layers: &[PathBuf], to: &Path) -> io::Result<()> {
    match layers {
        [] => Ok(()),
        [only] => bind_read_only(only, to),
        many => {
            let lower: Vec<String> =
                many.iter().rev().map(|layer| escape(&layer.to_string_lossy())).collect();
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            let options = format!("lowerdir={}", lower.join(":"));
            mount(Some("overlay"), to, Some("overlay"), flags, Some(options.as_str()))
                .map_err(|e| context("overlay of layers", to, e))
        }
    }
}

fn escape(path: &str) -> String {
    path.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

pub fn context(what: &str, path: &Path, error: nix::Error) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}
