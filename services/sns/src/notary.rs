//! The key that notifications are signed with, and its certificate. Both are made once for a data folder.
//!
//! A signature costs a millisecond of CPU, many times what delivering costs, so queues keep notifications unsigned and
//! have them completed when somebody reads them ([`tidemill_platform::doors::Notary`]); endpoints and functions get
//! theirs signed.

use std::sync::{Arc, OnceLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use rsa::{
    RsaPrivateKey,
    pkcs1v15::SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
    rand_core::OsRng,
    sha2::Sha256,
    signature::{SignatureEncoding, Signer},
};
use serde::{Deserialize, Serialize};
use tidemill_platform::{Fault, Platform, doors};
use tidemill_store::{Batch, Damaged, Partition, Table};

use crate::notification::Signed;

/// `signing` → the key. In the first partition.
const KEYS: Table<String, KeyRow> = Table::new("sns.key");
const NAME: &str = "signing";

const BITS: usize = 2048;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeyRow {
    /// PKCS #8 in PEM.
    key: String,
    /// In PEM.
    certificate: String,
}

pub struct Notary {
    platform: Arc<Platform>,
    kept: Option<KeyRow>,
    pair: OnceLock<Result<Pair, String>>,
}

struct Pair {
    v1: SigningKey<sha1::Sha1>,
    v2: SigningKey<Sha256>,
    certificate: String,
    /// Names the certificate in its URL.
    fingerprint: String,
}

impl Notary {
    pub fn open(platform: &Arc<Platform>) -> Result<Notary, Damaged> {
        let kept = platform.store.get(&KEYS, Partition::FIRST, &NAME.to_string())?;
        Ok(Notary { platform: platform.clone(), kept: kept.map(|found| found.value), pair: OnceLock::new() })
    }

    /// Makes the key before it is needed: that takes a while.
    pub fn prepare(self: &Arc<Notary>) {
        if self.pair.get().is_none() {
            let notary = self.clone();
            tokio::task::spawn_blocking(move || drop(notary.pair()));
        }
    }

    /// The certificate in PEM, if this is its name.
    pub fn certificate(&self, fingerprint: &str) -> Option<String> {
        let pair = self.pair().ok()?;
        (pair.fingerprint == fingerprint).then(|| pair.certificate.clone())
    }

    /// The name of the certificate.
    pub fn fingerprint(&self) -> Result<String, Fault> {
        Ok(self.pair()?.fingerprint.clone())
    }

    /// The signature of a text in base64; version 1 is over SHA-1, version 2 over SHA-256.
    pub fn signature(&self, version: u8, text: &str) -> Result<String, Fault> {
        let pair = self.pair()?;
        let bytes = if version == 2 {
            pair.v2.sign(text.as_bytes()).to_vec()
        } else {
            pair.v1.sign(text.as_bytes()).to_vec()
        };
        Ok(BASE64_STANDARD.encode(bytes))
    }

    fn pair(&self) -> Result<&Pair, Fault> {
        let pair = self.pair.get_or_init(|| self.make().map_err(|error| error.to_string()));
        pair.as_ref().map_err(|error| Fault::internal(error.as_str()))
    }

    fn make(&self) -> Result<Pair, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(kept) = &self.kept {
            return pair(kept);
        }
        let key = RsaPrivateKey::new(&mut OsRng, BITS)?.to_pkcs8_pem(LineEnding::LF)?.to_string();
        let row = KeyRow { certificate: self_signed(&key)?, key };
        let made = pair(&row)?;
        let mut batch = Batch::new(Partition::FIRST);
        batch.put(&KEYS, &NAME.to_string(), &row);
        // What is signed with the key is durable later than the key.
        drop(self.platform.submit(batch)?);
        Ok(made)
    }
}

fn pair(row: &KeyRow) -> Result<Pair, Box<dyn std::error::Error + Send + Sync>> {
    use sha2::Digest;
    let key = RsaPrivateKey::from_pkcs8_pem(&row.key)?;
    let digest = sha2::Sha256::digest(row.certificate.as_bytes());
    Ok(Pair {
        v1: SigningKey::new(key.clone()),
        v2: SigningKey::new(key),
        certificate: row.certificate.clone(),
        fingerprint: hex::encode(digest.get(..16).unwrap_or_default()),
    })
}

fn self_signed(key: &str) -> Result<String, rcgen::Error> {
    let key = rcgen::KeyPair::from_pem(key)?;
    let mut params = rcgen::CertificateParams::new(vec!["sns.amazonaws.com".to_string()])?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "sns.amazonaws.com");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Tidemill");
    Ok(params.self_signed(&key)?.pem())
}

impl doors::Notary for Notary {
    fn complete(&self, notification: &str) -> Option<String> {
        let signed: Signed<'_> = serde_json::from_str(notification).ok()?;
        let signature = self.signature(signed.version(), &signed.text()).ok()?;
        Some(notification.replacen(r#""Signature" : """#, &format!(r#""Signature" : "{signature}""#), 1))
    }
}
