//! Which cases are run, and what is timed.

use std::time::Duration;

use wgpu_layernorm::bench::{Operation, Options, Workload};
use wgpu_layernorm::plan::{AdapterKind, Caps};
use wgpu_layernorm::verify::{self, Case, Data, Task};
use wgpu_layernorm::{Dtype, Normalization, Problem};

#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) cases: Vec<Case>,
    pub(crate) workloads: Vec<Workload>,
}

/// Rows wider than this are streamed on every device.
const WIDE: u32 = 8192;

/// The widths that are timed: heads, small and large models, rows that are streamed.
const WIDTHS: [u32; 6] = [64, 256, 768, 2048, 8192, 32_768];

impl Selection {
    pub(crate) fn new(all: bool, bench: bool, caps: &Caps) -> Self {
        let workloads = if bench { workloads(caps.kind) } else { Vec::new() };
        Self { cases: Self::cases(all), workloads }
    }

    /// All of the library's cases; or every operation with each of its options, every storage on narrow and
    /// on wide rows in both directions, and every kind of data in both directions, once each.
    pub(crate) fn cases(all: bool) -> Vec<Case> {
        if all {
            return verify::cases();
        }
        let mut seen = Vec::new();
        let mut is_first = |case: &Case| {
            let is_new = kinds(case).map(|kind| !seen.contains(&kind));
            seen.extend(kinds(case));
            is_new.contains(&true)
        };
        verify::cases().into_iter().filter(|case| is_first(case)).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Task(Task),
    Storage { dtype: Dtype, parameter_dtype: Dtype, is_wide: bool, is_forward: bool },
    Data { data: Data, is_forward: bool },
}

/// What of a case a quick run has once.
fn kinds(case: &Case) -> [Kind; 3] {
    let Problem { cols, dtype, parameter_dtype, .. } = *case.problem();
    let is_forward = matches!(case.task, Task::Forward(_));
    [
        Kind::Task(case.task),
        Kind::Storage { dtype, parameter_dtype, is_wide: cols > WIDE, is_forward },
        Kind::Data { data: case.data, is_forward },
    ]
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

    #[test]
    fn quick_has_every_option_storage_and_data() {
        let (quick, all) = (Selection::cases(false), Selection::cases(true));
        assert!(quick.len() * 3 < all.len(), "{} of {} cases are not quick", quick.len(), all.len());
        for case in &all {
            for kind in kinds(case) {
                let has = quick.iter().any(|quick| kinds(quick).contains(&kind));
                assert!(has, "nothing quick has the {kind:?} of {}", case.name());
            }
        }
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
