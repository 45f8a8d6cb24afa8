#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xspace_fuzz::credentials(data));
