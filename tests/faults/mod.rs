//! Known faults of adapters, as data. A fault that shows is reported and passes; one that no longer shows fails, so that
//! this table holds what is true today.

use std::fmt;

/// What an adapter gets wrong with one version of its driver.
pub struct Fault {
    /// A part of the adapter's description, see `wgpu_layernorm::describe_adapter`.
    pub adapter: &'static str,
    /// Another part of it, with the driver's version.
    pub driver: &'static str,
    /// The kernel by its name.
    pub kernel: &'static str,
    /// A part of the tests' names.
    pub test: &'static str,
    pub reason: &'static str,
}

pub const FAULTS: &[Fault] = &[Fault {
    adapter: "llvmpipe",
    driver: "[gl, 4.5 (Core Profile) Mesa 22.3.6]",
    kernel: "backward_streamed",
    test: "accuracy/02.encoder.layer.0.output.LayerNorm.dgain",
    reason: "a sum whose terms are ten times as large as it is, so that the order of additions decides: 5.4 units of \
                 the sum where 4 are allowed, within 4 of its terms",
}];

/// The result of a test, given what is known of the adapter.
pub fn judge<E: fmt::Display>(
    faults: &[Fault],
    adapter: &str,
    kernel: &str,
    test: &str,
    result: Result<(), E>,
) -> Result<(), String> {
    let known = faults.iter().find(|fault| {
        adapter.contains(fault.adapter)
            && adapter.contains(fault.driver)
            && fault.kernel == kernel
            && test.contains(fault.test)
    });
    match (known, result) {
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(error.to_string()),
        (Some(fault), Err(error)) => {
            println!("known fault of {adapter}, {kernel}, {test}: {error} ({})", fault.reason);
            Ok(())
        }
        (Some(fault), Ok(())) => Err(format!(
            "{adapter}, {kernel}, {test}: a known fault no longer shows, so tests/faults/mod.rs must lose it: {}",
            fault.reason
        )),
    }
}
