//! Anything as a token. `cargo +nightly fuzz run token` in `crates/identity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| identity::fuzz_token(bytes));
