//! Which of several candidate files is served, and what the answer is if none is.

/// Of the files that an entry names so many are looked for at most. A look that is not answered from
/// memory stops a worker: for some milliseconds on a network file system.
pub const MAX_CANDIDATES: usize = 16;

/// What a look at the disk has shown of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A regular file of so many bytes.
    File(u64),
    /// Nothing, or something else than a regular file.
    Nothing,
    /// Permissions or symbolic links forbid the look.
    Denied,
    /// The look failed for a reason that says nothing about the file.
    Failed,
}

/// Why no candidate is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// There is no such recording: 404.
    NotFound,
    /// Every look was denied: 403.
    Forbidden,
    /// A look failed, so nothing can be said: 500. A 404 would be believed, and kept, by caches.
    Failed,
}

/// A search through candidates, the preferred one first.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    min_size: u64,
    looks: usize,
    denied: usize,
    failed: bool,
}

impl Search {
    /// Begins a search that passes over files of less than `min_size` bytes.
    pub fn new(min_size: u64) -> Self {
        Self { min_size, looks: 0, denied: 0, failed: false }
    }

    /// Takes what was seen of the next candidate and returns whether that is the one to serve.
    pub fn takes(&mut self, seen: Candidate) -> bool {
        self.looks += 1;
        match seen {
            Candidate::File(size) => return size >= self.min_size,
            Candidate::Nothing => {}
            Candidate::Denied => self.denied += 1,
            Candidate::Failed => self.failed = true,
        }
        false
    }

    /// Whether there were as many looks as an entry's files may take.
    pub fn is_exhausted(self) -> bool {
        self.looks >= MAX_CANDIDATES
    }

    /// What the answer is if no candidate was taken.
    pub fn miss(self) -> Miss {
        if self.failed {
            Miss::Failed
        } else if self.looks > 0 && self.denied == self.looks {
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
            (&[Nothing, Failed, Denied], Err(Miss::Failed), "a failed look"),
            (&[Failed, File(10)], Ok(1), "a failed look before one to serve"),
        ];
        for (seen, expected, what) in rows {
            let mut search = Search::new(10);
            let taken = seen.iter().position(|&seen| search.takes(seen));
            assert_eq!(taken.ok_or_else(|| search.miss()), *expected, "{what}");
        }
    }

    #[test]
    fn ends_after_as_many_looks_as_an_entry_may_take() {
        let mut search = Search::new(0);
        for looks in 0..MAX_CANDIDATES {
            assert!(!search.is_exhausted(), "{looks}");
            assert!(!search.takes(Candidate::Nothing));
        }
        assert!(search.is_exhausted());
        assert_eq!(search.miss(), Miss::NotFound);
    }
}
