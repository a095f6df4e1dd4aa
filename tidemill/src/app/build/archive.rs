//! Packing files: in the order of their names, with fixed times, so that the same files give the same bytes. What never
//! changes is packed once and kept beside its folder; sources are put on top of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::Part;

/// What is never part of a function.
pub const LEFT_OUT: &[&str] = &[
    ".git",
    ".tidemill",
    ".aws-sam",
    "__pycache__",
    ".venv",
    ".DS_Store",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
];
/// Files in one archive.
const MOST_FILES: usize = 50_000;
/// Bytes before compression; Lambda takes 250 MB.
const MOST_BYTES: u64 = 512 << 20;

/// An archive and its digest.
pub struct Packed {
    pub bytes: Vec<u8>,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// Names in the archive and where their content lies.
type Files = BTreeMap<String, PathBuf>;

/// An archive as it is, or a single file packed.
pub fn of_file(path: &Path) -> Result<Packed> {
    if path.extension().is_some_and(|kind| kind == "zip" || kind == "jar") {
        return Ok(packed(fs::read(path)?));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(packed(write(empty(), &Files::from([(name, path.to_path_buf())]))?))
}

/// The files of all parts; of two of one name the later one.
pub fn of_parts(parts: &[Part]) -> Result<Packed> {
    let Some((base, rest)) = parts.split_first().filter(|(first, _)| first.is_fixed) else {
        return Ok(packed(write(empty(), &files(parts)?)?));
    };
    let bytes = fixed(base)?;
    let above = files(rest)?;
    if above.is_empty() {
        return Ok(packed(bytes));
    }
    let below = ZipArchive::new(Cursor::new(bytes.as_slice()))?;
    if below.file_names().any(|name| above.contains_key(name)) {
        return Ok(packed(write(empty(), &files(parts)?)?));
    }
    drop(below);
    Ok(packed(write(ZipWriter::new_append(Cursor::new(bytes))?, &above)?))
}

/// The archive of a part that never changes, kept beside its folder.
fn fixed(part: &Part) -> Result<Vec<u8>> {
    let kept = part.folder.with_extension(format!("{}.zip", part.prefix));
    if let Ok(bytes) = fs::read(&kept) {
        return Ok(bytes);
    }
    let bytes = write(empty(), &files(std::slice::from_ref(part))?)?;
    let unfinished = kept.with_extension(format!("unfinished-{}", std::process::id()));
    fs::write(&unfinished, &bytes)?;
    fs::rename(&unfinished, &kept)?;
    Ok(bytes)
}

fn files(parts: &[Part]) -> Result<Files> {
    let mut found = Files::new();
    for part in parts {
        collect(&part.folder, part.prefix, &mut found)?;
    }
    Ok(found)
}

/// The files under a folder with their names in the archive. Links to folders are not followed.
fn collect(folder: &Path, prefix: &str, found: &mut Files) -> Result<()> {
    let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let inside = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &inside, found)?;
        } else if entry.path().is_file() {
            if found.len() >= MOST_FILES {
                bail!("{} and what it needs have more than {MOST_FILES} files", folder.display());
            }
            found.insert(inside, entry.path());
        }
    }
    Ok(())
}

fn empty() -> ZipWriter<Cursor<Vec<u8>>> {
    ZipWriter::new(Cursor::new(Vec::new()))
}

fn write(mut writer: ZipWriter<Cursor<Vec<u8>>>, files: &Files) -> Result<Vec<u8>> {
    let mut total = 0;
    for (name, path) in files {
        let content = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        total += content.len() as u64;
        if total > MOST_BYTES {
            bail!("the files are larger than {} MB together; Lambda takes 250 MB", MOST_BYTES >> 20);
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions());
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(if mode & 0o111 == 0 { 0o644 } else { 0o755 });
        writer.start_file(name.as_str(), options)?;
        writer.write_all(&content)?;
    }
    Ok(writer.finish()?.into_inner())
}

fn packed(bytes: Vec<u8>) -> Packed {
    let digest = hex::encode(Sha256::digest(&bytes));
    Packed { bytes, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_lie_on_top_of_what_never_changes() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write("deps/lib.py", "lib");
        write("deps/extra.py", "theirs");
        write("src/app.py", "app");
        let part = |name: &str, is_fixed| Part { folder: root.path().join(name), prefix: "", is_fixed };
        let names = |packed: &Packed| {
            let archive = ZipArchive::new(Cursor::new(packed.bytes.clone())).expect("an archive");
            archive.file_names().map(String::from).collect::<std::collections::BTreeSet<_>>()
        };
        let all = of_parts(&[part("deps", true), part("src", false)]).expect("it packs");
        assert_eq!(names(&all), ["app.py", "extra.py", "lib.py"].map(String::from).into());
        // It is taken from where it is kept the second time.
        write("deps/unseen.py", "changed although it never does");
        let again = of_parts(&[part("deps", true), part("src", false)]).expect("it packs");
        assert_eq!(all.digest, again.digest);
        write("src/extra.py", "mine");
        let mine = of_parts(&[part("deps", true), part("src", false)]).expect("it packs");
        let mut archive = ZipArchive::new(Cursor::new(mine.bytes)).expect("an archive");
        let text = std::io::read_to_string(archive.by_name("extra.py").expect("it is there")).expect("text");
        assert_eq!(text, "mine");
    }
}
