//! What functions reach: the platform's endpoint, the X-Ray port, the machine and the world; and what they do not.

mod support;

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use support::*;
use tidemill_sandbox::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Greeter;

impl ConnectionHandler for Greeter {
    fn connected(&self, function: Arc<FunctionSpec>, mut stream: TcpStream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = stream.write_all(format!("hello {}", function.name).as_bytes()).await;
        })
    }
}

#[derive(Default)]
struct Segments(Mutex<Vec<String>>);

impl SegmentSink for Segments {
    fn segment(&self, function: &FunctionSpec, datagram: &[u8]) {
        self.0.lock().push(format!("{}: {}", function.name, String::from_utf8_lossy(datagram)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_and_the_x_ray_port_lead_to_the_platform() {
    let segments = Arc::new(Segments::default());
    let sink = segments.clone();
    let house = house_hooked(
        |_| {},
        move |hooks| {
            hooks.connections = Some(Arc::new(Greeter));
            hooks.segments = Some(sink);
        },
    )
    .await;
    if house.executor.tier().tier != Tier::Namespace {
        return;
    }
    let code = "import os, socket\ndef handler(event, context):\n    host, port = os.environ['AWS_XRAY_DAEMON_ADDRESS'].split(':')\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'segment', (host, int(port)))\n    with socket.create_connection(('127.0.0.1', 4566)) as s:\n        return s.recv(100).decode()\n";
    let function = Arc::new(house.python("caller", code));
    assert_eq!(success(&house.invoke(&function, "{}").await), json!("hello caller"));
    while segments.0.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*segments.0.lock(), ["caller: segment"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_handler_the_endpoint_is_the_hosts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"from the host").await;
        }
    });
    let house = house_with(|config| config.endpoint = address).await;
    let code = "import os, socket, urllib.parse\ndef handler(event, context):\n    url = urllib.parse.urlparse(os.environ['AWS_ENDPOINT_URL'])\n    with socket.create_connection((url.hostname, url.port)) as s:\n        return s.recv(100).decode()\n";
    assert_eq!(
        success(&house.invoke(&Arc::new(house.python("copied", code)), "{}").await),
        json!("from the host")
    );
    house.close().await;
}

/// Skips where this machine gives no way out (no /dev/net/tun).
async fn outbound_house() -> Option<House> {
    let house = house().await;
    let report = house.executor.tier();
    if report.tier == Tier::Namespace && !report.missing.iter().any(|missing| missing.contains("outbound")) {
        return Some(house);
    }
    println!("skipped: {report:?}");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_is_reached_by_its_name_and_refusals_are_refusals() {
    let Some(house) = outbound_house().await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let code = format!(
        "
import errno, hashlib, os, socket, threading
def attempt(address):
    try:
        socket.create_connection(address, 5).close()
        return 'reached'
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))
def handler(event, context):
    data = os.urandom(5_000_000)
    with socket.create_connection(('host.tidemill.internal', {port})) as s:
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        received = bytearray()
        while chunk := s.recv(65536):
            received += chunk
        sender.join()
    several = [socket.create_connection(('host.tidemill.internal', {port})) for _ in range(50)]
    for i, s in enumerate(several):
        s.sendall(str(i).encode().ljust(8))
    echoed = [int(s.recv(8)) for s in several]
    return {{
        'same': received == data, 'echoed': echoed == list(range(50)), 'closed': attempt(('host.tidemill.internal', {closed})),
        'metadata': attempt(('169.254.169.254', 80)),
        'names': [socket.gethostbyname(n) for n in ('host.tidemill.internal', 'bucket.s3.localhost.localstack.cloud', 'sqs.eu-west-1.localhost.localstack.cloud')],
    }}
"
    );
    let answer = success(&house.invoke(&Arc::new(house.python("out", &code)), "{}").await);
    assert_eq!(
        answer,
        json!({"same": true, "echoed": true, "closed": "ECONNREFUSED", "metadata": "ECONNREFUSED", "names": ["198.18.0.1", "127.0.0.1", "127.0.0.1"]})
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_go_out_and_come_back() {
    let Some(house) = outbound_house().await else { return };
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 2000];
        while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..size], from).await;
        }
    });
    let code = format!(
        "import socket\ndef handler(event, context):\n    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    s.settimeout(5)\n    s.connect(('198.18.0.1', {port}))\n    answers = []\n    for size in (1, 1400):\n        s.send(b'x' * size)\n        answers.append(len(s.recv(2000)))\n    return answers\n"
    );
    assert_eq!(
        success(&house.invoke(&Arc::new(house.python("datagrams", &code)), "{}").await),
        json!([1, 1400])
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_without_a_way_out_reaches_only_the_platform() {
    let Some(house) = outbound_house().await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = format!(
        "import socket\ndef handler(event, context):\n    try:\n        socket.create_connection(('198.18.0.1', {port}), 1)\n        return 'reached'\n    except OSError as e:\n        return e.strerror\n"
    );
    let mut function = house.python("shut", &code);
    function.outbound_network = false;
    assert_eq!(success(&house.invoke(&Arc::new(function), "{}").await), json!("Network is unreachable"));
    house.close().await;
    let mut byte = [0];
    assert!(
        futures::FutureExt::now_or_never(async { listener.accept().await.unwrap().0.read(&mut byte).await })
            .is_none()
    );
}
