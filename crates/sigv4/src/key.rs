//! Signing keys: four HMACs lead from a secret to the key of one day, region and service, and a small cache keeps them.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

type HmacSha256 = Hmac<Sha256>;

/// The key of one secret, day, region and service. Printing it shows nothing.
#[derive(Clone)]
pub struct SigningKey(HmacSha256);

impl SigningKey {
    /// Derives the key as "Create a signed AWS API request" (IAM User Guide) describes.
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
        let secret = format!("AWS4{secret}");
        let date = hmac(secret.as_bytes(), date.as_bytes());
        let region = hmac(&date, region.as_bytes());
        let service = hmac(&region, service.as_bytes());
        SigningKey(keyed(&hmac(&service, b"aws4_request")))
    }

    /// The signature of `message`, in lower-case hexadecimal.
    pub fn sign(&self, message: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(message);
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether `signature` (64 lower-case hexadecimal digits) is that of `message`; takes the same time either way.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let Some(expected) = digest_from_hex(signature) else { return false };
        let mut mac = self.0.clone();
        mac.update(message);
        mac.verify_slice(&expected).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey")
    }
}

/// Derived keys of recent callers. Holds at most [`KeyCache::CAPACITY`] and forgets them all when full: keys change
/// daily, so what is old is useless anyway.
pub struct KeyCache {
    hasher: RandomState,
    entries: Mutex<HashMap<u64, Entry>>,
}

struct Entry {
    secret: String,
    date: String,
    region: String,
    service: String,
    key: SigningKey,
}

impl KeyCache {
    /// How many keys are held.
    pub const CAPACITY: usize = 1024;

    pub fn new() -> KeyCache {
        KeyCache { hasher: RandomState::new(), entries: Mutex::new(HashMap::new()) }
    }

    /// The key of this secret, day, region and service, derived if it is not known.
    pub fn get(&self, secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
        let slot = self.hasher.hash_one((secret, date, region, service));
        if let Some(entry) = self.entries.lock().get(&slot)
            && (entry.secret == secret
                && entry.date == date
                && entry.region == region
                && entry.service == service)
        {
            return entry.key.clone();
        }
        let key = SigningKey::derive(secret, date, region, service);
        let own = str::to_owned;
        let entry = Entry {
            secret: own(secret),
            date: own(date),
            region: own(region),
            service: own(service),
            key: key.clone(),
        };
        let mut entries = self.entries.lock();
        if entries.len() >= KeyCache::CAPACITY {
            entries.clear();
        }
        entries.insert(slot, entry);
        key
    }
}

impl Default for KeyCache {
    fn default() -> KeyCache {
        KeyCache::new()
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyCache({} keys)", self.entries.lock().len())
    }
}

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The 32 bytes that 64 lower-case hexadecimal digits stand for.
pub(crate) fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC takes keys of every length; the error its interface speaks of belongs to other algorithms.
fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    #[test]
    fn the_documented_signature_comes_out() {
        // AWS General Reference, "Calculate the signature": IAM ListUsers, 2015-08-30.
        let to_sign = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                       f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let key = SigningKey::derive(SECRET, "20150830", "us-east-1", "iam");
        assert_eq!(key.sign(to_sign.as_bytes()), signature);
        assert!(key.verifies(to_sign.as_bytes(), signature));
        assert!(!key.verifies(to_sign.as_bytes(), &signature.to_uppercase()));
        assert!(!key.verifies(b"other", signature));
        assert!(!key.verifies(to_sign.as_bytes(), ""));
    }

    #[test]
    fn the_cache_gives_the_same_keys_and_stays_small() {
        let cache = KeyCache::new();
        for number in 0..KeyCache::CAPACITY * 2 + 5 {
            let region = format!("region-{number}");
            let fresh = SigningKey::derive(SECRET, "20150830", &region, "sqs").sign(b"x");
            assert_eq!(cache.get(SECRET, "20150830", &region, "sqs").sign(b"x"), fresh);
            assert_eq!(cache.get(SECRET, "20150830", &region, "sqs").sign(b"x"), fresh);
        }
        assert!(cache.entries.lock().len() <= KeyCache::CAPACITY);
    }
}
