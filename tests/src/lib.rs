//! Harness of the integration tests and of the measurements in `bench/`: a real NGINX per test, real
//! files, real clients.
//!
//! A test describes a [`Site`] (files, pieces of configuration), starts it, asks it over one of
//! the [`Protocol`]s and looks at [`Response`]s and logs. When the running [`Nginx`] goes out of
//! scope it is stopped, and the test fails if a worker died or the error log holds something
//! that no healthy run writes.

#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

mod application;
mod build;
mod certificate;
mod client;
mod files;
mod gateway;
mod link;
mod lmdb;
mod memcached;
mod nginx;
mod ports;
mod preload;
mod process;
mod program;
mod random;
mod raw;
mod settings;
mod shared;
mod site;
mod stats;
mod store;

pub use application::{Application, Asked, Gate, Reply, Wire};
pub use build::{Build, build};
pub use certificate::{Certificate, certificate};
pub use client::{
    Connection, Error, Pending, Protocol, Request, Response, block_on, was_not_processed,
};
pub use files::{
    PICTURE_COLUMNS, PICTURE_RATE, TONE_BASE, TONE_SLOPE, bytes, hour, project_dir, real_recording,
    same_bytes,
};
pub use link::LinkKey;
pub use lmdb::{LmdbWriter, lmdb_entries, lmdb_load, lmdb_readers, lmdb_set_dupsort};
pub use memcached::Memcached;
pub use nginx::{Nginx, poll, wait_for};
pub use ports::free_port;
pub use preload::Preload;
pub use process::{
    allow_many_files, children, end_with_this_process, is_root, memory, open_files, send_signal,
};
pub use program::{Address, Program, gunicorn};
pub use random::Random;
pub use raw::{RawConnection, read_responses, wait_readable};
pub use settings::{deadline, set_slowness, setting, slowness};
pub use shared::shared_words;
pub use site::{Checked, Site, lines_marked};
pub use stats::median;
pub use store::{Store, StoreKey, error as store_error, seconds_now};
