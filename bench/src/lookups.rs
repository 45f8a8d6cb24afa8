//! What a site pays for authorization by its application: the same ranges through Flask, through
//! the lookup of Flask, and without an application.

use std::ffi::OsStr;

use serde_json::{Map, Value};
use xspace_tests::{Address, Program, RawConnection};

use crate::load::{Client, Running, application, rounds};
use crate::throughput::report;
use crate::variants::{self, Files, Variant};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "lookups";

/// The length of the ranges that are asked for.
const LEN: usize = 64 * 1024;

/// Which application a variant asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nobody,
    /// The one that serves recordings itself, as it was before the module.
    Old,
    /// The one that authorizes, by a session.
    New,
}

/// What is compared; the last one is what all are compared with.
const VARIANTS: [(Variant, Asks); 8] = [
    (variants::FLASK_SEND_FILE, Asks::Old),
    (variants::FLASK_X_ACCEL, Asks::Old),
    (variants::AUTHORIZED_BY_FLASK, Asks::New),
    (variants::LOOKUP, Asks::New),
    (variants::LOOKUP_CACHED, Asks::New),
    (variants::CATALOG, Asks::Nobody),
    (variants::DIRECTORY_FIRST, Asks::Nobody),
    (variants::STATIC_FILES, Asks::Nobody),
];

/// Measures in turns.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let machine = bench.machine();
    let recordings = files.downloads();
    let mut running = Vec::new();
    for (variant, asks) in &VARIANTS {
        let (application, cookie) = match asks {
            Asks::Nobody => (None, String::new()),
            Asks::Old => {
                let environment = [("RECORDINGS", recordings.as_os_str())];
                (Some(application("old_application:app", &environment)), String::new())
            }
            Asks::New => {
                let environment = [("SECRET_KEY", OsStr::new("only for measurements"))];
                let application = application("app:application", &environment);
                let cookie = log_in(&application)?;
                (Some(application), cookie)
            }
        };
        running.push(Running::start(bench, &files, variant, application, cookie)?);
    }
    for running in &running {
        running.check(&files, LEN)?;
    }
    let count = if bench.quick { 3 } else { 7 };
    let base = VARIANTS.len() - 1;
    let measured = rounds(&running, count, base, |running| running.turn(Client::Http1, LEN))?;
    let title = "The application's part, ranges of 64 KiB";
    let mut results = Map::new();
    results.insert("machine".into(), machine);
    results.insert("rows".into(), report(title, &running, &measured));
    for running in running {
        running.stop();
    }
    bench.keep(PART, &Value::Object(results))
}

/// Begins a session, and gives the cookie of it.
fn log_in(application: &Program) -> Result<String> {
    let form = "user=alice&password=wonderland";
    let len = form.len();
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
    );
    let Address::Tcp(address) = *application.address() else { return Err("no port".into()) };
    let response = RawConnection::open(address).ask(request);
    let cookie = response.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    Ok(cookie.ok_or("no session")?.to_owned())
}
