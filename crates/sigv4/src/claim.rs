//! What a request says about who signed it, read and not yet proved: from the Authorization header or from the
//! parameters of a presigned URL, in signature versions 4 and 2. Forms are read in `form.rs`.

use http::HeaderMap;

use crate::{
    AmzDate, Credential,
    error::{AuthError, Missing, Place},
    query,
};

/// The longest life of a presigned URL: seven days.
pub(crate) const LONGEST_LIFE_S: i64 = 604_800;

/// A request as signatures see it: everything as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// In capitals, as sent.
    pub method: &'a str,
    /// The path as sent, still percent-encoded.
    pub path: &'a str,
    /// The query string as sent, without the question mark.
    pub query: &'a str,
    /// HTTP/2's `:authority`, which stands for the Host header where that is absent.
    pub authority: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// Where a signature stood and which version it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    V4Header,
    V4Query,
    V4Form,
    V2Header,
    V2Query,
    V2Form,
}

/// A signature as the caller presents it. Nothing here is proved until a [`crate::Verifier`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub scheme: Scheme,
    pub credential: Credential,
    /// `host;x-amz-date`, as sent; empty in version 2 and in forms.
    pub signed_headers: String,
    /// Hexadecimal in version 4, base64 in version 2.
    pub signature: String,
    /// When it says it was signed. Absent in version 2's URLs and forms.
    pub signed_at: Option<AmzDate>,
    /// How long a presigned URL lives, in seconds, 0 to 604800.
    pub life_s: Option<i64>,
    /// When a version 2 URL ends, in seconds since 1970.
    pub expires_at_s: Option<i64>,
    /// The session token of temporary credentials; the caller compares it with the one issued.
    pub session_token: Option<String>,
    /// The Authorization header, if the URL carries a signature as well.
    pub(crate) second_authorization: Option<String>,
}

impl<'a> RequestParts<'a> {
    /// The first header of that name; one that is not printable ASCII reads as empty.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or_default())
    }
}

impl Claim {
    /// Reads the claim; `None` if the request carries no authentication at all. A signature in the Authorization
    /// header goes before one in the URL.
    ///
    /// # Errors
    /// What cannot be understood: an unknown authorization type or algorithm, missing parts, a malformed credential.
    pub fn read(request: &RequestParts<'_>) -> Result<Option<Claim>, AuthError> {
        let header = request.header("authorization");
        let in_url = UrlParameters::read(request.query);
        match header {
            Some(value) if value.starts_with("AWS4-") || value.starts_with("AWS ") => {
                let mut claim = from_header(request, value)?;
                claim.second_authorization = in_url.is_some().then(|| value.to_owned());
                Ok(Some(claim))
            }
            _ => match (in_url, header) {
                (Some(parameters), _) => {
                    let mut claim = parameters.into_claim()?;
                    claim.second_authorization = header.map(str::to_owned);
                    Ok(Some(claim))
                }
                (None, Some(value)) => Err(AuthError::NotAws { authorization: value.to_owned() }),
                (None, None) => Ok(None),
            },
        }
    }

    /// Whether the signature stood in the URL.
    pub fn is_presigned(&self) -> bool {
        matches!(self.scheme, Scheme::V4Query | Scheme::V2Query)
    }

    /// The names of the headers the signature covers, in the order sent.
    pub fn signed_header_names(&self) -> impl Iterator<Item = &str> {
        self.signed_headers.split(';').filter(|name| !name.is_empty())
    }

    pub(crate) fn place(&self) -> Place {
        match self.scheme {
            Scheme::V4Header | Scheme::V2Header => Place::Header,
            Scheme::V4Query | Scheme::V2Query => Place::Query,
            Scheme::V4Form | Scheme::V2Form => Place::Form,
        }
    }

    /// A claim of which only the scheme, the credential and the signature are known.
    pub(crate) fn bare(scheme: Scheme, credential: Credential, signature: String) -> Claim {
        Claim {
            scheme,
            credential,
            signature,
            signed_headers: String::new(),
            signed_at: None,
            life_s: None,
            expires_at_s: None,
            session_token: None,
            second_authorization: None,
        }
    }
}

fn from_header(request: &RequestParts<'_>, authorization: &str) -> Result<Claim, AuthError> {
    let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
    match algorithm {
        "AWS4-HMAC-SHA256" => from_v4_header(request, authorization, rest),
        "AWS" => from_v2_header(request, rest),
        other => Err(AuthError::UnsupportedAlgorithm { given: other.to_owned(), place: Place::Header }),
    }
}

fn from_v4_header(request: &RequestParts<'_>, authorization: &str, parts: &str) -> Result<Claim, AuthError> {
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for piece in parts.split([',', ' ', '\t']).filter(|piece| !piece.is_empty()) {
        let Some((name, value)) = piece.split_once('=') else {
            return Err(AuthError::NotKeyValue {
                piece: piece.to_owned(),
                authorization: authorization.to_owned(),
            });
        };
        match name {
            "Credential" => credential = Some(value),
            "SignedHeaders" => signed_headers = Some(value),
            "Signature" => signature = Some(value),
            _ => {}
        }
    }
    let date = request.header("x-amz-date").or_else(|| request.header("date"));
    let (Some(credential), Some(signed_headers), Some(signature), Some(date)) =
        (credential, signed_headers, signature, date)
    else {
        return Err(AuthError::Incomplete {
            missing: Missing {
                credential: credential.is_none(),
                signature: signature.is_none(),
                signed_headers: signed_headers.is_none(),
                date: date.is_none(),
                algorithm: false,
            },
            authorization: authorization.to_owned(),
        });
    };
    let credential = Credential::parse(credential, Place::Header)?;
    let mut claim = Claim::bare(Scheme::V4Header, credential, signature.to_owned());
    claim.signed_headers = signed_headers.to_owned();
    claim.signed_at = Some(header_date(date)?);
    claim.session_token = request.header("x-amz-security-token").map(str::to_owned);
    Ok(claim)
}

fn from_v2_header(request: &RequestParts<'_>, parts: &str) -> Result<Claim, AuthError> {
    let Some((access_key, signature)) = parts.trim().split_once(':') else {
        return Err(AuthError::NotAws { authorization: format!("AWS {parts}") });
    };
    let date = request.header("x-amz-date").or_else(|| request.header("date")).unwrap_or_default();
    let mut claim = Claim::bare(Scheme::V2Header, Credential::of_key(access_key), signature.to_owned());
    claim.signed_at = Some(header_date(date)?);
    claim.session_token = request.header("x-amz-security-token").map(str::to_owned);
    Ok(claim)
}

fn header_date(text: &str) -> Result<AmzDate, AuthError> {
    AmzDate::parse_header(text)
        .ok_or_else(|| AuthError::BadDate { given: text.to_owned(), place: Place::Header })
}

/// The parameters of a presigned URL, decoded.
#[derive(Default)]
struct UrlParameters {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    token: Option<String>,
    v2_access_key: Option<String>,
    v2_expires: Option<String>,
    v2_signature: Option<String>,
    v2_token: Option<String>,
}

impl UrlParameters {
    /// `None` unless a parameter says that the URL is signed.
    fn read(query: &str) -> Option<UrlParameters> {
        let mut found = UrlParameters::default();
        for (name, value) in query::pairs(query) {
            let slot = match query::decode(name).as_ref() {
                b"X-Amz-Algorithm" => &mut found.algorithm,
                b"X-Amz-Credential" => &mut found.credential,
                b"X-Amz-Date" => &mut found.date,
                b"X-Amz-Expires" => &mut found.expires,
                b"X-Amz-SignedHeaders" => &mut found.signed_headers,
                b"X-Amz-Signature" => &mut found.signature,
                b"X-Amz-Security-Token" => &mut found.token,
                b"AWSAccessKeyId" => &mut found.v2_access_key,
                b"Expires" => &mut found.v2_expires,
                b"Signature" => &mut found.v2_signature,
                b"x-amz-security-token" => &mut found.v2_token,
                _ => continue,
            };
            slot.get_or_insert_with(|| String::from_utf8_lossy(&query::decode(value)).into_owned());
        }
        found.is_signed().then_some(found)
    }

    fn is_signed(&self) -> bool {
        self.is_v4() || self.v2_access_key.is_some()
    }

    fn is_v4(&self) -> bool {
        self.algorithm.is_some() || self.credential.is_some() || self.signature.is_some()
    }

    fn into_claim(self) -> Result<Claim, AuthError> {
        if self.is_v4() { self.into_v4() } else { self.into_v2() }
    }

    fn into_v4(self) -> Result<Claim, AuthError> {
        let missing = Missing {
            algorithm: self.algorithm.is_none(),
            credential: self.credential.is_none(),
            signature: self.signature.is_none(),
            signed_headers: self.signed_headers.is_none(),
            date: self.date.is_none(),
        };
        if let Some(given) = self.algorithm.filter(|algorithm| algorithm != "AWS4-HMAC-SHA256") {
            return Err(AuthError::UnsupportedAlgorithm { given, place: Place::Query });
        }
        let (Some(credential), Some(signature), Some(signed_headers), Some(date), false) =
            (self.credential, self.signature, self.signed_headers, self.date, missing.algorithm)
        else {
            return Err(AuthError::IncompleteQuery { missing });
        };
        let life_s = self.expires.as_deref().map(life).transpose()?;
        let credential = Credential::parse(&credential, Place::Query)?;
        let Some(signed_at) = AmzDate::parse(&date) else {
            return Err(AuthError::BadDate { given: date, place: Place::Query });
        };
        let mut claim = Claim::bare(Scheme::V4Query, credential, signature);
        claim.signed_headers = signed_headers;
        claim.signed_at = Some(signed_at);
        claim.life_s = life_s;
        claim.session_token = self.token;
        Ok(claim)
    }

    fn into_v2(self) -> Result<Claim, AuthError> {
        let (Some(access_key), Some(signature)) = (self.v2_access_key, self.v2_signature) else {
            return Err(AuthError::IncompleteV2Query);
        };
        let expires_at_s = match self.v2_expires.as_deref().map(str::parse) {
            Some(Ok(seconds)) => Some(seconds),
            Some(Err(_)) => {
                return Err(AuthError::BadV2Expires { given: self.v2_expires.unwrap_or_default() });
            }
            None => None,
        };
        let mut claim = Claim::bare(Scheme::V2Query, Credential::of_key(&access_key), signature);
        claim.expires_at_s = expires_at_s;
        claim.session_token = self.v2_token;
        Ok(claim)
    }
}

fn life(text: &str) -> Result<i64, AuthError> {
    let seconds: i64 = text.parse().map_err(|_| AuthError::ExpiresNotANumber)?;
    match seconds {
        ..0 => Err(AuthError::ExpiresNegative),
        0..=LONGEST_LIFE_S => Ok(seconds),
        _ => Err(AuthError::ExpiresTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc";

    fn read(headers: &[(&'static str, &str)], query: &str) -> Result<Option<Claim>, AuthError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Claim::read(&RequestParts { method: "GET", path: "/", query, authority: None, headers: &map })
    }

    #[test]
    fn no_authentication_is_no_claim() {
        assert_eq!(read(&[], "prefix=a"), Ok(None));
    }

    #[test]
    fn a_header_is_read_with_its_token() {
        let headers =
            [("authorization", V4), ("x-amz-date", "20150830T123600Z"), ("x-amz-security-token", "tok")];
        let claim = read(&headers, "").unwrap().unwrap();
        assert_eq!((claim.scheme, claim.credential.region.as_str()), (Scheme::V4Header, "us-east-1"));
        assert_eq!(claim.signed_header_names().collect::<Vec<_>>(), ["host", "x-amz-date"]);
        assert_eq!((claim.signature.as_str(), claim.session_token.as_deref()), ("abc", Some("tok")));
        let tight = V4.replace(", ", ",");
        assert!(
            read(&[("authorization", &tight), ("date", "Sun, 30 Aug 2015 12:36:00 GMT")], "")
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_presigned_url_is_read() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fs3%2Faws4_request\
                     &X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=abc";
        let claim = read(&[], query).unwrap().unwrap();
        assert_eq!((claim.scheme, claim.life_s, claim.is_presigned()), (Scheme::V4Query, Some(60), true));
        for (life, error) in [
            ("x", AuthError::ExpiresNotANumber),
            ("-1", AuthError::ExpiresNegative),
            ("604801", AuthError::ExpiresTooLong),
        ] {
            assert_eq!(read(&[], &query.replace("Expires=60", &format!("Expires={life}"))), Err(error));
        }
        assert!(matches!(read(&[], "X-Amz-Signature=abc"), Err(AuthError::IncompleteQuery { .. })));
    }

    #[test]
    fn version_2_is_recognised() {
        let headers = [("authorization", "AWS AKID:c2ln"), ("date", "Tue, 27 Mar 2007 19:36:42 +0000")];
        assert_eq!(read(&headers, "").unwrap().unwrap().scheme, Scheme::V2Header);
        let claim = read(&[], "AWSAccessKeyId=AKID&Expires=1175139620&Signature=a%2Bb").unwrap().unwrap();
        assert_eq!(
            (claim.scheme, claim.expires_at_s, claim.signature.as_str()),
            (Scheme::V2Query, Some(1_175_139_620), "a+b")
        );
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert!(matches!(read(&[("authorization", "Bearer x")], ""), Err(AuthError::NotAws { .. })));
        let a_variant = V4.replace("HMAC", "ECDSA-P256");
        assert!(matches!(
            read(&[("authorization", &a_variant)], ""),
            Err(AuthError::UnsupportedAlgorithm { .. })
        ));
        let broken = V4.replace("Credential=AKID", "Credential= AKID");
        assert!(matches!(read(&[("authorization", &broken)], ""), Err(AuthError::NotKeyValue { .. })));
        assert!(matches!(read(&[("authorization", V4)], ""), Err(AuthError::Incomplete { .. })));
        assert!(matches!(
            read(&[("authorization", V4), ("x-amz-date", "x")], ""),
            Err(AuthError::BadDate { .. })
        ));
    }
}
