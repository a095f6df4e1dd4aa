//! What a client sees of answers, errors and streams of events.

mod support;

use futures::{StreamExt, executor::block_on, stream};
use serde_json::{Value, json};
use support::{World, model};
use tidemill_api::{
    Bytes, EventStream, Fault, Protocol, ReadError, Reader, Schema, Shape, WriteShape, Writer,
};
use tidemill_wire::{
    Body, Dynamic, Encoded, encode, encode_fault,
    event_stream::{self, Message},
};

fn body(encoded: &Encoded) -> String {
    String::from_utf8_lossy(encoded.bytes().expect("no stream")).into_owned()
}

fn header<'a>(encoded: &'a Encoded, name: &str) -> &'a str {
    encoded.headers.get(name).map_or("", |value| value.to_str().expect("plain headers"))
}

/// An error of a shape with a message of that name.
fn fault_of(shape: Value, code: &'static str, message: &str) -> Fault {
    let world = World::json(json!({ code: shape, "S": { "type": "string" } }));
    let traits = model::error_traits(code, &shape, false);
    Fault::of_shape(
        Box::leak(Box::new(traits)),
        message.to_string(),
        Dynamic::Structure(world.shapes.get(code), vec![]),
    )
}

#[test]
fn json_errors_name_their_type_and_keep_the_shapes_own_message() {
    let world = World::json(json!({}));
    let encode = |fault: &Fault| encode_fault(Protocol::AwsJson10, world.service, None, fault, "id");
    for (fault, expected) in [
        (
            Fault::validation("no"),
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"no"}"#,
        ),
        (
            Fault::new("SerializationException", "Expected null"),
            r#"{"__type":"com.amazon.coral.service#SerializationException","Message":"Expected null"}"#,
        ),
        (
            Fault::new("SerializationException", ""),
            r#"{"__type":"com.amazon.coral.service#SerializationException"}"#,
        ),
        (
            fault_of(
                json!({ "type": "structure", "members": { "Message": { "shape": "S" } }, "exception": true }),
                "Gone",
                "It is gone.",
            ),
            r#"{"__type":"aws.protocoltests#Gone","Message":"It is gone."}"#,
        ),
        (
            fault_of(json!({ "type": "structure", "members": {}, "exception": true }), "Gone", "It is gone."),
            r#"{"__type":"aws.protocoltests#Gone","message":"It is gone."}"#,
        ),
    ] {
        let encoded = encode(&fault);
        assert_eq!((encoded.status, body(&encoded).as_str()), (400, expected));
        assert_eq!(header(&encoded, "content-type"), "application/x-amz-json-1.0");
        assert_eq!(header(&encoded, "x-amzn-requestid"), "id");
    }
}

#[test]
fn rest_json_errors_say_whose_fault_it_is_where_the_shape_asks() {
    let world = World::new(json!({ "protocol": "rest-json" }), json!({}), json!({}));
    let shape = json!({ "type": "structure", "members": { "Type": { "shape": "S" }, "Message": { "shape": "S" } },
        "error": { "httpStatusCode": 404 }, "exception": true });
    let fault =
        fault_of(shape, "ResourceNotFoundException", "Function not found").with_header("Retry-After", "1");
    let encoded = encode_fault(Protocol::RestJson, world.service, None, &fault, "id");
    let parsed: Value = serde_json::from_str(&body(&encoded)).expect("JSON");
    assert_eq!(parsed, json!({ "Type": "User", "Message": "Function not found" }));
    assert_eq!(encoded.status, 404);
    assert_eq!(header(&encoded, "x-amzn-errortype"), "ResourceNotFoundException");
    assert_eq!(header(&encoded, "retry-after"), "1");
}

#[test]
fn query_answers_and_errors_stand_in_their_envelopes() {
    let world = World::new(
        json!({ "protocol": "query", "xmlNamespace": "http://sqs/" }),
        json!({}),
        json!({ "Out": { "type": "structure", "members": { "Attributes": { "shape": "M", "locationName": "Attribute" } } },
            "M": { "type": "map", "flattened": true, "key": { "shape": "S", "locationName": "Name" }, "value": { "shape": "S", "locationName": "Value" } },
            "S": { "type": "string" } }),
    );
    let operation = world.service.operations[0];
    let map = world.shapes.get("M");
    let text = |value: &str| Dynamic::String(world.shapes.get("S"), value.into());
    let entries = vec![("a".to_string(), text("<&>")), ("b".to_string(), text("\r\u{1}"))];
    let output = Dynamic::Structure(operation.output, vec![(0, Dynamic::Map(map, entries))]);
    let encoded = encode(Protocol::AwsQuery, world.service, operation, &output, "id");
    assert_eq!(
        body(&encoded),
        "<ActResponse xmlns=\"http://sqs/\"><ActResult><Attribute><Name>a</Name><Value>&lt;&amp;&gt;</Value></Attribute>\
         <Attribute><Name>b</Name><Value>&#xD;&#x1;</Value></Attribute></ActResult>\
         <ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></ActResponse>"
    );
    let fault = Fault::new("Throttling", "Slow down").with_status(503);
    let encoded = encode_fault(Protocol::AwsQuery, world.service, None, &fault, "id");
    assert_eq!(encoded.status, 503);
    assert_eq!(
        body(&encoded),
        "<ErrorResponse xmlns=\"http://sqs/\"><Error><Type>Receiver</Type><Code>Throttling</Code>\
         <Message>Slow down</Message></Error><RequestId>id</RequestId></ErrorResponse>"
    );
}

#[test]
fn crc32_covers_the_body() {
    let world = World::json(json!({}));
    let fault = Fault::new("SerializationException", "");
    let encoded = encode_fault(Protocol::AwsJson10, world.service, None, &fault, "id").with_crc32();
    // As DynamoDB was seen to answer.
    assert_eq!(header(&encoded, "x-amz-crc32"), "3948637019");
}

#[test]
fn a_header_cannot_be_broken_out_of() {
    let world = World::json(json!({}));
    let fault = Fault::new("X", "").with_header("x-note", "a\r\nset-cookie: b");
    let encoded = encode_fault(Protocol::AwsJson10, world.service, None, &fault, "id");
    assert_eq!(header(&encoded, "x-note"), "");
}

/// An output with a stream of events beside a member.
struct Streaming {
    schema: &'static Schema,
    stream: EventStream<Event>,
}

struct Event(Dynamic);

impl WriteShape for Event {
    fn write(&self, writer: &mut dyn Writer) {
        self.0.write(writer);
    }
}

impl Shape for Event {
    fn schema() -> &'static Schema {
        &tidemill_api::unit::SCHEMA
    }

    fn read(reader: &mut dyn Reader) -> Result<Event, ReadError> {
        Dynamic::read(Event::schema(), reader).map(Event)
    }
}

impl WriteShape for Streaming {
    fn write(&self, writer: &mut dyn Writer) {
        let [member, events] = self.schema.members else { panic!("two members") };
        writer.begin_structure(self.schema);
        writer.member(member);
        writer.string(member.schema(), "first");
        writer.member(events);
        self.stream.write(writer, events.schema());
        writer.end_structure();
    }
}

fn streaming_world(metadata: Value) -> World {
    World::new(
        metadata,
        json!({ "method": "POST", "requestUri": "/" }),
        json!({
            "Out": { "type": "structure", "members": { "Note": { "shape": "S" }, "Events": { "shape": "Events" } } },
            "Events": { "type": "structure", "eventstream": true, "members": {
                "Chunk": { "shape": "Chunk" }, "Done": { "shape": "Done" }, "Broken": { "shape": "Broken" } } },
            "Chunk": { "type": "structure", "event": true, "members": {
                "Part": { "shape": "I", "eventheader": true }, "Payload": { "shape": "B", "eventpayload": true } } },
            "Done": { "type": "structure", "event": true, "members": { "Details": { "shape": "S" } } },
            "Broken": { "type": "structure", "exception": true, "members": { "message": { "shape": "S" } } },
            "S": { "type": "string" }, "I": { "type": "integer" }, "B": { "type": "blob" },
        }),
    )
}

/// A chunk, a last word and an error of the stream.
fn frames(world: &World, protocol: Protocol) -> Vec<Message> {
    let shape = |name: &str| world.shapes.get(name);
    let event =
        |index: usize, value: Dynamic| Ok(Event(Dynamic::Structure(shape("Events"), vec![(index, value)])));
    let chunk = Dynamic::Structure(
        shape("Chunk"),
        vec![
            (0, Dynamic::Integer(shape("I"), 7)),
            (1, Dynamic::Blob(shape("B"), Bytes::from_static(b"\xff\x00"))),
        ],
    );
    let done = Dynamic::Structure(shape("Done"), vec![(0, Dynamic::String(shape("S"), "ok".into()))]);
    let events = [event(0, chunk), event(1, done.clone()), Err(Fault::new("Broken", "pipe")), event(1, done)];
    let operation = world.service.operations[0];
    let output = Streaming { schema: operation.output, stream: EventStream::new(stream::iter(events)) };
    let encoded = encode(protocol, world.service, operation, &output, "id");
    assert_eq!(header(&encoded, "content-type"), "application/vnd.amazon.eventstream");
    let Body::Events(stream) = encoded.body else { panic!("a stream") };
    let mut bytes = Bytes::from(block_on(stream.collect::<Vec<_>>()).concat());
    let mut messages = Vec::new();
    while let Some(message) = event_stream::decode(&mut bytes).expect("whole frames") {
        messages.push(message);
    }
    assert!(bytes.is_empty());
    messages
}

fn shown(message: &Message) -> (Vec<String>, String) {
    let headers = message.headers.iter().map(|(name, value)| match value {
        event_stream::Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other:?}"),
    });
    (headers.collect(), String::from_utf8_lossy(&message.payload).into_owned())
}

#[test]
fn events_travel_in_frames_and_an_error_ends_them() {
    let world = streaming_world(json!({ "protocol": "json", "jsonVersion": "1.1", "targetPrefix": "T" }));
    let messages: Vec<_> = frames(&world, Protocol::AwsJson11).iter().map(shown).collect();
    let strings = |headers: &[&str]| headers.iter().map(|header| header.to_string()).collect::<Vec<_>>();
    let json = ":content-type=application/x-amz-json-1.1";
    assert_eq!(
        messages,
        [
            (
                strings(&[":message-type=event", ":event-type=initial-response", json]),
                r#"{"Note":"first"}"#.into()
            ),
            (
                strings(&[
                    ":message-type=event",
                    ":event-type=Chunk",
                    ":content-type=application/octet-stream",
                    "Part=Integer(7)"
                ]),
                "\u{fffd}\0".into()
            ),
            (strings(&[":message-type=event", ":event-type=Done", json]), r#"{"Details":"ok"}"#.into()),
            (
                strings(&[":message-type=exception", ":exception-type=Broken", json]),
                r#"{"message":"pipe"}"#.into()
            ),
        ]
    );
}

#[test]
fn rest_streams_have_no_initial_response() {
    let world = streaming_world(json!({ "protocol": "rest-json" }));
    let messages = frames(&world, Protocol::RestJson);
    assert_eq!(messages.len(), 3);
    assert_eq!(shown(&messages[1]).1, r#"{"Details":"ok"}"#);
}

/// The bytes as botocore's `EventStreamBuffer` reads them.
#[test]
fn a_frame_has_the_bytes_clients_expect() {
    use event_stream::Value as Header;
    let message = Message {
        headers: vec![
            (":event-type".into(), Header::String("A".into())),
            ("n".into(), Header::Integer(-1)),
            ("t".into(), Header::Timestamp(tidemill_api::Timestamp::from_secs(1))),
        ],
        payload: Bytes::from_static(b"hi"),
    };
    let hex: String = event_stream::encode(&message).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "0000003400000022e4e380cb0b3a6576656e742d7479706507000141016e04ffffffff01740800000000000003e8686986b0cdf8"
    );
}

#[test]
fn damaged_frames_are_refused() {
    let message = Message {
        headers: vec![("a".into(), event_stream::Value::Boolean(true))],
        payload: Bytes::from_static(b"x"),
    };
    let whole = event_stream::encode(&message);
    assert_eq!(event_stream::decode(&mut whole.clone()), Ok(Some(message)));
    for at in 0..whole.len() {
        assert_eq!(event_stream::decode(&mut whole.slice(..at)), Ok(None), "cut at {at}");
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1;
        let read = event_stream::decode(&mut Bytes::from(damaged));
        assert!(!matches!(read, Ok(Some(_))), "damaged at {at}: {read:?}");
    }
}
