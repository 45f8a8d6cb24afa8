//! Faults of the system under nginx: a library in front of the C library lets allocations fail,
//! moves the clock and counts looks at files (`preload/preload.c`).

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::files::project_dir;
use crate::site::Site;

/// The page that is shared with nginx. The fields are those of `struct page` in `preload.c`.
#[repr(C)]
#[derive(Debug)]
struct Page {
    fail_at: AtomicI64,
    fail_one_in: AtomicI64,
    allocations: AtomicI64,
    failures: AtomicI64,
    clock_offset: AtomicI64,
    looks: AtomicI64,
    random: AtomicI64,
}

/// What the library of a site is to do.
#[derive(Debug)]
pub struct Preload {
    page: NonNull<Page>,
}

// SAFETY: the page is nothing but atomic numbers.
unsafe impl Send for Preload {}
// SAFETY: as above.
unsafe impl Sync for Preload {}

impl Preload {
    /// Makes nginx of this site run with the library; it does nothing until it is told to.
    pub fn new(site: Site) -> (Self, Site) {
        let control = site.dir().join("preload");
        fs::write(&control, [0; size_of::<Page>()]).expect("a file for the shared page");
        let preload = Self { page: map(&control) };
        let library = library();
        let site = site
            .environment("LD_PRELOAD", library.to_str().expect("a UTF-8 path"))
            .environment("XSPACE_TEST_PRELOAD", control.to_str().expect("a UTF-8 path"));
        (preload, site)
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped for as long as this value lives, and all of it is atomic.
        unsafe { self.page.as_ref() }
    }

    /// Lets the allocation fail that is the `number`th from now on, counted from 1.
    pub fn fail_allocation(&self, number: i64) {
        self.page().fail_at.store(number, Ordering::SeqCst);
    }

    /// Lets one of so many allocations fail; 0: none.
    pub fn fail_one_in(&self, number: i64) {
        self.page().fail_one_in.store(number, Ordering::SeqCst);
    }

    /// How many allocations there were.
    pub fn allocations(&self) -> i64 {
        self.page().allocations.load(Ordering::SeqCst)
    }

    /// How many of them have failed.
    pub fn failures(&self) -> i64 {
        self.page().failures.load(Ordering::SeqCst)
    }

    /// Moves the clock so many seconds from where it really is.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.page().clock_offset.store(seconds, Ordering::SeqCst);
    }

    /// How often something below a directory `downloads` was looked at.
    pub fn looks(&self) -> i64 {
        self.page().looks.load(Ordering::SeqCst)
    }
}

impl Drop for Preload {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this size, and used by nobody any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), size_of::<Page>()) };
    }
}

fn map(path: &Path) -> NonNull<Page> {
    let file = File::options().read(true).write(true).open(path).expect("the shared page");
    // SAFETY: a new mapping of a file that has this size; the kernel gives it an aligned place.
    let page = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let len = size_of::<Page>();
        libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    NonNull::new(page.cast()).expect("no mapping is at 0")
}

/// The library, built once per run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let dir = project_dir().join("build/tests");
        fs::create_dir_all(&dir).expect("build/tests can be made");
        let library = dir.join("preload.so");
        // Another run may be making the same file: each makes its own and renames it.
        let unfinished = dir.join(format!("unfinished-{}.so", process::id()));
        let status = Command::new("cc")
            .args(["-O2", "-fPIC", "-shared", "-Wall", "-o"])
            .arg(&unfinished)
            .arg(project_dir().join("tests/preload/preload.c"))
            .arg("-ldl")
            .status()
            .unwrap_or_else(|e| panic!("cannot run cc: {e}"));
        assert!(status.success(), "cc could not build preload.c");
        fs::rename(&unfinished, &library).expect("the library can be renamed");
        library
    })
}
