//! Requests reach the service they mean, by whatever tells it.

mod support;

use support::{
    Running,
    client::{exchange, request},
};

const JSON: (&str, &str) = ("Content-Type", "application/x-amz-json-1.0");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
const BODY: &str = r#"{"Text":"hi"}"#;

fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=111122223333/20231114/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    )
}

#[tokio::test]
async fn requests_reach_what_they_mean() {
    let running = Running::dev().await;
    let (dynamodb, sqs, s3, sts) = (scope("dynamodb"), scope("sqs"), scope("s3"), scope("sts"));
    let by = "arn:aws:iam::111122223333:root in eu-west-1 says hi";
    let anonymous = "arn:aws:iam::000000000000:root in us-east-1 says hi";
    let path = "PUT /2015-03-31/greetings/ada";
    let ask = |headers: &[(&str, &str)], body: &str, line: &str| request(line, headers, body.as_bytes());
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("scope and target", ask(&[("Authorization", &dynamodb), ("X-Amz-Target", "DynamoDB_20120810.Say"), JSON], BODY, "POST /"), 200, by),
        ("a shared scope", ask(&[("Authorization", &dynamodb), ("X-Amz-Target", "DynamoDBStreams_20120810.Say"), JSON], BODY, "POST /"), 200, by),
        ("target alone", ask(&[("X-Amz-Target", "AmazonSQS.Say"), JSON], BODY, "POST /"), 200, anonymous),
        ("scope and form", ask(&[("Authorization", &sqs), FORM], "Action=Say&Version=2012-11-05&Text=hi", "POST /"), 200, by),
        ("scope and query", ask(&[("Authorization", &sts)], "", "GET /?Action=Say&Version=2011-06-15&Text=hi"), 200, by),
        ("form alone", ask(&[FORM], "Action=Say&Version=2011-06-15&Text=hi", "POST /"), 200, "<SayResponse xmlns=\"https://sts"),
        ("query alone", ask(&[], "", "GET /?Action=Say&Version=2012-11-05&Text=hi"), 200, anonymous),
        ("form to a queue's URL", ask(&[("Authorization", &sqs), FORM], "Action=Say&Version=2012-11-05&Text=hi", "POST /000000000000/jobs"), 200, "says hi to http://localhost:4566/000000000000/jobs"),
        ("query to a queue's URL", ask(&[], "", "GET /queue/us-east-1/000000000000/jobs?Action=Say&Text=hi"), 200, "says hi to http://localhost:4566/queue/us-east-1/000000000000/jobs"),
        ("JSON to a queue's URL", ask(&[("X-Amz-Target", "AmazonSQS.Say"), JSON], BODY, "POST /000000000000/jobs"), 200, anonymous),
        ("REST with a scope", ask(&[("Authorization", &scope("lambda"))], "", path), 201, "111122223333 greets ada"),
        ("REST alone", ask(&[], "", path), 201, "000000000000 greets ada"),
        ("host of a service", ask(&[("Host", "sqs.us-east-1.localhost.localstack.cloud:4566"), FORM], "Action=Say&Text=hi", "POST /"), 200, anonymous),
        ("host of AWS", ask(&[("Host", "sts.amazonaws.com"), FORM], "Action=Say&Text=hi", "POST /"), 200, anonymous),
        ("S3 by scope", ask(&[("Authorization", &s3)], "", "GET /?x-id=ListBuckets"), 200, "GET /?x-id=ListBuckets by"),
        ("S3 by path", ask(&[], "", "GET /files/a%20b"), 200, "GET /files/a%20b by"),
        ("a bucket's host", ask(&[("Host", "files.s3.localhost.localstack.cloud:4566")], "", "GET /k?acl"), 200, "GET /files/k?acl by arn:aws:iam::000000000000:root\n\nbucket files\npresigned false verified false\nhost 127.0.0.1:4566"),
        ("a bucket's host, signed", ask(&[("Host", "files.localhost:4566"), ("Authorization", &s3)], "", "GET /"), 200, "GET /files by"),
        ("a bucket named as a service", ask(&[("Host", "sqs.localhost:4566"), ("Authorization", &s3)], "", "GET /k"), 200, "GET /sqs/k by"),
        ("S3's own host", ask(&[("Host", "s3.us-east-1.amazonaws.com")], "", "GET /files"), 200, "GET /files by"),
        ("a key like a REST path", ask(&[("Host", "files.s3.amazonaws.com")], "", path), 200, "PUT /files/2015-03-31/greetings/ada by"),
        ("S3 signed in version 2", ask(&[("Authorization", "AWS test:sig")], "", "GET /"), 200, "GET / by"),
        ("a presigned URL", ask(&[], "", "GET /files/k?X-Amz-Credential=test%2F20231114%2Fus-east-1%2Fs3%2Faws4_request"), 200, "GET /files/k by arn:aws:iam::000000000000:root\n\npresigned true"),
        ("a function's URL", ask(&[("Host", "abc.lambda-url.us-east-1.localhost:4566"), ("Authorization", &scope("lambda"))], "", "GET /x"), 200, "id abc in Some(\"us-east-1\")"),
        ("an internal path", ask(&[("Authorization", &s3)], "", "GET /_tidemill/clock"), 200, "GET /_tidemill/clock by"),
        ("health", ask(&[], "", "GET /_localstack/health"), 200, r#""sqs":"running""#),
        ("a person", ask(&[("Accept", "text/html")], "", "GET /"), 200, "This port speaks the AWS APIs"),
        ("an absent operation", ask(&[("X-Amz-Target", "DynamoDB_20120810.Sing"), JSON], "{}", "POST /"), 501, "Tidemill does not implement dynamodb Sing yet."),
        ("an operation without a function", ask(&[("X-Amz-Target", "DynamoDB_20120810.Mute"), JSON], "{}", "POST /"), 501, "Tidemill does not implement dynamodb Mute yet."),
        ("an absent action", ask(&[FORM], "Action=Sing&Version=2012-11-05", "POST /"), 501, "<Code>NotImplemented</Code><Message>Tidemill does not implement sqs Sing yet.</Message>"),
        ("an absent service", ask(&[("Authorization", &scope("redshift"))], "", "GET /"), 501, "Tidemill does not implement the service 'redshift' yet."),
        ("an absent target", ask(&[("X-Amz-Target", "Kinesis_20131202.ListStreams"), JSON], "{}", "POST /"), 501, "the service 'Kinesis_20131202'"),
        ("an absent kind of host", ask(&[("Host", "abc.execute-api.us-east-1.amazonaws.com")], "", "GET /"), 501, "the service 'execute-api'"),
        ("an unknown operation", ask(&[("X-Amz-Target", "AmazonSQS.Nonsense"), JSON], "{}", "POST /"), 400, r#"{"__type":"UnknownOperationException"}"#),
        ("no target", ask(&[("Authorization", &dynamodb), JSON], "{}", "POST /"), 400, r#""__type":"com.amazon.coral.service#UnknownOperationException""#),
        ("an unknown action", ask(&[("Authorization", &sts), FORM], "Action=Nonsense&Version=2011-06-15", "POST /"), 400, "<Code>InvalidAction</Code><Message>Could not find operation Nonsense for version 2011-06-15</Message>"),
        ("an unknown action of an unknown service", ask(&[FORM], "Action=Nonsense&Version=1", "POST /"), 400, "Could not find operation Nonsense for version 1"),
        ("an unknown REST path", ask(&[("Authorization", &scope("lambda"))], "", "GET /2015-03-31/nothing"), 404, "UnknownOperationException"),
        ("nothing recognisable", ask(&[], "{}", "POST /"), 403, r#"{"message":"Missing Authentication Token"}"#),
        ("an unknown path of ours", ask(&[], "", "GET /_nothing"), 404, "There is nothing at /_nothing."),
    ];
    for (what, bytes, status, expected) in cases {
        let reply = exchange(running.address, &bytes).await;
        let text = format!("{}{}", reply.head, reply.body);
        assert!(reply.status == status && text.contains(expected), "{what}: {reply:?}");
    }
}

#[tokio::test]
async fn cbor_is_found_by_its_path() {
    let running = Running::dev().await;
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")];
    let body = b"\xbf\x64Text\x62hi\xff";
    for id in ["CloudWatch", "GraniteServiceVersion20100801"] {
        let bytes = request(&format!("POST /service/{id}/operation/Say"), &headers, body);
        let reply = exchange(running.address, &bytes).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/cbor")),
            "{id}: {reply:?}"
        );
        assert!(reply.body.contains("says hi"));
    }
    let unknown = request("POST /service/Nothing/operation/Say", &headers, body);
    assert_eq!(exchange(running.address, &unknown).await.status, 501);
}

#[tokio::test]
async fn answers_carry_ids_and_sums() {
    let running = Running::dev().await;
    let reply = exchange(running.address, &support::client::say(BODY)).await;
    assert_eq!(reply.header("x-amzn-requestid").map(str::len), Some(52));
    assert_eq!(reply.header("x-amz-crc32"), Some(crc32(reply.body.as_bytes()).to_string().as_str()));
    assert_eq!(reply.header("date"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));

    let reply = exchange(running.address, &request("GET /files", &[], b"")).await;
    assert_eq!(reply.header("x-amz-request-id").map(str::len), Some(16));
    assert_eq!(
        (reply.header("x-amz-id-2").map(str::len), reply.header("x-amzn-requestid")),
        (Some(76), None)
    );

    let reply =
        exchange(running.address, &request("POST /", &[FORM], b"Action=Say&Version=2011-06-15&Text=hi"))
            .await;
    let id = reply.header("x-amzn-requestid").unwrap();
    assert!(id.len() == 36 && reply.body.contains(&format!("<RequestId>{id}</RequestId>")));
}

/// IEEE's polynomial, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn browsers_of_this_machine_are_let_in_and_others_kept_out() {
    let running = Running::dev().await;
    let ask = [
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-amz-target"),
    ];
    let reply = exchange(running.address, &request("OPTIONS /", &ask, b"")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (204, Some("x-amz-target")));
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:3000"));

    let target = ("X-Amz-Target", "DynamoDB_20120810.Say");
    let reply = exchange(running.address, &request("POST /", &[target, JSON, ask[0]], BODY.as_bytes())).await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("http://localhost:3000"))
    );

    let reply = exchange(
        running.address,
        &request("POST /", &[target, JSON, ("Origin", "https://example.com")], BODY.as_bytes()),
    )
    .await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));
}

#[tokio::test]
async fn head_has_no_body() {
    let running = Running::dev().await;
    let mut connection = support::client::Connection::open(running.address).await;
    connection.send(&request("HEAD /", &[], b"")).await;
    connection.send(&request("GET /_localstack/health", &[("Connection", "close")], b"")).await;
    let mut text = String::new();
    while let Some(reply) = {
        // The answer to HEAD announces a length and has none of it.
        connection.head().await
    } {
        text.push_str(&reply);
    }
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
}
