//! Memory that processes share.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::atomic::AtomicU64;

/// Maps a file as words that all processes see that map it, for as long as this process lives. The
/// file is as long as the words, whatever it was before.
pub fn shared_words(path: &Path, count: usize) -> &'static [AtomicU64] {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let len = count * size_of::<AtomicU64>();
    file.set_len(len as u64).expect("a file of this length");
    // SAFETY: a new mapping of a file that has this size; the kernel gives it an aligned place. It is
    // never taken back, and there are only shared references to atomic numbers.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let words = libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(words, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        slice::from_raw_parts(words.cast::<AtomicU64>(), count)
    }
}
