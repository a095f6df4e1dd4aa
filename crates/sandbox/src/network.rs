//! What the platform serves inside a sandbox's network: the AWS endpoint, the X-Ray daemon's port, and the way out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::FutureExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Hooks;
use crate::diary::Diary;
use crate::outside;
use crate::sandbox_api::{self, Served};
use crate::waiting::{Factory, Waiting, listener};

/// A sandbox may have this many connections to the endpoint at once, as many as one of its processes may have files. Others wait.
const CONNECTIONS_MAX: usize = 1024;

/// The sandbox's APIs, the AWS endpoint and the X-Ray port, as the function reaches them.
pub fn serve(
    waiting: &mut Waiting,
    diary: &Diary,
    factory: &Factory,
    hooks: &Hooks,
) -> io::Result<JoinSet<()>> {
    let mut servers = JoinSet::new();
    let function = &diary.function;
    if let Some(listener) = waiting.listener.take() {
        servers.spawn(sandbox_api::serve(
            listener,
            Served {
                runtime: waiting.api.take(),
                extensions: diary.extensions.clone(),
                telemetry: diary.telemetry.clone(),
                function: function.clone(),
            },
        ));
    }
    let Some(cell) = &mut waiting.body.cell else { return Ok(servers) };
    if let Some(fd) = cell.fds.remove("endpoint") {
        let (listener, function, hooks, endpoint) =
            (listener(fd)?, function.clone(), hooks.clone(), factory.config.endpoint);
        servers.spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            while let Ok(place) = room.clone().acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else { return };
                let served = match &hooks.connections {
                    Some(handler) => handler.connected(function.clone(), stream),
                    None => copy(stream, endpoint).boxed(),
                };
                tokio::spawn(served.map(move |()| drop(place)));
            }
        });
    }
    if let (Some(fd), Some(sink)) = (cell.fds.remove("xray"), &hooks.segments) {
        let (socket, function, sink) = (udp(fd)?, function.clone(), sink.clone());
        servers.spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok(size) = socket.recv(&mut datagram).await {
                sink.segment(&function, datagram.get(..size).unwrap_or_default());
            }
        });
    }
    if let Some(tun) = cell.fds.remove("tun")
        && function.outbound_network
    {
        servers.spawn(async move {
            if let Err(error) = outside::serve(tun).await {
                tracing::warn!("a function lost its way out: {error}");
            }
        });
    }
    Ok(servers)
}

async fn copy(mut inside: TcpStream, endpoint: std::net::SocketAddr) {
    if let Ok(mut outside) = TcpStream::connect(endpoint).await {
        let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
    }
}

fn udp(fd: OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(fd);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
