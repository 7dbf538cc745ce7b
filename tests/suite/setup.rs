//! `pgusher setup`, by the binary, on a cluster of its own for each test: roles are the whole cluster's.

mod applied;
mod extension;
mod hardened;
mod keys;
mod lab;
mod policies;
mod printed;
mod removed;
