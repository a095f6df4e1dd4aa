//! The writing side of aws-chunked bodies, for clients of ours: chunks with or without signatures, then the trailer.

use crate::{chunk::ChunkSigning, key::sha256_hex};

/// Writes a body chunk by chunk. Chunks other than the last need at least 8192 bytes, or S3 refuses them.
#[derive(Debug)]
pub struct ChunkSigner {
    signing: Option<ChunkSigning>,
}

impl ChunkSigner {
    pub(crate) fn new(signing: ChunkSigning) -> ChunkSigner {
        ChunkSigner { signing: Some(signing) }
    }

    /// Writes chunks without signatures (`STREAMING-UNSIGNED-PAYLOAD-TRAILER`).
    pub fn unsigned() -> ChunkSigner {
        ChunkSigner { signing: None }
    }

    /// Appends one chunk of data; an empty one is passed over, since it would end the body.
    pub fn chunk(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        self.line(data, out);
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the end of the body. `trailer` must be what the request's `x-amz-trailer` header announced; `None` ends
    /// a body without trailing headers.
    pub fn finish(mut self, trailer: Option<&[(&str, &str)]>, out: &mut Vec<u8>) {
        self.line(b"", out);
        if let Some(headers) = trailer {
            let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            for line in &lines {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            if let Some(signing) = &self.signing {
                let signed: String = lines.iter().map(|line| format!("{line}\n")).collect();
                let signature = signing.sign_trailer(signed.as_bytes());
                out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let size = data.len();
        let line = match &mut self.signing {
            Some(signing) => {
                format!("{size:x};chunk-signature={}\r\n", signing.sign_chunk(&sha256_hex(data)))
            }
            None => format!("{size:x}\r\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }
}
