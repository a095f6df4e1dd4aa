//! What the platform serves inside a sandbox's network: the AWS endpoint, the X-Ray daemon's port, and the way out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::outside;
use crate::waiting::{Factory, Waiting, listener};
use crate::{FunctionSpec, Hooks};

/// The endpoint and the X-Ray port, as the function reaches them.
pub fn serve(
    waiting: &mut Waiting,
    function: &Arc<FunctionSpec>,
    factory: &Factory,
    hooks: &Hooks,
) -> io::Result<JoinSet<()>> {
    let mut servers = JoinSet::new();
    let Some(cell) = &mut waiting.body.cell else { return Ok(servers) };
    if let Some(fd) = cell.fds.remove("endpoint") {
        let (listener, function, hooks, endpoint) =
            (listener(fd)?, function.clone(), hooks.clone(), factory.config.endpoint);
        servers.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &hooks.connections {
                    Some(handler) => handler.connected(function.clone(), stream),
                    None => drop(tokio::spawn(copy(stream, endpoint))),
                }
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
    // Everything the platform needed is open; the names of the namespaces are not needed any more.
    cell.fds.retain(|name, _| name == "init");
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
