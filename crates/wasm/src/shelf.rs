//! Compiled programs on disk, so that a restart does not compile again. Keyed by the program and by what the compiler's output depends on.
//!
//! Loading compiled code trusts it as much as our own. So only what this platform wrote is loaded: the folder is nobody else's, and
//! each artifact's HMAC under the folder's key must be right. An artifact that is not is compiled anew.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// All artifacts together; beyond it those not used for longest go.
const MOST_BYTES: u64 = 2 << 30;

pub type Key = [u8; 32];

pub struct Shelf {
    folder: PathBuf,
    secret: Key,
    compiler: u64,
}

impl Shelf {
    /// Opens the folder; makes it, and its key, when they are not there.
    pub fn open(folder: PathBuf, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let secret = secret(&folder.join("key"))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder, secret, compiler: hasher.finish() })
    }

    /// What a program is known by.
    pub fn key(wasm: &[u8]) -> Key {
        Sha256::digest(wasm).into()
    }

    /// A compiled program, if it is there as it was written.
    pub fn find(&self, key: &Key) -> Option<File> {
        let path = self.path(key);
        let mut file = File::open(&path).ok()?;
        let tag = fs::read(path.with_extension("tag")).ok()?;
        let mut mac = self.mac(key)?;
        io::copy(&mut file, &mut Feed(&mut mac)).ok()?;
        if mac.verify_slice(&tag).is_err() {
            return None;
        }
        file.rewind().ok()?;
        // Says that it is in use.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Keeps a compiled program.
    pub fn put(&self, key: &Key, compiled: &[u8]) -> io::Result<File> {
        self.make_room(compiled.len() as u64);
        let path = self.path(key);
        let mut mac = self.mac(key).ok_or(io::ErrorKind::InvalidInput)?;
        mac.update(compiled);
        write(&path, compiled)?;
        write(&path.with_extension("tag"), &mac.finalize().into_bytes())?;
        File::open(&path)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}-{:016x}.cwasm", hex::encode(key), self.compiler))
    }

    /// The key of the program is part of what is signed: an artifact put in another's place is not taken.
    fn mac(&self, key: &Key) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(key);
        Some(mac)
    }

    fn make_room(&self, bytes: u64) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut there: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"))
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        there.sort();
        let mut total = there.iter().map(|(_, size, _)| size).sum::<u64>() + bytes;
        for (_, size, path) in there {
            if total <= MOST_BYTES {
                return;
            }
            let _ = (fs::remove_file(path.with_extension("tag")), fs::remove_file(&path));
            total -= size;
        }
    }
}

/// Appears whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    fs::rename(&unfinished, path)
}

fn secret(path: &Path) -> io::Result<Key> {
    let mut secret = [0; 32];
    match File::open(path) {
        Ok(mut file) => file.read_exact(&mut secret).map(|()| secret),
        Err(_) => {
            getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
            write(path, &secret)?;
            Ok(secret)
        }
    }
}

struct Feed<'a>(&'a mut Hmac<Sha256>);

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_here_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::compiling().unwrap();
        let shelf = Shelf::open(folder.path().join("wasm"), &engine).unwrap();
        let (key, other) = (Shelf::key(b"program"), Shelf::key(b"other"));
        shelf.put(&key, b"compiled").unwrap();
        assert!(shelf.find(&key).is_some());
        let again = Shelf::open(folder.path().join("wasm"), &engine).unwrap();
        assert!(again.find(&key).is_some(), "the key is kept");

        fs::copy(again.path(&key), again.path(&other)).unwrap();
        fs::copy(again.path(&key).with_extension("tag"), again.path(&other).with_extension("tag")).unwrap();
        assert!(again.find(&other).is_none(), "one program's code is not taken for another's");
        fs::write(again.path(&key), b"Compiled").unwrap();
        assert!(again.find(&key).is_none());
    }
}
