//! What the gateway itself costs: one trivial operation, closed-loop clients with kept connections on loopback.
//! `cargo run --release -p tidemill-gateway --example hello [seconds]`

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tidemill_api::{
    At, Kind, Member, Operation, OperationMeta, Protocol, ReadError, Reader, Schema, ServiceMeta, Shape,
    Target, Validation, WriteShape, Writer,
};
use tidemill_gateway::{Gateway, GatewayConfig, listen};
use tidemill_platform::{Clock, Config, Cx, Fault, Platform, Random, Service};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const BODY: &str = r#"{"QueueUrl":"http://127.0.0.1:4566/000000000000/jobs","MessageBody":"hello"}"#;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let (ready, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || serve(&ready));
    let address = address.recv().expect("the gateway listens");
    for connections in [1, 16] {
        measure(address, connections, Duration::from_secs(seconds));
    }
}

/// One runtime of one thread, so that what a request costs can be told.
fn serve(ready: &std::sync::mpsc::Sender<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store =
            tidemill_store::Store::open(tidemill_store::Options::memory()).expect("a store in memory opens");
        let platform = Platform::new(Config::default(), Clock::real(0), Random::system(), store);
        let service = Service::new(&SERVICE, Arc::new(())).on::<Send>(send).build();
        let gateway = Gateway::new(platform, GatewayConfig::default()).service(service).build();
        let listener = listen(([127, 0, 0, 1], 0).into(), false).expect("a free port");
        ready.send(listener.local_addr().expect("an address")).expect("somebody waits");
        gateway.serve([listener], std::future::pending()).await;
    });
}

fn measure(address: SocketAddr, connections: usize, span: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let before = server_cpu();
    let began = Instant::now();
    runtime.block_on(async {
        let clients: Vec<_> =
            (0..connections).map(|_| tokio::spawn(ask(address, stop.clone(), done.clone()))).collect();
        tokio::time::sleep(span).await;
        stop.store(true, Relaxed);
        for client in clients {
            client.await.expect("a client ends well");
        }
    });
    let (requests, elapsed) = (done.load(Relaxed), began.elapsed());
    let cpu = server_cpu() - before;
    println!(
        "{connections:>3} connections: {:>7.0} requests a second, {:>5.1} µs each; {:>5.2} µs of the gateway's thread, of which {:.2} in the kernel",
        requests as f64 / elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e6 * connections as f64 / requests as f64,
        cpu.total() * 1e6 / requests as f64,
        cpu.system * 1e6 / requests as f64,
    );
}

async fn ask(address: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:4566\r\nAccept-Encoding: identity\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n\
         Content-Type: application/x-amz-json-1.0\r\nUser-Agent: Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux lang/python#3.11\r\n\
         X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a TCP option");
    let mut answer = [0; 4096];
    while !stop.load(Relaxed) {
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        // Answers are small and come in one piece.
        let read = stream.read(&mut answer).await.expect("the answer comes");
        assert!(
            answer
                .get(..read)
                .is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}"))
        );
        done.fetch_add(1, Relaxed);
    }
}

/// Seconds of processor time of the thread that serves, which is the process's second.
struct Cpu {
    user: f64,
    system: f64,
}

impl Cpu {
    fn total(&self) -> f64 {
        self.user + self.system
    }
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }
}

/// From `/proc`, in hundredths of seconds; nothing where there is no such thing.
fn server_cpu() -> Cpu {
    let main = std::process::id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let other = tasks.map(|task| task.path()).find(|path| !path.ends_with(&main));
    let stat = other.and_then(|path| std::fs::read_to_string(path.join("stat")).ok()).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let seconds =
        |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 100.0;
    Cpu { user: seconds(11), system: seconds(12) }
}

async fn send(_: &(), cx: &Cx, input: Message) -> Result<Sent, Fault> {
    Ok(Sent { id: cx.random().uuid(), length: input.body.len() })
}

static STRING: Schema = Schema::plain("String", Kind::String);

const fn member(name: &'static str, required: bool) -> Member {
    Member {
        name,
        wire: name,
        named: false,
        at: At::Body,
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
        target: Target::Of(&STRING),
    }
}

static MESSAGE: Schema = Schema {
    members: &[member("QueueUrl", true), member("MessageBody", true)],
    ..Schema::plain("SendMessageRequest", Kind::Structure)
};
static SENT: Schema = Schema {
    members: &[member("MessageId", false), member("MD5OfMessageBody", false)],
    ..Schema::plain("SendMessageResult", Kind::Structure)
};

#[derive(Default)]
struct Message {
    queue: String,
    body: String,
}

struct Sent {
    id: String,
    length: usize,
}

impl Shape for Message {
    fn schema() -> &'static Schema {
        &MESSAGE
    }

    fn read(reader: &mut dyn Reader) -> Result<Message, ReadError> {
        let mut message = Message::default();
        reader.begin_structure(&MESSAGE)?;
        while let Some(member) = reader.next_member()? {
            match member {
                0 => message.queue = reader.string(&STRING)?,
                _ => message.body = reader.string(&STRING)?,
            }
        }
        Ok(message)
    }
}

impl WriteShape for Message {
    fn write(&self, _: &mut dyn Writer) {}
}

impl Shape for Sent {
    fn schema() -> &'static Schema {
        &SENT
    }

    fn read(_: &mut dyn Reader) -> Result<Sent, ReadError> {
        Err(ReadError::new("answers are not read"))
    }
}

impl WriteShape for Sent {
    fn write(&self, writer: &mut dyn Writer) {
        writer.begin_structure(&SENT);
        writer.member(&SENT.members[0]);
        writer.string(&STRING, &self.id);
        writer.member(&SENT.members[1]);
        writer.string(&STRING, &format!("{:032x}", self.length));
        writer.end_structure();
    }
}

struct Send;

impl Operation for Send {
    const META: &'static OperationMeta = &SEND;
    type Input = Message;
    type Output = Sent;
}

static SEND: OperationMeta = OperationMeta {
    name: "SendMessage",
    method: "POST",
    uri: "/",
    status: 200,
    input: &MESSAGE,
    output: &SENT,
    result_wrapper: None,
    auth: None,
    errors: &[],
};

static SERVICE: ServiceMeta = ServiceMeta {
    name: "sqs",
    id: "SQS",
    signing_name: "sqs",
    endpoint_prefix: "sqs",
    api_version: "2012-11-05",
    target_prefix: Some("AmazonSQS"),
    protocols: &[Protocol::AwsJson10],
    xml_namespace: None,
    error_prefix: "com.amazonaws.sqs#",
    query_compatible: true,
    validation: Validation::Coral,
    operations: &[&SEND],
    absent: &[],
};
