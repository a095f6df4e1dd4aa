//! Services with one or two operations, under the names and in the protocols of AWS's, and one that speaks HTTP.

use std::{pin::Pin, sync::Arc};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tidemill_api::{
    At, Fault, Kind, Member, Operation, OperationMeta, Protocol, ReadError, Reader, Schema, ServiceMeta,
    Shape, Target, Validation, WriteShape, Writer,
};
use tidemill_gateway::{Authenticated, HostBucket, HostId};
use tidemill_platform::{Cx, HttpBody, HttpService, Service, service::Trailers};
use tokio::sync::Notify;

/// What tests and handlers tell each other.
#[derive(Default)]
pub struct Shared {
    /// A handler that was told to wait has begun.
    pub begun: Notify,
    /// Lets it go on.
    pub go: Notify,
    /// It has come to its end.
    pub ended: Notify,
}

static STRING: Schema = Schema::plain("String", Kind::String);
static NAME: Schema = Schema { max: Some(40.0), ..Schema::plain("Name", Kind::String) };

const fn member(name: &'static str, at: At, required: bool, schema: &'static Schema) -> Member {
    Member {
        name,
        wire: name,
        named: false,
        at,
        required,
        flattened: false,
        xml_attribute: false,
        xml_namespace: None,
        time_format: None,
        idempotency_token: false,
        streaming: false,
        event_payload: false,
        event_header: false,
        json_value: false,
        target: Target::Of(schema),
    }
}

static SAID: Schema = Schema {
    members: &[member("Text", At::Body, true, &NAME), member("QueueUrl", At::Body, false, &STRING)],
    ..Schema::plain("SayRequest", Kind::Structure)
};
static GREETED: Schema = Schema {
    members: &[member("Text", At::Uri, true, &NAME), member("QueueUrl", At::Query, false, &STRING)],
    ..Schema::plain("GreetRequest", Kind::Structure)
};
static ANSWERED: Schema = Schema {
    members: &[member("Text", At::Body, true, &STRING)],
    ..Schema::plain("Answer", Kind::Structure)
};

macro_rules! input {
    ($name:ident, $schema:ident) => {
        #[derive(Debug, Default)]
        pub struct $name {
            pub text: String,
            pub queue_url: Option<String>,
        }

        impl Shape for $name {
            fn schema() -> &'static Schema {
                &$schema
            }

            fn read(reader: &mut dyn Reader) -> Result<$name, ReadError> {
                let mut input = $name::default();
                reader.begin_structure(&$schema)?;
                while let Some(member) = reader.next_member()? {
                    match member {
                        0 => input.text = reader.string(&NAME)?,
                        _ => input.queue_url = Some(reader.string(&STRING)?),
                    }
                }
                Ok(input)
            }
        }

        impl WriteShape for $name {
            fn write(&self, _: &mut dyn Writer) {}
        }
    };
}

input!(Said, SAID);
input!(Greeted, GREETED);

pub struct Answered(String);

impl Shape for Answered {
    fn schema() -> &'static Schema {
        &ANSWERED
    }

    fn read(_: &mut dyn Reader) -> Result<Answered, ReadError> {
        Err(ReadError::new("answers are not read"))
    }
}

impl WriteShape for Answered {
    fn write(&self, writer: &mut dyn Writer) {
        writer.begin_structure(&ANSWERED);
        writer.member(&ANSWERED.members[0]);
        writer.string(&STRING, &self.0);
        writer.end_structure();
    }
}

const SAY_META: OperationMeta = OperationMeta {
    name: "Say",
    method: "POST",
    uri: "/",
    status: 200,
    input: &SAID,
    output: &ANSWERED,
    result_wrapper: Some("SayResult"),
    auth: None,
    errors: &[],
};
static SAY: OperationMeta = SAY_META;
static SAY_OPENLY: OperationMeta = OperationMeta {
    name: "SayOpenly",
    auth: Some("none"),
    result_wrapper: Some("SayOpenlyResult"),
    ..SAY_META
};
static GREET: OperationMeta = OperationMeta {
    name: "Greet",
    method: "PUT",
    uri: "/2015-03-31/greetings/{Text}",
    status: 201,
    input: &GREETED,
    ..SAY_META
};
static MUTE: OperationMeta = OperationMeta { name: "Mute", ..SAY_META };

pub struct Say;
pub struct SayOpenly;
pub struct Greet;

macro_rules! operation {
    ($name:ident, $meta:ident, $input:ident) => {
        impl Operation for $name {
            const META: &'static OperationMeta = &$meta;
            type Input = $input;
            type Output = Answered;
        }
    };
}
operation!(Say, SAY, Said);
operation!(SayOpenly, SAY_OPENLY, Said);
operation!(Greet, GREET, Greeted);

/// Answers who asked, where and what; some words do something.
async fn say(shared: &Shared, cx: &Cx, input: Said) -> Result<Answered, Fault> {
    match input.text.as_str() {
        "panic" => panic!("told to panic"),
        "fail" => return Err(Fault::internal("told to fail")),
        "wait" => {
            shared.begun.notify_one();
            shared.go.notified().await;
            shared.ended.notify_one();
        }
        _ => {}
    }
    let queue = input.queue_url.map(|url| format!(" to {url}")).unwrap_or_default();
    let request = cx.request();
    Ok(Answered(format!("{} in {} says {}{queue}", request.principal.arn, cx.region(), input.text)))
}

async fn greet(_: &Shared, cx: &Cx, input: Greeted) -> Result<Answered, Fault> {
    Ok(Answered(format!("{} greets {}", cx.account(), input.text)))
}

const BASE: ServiceMeta = ServiceMeta {
    name: "",
    id: "",
    signing_name: "",
    endpoint_prefix: "",
    api_version: "2012-08-10",
    target_prefix: None,
    protocols: &[Protocol::AwsJson10],
    xml_namespace: None,
    error_prefix: "",
    query_compatible: false,
    validation: Validation::Coral,
    operations: &[&SAY, &MUTE],
    absent: &["Sing"],
};

static DYNAMODB: ServiceMeta = ServiceMeta {
    name: "dynamodb",
    id: "DynamoDB",
    signing_name: "dynamodb",
    endpoint_prefix: "dynamodb",
    target_prefix: Some("DynamoDB_20120810"),
    error_prefix: "com.amazon.coral.service#",
    ..BASE
};
static STREAMS: ServiceMeta = ServiceMeta {
    name: "dynamodbstreams",
    id: "DynamoDB Streams",
    signing_name: "dynamodb",
    endpoint_prefix: "streams.dynamodb",
    target_prefix: Some("DynamoDBStreams_20120810"),
    ..BASE
};
static SQS: ServiceMeta = ServiceMeta {
    name: "sqs",
    id: "SQS",
    signing_name: "sqs",
    endpoint_prefix: "sqs",
    api_version: "2012-11-05",
    target_prefix: Some("AmazonSQS"),
    protocols: &[Protocol::AwsJson10, Protocol::AwsQuery],
    query_compatible: true,
    ..BASE
};
static STS: ServiceMeta = ServiceMeta {
    name: "sts",
    id: "STS",
    signing_name: "sts",
    endpoint_prefix: "sts",
    api_version: "2011-06-15",
    protocols: &[Protocol::AwsQuery],
    xml_namespace: Some("https://sts.amazonaws.com/doc/2011-06-15/"),
    validation: Validation::CoralQuery,
    operations: &[&SAY, &SAY_OPENLY],
    ..BASE
};
static LAMBDA: ServiceMeta = ServiceMeta {
    name: "lambda",
    id: "Lambda",
    signing_name: "lambda",
    endpoint_prefix: "lambda",
    api_version: "2015-03-31",
    protocols: &[Protocol::RestJson],
    operations: &[&GREET],
    ..BASE
};
static CLOUDWATCH: ServiceMeta = ServiceMeta {
    name: "cloudwatch",
    id: "CloudWatch",
    signing_name: "monitoring",
    endpoint_prefix: "monitoring",
    api_version: "2010-08-01",
    target_prefix: Some("GraniteServiceVersion20100801"),
    protocols: &[Protocol::RpcV2Cbor, Protocol::AwsJson10, Protocol::AwsQuery],
    ..BASE
};

fn talking(meta: &'static ServiceMeta, shared: &Arc<Shared>) -> Service {
    Service::new(meta, shared.clone()).on::<Say>(say).build()
}

pub fn dynamodb(shared: &Arc<Shared>) -> Service {
    talking(&DYNAMODB, shared)
}

pub fn dynamodbstreams(shared: &Arc<Shared>) -> Service {
    talking(&STREAMS, shared)
}

pub fn sqs(shared: &Arc<Shared>) -> Service {
    talking(&SQS, shared)
}

pub fn sts(shared: &Arc<Shared>) -> Service {
    Service::new(&STS, shared.clone()).on::<Say>(say).on::<SayOpenly>(say).build()
}

pub fn lambda(shared: &Arc<Shared>) -> Service {
    Service::new(&LAMBDA, shared.clone()).on::<Greet>(greet).build()
}

pub fn cloudwatch(shared: &Arc<Shared>) -> Service {
    talking(&CLOUDWATCH, shared)
}

/// Answers what it was asked.
pub struct Mirror;

impl HttpService for Mirror {
    fn call(
        &self,
        cx: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (status, body) = match body.collect().await {
                Ok(collected) => (200, String::from_utf8_lossy(&collected.to_bytes()).into_owned()),
                Err(error) => (500, error.to_string()),
            };
            let mut text =
                format!("{} {} by {}\n{body}\n", head.method, head.uri, cx.request().principal.arn);
            if let Some(HostBucket(bucket)) = head.extensions.get() {
                text.push_str(&format!("bucket {bucket}\n"));
            }
            if let Some(HostId { id, region }) = head.extensions.get() {
                text.push_str(&format!("id {id} in {region:?}\n"));
            }
            if let Some(Authenticated { presigned, verified, .. }) = head.extensions.get() {
                text.push_str(&format!("presigned {presigned} verified {verified}\n"));
            }
            for (name, value) in
                head.extensions.get::<Trailers>().and_then(Trailers::get).into_iter().flatten()
            {
                text.push_str(&format!("trailer {name}={}\n", value.to_str().unwrap()));
            }
            for name in ["host", "authorization", "content-encoding", "content-length"] {
                if let Some(value) = head.headers.get(name) {
                    text.push_str(&format!("{name} {}\n", value.to_str().unwrap()));
                }
            }
            let body = Full::from(text).map_err(|never| match never {}).boxed();
            Response::builder().status(status).body(body).unwrap()
        })
    }
}
