//! Files of the module that do nothing but handle pointers, compiled with a crate `nginx-sys` that
//! is Rust alone. Miri runs the tests and sees each use of a pointer that Rust does not allow
//! (`make test-miri`); without it they are tests like others (`make unittest`).

#![cfg(test)]

mod nginx;
