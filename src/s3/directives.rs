//! The directive of an object store.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::str;
use std::rc::Rc;

use model::s3::{Bucket, Signer, Style, is_region};

use super::Store;
use super::credentials::CredentialsFile;
use crate::config::MainConf;
use crate::config::directives::{DirectiveError, invalid_parameter};
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, PathBase};
use crate::nginx::log::Text;

/// The service in the scope of a signature.
const SERVICE: &str = "s3";

/// `xspace_s3 bucket=name region=name credentials=file [profile=name] [style=path|virtual]
/// [endpoint-host=name[:port]];`
pub(crate) fn s3(conf: &Conf<'_>, main: &MainConf) -> Result<Rc<Store>, DirectiveError> {
    let mut values = [None; 6];
    let names = ["bucket", "region", "credentials", "profile", "style", "endpoint-host"];
    for parameter in conf.arguments() {
        let given = split(parameter).and_then(|(name, value)| {
            let at = names.iter().position(|known| known.as_bytes() == name)?;
            // None of them may be empty, or be given twice.
            let place = values.get_mut(at).filter(|_| !value.is_empty())?;
            place.replace(value).is_none().then_some(())
        });
        given.ok_or_else(|| invalid_parameter(parameter, conf))?;
        if parameter.contains(&b'$') {
            return Err(with_why(parameter, conf, "variables are not supported"));
        }
    }
    let [bucket, region, path, profile, style, host] = values;
    let required = |value: Option<&'static [u8]>, name| {
        value.ok_or_else(|| DirectiveError::Invalid(format!("no \"{name}\" in \"xspace_s3\"")))
    };
    let bucket = text("bucket", required(bucket, "bucket")?, conf)?;
    let region = text("region", required(region, "region")?, conf)?;
    let path = required(path, "credentials")?;
    let profile = text("profile", profile.unwrap_or(b"default"), conf)?;
    if !is_region(region) {
        return Err(invalid_parameter(format!("region={region}").as_bytes(), conf));
    }
    let style = match style {
        None | Some(b"path") => Style::Path,
        Some(b"virtual") => Style::Virtual,
        Some(other) => return Err(invalid_parameter(&[b"style=", other].concat(), conf)),
    };
    let default_host = format!("s3.{region}.amazonaws.com");
    let host = host.map_or(Ok(default_host.as_str()), |host| text("endpoint-host", host, conf))?;
    let location = conf.location().ok_or(Failure("no location"))?;
    let name = bucket;
    let bucket = Bucket::new(name, host, style).map_err(|why| {
        let parameter = match why {
            model::s3::BucketError::Host => format!("endpoint-host={host}"),
            _ => format!("bucket={name}"),
        };
        with_why(parameter.as_bytes(), conf, &why.to_string())
    })?;
    let path = conf.full_path(path, PathBase::Configuration)?;
    let store = Rc::new(Store {
        bucket,
        bucket_name: name.into(),
        signer: Signer::new(region, SERVICE),
        credentials: credentials(conf, main, path, profile)?,
        location,
        position: conf.position(),
        is_warned: Cell::default(),
    });
    main.s3.stores.borrow_mut().push(Rc::clone(&store));
    Ok(store)
}

/// Name and value of `name=value`.
fn split(parameter: &'static [u8]) -> Option<(&'static [u8], &'static [u8])> {
    let at = parameter.iter().position(|&byte| byte == b'=')?;
    Some((parameter.get(..at)?, parameter.get(at + 1..)?))
}

fn text<'v>(name: &str, value: &'v [u8], conf: &Conf<'_>) -> Result<&'v str, DirectiveError> {
    str::from_utf8(value)
        .map_err(|_| invalid_parameter(&[name.as_bytes(), b"=", value].concat(), conf))
}

fn with_why(parameter: &[u8], conf: &Conf<'_>, why: &str) -> DirectiveError {
    let (directive, parameter) = (Text(conf.argument(0)), Text(parameter));
    DirectiveError::Invalid(format!("invalid parameter \"{parameter}\" in \"{directive}\": {why}"))
}

/// The profile in a file: that of an earlier directive, or a new one.
fn credentials(
    conf: &Conf<'_>,
    main: &MainConf,
    path: &'static [u8],
    profile: &str,
) -> Result<Rc<CredentialsFile>, DirectiveError> {
    let mut files = main.s3.files.borrow_mut();
    if let Some(file) = files.iter().find(|file| file.is(path, profile)) {
        return Ok(Rc::clone(file));
    }
    let file = CredentialsFile::load(path, profile, conf.position(), conf.log_handle());
    let file = Rc::new(file.map_err(DirectiveError::Invalid)?);
    files.push(Rc::clone(&file));
    Ok(file)
}
