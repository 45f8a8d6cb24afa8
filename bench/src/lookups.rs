//! What a site pays for authorization by its application: the same ranges through Flask, through
//! the lookup of Flask, and without an application.

use std::path::Path;

use serde_json::{Map, Value};

use crate::application::Application;
use crate::client::Connection;
use crate::load::{Client, Running, SERVER, rounds};
use crate::throughput::{plot, report};
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
    for (number, (variant, asks)) in VARIANTS.iter().enumerate() {
        let (application, cookie) = match asks {
            Asks::Nobody => (None, String::new()),
            Asks::Old => {
                let environment = [("RECORDINGS", recordings.as_path())];
                let name = "old_application:app";
                (Some(Application::start(bench, name, SERVER, &environment)?), String::new())
            }
            Asks::New => {
                let plays = bench.dir.join("plays.log");
                let environment =
                    [("SECRET_KEY", Path::new("only for measurements")), ("PLAYS_LOG", &plays)];
                let application =
                    Application::start(bench, "app:application", SERVER, &environment)?;
                let cookie = log_in(&application)?;
                (Some(application), cookie)
            }
        };
        running.push(Running::start(bench, &files, variant, number, application, cookie)?);
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
    plot(bench, PART, PART, title, &running, &measured)?;
    for running in running {
        running.stop()?;
    }
    bench.keep(PART, &Value::Object(results))
}

/// Begins a session, and gives the cookie of it.
fn log_in(application: &Application) -> Result<String> {
    let form = "user=alice&password=wonderland";
    let len = form.len();
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
    );
    let mut connection = Connection::open(application.address)?;
    let response = connection.ask(request.as_bytes())?;
    let cookie = response.header("Set-Cookie").and_then(|cookie| cookie.split(';').next());
    Ok(cookie.ok_or("no session")?.to_owned())
}
