//! Shared memory: `ngx_shm_zone_t`.

use core::ffi::c_void;
use core::ptr;
use core::slice;
use core::sync::atomic::AtomicU64;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_int_t, ngx_pagesize, ngx_shared_memory_add, ngx_shm_zone_t,
    ngx_slab_pool_t, ngx_test_config, ngx_worker,
};

use super::configuration::Conf;
use super::guard;
use super::log::Log;
use super::module::tag;
use super::pool::Pooled;
use super::request::string;

/// The words of a zone, which all processes of one nginx share.
pub(crate) type Words = &'static [AtomicU64];

/// What a zone of shared memory is used for.
pub(crate) trait ZoneUser: 'static {
    /// Called when nginx has the memory. Without `earlier` it is all 0; otherwise it is that of an earlier
    /// configuration, whose workers may still use it. Returns whether it can be used.
    fn init(&self, words: Words, earlier: Option<&Self>, log: Option<Log>) -> bool;
}

/// Whether the configuration is only tested (`nginx -t`).
pub(crate) fn is_test() -> bool {
    // SAFETY: nginx sets the variable at its start.
    unsafe { ptr::addr_of!(ngx_test_config).read() != 0 }
}

/// The smallest zone, as for nginx's own.
pub(crate) fn min_size() -> usize {
    // SAFETY: nginx sets the variable at its start.
    8 * unsafe { ptr::addr_of!(ngx_pagesize).read() }
}

/// The number of the worker process; 0 in a single process.
pub(crate) fn worker_number() -> usize {
    // SAFETY: nginx sets the variable when it starts a process.
    unsafe { ptr::addr_of!(ngx_worker).read() }
}

// SAFETY of this block's calls: as for the other methods of `Conf`.
impl Conf<'_> {
    /// Has nginx share memory of this size under a name. A reload keeps what has the same name and
    /// size. If it can't be had, nginx has logged the reason.
    pub(crate) fn add_zone<T: ZoneUser + Pooled>(
        &self,
        name: &'static [u8],
        size: usize,
        user: T,
    ) -> Option<()> {
        let mut name = string(name);
        let user = self.pool().store_with(|| user).ok()?;
        // SAFETY: see above; nginx only reads the name, and keeps it as long as the configuration.
        // The zone is in the list of the cycle, and nginx calls `init` while the user, which is in
        // the configuration's pool, exists. There are only shared references to it.
        unsafe {
            let zone = ngx_shared_memory_add(self.as_raw(), &raw mut name, size, tag()).as_mut()?;
            zone.data = user.as_ptr().cast();
            zone.init = Some(init::<T>);
        }
        Some(())
    }
}

/// Called for each zone of a new configuration; `old` is the `data` of the earlier zone if this is
/// its memory.
unsafe extern "C" fn init<T: ZoneUser>(zone: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx passes a zone that `add_zone` has made, with memory that is mapped as long as
    // the process, or with a single process until a reload removes or resizes the zone (as for the
    // zones of nginx's own modules), and that begins with a slab pool; its pages are all that is
    // behind `start`. Nothing is allocated from the slab, so nobody else writes there. The user is
    // in the configuration. `old` is null or the one of the earlier configuration, which still exists
    // and was passed to `add_zone`: nginx has compared the tags of the zones.
    unsafe {
        let Some(user) = (*zone).data.cast::<T>().as_ref() else { return NGX_ERROR as ngx_int_t };
        let log = Log::from_raw((*zone).shm.log);
        let is_done = guard::catch(log, false, || {
            let slab = (*zone).shm.addr.cast::<ngx_slab_pool_t>();
            let (start, end) = ((*slab).start, (*slab).end);
            let len = (end as usize).saturating_sub(start as usize) / size_of::<AtomicU64>();
            let is_new = old.is_null();
            // An nginx with NGX_DEBUG_MALLOC fills the pages. Memory of the system is not touched.
            if is_new && start.cast::<u64>().read() != 0 {
                ptr::write_bytes(start.cast::<u64>(), 0, len);
            }
            let words = slice::from_raw_parts(start.cast::<AtomicU64>(), len);
            user.init(words, old.cast::<T>().as_ref(), log)
        });
        if is_done { NGX_OK as ngx_int_t } else { NGX_ERROR as ngx_int_t }
    }
}
