//! Files of credentials.

use std::rc::Rc;

use model::s3::{Bucket, Credentials, EMPTY_PAYLOAD, SignedRequest, Signer, Style, Timestamp};
use model::text::Pieces;

/// Reads a file, and signs with what is in it.
pub fn credentials(data: &[u8]) {
    let read = Credentials::parse(data, "default");
    let changed = Credentials::parse(&with_other_values(data), "default");
    match (read, changed) {
        (Ok(credentials), Ok(_)) => sign(data, credentials),
        // What is wrong is said without the values.
        (Err(error), Err(other)) => {
            let text = error.to_string();
            assert_eq!(text, other.to_string());
            let is_own =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b" \":=,_".contains(&b);
            assert!(text.len() < 100 && text.bytes().all(is_own), "{text}");
        }
        (read, changed) => panic!("{read:?} with {changed:?}"),
    }
}

/// The same file with other letters in its values.
fn with_other_values(data: &[u8]) -> Vec<u8> {
    let other = |b: &u8| match b {
        b'a'..=b'y' | b'A'..=b'Y' => b + 1,
        b'z' | b'Z' => b - 25,
        b => *b,
    };
    let change = |line: &[u8]| match line.iter().position(|&b| b == b'=') {
        Some(at) if !line.trim_ascii().starts_with(b"[") => {
            let (name, value) = line.split_at(at);
            [name, &value.iter().map(other).collect::<Vec<_>>()].concat()
        }
        _ => line.to_vec(),
    };
    data.split(|&b| b == b'\n').map(change).collect::<Vec<_>>().join(&b'\n')
}

/// What is sent fits into a header.
fn sign(data: &[u8], credentials: Credentials) {
    if let Some(token) = credentials.token() {
        assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
        assert!(data.windows(token.len()).any(|window| window == token.as_bytes()));
    }
    let credentials = Rc::new(credentials);
    let bucket = Bucket::new("b", "h", Style::Path).expect("a bucket");
    let request = SignedRequest {
        method: b"GET",
        path: bucket.path(data),
        query: "",
        fields: &[("host", b"h")],
        payload_hash: EMPTY_PAYLOAD,
    };
    let mut path = Vec::new();
    request.path.write(|piece| path.extend_from_slice(piece));
    assert!(path.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(b)));
    let signer = Signer::new("r", "s3");
    let mut value = Vec::new();
    signer
        .sign(&credentials, Timestamp::new(data.len() as u64), &request)
        .write(|piece| value.extend_from_slice(piece));
    assert!(value.iter().all(|&b| b.is_ascii_graphic() || b == b' '));
    assert_eq!(value.iter().filter(|&&b| b == b'/').count(), 4);
    assert_eq!(value.iter().filter(|&&b| b == b',').count(), 2);
}
