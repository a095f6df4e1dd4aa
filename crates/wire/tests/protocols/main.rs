//! Every codec against AWS's own protocol tests, as botocore carries them in its source distribution (fetched by pip
//! into `target/`, the version in `contracts/BOTOCORE`).
//!
//! Input cases are turned round: the serialized request goes through router and reader and must give the parameters.
//! Output and error cases: our bytes go through botocore's own parser and must give the result.

mod exempt;
#[path = "../support/model.rs"]
mod model;
mod values;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Shapes;
use serde_json::{Value, json};
use tidemill_api::{Bytes, Fault, ServiceMeta};
use tidemill_wire::{
    Dynamic, Encoded, Incoming, Router, decode, encode, encode_fault, route::Asked, value::to_value,
};

const FILES: &[&str] = &[
    "json",
    "json_1_0",
    "json_1_0-query-compatible",
    "query",
    "rest-json",
    "rest-xml",
    "smithy-rpc-v2-cbor",
    "smithy-rpc-v2-cbor-non-query-compatible",
    "smithy-rpc-v2-cbor-query-compatible",
];

#[test]
fn requests_are_read_as_aws_clients_write_them() {
    let Some(folder) = fetch() else { return };
    let mut tally = Tally::default();
    for file in FILES {
        for (suite, case) in cases(&folder, "input", file) {
            tally.add(file, "input", name(&case), input(&suite, &case));
        }
    }
    tally.finish();
}

#[test]
fn answers_are_understood_by_aws_clients() {
    let Some(folder) = fetch() else { return };
    let mut answers = Vec::new();
    for file in FILES {
        for (number, (suite, case)) in cases(&folder, "output", file).into_iter().enumerate() {
            let encoded = output(&suite, &case);
            answers.push(json!({ "file": file, "number": number, "status": encoded.status, "headers": headers(&encoded),
                "body": STANDARD.encode(encoded.bytes().expect("no case streams")) }));
        }
    }
    let mut tally = Tally::default();
    for verdict in ask_botocore(&folder, &answers) {
        let text = |name: &str| verdict[name].as_str().unwrap_or_default().to_string();
        let outcome = verdict["problem"].as_str().map_or(Ok(()), |problem| Err(problem.to_string()));
        tally.add(&text("file"), "output", &text("id"), outcome);
    }
    tally.finish();
}

fn name(case: &Value) -> &str {
    case["id"].as_str().expect("cases have an id")
}

/// Reads the request of a case and compares what came out with its parameters.
fn input(suite: &Value, case: &Value) -> Result<(), String> {
    let shapes = Shapes::build(suite["shapes"].as_object().expect("suites have shapes"));
    let service = model::service(suite, case, &shapes);
    let request = Request::of(service, &case["serialized"])?;
    let router = Router::new(service);
    let route = router.route(request.asked()).map_err(|unrouted| format!("{unrouted:?}"))?;
    let incoming = Incoming {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        headers: &request.headers,
        body: request.body.clone(),
        labels: route.labels,
    };
    let schema = route.operation.input;
    let read =
        decode(route.protocol, service, route.operation, &incoming, |reader| Dynamic::read(schema, reader));
    let read = to_value(&read.map_err(|fault| fault.to_string())?);
    let expected = to_value(&values::lower_prefix_keys(values::tree(schema, &case["params"])));
    if read == expected { Ok(()) } else { Err(format!("read {read}, expected {expected}")) }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn of(service: &ServiceMeta, serialized: &Value) -> Result<Request, String> {
        let text = |name: &str| serialized[name].as_str().unwrap_or_default().to_string();
        let uri = text("uri");
        let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
        let cbor = service.protocols == [tidemill_api::Protocol::RpcV2Cbor];
        let body = match cbor {
            true => STANDARD.decode(text("body")).map_err(|error| error.to_string())?,
            false => text("body").into_bytes(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in serialized["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
            headers.insert(name, value.map_err(|error| error.to_string())?);
        }
        Ok(Request {
            method: text("method"),
            path: path.into(),
            query: query.into(),
            headers,
            body: body.into(),
        })
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// Our answer for a case's result or error.
fn output(suite: &Value, case: &Value) -> Encoded {
    let shapes = Shapes::build(suite["shapes"].as_object().expect("suites have shapes"));
    let service = model::service(suite, case, &shapes);
    let (protocol, operation) = (service.protocols[0], service.operations[0]);
    let Some(shape_name) = case["given"]["errors"][0]["shape"].as_str().filter(|_| case["error"].is_object())
    else {
        let result = values::tree(operation.output, &case["result"]);
        return encode(protocol, service, operation, &result, "id-of-request");
    };
    let traits = model::error_traits(shape_name, &suite["shapes"][shape_name], service.query_compatible);
    let detail = values::tree(shapes.get(shape_name), &case["error"]);
    let message = case["errorMessage"].as_str().unwrap_or_default().to_string();
    let fault = Fault::of_shape(Box::leak(Box::new(traits)), message, detail);
    encode_fault(protocol, service, Some(operation), &fault, "id-of-request")
}

fn headers(encoded: &Encoded) -> BTreeMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    encoded.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// What became of the cases, by protocol.
#[derive(Default)]
struct Tally {
    passed: BTreeMap<String, usize>,
    exempt: usize,
    problems: Vec<String>,
}

impl Tally {
    fn add(&mut self, file: &str, side: &str, id: &str, outcome: Result<(), String>) {
        let reason = exempt::reason(file, side, id);
        match (outcome, reason) {
            (Ok(()), None) => *self.passed.entry(format!("{file} {side}")).or_default() += 1,
            (Err(_), Some(_)) => self.exempt += 1,
            (Ok(()), Some(_)) => {
                self.problems.push(format!("{file} {side} {id}: passes, so it is exempt no longer"))
            }
            (Err(problem), None) => self.problems.push(format!("{file} {side} {id}: {problem}")),
        }
    }

    fn finish(self) {
        for (protocol, count) in &self.passed {
            println!("{count:4} {protocol}");
        }
        println!("{:4} passed, {} do not apply", self.passed.values().sum::<usize>(), self.exempt);
        assert!(self.problems.is_empty(), "{} cases:\n{}", self.problems.len(), self.problems.join("\n"));
    }
}

/// The cases of a file, each with its suite.
fn cases(folder: &Path, side: &str, file: &str) -> Vec<(Value, Value)> {
    let path = folder.join("tests/unit/protocols").join(side).join(format!("{file}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let suites: Vec<Value> = serde_json::from_str(&text).expect("protocol tests are JSON");
    let mut cases = Vec::new();
    for suite in suites {
        for case in suite["cases"].as_array().cloned().unwrap_or_default() {
            cases.push((suite.clone(), case));
        }
    }
    cases
}

/// The folder of botocore's sources; `None`, said loudly, where pip cannot get them. Under CI that is a failure.
fn fetch() -> Option<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_folder.join("../..");
    let pin =
        fs::read_to_string(root.join("contracts/BOTOCORE")).expect("contracts/BOTOCORE names a version");
    let status = Command::new("python3")
        .arg(crate_folder.join("tests/protocols/fetch.py"))
        .args([pin.trim(), &root.join("target/botocore").to_string_lossy()])
        .status();
    if status.is_ok_and(|status| status.success()) {
        return Some(root.join("target/botocore").join(format!("botocore-{}", pin.trim())));
    }
    assert!(std::env::var_os("CI").is_none(), "botocore's sources could not be fetched");
    eprintln!("!!! SKIPPED: pip could not fetch botocore's sources, so no protocol was tested");
    None
}

/// Has botocore's parsers read our answers; one verdict a case.
fn ask_botocore(folder: &Path, answers: &[Value]) -> Vec<Value> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join(format!("answers-{}.json", std::process::id()));
    fs::write(&file, json!(answers).to_string()).expect("target can be written");
    let output = Command::new("python3")
        .arg(crate_folder.join("tests/protocols/parse.py"))
        .args([folder, file.as_path()])
        .output()
        .expect("python3 runs");
    fs::remove_file(&file).expect("the file was just written");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}
