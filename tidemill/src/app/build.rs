//! From a folder of code to an archive: dependencies installed with the language's own tools, once per set of them,
//! then packed so that the same code gives the same bytes.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tidemill_sam_transform::Artifact;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// What is never part of a function.
const LEFT_OUT: &[&str] = &[".git", ".tidemill", ".aws-sam", "__pycache__", ".venv", ".DS_Store"];
/// Files in one archive.
const MOST_FILES: usize = 50_000;

/// An archive and its digest.
pub struct Packed {
    pub bytes: Vec<u8>,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// Builds and packs what an artifact names. `say` gets a line for whatever takes time.
pub fn pack(app: &Path, artifact: &Artifact, say: &mut dyn FnMut(&str)) -> Result<Packed> {
    let path = app.join(&artifact.path);
    let name = || format!("{} of {} ({})", artifact.property, artifact.resource, path.display());
    if path.is_file() {
        let is_archive = path.extension().is_some_and(|kind| kind == "zip" || kind == "jar");
        return if is_archive {
            Ok(packed(fs::read(&path)?))
        } else {
            archive(&[(file_name(&path), path.clone())])
        };
    }
    if !path.is_dir() {
        bail!("{} does not exist", name());
    }
    let mut files = Vec::new();
    match artifact.build_method.as_deref() {
        Some("makefile") => collect(&make(&path, artifact, say)?, "", &mut files)?,
        Some(other) if !other.starts_with("python") && !other.starts_with("nodejs") => bail!(
            "BuildMethod {other} of {} is not known here; build it yourself and let {} point at the result",
            artifact.resource,
            artifact.property
        ),
        _ => {
            if let Some(installed) = dependencies(&path, artifact, say).with_context(name)? {
                collect(&installed, "", &mut files)?;
            }
            // Sources come last and win.
            collect(&path, "", &mut files)?;
        }
    }
    archive(&files).with_context(name)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The folder with installed dependencies; `None` when there are none.
fn dependencies(path: &Path, artifact: &Artifact, say: &mut dyn FnMut(&str)) -> Result<Option<PathBuf>> {
    let runtime = artifact.runtime.as_deref().unwrap_or_default();
    if runtime.starts_with("python") {
        return python(path, runtime, artifact, say);
    }
    if runtime.starts_with("nodejs") { node(path, runtime, artifact, say) } else { Ok(None) }
}

fn python(
    path: &Path,
    runtime: &str,
    artifact: &Artifact,
    say: &mut dyn FnMut(&str),
) -> Result<Option<PathBuf>> {
    let Ok(text) = fs::read_to_string(path.join("requirements.txt")) else { return Ok(None) };
    let is_needed = text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    if !is_needed {
        return Ok(None);
    }
    let target = cached(&[runtime, &text])?;
    installed(&target, |unfinished| {
        say(&format!("{}: installing requirements.txt", artifact.resource));
        let mut pip = Command::new(runtime);
        pip.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "--target",
        ]);
        pip.arg(unfinished).arg("--requirement").arg(path.join("requirements.txt"));
        run(pip, path)
    })?;
    Ok(Some(target))
}

fn node(
    path: &Path,
    runtime: &str,
    artifact: &Artifact,
    say: &mut dyn FnMut(&str),
) -> Result<Option<PathBuf>> {
    let Ok(text) = fs::read_to_string(path.join("package.json")) else { return Ok(None) };
    let package: serde_json::Value = serde_json::from_str(&text).context("package.json is no JSON")?;
    let has_any =
        package.get("dependencies").and_then(|all| all.as_object()).is_some_and(|all| !all.is_empty());
    if !has_any || path.join("node_modules").is_dir() {
        return Ok(None);
    }
    let lock = fs::read_to_string(path.join("package-lock.json")).unwrap_or_default();
    let target = cached(&[runtime, &text, &lock])?;
    installed(&target, |unfinished| {
        say(&format!("{}: installing package.json", artifact.resource));
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            if path.join(file).is_file() {
                fs::copy(path.join(file), unfinished.join(file))?;
            }
        }
        let mut npm = Command::new("npm");
        npm.args(["install", "--omit=dev", "--no-audit", "--no-fund", "--prefix"]).arg(unfinished);
        run(npm, unfinished)
    })?;
    Ok(Some(target))
}

fn make(path: &Path, artifact: &Artifact, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let target = std::path::absolute(path)?.join(".tidemill").join("build").join(&artifact.resource);
    let _ = fs::remove_dir_all(&target);
    fs::create_dir_all(&target)?;
    say(&format!("{}: make build-{}", artifact.resource, artifact.resource));
    let mut make = Command::new("make");
    make.arg(format!("build-{}", artifact.resource)).env("ARTIFACTS_DIR", &target);
    run(make, path)?;
    Ok(target)
}

/// Where the dependencies of these inputs are kept.
fn cached(inputs: &[&str]) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for input in inputs {
        digest.update((input.len() as u64).to_le_bytes());
        digest.update(input.as_bytes());
    }
    let folder =
        crate::wiring::runtimes_dir().context("there is no HOME to keep builds under; set XDG_CACHE_HOME")?;
    Ok(folder.with_file_name("builds").join(&hex::encode(digest.finalize())[..32]))
}

/// Fills `target` unless it is there. An interrupted installation is begun again.
fn installed(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if target.is_dir() {
        return Ok(());
    }
    let unfinished = target.with_extension(format!("unfinished-{}", std::process::id()));
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    fill(&unfinished)?;
    if !target.is_dir() {
        fs::rename(&unfinished, target)?;
    }
    Ok(())
}

fn run(mut command: Command, folder: &Path) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.current_dir(folder).stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("{program} cannot be run; is it installed?"))?;
    if !done.status.success() {
        bail!("{program} failed:\n{}", String::from_utf8_lossy(&done.stderr).trim_end());
    }
    Ok(())
}

/// The files under a folder with their names in the archive. Links to folders are not followed.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let inside = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &inside, files)?;
        } else if entry.path().is_file() {
            if files.len() >= MOST_FILES {
                bail!("more than {MOST_FILES} files");
            }
            files.push((inside, entry.path()));
        }
    }
    Ok(())
}

/// Packs files in the order of their names; of two of one name the later one.
fn archive(files: &[(String, PathBuf)]) -> Result<Packed> {
    let last: std::collections::BTreeMap<&str, &PathBuf> =
        files.iter().map(|(name, path)| (name.as_str(), path)).collect();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, path) in last {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions());
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(if mode & 0o111 == 0 { 0o644 } else { 0o755 });
        writer.start_file(name, options)?;
        writer.write_all(&fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)?;
    }
    Ok(packed(writer.finish()?.into_inner()))
}

fn packed(bytes: Vec<u8>) -> Packed {
    let digest = hex::encode(Sha256::digest(&bytes));
    Packed { bytes, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_code_gives_the_same_bytes() {
        let folder = std::env::temp_dir().join(format!("tidemill-build-{}", std::process::id()));
        fs::create_dir_all(folder.join("src/__pycache__")).expect("a folder");
        fs::write(folder.join("src/app.py"), "x = 1").expect("a file");
        fs::write(folder.join("src/__pycache__/app.pyc"), "never").expect("a file");
        let artifact = Artifact {
            resource: "F".into(),
            property: "CodeUri",
            path: "src".into(),
            runtime: Some("python3.11".into()),
            handler: None,
            build_method: None,
        };
        let first = pack(&folder, &artifact, &mut |_| {}).expect("it packs");
        fs::write(folder.join("src/app.py"), "x = 1").expect("written again");
        let second = pack(&folder, &artifact, &mut |_| {}).expect("it packs");
        assert_eq!(first.digest, second.digest);
        let archive = zip::ZipArchive::new(Cursor::new(first.bytes)).expect("an archive");
        assert_eq!(archive.file_names().collect::<Vec<_>>(), ["app.py"]);
        fs::remove_dir_all(folder).expect("removed");
    }
}
