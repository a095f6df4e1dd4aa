//! The root every function sees, built once: the host's programs and libraries read-only, a small `/etc` and `/dev` of our own.
//!
//! It is mounted in the spawner's own mount namespace; each cell is forked with a copy of that namespace and so has it for nothing.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::messages::Settings;
use super::mounts::{self, below};

pub struct Built {
    pub own_uids: bool,
    pub missing: Vec<String>,
}

/// Host folders functions may read. Those that are links on the host become the same links.
const PROGRAMS: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix"];
/// Parts of the host's `/etc` that programs need and that hold no secrets.
const ETC: [&str; 10] = [
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki",
    "ca-certificates",
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "mime.types",
    "nsswitch.conf",
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const FOLDERS: [&str; 13] = [
    "etc",
    "dev",
    "proc",
    "tmp",
    "var",
    "var/task",
    "var/runtime",
    "var/lang",
    "var/node_modules",
    "opt",
    "mnt",
    ".host",
    ".host/old",
];

/// The user functions run as when host user ids are ours to give; the name Lambda uses.
pub const USER: &str = "sbx_user1051";
pub const UID: u32 = 993;
pub const GID: u32 = 990;

/// Enters namespaces of the spawner's own, mounts the template at `settings.root` and makes that the root. The host hangs below it until a
/// cell or a zygote lets go of it.
pub fn build(settings: &Settings) -> io::Result<Built> {
    let root = &settings.root;
    let own_uids = nix::unistd::geteuid().is_root() && can_mount();
    if !own_uids {
        enter_user_namespace()?;
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .map_err(|e| mounts::context("slave", Path::new("/"), e))?;
    mounts::tmpfs(root, "size=4m,mode=755")?;
    mount(none, root, none, MsFlags::MS_PRIVATE, none).map_err(|e| mounts::context("private", root, e))?;
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join(".host"), fs::Permissions::from_mode(0o700))?;
    for path in PROGRAMS {
        program_folder(root, Path::new(path))?;
    }
    etc(root)?;
    dev(root)?;
    mounts::bind_read_only(&settings.runtime_dir, &root.join("var/runtime"))?;
    let flags =
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(none, root, none, flags, none).map_err(|e| mounts::context("read-only", root, e))?;
    // Once for all: changing the root looks at every process of the machine.
    mounts::pivot(root)?;
    Ok(Built { own_uids, missing: Vec::new() })
}

/// Root in a container often may not mount: found out by doing it.
fn can_mount() -> bool {
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
}

/// An ordinary user becomes the owner of a user namespace in which functions run as Lambda's user id.
fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|e| io::Error::other(format!("user namespaces are not allowed here ({e}); see the sysctls kernel.unprivileged_userns_clone, user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns")))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{UID} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{GID} {gid} 1"))
}

fn program_folder(root: &Path, path: &Path) -> io::Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    let to = below(root, path);
    if kind.is_symlink() {
        return symlink(fs::read_link(path)?, to);
    }
    if !kind.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to)?;
    mounts::bind_read_only(path, &to)
}

fn etc(root: &Path) -> io::Result<()> {
    let etc = root.join("etc");
    fs::write(
        etc.join("passwd"),
        format!(
            "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n{USER}:x:{UID}:{GID}::/home/{USER}:/sbin/nologin\n"
        ),
    )?;
    fs::write(etc.join("group"), format!("root:x:0:\nnogroup:x:65534:\n{USER}:x:{GID}:\n"))?;
    fs::write(
        etc.join("hosts"),
        "127.0.0.1 localhost sandbox sandbox.localdomain localhost.localstack.cloud s3.localhost.localstack.cloud sqs.us-east-1.localhost.localstack.cloud\n198.18.0.1 host.tidemill.internal\n",
    )?;
    fs::write(etc.join("resolv.conf"), "nameserver 198.18.0.1\noptions timeout:2 attempts:2\n")?;
    fs::write(etc.join("hostname"), "sandbox\n")?;
    // Some systems keep a JVM's settings here: /etc/java-17-openjdk.
    let java = fs::read_dir("/etc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let java = java.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("java"));
    for part in ETC.map(String::from).into_iter().chain(java) {
        let from = Path::new("/etc").join(&part);
        let Ok(kind) = fs::metadata(&from) else { continue };
        let to = etc.join(&part);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        if kind.is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            fs::write(&to, "")?;
        }
        mounts::bind_read_only(&from, &to)?;
    }
    Ok(())
}

fn dev(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    for device in DEVICES {
        let to = dev.join(device);
        fs::write(&to, "")?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o666))?;
        mounts::bind(&Path::new("/dev").join(device), &to)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}
