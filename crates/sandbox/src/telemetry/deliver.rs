//! Carrying batches of events to a subscriber's address inside the sandbox: a POST of an array each, or lines on one TCP connection.
//!
//! A subscriber that does not listen is tried once more a moment later; then the batch is lost, as extensions that broke would hold memory
//! for ever. One that is frozen simply answers later.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::queue::Queue;
use crate::spawner::Control;

const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where a subscriber listens, on the sandbox's own loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Http { port: u16, path: String },
    Tcp { port: u16 },
}

/// Delivers for ever.
pub async fn run(queue: Arc<Queue>, to: Destination, control: Option<Arc<Control>>) {
    let mut lines = None;
    loop {
        let batch = queue.batch().await;
        if carry(&batch, &to, control.as_deref(), &mut lines).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
            if let Err(error) = carry(&batch, &to, control.as_deref(), &mut lines).await {
                tracing::debug!("{} events of a function's telemetry were lost: {error}", batch.len());
            }
        }
        queue.delivered();
    }
}

async fn carry(
    batch: &[Bytes],
    to: &Destination,
    control: Option<&Control>,
    lines: &mut Option<TcpStream>,
) -> io::Result<()> {
    match to {
        Destination::Http { port, path } => post(batch, *port, path, control).await,
        Destination::Tcp { port } => {
            let mut stream = match lines.take() {
                Some(stream) => stream,
                None => connect(*port, control).await?,
            };
            stream.write_all(&joined(batch, b"", b"\n", b"\n")).await?;
            *lines = Some(stream);
            Ok(())
        }
    }
}

async fn post(batch: &[Bytes], port: u16, path: &str, control: Option<&Control>) -> io::Result<()> {
    let stream = connect(port, control).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::post(path)
        .header("host", format!("sandbox.localdomain:{port}"))
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(joined(batch, b"[", b",", b"]")))
        .map_err(io::Error::other)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        // Whatever it says is read and thrown away, so that it need not break off.
        let mut body = answer.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        if status.is_success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    };
    tokio::select! {
        answered = answered => answered,
        Err(error) = connection => Err(io::Error::other(error)),
    }
}

async fn connect(port: u16, control: Option<&Control>) -> io::Result<TcpStream> {
    let socket = match control {
        Some(control) => TcpSocket::from_std_stream(control.tcp_socket().await?.into()),
        None => TcpSocket::new_v4()?,
    };
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

fn joined(batch: &[Bytes], before: &[u8], between: &[u8], after: &[u8]) -> Bytes {
    let size = batch.iter().map(|event| event.len() + between.len()).sum::<usize>();
    let mut whole = BytesMut::with_capacity(size + before.len() + after.len());
    whole.extend_from_slice(before);
    for (at, event) in batch.iter().enumerate() {
        if at > 0 {
            whole.extend_from_slice(between);
        }
        whole.extend_from_slice(event);
    }
    whole.extend_from_slice(after);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_arrays_or_lines() {
        let batch = [Bytes::from_static(b"1"), Bytes::from_static(b"2")];
        assert_eq!(joined(&batch, b"[", b",", b"]"), "[1,2]");
        assert_eq!(joined(&batch, b"", b"\n", b"\n"), "1\n2\n");
    }
}
