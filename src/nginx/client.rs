//! The client of a request: its address and User-Agent, when it has begun, and what it was sent.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::request::Request;
#[cfg(feature = "plays")]
use super::request::bytes;

// SAFETY of this block's calls: as for the other methods of `Request`.
impl Request<'_> {
    /// The address of the client, after the realip module; `None` on a Unix socket.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        // SAFETY: see above; a connection has the address of its client, which begins with the
        // family and is as long as that has it, or null.
        unsafe {
            let address = (*(*self.as_raw()).connection).sockaddr.cast::<libc::sockaddr>();
            let family = address.as_ref()?.sa_family;
            match libc::c_int::from(family) {
                libc::AF_INET => {
                    let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
                }
                libc::AF_INET6 => {
                    let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
                }
                _ => None,
            }
        }
    }
}

/// What is recorded with a play.
// SAFETY of this block's calls: as for the other methods of `Request`.
#[cfg(feature = "plays")]
impl<'r> Request<'r> {
    /// The value of User-Agent.
    pub(crate) fn user_agent(&self) -> &'r [u8] {
        // SAFETY: see above; null or a field in the list of the request's, whose bytes stay.
        unsafe {
            let field = (*self.as_raw()).headers_in.user_agent;
            field.as_ref().map_or(&[], |field| bytes(field.value))
        }
    }

    /// When the request has begun, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        // SAFETY: see above.
        u64::try_from(unsafe { (*self.as_raw()).start_sec }).unwrap_or(0)
    }

    /// How many bytes of content were sent, as `$body_bytes_sent`.
    pub(crate) fn content_sent(&self) -> u64 {
        // SAFETY: see above.
        unsafe {
            let sent = u64::try_from((*(*self.as_raw()).connection).sent).unwrap_or(0);
            sent.saturating_sub((*self.as_raw()).header_size as u64)
        }
    }
}
