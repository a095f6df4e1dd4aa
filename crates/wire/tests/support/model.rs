//! botocore's service models as schemas put together while running. Each test uses some of it.

#![allow(dead_code)]

use std::{collections::HashMap, sync::OnceLock};

use serde_json::{Map, Value};
use tidemill_api::{
    At, ErrorTraits, Kind, Member, OperationMeta, Protocol, Schema, ServiceMeta, Target, TimeFormat,
    Validation, unit,
};

type Late = &'static OnceLock<&'static Schema>;

/// The shapes of one model, by name.
pub struct Shapes(HashMap<String, Late>);

impl Shapes {
    /// Tables live as long as the test.
    pub fn build(shapes: &Map<String, Value>) -> Shapes {
        let late = shapes.keys().map(|name| (name.clone(), leak(OnceLock::new()) as Late)).collect();
        let built = Shapes(late);
        for (name, shape) in shapes {
            let schema = leak(schema(&built, shapes, name, shape));
            built.0[name].set(schema).expect("each shape is built once");
        }
        built
    }

    pub fn get(&self, name: &str) -> &'static Schema {
        self.0[name].get().expect("all shapes are built")
    }
}

fn schema(built: &Shapes, shapes: &Map<String, Value>, name: &str, shape: &Value) -> Schema {
    let kind = kind(shape);
    let members: Vec<Member> = match kind {
        Kind::List => vec![member(built, shapes, shape, "member", &shape["member"])],
        Kind::Map => ["key", "value"].map(|part| member(built, shapes, shape, part, &shape[part])).into(),
        Kind::Structure | Kind::Union => {
            let members = shape["members"].as_object().into_iter().flatten();
            members.map(|(name, reference)| member(built, shapes, shape, name, reference)).collect()
        }
        _ => Vec::new(),
    };
    let payload =
        text(shape, "payload").and_then(|name| members.iter().position(|member| member.name == name));
    let error = (shape["exception"] == true).then(|| error_traits(name, shape, false));
    Schema {
        members: leak(members),
        flattened: shape["flattened"] == true,
        time_format: time_format(shape),
        min: shape["min"].as_f64(),
        max: shape["max"].as_f64(),
        pattern: text(shape, "pattern"),
        values: leak(
            shape["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(leak_text)
                .collect::<Vec<_>>(),
        ),
        sensitive: shape["sensitive"] == true,
        payload,
        wire: text(shape, "locationName"),
        xml_namespace: namespace(shape).map(|(_, uri)| uri),
        event_stream: shape["eventstream"] == true,
        error,
        ..Schema::plain(leak_text(name), kind)
    }
}

fn kind(shape: &Value) -> Kind {
    match shape["type"].as_str().expect("shapes have a type") {
        "structure" if shape["document"] == true => Kind::Document,
        "structure" if shape["union"] == true => Kind::Union,
        "structure" => Kind::Structure,
        "list" => Kind::List,
        "map" => Kind::Map,
        "boolean" => Kind::Boolean,
        "integer" => Kind::Integer,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "blob" => Kind::Blob,
        "timestamp" => Kind::Timestamp,
        _ => Kind::String,
    }
}

fn member(
    built: &Shapes,
    shapes: &Map<String, Value>,
    parent: &Value,
    name: &str,
    reference: &Value,
) -> Member {
    let shape = reference["shape"].as_str().expect("members have a shape");
    let name = leak_text(name);
    Member {
        name,
        wire: text(reference, "locationName").unwrap_or(name),
        named: reference["locationName"].is_string(),
        at: match reference["location"].as_str() {
            Some("uri") => At::Uri,
            Some("querystring") => At::Query,
            Some("header") => At::Header,
            Some("headers") => At::Headers,
            Some("statusCode") => At::StatusCode,
            _ => At::Body,
        },
        required: parent["required"].as_array().is_some_and(|required| required.iter().any(|r| r == name)),
        flattened: reference["flattened"] == true || shapes[shape]["flattened"] == true,
        xml_attribute: reference["xmlAttribute"] == true,
        xml_namespace: namespace(reference),
        time_format: time_format(reference),
        idempotency_token: reference["idempotencyToken"] == true,
        streaming: reference["streaming"] == true,
        event_payload: reference["eventpayload"] == true,
        event_header: reference["eventheader"] == true,
        json_value: reference["jsonvalue"] == true,
        target: Target::Late(built.0[shape]),
    }
}

fn namespace(value: &Value) -> Option<(&'static str, &'static str)> {
    let namespace = &value["xmlNamespace"];
    let uri = namespace.as_str().or_else(|| namespace["uri"].as_str())?;
    Some((leak_text(namespace["prefix"].as_str().unwrap_or_default()), leak_text(uri)))
}

fn time_format(value: &Value) -> Option<TimeFormat> {
    match value["timestampFormat"].as_str()? {
        "iso8601" => Some(TimeFormat::Iso8601),
        "rfc822" => Some(TimeFormat::Rfc822),
        "unixTimestamp" => Some(TimeFormat::UnixTimestamp),
        other => panic!("unknown format {other}"),
    }
}

/// Where a JSON service kept its query codes, the shape's name is its code and the model's code the older one.
pub fn error_traits(name: &str, shape: &Value, query_compatible: bool) -> ErrorTraits {
    let code = shape["error"]["code"].as_str();
    let usual = if shape["fault"] == true { 500 } else { 400 };
    let status = shape["error"]["httpStatusCode"].as_u64().unwrap_or(usual) as u16;
    ErrorTraits {
        code: leak_text(code.filter(|_| !query_compatible).unwrap_or(name)),
        query_code: code.filter(|_| query_compatible).map(leak_text),
        status,
        sender: status < 500,
    }
}

/// A service of one operation: the one a case is about.
pub fn service(suite: &Value, case: &Value, shapes: &Shapes) -> &'static ServiceMeta {
    let (metadata, given) = (&suite["metadata"], &case["given"]);
    let protocol = match (metadata["protocol"].as_str(), metadata["jsonVersion"].as_str()) {
        (Some("json"), Some("1.0")) => Protocol::AwsJson10,
        (Some("json"), _) => Protocol::AwsJson11,
        (Some("query"), _) => Protocol::AwsQuery,
        (Some("rest-json"), _) => Protocol::RestJson,
        (Some("rest-xml"), _) => Protocol::RestXml,
        (Some("smithy-rpc-v2-cbor"), _) => Protocol::RpcV2Cbor,
        other => panic!("unknown protocol {other:?}"),
    };
    let side = |side: &str| given[side]["shape"].as_str().map_or(&unit::SCHEMA, |name| shapes.get(name));
    let operation: &'static OperationMeta = leak(OperationMeta {
        name: text(given, "name").unwrap_or("OperationName"),
        method: text(&given["http"], "method").unwrap_or("POST"),
        uri: text(&given["http"], "requestUri").unwrap_or("/"),
        status: given["http"]["responseCode"].as_u64().unwrap_or(200) as u16,
        input: side("input"),
        output: side("output"),
        result_wrapper: None,
        auth: None,
        errors: &[],
    });
    leak(ServiceMeta {
        name: "test",
        id: "Test",
        signing_name: "test",
        endpoint_prefix: "test",
        api_version: text(metadata, "apiVersion").unwrap_or_default(),
        target_prefix: text(metadata, "targetPrefix"),
        protocols: leak(vec![protocol]),
        xml_namespace: namespace(metadata).map(|(_, uri)| uri),
        error_prefix: "aws.protocoltests#",
        query_compatible: metadata["awsQueryCompatible"].is_object(),
        validation: Validation::Coral,
        operations: leak(vec![operation]),
        absent: &[],
    })
}

fn text(value: &Value, name: &str) -> Option<&'static str> {
    value[name].as_str().map(leak_text)
}

fn leak_text(text: &str) -> &'static str {
    Box::leak(text.to_string().into_boxed_str())
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}
