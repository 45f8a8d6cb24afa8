//! The file `data.mdb` of an LMDB environment, as far as it has to be judged before LMDB maps it.
//!
//! LMDB 0.9 (`mdb_env_read_header`) relies on what its own meta pages hold: with a page size of 0 it
//! divides by zero. It also has one error for everything that is not its format.

use core::fmt;

/// How many bytes of a meta page are read, on a machine with words of this one's size.
pub const META_LEN: usize = HEAD_LEN + WORD * 2 + 8 + DATABASE_LEN * 2 + WORD * 2;

/// `MDB_DATA_VERSION` of LMDB 0.9.
pub const DATA_VERSION: u32 = 1;

/// `MDB_MAGIC`.
const MAGIC: u32 = 0xBEEF_C0DE;

/// `size_t` and `pgno_t`.
const WORD: usize = size_of::<usize>();

/// The head of a page (`PAGEHDRSZ`): its number, a pad, flags and two more numbers of 16 bits.
const HEAD_LEN: usize = WORD + 8;

/// `MDB_db`: pad, flags, depth, and five words.
const DATABASE_LEN: usize = 8 + WORD * 5;

/// Where the first database begins: behind magic, version, address and map size. The pad of this one
/// holds the page size.
const DATABASE_AT: usize = HEAD_LEN + 8 + WORD * 2;

/// `P_META`.
const META_PAGE: u16 = 0x08;

/// Why a file can't be opened as an LMDB environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaError {
    /// It ends within a meta page.
    Truncated,
    /// It is something else.
    NotLmdb,
    /// It was written by a machine with other words.
    Machine,
    /// It has another version of the format.
    Version(u32),
    /// The page size is none.
    PageSize(u32),
    /// The keys of the main database are not sorted as strings, or have several values.
    Flags(u32),
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("file is cut off"),
            Self::NotLmdb => f.write_str("not an LMDB environment, or damaged"),
            Self::Machine => {
                f.write_str("written on a machine with another word size or byte order")
            }
            Self::Version(version) => {
                write!(f, "data format has version {version}, LMDB 0.9 has {DATA_VERSION}")
            }
            Self::PageSize(size) => write!(f, "damaged: page size is {size}"),
            Self::Flags(flags) => write!(
                f,
                "main database has flags 0x{flags:02x} (MDB_REVERSEKEY, MDB_DUPSORT, \
                 MDB_INTEGERKEY or the like), none are expected"
            ),
        }
    }
}

impl core::error::Error for MetaError {}

/// Checks a meta page, of which at most [`META_LEN`] bytes are needed. Returns the page size, in bytes:
/// the second meta page begins there.
///
/// # Errors
///
/// Why LMDB 0.9 must not open the file on this machine.
pub fn check_meta(page: &[u8]) -> Result<u32, MetaError> {
    let page = page.get(..META_LEN).ok_or(MetaError::Truncated)?;
    if u32_at(page, HEAD_LEN) != Some(MAGIC) {
        // The head of a page is 12 bytes long where words have 32 bits, otherwise 16.
        let foreign = [12, 16].into_iter().filter_map(|at| u32_at(page, at));
        let mut foreign = foreign.filter(|&word| word == MAGIC || word.swap_bytes() == MAGIC);
        let is_foreign = foreign.next().is_some();
        return Err(if is_foreign { MetaError::Machine } else { MetaError::NotLmdb });
    }
    let version = u32_at(page, HEAD_LEN + 4).unwrap_or_default();
    if version != DATA_VERSION {
        return Err(MetaError::Version(version));
    }
    if u16_at(page, WORD + 2).unwrap_or_default() & META_PAGE == 0 {
        return Err(MetaError::NotLmdb);
    }
    let page_size = u32_at(page, DATABASE_AT).unwrap_or_default();
    // `MAX_PAGESIZE`; the smallest is that of an odd system, with room for a meta page.
    if !(page_size.is_power_of_two() && (256..=0x8000).contains(&page_size)) {
        return Err(MetaError::PageSize(page_size));
    }
    match u16_at(page, DATABASE_AT + DATABASE_LEN + 4).unwrap_or_default() {
        0 => Ok(page_size),
        flags => Err(MetaError::Flags(flags.into())),
    }
}

fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    page.get(at..)?.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes))
}

fn u16_at(page: &[u8], at: usize) -> Option<u16> {
    page.get(at..)?.first_chunk().map(|&bytes| u16::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meta page as `mdb_env_init_meta0` makes it.
    fn meta() -> Vec<u8> {
        let mut page = vec![0; META_LEN];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        put(WORD + 2, &META_PAGE.to_ne_bytes());
        put(HEAD_LEN, &MAGIC.to_ne_bytes());
        put(HEAD_LEN + 4, &DATA_VERSION.to_ne_bytes());
        put(HEAD_LEN + 8 + WORD, &10_485_760_usize.to_ne_bytes());
        put(DATABASE_AT, &4096_u32.to_ne_bytes());
        // The database of free pages has MDB_INTEGERKEY.
        put(DATABASE_AT + 4, &8_u16.to_ne_bytes());
        page
    }

    fn with(at: usize, bytes: &[u8]) -> Result<u32, MetaError> {
        let mut page = meta();
        page[at..at + bytes.len()].copy_from_slice(bytes);
        check_meta(&page)
    }

    #[test]
    fn meta_page_is_accepted_only_if_lmdb_can_use_it() {
        assert_eq!(check_meta(&meta()), Ok(4096));
        assert_eq!(with(DATABASE_AT, &0x8000_u32.to_ne_bytes()), Ok(0x8000));
        for size in [0, 1, 255, 3000, 0x10000, u32::MAX] {
            assert_eq!(with(DATABASE_AT, &u32::to_ne_bytes(size)), Err(MetaError::PageSize(size)));
        }
        for version in [0, 2, 999] {
            let found = with(HEAD_LEN + 4, &u32::to_ne_bytes(version));
            assert_eq!(found, Err(MetaError::Version(version)));
        }
        for flags in [2, 4, 8, 0x7c] {
            let found = with(DATABASE_AT + DATABASE_LEN + 4, &u16::to_ne_bytes(flags));
            assert_eq!(found, Err(MetaError::Flags(flags.into())));
        }
        assert_eq!(with(WORD + 2, &[0; 2]), Err(MetaError::NotLmdb), "no meta page");
        assert_eq!(with(HEAD_LEN, &[0; 4]), Err(MetaError::NotLmdb));
        let swapped = MAGIC.swap_bytes().to_ne_bytes();
        assert_eq!(with(HEAD_LEN, &swapped), Err(MetaError::Machine), "another byte order");
        assert_eq!(check_meta(b"{\"1lDx\": {}}"), Err(MetaError::Truncated));
        assert_eq!(check_meta(&vec![b'x'; 4096]), Err(MetaError::NotLmdb));
    }

    #[test]
    fn every_cut_is_truncated() {
        let page = meta();
        for len in 0..page.len() {
            assert_eq!(check_meta(&page[..len]), Err(MetaError::Truncated), "{len}");
        }
    }

    #[test]
    fn words_of_another_size_are_told() {
        // The page of a machine whose words have the other size: the head is longer or shorter.
        let foreign = if WORD == 8 { 12 } else { 16 };
        let mut page = vec![0; META_LEN];
        page[foreign..foreign + 4].copy_from_slice(&MAGIC.to_ne_bytes());
        assert_eq!(check_meta(&page), Err(MetaError::Machine));
    }
}
