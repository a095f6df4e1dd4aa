//! Finding JVMs: `JAVA_HOME`, the PATH, where systems and version managers keep theirs. What one is says its `release` file: none is started.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A JVM of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jvm {
    /// `17.0.15`
    pub version: String,
    /// 17; of `1.8.0` 8.
    pub major: u32,
    pub home: PathBuf,
    /// Whether it has a compiler.
    pub is_jdk: bool,
}

impl Jvm {
    /// `17.0.15`, or with what it lacks.
    pub fn described(&self) -> String {
        if self.is_jdk { self.version.clone() } else { format!("{} without a compiler", self.version) }
    }
}

/// Below these lies a folder for each JVM.
const FOLDERS: [&str; 4] = ["/usr/lib/jvm", "/usr/java", "/opt/java", "/Library/Java/JavaVirtualMachines"];
const IN_HOME: [&str; 3] = [".sdkman/candidates/java", ".jdks", ".local/share/mise/installs/java"];

/// The JVMs of this machine, the oldest major version first, of each the newest update first.
pub fn detect() -> Vec<Jvm> {
    let mut homes: Vec<PathBuf> = std::env::var_os("JAVA_HOME").map(PathBuf::from).into_iter().collect();
    homes.extend(on_path());
    let mut folders: Vec<PathBuf> = FOLDERS.map(PathBuf::from).into();
    if let Some(home) = std::env::home_dir() {
        folders.extend(IN_HOME.map(|folder| home.join(folder)));
    }
    for folder in folders {
        let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
        homes.extend(found.map(|entry| entry.path()));
    }
    let mut seen = HashSet::new();
    let distinct = homes
        .into_iter()
        .filter_map(|home| home.canonicalize().ok())
        .filter(|home| seen.insert(home.clone()));
    let mut found: Vec<Jvm> = distinct.filter_map(|home| at(&home)).collect();
    found.sort_by_key(|jvm| (jvm.major, !jvm.is_jdk, std::cmp::Reverse(numbers(&jvm.version))));
    found
}

/// Where the `java` of the PATH really is.
fn on_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter_map(|dir| dir.join("java").canonicalize().ok())
        .filter_map(|java| Some(java.parent()?.parent()?.to_owned()))
        .collect()
}

fn at(home: &Path) -> Option<Jvm> {
    if !home.join("bin/java").is_file() {
        return None;
    }
    let release = std::fs::read_to_string(home.join("release")).ok()?;
    let version = version(&release)?;
    let major = major(&version)?;
    Some(Jvm { version, major, home: home.to_owned(), is_jdk: home.join("bin/javac").is_file() })
}

/// `JAVA_VERSION="17.0.15"`
fn version(release: &str) -> Option<String> {
    let said = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    Some(said.trim().trim_matches('"').to_owned())
}

fn major(version: &str) -> Option<u32> {
    let mut parts = version.split(['.', '_', '-', '+']).map(str::parse::<u32>);
    match parts.next()?.ok()? {
        1 => parts.next()?.ok(),
        major => Some(major),
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '_', '-', '+']).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_old_and_new() {
        for (text, expected) in
            [("17.0.15", 17), ("1.8.0_412", 8), ("25", 25), ("21-ea", 21), ("11.0.2+9", 11)]
        {
            assert_eq!(major(text), Some(expected), "{text}");
        }
        assert_eq!(major("unknown"), None);
        assert_eq!(version("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.15\"\n"), Some("17.0.15".to_owned()));
    }

    #[test]
    fn a_folder_is_a_jvm_by_its_release_file() {
        let home = tempfile::tempdir().expect("a folder");
        let make = |name: &str, text: &str| std::fs::write(home.path().join(name), text).expect("a file");
        std::fs::create_dir(home.path().join("bin")).expect("a folder");
        make("bin/java", "");
        assert_eq!(at(home.path()), None);
        make("release", "JAVA_VERSION=\"21.0.4\"\n");
        let found = at(home.path()).expect("a JVM");
        assert_eq!((found.major, found.described()), (21, "21.0.4 without a compiler".to_owned()));
        make("bin/javac", "");
        assert!(at(home.path()).expect("a JVM").is_jdk);
    }
}
