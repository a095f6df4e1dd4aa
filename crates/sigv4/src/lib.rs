//! Who signed this request: AWS Signature Version 4, verified and made. Pure: time is an argument, nothing is read or
//! written. A request passes through in three steps: [`Claim::read`] says who it claims to come from, the caller looks
//! the secret up, [`Verifier::verify`] proves the claim and says how its body must still be checked ([`BodyCheck`]).
//!
//! Left out on purpose: looking keys and session tokens up, the conditions of a POST policy, and Signature Version 4A,
//! which is refused by name. Signature Version 2 is verified for S3 only, as on AWS.
//! Begin with `verify.rs`; `error.rs` holds every sentence AWS says about signatures.

mod canonical;
mod chunk;
mod chunk_sign;
mod claim;
mod credential;
mod date;
mod error;
mod form;
mod key;
mod payload;
mod query;
mod sentences;
mod sign;
mod v2;
mod verify;

pub use canonical::PathStyle;
pub use chunk::{ChunkDecoder, ChunkSigning};
pub use chunk_sign::ChunkSigner;
pub use claim::{Claim, RequestParts, Scheme};
pub use credential::Credential;
pub use date::AmzDate;
pub use error::{AuthError, Family, Mismatch, Missing, Place};
pub use key::{KeyCache, SigningKey};
pub use payload::{Body, BodyCheck, BodyHasher, Payload};
pub use sign::{PayloadToSign, SignError, Signed, Signer};
pub use verify::{Verified, Verifier, VerifyOptions};
