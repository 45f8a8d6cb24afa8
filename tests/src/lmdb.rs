//! LMDB environments, written by real writers.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::files::project_dir;
use crate::process::end_with_this_process;

/// A process that has an environment open to write to it, `tests/lmdb/writer.py`.
#[derive(Debug)]
pub struct LmdbWriter {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl LmdbWriter {
    /// Opens an environment, and makes it if it is not there. Anybody may use its files.
    #[track_caller]
    pub fn open(directory: &Path) -> Self {
        Self::open_with(directory, &json!({}))
    }

    /// The same with arguments of `lmdb.open()`.
    #[track_caller]
    pub fn open_with(directory: &Path, arguments: &Value) -> Self {
        let mut command = Self::command();
        command.arg(directory).arg(arguments.to_string());
        Self::start(&mut command)
    }

    /// The command that runs the writer, without its arguments. The variable names another Python
    /// than Debian's, with another package `lmdb`.
    pub fn command() -> Command {
        let python = std::env::var("XSPACE_TEST_LMDB_PYTHON").ok().filter(|path| !path.is_empty());
        let mut command = Command::new(python.unwrap_or_else(|| "/usr/bin/python3".to_owned()));
        command.arg(project_dir().join("tests/lmdb/writer.py"));
        command
    }

    /// Starts a command of this kind, and waits until it has the environment open.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        end_with_this_process(command);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut writer = Self { process, input, output };
        assert_eq!(writer.answer().as_deref(), Some("ok"), "the writer has started");
        if let Some(directory) = command.get_args().nth(1) {
            let _ = fs::set_permissions(directory, Permissions::from_mode(0o777));
        }
        writer
    }

    /// Writes entries, or removes those without a value, in one transaction.
    #[track_caller]
    pub fn write(&mut self, entries: &[(&str, Option<&str>)]) {
        assert_eq!(self.try_write(entries), Some("ok".to_owned()));
    }

    /// The same; gives what the writer answers, `None` if it has ended.
    pub fn try_write(&mut self, entries: &[(&str, Option<&str>)]) -> Option<String> {
        let entries: serde_json::Map<String, Value> =
            entries.iter().map(|&(key, value)| (key.to_owned(), json!(value))).collect();
        self.send(&json!(["write", entries]))
    }

    /// Writes one entry.
    #[track_caller]
    pub fn put(&mut self, key: &str, value: &str) {
        self.write(&[(key, Some(value))]);
    }

    /// Removes one entry.
    #[track_caller]
    pub fn delete(&mut self, key: &str) {
        self.write(&[(key, None)]);
    }

    /// Sends a command of `writer.py`; gives its answer, `None` if it has ended.
    pub fn send(&mut self, command: &Value) -> Option<String> {
        writeln!(self.input, "{command}").ok()?;
        self.answer()
    }

    fn answer(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = self.output.read_line(&mut line).ok()?;
        (len > 0).then(|| line.trim_end().to_owned())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it, wherever it is.
    pub fn kill(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for LmdbWriter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes entries with `mdb_load`, in an environment that is made if it is not there, for anybody to
/// use. The map is as large.
#[track_caller]
pub fn lmdb_load<K: AsRef<str>, V: AsRef<str>>(
    directory: &Path,
    map_size: u64,
    entries: impl IntoIterator<Item = (K, V)>,
) {
    fs::create_dir_all(directory).expect("a directory");
    let mut load = Command::new("mdb_load")
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run mdb_load: {e}"));
    let input = load.stdin.take().expect("a pipe");
    write_dump(input, map_size, entries).expect("mdb_load reads");
    assert!(load.wait().expect("mdb_load").success(), "mdb_load {}", directory.display());
    for name in ["data.mdb", "lock.mdb"] {
        let mode = Permissions::from_mode(0o666);
        fs::set_permissions(directory.join(name), mode).expect("the file's mode");
    }
    fs::set_permissions(directory, Permissions::from_mode(0o777)).expect("the directory's mode");
}

/// Gives the main database of an environment the flag `MDB_DUPSORT`, in both meta pages. LMDB 0.9.31 does
/// not do this anymore.
#[track_caller]
pub fn lmdb_set_dupsort(directory: &Path) {
    const PAGE: u64 = 4096;
    // Behind the header of the page and what the meta page has before its databases, the second of which
    // is the main one: `md_pad` has 4 bytes, then come its flags.
    const FLAGS: u64 = 16 + 24 + 48 + 4;
    const DUPSORT: u16 = 0x04;
    let file = OpenOptions::new().write(true).open(directory.join("data.mdb")).expect("data.mdb");
    for page in [0, PAGE] {
        file.write_all_at(&DUPSORT.to_ne_bytes(), page + FLAGS).expect("the flags are written");
    }
}

/// Writes what `mdb_dump -p` would have written.
fn write_dump<K: AsRef<str>, V: AsRef<str>>(
    output: impl Write,
    map_size: u64,
    entries: impl IntoIterator<Item = (K, V)>,
) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    write!(output, "VERSION=3\nformat=print\ntype=btree\nmapsize={map_size}\nHEADER=END\n")?;
    for (key, value) in entries {
        // Two backslashes for one are not read as such by mdb_load of 0.9.24.
        write!(output, " {}\n {}\n", key.as_ref(), value.as_ref().replace('\\', "\\5c"))?;
    }
    writeln!(output, "DATA=END")?;
    output.flush()
}

/// The keys and values of an environment, as `mdb_dump` shows them.
#[track_caller]
pub fn lmdb_entries(directory: &Path) -> BTreeMap<String, String> {
    let output = Command::new("mdb_dump").arg(directory).output().expect("mdb_dump");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mdb_dump: {said}");
    let text = String::from_utf8(output.stdout).expect("ASCII");
    let (_, text) = text.split_once("HEADER=END\n").expect("a header");
    let mut words = text.lines().map_while(|line| line.strip_prefix(' ')).map(|line| {
        let bytes = data_encoding::HEXLOWER.decode(line.as_bytes()).expect("hexadecimal");
        String::from_utf8(bytes).expect("UTF-8")
    });
    std::iter::from_fn(|| Some((words.next()?, words.next()?))).collect()
}

/// The process ids in the table of readers of an environment, as `mdb_stat -r` shows them.
#[track_caller]
pub fn lmdb_readers(directory: &Path) -> Vec<u32> {
    let output = Command::new("mdb_stat").arg("-r").arg(directory).output().expect("mdb_stat");
    // Its exit status is not 0 if there are readers.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Reader Table"), "mdb_stat: {}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().skip_while(|line| !line.contains("Reader Table")).skip(1);
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}
