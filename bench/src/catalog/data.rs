//! Generated catalogs and recordings: the same on every machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xspace_tests::{Random, Response, Site, bytes, lmdb_load};

use crate::workbench::{Result, Workbench};

/// Part of the names of generated files: another number when something else is generated.
const VERSION: u32 = 1;

/// Entries are written in another order than they are counted in, so that those which are asked
/// for lie all over the file. No power of ten has a common divisor with it.
const STRIDE: u64 = 7919;

/// The size of the map of LMDB, of which only a part is used.
pub const LMDB_MAP_SIZE: u64 = 16 << 30;

/// How many spaces are asked for.
pub const ASKED: u32 = 100;

/// Every so manieth space is asked for; all are among the first thousand.
const ASKED_STEP: u32 = 10;

/// The length of a recording, and of the ranges that are asked for.
const RECORDING_LEN: u32 = 64 * 1024;
/// The length of the ranges that are asked for.
pub const RANGE_LEN: u32 = 4096;

/// Two states of the catalog: other titles and other files for the same spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What there is at first.
    Old,
    /// What it is replaced with.
    New,
}

impl State {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    fn year(self) -> u32 {
        match self {
            Self::Old => 2024,
            Self::New => 2025,
        }
    }
}

/// Words of titles; some need an escape in JSON, some are not ASCII.
const WORDS: [&str; 40] = [
    "the",
    "Rust",
    "in",
    "production",
    "talk",
    "with",
    "friends",
    "about",
    "music",
    "Größe",
    "open",
    "source",
    "weekly",
    "episode",
    "history",
    "of",
    "radio",
    "évolution",
    "night",
    "garden",
    "questions",
    "&",
    "answers",
    "live",
    "from",
    "Berlin",
    "日本",
    "science",
    "today",
    "coffee",
    "\"quoted\"",
    "space",
    "markets",
    "health",
    "design",
    "games",
    "launch",
    "party",
    "future",
    "stories",
];

/// A space id of 13 characters, as the recorder makes them.
pub fn id(number: u32) -> String {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = Random::new(u64::from(number));
    let tail = (0..12).map(|_| char::from(random.pick(CHARACTERS)));
    std::iter::once('1').chain(tail).collect()
}

/// The title of a space, about 40 characters long. It begins with the year of the state.
fn title(number: u32, state: State) -> String {
    let mut random = Random::new((u64::from(number) << 32) | u64::from(state.year()));
    let mut title = state.year().to_string();
    for _ in 0..4 + random.below(5) {
        title.push(' ');
        title.push_str(random.pick(&WORDS));
    }
    title
}

/// The path of a space's recording below the target, without its extension.
fn stem(number: u32, state: State) -> String {
    format!("{}/{:02}/{}", state.year(), number % 12 + 1, id(number))
}

/// The entry of a space: its title and two files.
pub fn entry(number: u32, state: State) -> String {
    let (title, stem) = (Value::from(title(number, state)), stem(number, state));
    format!(r#"{{"title": {title}, "files": ["{stem}.mp3", "{stem}.mp4"]}}"#)
}

/// Makes a file unless it is there already.
fn make(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        let mut out = BufWriter::with_capacity(256 * 1024, File::create(&unfinished)?);
        write(&mut out)?;
        out.flush()?;
        fs::rename(&unfinished, path)?;
    }
    Ok(())
}

/// A catalog of so many entries, each with a title and two files.
pub fn catalog(bench: &Workbench, entries: u32, state: State) -> Result<PathBuf> {
    let name = format!("catalog-{VERSION}-{entries}-{}.json", state.year());
    let path = bench.dir.join(name);
    make(&path, |out| {
        for place in 0..entries {
            let number = number_at(place, entries);
            let before = if place == 0 { "{" } else { "," };
            write!(out, "{before}\n\"{}\": {}", id(number), entry(number, state))?;
        }
        Ok(writeln!(out, "\n}}")?)
    })?;
    Ok(path)
}

/// The same in LMDB, in the order of the ids, as `mdb_load` makes it.
pub fn lmdb(bench: &Workbench, entries: u32) -> Result<PathBuf> {
    let path = bench.dir.join(format!("lmdb-{VERSION}-{entries}"));
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        remove(&unfinished)?;
        // Bytes of a fixed length need less memory than ten million strings.
        let mut ids: Vec<([u8; 13], u32)> = (0..entries)
            .map(|number| Ok((id(number).as_bytes().try_into()?, number)))
            .collect::<Result<_>>()?;
        ids.sort_unstable();
        let pairs = ids.iter().map(|&(_, number)| (id(number), entry(number, State::Old)));
        lmdb_load(&unfinished, LMDB_MAP_SIZE, pairs);
        fs::rename(&unfinished, &path)?;
    }
    Ok(path)
}

/// The same for nginx's own `map`: the path of one file for each space.
pub fn map(bench: &Workbench, entries: u32) -> Result<PathBuf> {
    let path = bench.dir.join(format!("map-{VERSION}-{entries}.conf"));
    make(&path, |out| {
        for place in 0..entries {
            let number = number_at(place, entries);
            writeln!(out, "{}", map_line(number, State::Old))?;
        }
        Ok(())
    })?;
    Ok(path)
}

/// A line of the map.
pub fn map_line(number: u32, state: State) -> String {
    format!("/download/{} {}.mp3;", id(number), stem(number, state))
}

/// A site with a map of so many entries, in front of the recordings. `target` is for their location.
pub fn with_map(site: Site, recordings: &Path, map: &Path, entries: u32, target: &str) -> Site {
    // Where the buckets have less room, nginx warns and takes longer.
    let http = format!(
        "map_hash_bucket_size 512; map_hash_max_size {entries};
        map $uri $space_file {{ include {}; }}",
        map.display()
    );
    let back = format!("alias {}/$space_file; {target}", recordings.display());
    // In a location that is no regular expression, nginx would append the id.
    site.http(&http).server(&format!("location ~ ^/download/ {{ {back} }}"))
}

fn number_at(place: u32, entries: u32) -> u32 {
    (u64::from(place) * STRIDE % u64::from(entries)) as u32
}

/// A directory with the recordings that are asked for: as a catalog names them, and as
/// `<id>.mp3`.
pub fn recordings(bench: &Workbench) -> Result<PathBuf> {
    let dir = bench.dir.join(format!("downloads-{VERSION}"));
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = dir.with_extension("unfinished");
    remove(&unfinished)?;
    for index in 0..ASKED {
        let asked = Asked(index);
        for state in [State::Old, State::New] {
            let path = unfinished.join(asked.file(state));
            fs::create_dir_all(path.parent().ok_or("no directory")?)?;
            fs::write(path, recording(index, state))?;
        }
        symlink(asked.file(State::Old), unfinished.join(format!("{}.mp3", asked.id())))?;
    }
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn recording(index: u32, state: State) -> Vec<u8> {
    let seed = (u64::from(index) << 32) | u64::from(state.year()) | (1 << 63);
    bytes(seed, RECORDING_LEN as usize)
}

/// A space that is asked for, by its place among them.
#[derive(Clone, Copy, Debug)]
pub struct Asked(pub u32);

impl Asked {
    /// The number of the space.
    pub fn number(self) -> u32 {
        self.0 * ASKED_STEP
    }

    /// Its id.
    pub fn id(self) -> String {
        id(self.number())
    }

    /// The path of its recording below the target.
    pub fn file(self, state: State) -> String {
        format!("{}.mp3", stem(self.number(), state))
    }
}

/// Requests for ranges of recordings, and the answers that they have to get.
#[derive(Debug)]
pub struct Requests {
    requests: Vec<Vec<u8>>,
    expected: [Vec<Expected>; 2],
}

#[derive(Debug)]
struct Expected {
    title: String,
    body: Vec<u8>,
}

impl Requests {
    /// One request for each space that is asked for: `path` tells where.
    pub fn new(path: impl Fn(Asked) -> String) -> Self {
        let start = |index: u32| index * RANGE_LEN % RECORDING_LEN;
        let request = |index: u32| {
            let (start, path) = (start(index), path(Asked(index)));
            let end = start + RANGE_LEN - 1;
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={start}-{end}\r\n\r\n")
        };
        let expected = |state: State| {
            let expected = |index: u32| {
                let start = start(index) as usize;
                let body = recording(index, state)[start..start + RANGE_LEN as usize].to_vec();
                Expected { title: title(Asked(index).number(), state), body }
            };
            (0..ASKED).map(expected).collect()
        };
        Self {
            requests: (0..ASKED).map(|index| request(index).into_bytes()).collect(),
            expected: [expected(State::Old), expected(State::New)],
        }
    }

    /// The same at the module's location.
    pub fn downloads() -> Self {
        Self::new(|asked| format!("/download/{}", asked.id()))
    }

    /// A request; they begin anew after the last one.
    pub fn get(&self, turn: usize) -> &[u8] {
        &self.requests[turn % self.requests.len()]
    }

    /// Checks an answer: status, body and, if there is one in a header field `X-Title`, the title
    /// have to be those of one state of the catalog, which is returned.
    pub fn check(&self, turn: usize, response: &Response) -> Result<State> {
        if response.status != 206 {
            return Err(format!("status {} for request {turn}", response.status).into());
        }
        let title = response.header("x-title");
        let is_of = |state: &State| {
            let expected = &self.expected[*state as usize];
            let expected = &expected[turn % expected.len()];
            response.body == expected.body && title.is_none_or(|title| title == expected.title)
        };
        match [State::Old, State::New].into_iter().find(is_of) {
            Some(state) => Ok(state),
            None => Err(format!("request {turn} got neither the old nor the new answer").into()),
        }
    }
}

/// The locations: the catalog's in front of the recordings.
pub fn locations(recordings: &Path, directives: &str) -> String {
    locations_with(recordings, directives, SHOW_TITLE)
}

/// Lets a response have the title that [`Requests::check`] looks at.
pub const SHOW_TITLE: &str = "add_header X-Title $xspace_title;";

/// The same with other directives in the location of the recordings.
pub fn locations_with(recordings: &Path, directives: &str, target: &str) -> String {
    format!(
        "location ^~ /download/ {{
            xspace_download /downloads/;
            {directives}
        }}
        location ^~ /downloads/ {{
            internal;
            alias {}/;
            {target}
        }}",
        recordings.display()
    )
}
