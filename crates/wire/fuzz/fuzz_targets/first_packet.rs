//! Anything as a first packet, without its length word. `cargo +nightly fuzz run first_packet` in `crates/wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::startup::fuzz_first_packet(bytes));
