//! The set of all texts: what is compiled for every back end before it reaches a user's.
//!
//! [`all`] walks the plans over adapters, widths, types and options which between them reach every segment in every
//! combination. Of plans whose texts differ in the values of constants alone it keeps one, and one for each way in
//! which threads of a kernel lie on a row; where a thread has more than a few columns, for each storage, vector width and
//! reduction too, because its registers depend on all of them.

use crate::error::Error;
use crate::plan::{
    AdapterKind, Backward, Caps, Forward, Kernel, Plan, Reduction, Storage, SubgroupSizes, Tensor,
};
use crate::types::{Affine, Dtype, Gradient, Normalization, Problem};
use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};

/// A text's plan, and the adapter that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The plan.
    pub plan: Plan,
    /// What the plan was made from: its dispatches follow these limits.
    pub caps: Caps,
}

/// Adapters that between them reach every reduction and every storage.
fn adapters() -> [Caps; 10] {
    let gpu = Caps { unrolls_loops: true, ..Caps::webgpu_default() };
    let subgroups = |min, max| Some(SubgroupSizes { min, max });
    let wide = Caps { subgroup: subgroups(32, 32), shader_f16: true, max_storage_buffers: 16, ..gpu };
    [
        Caps { max_storage_buffers: 16, ..gpu },
        Caps { max_storage_buffers: 16, unrolls_loops: false, ..gpu },
        wide,
        Caps { unrolls_loops: false, ..wide },
        // Few invocations: the most of a row in a thread.
        Caps { max_invocations: 128, ..wide },
        Caps { subgroup: subgroups(8, 32), max_invocations: 1024, max_workgroup_bytes: 32_768, ..wide },
        Caps { subgroup: subgroups(64, 128), ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(8, 8), ..wide },
        Caps { kind: AdapterKind::Software, subgroup: subgroups(4, 4), shader_f16: false, ..wide },
        Caps { kind: AdapterKind::Software, subgroup: None, shader_f16: false, ..wide },
    ]
}

/// Widths that between them reach every kernel and threads-per-row step.
const COLS: [u32; 11] = [1, 2, 7, 12, 64, 100, 384, 4096, 8192, 16_384, 40_000];

/// Elements at once, as rows' places in their buffers may allow them.
const VECTOR_WIDTHS: [u32; 4] = [1, 2, 4, 8];

/// A plan for every text.
///
/// # Errors
/// Those of [`Plan`]: a fault of this crate, as every one of these problems fits its adapter.
pub fn all() -> Result<Vec<Variant>, Error> {
    let mut set = Set::default();
    for caps in adapters() {
        for problem in problems() {
            for vector_width in VECTOR_WIDTHS {
                set.add(&problem, vector_width, &caps, &FORWARDS, &backwards(problem.affine))?;
            }
        }
    }
    // The options in every combination; each is one segment or another, whatever the rest of the text is.
    let (all_forwards, all_backwards) = (every_forward(), every_backward());
    let [_, _, with_all_features, ..] = adapters();
    for problem in problems().filter(|problem| {
        let full = problem.normalization == Normalization::Layer && problem.affine == Affine::GainBias;
        full && [384, 40_000].contains(&problem.cols)
    }) {
        for vector_width in [1, 8] {
            set.add(&problem, vector_width, &with_all_features, &all_forwards, &all_backwards)?;
        }
    }
    Ok(set.variants)
}

/// Cols, threads, rows of a workgroup and parts of a kernel, and what else its registers depend on.
type Shape = (Kernel, [u32; 4], Option<(Storage, Discriminant<Reduction>, u32)>);

/// Up to this many steps a thread has registers to spare whatever it does.
const FEW_STEPS: u32 = 2;

#[derive(Default)]
struct Set {
    texts: HashSet<String>,
    shapes: HashSet<Shape>,
    variants: Vec<Variant>,
}

impl Set {
    fn add(
        &mut self,
        problem: &Problem,
        vector_width: u32,
        caps: &Caps,
        forwards: &[Forward],
        backwards: &[Backward],
    ) -> Result<(), Error> {
        for forward in forwards {
            self.keep(Plan::forward(problem, *forward, vector_width, caps)?, caps);
            for plan in Plan::forward_split(problem, *forward, vector_width, caps)? {
                self.keep(plan, caps);
            }
        }
        for backward in backwards {
            self.keep(Plan::backward(problem, *backward, vector_width, caps)?, caps);
            for plan in Plan::backward_split(problem, *backward, vector_width, caps)? {
                self.keep(plan, caps);
            }
            if backward.has_parameters() {
                self.keep(Plan::reduce_parameters(problem, *backward, vector_width, caps)?, caps);
            }
        }
        Ok(())
    }

    fn keep(&mut self, plan: Plan, caps: &Caps) {
        let any_shape =
            Plan { cols: 0, threads_per_row: 0, rows_per_workgroup: 0, steps: 0, chunks: 0, ..plan };
        let shape = [plan.cols, plan.threads_per_row, plan.rows_per_workgroup, plan.parts()];
        let registers = (plan.steps > FEW_STEPS).then_some((
            plan.row_storage,
            discriminant(&plan.reduction),
            plan.vector_width,
        ));
        let new_text = self.texts.insert(any_shape.label());
        let new_shape = self.shapes.insert((plan.kernel, shape, registers));
        if new_text || new_shape {
            self.variants.push(Variant { plan, caps: *caps });
        }
    }
}

fn problems() -> impl Iterator<Item = Problem> {
    let dtypes = Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, dtype), (dtype, Dtype::F32)]);
    let affines = [Affine::None, Affine::Gain, Affine::GainBias];
    COLS.into_iter().flat_map(move |cols| {
        dtypes.clone().flat_map(move |(dtype, parameter_dtype)| {
            [Normalization::Layer, Normalization::Rms].into_iter().flat_map(move |normalization| {
                affines.into_iter().map(move |affine| Problem {
                    cols,
                    dtype,
                    parameter_dtype,
                    normalization,
                    affine,
                    ..Problem::default()
                })
            })
        })
    })
}

const RESIDUAL: Forward = Forward { residual: true, statistics: true, x_in: None, residual_in: None };

/// Options that between them reach every segment of forward, with each input bound on its own or through an output.
const FORWARDS: [Forward; 6] = [
    Forward { residual: false, statistics: false, x_in: None, residual_in: None },
    Forward { residual: false, statistics: true, x_in: Some(Tensor::Y), residual_in: None },
    RESIDUAL,
    Forward { x_in: Some(Tensor::Sum), ..RESIDUAL },
    Forward { x_in: Some(Tensor::Y), residual_in: Some(Tensor::Sum), ..RESIDUAL },
    Forward { residual_in: Some(Tensor::Y), ..RESIDUAL },
];

/// The same of backward, as far as the affine has the parameters.
fn backwards(affine: Affine) -> Vec<Backward> {
    use Gradient::{Accumulate, Overwrite};
    let dx = Backward { dx: Some(Overwrite), ..Backward::default() };
    let mut all = vec![
        dx,
        Backward { dx: Some(Accumulate), ..dx },
        Backward { x_in_dx: true, ..dx },
        Backward { dy_in_dx: true, ..dx },
    ];
    if affine.has_gain() {
        all.push(Backward { dgain: Some(Overwrite), ..Backward::default() });
        all.push(Backward { dgain: Some(Accumulate), ..dx });
    }
    if affine.has_bias() {
        all.push(Backward { dgain: Some(Overwrite), dbias: Some(Accumulate), dy_in_dx: true, ..dx });
        all.push(Backward { dbias: Some(Overwrite), ..dx });
    }
    all
}

fn every_forward() -> Vec<Forward> {
    let mut all = Vec::new();
    for statistics in [false, true] {
        for x_in in [None, Some(Tensor::Y)] {
            all.push(Forward { residual: false, statistics, x_in, residual_in: None });
        }
        let outputs = [None, Some(Tensor::Y), Some(Tensor::Sum)];
        for (x_in, residual_in) in outputs.iter().flat_map(|x| outputs.map(|residual| (*x, residual))) {
            // One output cannot hold both inputs.
            if x_in.is_none() || x_in != residual_in {
                all.push(Forward { residual: true, statistics, x_in, residual_in });
            }
        }
    }
    all
}

fn every_backward() -> Vec<Backward> {
    let gradients = [None, Some(Gradient::Overwrite), Some(Gradient::Accumulate)];
    let mut all = Vec::new();
    for dx in gradients {
        for (dgain, dbias) in gradients.iter().flat_map(|dgain| gradients.map(|dbias| (*dgain, dbias))) {
            let apart = Backward { dx, dgain, dbias, x_in_dx: false, dy_in_dx: false };
            if apart == Backward::default() {
                continue;
            }
            all.push(apart);
            // What dx is added to cannot be an input as well.
            if dx == Some(Gradient::Overwrite) {
                all.push(Backward { x_in_dx: true, ..apart });
                all.push(Backward { dy_in_dx: true, ..apart });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::{Dialect, assemble};

    #[test]
    fn every_kernel_storage_width_and_reduction_is_there() {
        let variants = all().unwrap();
        let has = |what: &dyn Fn(&Plan) -> bool| variants.iter().any(|variant| what(&variant.plan));
        let storages =
            [Storage::F32, Storage::NativeF16, Storage::PackedF16, Storage::PackedBf16].into_iter();
        for (kernel, storage) in Kernel::ALL.into_iter().flat_map(|k| storages.clone().map(move |s| (k, s))) {
            let widths: &[u32] = match storage {
                Storage::F32 => &[1, 2, 4],
                Storage::NativeF16 => &[1],
                Storage::PackedF16 | Storage::PackedBf16 if kernel == Kernel::BackwardReduceParameters => {
                    &[1, 2, 4]
                }
                Storage::PackedF16 | Storage::PackedBf16 => &[1, 2, 4, 8],
            };
            for width in widths {
                assert!(
                    has(&|plan| plan.kernel == kernel
                        && plan.row_storage == storage
                        && plan.vector_width == *width),
                    "{} {} x{width}",
                    kernel.name(),
                    storage.name()
                );
            }
        }
        for kernel in Kernel::ALL {
            let has = |what: &dyn Fn(&Plan) -> bool| has(&|plan| plan.kernel == kernel && what(plan));
            let name = kernel.name();
            if kernel == Kernel::BackwardReduceParameters {
                assert!(has(&|plan| plan.combine_slots) && has(&|plan| !plan.combine_slots), "{name}");
            } else {
                assert!(has(&|plan| plan.reduction == Reduction::Workgroup), "{name}");
                assert!(has(&|plan| plan.uses_subgroups()), "{name}");
            }
            assert!(has(&|plan| plan.unroll) && has(&|plan| !plan.unroll), "{name}");
        }
    }

    #[test]
    fn no_two_variants_have_one_label_or_one_text() {
        let variants = all().unwrap();
        let labels: HashSet<String> = variants.iter().map(|variant| variant.plan.label()).collect();
        assert_eq!(labels.len(), variants.len(), "labels");
        let mut texts = HashSet::new();
        for variant in &variants {
            let source = assemble(&variant.plan, Dialect::Naga).unwrap().source;
            assert!(texts.insert(source), "{} twice", variant.plan.label());
        }
    }
}
