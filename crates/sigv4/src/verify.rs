//! The proof of a claim: scope, time, signed headers and body are held against the rules of the service, then the
//! signature against the secret. Version 2 continues in `v2.rs`, POST forms in `form.rs`.

use crate::{
    AmzDate,
    canonical::{Canonical, PathStyle, string_to_sign},
    chunk::ChunkSigning,
    claim::{Claim, RequestParts, Scheme},
    error::{AuthError, Mismatch, Missing},
    key::{KeyCache, SigningKey},
    payload::{Body, BodyCheck, Payload, compare, empty_sha256},
    query, v2,
};

/// How long a URL of a service without `X-Amz-Expires` lives, in seconds: 15 minutes, as STS documents it.
const DEFAULT_LIFE_S: i64 = 900;

/// The signing names that follow S3's rules. `s3tables` and `s3vectors` are services like any other.
pub(crate) const S3_SERVICES: [&str; 4] = ["s3", "s3express", "s3-object-lambda", "s3-outposts"];

/// The rules a service holds signatures to. Begin with [`VerifyOptions::s3`] or [`VerifyOptions::service`].
#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// The signing names accepted in the scope; errors speak of the first. Empty accepts every name.
    pub services: &'a [&'a str],
    /// The region that must stand in the scope; `None` accepts every region.
    pub region: Option<&'a str>,
    /// S3's rules: the path as it is, all `x-amz-` headers signed, `x-amz-content-sha256` required, version 2 taken.
    pub s3: bool,
    /// How far the request's date may be from now, in seconds.
    pub skew_s: i64,
    /// Whether `UNSIGNED-PAYLOAD` is taken outside S3 (operations with the `v4-unsigned-body` type).
    pub unsigned_payload: bool,
    /// Life of a presigned URL in seconds whatever `X-Amz-Expires` says. STS is so: always 15 minutes.
    pub fixed_life_s: Option<i64>,
    /// Whether `X-Amz-Security-Token` is put into a URL after signing, as IoT's WebSocket clients do.
    pub token_unsigned: bool,
    /// The bucket, where the Host header names it and not the path. Only version 2 signatures need it.
    pub bucket: Option<&'a str>,
}

impl<'a> VerifyOptions<'a> {
    /// The rules of S3: 15 minutes of skew.
    pub fn s3() -> VerifyOptions<'a> {
        VerifyOptions { s3: true, skew_s: 900, ..VerifyOptions::any() }.with_services(&S3_SERVICES)
    }

    /// The rules of the service with these signing names (normally one): 5 minutes of skew.
    pub fn service(services: &'a [&'a str]) -> VerifyOptions<'a> {
        let mut options = VerifyOptions::any().with_services(services);
        match services.first() {
            Some(&"sts") => options.fixed_life_s = Some(DEFAULT_LIFE_S),
            Some(&"iotdevicegateway") => options.token_unsigned = true,
            _ => {}
        }
        options
    }

    /// Rules that accept every service and region.
    pub fn any() -> VerifyOptions<'a> {
        VerifyOptions {
            services: &[],
            region: None,
            s3: false,
            skew_s: 300,
            unsigned_payload: false,
            fixed_life_s: None,
            token_unsigned: false,
            bucket: None,
        }
    }

    fn with_services(self, services: &'a [&'a str]) -> VerifyOptions<'a> {
        VerifyOptions { services, ..self }
    }

    /// The same rules for one region only.
    pub fn in_region(self, region: &'a str) -> VerifyOptions<'a> {
        VerifyOptions { region: Some(region), ..self }
    }

    pub(crate) fn path_style(&self) -> PathStyle {
        if self.s3 { PathStyle::Once } else { PathStyle::NormalisedTwice }
    }
}

/// A proved claim. Who it is, the [`Claim`] says; the body may still have to be checked.
#[derive(Debug)]
pub struct Verified {
    /// When the request was signed; absent in version 2's URLs.
    pub signed_at: Option<AmzDate>,
    /// When a presigned URL ends.
    pub expires_at: Option<AmzDate>,
    pub body: BodyCheck,
}

/// Verifies signatures. Share one: it remembers signing keys.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: KeyCache,
}

impl Verifier {
    pub fn new() -> Verifier {
        Verifier::default()
    }

    /// Proves that the holder of `secret` made this request at about `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// The first thing wrong, in this order: mechanism, scope, time, signed headers, signature, body.
    pub fn verify(
        &self,
        request: &RequestParts<'_>,
        claim: &Claim,
        secret: &str,
        body: Body<'_>,
        now_s: i64,
        options: &VerifyOptions<'_>,
    ) -> Result<Verified, AuthError> {
        refuse_two_mechanisms(claim, options)?;
        let now = AmzDate::from_secs(now_s);
        match claim.scheme {
            Scheme::V4Header | Scheme::V4Query => self.verify_v4(request, claim, secret, body, now, options),
            Scheme::V2Header | Scheme::V2Query if options.s3 => {
                v2::verify(request, claim, secret, now, options)
            }
            Scheme::V2Header | Scheme::V2Query => {
                Err(AuthError::UnsupportedAlgorithm { given: "AWS".to_owned(), place: claim.place() })
            }
            Scheme::V4Form | Scheme::V2Form => Err(AuthError::IncompleteForm { field: "policy" }),
        }
    }

    pub(crate) fn key(&self, claim: &Claim, secret: &str) -> SigningKey {
        let credential = &claim.credential;
        self.keys.get(secret, &credential.date, &credential.region, &credential.service)
    }

    fn verify_v4(
        &self,
        request: &RequestParts<'_>,
        claim: &Claim,
        secret: &str,
        body: Body<'_>,
        now: AmzDate,
        options: &VerifyOptions<'_>,
    ) -> Result<Verified, AuthError> {
        let Some(signed_at) = claim.signed_at else {
            return Err(AuthError::BadDate { given: String::new(), place: claim.place() });
        };
        check_scope(claim, signed_at, options)?;
        let expires_at = check_time(claim, signed_at, now, options)?;
        check_signed_headers(request, claim, options)?;
        let body = if options.s3 { body } else { body.hashed() };
        let (payload, announced) =
            if options.s3 { s3_payload(request, claim)? } else { common_payload(request, body, options) };

        let omit: &[&str] = if options.token_unsigned {
            &["X-Amz-Signature", "X-Amz-Security-Token"]
        } else {
            &["X-Amz-Signature"]
        };
        let signed_headers = claim.signed_headers.as_str();
        let canonical =
            Canonical { request, style: options.path_style(), signed_headers, payload: &payload, omit }
                .build();
        let string_to_sign = string_to_sign(signed_at, &claim.credential.scope(), &canonical);
        let key = self.key(claim, secret);
        if !key.verifies(string_to_sign.as_bytes(), &claim.signature) {
            let canonical = String::from_utf8_lossy(&canonical).into_owned();
            return Err(mismatch(claim, string_to_sign, Some(canonical)));
        }
        let body = body_check(announced, body, || {
            ChunkSigning::new(&claim.credential, key, signed_at, claim.signature.clone())
        })?;
        Ok(Verified { signed_at: Some(signed_at), expires_at, body })
    }
}

/// S3 takes one Authorization at a time. Elsewhere a foreign header (a bearer token, say) may go with a signed URL, but
/// two signatures may not: the header would lend the URL a longer life than it says.
fn refuse_two_mechanisms(claim: &Claim, options: &VerifyOptions<'_>) -> Result<(), AuthError> {
    match &claim.second_authorization {
        Some(authorization) if options.s3 || !claim.is_presigned() => {
            Err(AuthError::TwoMechanisms { authorization: authorization.clone() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_scope(
    claim: &Claim,
    signed_at: AmzDate,
    options: &VerifyOptions<'_>,
) -> Result<(), AuthError> {
    let (credential, place) = (&claim.credential, claim.place());
    if credential.date != signed_at.day() {
        return Err(AuthError::WrongDate { given: credential.date.clone(), signed_at, place });
    }
    if let Some(region) = options.region.filter(|region| *region != credential.region) {
        return Err(AuthError::WrongRegion {
            given: credential.region.clone(),
            expected: region.to_owned(),
            place,
        });
    }
    if let Some(first) = options.services.first()
        && !options.services.contains(&credential.service.as_str())
    {
        return Err(AuthError::WrongService {
            given: credential.service.clone(),
            expected: (*first).to_owned(),
            place,
        });
    }
    Ok(())
}

/// A header must be of about now; a URL must not be past its end, which is returned.
fn check_time(
    claim: &Claim,
    signed_at: AmzDate,
    now: AmzDate,
    options: &VerifyOptions<'_>,
) -> Result<Option<AmzDate>, AuthError> {
    let (allowed_s, age_s) = (options.skew_s, now.secs().saturating_sub(signed_at.secs()));
    if claim.scheme != Scheme::V4Query {
        let skewed = AuthError::Skewed { signed_at, now, allowed_s };
        return if age_s.abs() > allowed_s { Err(skewed) } else { Ok(None) };
    }
    let life_s = match options.fixed_life_s.or(claim.life_s) {
        Some(life_s) => life_s,
        None if options.s3 => return Err(AuthError::IncompleteQuery { missing: Missing::default() }),
        None => DEFAULT_LIFE_S,
    };
    if age_s < -allowed_s {
        return Err(AuthError::UrlNotYetValid { signed_at, now, allowed_s });
    }
    if age_s >= life_s {
        return Err(AuthError::UrlExpired { signed_at, life_s, now });
    }
    Ok(Some(AmzDate::from_secs(signed_at.secs().saturating_add(life_s))))
}

/// S3 wants the host and every `x-amz-` header signed; of `x-amz-content-sha256` it was seen not to ask that, since the
/// payload's line covers it. Other services want the host.
fn check_signed_headers(
    request: &RequestParts<'_>,
    claim: &Claim,
    options: &VerifyOptions<'_>,
) -> Result<(), AuthError> {
    let is_signed = |name: &str| claim.signed_header_names().any(|signed| signed.eq_ignore_ascii_case(name));
    if !options.s3 {
        return if is_signed("host") || is_signed(":authority") {
            Ok(())
        } else {
            Err(AuthError::HostNotSigned)
        };
    }
    let mut unsigned: Vec<&str> = Vec::new();
    if !is_signed("host") {
        unsigned.push("host");
    }
    let names = request.headers.keys().map(http::HeaderName::as_str);
    let covered =
        |name: &str| !name.starts_with("x-amz-") || name == "x-amz-content-sha256" || is_signed(name);
    unsigned.extend(names.filter(|name| !covered(name)));
    if unsigned.is_empty() { Ok(()) } else { Err(AuthError::HeadersNotSigned { names: unsigned.join(", ") }) }
}

/// The last line of S3's canonical request, and what is announced about the body. A URL signs `UNSIGNED-PAYLOAD`
/// unless it says otherwise.
fn s3_payload(request: &RequestParts<'_>, claim: &Claim) -> Result<(String, Payload), AuthError> {
    let header = request.header("x-amz-content-sha256");
    if claim.scheme == Scheme::V4Header {
        let value = header.ok_or(AuthError::MissingContentSha256)?;
        return Ok((value.to_owned(), Payload::parse(value)?));
    }
    let signed_header =
        header.filter(|_| claim.signed_header_names().any(|name| name == "x-amz-content-sha256"));
    let line = signed_header
        .map(str::to_owned)
        .or_else(|| query::value(request.query, "X-Amz-Content-Sha256"))
        .unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned());
    let announced = Payload::parse(header.unwrap_or(&line))?;
    Ok((line, announced))
}

/// Other services hash the body themselves. One that is read later must have the hash its header announces, or be empty.
fn common_payload(
    request: &RequestParts<'_>,
    body: Body<'_>,
    options: &VerifyOptions<'_>,
) -> (String, Payload) {
    let header = request.header("x-amz-content-sha256").map(|value| (value, Payload::parse(value)));
    if let (true, Some((line, Ok(Payload::Unsigned)))) = (options.unsigned_payload, &header) {
        return ((*line).to_owned(), Payload::Unsigned);
    }
    if let Some(hash) = body.sha256() {
        return (hex::encode(hash), Payload::Sha256(hash));
    }
    match header {
        Some((line, Ok(Payload::Sha256(hash)))) => (line.to_owned(), Payload::Sha256(hash)),
        _ => (empty_sha256(), Payload::Sha256(empty_digest())),
    }
}

/// Compares the body that is there with the one announced, or says how it is to be checked when it comes.
fn body_check(
    announced: Payload,
    body: Body<'_>,
    signing: impl FnOnce() -> ChunkSigning,
) -> Result<BodyCheck, AuthError> {
    match announced {
        Payload::Unsigned => Ok(BodyCheck::Unsigned),
        Payload::UnsignedChunks => Ok(BodyCheck::Chunks { trailer: true, signing: None }),
        Payload::SignedChunks { trailer } => {
            Ok(BodyCheck::Chunks { trailer, signing: Some(Box::new(signing())) })
        }
        Payload::Sha256(announced) => match body.sha256() {
            Some(computed) => compare(announced, computed).map(|()| BodyCheck::Checked),
            None => Ok(BodyCheck::Sha256(announced)),
        },
    }
}

fn empty_digest() -> [u8; 32] {
    Body::Whole(b"").sha256().unwrap_or_default()
}

pub(crate) fn mismatch(
    claim: &Claim,
    string_to_sign: String,
    canonical_request: Option<String>,
) -> AuthError {
    AuthError::Mismatch(Box::new(Mismatch {
        access_key: claim.credential.access_key.clone(),
        string_to_sign,
        signature_provided: claim.signature.clone(),
        canonical_request,
    }))
}
