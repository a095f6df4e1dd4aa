//! Packets from and to the tun device: what kind each is, and building answers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket, UdpPacket, UdpRepr};

pub const MTU: usize = crate::spawner::TUN_MTU;

/// A packet, told apart.
pub enum Packet {
    Tcp(Tcp),
    Udp(Datagram),
    Other,
}

pub struct Tcp {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    /// It asks for a new connection.
    pub opens: bool,
    pub bytes: Vec<u8>,
}

pub struct Datagram {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub data: Vec<u8>,
}

/// The device as the TCP stack sees it: one packet in at a time, packets out at once.
pub struct Wire<'a> {
    tun: &'a OwnedFd,
    buffer: Vec<u8>,
    incoming: Option<Vec<u8>>,
}

impl<'a> Wire<'a> {
    pub fn new(tun: &'a OwnedFd) -> Self {
        Self { tun, buffer: vec![0; MTU], incoming: None }
    }

    /// The next packet; `None` when there is none now.
    pub fn read(&mut self) -> Option<Packet> {
        let size = nix::unistd::read(self.tun, &mut self.buffer).ok()?;
        Some(tell_apart(self.buffer.get(..size)?).unwrap_or(Packet::Other))
    }

    /// Gives the TCP stack a packet at its next poll.
    pub fn take_in(&mut self, packet: Vec<u8>) {
        self.incoming = Some(packet);
    }

    /// A packet that does not fit into the device's queue is lost, as on any wire.
    pub fn write(&self, packet: &[u8]) {
        let _ = nix::unistd::write(self.tun, packet);
    }
}

fn tell_apart(bytes: &[u8]) -> Option<Packet> {
    let ip = Ipv4Packet::new_checked(bytes).ok()?;
    if ip.frag_offset() != 0 || ip.more_frags() {
        return None;
    }
    let (from, to) = (ip.src_addr(), ip.dst_addr());
    match ip.next_header() {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
            let opens = tcp.syn() && !tcp.ack();
            let (from, to) = (SocketAddrV4::new(from, tcp.src_port()), SocketAddrV4::new(to, tcp.dst_port()));
            Some(Packet::Tcp(Tcp { from, to, opens, bytes: bytes.to_vec() }))
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(ip.payload()).ok()?;
            let (from, to) = (SocketAddrV4::new(from, udp.src_port()), SocketAddrV4::new(to, udp.dst_port()));
            Some(Packet::Udp(Datagram { from, to, data: udp.payload().to_vec() }))
        }
        _ => None,
    }
}

/// A whole IP packet with a UDP datagram.
pub fn datagram(from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr { src_port: from.port(), dst_port: to.port() };
    let length = udp.header_len() + data.len();
    let ip = Ipv4Repr {
        src_addr: *from.ip(),
        dst_addr: *to.ip(),
        next_header: IpProtocol::Udp,
        payload_len: length,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + length];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &checksums);
    let address = |ip: &Ipv4Addr| IpAddress::Ipv4(*ip);
    let mut inner = UdpPacket::new_unchecked(packet.payload_mut());
    udp.emit(
        &mut inner,
        &address(from.ip()),
        &address(to.ip()),
        data.len(),
        |buffer| buffer.copy_from_slice(data),
        &checksums,
    );
    bytes
}

impl Device for Wire<'_> {
    type RxToken<'t>
        = Incoming
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let packet = self.incoming.take()?;
        Some((Incoming(packet), Outgoing(self.tun)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self.tun))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

pub struct Incoming(Vec<u8>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub struct Outgoing<'a>(&'a OwnedFd);

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        let _ = nix::unistd::write(self.0, &packet);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_datagram_is_read_again() {
        let (from, to) = ("198.18.0.1:53".parse().unwrap(), "198.18.0.2:4000".parse().unwrap());
        let Some(Packet::Udp(read)) = tell_apart(&datagram(from, to, b"hello")) else {
            panic!("not a datagram")
        };
        assert_eq!((read.from, read.to, read.data.as_slice()), (from, to, b"hello".as_slice()));
    }

    #[test]
    fn garbage_is_nothing() {
        for bytes in [&b""[..], b"\x45", &[0x45; 19], &[0x60; 60], &[0xff; 100]] {
            assert!(tell_apart(bytes).is_none());
        }
    }
}
