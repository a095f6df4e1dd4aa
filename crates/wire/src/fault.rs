//! Errors on the wire. Each protocol has its envelope; the members of an error shape are written like any structure's.

use tidemill_api::{
    At, Fault, Kind, Protocol, Schema, Sender, ServiceMeta, TimeFormat, WriteShape, Writer, unit,
};

use crate::{
    Dynamic, Encoded, Naming, aws_json,
    cbor::CborWriter,
    json::JsonWriter,
    rest,
    scalar::Scalar,
    xml::{Root, XmlWriter},
};

pub(crate) fn encode(protocol: Protocol, service: &ServiceMeta, fault: &Fault, request_id: &str) -> Encoded {
    let mut encoded = match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => aws_json(protocol, service, fault),
        Protocol::RestJson => rest_json(fault),
        Protocol::RpcV2Cbor => rpc_cbor(service, fault),
        Protocol::AwsQuery | Protocol::RestXml => xml(protocol, service, fault, request_id),
    };
    let id_header = if protocol == Protocol::RestXml { "x-amz-request-id" } else { "x-amzn-RequestId" };
    encoded.header(id_header, request_id);
    if service.query_compatible && protocol != Protocol::AwsQuery {
        let code = fault.query_code().unwrap_or(fault.code());
        encoded.header("x-amzn-query-error", &format!("{code};{}", blame(fault)));
    }
    for (name, value) in fault.headers() {
        encoded.header(name, value);
    }
    encoded
}

fn aws_json(protocol: Protocol, service: &ServiceMeta, fault: &Fault) -> Encoded {
    let mut writer = JsonWriter::new(Naming::Model);
    push_json(&mut writer, Some(&qualified_code(service, fault)), fault);
    Encoded::new(fault.status(), aws_json::content_type(protocol), writer.into_bytes())
}

/// Members bound to headers go there; `X-Amzn-Errortype` carries the code.
fn rest_json(fault: &Fault) -> Encoded {
    let mut writer = JsonWriter::new(Naming::Wire);
    push_json(&mut writer, None, fault);
    let mut encoded = Encoded::new(fault.status(), "application/json", writer.into_bytes());
    encoded.header("x-amzn-ErrorType", fault.code());
    push_headers(&mut encoded, fault);
    encoded
}

fn push_json(writer: &mut JsonWriter, code: Option<&str>, fault: &Fault) {
    let detail = detail(fault);
    writer.begin_structure(detail.schema());
    if let Some(code) = code {
        writer.extra("__type", code);
    }
    if let Dynamic::Structure(schema, members) = &detail {
        for (index, value) in members {
            if let Some(member) = schema.members.get(*index).filter(|m| m.at == At::Body) {
                writer.member(member);
                value.write(writer);
            }
        }
    }
    if !fault.message().is_empty() && message_index(detail.schema()).is_none() {
        writer.extra(message_name(fault), fault.message());
    }
    writer.end_structure();
}

fn rpc_cbor(service: &ServiceMeta, fault: &Fault) -> Encoded {
    let detail = detail(fault);
    let mut writer = CborWriter::new();
    writer.begin_structure(detail.schema());
    writer.extra("__type", &qualified_code(service, fault));
    write_members(&detail, &mut writer);
    if !fault.message().is_empty() && message_index(detail.schema()).is_none() {
        writer.extra("message", fault.message());
    }
    writer.end_structure();
    let mut encoded = Encoded::new(fault.status(), "application/cbor", writer.into_parts().0);
    encoded.header("smithy-protocol", "rpc-v2-cbor");
    encoded
}

/// `<ErrorResponse>` of the query protocol and of REST-XML.
fn xml(protocol: Protocol, service: &ServiceMeta, fault: &Fault, request_id: &str) -> Encoded {
    let query = protocol == Protocol::AwsQuery;
    let code = fault.query_code().filter(|_| query).unwrap_or(fault.code());
    let mut writer = XmlWriter::new(Root::default());
    writer.open("ErrorResponse", service.xml_namespace);
    writer.open("Error", None);
    writer.leaf("Type", blame(fault));
    writer.leaf("Code", code);
    if !fault.message().is_empty() {
        writer.leaf("Message", fault.message());
    }
    if let Some(Dynamic::Structure(schema, mut members)) = fault.detail().and_then(Dynamic::of) {
        members.retain(|(index, _)| {
            schema.members.get(*index).is_some_and(|member| {
                member.at == At::Body
                    && !["message", "code", "type"].iter().any(|name| name.eq_ignore_ascii_case(member.wire))
            })
        });
        write_members(&Dynamic::Structure(schema, members), &mut writer);
    }
    writer.close("Error");
    writer.leaf("RequestId", request_id);
    writer.close("ErrorResponse");
    let content_type = if query { "text/xml" } else { "application/xml" };
    let mut encoded = Encoded::new(fault.status(), content_type, writer.into_bytes());
    push_headers(&mut encoded, fault);
    encoded
}

/// The members of an error as its shape has them, with the sentence filled in; for errors inside streams of events.
pub(crate) fn members(fault: &Fault, schema: &'static Schema) -> Dynamic {
    match fault.detail() {
        Some(_) => detail(fault),
        None => {
            let message = message_index(schema)
                .map(|index| (index, Dynamic::String(message_schema(schema, index), fault.message().into())));
            Dynamic::Structure(schema, message.into_iter().collect())
        }
    }
}

/// The error's members with what its maker left open: the sentence, and Lambda's `Type` that says whose fault it is.
fn detail(fault: &Fault) -> Dynamic {
    let Some(Dynamic::Structure(schema, mut members)) = fault.detail().and_then(Dynamic::of) else {
        return Dynamic::Structure(&unit::SCHEMA, Vec::new());
    };
    let mut fill = |index: Option<usize>, value: &str| {
        let Some(index) = index else { return };
        let kind = schema.members.get(index).map(|member| member.schema().kind);
        let free = !members.iter().any(|(known, _)| *known == index);
        if free && !value.is_empty() && kind == Some(Kind::String) {
            members.push((index, Dynamic::String(message_schema(schema, index), value.into())));
        }
    };
    fill(message_index(schema), fault.message());
    let user = if fault.sender() == Sender::Sender { "User" } else { "Service" };
    fill(schema.members.iter().position(|member| member.name == "Type"), user);
    Dynamic::Structure(schema, members)
}

fn message_index(schema: &Schema) -> Option<usize> {
    schema.members.iter().position(|member| member.name.eq_ignore_ascii_case("message"))
}

fn message_schema(schema: &'static Schema, index: usize) -> &'static Schema {
    schema.members.get(index).map_or(&unit::SCHEMA, |member| member.schema())
}

fn write_members(detail: &Dynamic, writer: &mut dyn Writer) {
    let Dynamic::Structure(schema, members) = detail else { return };
    for (index, value) in members {
        if let Some(member) = schema.members.get(*index) {
            writer.member(member);
            value.write(writer);
        }
    }
}

fn push_headers(encoded: &mut Encoded, fault: &Fault) {
    let Some(Dynamic::Structure(schema, members)) = fault.detail().and_then(Dynamic::of) else { return };
    for (index, value) in &members {
        let Some(member) = schema.members.get(*index).filter(|m| m.at == At::Header) else {
            continue;
        };
        if let Some(text) = rest::header_text(value, member.time_format().unwrap_or(TimeFormat::Rfc822)) {
            encoded.header(member.wire, &text);
        }
    }
}

fn blame(fault: &Fault) -> &'static str {
    match fault.sender() {
        Sender::Sender => "Sender",
        Sender::Receiver => "Receiver",
    }
}

/// Errors of AWS's service framework rather than of the service; DynamoDB was seen to print their own namespace.
const FRAMEWORK: &[&str] = &[
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "UnknownOperationException",
    "UnrecognizedClientException",
];

/// `__type`: the service's namespace and the code; the bare code where the service prints no namespace.
fn qualified_code(service: &ServiceMeta, fault: &Fault) -> String {
    let code = fault.code();
    let prefix = match code {
        _ if service.error_prefix.is_empty() || fault.detail().is_some() => service.error_prefix,
        "ValidationException" => "com.amazon.coral.validate#",
        _ if FRAMEWORK.contains(&code) => "com.amazon.coral.service#",
        _ => service.error_prefix,
    };
    format!("{prefix}{code}")
}

/// The framework's serialization and access errors were seen with a capital M, everything else without.
fn message_name(fault: &Fault) -> &'static str {
    match fault.code() {
        "SerializationException" | "AccessDeniedException" => "Message",
        _ => "message",
    }
}

/// A scalar of a tree, where a header or the like takes it as text.
pub(crate) fn scalar(value: &Dynamic) -> Option<Scalar<'_>> {
    Some(match value {
        Dynamic::String(_, value) => Scalar::String(value),
        Dynamic::Boolean(_, value) => Scalar::Boolean(*value),
        Dynamic::Integer(_, value) => Scalar::Integer(*value),
        Dynamic::Long(_, value) => Scalar::Long(*value),
        Dynamic::Float(_, value) => Scalar::Float(*value),
        Dynamic::Double(_, value) => Scalar::Double(*value),
        Dynamic::Blob(_, value) => Scalar::Blob(value),
        Dynamic::Timestamp(_, value) => Scalar::Timestamp(*value),
        Dynamic::Document(_, value) => Scalar::Document(value),
        _ => return None,
    })
}
