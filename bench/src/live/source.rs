//! Where a server has its entries from, and how one of them is changed.

use std::fs::{self, File, hard_link};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use xspace_tests::{LmdbWriter, Memcached, Nginx, Program, Site};

use crate::catalog::data::{self, Asked, State};
use crate::site::site;
use crate::workbench::{Result, Workbench};

/// Where entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `xspace_catalog lmdb:…`
    Lmdb,
    /// `xspace_catalog` with a JSON file.
    File,
    /// `xspace_lookup` to a location with `memcached_pass`.
    Memcached,
    /// nginx's own `map` in front of an `alias`.
    Map,
}

impl Source {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Lmdb, Self::File, Self::Memcached, Self::Map];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lmdb => "catalog in LMDB",
            Self::File => "catalog in a JSON file",
            Self::Memcached => "lookup of memcached",
            Self::Map => "map",
        }
    }

    /// How often the file is checked, unless a measurement has another value.
    pub const REFRESH: &str = "100ms";

    /// The file that has the entries, generated if it is not there; memcached's are in no file.
    pub fn generated(self, bench: &Workbench, entries: u32) -> Result<Option<PathBuf>> {
        Ok(match self {
            Self::Lmdb => Some(data::lmdb(bench, entries)?.join("data.mdb")),
            Self::File => Some(data::catalog(bench, entries, State::Old)?),
            Self::Memcached => None,
            Self::Map => Some(data::map(bench, entries)?),
        })
    }

    /// A site with these entries, and static files beside it.
    pub fn set_up(
        self,
        bench: &Workbench,
        entries: u32,
        shape: Shape<'_>,
    ) -> Result<(Site, Entries)> {
        let recordings = data::recordings(bench)?;
        let site = beside(&recordings, site());
        let locations =
            |directives: &str| data::locations_with(&recordings, directives, shape.target);
        let mut memcached = None;
        let (site, writer) = match self {
            Self::Lmdb => {
                // What LMDB has is written in place.
                let path = data::lmdb(bench, entries)?;
                let directive = format!("xspace_catalog lmdb:{};", path.display());
                (site.server(&locations(&directive)), Writer::Lmdb(lmdb_writer(&path, true)))
            }
            Self::File => {
                let generated = data::catalog(bench, entries, State::Old)?;
                let file = Served::put(generated, bench.dir.join("live-served.json"))?;
                let (path, refresh) = (file.path.display(), shape.refresh);
                let directive = format!("xspace_catalog {path} refresh={refresh};");
                (site.server(&locations(&directive)), Writer::File(file))
            }
            Self::Memcached => {
                let socket = site.dir().join("memcached.sock");
                let lookup = locations("xspace_lookup /_space;");
                let site = site.http(UPSTREAM).server(LOOKUP).server(&lookup);
                memcached = shape.has_entries.then(|| load(&socket, entries));
                let connect = |_: &Program| Writer::Memcached(Memcached::connect(&socket));
                (site, memcached.as_ref().map_or(Writer::Nothing, connect))
            }
            Self::Map => {
                let generated = data::map(bench, entries)?;
                let file = Served::put(generated, bench.dir.join("live-served.conf"))?;
                let site = data::with_map(site, &recordings, &file.path, entries, shape.target);
                (site, Writer::Map(file))
            }
        };
        Ok((site, Entries { memcached, writer }))
    }
}

/// How a site is to be.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    /// Directives in the location of the recordings.
    pub target: &'s str,
    /// How often the file is checked.
    pub refresh: &'s str,
    /// Whether memcached runs; `nginx -t` needs none.
    pub has_entries: bool,
}

/// As it is measured where nothing else is said.
pub const PLAIN: Shape<'_> = Shape { target: "", refresh: Source::REFRESH, has_entries: true };

/// As `nginx-conf/lookup-memcached.conf` has it, with connections that are kept.
const LOOKUP: &str = "
location = /_space {
    internal;
    set $memcached_key space:$arg_id;
    memcached_pass memcached;
}";
const UPSTREAM: &str = "upstream memcached { server unix:{dir}/memcached.sock; keepalive 16; }";

/// The plain files that are compared with.
pub fn beside(recordings: &Path, site: Site) -> Site {
    // Most spaces have no recording here.
    site.http1_only()
        .http("log_not_found off;")
        .server(&format!("location ^~ /static/ {{ alias {}/; }}", recordings.display()))
}

/// Memcached with so many entries.
fn load(socket: &Path, entries: u32) -> Program {
    // The largest one fits; memory that is not used is not taken.
    const MEGABYTES: u32 = 8192;
    let memcached = Program::memcached(socket, MEGABYTES);
    let pairs = (0..entries).map(|number| (key(number), data::entry(number, State::Old)));
    Memcached::connect(socket).set_all(pairs);
    memcached
}

fn key(number: u32) -> String {
    format!("space:{}", data::id(number))
}

/// A program that writes to an environment, with or without fsync.
pub fn lmdb_writer(directory: &Path, has_sync: bool) -> LmdbWriter {
    let arguments = json!({ "map_size": data::LMDB_MAP_SIZE, "sync": has_sync });
    LmdbWriter::open_with(directory, &arguments)
}

/// The entries of a site.
pub struct Entries {
    memcached: Option<Program>,
    /// What changes them.
    pub writer: Writer,
}

/// A running nginx with its entries.
pub struct Server {
    /// The nginx.
    pub nginx: Nginx,
    /// Its entries.
    pub entries: Entries,
}

impl Server {
    /// Starts nginx.
    pub fn start((site, entries): (Site, Entries)) -> Self {
        Self { nginx: site.start(), entries }
    }

    /// Its processes: master, workers and memcached.
    pub fn processes(&self) -> Vec<u32> {
        let mut processes = vec![self.nginx.pid()];
        processes.extend(self.nginx.workers());
        processes.extend(self.entries.memcached());
        processes
    }

    /// Writes another state of the space that is asked for first.
    pub fn write(&mut self, state: State) -> Result<()> {
        self.entries.writer.write(state)?;
        if self.entries.writer.is_map() {
            self.nginx.hang_up();
        }
        Ok(())
    }

    /// Ends it and fails if it did not run well. What LMDB has, the next one finds as it was.
    pub fn stop(mut self) -> Result<()> {
        if matches!(self.entries.writer, Writer::Lmdb(_)) {
            self.write(State::Old)?;
        }
        self.nginx.finish();
        Ok(())
    }
}

impl Entries {
    /// Of a site that has none.
    pub fn none() -> Self {
        Self { memcached: None, writer: Writer::Nothing }
    }

    /// The process of memcached, if there is one.
    pub fn memcached(&self) -> Option<u32> {
        self.memcached.as_ref().map(Program::pid)
    }
}

/// What changes an entry.
pub enum Writer {
    /// A transaction, with fsync.
    Lmdb(LmdbWriter),
    /// A new file, renamed.
    File(Served),
    /// A `set`.
    Memcached(Memcached),
    /// A new file, renamed; nginx has to be told to reload.
    Map(Served),
    /// There are no entries.
    Nothing,
}

impl Writer {
    /// Whether workers see a change later, when they check the file.
    pub fn is_a_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Whether workers see a change after a reload only.
    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    fn write(&mut self, state: State) -> Result<()> {
        let number = Asked(0).number();
        let (id, entry) = (data::id(number), data::entry(number, state));
        match self {
            Self::Lmdb(writer) => writer.put(&id, &entry),
            Self::Memcached(client) => client.set(&key(number), &entry),
            Self::File(file) => file.replace_line(&id, &format!("\"{id}\": {entry},"))?,
            Self::Map(file) => file.replace_line(&id, &data::map_line(number, state))?,
            Self::Nothing => return Err("there is nothing to write to".into()),
        }
        Ok(())
    }
}

/// A file that nginx reads.
pub struct Served {
    /// What it was at first, and all but one line of it stays.
    generated: PathBuf,
    path: PathBuf,
}

impl Served {
    /// Puts a generated file in place.
    fn put(generated: PathBuf, path: PathBuf) -> Result<Self> {
        remove(&path)?;
        hard_link(&generated, &path)?;
        Ok(Self { generated, path })
    }

    /// Puts a copy in place by a rename, in which the line with an id, one of the first lines, is
    /// another one.
    fn replace_line(&self, id: &str, line: &str) -> Result<()> {
        let mut from = File::open(&self.generated)?;
        let mut head = Vec::new();
        Read::by_ref(&mut from).take(4096).read_to_end(&mut head)?;
        // The last character may be cut off.
        let head = String::from_utf8_lossy(&head);
        let at = head.find(id).ok_or("the entry is not at the beginning of the file")?;
        let start = head[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = at + head[at..].find('\n').ok_or("the line does not end")?;
        let new = self.path.with_extension("new");
        let mut to = File::create(&new)?;
        to.write_all(&head.as_bytes()[..start])?;
        to.write_all(line.as_bytes())?;
        from.seek(SeekFrom::Start(end as u64))?;
        io::copy(&mut from, &mut to)?;
        Ok(fs::rename(new, &self.path)?)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
