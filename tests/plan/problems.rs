//! Problems, adapters and calls, drawn at random.

use proptest::prelude::*;
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Caps, Forward, Plan, RegisterBudget, Span, SubgroupSizes, Tensor,
};
use wgpu_layernorm::{Activation, Affine, CodeDtype, Dtype, Gradient, Normalization, Problem};

/// A problem with every option of a call, on an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) problem: Problem,
    pub(crate) vector_width: u32,
    pub(crate) forward: Forward,
    pub(crate) backward: Backward,
    pub(crate) caps: Caps,
}

impl Case {
    /// The plans of the case that the adapter can run, each with the storage buffers that its options call
    /// for.
    pub(crate) fn plans(&self) -> Vec<(Plan, u32)> {
        let mut plans = Vec::new();
        let (problem, width, caps) = (&self.problem, self.vector_width, &self.caps);
        let mut keep = |plan: Result<Plan, wgpu_layernorm::Error>, buffers: usize| match plan {
            Ok(plan) => plans.push((plan, u32::try_from(buffers).unwrap())),
            Err(error) => assert!(error.is_unsupported(), "{error}"),
        };
        keep(Plan::forward(problem, self.forward, width, caps), self.forward_buffers());
        keep(Plan::backward(problem, self.backward, width, caps), self.backward_buffers());
        if let Some([statistics, apply]) = allowed(Plan::forward_split(problem, self.forward, width, caps)) {
            let [of_statistics, of_apply] = self.forward_split_buffers();
            keep(Ok(statistics), of_statistics);
            keep(Ok(apply), of_apply);
        }
        if let Some([sums, apply]) = allowed(Plan::backward_split(problem, self.backward, width, caps)) {
            keep(Ok(sums), 4 + count(&[self.problem.affine.has_gain(), self.reads_bias_again()]));
            keep(Ok(apply), self.backward_buffers() + 1);
        }
        if self.has_parameter_gradients() {
            keep(Plan::reduce_parameters(problem, self.backward, width, caps), self.reduce_buffers());
        }
        plans
    }

    pub(crate) fn has_parameter_gradients(&self) -> bool {
        self.backward.has_parameters()
    }

    pub(crate) fn forward_buffers(&self) -> usize {
        let Forward { residual, without_sum, without_y, statistics, row_gain, x_in, residual_in, .. } =
            self.forward;
        let affine = if self.makes_y() { self.problem.affine } else { Affine::None };
        let inputs =
            [x_in.is_none(), residual && residual_in.is_none(), affine.has_gain(), affine.has_bias()];
        let of_call = count(&inputs) + count(&[!without_y, residual && !without_sum, statistics, row_gain]);
        let of_call = of_call + count(&[self.forward.gate]);
        let Forward { codes, given_unit, .. } = self.forward;
        of_call + self.mean_and_variance() + count(&[codes.is_some(), codes.is_some() && !given_unit])
    }

    /// Those of the kernels in turn, with the partial moments of rows. The second reads x, or the sum, where
    /// the first has left it.
    pub(crate) fn forward_split_buffers(&self) -> [usize; 2] {
        let Forward { residual, without_sum, without_y, statistics, row_gain, x_in, residual_in, .. } =
            self.forward;
        let affine = if without_y { Affine::None } else { self.problem.affine };
        let own = |input| input != Some(Tensor::Sum);
        let sum = residual && !without_sum;
        let gate = self.forward.gate;
        let first = [own(x_in), residual && own(residual_in), gate, sum, true];
        let again = [x_in.is_none(), residual && residual_in.is_none(), gate];
        let inputs = if sum { 1 } else { count(&again) };
        let second = [affine.has_gain(), affine.has_bias(), !without_y, statistics, row_gain];
        let partials = usize::from(!self.forward.given_statistics);
        [count(&first), inputs + count(&second) + partials + self.mean_and_variance()]
    }

    /// Whether y is made, be it written as it is or in codes.
    pub(crate) fn makes_y(&self) -> bool {
        !self.forward.without_y || self.forward.codes.is_some()
    }

    /// Given or running ones.
    fn mean_and_variance(&self) -> usize {
        let Forward { given_statistics, running_statistics, .. } = self.forward;
        2 * usize::from(given_statistics || running_statistics)
    }

    pub(crate) fn backward_buffers(&self) -> usize {
        let Backward { dx, dsum, row_gain, drow_gain, x_in_dx, dy_in_dx, .. } = self.backward;
        let has_gain = self.problem.affine.has_gain();
        let inputs = [!x_in_dx, !dy_in_dx, dsum, has_gain, self.reads_bias_again(), true];
        let Backward { dbranch, dgate, .. } = self.backward;
        // The branch; the gate and dbranch.
        let of_gate = [dgate.is_some(), dbranch, dbranch];
        let of_rows = [row_gain && dx.is_some(), drow_gain.is_some(), self.backward.clamped];
        count(&of_gate)
            + count(&inputs)
            + count(&[dx.is_some(), self.has_parameter_gradients()])
            + count(&of_rows)
    }

    /// Whether backward makes again what an activation was applied to, or xhat from y.
    pub(crate) fn reads_bias_again(&self) -> bool {
        (self.problem.activation.is_some() || self.backward.from_y) && self.problem.affine.has_bias()
    }

    pub(crate) fn reduce_buffers(&self) -> usize {
        let Backward { dgain, dbias, dgate, .. } = self.backward;
        1 + count(&[dgain.is_some(), dbias.is_some(), dgate.is_some()])
    }
}

pub(crate) fn allowed<P>(plans: Result<P, wgpu_layernorm::Error>) -> Option<P> {
    plans.inspect_err(|error| assert!(error.is_unsupported(), "{error}")).ok()
}

pub(crate) fn count(present: &[bool]) -> usize {
    present.iter().filter(|present| **present).count()
}

/// 1 to 2^24, as many narrow as wide, and often beside a power of two or a multiple of 8.
pub(crate) fn cols() -> impl Strategy<Value = u32> {
    let of_magnitude =
        (0..24_u32, any::<u32>()).prop_map(|(log2, noise)| (1 << log2) | (noise % (1 << log2)));
    let edges = (0..=24_u32, -9..=9_i32).prop_map(|(log2, step)| (1_u32 << log2).saturating_add_signed(step));
    let fused = (1..=2048_u32).prop_map(|eighths| eighths * 8);
    prop_oneof![1..=300_u32, of_magnitude, edges, fused].prop_map(|cols| cols.clamp(1, Problem::MAX_COLS))
}

pub(crate) fn problems(cols: impl Strategy<Value = u32>) -> impl Strategy<Value = Problem> {
    let dtype = prop::sample::select(&Dtype::ALL[..]);
    let normalization = prop::sample::select(vec![Normalization::Layer, Normalization::Rms]);
    let affine = prop::sample::select(vec![Affine::None, Affine::Gain, Affine::GainBias]);
    let activation = prop::sample::select(&Activation::ALL[..]);
    (cols, dtype, any::<bool>(), normalization, affine, activation).prop_map(
        |(cols, dtype, f32_parameters, normalization, affine, activation)| Problem {
            cols,
            dtype,
            parameter_dtype: if f32_parameters { Dtype::F32 } else { dtype },
            normalization,
            affine,
            activation,
            ..Problem::default()
        },
    )
}

/// All that WebGPU allows, and on the side of storage bindings less, so that calls are cut into dispatches.
/// The most, or any less.
pub(crate) fn registers() -> impl Strategy<Value = RegisterBudget> {
    let less = (1..=16_u32, 1..=16_u32, 1..=4_u32, 0..=2_u32);
    let less = less.prop_map(|(forward_vec4, residual_vec4, backward_vec4, log2)| RegisterBudget {
        forward_vec4,
        residual_vec4,
        backward_vec4,
        block_rows: 1 << log2,
    });
    prop_oneof![1 => Just(RegisterBudget::MOST), 1 => less]
}

pub(crate) fn caps() -> impl Strategy<Value = Caps> {
    let subgroup = prop::option::of((2..=7_u32, 2..=7_u32))
        .prop_map(|sizes| sizes.map(|(a, b)| SubgroupSizes { min: 1 << a.min(b), max: 1 << a.max(b) }));
    let kind = prop::sample::select(vec![AdapterKind::Gpu, AdapterKind::Software]);
    let invocations = prop_oneof![prop::sample::select(vec![128, 256, 512, 1024]), 128..=1024_u32];
    let workgroup_bytes = prop::sample::select(vec![16_384, 16_352, 32_768, 65_536]);
    let workgroups = prop::sample::select(vec![65_535, 65_535, 65_535, 1024, u32::MAX]);
    let binding_bytes = prop_oneof![
        prop::sample::select(vec![128 << 20, 256 << 20, (1 << 31) - 1, 1 << 32, u64::MAX]),
        256..=64_u64 << 20,
    ];
    let trips = prop::sample::select(vec![u32::MAX, Caps::LAVAPIPE_22_LOOP_TRIPS]);
    (
        (kind, subgroup, any::<[bool; 5]>(), registers(), invocations, workgroup_bytes),
        (4..=32_u32, workgroups, binding_bytes, 5..=8_u32, trips),
    )
        .prop_map(
            |(
                (
                    kind,
                    subgroup,
                    [full_subgroups, shader_f16, shader_int64, unrolls_loops, short_texts],
                    registers,
                    invocations,
                    workgroup_bytes,
                ),
                (buffers, workgroups, binding, log2, trips),
            )| {
                Caps {
                    kind,
                    subgroup,
                    full_subgroups,
                    shader_f16,
                    shader_int64,
                    unrolls_loops,
                    short_texts,
                    registers,
                    max_invocations: invocations,
                    max_workgroup_bytes: workgroup_bytes,
                    max_storage_buffers: buffers,
                    max_workgroups: workgroups,
                    max_binding_bytes: binding,
                    storage_alignment: 1 << log2,
                    max_loop_trips: trips,
                }
            },
        )
}

pub(crate) fn forwards() -> impl Strategy<Value = Forward> {
    // Where x and the residual may lie: buffers of their own, y's or sum's, and not both in the same one.
    let places = prop::sample::select(vec![
        (None, None),
        (Some(Tensor::Y), None),
        (Some(Tensor::Sum), None),
        (None, Some(Tensor::Y)),
        (None, Some(Tensor::Sum)),
        (Some(Tensor::Y), Some(Tensor::Sum)),
        (Some(Tensor::Sum), Some(Tensor::Y)),
    ]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let codes = prop::sample::select(vec![None, None, Some(CodeDtype::Int8), Some(CodeDtype::Fp8E4m3)]);
    let codes = (codes, any::<bool>());
    let of_rows = prop::sample::select(vec![(false, false), (true, false), (false, true)]);
    (flags, places, of_rows, codes).prop_map(
        |(
            (residual, statistics, without_sum, without_y, row_gain, gate),
            (x_in, residual_in),
            (given, running),
            (codes, given_unit),
        )| {
            let codes = codes.filter(|_| !given && !running);
            let residual = residual && !given && !running;
            let x_in = x_in.filter(|place| residual || *place == Tensor::Y);
            let residual_in = residual_in.filter(|_| residual);
            let gate = gate && residual;
            let row_gain = row_gain && !gate;
            let lies_in = |output| [x_in, residual_in].contains(&Some(output));
            Forward {
                residual,
                without_sum: without_sum && residual && !lies_in(Tensor::Sum),
                gate,
                without_y: without_y && (codes.is_some() || (statistics && !row_gain)) && !lies_in(Tensor::Y),
                statistics,
                row_gain,
                given_statistics: given,
                running_statistics: running,
                codes,
                given_unit: given_unit && codes.is_some(),
                gate_input: None,
                x_in,
                residual_in,
            }
        },
    )
}

pub(crate) fn gradients() -> impl Strategy<Value = Option<Gradient>> {
    prop::sample::select(vec![None, Some(Gradient::Overwrite), Some(Gradient::Accumulate)])
}

pub(crate) fn backwards() -> impl Strategy<Value = Backward> {
    let in_place = prop::sample::select(vec![(false, false), (true, false), (false, true)]);
    let row_gains = prop_oneof![3 => Just(None), 1 => gradients().prop_map(Some)];
    let of_gate = prop_oneof![1 => Just((false, None)), 1 => (any::<bool>(), gradients())];
    let gradients = (gradients(), gradients(), gradients());
    let options = (gradients, any::<bool>(), row_gains, in_place, any::<[bool; 2]>(), of_gate);
    options.prop_map(|((dx, dgain, dbias), dsum, row_gains, in_place, [from_y, clamped], of_gate)| {
        let ((x_in_dx, dy_in_dx), (dbranch, dgate)) = (in_place, of_gate);
        let from_y = from_y && !dbranch && dgate.is_none();
        let may_be_in_place = dx == Some(Gradient::Overwrite);
        let is_gated = dbranch || dgate.is_some();
        let row_gains = row_gains.filter(|_| !is_gated);
        Backward {
            dx,
            dsum: dsum && (may_be_in_place || (dx.is_none() && is_gated)),
            dbranch,
            dgate,
            dgain,
            dbias,
            row_gain: row_gains.is_some(),
            drow_gain: row_gains.flatten(),
            given_statistics: false,
            from_y: from_y && row_gains.is_none(),
            gate_input: None,
            clamped: clamped && from_y && row_gains.is_none() && dx.is_some() && !dsum,
            x_in_dx: x_in_dx && may_be_in_place,
            dy_in_dx: dy_in_dx && may_be_in_place,
        }
    })
}

pub(crate) fn cases(cols: impl Strategy<Value = u32>) -> impl Strategy<Value = Case> {
    let vector_width = prop::sample::select(vec![1, 2, 4, 8]);
    (problems(cols), vector_width, forwards(), backwards(), caps()).prop_map(
        |(problem, vector_width, forward, backward, caps)| {
            // A gain of each row is in place of those of each column, and of what comes after them.
            let may_have_row_gain = problem.affine == Affine::None && !problem.activation.is_some();
            // Statistics that are given or kept are those of layer norm, and those that are kept of several
            // values.
            let has_mean = problem.normalization == Normalization::Layer;
            let forward = Forward {
                row_gain: forward.row_gain && may_have_row_gain,
                given_statistics: forward.given_statistics && has_mean,
                running_statistics: forward.running_statistics && has_mean && problem.cols > 1,
                gate: forward.gate && !problem.activation.is_some(),
                ..forward
            };
            let from_y = backward.from_y && !problem.activation.is_some();
            let mut backward = Backward {
                from_y,
                clamped: backward.clamped
                    && from_y
                    && problem.affine.has_gain()
                    && problem.channels.is_none(),
                row_gain: backward.row_gain && may_have_row_gain,
                drow_gain: backward.drow_gain.filter(|_| may_have_row_gain),
                dbranch: backward.dbranch && !problem.activation.is_some(),
                dgate: backward.dgate.filter(|_| !problem.activation.is_some()),
                dgain: backward.dgain.filter(|_| problem.affine.has_gain()),
                dbias: backward.dbias.filter(|_| problem.affine.has_bias()),
                ..backward
            };
            let is_gated = backward.dbranch || backward.dgate.is_some();
            if backward.dx.is_none() && !is_gated && !backward.has_parameters() {
                backward.dx = Some(Gradient::Overwrite);
            }
            Case { problem, vector_width, forward, backward, caps }
        },
    )
}

/// A case with tensors somewhere in their buffers, and a number of rows.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) case: Case,
    pub(crate) rows: u64,
    /// Four tensors of rows, a parameter and statistics.
    pub(crate) spans: Vec<Span>,
}

/// Which of the spans are the statistics, two float32 a row, accessed one by one.
pub(crate) const STATISTICS: usize = 5;

/// Offset and what the stride has beyond cols, mostly in multiples of 8 elements.
pub(crate) fn places() -> impl Strategy<Value = (u64, u64)> {
    let elements = || prop_oneof![Just(0), (0..64_u64).prop_map(|eighths| eighths * 8), 0..512_u64];
    (elements(), elements())
}

/// Rows, tensors anywhere, and a binding size that often holds but a few rows.
pub(crate) fn calls(rows: impl Strategy<Value = u64>) -> impl Strategy<Value = Call> {
    let few_rows = prop::option::of((1..=60_u64, 0..64_u64));
    (cases(cols()), rows, prop::collection::vec(places(), 6), few_rows).prop_map(
        |(mut case, mut rows, places, few_rows)| {
            let Problem { cols, dtype, parameter_dtype, .. } = case.problem;
            let row_tensor = |(offset, padding): (u64, u64)| Span {
                offset,
                stride: u64::from(cols) + padding,
                cols,
                element_bytes: dtype.size(),
                ..Span::default()
            };
            let mut spans: Vec<Span> = places[..4].iter().copied().map(row_tensor).collect();
            let parameter = Span {
                offset: places[4].0,
                stride: 0,
                cols,
                element_bytes: parameter_dtype.size(),
                ..Span::default()
            };
            let width = |span: &Span| span.vector_width();
            case.vector_width = spans.iter().chain([&parameter]).map(width).min().unwrap();
            spans.extend([
                parameter,
                Span { offset: places[5].0, stride: 2, cols: 2, element_bytes: 4, ..Span::default() },
            ]);
            if let Some((rows_to_a_binding, odd_bytes)) = few_rows {
                let most = spans.iter().map(|span| (span.stride + 1) * u64::from(span.element_bytes)).max();
                case.caps.max_binding_bytes = rows_to_a_binding * most.unwrap() + 256 + odd_bytes;
                rows %= 2000;
            }
            Call { case, rows, spans }
        },
    )
}

/// An adapter with subgroups of 32, as NVIDIA's, beside WebGPU's default limits.
pub(crate) fn subgroups_of_32() -> Caps {
    Caps {
        subgroup: Some(SubgroupSizes { min: 32, max: 32 }),
        full_subgroups: true,
        ..Caps::webgpu_default()
    }
}

pub(crate) fn f32_of(cols: u32) -> Problem {
    Problem { cols, ..Problem::default() }
}
