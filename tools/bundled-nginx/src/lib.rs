//! No code: this package's manifest and lock file say which NGINX source is built (the crate
//! `nginx-src` carries one), and cargo brings it. The script `build` beside this folder compiles
//! a copy of it.
