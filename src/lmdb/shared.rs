//! The environments that are open in this process.
//!
//! LMDB must not open one twice in a process ("Caveats" in `lmdb.h`): closing a file ends all locks
//! that the process has on it, whatever descriptor they were made with (fcntl(2)), and the next
//! process to open the environment then empties the table of readers. So all catalogs share an environment,
//! whatever path they name it by, in a single process those of the earlier configuration, too.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::environment::{Environment, Files, Paths};
use super::error::OpenError;
use super::library::Library;

/// A place for an environment, which is made with the configuration: opening allocates nothing but
/// what LMDB needs.
#[derive(Debug)]
pub(super) struct Place(Mutex<Option<(Files, Environment)>>);

/// The places of all catalogs.
static PLACES: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

impl Place {
    /// An empty one.
    pub(super) fn new() -> Arc<Self> {
        let place = Arc::new(Self(Mutex::new(None)));
        let mut places = lock(&PLACES);
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        place
    }

    /// Removes places that nobody uses any more, and the one of a catalog that is dropped unless others
    /// have an environment there: a module that is unloaded leaves nothing.
    pub(super) fn remove(own: &Arc<Self>) {
        let mut places = lock(&PLACES);
        places.retain(|place| match place.strong_count() {
            0 => false,
            1 => place.as_ptr() != Arc::as_ptr(own),
            _ => true,
        });
        if places.is_empty() {
            *places = Vec::new();
        }
    }

    /// The environment, if one is open there. Only the event loop locks it, for one look.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<(Files, Environment)>> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of the environment with these files: that of another catalog, or `own`, in which it is
/// opened.
pub(super) fn open<'p>(
    own: &Arc<Place>,
    library: &'static Library,
    paths: &'p Paths,
    files: Files,
) -> Result<Arc<Place>, OpenError<'p>> {
    for place in lock(&PLACES).iter().filter_map(Weak::upgrade) {
        let mut content = place.lock();
        match &*content {
            Some((open, _)) if *open == files => {
                drop(content);
                return Ok(place);
            }
            // One of two files was replaced. Other catalogs that have it open notice that, too.
            Some((open, _)) if open.data == files.data || open.lock == files.lock => {
                *content = None
            }
            _ => {}
        }
    }
    let mut content = own.lock();
    *content = None;
    *content = Some((files, Environment::open(library, paths, files)?));
    drop(content);
    Ok(Arc::clone(own))
}
