//! A sandbox's way out: what it sends into its tun device is ended here, in user space, and carried on by sockets of the host.
//!
//! So functions reach the network without privileges, bridges or firewall rules, wherever the platform itself does. A connection is accepted only
//! once the far side has accepted it. Left out on purpose: IPv6, ICMP, and the machine's link-local addresses (cloud metadata).

mod dns;
mod tcp;
mod udp;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc};

use crate::async_fd;
use tcp::Connections;
use udp::Flows;
use wire::{Packet, Wire};

/// What functions call the machine.
pub const MACHINE: &str = "host.tidemill.internal";
/// Our side of the link: the name server, and the machine itself as [`MACHINE`].
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Packets taken from the device before anything else gets its turn.
const PACKETS_AT_ONCE: usize = 64;

/// Carries traffic until dropped. `tun` reads and writes IP packets.
pub async fn serve(tun: OwnedFd) -> io::Result<()> {
    nix::fcntl::fcntl(&tun, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let device = async_fd::register(tun, Interest::READABLE)?;
    let mut wire = Wire::new(device.get_ref());
    let mut interface = interface(&mut wire);
    let mut sockets = SocketSet::new(Vec::new());
    let changed = Arc::new(Notify::new());
    let (replies, mut replied) = mpsc::channel(64);
    let mut connections = Connections::new(changed.clone());
    let mut flows = Flows::new(replies);
    loop {
        let delay = interface.poll_delay(Instant::now(), &sockets).map(std::time::Duration::from);
        tokio::select! {
            ready = device.readable() => {
                let mut ready = ready?;
                for _ in 0..PACKETS_AT_ONCE {
                    let Some(packet) = wire.read() else {
                        ready.clear_ready();
                        break;
                    };
                    match packet {
                        Packet::Udp(datagram) => flows.forward(datagram),
                        Packet::Tcp(packet) => {
                            let held = connections.hold_if_new(&packet);
                            if !held {
                                wire.take_in(packet.bytes);
                                interface.poll(Instant::now(), &mut wire, &mut sockets);
                            }
                        }
                        Packet::Other => {}
                    }
                }
            }
            Some(datagram) = replied.recv() => wire.write(&datagram),
            dialled = connections.dialled() => connections.begin(dialled, &mut interface, &mut wire, &mut sockets),
            () = changed.notified() => {}
            () = sleep(delay) => {}
        }
        connections.exchange(&mut sockets);
        interface.poll(Instant::now(), &mut wire, &mut sockets);
        connections.exchange(&mut sockets);
        connections.remove_closed(&mut sockets);
    }
}

fn interface(wire: &mut Wire<'_>) -> Interface {
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), wire, Instant::now());
    interface.update_ip_addrs(|addresses| {
        // There is room for at least one.
        let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(GATEWAY), 24));
    });
    // Every address is answered here: "any IP" takes packets whose route leads to an address of ours.
    let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
    interface.set_any_ip(true);
    interface
}

async fn sleep(delay: Option<std::time::Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}

/// Where something sent to `to` goes on the host; `None` where functions may not.
pub fn outside(to: SocketAddrV4) -> Option<SocketAddr> {
    let ip = *to.ip();
    if ip == GATEWAY {
        let host = if to.port() == dns::PORT {
            dns::resolver()
        } else {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), to.port())
        };
        return Some(host);
    }
    let benchmark =
        ip.octets().starts_with(&[198]) && ip.octets().get(1).is_some_and(|second| second & 0xFE == 18);
    let refused = ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.octets().starts_with(&[0])
        || benchmark;
    (!refused).then_some(SocketAddr::V4(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_reach_the_world_but_not_the_machines_metadata() {
        let reach = |text: &str| outside(text.parse().unwrap()).map(|to| to.to_string());
        assert_eq!(reach("93.184.216.34:443").as_deref(), Some("93.184.216.34:443"));
        assert_eq!(reach("10.0.0.5:5432").as_deref(), Some("10.0.0.5:5432"));
        assert_eq!(reach("198.18.0.1:8080").as_deref(), Some("127.0.0.1:8080"));
        for refused in [
            "169.254.169.254:80",
            "127.0.0.1:22",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "255.255.255.255:67",
            "198.18.0.9:80",
            "198.19.0.1:80",
        ] {
            assert_eq!(reach(refused), None, "{refused}");
        }
    }
}
