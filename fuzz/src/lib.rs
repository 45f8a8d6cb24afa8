//! What must hold for the model whatever it is given. Each function takes the bytes of a fuzzer
//! and panics if something does not hold.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod catalog;
mod credentials;
mod disposition;
mod links;
mod lookup;
mod request;

pub use catalog::{catalog, catalog_memory};
pub use credentials::credentials;
pub use disposition::disposition;
pub use links::links;
pub use lookup::lookup;
pub use request::request;

/// The grammar of space ids, in other words than the model's.
fn is_id(bytes: &[u8]) -> bool {
    let is_id_byte = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_');
    (1..=128).contains(&bytes.len()) && bytes.iter().all(is_id_byte)
}
