//! The canonical request and the string to sign, as "Create a signed AWS API request" in the IAM User Guide describes.
//! Both the verifier and the signer build theirs here. Kept as bytes: header values need not be UTF-8.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::{claim::RequestParts, key::sha256_hex, query};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// How a service wants the path of a canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// S3: encoded once, `//`, `.` and `..` kept, because they are parts of keys.
    Once,
    /// All others: `//`, `.` and `..` resolved, then what came over the wire encoded once more.
    NormalisedTwice,
}

/// Everything a canonical request is made of.
pub(crate) struct Canonical<'a> {
    pub request: &'a RequestParts<'a>,
    pub style: PathStyle,
    /// `host;x-amz-date`
    pub signed_headers: &'a str,
    /// The payload's hash or the word that stands for it.
    pub payload: &'a str,
    /// Parameters of the URL that are not signed.
    pub omit: &'a [&'a str],
}

impl Canonical<'_> {
    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(self.request.method.as_bytes());
        out.push(b'\n');
        push_path(&mut out, self.request.path, self.style);
        out.push(b'\n');
        push_query(&mut out, self.request.query, self.omit);
        out.push(b'\n');
        for name in self.signed_headers.split(';').filter(|name| !name.is_empty()) {
            push_header(&mut out, name, self.request);
        }
        out.push(b'\n');
        out.extend_from_slice(self.signed_headers.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.payload.as_bytes());
        out
    }
}

/// `AWS4-HMAC-SHA256`, the moment, the scope and the hash of the canonical request.
pub(crate) fn string_to_sign(signed_at: impl std::fmt::Display, scope: &str, canonical: &[u8]) -> String {
    format!("AWS4-HMAC-SHA256\n{signed_at}\n{scope}\n{}", sha256_hex(canonical))
}

fn push_path(out: &mut Vec<u8>, path: &str, style: PathStyle) {
    match style {
        PathStyle::Once if path.is_empty() => out.push(b'/'),
        PathStyle::Once => {
            let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
            push_encoded(out, &decoded, PATH);
        }
        PathStyle::NormalisedTwice => push_encoded(out, normalised(path).as_bytes(), PATH),
    }
}

/// RFC 3986 section 5.2.4, and consecutive slashes become one.
fn normalised(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if kept.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    out
}

fn push_query(out: &mut Vec<u8>, query: &str, omit: &[&str]) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in query::pairs(query) {
        let name = query::decode(name);
        if omit.iter().any(|omitted| omitted.as_bytes() == name.as_ref()) {
            continue;
        }
        pairs.push((encoded(&name), encoded(&query::decode(value))));
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    push_encoded(&mut out, bytes, UNRESERVED);
    out
}

fn push_encoded(out: &mut Vec<u8>, bytes: &[u8], set: &'static AsciiSet) {
    for piece in percent_encode(bytes, set) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// One line `name:value,value`. A header that is signed but absent has an empty value, so taking one away is noticed.
fn push_header(out: &mut Vec<u8>, name: &str, request: &RequestParts<'_>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut values = request.headers.get_all(name).iter().peekable();
    if values.peek().is_none() && name.eq_ignore_ascii_case("host") {
        push_trimmed(out, request.authority.unwrap_or_default().as_bytes());
    }
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_trimmed(out, value.as_bytes());
    }
    out.push(b'\n');
}

/// Without white space at both ends, and with one space wherever more stood in between.
fn push_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn path(path: &str, style: PathStyle) -> String {
        let mut out = Vec::new();
        push_path(&mut out, path, style);
        String::from_utf8(out).unwrap()
    }

    fn query(query: &str) -> String {
        let mut out = Vec::new();
        push_query(&mut out, query, &["X-Amz-Signature"]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_written_as_each_service_wants_them() {
        // (as sent, S3, all others); the last column follows AWS's published test suite.
        for (sent, once, twice) in [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("//", "//", "/"),
            ("/example/..", "/example/..", "/"),
            ("/example1/example2/../..", "/example1/example2/../..", "/"),
            ("/./example", "/./example", "/example"),
            ("//example//", "//example//", "/example/"),
            ("/example space/", "/example%20space/", "/example%20space/"),
            ("/a%20b", "/a%20b", "/a%2520b"),
            ("/a+b~c", "/a%2Bb~c", "/a%2Bb~c"),
            ("/ሴ", "/%E1%88%B4", "/%E1%88%B4"),
            ("/test$file.text", "/test%24file.text", "/test%24file.text"),
        ] {
            assert_eq!(path(sent, PathStyle::Once), once);
            assert_eq!(path(sent, PathStyle::NormalisedTwice), twice);
        }
    }

    #[test]
    fn queries_are_decoded_sorted_and_encoded() {
        for (sent, canonical) in [
            ("", ""),
            ("acl", "acl="),
            ("Param2=value2&Param1=value1", "Param1=value1&Param2=value2"),
            ("Param1=value2&Param1=Value1", "Param1=Value1&Param1=value2"),
            ("Param1=a+b%2Bc/", "Param1=a%20b%2Bc%2F"),
            ("b=1&X-Amz-Signature=x&a=%zz&&", "a=%25zz&b=1"),
            ("ሴ=bar", "%E1%88%B4=bar"),
        ] {
            assert_eq!(query(sent), canonical);
        }
    }

    #[test]
    fn headers_are_joined_and_trimmed() {
        let mut headers = HeaderMap::new();
        headers.append("my-header", " value4   a ".parse().unwrap());
        headers.append("my-header", "value1".parse().unwrap());
        let request = RequestParts {
            method: "GET",
            path: "/",
            query: "",
            authority: Some("example.amazonaws.com"),
            headers: &headers,
        };
        let signed_headers = "absent;host;my-header";
        let canonical = Canonical {
            request: &request,
            style: PathStyle::Once,
            signed_headers,
            payload: "HASH",
            omit: &[],
        };
        let expected = "GET\n/\n\nabsent:\nhost:example.amazonaws.com\nmy-header:value4 a,value1\n\nabsent;host;my-header\nHASH";
        assert_eq!(String::from_utf8(canonical.build()).unwrap(), expected);
    }
}
