//! POST policy forms: a browser uploads to S3 with fields instead of headers, and the signature covers the policy's
//! base64 text. The policy's conditions and its end are for whoever stores the object to check.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>

use crate::{
    AmzDate, Credential,
    claim::{Claim, Scheme},
    error::{AuthError, Place},
    v2,
    verify::{Verifier, VerifyOptions, check_scope, mismatch},
};

impl Claim {
    /// Reads the claim of a POST form. `field` gives the value of the field with that name, asked for in lower case
    /// (S3 does not distinguish). `None` if the form carries no policy and no signature: an anonymous upload.
    ///
    /// # Errors
    /// Missing fields, an unknown algorithm, a malformed credential or date.
    pub fn read_form<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Claim>, AuthError> {
        let needed = |name: &'static str| field(name).ok_or(AuthError::IncompleteForm { field: name });
        let is_v4 = field("x-amz-signature").is_some() || field("x-amz-credential").is_some();
        let is_v2 = field("awsaccesskeyid").is_some();
        if !is_v4 && !is_v2 && field("policy").is_none() {
            return Ok(None);
        }
        needed("policy")?;
        let token = field("x-amz-security-token").map(str::to_owned);
        if is_v2 && !is_v4 {
            let credential = Credential::of_key(needed("awsaccesskeyid")?);
            let claim = Claim::bare(Scheme::V2Form, credential, needed("signature")?.to_owned());
            return Ok(Some(Claim { session_token: token, ..claim }));
        }
        let algorithm = needed("x-amz-algorithm")?;
        if algorithm != "AWS4-HMAC-SHA256" {
            return Err(AuthError::UnsupportedAlgorithm { given: algorithm.to_owned(), place: Place::Form });
        }
        let credential = Credential::parse(needed("x-amz-credential")?, Place::Form)?;
        let date = needed("x-amz-date")?;
        let signed_at = AmzDate::parse(date)
            .ok_or_else(|| AuthError::BadDate { given: date.to_owned(), place: Place::Form })?;
        let claim = Claim::bare(Scheme::V4Form, credential, needed("x-amz-signature")?.to_owned());
        Ok(Some(Claim { signed_at: Some(signed_at), session_token: token, ..claim }))
    }
}

impl Verifier {
    /// Proves that the holder of `secret` signed this policy (`policy` is the field's base64 text, as sent).
    ///
    /// # Errors
    /// A scope of another day, region or service; a signature that is not ours.
    pub fn verify_form(
        &self,
        claim: &Claim,
        policy: &str,
        secret: &str,
        options: &VerifyOptions<'_>,
    ) -> Result<(), AuthError> {
        let matches = match (claim.scheme, claim.signed_at) {
            (Scheme::V4Form, Some(signed_at)) => {
                check_scope(claim, signed_at, options)?;
                self.key(claim, secret).verifies(policy.as_bytes(), &claim.signature)
            }
            (Scheme::V2Form, _) => v2::verifies(secret, policy, &claim.signature),
            _ => return Err(AuthError::IncompleteForm { field: "policy" }),
        };
        if matches { Ok(()) } else { Err(mismatch(claim, policy.to_owned(), None)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiIH0=";

    fn form(signature: &str) -> Result<Option<Claim>, AuthError> {
        Claim::read_form(|name| match name {
            "policy" => Some(POLICY),
            "x-amz-algorithm" => Some("AWS4-HMAC-SHA256"),
            "x-amz-credential" => Some("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
            "x-amz-date" => Some("20151229T000000Z"),
            "x-amz-signature" if !signature.is_empty() => Some(match signature {
                "right" => "right",
                _ => "wrong",
            }),
            _ => None,
        })
    }

    #[test]
    fn a_signed_policy_is_verified() {
        let mut claim = form("right").unwrap().unwrap();
        claim.signature = SigningKey::derive(SECRET, "20151229", "us-east-1", "s3").sign(POLICY.as_bytes());
        let (verifier, options) = (Verifier::new(), VerifyOptions::s3());
        assert_eq!(verifier.verify_form(&claim, POLICY, SECRET, &options), Ok(()));
        let other = POLICY.replace('e', "f");
        assert!(matches!(
            verifier.verify_form(&claim, &other, SECRET, &options),
            Err(AuthError::Mismatch(_))
        ));
        let elsewhere = options.in_region("eu-west-1");
        assert!(matches!(
            verifier.verify_form(&claim, POLICY, SECRET, &elsewhere),
            Err(AuthError::WrongRegion { .. })
        ));
    }

    #[test]
    fn a_form_without_a_signature_is_anonymous_only_without_a_policy() {
        assert_eq!(Claim::read_form(|_| None), Ok(None));
        assert_eq!(form(""), Err(AuthError::IncompleteForm { field: "x-amz-signature" }));
        let only_policy = Claim::read_form(|name| (name == "policy").then_some(POLICY));
        assert_eq!(only_policy, Err(AuthError::IncompleteForm { field: "x-amz-algorithm" }));
    }
}
