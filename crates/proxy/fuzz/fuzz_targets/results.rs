//! Anything as a server's answer to `POST /sql`. The corpus was recorded from Postgres 15. `cargo +nightly fuzz run
//! results` in `crates/proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgusher::fuzz_results(bytes));
