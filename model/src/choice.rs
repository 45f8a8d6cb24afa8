//! Which of several candidate files is served, and which status follows if none is.

/// At most so many of an entry's files are checked with stat(). Where that is not answered from memory
/// it blocks the worker, on a network file system for some milliseconds.
pub const MAX_CANDIDATES: usize = 16;

/// What stat() says of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A regular file of so many bytes.
    File(u64),
    /// There is none, or it is not a regular file.
    Nothing,
    /// Permissions or symbolic links deny access.
    Denied,
    /// stat() failed for a reason that has nothing to do with the file.
    Failed,
}

/// Why no candidate is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// There is no such recording: 404.
    NotFound,
    /// Access to every candidate was denied: 403.
    Forbidden,
    /// stat() failed, so it is not known: 500. Caches would keep a 404.
    Failed,
}

/// A search through candidates, the preferred one first.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    min_size: u64,
    checked: usize,
    denied: usize,
    failed: bool,
}

impl Search {
    /// Begins a search that skips files of less than `min_size` bytes.
    pub fn new(min_size: u64) -> Self {
        Self { min_size, checked: 0, denied: 0, failed: false }
    }

    /// Adds the next candidate; returns whether that is the one to serve.
    pub fn takes(&mut self, candidate: Candidate) -> bool {
        self.checked += 1;
        match candidate {
            Candidate::File(size) => return size >= self.min_size,
            Candidate::Nothing => {}
            Candidate::Denied => self.denied += 1,
            Candidate::Failed => self.failed = true,
        }
        false
    }

    /// Whether [`MAX_CANDIDATES`] were checked.
    pub fn is_exhausted(self) -> bool {
        self.checked >= MAX_CANDIDATES
    }

    /// What follows if no candidate is served.
    pub fn miss(self) -> Miss {
        if self.failed {
            Miss::Failed
        } else if self.checked > 0 && self.denied == self.checked {
            Miss::Forbidden
        } else {
            Miss::NotFound
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches() {
        use Candidate::{Denied, Failed, File, Nothing};
        let rows: &[(&[Candidate], Result<usize, Miss>, &str)] = &[
            (&[], Err(Miss::NotFound), "no candidate"),
            (&[File(10)], Ok(0), "just large enough"),
            (&[File(9), File(10)], Ok(1), "the first is too small"),
            (&[File(9)], Err(Miss::NotFound), "too small"),
            (&[Nothing, File(11), File(12)], Ok(1), "the first that will do"),
            (&[Denied, Denied], Err(Miss::Forbidden), "all denied"),
            (&[Denied, Nothing], Err(Miss::NotFound), "one denied, one not there"),
            (&[Denied, File(1)], Err(Miss::NotFound), "one denied, one too small"),
            (&[Denied, File(10)], Ok(1), "one denied, one to serve"),
            (&[Nothing, Failed, Denied], Err(Miss::Failed), "a failure"),
            (&[Failed, File(10)], Ok(1), "a failure before one to serve"),
        ];
        for (seen, expected, what) in rows {
            let mut search = Search::new(10);
            let taken = seen.iter().position(|&seen| search.takes(seen));
            assert_eq!(taken.ok_or_else(|| search.miss()), *expected, "{what}");
        }
    }

    #[test]
    fn ends_after_the_most_candidates() {
        let mut search = Search::new(0);
        for checked in 0..MAX_CANDIDATES {
            assert!(!search.is_exhausted(), "{checked}");
            assert!(!search.takes(Candidate::Nothing));
        }
        assert!(search.is_exhausted());
        assert_eq!(search.miss(), Miss::NotFound);
    }
}
