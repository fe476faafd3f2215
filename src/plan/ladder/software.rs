//! What the compiler of a software adapter carries, and rows held on one.

use super::{Rung, fits, rung, threads_that_fill};
use crate::plan::{Caps, Kernel, RowShape};

/// What a software adapter's compiler carries. It turns each access to memory into a loop over the lanes of a
/// SIMD unit, some 300 bytes of code for a load and 200 for a store, and the loops over steps are written
/// out.
#[derive(Debug)]
pub(super) struct SoftwareBudget {
    /// A row is held up to this many loads a thread: as far as compiling it takes a few seconds.
    pub(super) forward_loads: u32,
    /// Of x and of dy, each.
    pub(super) backward_loads: u32,
    /// Of a chunk, in the second of the split kernels. With 32 loads of 64-bit words backward of 4096 columns
    /// compiled in 3.3 s in f32 and 7.6 s in bfloat16, now in 0.75 s, and runs at 1.6 and 2.9 times the
    /// speed.
    pub(super) split_loads: u32,
    /// Rows that `forward_streamed` works on at a time: gain and bias are loaded once for all of them.
    pub(super) forward_block_rows: u32,
    /// Rows that `backward_streamed` and `backward_split_sums` work on at a time, and load the gain for.
    pub(super) backward_block_rows: u32,
}

/// Of subgroups with [`SOFTWARE_LANES`] lanes or more. On lavapipe of Mesa 22.3.6
/// - rows of 1024, 2048 and 4096 columns compiled in 1.4, 4.3 and 21 s in forward and 3.2, 19 and 91 s in
///   backward before texts were short (now 0.5 and 1.6 s at 1024); held, 2048x4096 ran at 0.65 and 0.56 of
///   the copy, streamed at 0.55 and 0.36;
/// - forward 2048x4096 ran at 0.53 of the copy with blocks of 4 rows, 0.55 with 8;
/// - backward 2048x4096 and 256x16384 ran, in runs of 16 vec4, at 0.34 and 0.32 with blocks of 4 rows, 0.40
///   and 0.38 with 8, 0.38 and 0.20 with 16, which leave the second-level cache.
const WITH_LANES: SoftwareBudget = SoftwareBudget {
    forward_loads: 32,
    backward_loads: 32,
    split_loads: 16,
    forward_block_rows: 8,
    backward_block_rows: 8,
};

/// Of subgroups with fewer lanes. SwiftShader (4 lanes) compiles forward with 8 loads held in half a second;
/// from 9 on some texts take as long, and others of the same size, as soon as a buffer more is declared, a
/// minute and gigabytes: `backward_split_apply` in f16 behind a gate with 16 in a chunk. Loops that are not
/// unrolled compile at once, and run ten times as long (8192x256: 0.05 of the copy, 0.43 unrolled; 4096x448
/// streamed: 0.13; SwiftShader of Chromium 156).
const FEW_LANES: SoftwareBudget = SoftwareBudget {
    forward_loads: 8,
    backward_loads: 16,
    split_loads: 8,
    forward_block_rows: 4,
    backward_block_rows: 4,
};

/// Without subgroup operations. On llvmpipe's GL naga adds no bound to loops, and Mesa unrolls those over the
/// rows of a block: `backward_streamed` compiles in 11 s with 8 rows, in 2 with 2.
const NO_LANES: SoftwareBudget =
    SoftwareBudget { forward_loads: 24, backward_block_rows: 2, split_loads: 16, ..FEW_LANES };

/// vec4s of a row that a thread holds on a software adapter, whatever its loads: more take seconds to
/// compile.
pub(super) const SOFTWARE_VEC4: u32 = 32;

/// Up to this many loads a thread holds a row of its own, and a subgroup as many rows as it has lanes: no
/// sums over lanes, which cost as much as loads (65536x64: 0.86 of the copy, 0.45 with a subgroup a row).
const SOFTWARE_OWN_ROW_LOADS: u32 = 16;

/// A software adapter runs a subgroup as the lanes of one SIMD unit; without subgroup operations, as many
/// rows.
pub(super) const SOFTWARE_LANES: u32 = 8;

/// Slots that keep the cores of a CPU busy, and rows that a slot walks before there are more of them: gain
/// and bias are loaded once a slot (4096x1024: 0.47 of the copy with 4 rows, 0.54 with 16, 0.61 with 64).
pub(super) const SOFTWARE_LEAST_SLOTS: u32 = 64;

pub(super) const SOFTWARE_ROWS_PER_SLOT: u32 = 64;

/// The rung of a kernel that holds its row on a software adapter, at most `loads` a thread.
pub(super) fn software(kernel: Kernel, shape: &RowShape, loads: u32, caps: &Caps) -> Option<Rung> {
    // A thread's registers count here, whatever its loads.
    let own_row_loads = if shape.wide { SOFTWARE_OWN_ROW_LOADS / 2 } else { SOFTWARE_OWN_ROW_LOADS };
    let threads = if shape.loads(1) <= own_row_loads.min(loads) {
        1
    } else {
        software_threads(caps).min(threads_that_fill(shape))
    };
    let rung = Rung {
        hold_parameters: true,
        least_slots: SOFTWARE_LEAST_SLOTS,
        rows_per_slot: SOFTWARE_ROWS_PER_SLOT,
        ..rung(kernel, threads, 1, caps)
    };
    (shape.loads(threads) <= loads && fits(&rung, kernel, caps)).then_some(rung)
}

pub(super) const fn software_budget(caps: &Caps) -> &'static SoftwareBudget {
    match caps.subgroup {
        Some(sizes) if sizes.min >= SOFTWARE_LANES => &WITH_LANES,
        Some(_) => &FEW_LANES,
        None => &NO_LANES,
    }
}

/// One subgroup, if that has one size; else one, since a barrier costs more than the row.
pub(super) fn software_threads(caps: &Caps) -> u32 {
    match caps.subgroup {
        Some(sizes) if sizes.min == sizes.max => sizes.min.min(SOFTWARE_LANES),
        Some(_) | None => 1,
    }
}
