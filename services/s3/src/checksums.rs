//! Checksums of bodies: those the client sent are checked, one is always kept. Source: "Checking object integrity".

use base64::{Engine, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest, Md5};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;

/// Checksums in base64, as S3 prints them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checksums {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Made from the checksums of parts rather than from the whole.
    #[serde(default)]
    pub composite: bool,
}

/// Hashes a body while it passes: MD5 for the ETag and what was asked for, CRC64NVME when nothing was.
pub struct Hasher {
    md5: Md5,
    crc32: Option<Crc>,
    crc32c: Option<Crc>,
    crc64nvme: Option<Crc>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl Hasher {
    /// `algorithms` are the names in `x-amz-sdk-checksum-algorithm`, trailers and checksum headers.
    pub fn new(algorithms: &[String]) -> Hasher {
        let wanted = |name: &str| algorithms.iter().any(|a| a.eq_ignore_ascii_case(name));
        let none = !["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"].into_iter().any(wanted);
        Hasher {
            md5: Md5::new(),
            crc32: wanted("CRC32").then(|| Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            crc32c: wanted("CRC32C").then(|| Crc::new(CrcAlgorithm::Crc32Iscsi)),
            crc64nvme: (none || wanted("CRC64NVME")).then(|| Crc::new(CrcAlgorithm::Crc64Nvme)),
            sha1: wanted("SHA1").then(Sha1::new),
            sha256: wanted("SHA256").then(Sha256::new),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        for crc in [&mut self.crc32, &mut self.crc32c, &mut self.crc64nvme].into_iter().flatten() {
            crc.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// The MD5 (16 bytes) and the checksums.
    pub fn finish(self) -> (Vec<u8>, Checksums) {
        let short = |crc: Crc| BASE64_STANDARD.encode(&crc.finalize().to_be_bytes()[4..]);
        let checksums = Checksums {
            crc32: self.crc32.map(short),
            crc32c: self.crc32c.map(short),
            crc64nvme: self.crc64nvme.map(|crc| BASE64_STANDARD.encode(crc.finalize().to_be_bytes())),
            sha1: self.sha1.map(|sha| BASE64_STANDARD.encode(sha.finalize())),
            sha256: self.sha256.map(|sha| BASE64_STANDARD.encode(sha.finalize())),
            composite: false,
        };
        (self.md5.finalize().to_vec(), checksums)
    }
}

impl Checksums {
    /// (name in headers, value) of each that is there.
    pub fn each(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("crc32", &self.crc32),
            ("crc32c", &self.crc32c),
            ("crc64nvme", &self.crc64nvme),
            ("sha1", &self.sha1),
            ("sha256", &self.sha256),
        ]
    }

    /// Refuses when the client announced another value.
    pub fn check(&self, announced: &Checksums) -> S3Result<()> {
        for ((name, ours), (_, theirs)) in self.each().into_iter().zip(announced.each()) {
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours != theirs
            {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    name.to_uppercase()
                ));
            }
        }
        Ok(())
    }

    /// Which algorithms are announced.
    pub fn algorithms(&self) -> Vec<String> {
        self.each()
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .map(|(name, _)| name.to_uppercase())
            .collect()
    }
}

/// Refuses a body whose MD5 is not the announced one.
pub fn check_md5(md5: &[u8], announced: Option<&str>) -> S3Result<()> {
    let Some(announced) = announced else { return Ok(()) };
    match BASE64_STANDARD.decode(announced) {
        Ok(bytes) if bytes == md5 => Ok(()),
        Ok(bytes) if bytes.len() == 16 => {
            Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."))
        }
        _ => Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums() {
        let mut hasher = Hasher::new(&[
            "CRC32".into(),
            "CRC32C".into(),
            "CRC64NVME".into(),
            "SHA1".into(),
            "SHA256".into(),
        ]);
        hasher.update(b"123456789");
        let (md5, sums) = hasher.finish();
        assert_eq!(hex::encode(md5), "25f9e794323b453885f5181f1b624d0b");
        // The check values of the CRC catalogue: CBF43926, E3069283, AE8B14860A799888.
        assert_eq!(sums.crc32.as_deref(), Some("y/Q5Jg=="));
        assert_eq!(sums.crc32c.as_deref(), Some("4waSgw=="));
        assert_eq!(sums.crc64nvme.as_deref(), Some("rosUhgp5mIg="));
        assert!(sums.check(&Checksums { crc32: Some("AAAAAA==".into()), ..Checksums::default() }).is_err());
    }
}
