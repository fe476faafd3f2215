//! From a [`Plan`] to WGSL text.
//!
//! The files in `shaders/` are segments of plain WGSL; a variant is some of them, one after the other, with `const`
//! lines set by name. In `io/` and `gradient/` the word `tensor` stands for a tensor's name. Bindings are declared
//! here, where their order is decided.

mod unroll;
pub mod variants;

use crate::error::Error;
use crate::plan::{Forward, Kernel, Operation, Plan, Reduction, Storage, Tensor};
use crate::types::{Gradient, Normalization};
use std::fmt::Write as _;
use unroll::{Bound, Limits, substitute, unroll};

/// Who compiles the text: what must stand at its top differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// naga, in wgpu's native back ends: refuses `enable subgroups;`.
    #[default]
    Naga,
    /// Tint and the other browsers' compilers: demand it.
    Browser,
}

/// The shader of a plan: text and what a host needs to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shader {
    /// [`Plan::label`].
    pub label: String,
    /// The WGSL text. Its entry point is [`ENTRY_POINT`].
    pub source: String,
    /// The storage buffers of group 0, from binding 1 on. Binding 0 is the uniform of `shaders/common/params.wgsl`.
    pub bindings: Vec<Binding>,
}

/// The name of every shader's entry point.
pub const ENTRY_POINT: &str = "main";

/// A storage buffer of a shader, in group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The binding's number.
    pub binding: u32,
    /// The tensor; the WGSL variable has its name.
    pub tensor: Tensor,
    /// The type of the array's elements.
    pub element: &'static str,
    /// `read_write` if true, else `read`. What is only read is `read_write` too where it lies in the buffer
    /// of what is written, see [`Plan::with_pooled`].
    pub writable: bool,
}

/// Puts together the text of a plan.
///
/// # Errors
/// [`Error::Assembly`] if a segment lacks a constant that is to be set, or has it twice: a fault of this crate.
pub fn assemble(plan: &Plan, dialect: Dialect) -> Result<Shader, Error> {
    plan.validate()?;
    let label = plan.label();
    let bindings = bindings(plan);
    let mut text = format!("// {label}\n");
    if plan.uses_native_f16() {
        text += "enable f16;\n";
    }
    if plan.uses_subgroups() && dialect == Dialect::Browser {
        text += "enable subgroups;\n";
    }
    segment(&mut text, segments::PARAMS);
    text.push('\n');
    for Binding { binding, tensor, element, writable } in &bindings {
        let access = if *writable { "read_write" } else { "read" };
        let name = tensor.name();
        let _ =
            writeln!(text, "@group(0) @binding({binding}) var<storage, {access}> {name}: array<{element}>;");
    }
    segment(&mut text, segments::ROW);
    segment(&mut text, segments::NUMERICS);
    segment(&mut text, threads(plan, dialect));
    segment(&mut text, reduction(plan));
    segment(&mut text, format(plan));
    segment(&mut text, slots(plan));
    operation(&mut text, plan);
    segment(&mut text, body(plan.kernel));
    let text = set_constants(&text, &constants(plan))
        .map_err(|message| Error::Assembly { label: label.clone(), message })?;
    let mut source = expand_aliases(&text);
    if plan.unroll {
        let run = plan.short.then_some(RUN_TRIPS);
        if plan.short && plan.workgroup_size() == plan.threads_per_row {
            // What the loop over the rows has asked already.
            source = source
                .replace("let has_row = first_row + slot_in_workgroup < rows.end;", "let has_row = true;");
        }
        source = unroll(&source, &loop_bounds(plan), Limits { most_trips: MOST_TRIPS, run });
    }
    Ok(Shader { label, source, bindings })
}

/// The text with what each `alias NAME = TYPE;` stands for in place of NAME. For naga an alias is a type of its own: where
/// the same type occurs without it too, the SPIR-V has a type twice and the HLSL a function.
fn expand_aliases(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let alias = |line: &String| {
        let (name, of) = line.strip_prefix("alias ")?.strip_suffix(';')?.split_once(" = ")?;
        Some((name.to_owned(), of.to_owned()))
    };
    // An alias may stand in the one that is expanded after it.
    while let Some((at, (name, of))) =
        lines.iter().enumerate().find_map(|(at, line)| Some((at, alias(line)?)))
    {
        lines.remove(at);
        for line in lines.iter_mut().filter(|line| line.contains(&name)) {
            *line = substitute(line, &name, &of);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Loops of more trips stay loops: 32 vec4s a thread are what a software adapter holds of a row, and a GPU half of that. So do
/// those over the rows of a block: written out, a streamed kernel takes three times as long to compile, and is no faster.
const MOST_TRIPS: u32 = 32;

/// Steps that are written out of a loop which runs once a slot, where the text is to be [short](Plan::short).
const RUN_TRIPS: u32 = 4;

/// Where there are more, `reduce_subgroups.wgsl` has no such loop.
const FEW_SUBGROUPS: u32 = 8;

/// A kernel that streams its row, or a chunk of it, walks it in as many steps as it takes: only one that holds some of it
/// from row to row has them written out.
fn loop_bounds(plan: &Plan) -> Vec<Bound> {
    let parts = plan.parts();
    let mut bounds = vec![("PARTS", parts), ("RUN_STEPS", plan.run_steps()), ("BATCH", Plan::REDUCE_BATCH)];
    if plan.kernel.is_written_out() {
        bounds.push(("STEPS", plan.steps));
    }
    if let Reduction::Subgroups(min) = plan.reduction
        && plan.workgroup_size().div_ceil(min) <= FEW_SUBGROUPS
    {
        bounds.push(("MOST_SUBGROUPS", plan.workgroup_size().div_ceil(min)));
    }
    bounds
}

fn segment(text: &mut String, segment: &str) {
    text.push('\n');
    text.push_str(segment);
}

/// Sets the value of each constant's one line `const NAME: TYPE = VALUE;`.
fn set_constants(text: &str, constants: &[(&str, String)]) -> Result<String, String> {
    let mut declarations = vec![0; constants.len()];
    let mut set = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let declared = line.strip_prefix("const ").and_then(|rest| rest.split_once(": "));
        let place =
            declared.and_then(|(name, _)| constants.iter().position(|(constant, _)| *constant == name));
        let Some(place) = place else {
            set.push_str(line);
            continue;
        };
        let (name, value) = &constants[place];
        let (Some(equals), Some(semicolon)) = (line.find("= "), line.find(';')) else {
            return Err(format!("constant {name} is not declared as `const NAME: TYPE = VALUE;`"));
        };
        declarations[place] += 1;
        set.push_str(&line[..equals + 2]);
        set.push_str(value);
        set.push_str(&line[semicolon..]);
    }
    match constants.iter().zip(declarations).find(|(_, declarations)| *declarations != 1) {
        None => Ok(set),
        Some(((name, _), declarations)) => Err(format!("constant {name} is declared {declarations} times")),
    }
}

fn bindings(plan: &Plan) -> Vec<Binding> {
    (1..)
        .zip(plan.tensors())
        .map(|(binding, tensor)| {
            let writable = plan.binds_read_write(tensor);
            Binding { binding, tensor, element: element(plan, tensor, writable), writable }
        })
        .collect()
}

fn element(plan: &Plan, tensor: Tensor, writable: bool) -> &'static str {
    match tensor {
        Tensor::Statistics => return "f32",
        Tensor::RowPartials => return "vec4<f32>",
        _ => {}
    }
    match (plan.storage(tensor), plan.vector_width) {
        (Storage::F32, 8) if plan.uses_int64() => "vec4<u64>",
        (_, 16) => "vec4<u64>",
        (Storage::F32, 4 | 8) => "vec4<f32>",
        (Storage::F32, 2) => "vec2<f32>",
        (Storage::F32, _) => "f32",
        (Storage::NativeF16, _) => "f16",
        (Storage::PackedF16 | Storage::PackedBf16, 8) => "vec4<u32>",
        (Storage::PackedF16 | Storage::PackedBf16, 4) => "vec2<u32>",
        (Storage::PackedF16 | Storage::PackedBf16, 1) if writable => "atomic<u32>",
        (Storage::PackedF16 | Storage::PackedBf16, _) => "u32",
    }
}

/// How threads are numbered, where the reduction does not say it.
fn threads(plan: &Plan, dialect: Dialect) -> &'static str {
    match (plan.reduction, dialect) {
        (Reduction::Thread | Reduction::Subgroup | Reduction::Workgroup, _) => "",
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Naga) => {
            segments::THREADS_BY_SUBGROUP
        }
        (Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_), Dialect::Browser) => {
            segments::THREADS_BY_INDEX
        }
    }
}

fn reduction(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => segments::REDUCE_THREAD,
        Reduction::Lanes => segments::REDUCE_LANES,
        Reduction::Adaptive => segments::REDUCE_ADAPTIVE,
        Reduction::Subgroup => segments::REDUCE_SUBGROUP,
        Reduction::Subgroups(_) => segments::REDUCE_SUBGROUPS,
        Reduction::Workgroup => segments::REDUCE_WORKGROUP,
    }
}

fn format(plan: &Plan) -> &'static str {
    match plan.row_storage {
        Storage::F32 => segments::FORMAT_F32,
        Storage::NativeF16 | Storage::PackedF16 if plan.short => segments::FORMAT_PACKED_F16_BITS,
        // A sum rounded by WGSL's own f16 and back is left as it was by NVIDIA's compiler.
        Storage::NativeF16 | Storage::PackedF16 => segments::FORMAT_PACKED_F16,
        Storage::PackedBf16 => segments::FORMAT_PACKED_BF16,
    }
}

/// What the slots of a workgroup, or the slices of `backward_reduce_parameters`, do with their partial sums. The other kernels
/// update theirs in memory, or have one slot a workgroup.
fn slots(plan: &Plan) -> &'static str {
    match plan.kernel {
        Kernel::BackwardCached | Kernel::BackwardReduceParameters if plan.combine_slots => {
            segments::SLOTS_TOGETHER
        }
        Kernel::BackwardCached | Kernel::BackwardReduceParameters => segments::SLOTS_APART,
        _ => "",
    }
}

/// Where the threads of a row get its first value from.
fn first_of_row(plan: &Plan) -> &'static str {
    match plan.reduction {
        Reduction::Thread => segments::FIRST_BY_THREAD,
        Reduction::Subgroup => segments::FIRST_BY_LANE,
        Reduction::Lanes | Reduction::Adaptive | Reduction::Subgroups(_) | Reduction::Workgroup => {
            segments::FIRST_BY_LOAD
        }
    }
}

/// What a row's threads do between reading it and writing it, or another tensor.
fn before_writing(plan: &Plan, forward: Forward) -> &'static str {
    let is_in_place = forward.x_in.is_some() || forward.residual_in.is_some();
    let is_loaded_by_all =
        plan.normalization == Normalization::Layer && first_of_row(plan) == segments::FIRST_BY_LOAD;
    if is_in_place && is_loaded_by_all { segments::INPUT_IN_PLACE } else { segments::INPUT_APART }
}

fn body(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::ForwardCached => segments::FORWARD_CACHED,
        Kernel::ForwardStreamed => segments::FORWARD_STREAMED,
        Kernel::ForwardSplitStatistics => segments::FORWARD_SPLIT_STATISTICS,
        Kernel::ForwardSplitApply => segments::FORWARD_SPLIT_APPLY,
        Kernel::BackwardCached => segments::BACKWARD_CACHED,
        Kernel::BackwardStreamed => segments::BACKWARD_STREAMED,
        Kernel::BackwardSplitSums => segments::BACKWARD_SPLIT_SUMS,
        Kernel::BackwardSplitApply => segments::BACKWARD_SPLIT_APPLY,
        Kernel::BackwardReduceParameters => segments::BACKWARD_REDUCE_PARAMETERS,
    }
}

/// The segments between the common ones and the body: accesses to the tensors, and what is done with them.
fn operation(text: &mut String, plan: &Plan) {
    match plan.operation {
        Operation::Forward(forward) => {
            let is_apply = plan.kernel == Kernel::ForwardSplitApply;
            if plan.writes(Tensor::Y) {
                store(text, plan, Tensor::Y);
            }
            if !(forward.residual && is_apply) {
                load(text, plan, Tensor::X, forward.x_in.unwrap_or(Tensor::X));
            }
            if forward.residual && is_apply {
                load(text, plan, Tensor::Sum, Tensor::Sum);
                segment(text, segments::INPUT_STORED_SUM);
            } else if forward.residual {
                load(text, plan, Tensor::Residual, forward.residual_in.unwrap_or(Tensor::Residual));
                load(text, plan, Tensor::Sum, Tensor::Sum);
                store(text, plan, Tensor::Sum);
                segment(text, segments::INPUT_SUM);
            } else {
                segment(text, segments::INPUT_X);
            }
            if plan.affine.has_bias() {
                load(text, plan, Tensor::Gain, Tensor::Gain);
                load(text, plan, Tensor::Bias, Tensor::Bias);
                segment(text, segments::AFFINE_GAIN_BIAS);
            } else {
                gain(text, plan);
            }
            segment(
                text,
                if forward.statistics { segments::STATISTICS_STORE } else { segments::STATISTICS_NONE },
            );
            segment(text, segments::FORWARD);
            match plan.kernel {
                Kernel::ForwardStreamed => {
                    segment(text, segments::MOMENTS);
                    segment(text, segments::WALK);
                    segment(text, segments::NORMALISER);
                }
                Kernel::ForwardSplitStatistics => {
                    segment(text, segments::MOMENTS);
                    segment(text, segments::WALK);
                    segment(text, segments::ROW_PARTIALS);
                }
                Kernel::ForwardSplitApply => {
                    segment(text, segments::MOMENTS);
                    segment(text, segments::ROW_PARTIALS);
                    segment(text, segments::MERGED);
                    segment(text, segments::NORMALISER);
                }
                _ => {
                    segment(text, segments::CACHED);
                    segment(text, first_of_row(plan));
                    segment(text, before_writing(plan, forward));
                }
            }
        }
        Operation::Backward(backward) => {
            segment(text, segments::BACKWARD);
            load(text, plan, Tensor::X, if backward.x_in_dx { Tensor::Dx } else { Tensor::X });
            load(text, plan, Tensor::Dy, if backward.dy_in_dx { Tensor::Dx } else { Tensor::Dy });
            gain(text, plan);
            gradient(text, plan, Tensor::Dx, backward.dx);
            segment(text, segments::PARTIALS);
            if plan.parameter_gradients() > 0 {
                load(text, plan, Tensor::Partials, Tensor::Partials);
                store(text, plan, Tensor::Partials);
                segment(text, segments::PARTIALS_UPDATE);
            } else {
                segment(text, segments::PARTIALS_NONE);
            }
            if plan.partial_cols > 0 {
                segment(text, segments::ROW_PARTIALS);
            }
            if matches!(plan.kernel, Kernel::BackwardStreamed | Kernel::BackwardSplitSums) {
                segment(text, segments::BACKWARD_WALK);
            }
            segment(text, segments::LARGE_DXHAT);
        }
        Operation::ReduceParameters(backward) => {
            segment(text, segments::PARTIALS);
            load(text, plan, Tensor::Partials, Tensor::Partials);
            gradient(text, plan, Tensor::Dgain, backward.dgain);
            gradient(text, plan, Tensor::Dbias, backward.dbias);
        }
    }
}

fn gain(text: &mut String, plan: &Plan) {
    if plan.affine.has_gain() {
        load(text, plan, Tensor::Gain, Tensor::Gain);
        segment(text, segments::AFFINE_GAIN);
    } else {
        segment(text, segments::AFFINE_NONE);
    }
}

fn gradient(text: &mut String, plan: &Plan, tensor: Tensor, gradient: Option<Gradient>) {
    let what = match gradient {
        None => segments::GRADIENT_NONE,
        Some(Gradient::Overwrite) => segments::GRADIENT_OVERWRITE,
        Some(Gradient::Accumulate) => {
            load(text, plan, tensor, tensor);
            segments::GRADIENT_ACCUMULATE
        }
    };
    if gradient.is_some() {
        store(text, plan, tensor);
    }
    segment(text, &what.replace("tensor", tensor.name()));
}

/// `load_<tensor>`, reading the binding of `bound`.
fn load(text: &mut String, plan: &Plan, tensor: Tensor, bound: Tensor) {
    let access = match (plan.storage(tensor), plan.vector_width) {
        (Storage::F32, 8) if plan.uses_int64() => segments::LOAD_F32_WORDS,
        (Storage::F32, 16) => segments::LOAD_F32_WORDS_X16,
        (_, 16) => segments::LOAD_PACKED_WORDS,
        (Storage::F32, 8) => segments::LOAD_F32_X8,
        (Storage::F32, 4) => segments::LOAD_F32_X4,
        (Storage::F32, 2) => segments::LOAD_F32_X2,
        (Storage::F32, _) => segments::LOAD_F32_X1,
        (Storage::NativeF16, _) => segments::LOAD_NATIVE_F16_X1,
        (Storage::PackedF16 | Storage::PackedBf16, 8) => segments::LOAD_PACKED_X8,
        (Storage::PackedF16 | Storage::PackedBf16, 4) => segments::LOAD_PACKED_X4,
        (Storage::PackedF16 | Storage::PackedBf16, 2) => segments::LOAD_PACKED_X2,
        (Storage::PackedF16 | Storage::PackedBf16, _) if plan.binds_read_write(bound) => {
            segments::LOAD_PACKED_X1_ATOMIC
        }
        (Storage::PackedF16 | Storage::PackedBf16, _) => segments::LOAD_PACKED_X1,
    };
    let function = access.replace("load_tensor", &format!("load_{}", tensor.name()));
    segment(text, &function.replace("tensor", bound.name()));
}

/// `store_<tensor>`.
fn store(text: &mut String, plan: &Plan, tensor: Tensor) {
    let access = match (plan.storage(tensor), plan.vector_width) {
        (Storage::F32, 8) if plan.uses_int64() => segments::STORE_F32_WORDS,
        (Storage::F32, 16) => segments::STORE_F32_WORDS_X16,
        (_, 16) => segments::STORE_PACKED_WORDS,
        (Storage::F32, 8) => segments::STORE_F32_X8,
        (Storage::F32, 4) => segments::STORE_F32_X4,
        (Storage::F32, 2) => segments::STORE_F32_X2,
        (Storage::F32, _) => segments::STORE_F32_X1,
        (Storage::NativeF16, _) => segments::STORE_NATIVE_F16_X1,
        (Storage::PackedF16 | Storage::PackedBf16, 8) => segments::STORE_PACKED_X8,
        (Storage::PackedF16 | Storage::PackedBf16, 4) => segments::STORE_PACKED_X4,
        (Storage::PackedF16 | Storage::PackedBf16, 2) => segments::STORE_PACKED_X2,
        (Storage::PackedF16 | Storage::PackedBf16, _) => segments::STORE_PACKED_X1_ATOMIC,
    };
    segment(text, &access.replace("tensor", tensor.name()));
}

fn constants(plan: &Plan) -> Vec<(&'static str, String)> {
    let unsigned = |value: u32| format!("{value}u");
    let centred = || (plan.normalization == Normalization::Layer).to_string();
    let wide_range = matches!(plan.row_storage, Storage::F32 | Storage::PackedBf16);
    // 2^log2_cols is the smallest power of two that is not below cols.
    let log2_cols = plan.cols.next_power_of_two().ilog2();
    let sum_scale = log2_cols + 1;
    let mean_factor = f64::from(1_u32 << sum_scale) / f64::from(plan.cols);
    let mut constants = vec![
        ("COLS", unsigned(plan.cols)),
        ("THREADS_PER_ROW", unsigned(plan.threads_per_row)),
        ("ROWS_PER_WORKGROUP", unsigned(plan.rows_per_workgroup)),
        ("CONTIGUOUS", unsigned(plan.vector_width)),
        ("PARTS", unsigned(plan.parts())),
        ("STEPS", unsigned(plan.steps)),
        ("CHUNKS", unsigned(plan.chunks)),
        ("SUM_SCALE", format!("0x1p-{sum_scale}f")),
        ("MEAN_FACTOR", format!("{mean_factor:?}")),
    ];
    if let Reduction::Subgroups(min) = plan.reduction {
        constants.push(("FEW_SUBGROUPS", unsigned(FEW_SUBGROUPS)));
        constants.push(("SUBGROUP_MIN", unsigned(min)));
    }
    if matches!(plan.row_storage, Storage::PackedF16 | Storage::NativeF16) && !plan.short {
        constants.push(("BRANCH", plan.branch.to_string()));
    }
    if plan.partial_cols > 0 {
        constants.push(("PARTIAL_COLS", unsigned(plan.partial_cols)));
    }
    match plan.operation {
        Operation::Forward(_) => {
            constants.push(("CENTRED", centred()));
            constants.push(("WIDE_RANGE", wide_range.to_string()));
            // docs/numerics.md derives it: scaled, sums of squares stay finite up to the largest float32.
            constants.push(("SMALL_SCALE", format!("0x1p-{}f", (132 + log2_cols) / 2)));
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            if matches!(plan.operation, Operation::Backward(_)) {
                // dy * gain of 16 bits each is in range, and so are their means and differences. The sums of
                // a chunk do not know whether dx is wanted.
                let has_wide_gain = plan.affine.has_gain() && plan.parameter_storage == Storage::F32;
                let counts = backward.dx.is_some() || plan.kernel == Kernel::BackwardSplitSums;
                constants.push(("COMPENSATE_LARGE", (plan.kernel != Kernel::BackwardCached).to_string()));
                constants.push(("WIDE_RANGE", (counts && (wide_range || has_wide_gain)).to_string()));
            }
            constants.push(("WITH_DGAIN", backward.dgain.is_some().to_string()));
            constants.push(("WITH_DBIAS", backward.dbias.is_some().to_string()));
            constants.push(("PARAMETER_GRADIENTS", unsigned(plan.parameter_gradients().max(1))));
        }
    }
    match plan.kernel {
        Kernel::ForwardCached => {
            // Below LARGE they do so unscaled.
            constants.push(("LARGE", format!("0x1p{}f", 62 - i64::from(sum_scale))));
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            let shows = plan.row_storage == Storage::F32 || plan.tensors().contains(&Tensor::Statistics);
            constants.push(("COMPENSATE_SQUARES", shows.to_string()));
        }
        Kernel::ForwardStreamed => {
            constants.push(("BLOCK_ROWS", unsigned(plan.block_rows)));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::ForwardSplitStatistics => constants.push(("RUN_STEPS", unsigned(plan.run_steps()))),
        Kernel::BackwardCached => {
            constants.push(("HOLD_PARAMETERS", plan.hold_parameters.to_string()));
            let with_dx = plan.tensors().contains(&Tensor::Dx);
            constants.push(("CENTRED", centred()));
            constants.push(("WITH_DX", with_dx.to_string()));
        }
        Kernel::BackwardStreamed | Kernel::BackwardSplitSums => {
            constants.push(("CENTRED", centred()));
            constants.push(("BLOCK_ROWS", unsigned(plan.block_rows)));
            constants.push(("RUN_STEPS", unsigned(plan.run_steps())));
        }
        Kernel::BackwardSplitApply => constants.push(("CENTRED", centred())),
        Kernel::BackwardReduceParameters => constants.push(("BATCH", unsigned(Plan::REDUCE_BATCH))),
        Kernel::ForwardSplitApply => {}
    }
    constants
}

/// The files of `shaders/`.
mod segments {
    macro_rules! segments {
        ($($name:ident = $file:literal)*) => {
            $(pub(super) const $name: &str = include_str!(concat!("../shaders/", $file, ".wgsl"));)*
        };
    }

    segments! {
        PARAMS = "common/params"
        ROW = "common/row"
        NUMERICS = "common/numerics"
        REDUCE_THREAD = "common/reduce_thread"
        THREADS_BY_SUBGROUP = "common/threads_by_subgroup"
        THREADS_BY_INDEX = "common/threads_by_index"
        REDUCE_LANES = "common/reduce_lanes"
        REDUCE_ADAPTIVE = "common/reduce_adaptive"
        REDUCE_SUBGROUP = "common/reduce_subgroup"
        REDUCE_SUBGROUPS = "common/reduce_subgroups"
        REDUCE_WORKGROUP = "common/reduce_workgroup"
        SLOTS_APART = "slots/apart"
        SLOTS_TOGETHER = "slots/together"
        FORWARD = "common/forward"
        CACHED = "common/cached"
        MOMENTS = "common/moments"
        WALK = "common/walk"
        MERGED = "common/merged"
        NORMALISER = "common/normaliser"
        FIRST_BY_LOAD = "input/first_by_load"
        FIRST_BY_LANE = "input/first_by_lane"
        FIRST_BY_THREAD = "input/first_by_thread"
        BACKWARD = "common/backward"
        BACKWARD_WALK = "common/backward_walk"
        LARGE_DXHAT = "common/large_dxhat"
        ROW_PARTIALS = "common/row_partials"
        PARTIALS = "common/partials"
        FORMAT_F32 = "io/format/f32"
        FORMAT_PACKED_F16 = "io/format/packed_f16"
        FORMAT_PACKED_F16_BITS = "io/format/packed_f16_bits"
        FORMAT_PACKED_BF16 = "io/format/packed_bf16"
        LOAD_F32_WORDS = "io/load/f32_words"
        LOAD_F32_WORDS_X16 = "io/load/f32_words_x16"
        LOAD_PACKED_WORDS = "io/load/packed_words"
        LOAD_F32_X8 = "io/load/f32_x8"
        LOAD_F32_X4 = "io/load/f32_x4"
        LOAD_F32_X2 = "io/load/f32_x2"
        LOAD_F32_X1 = "io/load/f32_x1"
        LOAD_NATIVE_F16_X1 = "io/load/native_f16_x1"
        LOAD_PACKED_X8 = "io/load/packed_x8"
        LOAD_PACKED_X4 = "io/load/packed_x4"
        LOAD_PACKED_X2 = "io/load/packed_x2"
        LOAD_PACKED_X1 = "io/load/packed_x1"
        LOAD_PACKED_X1_ATOMIC = "io/load/packed_x1_atomic"
        STORE_F32_WORDS = "io/store/f32_words"
        STORE_F32_WORDS_X16 = "io/store/f32_words_x16"
        STORE_PACKED_WORDS = "io/store/packed_words"
        STORE_F32_X8 = "io/store/f32_x8"
        STORE_F32_X4 = "io/store/f32_x4"
        STORE_F32_X2 = "io/store/f32_x2"
        STORE_F32_X1 = "io/store/f32_x1"
        STORE_NATIVE_F16_X1 = "io/store/native_f16_x1"
        STORE_PACKED_X8 = "io/store/packed_x8"
        STORE_PACKED_X4 = "io/store/packed_x4"
        STORE_PACKED_X2 = "io/store/packed_x2"
        STORE_PACKED_X1_ATOMIC = "io/store/packed_x1_atomic"
        INPUT_X = "input/x"
        INPUT_APART = "input/apart"
        INPUT_IN_PLACE = "input/in_place"
        INPUT_SUM = "input/sum"
        INPUT_STORED_SUM = "input/stored_sum"
        AFFINE_NONE = "affine/none"
        AFFINE_GAIN = "affine/gain"
        AFFINE_GAIN_BIAS = "affine/gain_bias"
        STATISTICS_NONE = "statistics/none"
        STATISTICS_STORE = "statistics/store"
        GRADIENT_NONE = "gradient/none"
        GRADIENT_OVERWRITE = "gradient/overwrite"
        GRADIENT_ACCUMULATE = "gradient/accumulate"
        PARTIALS_NONE = "partials/none"
        PARTIALS_UPDATE = "partials/update"
        FORWARD_CACHED = "forward_cached"
        FORWARD_STREAMED = "forward_streamed"
        FORWARD_SPLIT_STATISTICS = "forward_split_statistics"
        FORWARD_SPLIT_APPLY = "forward_split_apply"
        BACKWARD_CACHED = "backward_cached"
        BACKWARD_STREAMED = "backward_streamed"
        BACKWARD_SPLIT_SUMS = "backward_split_sums"
        BACKWARD_SPLIT_APPLY = "backward_split_apply"
        BACKWARD_REDUCE_PARAMETERS = "backward_reduce_parameters"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_expanded_one_in_another() {
        let text = "\
alias Pair = vec2<f32>;
alias Pairs = array<Pair, N>;
// a Pair
fn f(p: Pair, q: Pairing) -> Pairs {
";
        let expected = "\
// a Pair
fn f(p: vec2<f32>, q: Pairing) -> array<vec2<f32>, N> {
";
        assert_eq!(expand_aliases(text), expected);
    }

    #[test]
    fn a_constant_wants_exactly_one_declaration() {
        let once = "\nconst A: u32 = 1u;\nconst AB: u32 = A; // A\n";
        let set = |text: &str, name| set_constants(text, &[("AB", "8u".to_owned()), (name, "7u".to_owned())]);
        assert_eq!(set(once, "A").unwrap(), "\nconst A: u32 = 7u;\nconst AB: u32 = 8u; // A\n");
        assert!(set(once, "C").unwrap_err().contains("C is declared 0 times"), "absent");
        let twice = format!("{once}const A: u32 = 1u;\n");
        assert!(set(&twice, "A").unwrap_err().contains("A is declared 2 times"), "repeated");
        assert!(set("const A: u32", "A").unwrap_err().contains("not declared as"), "without a value");
    }
}
