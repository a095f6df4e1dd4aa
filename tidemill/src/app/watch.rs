//! Which files of an application changed, told by the operating system (inotify): nothing is asked again and again, and
//! folders of tools, caches and build output are not looked at.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::build::LEFT_OUT;

/// Folders that are not followed, besides what is never packed.
const NOT_FOLLOWED: &[&str] = &["node_modules", "target", ".idea", ".vscode", ".tox", ".hg", ".svn"];
/// A change counts as whole when nothing came for this long: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(8);
/// Nor is it waited for longer than this.
const PATIENCE: Duration = Duration::from_millis(250);
/// Folders of one application.
const MOST_FOLDERS: usize = 20_000;
/// Paths that wait to be looked at; a checkout of another branch is more.
const MOST_WAITING: usize = 65_536;

/// A watch over folders.
pub struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<PathBuf>,
    followed: BTreeSet<PathBuf>,
    /// Folders of the platform's own.
    skipped: Vec<PathBuf>,
}

/// What changed together.
pub struct Change {
    pub paths: BTreeSet<PathBuf>,
    /// When the first of it was seen.
    pub since: Instant,
}

impl Watch {
    /// A watch that follows nothing yet, and nothing under `skipped` ever.
    ///
    /// # Errors
    /// The system has no watches left (`fs.inotify.max_user_instances`).
    pub fn new(skipped: Vec<PathBuf>) -> Result<Watch> {
        let (sender, events) = mpsc::channel(MOST_WAITING);
        let handler = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !matches!(event.kind, EventKind::Access(_)) {
                // Beyond the limit the newest are lost; the first of them are enough to begin with.
                event.paths.into_iter().for_each(|path| drop(sender.try_send(path)));
            }
        };
        let watcher = notify::recommended_watcher(handler).context("files cannot be watched")?;
        Ok(Watch { watcher, events, followed: BTreeSet::new(), skipped })
    }

    /// Follows a folder itself; of what is below, only with `deep`.
    ///
    /// # Errors
    /// The system has no watches left (`fs.inotify.max_user_watches`).
    pub fn follow(&mut self, folder: &Path, deep: bool) -> Result<()> {
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(folder) = waiting.pop() {
            if self.followed.len() >= MOST_FOLDERS || self.skipped.contains(&folder) || !folder.is_dir() {
                continue;
            }
            if self.followed.insert(folder.clone()) {
                let watching = self.watcher.watch(&folder, RecursiveMode::NonRecursive);
                watching.with_context(|| format!("{} cannot be watched", folder.display()))?;
            }
            if deep {
                let below = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let below = below.filter(|one| one.file_type().is_ok_and(|kind| kind.is_dir()));
                waiting.extend(below.map(|one| one.path()).filter(|path| is_followed(path)));
            }
        }
        Ok(())
    }

    /// The next change, when it is whole.
    ///
    /// # Errors
    /// New folders cannot be watched.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            let first = self.events.recv().await.context("the watch has ended")?;
            let mut change = Change { paths: BTreeSet::new(), since: Instant::now() };
            self.take(first, &mut change)?;
            while change.since.elapsed() < PATIENCE
                && let Ok(Some(path)) = tokio::time::timeout(QUIET, self.events.recv()).await
            {
                self.take(path, &mut change)?;
            }
            if !change.paths.is_empty() {
                return Ok(change);
            }
        }
    }

    fn take(&mut self, path: PathBuf, change: &mut Change) -> Result<()> {
        if !is_followed(&path) || self.skipped.iter().any(|skipped| path.starts_with(skipped)) {
            return Ok(());
        }
        if !path.exists() {
            // A folder made again under its name needs a new watch.
            self.followed.remove(&path);
        } else if path.is_dir() {
            self.follow(&path, true)?;
        }
        change.paths.insert(path);
        Ok(())
    }
}

/// Whether a file or folder can matter, by its own name: its parents were asked before they were followed.
fn is_followed(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let is_tools = LEFT_OUT.contains(&&*name) || NOT_FOLLOWED.contains(&&*name);
    let is_editors = name.ends_with('~')
        || name.starts_with(".#")
        || name == "4913"
        || [".swp", ".swx", ".swo", ".pyc"].iter().any(|ending| name.ends_with(ending));
    !is_tools && !is_editors
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn changes_are_told_together_and_tools_folders_are_not_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for folder in ["src", "src/__pycache__", "src/node_modules", ".git", "data"] {
            fs::create_dir_all(at(folder)).expect("a folder");
        }
        let mut watch = Watch::new(vec![at("data")]).expect("a watch");
        watch.follow(root.path(), true).expect("it is followed");
        for quiet in ["src/__pycache__/a.pyc", "src/node_modules/x.js", ".git/index", "data/log", "src/a.py~"]
        {
            fs::write(at(quiet), "x").expect("a file");
        }
        fs::write(at("src/a.py"), "x").expect("a file");
        fs::write(at("src/b.py"), "x").expect("a file");
        let change = watch.next().await.expect("a change");
        assert_eq!(change.paths, [at("src/a.py"), at("src/b.py")].into());
        // A folder that comes later is followed as well.
        fs::create_dir_all(at("src/new")).expect("a folder");
        assert!(watch.next().await.expect("a change").paths.contains(&at("src/new")));
        fs::write(at("src/new/c.py"), "x").expect("a file");
        assert_eq!(watch.next().await.expect("a change").paths, [at("src/new/c.py")].into());
    }

    #[tokio::test]
    async fn a_file_put_in_place_of_another_is_a_change() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("app.py"), "1").expect("a file");
        let mut watch = Watch::new(Vec::new()).expect("a watch");
        watch.follow(root.path(), true).expect("it is followed");
        fs::write(root.path().join("app.py~"), "2").expect("a file");
        fs::rename(root.path().join("app.py~"), root.path().join("app.py")).expect("renamed");
        assert_eq!(watch.next().await.expect("a change").paths, [root.path().join("app.py")].into());
    }
}
