//! Requests to an object store with the interface of Amazon S3.
//!
//! - [`Signer`]: AWS Signature Version 4 in a header field `Authorization`;
//! - [`Credentials`]: access keys, from a file in the format of AWS's tools;
//! - [`Bucket`]: host and path of an object;
//! - [`Response`]: what the store's response becomes for a client.

mod bucket;
mod credentials;
mod response;
mod signature;
#[cfg(test)]
mod tests;
mod time;

pub use self::bucket::{Bucket, BucketError, ObjectPath, Style, is_region};
pub use self::credentials::{Credentials, CredentialsError, MAX_FILE_LEN};
pub use self::response::{Response, error_code};
pub use self::signature::{Authorization, EMPTY_PAYLOAD, SignedRequest, Signer};
pub use self::time::Timestamp;
