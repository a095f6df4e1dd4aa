//! UDP of a sandbox: a host socket for each pair of inside port and far side, for as long as it is used.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::{Datagram, datagram};
use super::{GATEWAY, dns, outside};

const FLOWS_MAX: usize = 256;
const IDLE: Duration = Duration::from_secs(30);
const WAITING: usize = 64;

pub struct Flows {
    open: HashMap<(SocketAddrV4, SocketAddrV4), mpsc::Sender<Vec<u8>>>,
    tasks: JoinSet<()>,
    replies: mpsc::Sender<Vec<u8>>,
}

impl Flows {
    /// Answers go to `replies` as whole packets.
    pub fn new(replies: mpsc::Sender<Vec<u8>>) -> Self {
        Self { open: HashMap::new(), tasks: JoinSet::new(), replies }
    }

    /// Sends a datagram on; lost when there is no room, as datagrams may be.
    pub fn forward(&mut self, sent: Datagram) {
        let Datagram { from, to, data } = sent;
        if *to.ip() == GATEWAY
            && to.port() == dns::PORT
            && let Some(answer) = dns::answer_own(&data)
        {
            let _ = self.replies.try_send(datagram(to, from, &answer));
            return;
        }
        let Some(address) = outside(to) else { return };
        if let Some(flow) = self.open.get(&(from, to)).filter(|flow| !flow.is_closed()) {
            let _ = flow.try_send(data);
            return;
        }
        self.open.retain(|_, flow| !flow.is_closed());
        while self.tasks.try_join_next().is_some() {}
        if self.open.len() >= FLOWS_MAX {
            return;
        }
        let (flow, outgoing) = mpsc::channel(WAITING);
        let _ = flow.try_send(data);
        self.open.insert((from, to), flow);
        self.tasks.spawn(carry(outgoing, address, from, to, self.replies.clone()));
    }
}

async fn carry(
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    address: SocketAddr,
    inside: SocketAddrV4,
    outside: SocketAddrV4,
    replies: mpsc::Sender<Vec<u8>>,
) {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let Ok(socket) = UdpSocket::bind(any).await else { return };
    if socket.connect(address).await.is_err() {
        return;
    }
    let mut buffer = vec![0; super::wire::MTU - 28];
    loop {
        tokio::select! {
            sent = outgoing.recv() => {
                let Some(data) = sent else { return };
                let _ = socket.send(&data).await;
            }
            received = socket.recv(&mut buffer) => {
                let Ok(size) = received else { return };
                let packet = datagram(outside, inside, buffer.get(..size).unwrap_or_default());
                if replies.send(packet).await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(IDLE) => return,
        }
    }
}
