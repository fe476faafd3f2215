//! What a driver made of a text, as the processes that hold the drivers report it.

use crate::Result;
use crate::driver::Driver;
use crate::table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wgpu_layernorm::plan::{Kernel, Operation, Plan, Tensor};
use wgpu_layernorm::translate::{Checks, Module};

/// Global loads or stores: how many of each width in bits.
pub(crate) type Widths = BTreeMap<u32, u32>;

/// A driver's work.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Compiled {
    /// One for each form that the driver keeps of the shader: RADV one, ANV one for each width.
    pub(crate) executables: Vec<Form>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Form {
    pub(crate) subgroup_size: u32,
    /// By the driver's names.
    pub(crate) statistics: BTreeMap<String, f64>,
    /// Of the vector memory instructions in the driver's assembly; empty where that is not read.
    pub(crate) loads: Widths,
    pub(crate) stores: Widths,
}

impl Form {
    /// A statistic that the driver has to have.
    pub(crate) fn statistic(&self, name: &str) -> Result<f64> {
        let names = || self.statistics.keys().cloned().collect::<Vec<_>>().join(", ");
        self.statistics
            .get(name)
            .copied()
            .ok_or_else(|| format!("the driver does not tell {name:?}; it tells {}", names()))
    }
}

/// Reads accesses from a driver's texts, by their names.
pub(crate) type ReadAccesses = fn(&[(String, String)]) -> Result<(Widths, Widths)>;

/// One of a driver's texts.
pub(crate) fn text<'a>(texts: &'a [(String, String)], wanted: &str) -> Result<&'a str> {
    let text = texts.iter().find_map(|(name, text)| (name == wanted).then_some(text.as_str()));
    text.ok_or_else(|| format!("the driver gives no text {wanted}"))
}

/// Compiles a plan's text, with run-time checks as wgpu has it compiled.
pub(crate) fn compile(
    driver: &Driver,
    plan: &Plan,
    checks: Checks,
    accesses: ReadAccesses,
) -> Result<Compiled> {
    let module = Module::new(plan).map_err(|error| error.to_string())?;
    let spirv = module.spirv(checks).map_err(|error| error.to_string())?;
    let executables = driver.compile(&spirv, &module.shader().bindings, plan.uses_subgroups())?;
    let forms = executables.into_iter().map(|executable| {
        let (loads, stores) = accesses(&executable.texts)?;
        Ok(Form {
            subgroup_size: executable.subgroup_size,
            statistics: executable.statistics.into_iter().collect(),
            loads,
            stores,
        })
    });
    Ok(Compiled { executables: forms.collect::<Result<_>>()? })
}

/// The bits that every access of a plan's vectors has at least; `None` where rows may start anywhere, and
/// each value is accessed alone.
fn promised_bits(plan: &Plan) -> Result<Option<u32>> {
    if plan.vector_width == 1 {
        return Ok(None);
    }
    let shader = wgpu_layernorm::shader::assemble(plan, wgpu_layernorm::shader::Dialect::Naga)
        .map_err(|error| error.to_string())?;
    let vectors = shader.bindings.iter().filter(|bound| bound.tensor != Tensor::Statistics);
    Ok(vectors.map(|bound| 8 * bound.element.bytes().max(4)).min())
}

/// How many are narrower than `bits`.
pub(crate) fn narrower(widths: &Widths, bits: u32) -> u32 {
    widths.range(..bits).map(|(_, count)| count).sum()
}

/// No access narrower than the plan promises.
pub(crate) fn keeps_promise(plan: &Plan, form: &Form) -> Result<()> {
    let Some(bits) = promised_bits(plan)? else { return Ok(()) };
    let (narrow_loads, narrow_stores) = narrow_accesses(plan);
    for (what, widths, allowed) in
        [("loads", &form.loads, narrow_loads), ("stores", &form.stores, narrow_stores)]
    {
        if widths.is_empty() {
            return Err(format!("no global {what} in the assembly"));
        }
        let narrow = narrower(widths, bits);
        if narrow > allowed {
            return Err(format!(
                "{narrow} global {what} narrower than {bits} bits, where {allowed} are expected: {}",
                table::shown(widths)
            ));
        }
    }
    Ok(())
}

/// Loads and stores that a text makes of less than a vector: the row's first column, which its values are
/// shifted by, mean and rstd (of each row of a block: its loop is unrolled), and of a chunk's moments or sums
/// what is used of the four.
fn narrow_accesses(plan: &Plan) -> (u32, u32) {
    let (loads, stores) = match plan.operation {
        Operation::Forward(forward) => {
            let of_access = if plan.is_across() { 4 } else { 1 };
            (1 + u32::from(forward.residual), 2 * of_access * u32::from(forward.statistics))
        }
        Operation::Backward(_) => (2 * plan.block_rows, 0),
        _ => (0, 0),
    };
    let of_chunks = match plan.kernel {
        // The first chunk's mean and two walks over all chunks, at scale 1 and again scaled.
        Kernel::ForwardSplitApply => 6,
        Kernel::BackwardSplitApply => 1,
        _ => 0,
    };
    (loads + of_chunks, stores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_layernorm::plan::{Caps, Forward};
    use wgpu_layernorm::{Affine, Dtype, Problem};

    fn plan(cols: u32, dtype: Dtype, parameter_dtype: Dtype, vector_width: u32) -> Plan {
        let problem = Problem { cols, dtype, parameter_dtype, affine: Affine::Gain, ..Problem::default() };
        let forward = Forward { statistics: true, ..Forward::default() };
        Plan::forward(&problem, forward, vector_width, &Caps::webgpu_default()).unwrap()
    }

    #[test]
    fn the_promise_is_that_of_the_narrowest_vector() {
        let promise = |plan| promised_bits(&plan).unwrap();
        assert_eq!(promise(plan(1024, Dtype::F32, Dtype::F32, 8)), Some(128));
        assert_eq!(promise(plan(1024, Dtype::Bf16, Dtype::F32, 8)), Some(128));
        assert_eq!(promise(plan(1024, Dtype::Bf16, Dtype::F32, 4)), Some(64));
        assert_eq!(promise(plan(1024, Dtype::F32, Dtype::F32, 2)), Some(64));
        assert_eq!(promise(plan(1024, Dtype::F32, Dtype::F32, 1)), None);
    }

    #[test]
    fn narrower_ones_are_counted_below_the_promise_only() {
        let widths = Widths::from([(16, 1), (32, 2), (128, 8)]);
        assert_eq!(narrower(&widths, 128), 3);
        assert_eq!(narrower(&widths, 32), 1);
    }
}
