//! What tuning tries beside the ladder's own rung.

use super::gpu::{BACKWARD_DX_VEC4, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS, gpu_walk};
use super::rung::MOST_VEC4;
use super::software::{SOFTWARE_LANES, SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT, software_threads};
use super::{Rung, reduction, rung, threads_that_fill};
use crate::error::Error;
use crate::plan::{AdapterKind, Caps, Kernel, Operation, Plan, Reduction, RegisterBudget, RowShape};
use crate::types::Problem;

/// The rungs that tuning tries for a call beside the ladder's own, which is the first. Each gives another
/// legal plan. They are some families and not all that is legal: what was found to lose everywhere (see the
/// constants above) is left out.
///
/// # Errors
/// Those of the ladder's own plan.
pub(in crate::plan) fn candidates(
    problem: &Problem,
    operation: Operation,
    vector_width: u32,
    caps: &Caps,
) -> Result<Vec<Rung>, Error> {
    let own = Plan::by_ladder(problem, operation, vector_width, caps)?;
    if operation.has_given_statistics() {
        return Ok(vec![own.rung()]);
    }
    let (cached, streamed, held_vec4) = match operation {
        Operation::Forward(_) => {
            (Kernel::ForwardCached, Kernel::ForwardStreamed, RegisterBudget::MOST.forward_vec4)
        }
        _ => (Kernel::BackwardCached, Kernel::BackwardStreamed, BACKWARD_DX_VEC4),
    };
    let shape = RowShape::new(problem, vector_width, caps)?;
    let (most_vec4, workgroups, most_threads) = match caps.kind {
        AdapterKind::Gpu => (held_vec4, &[64, 128, 256][..], caps.max_invocations),
        // Barriers lose, see SOFTWARE_LANES and docs/lab/software-adapters.md.
        AdapterKind::Software => {
            (MOST_VEC4, &[SOFTWARE_LANES, 4 * SOFTWARE_LANES][..], software_threads(caps))
        }
    };
    // Whether parameters are held, least_slots and rows_per_slot; on a GPU what gpu_walk makes of so many
    // threads, or a row each.
    let walks: &[(bool, u32, u32)] = match (caps.kind, own.parameter_gradients()) {
        (AdapterKind::Software, _) => &[
            (true, SOFTWARE_LEAST_SLOTS, SOFTWARE_ROWS_PER_SLOT),
            (true, SOFTWARE_LEAST_SLOTS, 16),
            (false, 1, 1),
        ],
        (AdapterKind::Gpu, 0) => &[(false, 1, 1), (true, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS)],
        (AdapterKind::Gpu, _) => &[
            (false, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS),
            (true, GPU_THREADS_IN_FLIGHT, GPU_WORKGROUP_ROWS),
            (false, GPU_THREADS_IN_FLIGHT / 4, GPU_WORKGROUP_ROWS),
        ],
    };
    let mut rungs = vec![own.rung()];
    let mut plans = vec![own];
    let mut add = |rung: Rung| {
        if let Ok(plan) = Plan::with_rung(problem, operation, vector_width, rung, caps)
            && !plans.contains(&plan)
        {
            plans.push(plan);
            rungs.push(rung);
        }
    };
    let threads = (0..).map(|log2| 1 << log2);
    for threads in threads.take_while(|threads| *threads <= most_threads.min(threads_that_fill(&shape))) {
        for &workgroup in workgroups {
            let rows_per_workgroup = match reduction(threads, caps) {
                (Reduction::Subgroup | Reduction::Subgroups(_), rows) => rows,
                _ => (workgroup / threads).max(1),
            };
            for &(hold_parameters, least_slots, rows_per_slot) in walks {
                let walked = |kernel, block_rows, hold_parameters| {
                    let rung = Rung {
                        rows_per_workgroup,
                        hold_parameters,
                        least_slots,
                        rows_per_slot,
                        ..rung(kernel, threads, block_rows, caps)
                    };
                    match (caps.kind, rows_per_slot) {
                        (AdapterKind::Gpu, 2..) => gpu_walk(rung, least_slots),
                        _ => rung,
                    }
                };
                if shape.vec4(threads) <= most_vec4 {
                    add(walked(cached, 1, hold_parameters));
                }
                for block_rows in [1, 2, 4, 8] {
                    // A row that a thread could hold is not walked twice by one thread alone.
                    if !hold_parameters && shape.steps(threads) > 1 {
                        add(walked(streamed, block_rows, false));
                    }
                }
            }
        }
    }
    Ok(rungs)
}
