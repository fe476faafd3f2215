//! Known faults of adapters, as data. A fault that shows is reported and passes; one that no longer shows
//! fails, so that this table holds what is true today.

use std::fmt;
use std::io::{self, Write};

/// What an adapter gets wrong with one version of its driver.
pub(crate) struct Fault {
    /// A part of the adapter's description, see `wgpu_layernorm::describe_adapter`.
    pub(crate) adapter: &'static str,
    /// Another part of it, with the driver's version.
    pub(crate) driver: &'static str,
    /// The kernel by its name.
    pub(crate) kernel: &'static str,
    /// A part of the tests' names, from the suite on: `accuracy/` or `conformance/`.
    pub(crate) test: &'static str,
    pub(crate) reason: &'static str,
}

/// None today.
pub(crate) const FAULTS: &[Fault] = &[];

impl Fault {
    fn is_of(&self, adapter: &str) -> bool {
        adapter.contains(self.adapter) && adapter.contains(self.driver)
    }
}

/// Fails on a fault of an adapter whose test is none of `tests`, those of `suite` (with which the names of
/// its faults' tests begin).
pub(crate) fn check_names(
    faults: &[Fault],
    suite: &str,
    adapter: &str,
    tests: &[String],
) -> Result<(), String> {
    let of_adapter = faults.iter().filter(|fault| fault.is_of(adapter) && fault.test.starts_with(suite));
    let mut unknown = of_adapter.filter(|fault| !tests.iter().any(|test| test.contains(fault.test)));
    match unknown.next() {
        None => Ok(()),
        Some(fault) => {
            Err(format!("{adapter}: tests/faults/mod.rs names a test that is none: {}", fault.test))
        }
    }
}

/// The result of a test, given what is known of the adapter.
pub(crate) fn judge<E: fmt::Display>(
    faults: &[Fault],
    adapter: &str,
    kernel: &str,
    test: &str,
    result: Result<(), E>,
) -> Result<(), String> {
    let known = faults
        .iter()
        .find(|fault| fault.is_of(adapter) && fault.kernel == kernel && test.contains(fault.test));
    match (known, result) {
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(error.to_string()),
        (Some(fault), Err(error)) => {
            // Not `println!`, which the harness keeps to itself where a test passes.
            let _ = writeln!(
                io::stderr(),
                "known fault of {adapter}, {kernel}, {test}: {error} ({})",
                fault.reason
            );
            Ok(())
        }
        (Some(fault), Ok(())) => Err(format!(
            "{adapter}, {kernel}, {test}: a known fault no longer shows, so tests/faults/mod.rs must lose it: {}",
            fault.reason
        )),
    }
}
