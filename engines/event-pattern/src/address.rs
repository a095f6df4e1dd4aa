//! IP addresses and networks, version 4 and 6. A string in a pattern that is an address matches any spelling of that
//! address, as in Event Ruler; version 4 addresses written inside version 6 are version 4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address as a number of 32 or 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) v6: bool,
    pub(crate) bits: u128,
}

impl Address {
    /// The address `text` spells, if it spells one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let could_be = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':';
        if text.len() < 2 || text.len() > 45 || !text.bytes().all(could_be) {
            return None;
        }
        let address: IpAddr = text.parse().ok()?;
        Some(match address.to_canonical() {
            IpAddr::V4(address) => Self { v6: false, bits: u128::from(address.to_bits()) },
            IpAddr::V6(address) => Self { v6: true, bits: address.to_bits() },
        })
    }

    pub(crate) fn width(self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// The address with all but its first `length` bits cleared.
    pub(crate) fn masked(self, length: u8) -> Self {
        let dropped = u32::from(self.width().saturating_sub(length));
        let bits = if dropped >= 128 { 0 } else { (self.bits >> dropped) << dropped };
        Self { bits, ..self }
    }
}

/// A network in CIDR notation. A single address is a network of full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    pub(crate) address: Address,
    pub(crate) length: u8,
}

impl Network {
    /// Parses `10.0.0.0/24` or `2001:db8::/32`; the error is Event Ruler's sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let (Some(base), Some(bits), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err("Malformed CIDR, one '/' required".to_owned());
        };
        let length: i32 =
            bits.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
        if length < 0 {
            return Err("Malformed CIDR, mask bits must not be negative".to_owned());
        }
        let address = Address::parse(base).ok_or_else(|| format!("Nonstandard IP address: {base}"))?;
        let width = address.width();
        match u8::try_from(length) {
            Ok(length) if length <= width => Ok(Self { address: address.masked(length), length }),
            _ if address.v6 => Err("IPv6 mask bits must be < 128".to_owned()),
            _ => Err("IPv4 mask bits must be < 32".to_owned()),
        }
    }

    pub(crate) fn single(address: Address) -> Self {
        Self { address, length: address.width() }
    }

    pub(crate) fn contains(self, address: Address) -> bool {
        address.v6 == self.address.v6 && address.masked(self.length) == self.address
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.address.v6 {
            write!(f, "{}/{}", Ipv6Addr::from_bits(self.address.bits), self.length)
        } else {
            write!(f, "{}/{}", Ipv4Addr::from_bits(self.address.bits as u32), self.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Network};

    #[test]
    fn networks_contain_addresses() {
        let cases = [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7/24", "10.0.0.1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("1.2.3.4/32", "1.2.3.4", true),
        ];
        for (network, address, contained) in cases {
            let network = Network::parse(network).expect("a network");
            let address = Address::parse(address).expect("an address");
            assert_eq!(network.contains(address), contained, "{network}");
        }
    }

    #[test]
    fn bad_networks_are_named() {
        let cases = [
            ("10.0.0.0", "Malformed CIDR, one '/' required"),
            ("10.0.0.0/x", "Malformed CIDR, mask bits must be an integer"),
            ("10.0.0.0/-1", "Malformed CIDR, mask bits must not be negative"),
            ("host/8", "Nonstandard IP address: host"),
            ("10.0.0.0/33", "IPv4 mask bits must be < 32"),
            ("::/129", "IPv6 mask bits must be < 128"),
        ];
        for (text, reason) in cases {
            assert_eq!(Network::parse(text), Err(reason.to_owned()));
        }
    }

    #[test]
    fn text_that_is_no_address() {
        for text in ["", "a", "1.2.3", "1.2.3.4.5", "01.2.3.4", "aws.ec2", "fe80::1%eth0"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
