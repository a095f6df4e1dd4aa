//! TCP connections of a sandbox: dialled on the host first, then accepted inside, then copied in both directions with bounded buffers.

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpListenEndpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::outside;
use super::wire::{Tcp, Wire};

/// A sandbox may have this many connections; Lambda allows 1,024 descriptors a function.
const CONNECTIONS_MAX: usize = 512;
const BUFFER: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
const CHUNKS_WAITING: usize = 4;
const DIAL_LIMIT: Duration = Duration::from_secs(30);

pub struct Connections {
    dialling: HashSet<(SocketAddrV4, SocketAddrV4)>,
    dials: JoinSet<Dialled>,
    open: Vec<Connection>,
    copies: JoinSet<()>,
    changed: Arc<Notify>,
}

/// The end of a dial, with the packet that asked for it.
pub struct Dialled {
    opening: Tcp,
    /// `Err(true)`: refused; `Err(false)`: nobody answered.
    stream: Result<TcpStream, bool>,
}

struct Connection {
    socket: SocketHandle,
    to_host: Option<mpsc::Sender<Bytes>>,
    from_host: mpsc::Receiver<Bytes>,
    pending: Bytes,
    host_done: bool,
}

impl Connections {
    pub fn new(changed: Arc<Notify>) -> Self {
        Self {
            dialling: HashSet::new(),
            dials: JoinSet::new(),
            open: Vec::new(),
            copies: JoinSet::new(),
            changed,
        }
    }

    /// Keeps a packet that opens a connection until the far side has been dialled. False: it is for the TCP stack.
    pub fn hold_if_new(&mut self, packet: &Tcp) -> bool {
        if !packet.opens {
            return false;
        }
        // Where functions may not go the stack refuses, since nothing listens.
        let Some(address) = outside(packet.to) else { return false };
        if self.open.len() + self.dialling.len() >= CONNECTIONS_MAX
            || !self.dialling.insert((packet.from, packet.to))
        {
            return true;
        }
        let opening = Tcp { from: packet.from, to: packet.to, opens: true, bytes: packet.bytes.clone() };
        self.dials.spawn(async move {
            let stream = match tokio::time::timeout(DIAL_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(error.kind() == std::io::ErrorKind::ConnectionRefused),
                Err(_) => Err(false),
            };
            Dialled { opening, stream }
        });
        true
    }

    /// The next dial that ended; never resolves while there is none.
    pub async fn dialled(&mut self) -> Dialled {
        loop {
            match self.dials.join_next().await {
                Some(Ok(dialled)) => return dialled,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Accepts inside what was accepted outside.
    pub fn begin(
        &mut self,
        dialled: Dialled,
        interface: &mut Interface,
        wire: &mut Wire<'_>,
        sockets: &mut SocketSet<'_>,
    ) {
        let Dialled { opening, stream } = dialled;
        self.dialling.remove(&(opening.from, opening.to));
        match stream {
            Ok(stream) => {
                let mut socket =
                    Socket::new(SocketBuffer::new(vec![0; BUFFER]), SocketBuffer::new(vec![0; BUFFER]));
                let here = IpListenEndpoint {
                    addr: Some(IpAddress::Ipv4(*opening.to.ip())),
                    port: opening.to.port(),
                };
                if socket.listen(here).is_err() {
                    return;
                }
                socket.set_nagle_enabled(false);
                socket.set_ack_delay(None);
                let socket = sockets.add(socket);
                let connection = self.copy(stream, socket);
                self.open.push(connection);
            }
            // Nothing listens for it, so the stack answers with a reset: "connection refused".
            Err(true) => {}
            Err(false) => return,
        }
        wire.take_in(opening.bytes);
        interface.poll(Instant::now(), wire, sockets);
    }

    fn copy(&mut self, stream: TcpStream, socket: SocketHandle) -> Connection {
        let (to_host, outgoing) = mpsc::channel(CHUNKS_WAITING);
        let (incoming, from_host) = mpsc::channel(CHUNKS_WAITING);
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        self.copies.spawn(copy_out(outgoing, write, self.changed.clone()));
        self.copies.spawn(copy_in(read, incoming, self.changed.clone()));
        // Finished ones are let go here rather than kept until the sandbox ends.
        while self.copies.try_join_next().is_some() {}
        Connection { socket, to_host: Some(to_host), from_host, pending: Bytes::new(), host_done: false }
    }

    /// Moves bytes between the stack's sockets and the host's, as far as either side takes them.
    pub fn exchange(&mut self, sockets: &mut SocketSet<'_>) {
        for connection in &mut self.open {
            let socket = sockets.get_mut::<Socket<'_>>(connection.socket);
            connection.inside_out(socket);
            connection.outside_in(socket);
        }
    }

    pub fn remove_closed(&mut self, sockets: &mut SocketSet<'_>) {
        self.open.retain(|connection| {
            let state = sockets.get_mut::<Socket<'_>>(connection.socket).state();
            let closed = matches!(state, State::Closed | State::TimeWait);
            if closed {
                sockets.remove(connection.socket);
            }
            !closed
        });
    }
}

impl Connection {
    fn inside_out(&mut self, socket: &mut Socket<'_>) {
        let Some(to_host) = &self.to_host else { return };
        while socket.can_recv() {
            let Ok(permit) = to_host.try_reserve() else {
                if to_host.is_closed() {
                    socket.abort();
                }
                return;
            };
            let taken = socket.recv(|bytes| {
                let now = bytes.len().min(CHUNK);
                (now, Bytes::copy_from_slice(bytes.get(..now).unwrap_or_default()))
            });
            match taken {
                Ok(bytes) => permit.send(bytes),
                Err(_) => break,
            }
        }
        if !socket.may_recv()
            && matches!(
                socket.state(),
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed
            )
        {
            // The function is done writing; dropping the sender passes that on.
            self.to_host = None;
        }
    }

    fn outside_in(&mut self, socket: &mut Socket<'_>) {
        while socket.can_send() {
            if self.pending.is_empty() {
                match self.from_host.try_recv() {
                    Ok(bytes) => self.pending = bytes,
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => {
                        if !self.host_done {
                            self.host_done = true;
                            socket.close();
                        }
                        return;
                    }
                }
            }
            match socket.send_slice(&self.pending) {
                Ok(sent) => self.pending.advance(sent),
                Err(_) => return,
            }
        }
    }
}

async fn copy_out(
    mut outgoing: mpsc::Receiver<Bytes>,
    mut write: tokio::net::tcp::OwnedWriteHalf,
    changed: Arc<Notify>,
) {
    while let Some(bytes) = outgoing.recv().await {
        changed.notify_one();
        if write.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = write.shutdown().await;
    drop(outgoing);
    changed.notify_one();
}

async fn copy_in(
    mut read: tokio::net::tcp::OwnedReadHalf,
    incoming: mpsc::Sender<Bytes>,
    changed: Arc<Notify>,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(size @ 1..) = read.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..size).unwrap_or_default());
        if incoming.send(bytes).await.is_err() {
            return;
        }
        changed.notify_one();
    }
    drop(incoming);
    changed.notify_one();
}
