//! `Fn::Cidr`: equal blocks of an address range.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The first `count` blocks with `bits` host bits of `range`; `None` when they do not fit or `range` is none.
pub(crate) fn blocks(range: &str, count: u32, bits: u32) -> Option<Vec<String>> {
    let (address, prefix) = range.split_once('/')?;
    let prefix: u32 = prefix.parse().ok()?;
    if let Ok(v4) = address.parse::<Ipv4Addr>() {
        let start = u128::from(u32::from(v4));
        return cut(start, prefix, 32, count, bits, |at| Ipv4Addr::from(at as u32).to_string());
    }
    let v6: Ipv6Addr = address.parse().ok()?;
    cut(u128::from(v6), prefix, 128, count, bits, |at| Ipv6Addr::from(at).to_string())
}

fn cut(
    start: u128,
    prefix: u32,
    width: u32,
    count: u32,
    bits: u32,
    print: impl Fn(u128) -> String,
) -> Option<Vec<String>> {
    let host = width.checked_sub(prefix)?;
    let fits = bits <= host && bits < 128 && (host - bits >= 32 || count <= 1 << (host - bits));
    if !(1..=256).contains(&count) || !fits {
        return None;
    }
    let block = |at: u32| start.checked_add(u128::from(at) << bits);
    (0..count).map(|at| Some(format!("{}/{}", print(block(at)?), width - bits))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_cut() {
        assert_eq!(
            blocks("192.168.0.0/24", 3, 5).expect("they fit"),
            ["192.168.0.0/27", "192.168.0.32/27", "192.168.0.64/27"]
        );
        assert_eq!(blocks("192.168.0.0/24", 9, 5), None);
        assert_eq!(blocks("2001:db8::/56", 1, 64).expect("fits"), ["2001:db8::/64"]);
        assert_eq!(blocks("nonsense", 1, 5), None);
    }
}
