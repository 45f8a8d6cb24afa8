//! The client of a request: its address and User-Agent, when it has begun, and what it was sent; and
//! the clocks of the event loop.

use nginx_sys::{ngx_cached_time, ngx_current_msec, sockaddr};

use super::request::{Request, bytes};

/// As much of an address as tells one client from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAddress {
    V4([u8; 4]),
    /// The first half, which is all that providers give to one subscriber at the least.
    V6([u8; 8]),
    /// Of a Unix socket.
    Unknown,
}

impl ClientAddress {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
            Self::Unknown => &[],
        }
    }

    /// # Safety
    ///
    /// `address` is valid, with the length that its family has.
    unsafe fn of(address: *const sockaddr) -> Self {
        // SAFETY: by the contract; nginx allocates addresses aligned for any family.
        unsafe {
            match libc::c_int::from((*address).sa_family) {
                libc::AF_INET => {
                    let address = address.cast::<libc::sockaddr_in>();
                    Self::V4((*address).sin_addr.s_addr.to_ne_bytes())
                }
                libc::AF_INET6 => {
                    let address = address.cast::<libc::sockaddr_in6>();
                    match (*address).sin6_addr.s6_addr {
                        // A socket that listens on [::] has clients with IPv4.
                        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => {
                            Self::V4([a, b, c, d])
                        }
                        [a, b, c, d, e, f, g, h, ..] => Self::V6([a, b, c, d, e, f, g, h]),
                    }
                }
                _ => Self::Unknown,
            }
        }
    }
}

/// The time of the event loop, in seconds since 1970.
pub(crate) fn now() -> u64 {
    // SAFETY: nginx points the variable to the latest of several times, which it does not change.
    let seconds = unsafe { (*(&raw const ngx_cached_time).read_volatile()).sec };
    u64::try_from(seconds).unwrap_or(0)
}

/// The event loop's clock, in milliseconds since some time. It is never set back.
pub(crate) fn milliseconds() -> u64 {
    // SAFETY: nginx writes the variable on the event loop only.
    unsafe { (&raw const ngx_current_msec).read_volatile() as u64 }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl<'r> Request<'r> {
    /// The client's address, after `realip`.
    pub(crate) fn client_address(&self) -> ClientAddress {
        // SAFETY: see above; a connection has an address.
        unsafe {
            let address = (*(*self.as_raw()).connection).sockaddr;
            if address.is_null() { ClientAddress::Unknown } else { ClientAddress::of(address) }
        }
    }

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
