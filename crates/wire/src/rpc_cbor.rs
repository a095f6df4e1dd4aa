//! Smithy RPC v2 over CBOR: the operation in the path, one CBOR map in and one out.
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use tidemill_api::{OperationMeta, WriteShape};

use crate::{
    Body, Encoded,
    cbor::{CborReader, CborWriter},
    event_stream::{self, Format},
};

pub(crate) fn reader(body: &[u8]) -> CborReader<'_> {
    CborReader::new(body)
}

/// An operation without an output answers no body and no content type.
pub(crate) fn encode(operation: &OperationMeta, output: &dyn WriteShape, request_id: &str) -> Encoded {
    let mut writer = CborWriter::new();
    output.write(&mut writer);
    let (body, events) = writer.into_parts();
    let mut encoded = match events {
        None if std::ptr::eq(operation.output, &tidemill_api::unit::SCHEMA) => Encoded::new(200, "", ""),
        None => Encoded::new(200, "application/cbor", body),
        Some((schema, stream)) => {
            let first = event_stream::initial_response(Format::Cbor, body.into());
            let mut encoded = Encoded::new(200, event_stream::CONTENT_TYPE, "");
            encoded.body = Body::Events(event_stream::frames(Format::Cbor, schema, Some(first), stream));
            encoded
        }
    };
    encoded.header("smithy-protocol", "rpc-v2-cbor");
    encoded.header("x-amzn-RequestId", request_id);
    encoded
}
