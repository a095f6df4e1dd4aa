//! What a caller is told of a bad request, and which forms of a good one are understood. Sentences are AWS's.

mod support;

use serde_json::{Value, json};
use support::{Request, World};
use tidemill_api::{Protocol, ReadError};
use tidemill_wire::{
    Dynamic, Incoming, decode,
    value::{ValueReader, to_value},
};

fn everything() -> World {
    World::json(json!({
        "In": { "type": "structure", "members": {
            "Text": { "shape": "Text" }, "Flag": { "shape": "Flag" }, "Whole": { "shape": "Whole" },
            "Long": { "shape": "Long" }, "Float": { "shape": "Float" }, "Double": { "shape": "Double" },
            "Blob": { "shape": "Blob" }, "When": { "shape": "When" }, "List": { "shape": "List" },
            "Map": { "shape": "Map" }, "Inner": { "shape": "In" }, "Any": { "shape": "Any" } } },
        "Text": { "type": "string" }, "Flag": { "type": "boolean" }, "Whole": { "type": "integer" },
        "Long": { "type": "long" }, "Float": { "type": "float" }, "Double": { "type": "double" },
        "Blob": { "type": "blob" }, "When": { "type": "timestamp" },
        "List": { "type": "list", "member": { "shape": "Text" } },
        "Map": { "type": "map", "key": { "shape": "Text" }, "value": { "shape": "Text" } },
        "Any": { "type": "structure", "members": {}, "document": true },
    }))
}

#[test]
fn wrong_json_types_get_the_sentences_of_aws() {
    let world = everything();
    let list = "Start of list found where not expected";
    let structure = "Start of structure or map found where not expected.";
    for (body, sentence) in [
        (r#"{"Text":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Text":1.5}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Text":true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"Text":false}"#, "FALSE_VALUE can not be converted to a String"),
        (r#"{"Text":[]}"#, list),
        (r#"{"Text":{}}"#, structure),
        (r#"{"Whole":"1"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"Whole":true}"#, "TRUE_VALUE can not be converted to an Integer"),
        (r#"{"Whole":2147483648}"#, "Numeric value (2147483648) out of range of int"),
        (r#"{"Long":"1"}"#, "STRING_VALUE can not be converted to a Long"),
        (r#"{"Long":9223372036854775808}"#, "Numeric value (9223372036854775808) out of range of long"),
        (r#"{"Double":1e999}"#, "Numeric value (1e999) out of range of double"),
        (r#"{"Flag":1}"#, "NUMBER_VALUE can not be converted to a Boolean"),
        (r#"{"Flag":"23"}"#, "'23' can not be converted to a Boolean"),
        (r#"{"Blob":1}"#, "NUMBER_VALUE can not be converted to a Blob"),
        (r#"{"When":true}"#, "TRUE_VALUE can not be converted to milliseconds since epoch"),
        (r#"{"List":"x"}"#, "Expected list or null"),
        (r#"{"List":1}"#, "Expected list or null"),
        (r#"{"List":{}}"#, structure),
        (r#"{"List":[1]}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Map":"x"}"#, "Expected map or null"),
        (r#"{"Map":[]}"#, list),
        (r#"{"Inner":"x"}"#, "Expected null"),
        (r#"{"Inner":[]}"#, list),
        ("[]", list),
        ("hi", ""),
        ("{", ""),
        (r#"{"Text":"a"} x"#, ""),
        (r#"{"Text":"a",}"#, ""),
        (r#"{"Text":"\ud800"}"#, ""),
        ("{\"Text\":\"a\nb\"}", ""),
        ("{\"Text\":\"\u{1}\"}", ""),
    ] {
        let fault = world.read_json(body.as_bytes()).expect_err(body);
        assert_eq!((fault.code(), fault.message()), ("SerializationException", sentence), "{body}");
        assert_eq!(fault.status(), 400);
    }
    assert!(world.read_json(b"{\"Text\":\"\xff\"}").is_err());
}

#[test]
fn good_json_is_read_whatever_its_form() {
    let world = everything();
    for (body, value) in [
        ("", json!({})),
        (" {\r\n\t} ", json!({})),
        (r#"{"Text":null,"List":null}"#, json!({})),
        (r#"{"Text":"a","Text":"b"}"#, json!({ "Text": "b" })),
        (r#"{"Nobody":[{"a":[1,-2.5e3,true,false,null,"\"]"]},{}],"Text":"x"}"#, json!({ "Text": "x" })),
        (r#"{"Te\u0078t":"\u00e9\n\"\\\/\ud83d\ude00"}"#, json!({ "Text": "é\n\"\\/😀" })),
        (r#"{"List":["a",null,"b"]}"#, json!({ "List": ["a", "b"] })),
        (r#"{"Map":{"k":"v","n":null}}"#, json!({ "Map": { "k": "v" } })),
        (
            r#"{"Whole":-2147483648,"Long":9223372036854775807}"#,
            json!({ "Whole": i32::MIN, "Long": i64::MAX }),
        ),
        (r#"{"Whole":1.9,"Long":1e3}"#, json!({ "Whole": 1, "Long": 1000 })),
        (r#"{"Double":"-Infinity","Float":0.5}"#, json!({ "Float": 0.5, "Double": "-Infinity" })),
        (r#"{"When":1.5}"#, json!({ "When": 1.5 })),
        (r#"{"When":"2014-04-29T18:30:38Z"}"#, json!({ "When": 1_398_796_238 })),
        (r#"{"Any":{"a":[1.1,null]}}"#, json!({ "Any": { "a": [1.1, null] } })),
        (r#"{"Inner":{"Inner":{"Flag":"true"}}}"#, json!({ "Inner": { "Inner": { "Flag": true } } })),
    ] {
        assert_eq!(world.read_json(body.as_bytes()).expect(body), value, "{body}");
    }
}

#[test]
fn nesting_is_bounded() {
    let world = everything();
    let deep = |part: &str, depth: usize| format!("{}{{}}{}", part.repeat(depth), "}".repeat(depth));
    assert!(world.read_json(deep(r#"{"Inner":"#, 100).as_bytes()).is_ok());
    for bomb in [
        deep(r#"{"Inner":"#, 100_000),
        deep(r#"{"Nobody":"#, 100_000),
        format!(r#"{{"Any":{}"#, "[".repeat(100_000)),
    ] {
        assert!(world.read_json(bomb.as_bytes()).is_err());
    }
    let form = format!("{}Text=x", "Inner.".repeat(100_000));
    let query = World::query(json!({
        "In": { "type": "structure", "members": { "Text": { "shape": "Text" }, "Inner": { "shape": "In" } } },
        "Text": { "type": "string" } }));
    assert!(query.read_form(&form).is_err());
    let xml = World::new(
        json!({ "protocol": "rest-xml" }),
        json!({ "method": "PUT", "requestUri": "/" }),
        json!({ "In": { "type": "structure", "members": { "Inner": { "shape": "In" } } } }),
    );
    let body = format!("{}{}", "<Inner>".repeat(100_000), "</Inner>".repeat(100_000));
    assert!(xml.read(&Request { method: "PUT", body: body.as_bytes(), ..Request::default() }).is_err());
}

/// Shapes after DynamoDB's CreateTable and BatchWriteItem, Lambda's Architectures and Kinesis's Data.
fn constrained(metadata: Value) -> World {
    World::new(
        metadata,
        json!({ "method": "POST", "requestUri": "/act" }),
        json!({
            "In": { "type": "structure", "required": ["TableName", "KeySchema"], "members": {
                "TableName": { "shape": "TableName" }, "KeySchema": { "shape": "KeySchema" },
                "Throughput": { "shape": "Throughput" }, "RequestItems": { "shape": "RequestItems" },
                "Architectures": { "shape": "Architectures" }, "Data": { "shape": "Data" }, "Secret": { "shape": "Secret" } } },
            "TableName": { "type": "string", "min": 3, "max": 255, "pattern": "[a-zA-Z0-9_.-]+" },
            "KeySchema": { "type": "list", "member": { "shape": "Element" }, "min": 1, "max": 2 },
            "Element": { "type": "structure", "required": ["AttributeName", "KeyType"], "members": {
                "AttributeName": { "shape": "Name" }, "KeyType": { "shape": "KeyType" } } },
            "Name": { "type": "string", "min": 1, "max": 255 },
            "KeyType": { "type": "string", "enum": ["HASH", "RANGE"] },
            "Throughput": { "type": "structure", "members": { "WriteCapacityUnits": { "shape": "Units" } } },
            "Units": { "type": "long", "min": 1 },
            "RequestItems": { "type": "map", "key": { "shape": "TableName" }, "value": { "shape": "Requests" }, "min": 1, "max": 25 },
            "Requests": { "type": "list", "member": { "shape": "Write" }, "min": 1, "max": 25 },
            "Write": { "type": "structure", "members": { "PutRequest": { "shape": "Put" } } },
            "Put": { "type": "structure", "required": ["Item"], "members": { "Item": { "shape": "Name" } } },
            "Architectures": { "type": "list", "member": { "shape": "Architecture" }, "max": 1 },
            "Architecture": { "type": "string", "enum": ["x86_64", "arm64"] },
            "Data": { "type": "blob", "max": 2 },
            "Secret": { "type": "string", "max": 1, "sensitive": true },
        }),
    )
}

#[test]
fn violations_are_worded_as_aws_words_them() {
    let world = constrained(json!({ "protocol": "json", "jsonVersion": "1.0", "targetPrefix": "T" }));
    let good = json!({ "TableName": "abc", "KeySchema": [{ "AttributeName": "a", "KeyType": "HASH" }] });
    assert!(world.read_json(good.to_string().as_bytes()).is_ok());
    for (change, message) in [
        (
            json!({ "TableName": null, "KeySchema": null }),
            "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: Member must not be \
             null; Value null at 'keySchema' failed to satisfy constraint: Member must not be null",
        ),
        (
            json!({ "TableName": "a;" }),
            "2 validation errors detected: Value 'a;' at 'tableName' failed to satisfy constraint: Member must have \
             length greater than or equal to 3; Value 'a;' at 'tableName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
        ),
        (
            json!({ "KeySchema": [] }),
            "1 validation error detected: Value '[]' at 'keySchema' failed to satisfy constraint: Member must have \
             length greater than or equal to 1",
        ),
        (
            json!({ "KeySchema": [{ "KeyType": "HASH" }, { "AttributeName": "a", "KeyType": "Woop" }] }),
            "2 validation errors detected: Value null at 'keySchema.1.member.attributeName' failed to satisfy \
             constraint: Member must not be null; Value 'Woop' at 'keySchema.2.member.keyType' failed to satisfy \
             constraint: Member must satisfy enum value set: [HASH, RANGE]",
        ),
        (
            json!({ "Throughput": { "WriteCapacityUnits": -1 } }),
            "1 validation error detected: Value '-1' at 'throughput.writeCapacityUnits' failed to satisfy constraint: \
             Member must have value greater than or equal to 1",
        ),
        (
            json!({ "RequestItems": {} }),
            "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have \
             length greater than or equal to 1",
        ),
        (
            json!({ "RequestItems": { "aa;": [{ "PutRequest": {} }] } }),
            "2 validation errors detected: Value '{aa;=[Write(putRequest=Put())]}' at 'requestItems' failed to satisfy \
             constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member \
             must have length greater than or equal to 3, Member must satisfy regular expression pattern: \
             [a-zA-Z0-9_.-]+]; Value null at 'requestItems.aa;.member.1.member.putRequest.item' failed to satisfy \
             constraint: Member must not be null",
        ),
        (
            json!({ "RequestItems": { "abc": [] } }),
            "1 validation error detected: Value '{abc=[]}' at 'requestItems' failed to satisfy constraint: Map value \
             must satisfy constraint: [Member must have length less than or equal to 25, Member must have length \
             greater than or equal to 1]",
        ),
        (
            json!({ "Architectures": ["foo"] }),
            "1 validation error detected: Value '[foo]' at 'architectures' failed to satisfy constraint: Member must \
             satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]",
        ),
        (
            json!({ "Data": "YWJj" }),
            "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]' at 'data' failed to \
             satisfy constraint: Member must have length less than or equal to 2",
        ),
        (
            json!({ "Secret": "hunter2" }),
            "1 validation error detected: Value '***' at 'secret' failed to satisfy constraint: Member must have \
             length less than or equal to 1",
        ),
    ] {
        let mut body = good.clone();
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let fault = world.read_json(body.to_string().as_bytes()).expect_err(message);
        assert_eq!((fault.code(), fault.message()), ("ValidationException", message));
    }
}

#[test]
fn rest_services_add_not_null_to_the_constraints_of_members() {
    let world = constrained(json!({ "protocol": "rest-json" }));
    let body = json!({ "TableName": "abc", "KeySchema": [{ "AttributeName": "a", "KeyType": "HASH" }], "Architectures": ["foo"] });
    let fault =
        world.read(&Request { path: "/act", body: body.to_string().as_bytes(), ..Request::default() });
    assert_eq!(
        fault.expect_err("an unknown architecture").message(),
        "1 validation error detected: Value '[foo]' at 'architectures' failed to satisfy constraint: Member must \
         satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    );
}

#[test]
fn many_violations_are_counted_and_some_shown() {
    let world = constrained(json!({ "protocol": "json", "jsonVersion": "1.0", "targetPrefix": "T" }));
    let elements: Vec<Value> = (0..500).map(|_| json!({})).collect();
    let body = json!({ "TableName": "abc", "KeySchema": elements }).to_string();
    let fault = world.read_json(body.as_bytes()).expect_err("nothing but violations");
    assert!(fault.message().starts_with("1001 validation errors detected: "), "{}", fault.message());
    assert!(fault.message().len() < 10_000);
}

#[test]
fn a_shapes_own_refusal_comes_after_the_contracts() {
    let world = constrained(json!({ "protocol": "json", "jsonVersion": "1.0", "targetPrefix": "T" }));
    let operation = world.service.operations[0];
    let headers = http::HeaderMap::new();
    let refuse = |body: &'static str| {
        let incoming = Incoming {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: body.into(),
            labels: vec![],
        };
        let refusal =
            ReadError::with_code("ValidationException", "The parameter cannot be converted to a number");
        let fault =
            decode(Protocol::AwsJson10, world.service, operation, &incoming, |_| Err::<(), _>(refusal));
        fault.expect_err("the reader refuses").message().to_string()
    };
    assert!(refuse("{}").starts_with("2 validation errors detected"));
    let good = r#"{"TableName":"abc","KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}"#;
    assert_eq!(refuse(good), "The parameter cannot be converted to a number");
}

#[test]
fn values_in_memory_may_be_written_as_text() {
    let world = everything();
    let read = |value: Value| {
        let tree = Dynamic::read(world.input(), &mut ValueReader::new(&value));
        tree.map(|tree| to_value(&tree)).map_err(|error| error.message)
    };
    let plain = json!({ "Text": "a", "Whole": 5, "Flag": true, "When": 1.5, "Blob": "Zm9v", "List": ["x"], "Any": [{}] });
    assert_eq!(read(plain.clone()), Ok(plain));
    assert_eq!(
        read(
            json!({ "Whole": "5", "Flag": "true", "When": "1970-01-01T00:00:01Z", "Nobody": 1, "Text": null })
        ),
        Ok(json!({ "Whole": 5, "Flag": true, "When": 1 }))
    );
    assert_eq!(read(json!({ "Text": 5 })), Err("NUMBER_VALUE can not be converted to a String".into()));
    assert_eq!(read(json!({ "Whole": 1e10 })), Err("Numeric value (10000000000) out of range of int".into()));
    assert_eq!(read(json!([])), Err("Start of list found where not expected".into()));
}

/// The names SQS had before it spoke JSON, given as `locationName`s.
fn sqs() -> World {
    World::query(json!({
        "In": { "type": "structure", "members": {
            "QueueUrl": { "shape": "String" },
            "Attributes": { "shape": "Attributes", "locationName": "Attribute" },
            "AttributeNames": { "shape": "AttributeNames" },
            "MessageAttributes": { "shape": "MessageAttributes", "locationName": "MessageAttribute" },
            "Entries": { "shape": "Entries" },
            "Plain": { "shape": "Plain" } } },
        "String": { "type": "string" },
        "Attributes": { "type": "map", "key": { "shape": "String", "locationName": "Name" }, "value": { "shape": "String", "locationName": "Value" }, "flattened": true },
        "AttributeNames": { "type": "list", "member": { "shape": "String", "locationName": "AttributeName" }, "flattened": true },
        "MessageAttributes": { "type": "map", "key": { "shape": "String", "locationName": "Name" }, "value": { "shape": "Attribute", "locationName": "Value" }, "flattened": true },
        "Attribute": { "type": "structure", "members": { "StringValue": { "shape": "String" }, "DataType": { "shape": "String" } } },
        "Entries": { "type": "list", "member": { "shape": "Entry", "locationName": "SendMessageBatchRequestEntry" }, "flattened": true },
        "Entry": { "type": "structure", "members": { "Id": { "shape": "String" }, "MessageAttributes": { "shape": "MessageAttributes", "locationName": "MessageAttribute" } } },
        "Plain": { "type": "list", "member": { "shape": "String" } },
    }))
}

#[test]
fn forms_are_read_in_sqss_old_dialect() {
    let world = sqs();
    for (form, value) in [
        ("QueueUrl=http%3A%2F%2Fq", json!({ "QueueUrl": "http://q" })),
        (
            "Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Attribute.2.Value=x+y&Attribute.2.Name=Policy",
            json!({ "Attributes": { "DelaySeconds": "5", "Policy": "x y" } }),
        ),
        ("AttributeName.1=All", json!({ "AttributeNames": ["All"] })),
        ("Plain.member.10=j&Plain.member.2=b&Plain.member.1=a", json!({ "Plain": ["a", "b", "j"] })),
        ("Plain=", json!({ "Plain": [] })),
        (
            "MessageAttribute.1.Name=n&MessageAttribute.1.Value.StringValue=v&MessageAttribute.1.Value.DataType=String",
            json!({ "MessageAttributes": { "n": { "StringValue": "v", "DataType": "String" } } }),
        ),
        (
            "SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.\
             MessageAttribute.1.Name=n&SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=D",
            json!({ "Entries": [{ "Id": "a" }, { "Id": "b", "MessageAttributes": { "n": { "DataType": "D" } } }] }),
        ),
    ] {
        assert_eq!(world.read_form(form).expect(form), value, "{form}");
    }
    let fault = world.read_form("QueueUrl=%FF").expect_err("not UTF-8");
    assert_eq!(fault.code(), "MalformedInput");
}

#[test]
fn paths_find_the_most_literal_template() {
    let rest = |uri: &str| {
        World::new(
            json!({ "protocol": "rest-json" }),
            json!({ "method": "GET", "requestUri": uri }),
            json!({ "In": { "type": "structure", "members": {
                        "Name": { "shape": "S", "location": "uri", "locationName": "Name" },
                        "Key": { "shape": "S", "location": "uri", "locationName": "Key" } } },
                    "S": { "type": "string" } }),
        )
    };
    let get = |uri: &str, path: &str, query: &str| {
        let read = rest(uri).read(&Request { method: "GET", path, query, ..Request::default() });
        read.map_err(|fault| fault.code().to_string())
    };
    let unrouted = Err("Unrouted".to_string());
    assert_eq!(get("/f/{Name}/x", "/f/a%2Fb/x", ""), Ok(json!({ "Name": "a/b" })));
    assert_eq!(get("/f/", "/f", ""), Ok(json!({})));
    assert_eq!(get("/f", "/f/", ""), Ok(json!({})));
    assert_eq!(get("/f/{Name}", "/f", ""), unrouted);
    assert_eq!(get("/f/{Name}", "/f/a/b", ""), unrouted);
    assert_eq!(get("/{Name}/{Key+}", "/b/c/d/", ""), Ok(json!({ "Name": "b", "Key": "c/d/" })));
    assert_eq!(get("/{Name}/{Key+}/tail", "/b/c/d/tail", ""), Ok(json!({ "Name": "b", "Key": "c/d" })));
    assert_eq!(get("/f?list-type=2", "/f", "list-type=2&x"), Ok(json!({})));
    assert_eq!(get("/f?list-type=2", "/f", "list-type=1"), unrouted);
    assert_eq!(get("/f/{Name}", "/f/%FF", ""), Err("SerializationException".into()));
}
