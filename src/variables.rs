//! The values of the module's variables.
//!
//! They speak of the client's request, also where a subrequest asks for them. Before the module's
//! handlers have run, what is asked for is read from the URI as it is then.

#![forbid(unsafe_code)]

use model::filename::FileName;
use model::play::is_play;
use nginx_sys::NGX_HTTP_GET;

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::request::state::{Record, Redirect, Space, evaluate_space};

/// A variable of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Variable {
    Id,
    Format,
    File,
    Title,
    Filename,
    Disposition,
    Source,
    Outcome,
    Counted,
}

/// All variables with their names.
pub(crate) const ALL: [(&str, Variable); 9] = [
    ("xspace_id", Variable::Id),
    ("xspace_format", Variable::Format),
    ("xspace_file", Variable::File),
    ("xspace_title", Variable::Title),
    ("xspace_filename", Variable::Filename),
    ("xspace_disposition", Variable::Disposition),
    ("xspace_source", Variable::Source),
    ("xspace_outcome", Variable::Outcome),
    ("xspace_counted", Variable::Counted),
];

/// The value of a variable for a request; `None` if it has none.
pub(crate) fn value<'r>(
    variable: Variable,
    request: &Request<'r>,
) -> Result<Option<&'r [u8]>, Failure> {
    let request = &request.main();
    let record = Record::find(request).filter(|record| record.applies(request));
    match variable {
        Variable::Id => return id(request, record),
        Variable::Format => return format(request, record),
        _ => {}
    }
    let Some(record) = record else {
        return Ok(None);
    };
    let (decided, redirect) = (&record.decided, record.decided.redirect());
    Ok(match variable {
        Variable::File => redirect.map(|redirect| redirect.file),
        Variable::Filename => match redirect {
            Some(redirect) => Some(file_name(request, record, redirect)?),
            None => None,
        },
        Variable::Disposition => redirect.map(|_| decided.disposition().as_str().as_bytes()),
        Variable::Source => redirect.map(|redirect| redirect.source.as_str().as_bytes()),
        Variable::Outcome => decided.outcome().map(|outcome| outcome.as_str().as_bytes()),
        Variable::Counted => is_counted(request, record).then_some(b"1"),
        Variable::Title => decided.title().map(|title| title.as_str().as_bytes()),
        Variable::Id | Variable::Format => None,
    })
}

fn id<'r>(
    request: &Request<'r>,
    record: Option<&'r Record<'r>>,
) -> Result<Option<&'r [u8]>, Failure> {
    Ok(asked(request, record)?.map(|(asked, _)| asked.id.as_bytes()))
}

/// The chosen extension, before the choice the word that was asked with: always one that the
/// configuration knows.
fn format<'r>(
    request: &Request<'r>,
    record: Option<&'r Record<'r>>,
) -> Result<Option<&'r [u8]>, Failure> {
    if let Some(redirect) = record.and_then(|record| record.decided.redirect()) {
        return Ok(Some(redirect.format.extension().as_bytes()));
    }
    Ok(asked(request, record)?.and_then(|(asked, lcf)| {
        let word = lcf.formats()?.word(asked.selection.ok()?);
        (!word.is_empty()).then_some(word.as_bytes())
    }))
}

/// What is asked for, and the location that says how to ask. Before the request has a record that
/// counts, it is found out from what the request is now.
fn asked<'r>(
    request: &Request<'r>,
    record: Option<&'r Record<'r>>,
) -> Result<Option<(model::request::SpaceRequest<'r>, &'static LocationConf)>, Failure> {
    let lcf = match record {
        Some(record) => Some(record.lcf()),
        None => request.location_conf::<LocationConf>(),
    };
    let Some(lcf) = lcf else { return Ok(None) };
    let (space, lcf) = match (lcf.circle(), record) {
        (Some(circle), _) => Record::fixed_space(request).ok_or(circle)?,
        (None, Some(record)) => (record.space(request)?, lcf),
        (None, None) => (evaluate_space(request, lcf, request.uri())?, lcf),
    };
    Ok(match space {
        Space::Valid(space) => Some((space, lcf)),
        Space::Open | Space::Invalid => None,
    })
}

fn file_name<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    redirect: &Redirect<'r>,
) -> Result<&'r [u8], Failure> {
    let Space::Valid(space) = record.space(request)? else {
        return Ok(&[]);
    };
    let title = record.decided.title();
    let name: FileName<'_> =
        record.lcf().file_name(request, title, space.id, redirect.format.extension())?;
    let buffer = request.pool().bytes(name.byte_len())?;
    let len = name.write(buffer).ok_or(TOO_LONG)?;
    buffer.get(..len).ok_or(TOO_LONG)
}

/// A name says itself how much room it needs at most.
const TOO_LONG: Failure = Failure("file name is longer than its buffer");

/// Whether the response starts a play; a page instead of the recording does not.
fn is_counted<'r>(request: &Request<'r>, record: &'r Record<'r>) -> bool {
    record.added.has_content_disposition()
        && request.method() == NGX_HTTP_GET
        && is_play(request.status(), request.response_field("Content-Range").next())
}
