//! A client of memcached.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection by the text protocol.
#[derive(Debug)]
pub struct Memcached(BufReader<UnixStream>);

impl Memcached {
    /// Connects to a socket.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(socket).expect("memcached can be reached")))
    }

    /// Stores a value.
    #[track_caller]
    pub fn set(&mut self, key: &str, value: &str) {
        self.set_all([(key, value)]);
    }

    /// Stores values, the last of which alone is confirmed.
    #[track_caller]
    pub fn set_all<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        values: impl IntoIterator<Item = (K, V)>,
    ) {
        let mut output = BufWriter::with_capacity(64 * 1024, self.0.get_mut());
        let mut write = |(key, value): (K, V), end: &str| {
            let (key, value) = (key.as_ref(), value.as_ref());
            write!(output, "set {key} 0 0 {}{end}\r\n{value}\r\n", value.len()).expect("it reads");
        };
        let mut values = values.into_iter().peekable();
        while let Some(value) = values.next() {
            write(value, if values.peek().is_some() { " noreply" } else { "" });
        }
        output.flush().expect("memcached reads");
        drop(output);
        let mut line = String::new();
        self.0.read_line(&mut line).expect("memcached answers");
        assert_eq!(line, "STORED\r\n");
    }
}
