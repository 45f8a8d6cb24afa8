//! nginx's error log.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use model::text::Escaped;
use nginx_sys::{
    NGX_LOG_ALERT, NGX_LOG_CRIT, NGX_LOG_DEBUG, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_INFO,
    NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_err_t, ngx_log_t,
};
use ngx::log::DebugMask;

/// Levels of the error log, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Emerg = NGX_LOG_EMERG as isize,
    Alert = NGX_LOG_ALERT as isize,
    Crit = NGX_LOG_CRIT as isize,
    Error = NGX_LOG_ERR as isize,
    Warn = NGX_LOG_WARN as isize,
    Notice = NGX_LOG_NOTICE as isize,
    Info = NGX_LOG_INFO as isize,
}

/// The longest message, in bytes, with room for time, level, process and connection in a line of
/// NGX_MAX_ERROR_STR bytes, at which nginx cuts it.
const MAX_MESSAGE_LEN: usize = ngx::log::LOG_BUFFER_SIZE - 100;

/// A log that stays valid while the value is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log(NonNull<ngx_log_t>);

impl Log {
    /// The log of the process, for what is about no request or connection.
    #[cfg(feature = "s3")]
    pub(crate) fn of_process() -> Option<Self> {
        // SAFETY: nginx points the variable to the configuration in use, which has a log.
        unsafe { Self::from_raw((*nginx_sys::ngx_cycle).log) }
    }

    /// # Safety
    ///
    /// `log` is null or valid for as long as the value is used.
    pub(crate) unsafe fn from_raw(log: *mut ngx_log_t) -> Option<Self> {
        NonNull::new(log).map(Self)
    }

    /// Writes a line if the log has this level. nginx adds the text of `errno`, unless it is 0, and
    /// the client and request of the log.
    ///
    /// Messages quote what others have written: titles, paths, JSON. Invisible characters are
    /// escaped here, for all messages.
    pub(crate) fn write(self, level: Level, errno: ngx_err_t, message: fmt::Arguments<'_>) {
        if level as usize <= self.level() {
            self.put(level as usize, errno, message);
        }
    }

    /// Writes a line if the log has `debug` or `debug_http`, as `ngx_log_debug`: in an nginx that is
    /// built `--with-debug`. In others it compiles to nothing.
    pub(crate) fn debug(self, message: fmt::Arguments<'_>) {
        if ngx::log::DEBUG && ngx::log::check_mask(DebugMask::Http, self.level()) {
            self.put(NGX_LOG_DEBUG as usize, 0, message);
        }
    }

    fn level(self) -> usize {
        // SAFETY: the log is valid, by the contract of `from_raw`.
        unsafe { (*self.0.as_ptr()).log_level }
    }

    fn put(self, level: usize, errno: ngx_err_t, message: fmt::Arguments<'_>) {
        let mut buffer = [const { MaybeUninit::uninit() }; MAX_MESSAGE_LEN];
        let message = ngx::log::write_fmt(&mut buffer, format_args!("{}", Escaped(message)));
        // A message that is too long may be cut within a character.
        let message = message.utf8_chunks().next().map_or("", |chunk| chunk.valid()).as_bytes();
        // SAFETY: the log is valid, by the contract of `from_raw`.
        unsafe { ngx::log::log_error(level, self.0.as_ptr(), errno, message) };
    }
}

/// A path or a name in a message: bytes that are not UTF-8 are escaped.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A system error in nginx's form: `2: No such file or directory`.
pub(crate) struct Errno<'a>(pub(crate) &'a std::io::Error);

impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match (self.0.raw_os_error(), text.split_once(" (os error ")) {
            (Some(code), Some((text, _))) => write!(f, "{code}: {text}"),
            _ => f.write_str(&text),
        }
    }
}
