//! What was built is kept under the digest of what it was built from, in `$XDG_CACHE_HOME/tidemill/builds`, for all data
//! folders of a user; and running the tools that build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Build, LEFT_OUT};

/// Lines of a tool's complaint that are shown.
const MOST_LINES: usize = 40;

/// Gathers what a build depends on.
pub struct Inputs(Sha256);

impl Inputs {
    /// `kind` tells apart builds of different tools.
    pub fn new(kind: &str) -> Inputs {
        Inputs(Sha256::new()).with(kind)
    }

    pub fn with(mut self, input: &str) -> Inputs {
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input.as_bytes());
        self
    }

    /// A file's content; none is an input as well.
    pub fn file(self, path: &Path) -> Inputs {
        let content = fs::read_to_string(path).unwrap_or_default();
        self.with(&content)
    }

    /// Names and contents of the files under a folder.
    pub fn folder(mut self, folder: &Path) -> Result<Inputs> {
        let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        let mut entries = listed.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if LEFT_OUT.contains(&name.as_str()) || matches!(name.as_str(), "node_modules" | "target") {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self = self.with(&name).folder(&entry.path())?.with("..");
            } else if entry.path().is_file() {
                let content = Sha256::digest(fs::read(entry.path())?);
                self = self.with(&name).with(&hex::encode(content));
            }
        }
        Ok(self)
    }

    /// Where what is built from these inputs is kept.
    fn place(self) -> Result<PathBuf> {
        let runtimes = crate::wiring::runtimes_dir();
        let runtimes = runtimes.context("there is no HOME to keep builds under; set XDG_CACHE_HOME")?;
        Ok(runtimes.with_file_name("builds").join(&hex::encode(self.0.finalize())[..32]))
    }
}

impl Build<'_> {
    /// The folder built from `inputs`, filled by `fill` unless it is there. An interrupted build is begun again.
    pub(super) fn cached(
        &self,
        inputs: Inputs,
        what: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let target = inputs.place()?;
        if target.is_dir() {
            return Ok(target);
        }
        self.say(what);
        let began = Instant::now();
        let unfinished = target.with_extension(format!("unfinished-{}", std::process::id()));
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished)?;
        let filled = fill(&unfinished);
        if filled.is_err() || target.is_dir() {
            let _ = fs::remove_dir_all(&unfinished);
            return filled.map(|()| target);
        }
        fs::rename(&unfinished, &target)?;
        self.say(&format!("built in {:.1} s", began.elapsed().as_secs_f64()));
        Ok(target)
    }
}

/// Runs a tool in a folder and gives what it printed. `needed_for` says why it is wanted, `install` how one gets it.
///
/// # Errors
/// It is not there, or it fails; then its complaint is the error's.
pub fn run(mut command: Command, folder: &Path, needed_for: &str, install: &str) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.current_dir(folder).stdin(Stdio::null()).output();
    let done = match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{program} is needed for {needed_for} and is not on this machine; {install}")
        }
        other => other.with_context(|| format!("{program} cannot be run"))?,
    };
    if !done.status.success() {
        let said = if done.stderr.trim_ascii().is_empty() { &done.stdout } else { &done.stderr };
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let shown = &lines[lines.len().saturating_sub(MOST_LINES)..];
        bail!("{program} failed ({}) in {}:\n{}", done.status, folder.display(), shown.join("\n"));
    }
    Ok(done.stdout)
}
