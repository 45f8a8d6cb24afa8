//! The networks that links can be bound to.

use core::net::IpAddr;

/// The network of a client: the first three bytes of an IPv4 address, or the first eight bytes of an
/// IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// A /24.
    V4([u8; 3]),
    /// A /64.
    V6([u8; 8]),
}

impl Net {
    /// The network of an address. An IPv4 address that is mapped to IPv6 is an IPv4 address: so a
    /// socket that listens on `[::]` sees it.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// Reads 6 or 16 hexadecimal digits in lower case.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        match text.len() {
            6 => Some(Self::V4(bytes(text)?)),
            16 => Some(Self::V6(bytes(text)?)),
            _ => None,
        }
    }
}

fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |b: &u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (digit(high)? << 4) | digit(low)?;
    }
    Some(bytes)
}
