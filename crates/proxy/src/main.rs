//! The `pgusher` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgusher::cli::run()
}
