//! How long a small request and its answer take in each protocol: `cargo run --release -p tidemill-wire --example speed`.
//! The shapes are read and written as generated code does it, into structs.

#[path = "../tests/support/model.rs"]
mod model;

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use http::HeaderMap;
use model::Shapes;
use serde_json::{Value, json};
use tidemill_api::{ReadError, Reader, Schema, ServiceMeta, WriteShape, Writer};
use tidemill_wire::{Incoming, decode, encode};

const ROUNDS: u32 = 200_000;

#[derive(Default)]
struct SendMessage {
    queue_url: String,
    body: String,
    delay: Option<i32>,
    group: Option<String>,
}

impl SendMessage {
    fn read(schema: &'static Schema, r: &mut dyn Reader) -> Result<SendMessage, ReadError> {
        let mut v = SendMessage::default();
        r.begin_structure(schema)?;
        while let Some(at) = r.next_member()? {
            let of = schema.members[at].schema();
            match at {
                0 => v.queue_url = r.string(of)?,
                1 => v.body = r.string(of)?,
                2 => v.delay = Some(r.integer(of)?),
                _ => v.group = Some(r.string(of)?),
            }
        }
        Ok(v)
    }
}

struct GetItem {
    table: String,
    key: BTreeMap<String, Attribute>,
}

enum Attribute {
    S(String),
    N(String),
    Unset,
}

impl GetItem {
    fn read(schema: &'static Schema, r: &mut dyn Reader) -> Result<GetItem, ReadError> {
        let mut v = GetItem { table: String::new(), key: BTreeMap::new() };
        r.begin_structure(schema)?;
        while let Some(at) = r.next_member()? {
            let of = schema.members[at].schema();
            match at {
                0 => v.table = r.string(of)?,
                _ => v.key = attributes(of, r)?,
            }
        }
        Ok(v)
    }
}

fn attributes(schema: &'static Schema, r: &mut dyn Reader) -> Result<BTreeMap<String, Attribute>, ReadError> {
    let mut map = BTreeMap::new();
    r.begin_map(schema)?;
    let of = schema.members[1].schema();
    while let Some(key) = r.next_key()? {
        let mut value = Attribute::Unset;
        r.begin_structure(of)?;
        while let Some(at) = r.next_member()? {
            let text = r.string(of.members[at].schema())?;
            value = if at == 0 { Attribute::S(text) } else { Attribute::N(text) };
        }
        map.insert(key, value);
    }
    Ok(map)
}

struct Sent(&'static Schema);

impl WriteShape for Sent {
    fn write(&self, w: &mut dyn Writer) {
        w.begin_structure(self.0);
        for (member, text) in self
            .0
            .members
            .iter()
            .zip(["fafb00f5732ab283681e124bf8747ed1", "5fea7756-0ea4-451a-a703-a558b933e274"])
        {
            w.member(member);
            w.string(member.schema(), text);
        }
        w.end_structure();
    }
}

struct Item(&'static Schema, BTreeMap<String, Attribute>);

impl WriteShape for Item {
    fn write(&self, w: &mut dyn Writer) {
        w.begin_structure(self.0);
        let member = &self.0.members[0];
        w.member(member);
        w.begin_map(member.schema(), self.1.len());
        let of = member.schema().members[1].schema();
        for (key, value) in &self.1 {
            w.key(key);
            w.begin_structure(of);
            let (at, text) = match value {
                Attribute::S(text) => (0, text.as_str()),
                Attribute::N(text) => (1, text.as_str()),
                Attribute::Unset => (0, ""),
            };
            w.member(&of.members[at]);
            w.string(of.members[at].schema(), text);
            w.end_structure();
        }
        w.end_map();
        w.end_structure();
    }
}

fn main() {
    for (protocol, version) in [("json", "1.0"), ("query", "1.0"), ("smithy-rpc-v2-cbor", "1.0")] {
        let metadata = json!({ "protocol": protocol, "jsonVersion": version, "targetPrefix": "T" });
        send_message(protocol, &metadata);
        if protocol == "json" {
            get_item(&metadata);
        }
    }
}

fn world(metadata: &Value, shapes: Value) -> &'static ServiceMeta {
    let shapes = shapes.as_object().cloned().unwrap_or_default();
    let built = Shapes::build(&shapes);
    let case =
        json!({ "given": { "name": "Act", "input": { "shape": "In" }, "output": { "shape": "Out" } } });
    model::service(&json!({ "metadata": metadata }), &case, &built)
}

fn send_message(protocol: &str, metadata: &Value) {
    let service = world(
        metadata,
        json!({
            "In": { "type": "structure", "required": ["QueueUrl", "MessageBody"], "members": { "QueueUrl": { "shape": "S" },
                "MessageBody": { "shape": "S" }, "DelaySeconds": { "shape": "I" }, "MessageGroupId": { "shape": "Id" } } },
            "Out": { "type": "structure", "members": { "MD5OfMessageBody": { "shape": "S" }, "MessageId": { "shape": "S" } } },
            "S": { "type": "string" }, "I": { "type": "integer" }, "Id": { "type": "string", "min": 1, "max": 128, "pattern": "[\\w-]+" } }),
    );
    let body: Vec<u8> = match protocol {
        "json" => br#"{"QueueUrl":"http://127.0.0.1:4566/000000000000/orders","MessageBody":"{\"order\":42,\"customer\":\"c-17\",\"total\":99.5}","DelaySeconds":0,"MessageGroupId":"c-17"}"#.to_vec(),
        "query" => b"Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2F127.0.0.1%3A4566%2F000000000000%2Forders&MessageBody=%7B%22order%22%3A42%2C%22customer%22%3A%22c-17%22%2C%22total%22%3A99.5%7D&DelaySeconds=0&MessageGroupId=c-17".to_vec(),
        _ => {
            let mut cbor = vec![0xa4];
            for (name, text) in [("QueueUrl", "http://127.0.0.1:4566/000000000000/orders"), ("MessageBody", "{\"order\":42}"), ("MessageGroupId", "c-17")] {
                cbor.extend([0x78, name.len() as u8]);
                cbor.extend(name.as_bytes());
                cbor.extend([0x78, text.len() as u8]);
                cbor.extend(text.as_bytes());
            }
            cbor.extend([0x6c]);
            cbor.extend(b"DelaySeconds\x00");
            cbor
        }
    };
    measure(&format!("SendMessage {protocol}, {} B", body.len()), service, &body, SendMessage::read);
    let output = Sent(service.operations[0].output);
    measure_answer(&format!("SendMessage answer {protocol}"), service, &output);
}

fn get_item(metadata: &Value) {
    let service = world(
        metadata,
        json!({
            "In": { "type": "structure", "required": ["TableName", "Key"], "members": { "TableName": { "shape": "T" }, "Key": { "shape": "M" } } },
            "Out": { "type": "structure", "members": { "Item": { "shape": "M" } } },
            "T": { "type": "string", "min": 3, "max": 255, "pattern": "[a-zA-Z0-9_.-]+" }, "S": { "type": "string" },
            "M": { "type": "map", "key": { "shape": "S" }, "value": { "shape": "A" } },
            "A": { "type": "structure", "members": { "S": { "shape": "S" }, "N": { "shape": "S" } } } }),
    );
    let body = br#"{"TableName":"orders","Key":{"customer":{"S":"c-17"},"order":{"N":"42"}}}"#;
    measure(&format!("GetItem json, {} B", body.len()), service, body, GetItem::read);
    let item = [("customer", "c-17"), ("order", "42"), ("state", "shipped"), ("address", "Harbour Street 7")];
    let item = item.map(|(key, value)| (key.to_string(), Attribute::S(value.to_string())));
    measure_answer(
        "GetItem answer json, 4 attributes",
        service,
        &Item(service.operations[0].output, item.into()),
    );
}

fn measure<T>(
    what: &str,
    service: &'static ServiceMeta,
    body: &[u8],
    read: fn(&'static Schema, &mut dyn Reader) -> Result<T, ReadError>,
) {
    let headers = HeaderMap::new();
    let body = tidemill_api::Bytes::copy_from_slice(body);
    let operation = service.operations[0];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let incoming = Incoming {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: body.clone(),
            labels: vec![],
        };
        let input = decode(service.protocols[0], service, operation, &incoming, |r| read(operation.input, r));
        assert!(black_box(input).is_ok());
    }
    println!("{what:45} {:6} ns", start.elapsed().as_nanos() / u128::from(ROUNDS));
}

fn measure_answer(what: &str, service: &'static ServiceMeta, output: &dyn WriteShape) {
    let operation = service.operations[0];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let id = "5fea7756-0ea4-451a-a703-a558b933e274";
        black_box(encode(service.protocols[0], service, operation, output, id));
    }
    println!("{what:45} {:6} ns", start.elapsed().as_nanos() / u128::from(ROUNDS));
}
