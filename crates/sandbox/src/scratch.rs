//! The executor's folder: our bootstraps as functions see them, the place where the root is mounted, temporary folders.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PYTHON: [(&str, &str); 4] = [
    ("bootstrap.py", include_str!("../../../runtimes/python/bootstrap.py")),
    ("zygote.py", include_str!("../../../runtimes/python/zygote.py")),
    ("snapshot.py", include_str!("../../../runtimes/python/snapshot.py")),
    ("snapshot_restore_py.py", include_str!("../../../runtimes/python/snapshot_restore_py.py")),
];
const NODE: [(&str, &str); 1] = [("bootstrap.cjs", include_str!("../../../runtimes/nodejs/bootstrap.cjs"))];

pub struct Scratch {
    /// An empty folder to mount the root on.
    pub root: PathBuf,
    /// Seen by functions as `/var/runtime`.
    pub runtime: PathBuf,
}

/// Makes the folder ready; what an earlier run left in it is removed.
pub fn prepare(dir: &Path) -> io::Result<Scratch> {
    let dir = std::path::absolute(dir)?;
    let scratch = Scratch { root: dir.join("root"), runtime: dir.join("runtime") };
    for folder in [dir.join("tmp"), scratch.runtime.clone()] {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
    }
    fs::create_dir_all(&scratch.root)?;
    for (name, content) in PYTHON.iter().chain(&NODE) {
        write(&scratch.runtime.join(name), content)?;
    }
    // The SDKs and the interface client for Java are mounted here.
    for name in ["python", "node_modules", "java"] {
        fs::create_dir_all(scratch.runtime.join(name))?;
        readable(&scratch.runtime.join(name))?;
    }
    readable(&scratch.runtime)?;
    Ok(scratch)
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Functions run as another user.
fn readable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}
