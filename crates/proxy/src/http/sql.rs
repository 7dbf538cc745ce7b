//! `POST /sql`: a query as JSON, and its result as JSON.

mod body;
pub(crate) mod error;
mod frames;
mod fuzz;
mod parameter;
mod results;
mod rows;
mod text;
mod value;

pub use fuzz::{fuzz_body, fuzz_results};

#[cfg(test)]
mod tests;
