//! awsJson 1.0 and 1.1: the operation in `X-Amz-Target`, one JSON object in and one out.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>

use tidemill_api::{Protocol, ReadError, WriteShape};

use crate::{
    Body, Encoded,
    event_stream::{self, Format},
    json::{JsonReader, JsonWriter, Naming},
};

pub(crate) fn reader(body: &[u8]) -> Result<JsonReader<'_>, ReadError> {
    JsonReader::new(body, Naming::Model)
}

pub(crate) fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::AwsJson10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}

pub(crate) fn encode(protocol: Protocol, output: &dyn WriteShape, request_id: &str) -> Encoded {
    let mut writer = JsonWriter::new(Naming::Model);
    output.write(&mut writer);
    let (body, events) = writer.into_parts();
    let mut encoded = match events {
        None => Encoded::new(200, content_type(protocol), body),
        // Members beside the stream travel ahead of it as an event of their own.
        Some((schema, stream)) => {
            let format = Format::Json(content_type(protocol), Naming::Model);
            let first = event_stream::initial_response(format, body.into());
            let mut encoded = Encoded::new(200, event_stream::CONTENT_TYPE, "");
            encoded.body = Body::Events(event_stream::frames(format, schema, Some(first), stream));
            encoded
        }
    };
    encoded.header("x-amzn-RequestId", request_id);
    encoded
}
