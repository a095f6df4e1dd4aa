//! Function code: checking an uploaded zip and unpacking it where sandboxes can mount it.

use std::{
    fs,
    io::{Cursor, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidemill_platform::{Cx, Fault};
use zip::ZipArchive;

use crate::api::InvalidParameterValueException;

/// Unpacked code may be this large in all (Lambda's limit).
pub const MOST_UNPACKED: u64 = 262_144_000;
/// A zip sent in the request itself (Lambda's limit); larger ones come from S3.
pub const MOST_DIRECT: usize = 52_428_800;
/// Files in one archive; more than any real package has.
const MOST_FILES: usize = 100_000;

/// Where a request's code is.
pub struct Source<'a> {
    pub zip: Option<Bytes>,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub version: Option<&'a str>,
}

/// Fetches and checks the code of a request.
pub async fn read(cx: &Cx, source: Source<'_>) -> Result<Bytes, Fault> {
    let zip = match (source.zip, source.bucket, source.key) {
        (Some(zip), None, None) if zip.len() > MOST_DIRECT => {
            return Err(Fault::new(
                "RequestEntityTooLargeException",
                format!("Zipped size must be smaller than {MOST_DIRECT} bytes"),
            )
            .with_status(413));
        }
        (Some(zip), None, None) => zip,
        (None, Some(bucket), Some(key)) => from_s3(cx, bucket, key, source.version).await?,
        (None, None, None) => {
            return Err(
                InvalidParameterValueException::new("Please provide a source for function code.").into()
            );
        }
        _ => {
            return Err(InvalidParameterValueException::new(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )
            .into());
        }
    };
    let checked = zip.clone();
    tokio::task::spawn_blocking(move || check(&checked)).await.map_err(Fault::internal)??;
    Ok(zip)
}

async fn from_s3(cx: &Cx, bucket: &str, key: &str, version: Option<&str>) -> Result<Bytes, Fault> {
    let objects = cx.platform().doors.objects.ask("S3")?;
    let object = objects.get(cx, bucket, key, version).await.map_err(|fault| {
        let sentence = format!(
            "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}",
            fault.code(),
            fault.message()
        );
        Fault::from(InvalidParameterValueException::new(sentence))
    })?;
    Ok(object.body)
}

/// The hash under which code is kept, in hex.
pub fn sha256(zip: &[u8]) -> String {
    Sha256::digest(zip).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a checked zip says it unpacks to, in bytes.
pub fn unpacked_size(zip: &[u8]) -> u64 {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(zip)) else { return 0 };
    let size = |archive: &mut ZipArchive<_>, at| archive.by_index_raw(at).map_or(0, |entry| entry.size());
    (0..archive.len()).map(|at| size(&mut archive, at)).fold(0, u64::saturating_add)
}

/// Code and layers together must fit where a function runs.
pub fn check_together(code: u64, layers: &[crate::layers::Use]) -> Result<(), Fault> {
    let total = layers.iter().map(|layer| layer.unpacked_size).fold(code, u64::saturating_add);
    if layers.is_empty() || total <= MOST_UNPACKED {
        return Ok(());
    }
    let sentence = format!(
        "Function code combined with layers exceeds the maximum allowed size of {MOST_UNPACKED} bytes. The actual size is {total} bytes."
    );
    Err(InvalidParameterValueException::new(sentence).into())
}

/// Where callers fetch a zip from.
pub fn location(cx: &Cx, sha256: &str) -> String {
    format!("{}{}{sha256}", cx.base_url(), crate::downloads::PREFIX)
}

/// Refuses what cannot be unpacked: no zip, paths that lead out, more than Lambda takes.
pub fn check(zip: &[u8]) -> Result<(), Fault> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| no_zip())?;
    if archive.is_empty() {
        return Err(InvalidParameterValueException::new("Uploaded file must be a non-empty zip").into());
    }
    if archive.len() > MOST_FILES {
        return Err(no_zip());
    }
    let mut total = 0_u64;
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(|_| no_zip())?;
        relative(entry.name()).ok_or_else(no_zip)?;
        total = total.saturating_add(entry.size());
    }
    if total > MOST_UNPACKED { Err(too_large()) } else { Ok(()) }
}

/// The first of these files that a checked zip has.
pub fn file(zip: &[u8], names: &[String], most: usize) -> Result<Option<Bytes>, Fault> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| no_zip())?;
    let Some(name) = names.iter().find(|name| archive.index_for_name(name).is_some()) else {
        return Ok(None);
    };
    let mut content = Vec::new();
    let mut entry = archive.by_name(name).map_err(|_| no_zip())?;
    let read = entry.by_ref().take(most as u64 + 1).read_to_end(&mut content).map_err(|_| no_zip())?;
    if read > most {
        let sentence =
            format!("{name} is larger than {most} bytes, the most a WebAssembly program may have.");
        return Err(InvalidParameterValueException::new(sentence).into());
    }
    Ok(Some(content.into()))
}

/// Unpacks a checked zip into `folder`, which appears whole or not at all. A folder that is there is taken as it is.
pub fn unpack(zip: &[u8], folder: &Path) -> Result<(), Fault> {
    if folder.exists() {
        return Ok(());
    }
    let unfinished = folder.with_extension(format!("unfinished-{}", std::process::id()));
    let _ = fs::remove_dir_all(&unfinished);
    let unpacked = unpack_into(zip, &unfinished).and_then(|()| match fs::rename(&unfinished, folder) {
        Err(_) if folder.exists() => Ok(()),
        other => other.map_err(Fault::internal),
    });
    let _ = fs::remove_dir_all(&unfinished);
    unpacked
}

fn unpack_into(zip: &[u8], folder: &Path) -> Result<(), Fault> {
    make_folder(folder)?;
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| no_zip())?;
    // What the archive says of its sizes may be a lie; what is written is counted.
    let mut left = MOST_UNPACKED;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|_| no_zip())?;
        let path = folder.join(relative(entry.name()).ok_or_else(no_zip)?);
        if entry.is_dir() {
            make_folder(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            make_folder(parent)?;
        }
        // Links are written as the files they are in the archive: nothing in a package may point outside of it.
        let runnable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let mode = if runnable { 0o755 } else { 0o644 };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .map_err(Fault::internal)?;
        left -= copy(&mut entry, &mut file, left)?;
    }
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write, most: u64) -> Result<u64, Fault> {
    let written = std::io::copy(&mut from.take(most + 1), to).map_err(|_| no_zip())?;
    if written > most { Err(too_large()) } else { Ok(written) }
}

fn make_folder(path: &Path) -> Result<(), Fault> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(Fault::internal)?;
    // The process's umask must not hide code from the function's user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Fault::internal)
}

/// The path of an entry, if it stays inside.
fn relative(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (inside && !name.contains('\0') && !name.contains('\\')).then(|| path.to_path_buf())
}

/// A zip with one file, for code written into a template.
pub fn zip_of(name: &str, content: &[u8]) -> Result<Bytes, Fault> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    // A fixed time: the same code has the same hash.
    let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    zip.start_file(name, options).map_err(Fault::internal)?;
    zip.write_all(content).map_err(Fault::internal)?;
    Ok(Bytes::from(zip.finish().map_err(Fault::internal)?.into_inner()))
}

fn no_zip() -> Fault {
    InvalidParameterValueException::new(
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )
    .into()
}

fn too_large() -> Fault {
    InvalidParameterValueException::new(format!("Unzipped size must be smaller than {MOST_UNPACKED} bytes"))
        .into()
}

#[cfg(test)]
mod tests {
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn code_is_unpacked_with_its_folders() {
        let zip = archive(&[("app.py", b"x = 1"), ("lib/util.py", b"y = 2")]);
        let folder = tempfile::tempdir().unwrap();
        let code = folder.path().join("code");
        check(&zip).unwrap();
        unpack(&zip, &code).unwrap();
        assert_eq!(fs::read(code.join("lib/util.py")).unwrap(), b"y = 2");
        assert_eq!(fs::metadata(code.join("lib")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for name in ["../evil", "/etc/passwd", "a/../../b", "a\\..\\b"] {
            let zip = archive(&[(name, b"x")]);
            assert_eq!(check(&zip).unwrap_err().code(), "InvalidParameterValueException", "{name}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; 64 << 20];
        let files: Vec<(String, &[u8])> = (0..5).map(|n| (format!("{n}"), &zeros[..])).collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, zeros)| (name.as_str(), *zeros)).collect();
        let zip = archive(&files);
        assert!(zip.len() < 1 << 20);
        assert!(check(&zip).unwrap_err().message().starts_with("Unzipped size must be smaller than"));
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        assert!(check(b"not a zip").unwrap_err().message().starts_with("Could not unzip"));
    }
}
