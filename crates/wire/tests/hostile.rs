//! No bytes crash a codec: random ones, and good messages with some of their bytes changed.

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Request, World};

fn world(metadata: Value) -> World {
    World::new(
        metadata,
        json!({ "method": "POST", "requestUri": "/act/{Text}" }),
        json!({
            "In": { "type": "structure", "members": {
                "Text": { "shape": "S" }, "Whole": { "shape": "I" }, "Long": { "shape": "L" }, "Double": { "shape": "D" },
                "Flag": { "shape": "F" }, "Blob": { "shape": "B" }, "When": { "shape": "T" }, "Any": { "shape": "Any" },
                "List": { "shape": "List" }, "Flat": { "shape": "Flat" }, "Map": { "shape": "Map" }, "Inner": { "shape": "In" },
                "Query": { "shape": "Map", "location": "querystring" }, "Header": { "shape": "List", "location": "header", "locationName": "x-list" } } },
            "S": { "type": "string", "pattern": "[a-z]*", "max": 5 }, "I": { "type": "integer", "max": 5 }, "L": { "type": "long" },
            "D": { "type": "double" }, "F": { "type": "boolean" }, "B": { "type": "blob", "min": 1 }, "T": { "type": "timestamp" },
            "Any": { "type": "structure", "members": {}, "document": true },
            "List": { "type": "list", "member": { "shape": "S" }, "max": 2 },
            "Flat": { "type": "list", "member": { "shape": "In" }, "flattened": true },
            "Map": { "type": "map", "key": { "shape": "S" }, "value": { "shape": "S" } },
        }),
    )
}

/// A service, and headers, path and body of a request that its protocol's codec reads.
type Sample = (World, &'static [(&'static str, &'static str)], &'static str, Vec<u8>);

/// One a protocol.
fn samples() -> Vec<Sample> {
    let json = br#"{"Text":"a\u00e9\"","Whole":1,"Long":-2,"Double":1.5e3,"Flag":true,"Blob":"Zm9v","When":1.5,"Any":{"a":[1,null]},"List":["a","b"],"Flat":[{"Text":"x"}],"Map":{"k":"v"},"Inner":{"Inner":{}},"Extra":[{"a":"]"}]}"#;
    let form = b"Action=Act&Text=a%20b&Whole=1&Double=NaN&When=2014-04-29T18%3A30%3A38Z&List.member.1=a&Flat.1.Text=x&Map.entry.1.key=k&Map.entry.1.value=v&Inner.Inner.Flag=true&Blob=Zm9v";
    let xml = br#"<?xml version="1.0"?><In a="b"><Text>a&lt;&#xE9;</Text><Whole>1</Whole><List><member>a</member></List><Flat><Text>x</Text></Flat><Map><entry><key>k</key><value>v</value></entry></Map><Inner><![CDATA[x]]><Inner/></Inner></In>"#;
    let cbor: &[u8] = b"\xbf\x64Text\x61a\x65Whole\x01\x66Double\xf9\x3e\x00\x64Flag\xf5\x64Blob\x43foo\x64When\xc1\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00\x64List\x9f\x61a\xff\x63Map\xa1\x61k\x61v\x65Extra\x82\x01\xa0\xff";
    vec![
        (
            world(json!({ "protocol": "json", "targetPrefix": "T" })),
            &[("x-amz-target", "T.Act")],
            "/",
            json.into(),
        ),
        (world(json!({ "protocol": "query" })), &[], "/", form.into()),
        (world(json!({ "protocol": "rest-json" })), &[("x-list", "a, \"b,c\"")], "/act/x", json.into()),
        (world(json!({ "protocol": "rest-xml" })), &[("x-list", "a, \"b,c\"")], "/act/x", xml.into()),
        (
            world(json!({ "protocol": "smithy-rpc-v2-cbor" })),
            &[("smithy-protocol", "rpc-v2-cbor")],
            "/service/T/operation/Act",
            cbor.into(),
        ),
    ]
}

#[test]
fn the_samples_are_understood() {
    for (world, headers, path, body) in samples() {
        let read = world.read(&Request { headers, path, body: &body, ..Request::default() });
        // Text, Blob and the lists break constraints in some; none is unreadable.
        let readable =
            read.map_or_else(|fault| fault.code().starts_with("Validation"), |value| value.is_object());
        assert!(readable, "{path} {:?}", world.service.protocols);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_crash_nothing(body in proptest::collection::vec(any::<u8>(), 0..200), query in ".{0,40}", path in "/act/.{0,20}") {
        for (world, headers, known, _) in samples() {
            let path = if known.starts_with("/act") { path.as_str() } else { known };
            let _ = world.read(&Request { headers, path, query: &query, body: &body, ..Request::default() });
        }
    }

    #[test]
    fn changed_messages_crash_nothing(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)) {
        for (world, headers, path, mut body) in samples() {
            for (at, byte, how) in &changes {
                let at = at.index(body.len().max(1)).min(body.len());
                match how {
                    0 if at < body.len() => body[at] = *byte,
                    1 => body.insert(at, *byte),
                    2 if at < body.len() => drop(body.remove(at)),
                    _ => body.truncate(at),
                }
            }
            let _ = world.read(&Request { headers, path, body: &body, ..Request::default() });
        }
    }
}
