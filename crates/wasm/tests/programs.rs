//! Programs as whoever uses this crate meets them: what is taken and refused, how each end looks, and that limits hold.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_wasm::{Call, End, Ended, Host, Network, Program};

const ECHO: &str = include_str!("programs/echo.wat");
const COMPONENT: &str = include_str!("programs/component.wat");
const FETCH: &str = include_str!("programs/fetch.wat");

struct World {
    folder: tempfile::TempDir,
    host: Host,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(folder.path().join("wasm"), None).unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        std::fs::write(folder.path().join("greeting.txt"), "read-only").unwrap();
        Self { folder, host }
    }

    async fn prepare(&self, text: &str) -> Result<Arc<Program>, String> {
        self.host.prepare(wat::parse_str(text).unwrap().into()).await.map_err(|refused| refused.0)
    }

    async fn run(&self, text: &str, event: &str) -> (Ended, String) {
        let program = self.prepare(text).await.unwrap();
        let (read, write) = pipe();
        let ended = self.host.run(&program, self.call(event, write)).await;
        (ended, all_of(read))
    }

    fn call(&self, event: &str, log: OwnedFd) -> Call {
        Call {
            event: event.to_owned().into(),
            env: vec![("GREETING".into(), "hello".into())],
            task: self.folder.path().to_owned(),
            tmp: self.folder.path().join("tmp"),
            tmp_bytes: 1 << 20,
            memory_bytes: 128 << 20,
            log,
            most_answer: 1 << 20,
            deadline: Instant::now() + Duration::from_secs(20),
            network: Network {
                endpoint: SocketAddr::from(([127, 0, 0, 1], 1)),
                reach: |_| None,
                machine: "host.tidemill.internal",
                outside: false,
            },
        }
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe().unwrap()
}

fn all_of(pipe: OwnedFd) -> String {
    let mut text = String::new();
    File::from(pipe).read_to_string(&mut text).unwrap();
    text
}

fn program(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start") {body}))"#
    )
}

#[tokio::test]
async fn a_module_reads_its_event_and_writes_its_answer() {
    let world = World::new();
    let (ended, log) = world.run(ECHO, r#"{"a":1}"#).await;
    assert_eq!(ended.end, End::Done, "{log}");
    assert_eq!(ended.answer, r#"{"a":1}"#);
    assert_eq!(log, "hello from wasm\n");
    assert_eq!(ended.memory_bytes, 2 << 16);
}

#[tokio::test]
async fn a_component_is_run_as_a_command() {
    let (ended, log) = World::new().run(COMPONENT, "{}").await;
    assert_eq!(ended.end, End::Done, "{log}");
    assert_eq!(ended.answer, r#"{"from":"a component"}"#);
}

/// A server for as many requests; each is answered with its own first line.
fn server(requests: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let size = stream.read(&mut asked).unwrap();
            let line = String::from_utf8_lossy(&asked[..size]).lines().next().unwrap_or_default().to_owned();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", line.len());
            stream.write_all(format!("{head}{line}").as_bytes()).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_component_sends_requests_to_where_it_may() {
    let world = World::new();
    let fetch = world.prepare(FETCH).await.unwrap();
    let (platform, outside) = (server(3), server(2));
    let everywhere = |to: SocketAddr| Some(to);
    let network = |endpoint, reach, outside| Network { endpoint, reach, machine: "the.machine", outside };
    let ask = async |to: String, network: &Network| {
        let call = Call { network: network.clone(), ..world.call(&format!("\"{to}\""), pipe().1) };
        let ended = world.host.run(&fetch, call).await;
        assert_eq!(ended.end, End::Done);
        String::from_utf8(ended.answer.to_vec()).unwrap()
    };
    let denied = network(platform, everywhere, false);
    for host in ["localhost", "127.0.0.1", "sqs.us-east-1.localhost.localstack.cloud"] {
        let answer = ask(format!("{host}:{}/a?b=c", platform.port()), &denied).await;
        assert_eq!(answer, "GET /a?b=c HTTP/1.1", "{host} is the platform, which is always reached");
    }
    for host in ["127.0.0.1", "the.machine", "example.com", "[::1]", "evil-localhost"] {
        let answer = ask(format!("{host}:{}/", outside.port()), &denied).await;
        assert_eq!(answer, r#"{"error":15}"#, "{host} is refused (HTTP-request-denied)");
    }
    let allowed = network(platform, everywhere, true);
    for host in ["127.0.0.1", "the.machine"] {
        let answer = ask(format!("{host}:{}/x", outside.port()), &allowed).await;
        assert_eq!(answer, "GET /x HTTP/1.1");
    }
    let walled = network(platform, |_| None, true);
    assert_eq!(ask(format!("10.0.0.1:{}/", outside.port()), &walled).await, r#"{"error":15}"#);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(ask(format!("127.0.0.1:{}/", nobody.port()), &allowed).await, r#"{"error": 6}"#);
}

#[tokio::test]
async fn memory_is_limited_for_all_of_a_program_together() {
    let world = World::new();
    let grow = |pages: u32| {
        format!("(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))")
    };
    let end = async |pages: u32, memory_bytes: usize| {
        let program = world.prepare(&program(&grow(pages))).await.unwrap();
        let ended = world.host.run(&program, Call { memory_bytes, ..world.call("", pipe().1) }).await;
        (ended.end, ended.memory_bytes >> 16)
    };
    assert_eq!(end(15, 1 << 20).await, (End::Done, 16));
    assert_eq!(end(16, 1 << 20).await.0, End::OutOfMemory);
    let two = r#"(module
        (memory $a (export "memory") 1) (memory $b 1)
        (func (export "_start") (drop (memory.grow $a (i32.const 7))) (drop (memory.grow $b (i32.const 8)))))"#;
    let two = world.prepare(two).await.unwrap();
    let ended = world.host.run(&two, Call { memory_bytes: 1 << 20, ..world.call("", pipe().1) }).await;
    assert_eq!(ended.end, End::OutOfMemory, "two memories of half a limit each, and a page");
}

#[tokio::test]
async fn every_end_is_told_apart() {
    let world = World::new();
    let end = async |body: &str| world.run(&program(body), "{}").await.0.end;
    assert_eq!(end("(call $exit (i32.const 0))").await, End::Done);
    assert_eq!(end("(call $exit (i32.const 3))").await, End::Exit(3));
    let (ended, log) = world.run(&program("unreachable"), "{}").await;
    assert_eq!(ended.end, End::Trap("wasm trap: wasm `unreachable` instruction executed".into()));
    assert!(log.contains("wasm backtrace"), "{log}");
    let grow = "(drop (memory.grow (i32.const 4096)))";
    assert_eq!(end(grow).await, End::OutOfMemory);
    let endless = r#"
        (i32.store (i32.const 4) (i32.const 65000))
        (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))"#;
    let (read, write) = pipe();
    let prepared = world.prepare(&program(endless)).await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(200);
    let ended = world.host.run(&prepared, Call { deadline, ..world.call("", write) }).await;
    assert_eq!(ended.end, End::TimedOut, "an endless answer takes no memory");
    drop(read);
    let recursion =
        r#"(module (memory (export "memory") 1) (func $f (export "_start") (call $f) (call $f)))"#;
    assert_eq!(world.run(recursion, "").await.0.end, End::Trap("wasm trap: call stack exhausted".into()));
}

#[tokio::test]
async fn a_program_that_computes_is_ended_in_time_and_holds_nobody_up() {
    let world = World::new();
    let endless = world.prepare(&program("(loop (br 0))")).await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(300);
    let hogs: Vec<_> =
        (0..8).map(|_| world.host.run(&endless, Call { deadline, ..world.call("", pipe().1) })).collect();
    let quick = world.prepare(&program("")).await.unwrap();
    let (hogs, quick) = tokio::join!(
        async {
            let mut ends = Vec::new();
            for hog in hogs {
                ends.push(hog.await.end);
            }
            ends
        },
        world.host.run(&quick, world.call("", pipe().1))
    );
    assert_eq!(quick.end, End::Done);
    assert!(hogs.iter().all(|end| *end == End::TimedOut), "{hogs:?}");
}

#[tokio::test]
async fn what_is_no_program_is_refused_in_words() {
    let world = World::new();
    let refusal = async |bytes: &[u8]| match world.host.prepare(bytes.to_vec().into()).await {
        Ok(_) => panic!("it was taken"),
        Err(refused) => refused.0,
    };
    assert_eq!(refusal(b"not wasm").await, "it is not a WebAssembly binary");
    assert!(refusal(b"\0asm\x01\0\0\0garbage").await.contains("at offset"));
    let library = wat::parse_str(r#"(module (func (export "handle")))"#).unwrap();
    assert!(refusal(&library).await.starts_with("it exports no function `_start` without"));
    let foreign = wat::parse_str(r#"(module (import "env" "gettimeofday" (func)) (func (export "_start")))"#);
    assert!(refusal(&foreign.unwrap()).await.contains("env::gettimeofday"));
    let component = wat::parse_str("(component)").unwrap();
    assert!(refusal(&component).await.starts_with("it is not a component of the world wasi:cli/command"));
    let untyped = wat::parse_str(r#"(module (func (export "_start") (param i32)))"#).unwrap();
    assert!(refusal(&untyped).await.contains("_start"));
}

#[tokio::test]
async fn instances_share_nothing() {
    let world = World::new();
    let counter = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
            (call $exit (i32.load (i32.const 0)))))"#;
    for _ in 0..5 {
        assert_eq!(world.run(counter, "").await.0.end, End::Exit(1));
    }
}

#[tokio::test]
async fn compiled_programs_are_found_again_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let wasm: bytes::Bytes = wat::parse_str(ECHO).unwrap().into();
    let compiled = |folder: &Path| {
        let mut found: Vec<_> = std::fs::read_dir(folder.join("wasm"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
            .collect();
        assert_eq!(found.len(), 1);
        found.remove(0)
    };
    Host::new(folder.path().join("wasm"), None).unwrap().prepare(wasm.clone()).await.map(drop).unwrap();
    let path = compiled(folder.path());
    std::fs::write(&path, b"damaged").unwrap();
    Host::new(folder.path().join("wasm"), None).unwrap().prepare(wasm).await.map(drop).unwrap();
    assert!(std::fs::metadata(compiled(folder.path())).unwrap().len() > 1000);
}
