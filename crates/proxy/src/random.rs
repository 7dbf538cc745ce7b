//! Secrets and names that nobody can guess.

use aws_lc_rs::rand;

/// `bytes` bytes from the system's generator as lower-case hexadecimal digits.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::fill(&mut buffer).expect("the system's random generator answers");
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
