//! Memory of catalogs, outside nginx's pools.

use memmap2::MmapMut;
use model::catalog::{Memory, NoMemory};

/// A block of a catalog, mapped from the system, which has it back as soon as it is freed.
///
/// A C library keeps freed memory, glibc for each thread apart. A catalog is read in any thread of
/// nginx's pool and freed in any other, so each of them would keep some tens of megabytes.
#[derive(Debug, Default)]
pub(crate) struct Mapping(Option<MmapMut>);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl AsMut<[u8]> for Mapping {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Memory for Mapping {
    fn resize(&mut self, len: usize) -> Result<(), NoMemory> {
        #[cfg(target_os = "linux")]
        if let Some(mapping) = &mut self.0 {
            let options = memmap2::RemapOptions::new().may_move(true);
            // SAFETY: the mapping may move, because it is borrowed as a whole. It is memory alone,
            // without a file that could be too short.
            return unsafe { mapping.remap(len, options) }.map_err(|_| NoMemory);
        }
        let mut new = MmapMut::map_anon(len).map_err(|_| NoMemory)?;
        for (to, from) in new.iter_mut().zip(self.as_ref()) {
            *to = *from;
        }
        self.0 = Some(new);
        Ok(())
    }
}
