//! Requests of the real boto3 (captured by `data/sdk_requests.py`) verify, and stop doing so when anything changes.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tidemill_sigv4::{
    AuthError, Body, BodyCheck, ChunkDecoder, Claim, RequestParts, Scheme, Verified, Verifier, VerifyOptions,
};

struct Sent {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/sdk_requests.json")).unwrap()
}

fn sent(case: &Value) -> Sent {
    let mut headers = HeaderMap::new();
    for header in case["headers"].as_array().unwrap() {
        let name: HeaderName = header[0].as_str().unwrap().to_ascii_lowercase().parse().unwrap();
        headers.append(name, HeaderValue::from_str(header[1].as_str().unwrap()).unwrap());
    }
    let body = STANDARD.decode(text(case, "body")).unwrap();
    Sent {
        name: text(case, "name"),
        method: text(case, "method"),
        path: text(case, "path"),
        query: text(case, "query"),
        headers,
        body,
    }
}

fn verify(sent: &Sent, secret: &str, now_s: i64) -> Result<(Claim, Verified), AuthError> {
    let Sent { method, path, query, headers, body, .. } = sent;
    let request = RequestParts { method, path, query, authority: None, headers };
    let claim = Claim::read(&request)?.ok_or(AuthError::MissingToken)?;
    let s3 = VerifyOptions::s3();
    let sts = VerifyOptions::service(&["sts"]);
    let options = match claim.credential.service.as_str() {
        "s3" | "" => s3,
        "sts" => sts,
        _ => VerifyOptions::any(),
    };
    let verified = Verifier::new().verify(&request, &claim, secret, Body::Whole(body), now_s, &options)?;
    Ok((claim, verified))
}

#[test]
fn every_request_verifies_with_its_secret_only() {
    let recorded = recorded();
    let (secret, now_s) = (text(&recorded, "secret"), recorded["now_s"].as_i64().unwrap());
    let cases = recorded["requests"].as_array().unwrap();
    assert_eq!(cases.len(), 23);
    for case in cases {
        let sent = sent(case);
        let (claim, _) =
            verify(&sent, &secret, now_s).unwrap_or_else(|error| panic!("{}: {error:#?}", sent.name));
        assert_eq!(claim.credential.access_key, "AKIAIOSFODNN7EXAMPLE");
        assert!(matches!(verify(&sent, "other", now_s), Err(AuthError::Mismatch(_))), "{}", sent.name);
    }
}

#[test]
fn a_change_of_any_part_is_noticed() {
    let recorded = recorded();
    let (secret, now_s) = (text(&recorded, "secret"), recorded["now_s"].as_i64().unwrap());
    for case in recorded["requests"].as_array().unwrap() {
        let refused = |change: &dyn Fn(&mut Sent), what: &str| {
            let mut sent = sent(case);
            change(&mut sent);
            let refused = verify(&sent, &secret, now_s).is_err();
            assert!(refused, "{}: {what} was changed and still accepted", sent.name);
        };
        refused(&|sent| sent.method = "PATCH".to_owned(), "the method");
        refused(&|sent| sent.path.push('x'), "the path");
        let claim = verify(&sent(case), &secret, now_s).unwrap().0;
        for name in claim.signed_header_names() {
            let name: HeaderName = name.parse().unwrap();
            refused(
                &|sent| drop(sent.headers.insert(name.clone(), HeaderValue::from_static("changed"))),
                name.as_str(),
            );
            refused(&|sent| drop(sent.headers.remove(&name)), name.as_str());
        }
        let is_v2 = matches!(claim.scheme, Scheme::V2Header | Scheme::V2Query);
        if !is_v2 {
            refused(&|sent| sent.query.push_str("&extra=1"), "the query");
        }
        let unsigned_body = is_v2 || claim.credential.service == "s3" && claim.is_presigned();
        let chunked = sent(case).headers.contains_key("x-amz-trailer");
        let unsigned_payload =
            sent(case).headers.get("x-amz-content-sha256").is_some_and(|hash| hash == "UNSIGNED-PAYLOAD");
        if !unsigned_body && !chunked && !unsigned_payload {
            refused(&|sent| sent.body.push(b'x'), "the body");
        }
    }
}

#[test]
fn a_session_token_is_read_from_header_and_url() {
    let recorded = recorded();
    let requests = recorded["requests"].as_array().unwrap();
    for name in ["dynamodb with a session token", "s3 presigned", "s3 presigned version 2"] {
        let sent = sent(requests.iter().find(|case| case["name"] == name).unwrap());
        let Sent { method, path, query, headers, .. } = &sent;
        let claim =
            Claim::read(&RequestParts { method, path, query, authority: None, headers }).unwrap().unwrap();
        assert_eq!(claim.session_token.as_deref(), Some("FwoG/token+with=signs=="), "{name}");
    }
}

#[test]
fn a_streamed_upload_is_decoded_with_its_checksum() {
    let recorded = recorded();
    let (secret, now_s) = (text(&recorded, "secret"), recorded["now_s"].as_i64().unwrap());
    let requests = recorded["requests"].as_array().unwrap();
    let mut sent =
        sent(requests.iter().find(|case| case["name"] == "s3 put streamed with a trailer").unwrap());
    let (_, verified) = verify(&sent, &secret, now_s).unwrap();
    let BodyCheck::Chunks { trailer: true, signing: None } = verified.body else {
        panic!("{:?}", verified.body)
    };
    let mut decoder = ChunkDecoder::new(&sent.headers, true, None).unwrap();
    let mut data = Vec::new();
    decoder.push(Bytes::from(std::mem::take(&mut sent.body)), &mut data).unwrap();
    assert_eq!(data.concat(), vec![b'x'; 9000]);
    let trailers = decoder.finish().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers[0].0, "x-amz-checksum-crc32");
}

#[test]
fn post_forms_verify() {
    let recorded = recorded();
    let secret = text(&recorded, "secret");
    for (form, scheme) in recorded["forms"].as_array().unwrap().iter().zip([Scheme::V4Form, Scheme::V2Form]) {
        let fields = form.as_object().unwrap();
        let field = |name: &str| {
            let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            found.and_then(|(_, value)| value.as_str())
        };
        let claim = Claim::read_form(field).unwrap().unwrap();
        assert_eq!(claim.scheme, scheme);
        let policy = field("policy").unwrap();
        let (verifier, options) = (Verifier::new(), VerifyOptions::s3());
        assert_eq!(verifier.verify_form(&claim, policy, &secret, &options), Ok(()));
        assert!(verifier.verify_form(&claim, policy, "other", &options).is_err());
    }
}
