//! From a [`Plan`] to WGSL text.
//!
//! The files in `shaders/` are segments of plain WGSL; a variant is some of them, one after the other, with
//! `const` lines set by name. Accessors are written once a storage, in `io/`, for a tensor with no name.

/// A file of `shaders/`.
macro_rules! wgsl {
    ($file:literal) => {
        include_str!(concat!("../../shaders/", $file, ".wgsl"))
    };
}

mod access;
mod constants;
mod gates;
mod layout;
mod parts;
mod text;
mod unroll;
pub mod variants;

pub use access::ElementType;
pub use layout::Layout;

use crate::error::Error;
use crate::plan::{Forward, Kernel, Operation, Plan, Pooled, Reduction, Strides, Tensor};
use std::fmt::Write as _;
use text::{
    bind_uniform, expand_aliases, place_constant, read_from_uniform, segment, set_constants, with_renamed,
    without_blocks,
};
use unroll::{Bound, Limits, unroll};

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
#[non_exhaustive]
pub struct Shader {
    /// [`Plan::label`].
    pub label: String,
    /// The WGSL text. Its entry point is [`ENTRY_POINT`].
    pub source: String,
    /// The storage buffers of group 0, in the order of their bindings: from 1 on, unless a [`Layout`] says
    /// otherwise.
    pub bindings: Vec<Binding>,
    /// The binding of the uniform, that of `shaders/common/params.wgsl`: 0, unless a [`Layout`] says
    /// otherwise.
    pub uniform: u32,
}

/// The name of every shader's entry point.
pub const ENTRY_POINT: &str = "main";

/// A storage buffer of a shader, in group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The binding's number.
    pub binding: u32,
    /// The tensor; the WGSL variable has its name.
    pub tensor: Tensor,
    /// The type of the array's elements.
    pub element: ElementType,
    /// `read_write` if true, else `read`. What is only read is `read_write` too where it lies in the buffer
    /// of what is written, see [`Plan::with_pooled`], or where the [`Layout`] says so.
    pub writable: bool,
}

/// Puts together the text of a plan, with the crate's own [`Layout`].
///
/// # Errors
/// Those of [`assemble_with`].
pub fn assemble(plan: &Plan, dialect: Dialect) -> Result<Shader, Error> {
    assemble_with(plan, dialect, Layout::default())
}

/// Puts together the text of a plan, with the bindings that a host wants.
///
/// # Errors
/// [`Error::Invalid`] for a plan that is not [valid](Plan::validate). [`Error::Assembly`] if a segment lacks
/// a constant that is to be set, or has it twice, or if a loop cannot be unrolled that is to be: a fault of
/// this crate.
pub fn assemble_with(plan: &Plan, dialect: Dialect, layout: Layout) -> Result<Shader, Error> {
    plan.validate()?;
    let plan = &if layout.read_write { plan.with_pooled(Pooled::Everything) } else { *plan };
    let label = plan.label();
    let fault = |message| Error::Assembly { label: label.clone(), message };
    let bindings = bindings(plan, layout);
    let uniform = layout.uniform(bindings.len().try_into().unwrap_or(u32::MAX));
    let mut text = format!("// {label}\n");
    if plan.uses_native_f16() {
        text += "enable f16;\n";
    }
    if plan.uses_subgroups() && dialect == Dialect::Browser {
        text += "enable subgroups;\n";
    }
    segment(&mut text, &bind_uniform(wgsl!("common/params"), uniform).map_err(fault)?);
    text.push('\n');
    for Binding { binding, tensor, element, writable } in &bindings {
        let access = if *writable { "read_write" } else { "read" };
        let name = tensor.name();
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, {access}> {name}: array<{}>;",
            element.name()
        );
    }
    for used in plan.used() {
        let number = plan.place_number(used.bound).unwrap_or(usize::MAX);
        let _ = writeln!(text, "const {}: u32 = {number}u;", place_constant(used.tensor));
    }
    let layout = match plan.strides {
        Strides::Dense => wgsl!("layout/rows"),
        Strides::Rows => wgsl!("layout/strided"),
        Strides::Columns => wgsl!("layout/outer_columns"),
        Strides::Across => wgsl!("layout/across"),
    };
    let of_whole_rows = || with_renamed(layout, "row_start", "whole_row_start").map_err(fault);
    if plan.kernel == Kernel::BackwardChannelSums {
        segment(&mut text, &of_whole_rows()?);
        segment(&mut text, wgsl!("layout/runs"));
    } else if plan.deals_heads() {
        segment(&mut text, &of_whole_rows()?);
    } else {
        segment(&mut text, layout);
    }
    if plan.has_parameter_rows() || plan.has_gate_rows() {
        if !plan.deals_heads() {
            segment(&mut text, wgsl!("layout/inner_rows"));
        }
        segment(&mut text, wgsl!("along/rows_of_groups"));
    }
    segment(&mut text, wgsl!("common/row"));
    segment(&mut text, if plan.is_across() { wgsl!("access/of_rows") } else { wgsl!("access/of_columns") });
    segment(&mut text, if plan.deals_heads() { wgsl!("slots/of_heads") } else { wgsl!("slots/of_rows") });
    if plan.deals_heads() {
        let has_partials = plan.tensors().contains(&Tensor::Partials);
        let rows = if has_partials { wgsl!("slots/partials_of_heads") } else { wgsl!("slots/rows_of_heads") };
        segment(&mut text, rows);
    }
    segment(&mut text, wgsl!("common/numerics"));
    segment(&mut text, parts::threads(plan, dialect));
    segment(&mut text, &parts::reduction(plan).map_err(fault)?);
    segment(&mut text, access::format(plan));
    segment(&mut text, parts::slots(plan));
    let kernel = parts::operation(plan);
    text += &access::accessors(plan, &kernel);
    text += &kernel;
    let text = set_constants(&text, &constants::constants(plan)).map_err(fault)?;
    let text = read_from_uniform(&text, &constants::from_uniform(plan)).map_err(fault)?;
    let mut source = without_blocks(&expand_aliases(&text), &switched_off(plan)).map_err(fault)?;
    let bounds = if plan.unroll { loop_bounds(plan) } else { Vec::new() };
    let run = plan.short.then_some(RUN_TRIPS);
    let turned = turned(plan);
    let limits = Limits { most_trips: MOST_TRIPS, run, turned: turned.map(|(bound, _)| bound) };
    let bounds: Vec<_> = bounds.into_iter().chain(accesses(plan)).chain(turned).collect();
    source = unroll(&source, &bounds, limits).map_err(fault)?;
    Ok(Shader { label, source, bindings, uniform })
}

fn bindings(plan: &Plan, layout: Layout) -> Vec<Binding> {
    (layout.first_storage()..)
        .zip(plan.tensors())
        .map(|(binding, tensor)| {
            let writable = plan.binds_read_write(tensor);
            Binding { binding, tensor, element: access::element(plan, tensor, writable), writable }
        })
        .collect()
}

/// Constants that are false, whose blocks a text is written without: it would compile them, and would need
/// what they call.
fn switched_off(plan: &Plan) -> Vec<&'static str> {
    match plan.operation {
        Operation::Forward(Forward { codes, given_unit, .. }) => {
            let given = [
                ("WITH_CODES", codes.is_some()),
                ("FINDS_UNITS", codes.is_none() || !given_unit),
                ("HOLD_GATE", gates::holds_gate(plan)),
            ];
            given.into_iter().filter(|(_, is_on)| !is_on).map(|(name, _)| name).collect()
        }
        Operation::Backward(backward) | Operation::ReduceParameters(backward) => {
            if backward.dgate.is_some() {
                Vec::new()
            } else {
                vec!["WITH_DGATE"]
            }
        }
    }
}

/// Loops of more trips stay loops: 32 vec4s a thread are what a software adapter holds of a row, and a GPU
/// half of that. So do those over the rows of a block: written out, a streamed kernel takes three times as
/// long to compile, and is no faster.
const MOST_TRIPS: u32 = 32;

/// Steps that are written out of a loop which runs once a slot, or a block of its rows, where the text is to
/// be [short](Plan::short). With 4 backward of 1024 columns took a seventh longer to compile, and was no
/// faster.
const RUN_TRIPS: u32 = 2;

/// Where there are more, `reduce_subgroups.wgsl` has no such loop.
const FEW_SUBGROUPS: u32 = 8;

/// A kernel that streams its row, or a chunk of it, walks it in as many steps as it takes: only one that
/// holds some of it from row to row has them written out.
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

/// Loops over the rows of a block, where they stay and what is known of each row turns below a constant
/// index: with others `backward_streamed` of 2048 columns compiled on lavapipe in 1.9 s, where it takes 0.7,
/// and ran at 0.94 of its speed. On llvmpipe's GL naga adds no bound to loops, and Mesa unrolls these.
fn turned(plan: &Plan) -> Option<Bound> {
    let stays = plan.short && plan.uses_subgroups() && !plan.is_across();
    (stays && plan.block_rows > 1).then_some(("BLOCK_ROWS", plan.block_rows))
}

/// Loops over accesses side by side, of which there are few: written out whatever compiles the text, as an
/// array of what each has may take more registers than that.
fn accesses(plan: &Plan) -> Vec<Bound> {
    let mut bounds = vec![("WALKED", plan.walked())];
    if plan.kernel == Kernel::BackwardCached && !plan.sums_blocks() {
        bounds.push(("BLOCKS", 1));
    }
    if plan.is_across() {
        bounds.push(("BLOCK_ROWS", plan.block_accesses()));
    }
    bounds
}
