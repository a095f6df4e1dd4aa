//! A cell's network devices: loopback, and the tun device through which the platform gives it the outside.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The function's side of the link, in the range kept for tests of devices; `outside::GATEWAY` is the other.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const DEVICE: &str = "eth0";
/// Large, since nothing but memory is crossed; small enough for the platform's buffers.
pub const MTU: usize = 16_000;

/// Makes the device, gives it its address and the default route. The descriptor reads and writes IP packets.
pub fn open() -> io::Result<OwnedFd> {
    let tun = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("{}/dev/net/tun", super::mounts::HOST))
        .map_err(|e| io::Error::new(e.kind(), format!("/dev/net/tun: {e}")))?;
    let mut request = named(DEVICE);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    ioctl(tun.as_raw_fd(), libc::TUNSETIFF as libc::c_ulong, &mut request)?;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let socket = socket.as_raw_fd();
    let mut request = named(DEVICE);
    request.ifr_ifru.ifru_addr = address(INSIDE);
    ioctl(socket, libc::SIOCSIFADDR as libc::c_ulong, &mut request)?;
    request.ifr_ifru.ifru_addr = address(Ipv4Addr::new(255, 255, 255, 0));
    ioctl(socket, libc::SIOCSIFNETMASK as libc::c_ulong, &mut request)?;
    request.ifr_ifru.ifru_mtu = MTU as i32;
    ioctl(socket, libc::SIOCSIFMTU as libc::c_ulong, &mut request)?;
    set_up(socket, DEVICE)?;
    default_route(socket)?;
    Ok(tun.into())
}

/// Turns a device on.
pub fn set_up(socket: RawFd, device: &str) -> io::Result<()> {
    let mut request = named(device);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ioctl(socket, libc::SIOCSIFFLAGS as libc::c_ulong, &mut request)
}

fn default_route(socket: RawFd) -> io::Result<()> {
    // SAFETY: all-zero is a valid rtentry.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    let mut device = DEVICE.as_bytes().to_vec();
    device.push(0);
    route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = device.as_mut_ptr().cast();
    // SAFETY: `route` and the name it points at live until the call returns.
    let result = unsafe { libc::ioctl(socket, libc::SIOCADDRT as libc::c_ulong as _, &route) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn named(device: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn address(ip: Ipv4Addr) -> libc::sockaddr {
    let inet = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16-byte socket addresses; the family says which one it is.
    unsafe { std::mem::transmute(inet) }
}

fn ioctl(fd: RawFd, request: libc::c_ulong, argument: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every request passed here takes a pointer to an ifreq.
    let result = unsafe { libc::ioctl(fd, request as _, argument as *mut libc::ifreq) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
