//! The credential a signature names: an access key and the day, region and service it was made for.

use crate::{
    claim::RequestParts,
    error::{AuthError, Place},
    query,
};

/// What `Credential=AKID/20150830/us-east-1/sqs/aws4_request` says. Version 2 signatures name the access key only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Credential {
    pub access_key: String,
    /// The day, `yyyyMMdd`; empty in version 2.
    pub date: String,
    /// The region signed for, such as `us-east-1`; empty in version 2.
    pub region: String,
    /// The signing name of the service, such as `sqs`; empty in version 2.
    pub service: String,
}

impl Credential {
    /// Reads the five elements. What is wrong is worded as for `place`.
    pub fn parse(text: &str, place: Place) -> Result<Credential, AuthError> {
        let mut elements = text.split('/');
        let five = [elements.next(), elements.next(), elements.next(), elements.next(), elements.next()];
        let ([Some(access_key), Some(date), Some(region), Some(service), Some(end)], None) =
            (five, elements.next())
        else {
            return Err(AuthError::MalformedCredential { given: text.to_owned(), place });
        };
        if end != "aws4_request" {
            return Err(AuthError::WrongTerminator { given: end.to_owned(), place });
        }
        if access_key.is_empty() {
            return Err(AuthError::EmptyAccessKey { place });
        }
        Ok(Credential {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }

    /// An access key without a scope, as version 2 has it.
    pub fn of_key(access_key: &str) -> Credential {
        Credential { access_key: access_key.to_owned(), ..Credential::default() }
    }

    /// The credential a request names, believed and not proved: no date, signature or completeness is asked for.
    /// For listeners that serve only their own machine; `None` where no credential can be made out.
    pub fn unverified(request: &RequestParts<'_>) -> Option<Credential> {
        let header = request.header("authorization").unwrap_or_default();
        unverified_header(header).or_else(|| unverified_query(request.query))
    }

    /// `date/region/service/aws4_request`.
    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

fn unverified_header(header: &str) -> Option<Credential> {
    if let Some(key_and_signature) = header.strip_prefix("AWS ") {
        return key_and_signature.split_once(':').map(|(key, _)| Credential::of_key(key.trim()));
    }
    if !header.starts_with("AWS4-") {
        return None;
    }
    let (_, after) = header.split_once("Credential=")?;
    Credential::parse(after.split([',', ' ']).next()?, Place::Header).ok()
}

fn unverified_query(query: &str) -> Option<Credential> {
    if let Some(credential) = query::value(query, "X-Amz-Credential") {
        return Credential::parse(&credential, Place::Query).ok();
    }
    query::value(query, "AWSAccessKeyId").filter(|key| !key.is_empty()).map(|key| Credential::of_key(&key))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn unverified(authorization: &str, query: &str) -> Option<Credential> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        Credential::unverified(&RequestParts {
            method: "GET",
            path: "/",
            query,
            authority: None,
            headers: &headers,
        })
    }

    #[test]
    fn a_credential_has_five_elements() {
        let read = Credential::parse("AKID/20150830/us-east-1/sqs/aws4_request", Place::Header).unwrap();
        assert_eq!((read.access_key.as_str(), read.service.as_str()), ("AKID", "sqs"));
        assert_eq!(read.scope(), "20150830/us-east-1/sqs/aws4_request");
        for wrong in ["", "AKID", "a/b/c/d", "a/b/c/d/aws4_request/f", "a/b/c/d/aws3", "/b/c/d/aws4_request"]
        {
            assert!(Credential::parse(wrong, Place::Header).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_credential_is_found_without_a_valid_signature() {
        let v4 = "AWS4-HMAC-SHA256 Credential=test/20150830/eu-west-1/s3/aws4_request";
        assert_eq!(unverified(v4, "").unwrap().region, "eu-west-1");
        assert_eq!(unverified("AWS test:c2ln", "").unwrap().access_key, "test");
        assert_eq!(
            unverified("", "X-Amz-Credential=k%2F20150830%2Fr%2Fs%2Faws4_request").unwrap().access_key,
            "k"
        );
        assert_eq!(unverified("", "AWSAccessKeyId=old&Signature=x").unwrap().access_key, "old");
        assert_eq!(unverified("Bearer token", ""), None);
    }
}
