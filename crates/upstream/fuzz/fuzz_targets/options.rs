//! Anything as the `options` of a startup packet. `cargo +nightly fuzz run options` in `crates/upstream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upstream::fuzz_options(bytes));
