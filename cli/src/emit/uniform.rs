//! The uniform in a description: its fields, and what stands in each.

use crate::failure::Failure;
use serde::Serialize;
use wgpu_layernorm::plan::{Forward, Operation, Plan, Shape, Strides, Used};
use wgpu_layernorm::translate::Module;

#[derive(Debug, Serialize)]
pub(super) struct Uniform {
    group: u32,
    binding: u32,
    bytes: u32,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    wgsl_type: &'static str,
    offset: u32,
    /// One for each component: a number, or the name of what stands there.
    value: Vec<Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(u32),
    Factor(f32),
    Name(String),
}

impl Uniform {
    pub(super) fn new(plan: &Plan, module: &Module) -> Result<Self, Failure> {
        let (fields, bytes) = module.uniform()?;
        let fields = fields
            .into_iter()
            .map(|field| {
                let value = value(plan, &field.name).ok_or_else(|| {
                    Failure::FailedRun(format!(
                        "the uniform's field {} of {} is not known to the description",
                        field.name,
                        plan.label()
                    ))
                })?;
                Ok(Field { name: field.name, wgsl_type: field.wgsl_type, offset: field.offset, value })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { group: 0, binding: module.shader().uniform, bytes, fields })
    }
}

/// What stands in a field of the uniform; `None` for a field that nobody has heard of.
fn value(plan: &Plan, field: &str) -> Option<Vec<Value>> {
    Some(match field {
        // What follows from eps in forward, as the statistics do, backward takes out again.
        "eps" if matches!(plan.operation, Operation::Backward(_)) => {
            vec![Value::Name("eps_of_forward".to_owned())]
        }
        "rows" | "workgroups_x" | "slot_rows" | "earlier_partial_rows" | "eps" => {
            vec![Value::Name(field.to_owned())]
        }
        "momentum" | "variance_factor" if keeps_statistics(plan) => vec![Value::Name(field.to_owned())],
        "momentum" => vec![Value::Number(0)],
        "unit" if matches!(plan.operation, Operation::Forward(Forward { given_unit: true, .. })) => {
            vec![Value::Name(field.to_owned())]
        }
        // Where xhat is made with a gain.
        "unit" if takes_gain_from_y(plan) => vec![Value::Name("least_gain".to_owned())],
        "one" | "variance_factor" | "unit" => vec![Value::Number(1)],
        "zero" => vec![Value::Number(0)],
        "cols" => vec![Value::Number(plan.cols)],
        "steps" => vec![Value::Number(plan.steps)],
        "chunks" => vec![Value::Number(plan.chunks)],
        "sum_scale" => vec![Value::Factor(plan.row_factors().sum_scale)],
        "mean_factor" => vec![Value::Factor(plan.row_factors().mean_factor)],
        "channels" => vec![Value::Number(plan.row_factors().channels)],
        "spatial" => vec![Value::Number(plan.row_factors().spatial)],
        "inner_rows" | "first_inner_row" if matches!(plan.strides, Strides::Rows | Strides::Across) => {
            vec![Value::Name(field.to_owned())]
        }
        "inner_columns" if plan.strides == Strides::Columns => vec![Value::Name(field.to_owned())],
        "inner_columns" => vec![Value::Number(plan.cols)],
        "inner_rows" => vec![Value::Number(plan.channels.map_or(1, |channels| channels.groups))],
        "first_inner_row" if plan.channels.is_some() => vec![Value::Name(field.to_owned())],
        "first_inner_row" => vec![Value::Number(0)],
        "places" => plan
            .used()
            .iter()
            .filter(|used| used.bound == used.tensor)
            .flat_map(|used| place(plan, used))
            .collect(),
        _ => return None,
    })
}

fn takes_gain_from_y(plan: &Plan) -> bool {
    let from_y = matches!(plan.operation, Operation::Backward(backward) if backward.from_y);
    from_y && plan.affine.has_gain()
}

fn keeps_statistics(plan: &Plan) -> bool {
    matches!(plan.operation, Operation::Forward(Forward { running_statistics: true, .. }))
}

/// Where a tensor lies in its binding: start, row stride, column stride, outer stride.
fn place(plan: &Plan, used: &Used) -> [Value; 4] {
    let name = |what: &str| Value::Name(format!("{}.{what}", used.tensor.name()));
    let is_strided = plan.strides != Strides::Dense;
    let [row_stride, column_stride] = match used.shape {
        Shape::Statistics => [name("row_stride"), name("column_stride")],
        Shape::Cols | Shape::Gates | Shape::One => [Value::Number(0), Value::Number(1)],
        Shape::PerRow | Shape::Codes => [name("row_stride"), Value::Number(1)],
        Shape::Partials => [Value::Number(plan.parameters()), Value::Number(1)],
        Shape::RowPartials => [Value::Number(4 * plan.row_partials()), Value::Number(1)],
        _ if is_strided => [name("row_stride"), name("column_stride")],
        _ => [name("row_stride"), Value::Number(1)],
    };
    let start = match used.shape {
        Shape::Partials if !is_strided => Value::Number(0),
        _ => name("start"),
    };
    // Without outer rows, each row is one.
    let has_rows = match used.shape {
        Shape::Cols => plan.has_parameter_rows(),
        Shape::Gates => plan.has_gate_rows(),
        _ => false,
    };
    let outer_stride = if is_strided || has_rows { name("outer_stride") } else { row_stride.clone() };
    [start, row_stride, column_stride, outer_stride]
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_layernorm::plan::Numbers;
    use wgpu_layernorm::shader::variants::{self, Variant};

    /// Hosts in Rust have these numbers from `Plan::uniform`, the others from here.
    #[test]
    fn numbers_are_those_of_the_uniform() {
        let mut fractions = 0;
        for Variant { plan, caps } in variants::all().unwrap().iter().step_by(7) {
            let uniform = Uniform::new(plan, &Module::new(plan).unwrap()).unwrap();
            let [dispatch, ..] = plan.dispatches(12, &[], caps).unwrap()[..] else { panic!("of 12 rows") };
            let bytes = plan.uniform(&dispatch, &[], &Numbers::new(0.5));
            for Field { name, offset, value, .. } in &uniform.fields {
                let at = *offset as usize;
                let word = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
                match value[..] {
                    // A one of the field `one` is a float.
                    [Value::Number(1)] if ["one", "variance_factor", "unit"].contains(&name.as_str()) => {
                        assert_eq!(f32::from_bits(word), 1.0);
                    }
                    [Value::Number(number)] if name != "inner_rows" => {
                        assert_eq!(word, number, "{name} of {}", plan.label());
                    }
                    [Value::Factor(factor)] => {
                        assert_eq!(f32::from_bits(word), factor, "{name} of {}", plan.label());
                        fractions += usize::from(factor != 1.0);
                    }
                    _ => {}
                }
            }
        }
        assert!(fractions > 100, "{fractions} fractions");
    }
}
