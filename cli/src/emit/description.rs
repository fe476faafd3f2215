//! The description of a variant: all that a host needs to run it, as JSON. docs/emit.md explains it.

use super::Format;
use super::needs::Needs;
use super::uniform::{Uniform, Value};
use crate::failure::Failure;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use wgpu_layernorm::plan::{AdapterKind, Caps, Formula, Forward, Kernel, Operation, Plan, Shape, Tensor};
use wgpu_layernorm::shader::variants::Variant;
use wgpu_layernorm::translate::Module;
use wgpu_layernorm::{Channels, CodeDtype};

#[derive(Debug, Serialize)]
pub(crate) struct Description {
    pub(crate) label: String,
    pub(crate) kernel: &'static str,
    operation: &'static str,
    format: &'static str,
    entry_point: String,
    cols: u32,
    normalization: &'static str,
    affine: &'static str,
    activation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<OfChannels>,
    workgroup_size: [u32; 3],
    uniform: Uniform,
    bindings: Vec<Binding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metal_buffer_sizes: Option<MetalBufferSizes>,
    dispatch: Dispatch,
    scratch: Vec<Scratch>,
    needs: Needs,
    planned_for: PlannedFor,
}

/// Where gain and bias have a value for each channel: how those lie in rows.
#[derive(Debug, Serialize)]
struct OfChannels {
    count: u32,
    groups: u32,
    spatial: u32,
}

#[derive(Debug, Serialize)]
struct Binding {
    group: u32,
    binding: u32,
    name: &'static str,
    access: &'static str,
    element: &'static str,
    element_bytes: u32,
    values_per_element: u32,
    dtype: &'static str,
    shape: Vec<Value>,
    /// Start and stride are counted in values, and are multiples of this.
    start_multiple: u32,
}

#[derive(Debug, Serialize)]
struct MetalBufferSizes {
    slot: usize,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Dispatch {
    most_rows: u64,
    rows_multiple: u32,
    slot_rows: Json,
    workgroups: [Json; 3],
    partial_rows: Json,
}

#[derive(Debug, Serialize)]
struct Scratch {
    tensor: &'static str,
    bytes: Json,
}

#[derive(Debug, Serialize)]
struct PlannedFor {
    kind: &'static str,
    subgroup_sizes: Option<[u32; 2]>,
    full_subgroups: bool,
    shader_f16: bool,
    unrolls_loops: bool,
    max_invocations: u32,
    max_workgroup_bytes: u32,
    max_storage_buffers: u32,
    max_workgroups: u32,
    max_binding_bytes: u64,
    storage_alignment: u32,
    max_loop_trips: Option<u32>,
}

/// A formula: `"rows"`, a number, or an array of an operation's name and its two operands.
#[derive(Debug)]
struct Json(Formula);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, operands) = match &self.0 {
            Formula::Rows => return serializer.serialize_str("rows"),
            Formula::Number(number) => return serializer.serialize_u64(*number),
            Formula::Multiply(operands) => ("multiply", operands),
            Formula::Divide(operands) => ("divide", operands),
            Formula::DivideUp(operands) => ("divide_up", operands),
            Formula::Min(operands) => ("min", operands),
            Formula::Max(operands) => ("max", operands),
        };
        let mut array = serializer.serialize_seq(Some(3))?;
        array.serialize_element(name)?;
        for operand in operands.iter() {
            array.serialize_element(&Self(operand.clone()))?;
        }
        array.end()
    }
}

impl Description {
    pub(super) fn new(
        variant: &Variant,
        module: &Module,
        format: Format,
        entry_point: String,
    ) -> Result<Self, Failure> {
        let Variant { plan, caps } = variant;
        let bindings: Vec<Binding> = module
            .shader()
            .bindings
            .iter()
            .zip(plan.used().into_iter().filter(|used| used.bound == used.tensor))
            .map(|(bound, used)| {
                let storage = plan.storage(bound.tensor);
                let element_bytes = bound.element.bytes();
                let values_per_element = element_bytes / storage.element_bytes();
                Binding {
                    group: 0,
                    binding: bound.binding,
                    name: bound.tensor.name(),
                    access: if bound.writable { "read_write" } else { "read" },
                    element: bound.element.name(),
                    element_bytes,
                    values_per_element,
                    dtype: dtype_of_codes(plan, used.shape).unwrap_or(storage.dtype().name()),
                    shape: shape(plan, used.shape),
                    // A word may hold two values, of which each can be the first.
                    start_multiple: match used.shape {
                        shape if shape.is_of_parameters() && has_single_parameters(plan) => 1,
                        _ if plan.vector_width == 1 => 1,
                        _ => values_per_element,
                    },
                }
            })
            .collect();
        let launch = plan.launch(caps);
        let [x, y] = launch.workgroups;
        let scratch =
            [(Tensor::Partials, launch.scratch_bytes), (Tensor::RowPartials, launch.row_partials_bytes)];
        Ok(Self {
            label: module.shader().label.clone(),
            kernel: plan.kernel.name(),
            operation: match plan.operation {
                Operation::Forward(_) => "forward",
                Operation::Backward(_) => "backward",
                Operation::ReduceParameters(_) => "reduce_parameters",
                other => {
                    let what = format!("the operation {} is not known to the description", other.name());
                    return Err(Failure::FailedRun(what));
                }
            },
            format: format.name(),
            entry_point,
            cols: plan.cols,
            normalization: plan.normalization.name(),
            affine: plan.affine.name(),
            activation: plan.activation.name(),
            channels: plan.channels.map(|channels| {
                let Channels { count, groups, spatial, .. } = channels;
                OfChannels { count, groups, spatial }
            }),
            workgroup_size: [plan.workgroup_size(), 1, 1],
            uniform: Uniform::new(plan, module)?,
            metal_buffer_sizes: (format == Format::Msl)
                .then_some(MetalBufferSizes { slot: bindings.len() + 1, bytes: 4 * bindings.len() }),
            dispatch: Dispatch {
                most_rows: launch.most_rows,
                rows_multiple: launch.rows_multiple,
                slot_rows: Json(launch.slot_rows),
                workgroups: [Json(x), Json(y), Json(Formula::Number(1))],
                partial_rows: Json(launch.partial_rows),
            },
            scratch: scratch
                .into_iter()
                .filter(|(tensor, _)| plan.writes(*tensor))
                .map(|(tensor, bytes)| Scratch { tensor: tensor.name(), bytes: Json(bytes) })
                .collect(),
            needs: Needs::new(plan, caps, format, bindings.len()),
            bindings,
            planned_for: PlannedFor::new(caps),
        })
    }
}

impl PlannedFor {
    fn new(caps: &Caps) -> Self {
        Self {
            kind: match caps.kind {
                AdapterKind::Gpu => "gpu",
                AdapterKind::Software => "software",
            },
            subgroup_sizes: caps.subgroup.map(|sizes| [sizes.min, sizes.max]),
            full_subgroups: caps.full_subgroups,
            shader_f16: caps.shader_f16,
            unrolls_loops: caps.unrolls_loops,
            max_invocations: caps.max_invocations,
            max_workgroup_bytes: caps.max_workgroup_bytes,
            max_storage_buffers: caps.max_storage_buffers,
            max_workgroups: caps.max_workgroups,
            max_binding_bytes: caps.max_binding_bytes,
            storage_alignment: caps.storage_alignment,
            max_loop_trips: Some(caps.max_loop_trips).filter(|trips| *trips < u32::MAX),
        }
    }
}

/// Whether gain and bias have a value for each channel, and channels have several columns.
fn has_single_parameters(plan: &Plan) -> bool {
    plan.channels.is_some_and(|channels| channels.spatial > 1 || channels.per_row() == 1)
}

/// Values of a row, of which a kernel may walk a channel at a time.
fn row_cols(plan: &Plan) -> u32 {
    match plan.channels {
        Some(channels) => channels.per_row() * channels.spatial,
        None => plan.cols,
    }
}

/// Of codes, four in a word.
fn dtype_of_codes(plan: &Plan, shape: Shape) -> Option<&'static str> {
    let Operation::Forward(Forward { codes: Some(codes), .. }) = plan.operation else { return None };
    (shape == Shape::Codes).then(|| if codes == CodeDtype::Int8 { "int8x4" } else { "fp8_e4m3x4" })
}

fn shape(plan: &Plan, shape: Shape) -> Vec<Value> {
    let rows = |name: &str| Value::Name(name.to_owned());
    match shape {
        Shape::Statistics => vec![rows("rows"), Value::Number(2)],
        Shape::RowPartials => vec![rows("rows"), Value::Number(plan.row_partials()), Value::Number(4)],
        Shape::Cols | Shape::Gates => vec![Value::Number(plan.values_of(shape))],
        Shape::PerRow => vec![rows("rows")],
        Shape::One => vec![Value::Number(1)],
        Shape::Codes => vec![rows("rows"), Value::Number(Shape::words(plan.cols))],
        Shape::Partials => {
            let gradients = Value::Number(plan.partial_gradients);
            // Added up over all samples, they are those of each.
            let of_samples = plan.channels.filter(|_| plan.kernel == Kernel::BackwardReduceParameters);
            let values = of_samples.map_or(plan.parameters(), |channels| channels.count);
            vec![rows("partial_rows"), gradients, Value::Number(values)]
        }
        _ => vec![rows("rows"), Value::Number(row_cols(plan))],
    }
}

#[cfg(test)]
mod tests {
    use super::super::needs::subgroup_sizes;
    use super::*;
    use wgpu_layernorm::plan::SubgroupSizes;
    use wgpu_layernorm::shader::variants;
    use wgpu_layernorm::{Dtype, Problem};

    #[test]
    fn every_variant_has_a_description() {
        // One of many: translation is tested elsewhere.
        for variant in variants::all().unwrap().iter().step_by(29) {
            let module = Module::new(&variant.plan).unwrap();
            let description = Description::new(variant, &module, Format::Wgsl, "main".to_owned()).unwrap();
            let entry = &module.naga().entry_points[0];
            assert_eq!(description.workgroup_size, entry.workgroup_size, "{}", description.label);
            for binding in &description.bindings {
                // The element is as long in naga's eyes as it is said to be.
                let (_, variable) = module
                    .naga()
                    .global_variables
                    .iter()
                    .find(|(_, variable)| {
                        variable.binding.is_some_and(|bound| bound.binding == binding.binding)
                    })
                    .unwrap();
                let naga::TypeInner::Array { stride, .. } = module.naga().types[variable.ty].inner else {
                    panic!("{} is no array", binding.name);
                };
                assert_eq!(stride, binding.element_bytes, "{} of {}", binding.name, description.label);
            }
        }
    }

    #[test]
    fn words_of_64_bits_hold_as_many_values_as_fit() {
        let caps = Caps {
            kind: AdapterKind::Software,
            short_texts: true,
            shader_int64: true,
            subgroup: SubgroupSizes::new(8, 8),
            ..Caps::webgpu_default()
        };
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let problem = Problem { cols: 1024, dtype, parameter_dtype: dtype, ..Problem::default() };
            let plan = Plan::forward(&problem, Forward::default(), 16, &caps).unwrap();
            let module = Module::new(&plan).unwrap();
            let variant = Variant { plan, caps };
            let description = Description::new(&variant, &module, Format::Wgsl, "main".to_owned()).unwrap();
            let x = &description.bindings[0];
            let values = 32 / dtype.size();
            assert_eq!((x.element, x.element_bytes), ("vec4<u64>", 32), "{}", description.label);
            assert_eq!((x.values_per_element, x.start_multiple), (values, values), "{}", description.label);
        }
    }

    #[test]
    fn the_subgroup_sizes_needed_are_those_that_the_plan_is_legal_for() {
        let sizes = [4, 8, 16, 32, 64, 128];
        for Variant { plan, caps } in variants::all().unwrap() {
            for (min, max) in sizes.iter().flat_map(|min| sizes.map(|max| (*min, max))) {
                if min > max {
                    continue;
                }
                let other = Caps { subgroup: Some(SubgroupSizes { min, max }), ..caps };
                let fits = subgroup_sizes(&plan).is_none_or(|[least, most]| min >= least && max <= most);
                assert_eq!(plan.check(&other).is_ok(), fits, "{min}..{max} for {}", plan.label());
            }
        }
    }
}
