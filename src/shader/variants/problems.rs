//! The problems whose plans make up the product.

use crate::op::Stored;
use crate::types::{Activation, Affine, Channels, Dtype, Normalization, Problem};

/// Widths that between them reach every kernel and threads-per-row step.
const COLS: [u32; 11] = [1, 2, 7, 12, 64, 100, 384, 4096, 8192, 16_384, 40_000];

pub(super) fn problems() -> impl Iterator<Item = Problem> {
    let dtypes = Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, dtype), (dtype, Dtype::F32)]);
    COLS.into_iter().flat_map(move |cols| {
        dtypes.clone().flat_map(move |(dtype, parameter_dtype)| {
            Normalization::ALL.into_iter().flat_map(move |normalization| {
                let affines = Affine::ALL.into_iter();
                // The texts of L2 are those of RMS norm but for four constants: as models have it will do.
                let usual = move |affine: &Affine| {
                    let is_plain = *affine == Affine::None && parameter_dtype == dtype;
                    normalization != Normalization::L2 || is_plain
                };
                affines.filter(usual).map(move |affine| {
                    let problem = Problem { cols, normalization, affine, ..Problem::default() };
                    Problem { parameter_dtype, ..Stored::all(&problem, dtype) }
                })
            })
        })
    })
}

/// Rows of channels, held and walked, in every type and with every affine that has a gain. Their number has
/// no common factor with that of the adapters, so that each meets each.
pub(super) fn channel_problems() -> impl Iterator<Item = Problem> {
    const SHAPES: [(u32, u32); 17] = [
        (1, 1),
        (4, 3),
        (1, 7),
        (4, 16),
        (6, 64),
        (1, 384),
        (4, 4096),
        (8, 5000),
        (1, 8192),
        (1, 40_000),
        (2, 10),
        (2, 1),
        (7, 1),
        (100, 1),
        (384, 1),
        (8192, 1),
        (40_000, 1),
    ];
    let dtypes = Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, dtype), (dtype, Dtype::F32)]);
    dtypes.flat_map(|(dtype, parameter_dtype)| {
        let norms = [Normalization::Layer, Normalization::Rms].into_iter();
        norms.flat_map(move |normalization| {
            let affines = Affine::ALL.into_iter().filter(|affine| affine.has_gain());
            affines.flat_map(move |affine| {
                SHAPES.into_iter().map(move |(count, spatial)| {
                    let channels = Some(Channels::new(count, 1, spatial));
                    let cols = count * spatial;
                    let problem = Problem { cols, normalization, affine, channels, ..Problem::default() };
                    Problem { parameter_dtype, ..Stored::all(&problem, dtype) }
                })
            })
        })
    })
}

/// Rows of samples that have a gate each, beside gain and bias that they share or none, at widths of each
/// kernel.
pub(super) fn gate_problems() -> impl Iterator<Item = Problem> {
    const WIDTHS: [u32; 5] = [7, 100, 384, 8192, 40_000];
    let dtypes = Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, dtype), (dtype, Dtype::F32)]);
    dtypes.flat_map(|(dtype, parameter_dtype)| {
        let norms = [Normalization::Layer, Normalization::Rms].into_iter();
        norms.flat_map(move |normalization| {
            Affine::ALL.into_iter().flat_map(move |affine| {
                WIDTHS.into_iter().map(move |cols| {
                    let shares_affine = affine.has_gain();
                    let channels = Some(Channels { shares_affine, ..Channels::new(cols, 1, 1) });
                    let problem = Problem { cols, normalization, affine, channels, ..Problem::default() };
                    Problem { parameter_dtype, ..Stored::all(&problem, dtype) }
                })
            })
        })
    })
}

/// Some of the others with an activation: each affine and type at widths of each kernel, and rows of
/// channels.
pub(super) fn activated_problems() -> impl Iterator<Item = Problem> {
    const EVERY: usize = 7;
    let of_columns = problems().filter(|problem| problem.normalization != Normalization::L2);
    let some = of_columns.step_by(EVERY).chain(channel_problems().step_by(EVERY));
    some.map(|problem| Problem { activation: Activation::Silu, ..problem })
}

/// The widths of each kernel, with one of the other types of rows, layer norm and RMS norm.
pub(super) fn mixed_problems() -> Vec<Problem> {
    let mut all = Vec::new();
    for cols in COLS {
        for normalization in [Normalization::Layer, Normalization::Rms] {
            for (dtype, stored) in Dtype::ALL.iter().flat_map(|d| Stored::OTHERS.iter().map(move |s| (*d, s)))
            {
                for other in Dtype::ALL {
                    let mut problem = Problem { cols, normalization, dtype, ..Problem::default() };
                    stored.set(&mut problem, other);
                    if other != dtype && problem.validate().is_ok() {
                        all.push(problem);
                    }
                }
            }
        }
    }
    all
}
