//! Which cases are run, and what is timed.

use std::time::Duration;

use wgpu_layernorm::bench::{Operation, Options, Workload};
use wgpu_layernorm::plan::{AdapterKind, Caps, RowSplit};
use wgpu_layernorm::verify::{self, Case, Strength};
use wgpu_layernorm::{Dtype, Normalization};

#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) cases: Vec<Case>,
    pub(crate) workloads: Vec<Workload>,
}

/// The widths that are timed: heads, small and large models, rows that are streamed.
const WIDTHS: [u32; 6] = [64, 256, 768, 2048, 8192, 32_768];

impl Selection {
    pub(crate) fn new(cases: &[Case], bench: bool, caps: &Caps) -> Self {
        let workloads = if bench { workloads(caps.kind) } else { Vec::new() };
        Self { cases: cases.to_vec(), workloads }
    }
}

/// The cases of a quick run, so many that each kernel meets every shape, option, storage, layout and kind of
/// data, and all of the library's. To choose them takes a second.
pub(crate) fn quick_and_all(caps: &Caps) -> [Vec<Case>; 2] {
    let quick = verify::cases_in(&[(*caps, RowSplit::Never)], Strength::Levels);
    [quick.into_iter().map(|(_, case)| case).collect(), verify::cases()]
}

/// Forward in 32 and 16 bits, backward in 32, at every width: enough for a plot, in a quarter of a minute on
/// a GPU.
fn workloads(kind: AdapterKind) -> Vec<Workload> {
    // 16 MiB a tensor in float32; a software adapter would take minutes for it.
    let values = match kind {
        AdapterKind::Gpu => 1 << 22,
        AdapterKind::Software => 1 << 18,
    };
    let lines = [
        (Operation::Forward, Dtype::F32),
        (Operation::Forward, Dtype::F16),
        (Operation::Backward, Dtype::F32),
    ];
    let workload = |(operation, dtype), cols| {
        Workload::new(operation, Normalization::Layer, dtype, u64::from(values / cols), cols)
    };
    lines.into_iter().flat_map(|line| WIDTHS.map(|cols| workload(line, cols))).collect()
}

/// Shorter than on a desk's machine, and in less memory: a phone has little of either.
pub(crate) fn bench_options() -> Options {
    Options { budget: Duration::from_millis(250), rotation_bytes: 96 << 20, ..Options::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in it, a test of the library shows.
    #[test]
    fn a_quick_run_is_less_than_half_of_all() {
        let [quick, all] = quick_and_all(&Caps::webgpu_default()).map(|cases| cases.len());
        assert!(quick * 2 < all, "{quick} of {all} cases are not quick");
    }

    #[test]
    fn what_is_timed_is_valid_and_distinct() {
        for kind in [AdapterKind::Gpu, AdapterKind::Software] {
            let workloads = workloads(kind);
            for (i, workload) in workloads.iter().enumerate() {
                workload.validate().unwrap();
                assert!(!workloads[..i].contains(workload), "{} is timed twice", workload.name());
            }
        }
    }
}
