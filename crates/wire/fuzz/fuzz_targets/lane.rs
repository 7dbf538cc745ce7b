//! Anything as frames, read and written in parts of any size. `cargo +nightly fuzz run lane` in `crates/wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::lane::fuzz_lane(bytes));
