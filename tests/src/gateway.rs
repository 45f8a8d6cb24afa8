//! The application's side of FastCGI and uwsgi, as far as NGINX uses them.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};

use crate::application::Asked;

// Types of FastCGI records.
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const END_REQUEST: u8 = 3;

/// The one request that NGINX sends on a connection.
const REQUEST_ID: u8 = 1;

/// A request; nothing if the connection has ended.
pub(crate) fn read_fastcgi(stream: &mut impl Read) -> io::Result<Option<Asked>> {
    let mut params = Vec::new();
    let mut body = Vec::new();
    loop {
        let Some(header) = read_some::<8>(stream)? else { return Ok(None) };
        let [_, kind, _, _, high, low, padding, _] = header;
        let mut content = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut content)?;
        stream.read_exact(&mut vec![0; usize::from(padding)])?;
        match kind {
            PARAMS => params.extend(content),
            STDIN if content.is_empty() => break,
            STDIN => body.extend(content),
            _ => {}
        }
    }
    let mut parameters = HashMap::new();
    let mut rest = &params[..];
    while !rest.is_empty() {
        let name = take_fastcgi_length(&mut rest)?;
        let value = take_fastcgi_length(&mut rest)?;
        parameters.insert(take_text(&mut rest, name)?, take_text(&mut rest, value)?);
    }
    Ok(Some(asked(parameters, body)))
}

/// An answer in records, the body cut into pieces as an application would send it.
pub(crate) fn fastcgi_reply(cgi: &[u8], with_end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in cgi.chunks(1000) {
        let [high, low] = u16::try_from(piece.len()).expect("a short piece").to_be_bytes();
        out.extend_from_slice(&[1, STDOUT, 0, REQUEST_ID, high, low, 0, 0]);
        out.extend_from_slice(piece);
    }
    if with_end {
        out.extend_from_slice(&[1, STDOUT, 0, REQUEST_ID, 0, 0, 0, 0]);
        out.extend_from_slice(&[1, END_REQUEST, 0, REQUEST_ID, 0, 8, 0, 0]);
        out.extend_from_slice(&[0; 8]);
    }
    out
}

/// The head of an HTTP answer as CGI has it.
pub(crate) fn cgi_head(head: &[u8]) -> Vec<u8> {
    match head.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => [b"Status: ", rest].concat(),
        None => head.to_vec(),
    }
}

/// A request; nothing if the connection has ended.
pub(crate) fn read_uwsgi(stream: &mut impl Read) -> io::Result<Option<Asked>> {
    let Some([_, low, high, _]) = read_some::<4>(stream)? else { return Ok(None) };
    let mut vars = vec![0; usize::from(u16::from_le_bytes([low, high]))];
    stream.read_exact(&mut vars)?;
    let mut parameters = HashMap::new();
    let mut rest = &vars[..];
    while !rest.is_empty() {
        let name = take_uwsgi_text(&mut rest)?;
        parameters.insert(name, take_uwsgi_text(&mut rest)?);
    }
    let length = parameters.get("CONTENT_LENGTH").and_then(|value| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Some(asked(parameters, body)))
}

/// The request that the parameters tell of.
fn asked(parameters: HashMap<String, String>, body: Vec<u8>) -> Asked {
    let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let mut headers: Vec<(String, String)> = parameters
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("HTTP_")?.to_ascii_lowercase().replace('_', "-");
            Some((name, value.clone()))
        })
        .collect();
    headers.sort();
    Asked {
        method: get("REQUEST_METHOD"),
        target: format!("{}?{}", get("SCRIPT_NAME"), get("QUERY_STRING")),
        headers,
        parameters,
        body,
        connection: 0,
    }
}

/// So many bytes; nothing if the connection ends before the first.
fn read_some<const N: usize>(stream: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match stream.read(&mut bytes)? {
        0 => Ok(None),
        count => {
            stream.read_exact(&mut bytes[count..])?;
            Ok(Some(bytes))
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len).ok_or(ErrorKind::InvalidData)?;
    *rest = left;
    Ok(taken)
}

fn take_text(rest: &mut &[u8], len: usize) -> io::Result<String> {
    take(rest, len).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// One byte, or four with the highest bit set.
fn take_fastcgi_length(rest: &mut &[u8]) -> io::Result<usize> {
    let first = take(rest, 1)?[0];
    if first < 0x80 {
        return Ok(usize::from(first));
    }
    let more = take(rest, 3)?;
    let length = u32::from_be_bytes([first & 0x7f, more[0], more[1], more[2]]);
    usize::try_from(length).map_err(io::Error::other)
}

fn take_uwsgi_text(rest: &mut &[u8]) -> io::Result<String> {
    let length = take(rest, 2)?;
    take_text(rest, usize::from(u16::from_le_bytes([length[0], length[1]])))
}
