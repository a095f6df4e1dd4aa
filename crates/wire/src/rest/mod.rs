//! REST-JSON and REST-XML: members stand in the path, the query, headers, the status and the body.
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

mod bindings;
mod read;
mod write;

use tidemill_api::{OperationMeta, ReadError, ServiceMeta, TimeFormat, WriteShape};

use crate::{
    Dynamic, Encoded, Incoming,
    document::Format,
    fault,
    json::{JsonReader, Naming},
    xml::{Root, Tree, XmlReader},
};
use read::RestReader;

pub(crate) fn json_reader<'a>(
    operation: &OperationMeta,
    incoming: &'a Incoming<'a>,
) -> Result<RestReader<'a, JsonReader<'a>>, ReadError> {
    RestReader::new(operation.input, incoming, |body| JsonReader::new(body, Naming::Wire))
}

pub(crate) fn xml_reader<'a>(
    operation: &OperationMeta,
    incoming: &'a Incoming<'a>,
) -> Result<RestReader<'a, XmlReader>, ReadError> {
    RestReader::new(operation.input, incoming, |body| {
        let text = std::str::from_utf8(body).map_err(|_| ReadError::new("The body is not UTF-8"))?;
        Tree::parse(text).map(XmlReader::new)
    })
}

pub(crate) fn encode_json(operation: &OperationMeta, output: &dyn WriteShape, request_id: &str) -> Encoded {
    let format = Format::Json("application/json", Naming::Wire);
    let mut encoded = write::encode(format, Root::default(), operation, output);
    encoded.header("x-amzn-RequestId", request_id);
    encoded
}

pub(crate) fn encode_xml(
    service: &ServiceMeta,
    operation: &OperationMeta,
    output: &dyn WriteShape,
    request_id: &str,
) -> Encoded {
    let mut encoded = write::encode(Format::Xml, xml_root(service, operation), operation, output);
    encoded.header("x-amz-request-id", request_id);
    encoded
}

/// The root element is named by the payload member, else by the shape it holds.
fn xml_root(service: &ServiceMeta, operation: &OperationMeta) -> Root {
    let output = operation.output;
    let payload = output.payload.and_then(|index| output.members.get(index));
    let shape = payload.map_or(output, |member| member.schema());
    let own = payload.filter(|member| member.named).map(|member| member.wire);
    let namespace = payload.and_then(|member| member.xml_namespace);
    let default = shape.xml_namespace.or(service.xml_namespace).map(|uri| ("", uri));
    Root { name: own.or(shape.wire).unwrap_or(shape.name).into(), namespace: namespace.or(default) }
}

/// A value of an error shape as a header prints it; `None` for what no header can hold.
pub(crate) fn header_text(value: &Dynamic, format: TimeFormat) -> Option<String> {
    match value {
        Dynamic::List(_, elements) => {
            let texts = elements.iter().filter_map(fault::scalar);
            Some(bindings::joined(texts.map(|scalar| scalar.to_text(format))))
        }
        value => Some(fault::scalar(value)?.to_text(format)),
    }
}
