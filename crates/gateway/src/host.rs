//! What a Host header says: `<bucket>.s3.localhost.localstack.cloud:4566`, `sqs.us-east-1.localhost.localstack.cloud`,
//! `<id>.execute-api.us-east-1.amazonaws.com`, `<bucket>.localhost`, or nothing but where the platform is.

/// Names under which the platform, or the AWS it stands for, is reached; what stands before them is read. AWS's own
/// comes with no loose bucket names: there a bucket is always followed by `s3`.
const BASES: [&str; 4] = ["localhost.localstack.cloud", "localhost", "amazonaws.com", "amazonaws.com.cn"];

/// Kinds of addresses that begin with an id: API Gateway and function URLs.
const BY_ID: [&str; 2] = ["execute-api", "lambda-url"];

/// The labels of a host before its base, with the parts that mean something told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// An address, `localhost`, or a name that says nothing.
    Nothing,
    /// `sqs`, `sqs.us-east-1`, `streams.dynamodb.eu-west-1`: what may be an endpoint prefix, possibly with its region
    /// behind, under a base of this machine. It may be a bucket's name as well.
    Loose(&'a str),
    /// The same under AWS's own base.
    Endpoint(&'a str),
    /// `s3`, `s3.us-east-1`, `s3-eu-west-1`, with the bucket before it if there is one.
    S3 { bucket: Option<&'a str> },
    /// `<id>.execute-api.<region>`, `<id>.lambda-url.<region>`.
    ById { kind: &'static str, id: &'a str, region: Option<&'a str> },
}

/// Reads a host in lower case, without its port.
pub(crate) fn read(host: &str) -> Named<'_> {
    let base = BASES.iter().find(|base| is_under(host, base));
    let labels = match base {
        Some(base) => host.get(..host.len() - base.len()).unwrap_or_default().trim_end_matches('.'),
        None => host,
    };
    if labels.is_empty() || is_address(host) {
        return Named::Nothing;
    }
    by_id(labels).or_else(|| s3(labels)).unwrap_or(match base {
        None => Named::Nothing,
        Some(base) if base.starts_with("amazonaws") => Named::Endpoint(labels),
        Some(_) => Named::Loose(labels),
    })
}

/// The host without its port, in lower case if it is not so already.
pub(crate) fn without_port(authority: &str) -> std::borrow::Cow<'_, str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

/// Whether a browser's origin or a host is this machine itself: `localhost`, a name under it, a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => is_under(host, "localhost") || is_under(host, "localhost.localstack.cloud"),
    }
}

fn is_under(host: &str, base: &str) -> bool {
    host.strip_suffix(base).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok()
}

fn by_id(labels: &str) -> Option<Named<'_>> {
    let (id, rest) = labels.split_once('.')?;
    let (kind, region) = rest.split_once('.').map_or((rest, None), |(kind, region)| (kind, Some(region)));
    let kind = BY_ID.iter().find(|known| **known == kind)?;
    let region = region.and_then(|region| region.split('.').next());
    Some(Named::ById { kind, id, region })
}

/// Looks for the last label that is `s3`, or `s3-<region>` at the end: a bucket's name may hold dots and even `s3`.
fn s3(labels: &str) -> Option<Named<'_>> {
    let mut end = labels.len();
    loop {
        let start = labels.get(..end)?.rfind('.').map_or(0, |dot| dot + 1);
        let label = labels.get(start..end)?;
        let is_last = end == labels.len();
        if label == "s3" || (is_last && label.starts_with("s3-")) {
            let bucket = labels.get(..start.saturating_sub(1)).filter(|bucket| !bucket.is_empty());
            return Some(Named::S3 { bucket });
        }
        end = start.checked_sub(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        let bucket = |bucket| Named::S3 { bucket: Some(bucket) };
        let cases = [
            ("localhost", Named::Nothing),
            ("127.0.0.1", Named::Nothing),
            ("[::1]", Named::Nothing),
            ("tidemill", Named::Nothing),
            ("host.tidemill.internal", Named::Nothing),
            ("localhost.localstack.cloud", Named::Nothing),
            ("files.s3.localhost.localstack.cloud", bucket("files")),
            ("my.files.s3.us-east-1.localhost.localstack.cloud", bucket("my.files")),
            ("s3.localhost.localstack.cloud", Named::S3 { bucket: None }),
            ("s3.us-east-1.localhost.localstack.cloud", Named::S3 { bucket: None }),
            ("files.s3.amazonaws.com", bucket("files")),
            ("files.s3.eu-west-1.amazonaws.com", bucket("files")),
            ("files.s3-eu-west-1.amazonaws.com", bucket("files")),
            ("files.s3.dualstack.eu-west-1.amazonaws.com", bucket("files")),
            ("an.s3.bucket.s3.amazonaws.com", bucket("an.s3.bucket")),
            ("s3.amazonaws.com", Named::S3 { bucket: None }),
            ("files.s3.tidemill", bucket("files")),
            ("files.localhost", Named::Loose("files")),
            ("files.localhost.localstack.cloud", Named::Loose("files")),
            ("sqs.us-east-1.localhost.localstack.cloud", Named::Loose("sqs.us-east-1")),
            ("streams.dynamodb.eu-west-1.amazonaws.com", Named::Endpoint("streams.dynamodb.eu-west-1")),
            ("abc.execute-api.localhost", Named::ById { kind: "execute-api", id: "abc", region: None }),
            (
                "abc.execute-api.us-east-1.amazonaws.com",
                Named::ById { kind: "execute-api", id: "abc", region: Some("us-east-1") },
            ),
            (
                "xyz.lambda-url.us-east-1.localhost.localstack.cloud",
                Named::ById { kind: "lambda-url", id: "xyz", region: Some("us-east-1") },
            ),
        ];
        for (host, expected) in cases {
            assert_eq!(read(host), expected, "{host}");
        }
    }

    #[test]
    fn ports_and_capitals_are_dropped() {
        for (authority, host) in [
            ("LocalHost:4566", "localhost"),
            ("[::1]:4566", "[::1]"),
            ("[::1]", "[::1]"),
            ("a.b", "a.b"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for host in ["localhost", "app.localhost", "127.0.0.1", "[::1]", "x.localhost.localstack.cloud"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "notlocalhost", "localhost.example.com", "10.0.0.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
