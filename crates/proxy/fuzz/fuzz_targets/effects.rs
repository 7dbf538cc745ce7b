//! Anything as SQL, read in parts of any size. `cargo +nightly fuzz run effects` in `crates/proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgusher::fuzz_effects(bytes));
