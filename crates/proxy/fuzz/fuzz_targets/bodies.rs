//! Anything as the body of a `POST /sql`. `cargo +nightly fuzz run bodies` in `crates/proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgusher::fuzz_body(bytes));
