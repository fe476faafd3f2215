//! Plans for any problem on any adapter: legal or refused, every element covered exactly once, every limit
//! kept. The limits and the walks of the shaders are worked out here a second time, from the comments in
//! `shaders/`.

mod dispatches;
mod ladder;
mod limits;
mod nonsense;
mod outer_rows;
mod problems;
mod rungs;
mod text_keys;
mod traffic;

use proptest::prelude::*;

fn config(cases: u32) -> ProptestConfig {
    // Failures are to be turned into named tests, not kept in a file beside this one.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
