//! The rows that are timed, and the verdict on what becomes of them.
//!
//! However many rows a workload has, they are a block of a few hundred thousand values again and again: the
//! reference needs to know only one block. Every row of a result is checked all the same. Equal rows must
//! give equal bits wherever they are in a call, which the library promises, so the block's rows are held
//! against the reference and all others against the block's; dgain and dbias, sums over all rows, are held
//! against as many times the block's.

use super::workload::{Operation, Workload};
use crate::error::Error;
use crate::plan::Tensor;
use crate::reference::{self, BackwardOutputs, ForwardOutputs};
use crate::types::{BackwardInputs, Element, ForwardInputs, Problem, Rows, RowsMut};
use crate::verify::data::{Random, fill_row};
use crate::verify::judge::{
    BackwardTerms, ForwardTerms, RowTerms, Source, Verdict, forward_terms, statistics,
};
use crate::verify::tolerance::{Expected, SMALLEST_NORMAL};
use crate::verify::{Data, OutputError};

/// Values of a block, more or less.
const BLOCK_VALUES: usize = 1 << 18;

/// The inputs of a workload.
#[derive(Debug)]
pub(super) struct Inputs<T, P> {
    problem: Problem,
    operation: Operation,
    /// Rows of the workload, and of the block that they repeat.
    rows: usize,
    block: usize,
    cols: usize,
    /// The blocks: x and, where there is one, residual or dy.
    x: Vec<T>,
    second: Vec<T>,
    pub(super) gain: Option<Vec<P>>,
    pub(super) bias: Option<Vec<P>>,
    /// Of the block, in float64.
    statistics: Vec<[f64; 2]>,
}

/// The downloaded outputs of a call.
#[derive(Debug)]
pub(super) struct Outputs<'a> {
    /// y, or sum and y, or dx.
    pub(super) rows: Vec<&'a [u8]>,
    pub(super) dgain: Option<&'a [u8]>,
    pub(super) dbias: Option<&'a [u8]>,
}

impl<T: Element, P: Element> Inputs<T, P> {
    pub(super) fn new(workload: &Workload) -> Result<Self, Error> {
        let Workload { operation, problem, rows } = *workload;
        let rows = usize::try_from(rows)
            .map_err(|_| Error::invalid("rows", rows, "a number that this host can address"))?;
        let cols = problem.cols as usize;
        // An odd number, so that a kernel that takes one row, or one sample, for another some power of two
        // away shows.
        let groups = problem.channels.map_or(1, |channels| channels.groups as usize);
        let block = rows.min(groups * ((BLOCK_VALUES / cols / groups) | 1));
        let mut random = Random::new(1);
        let mut rows_of = |row_offset: usize| {
            let mut values = vec![T::zeroed(); block * cols];
            for (row, values) in values.chunks_mut(cols).enumerate() {
                fill_row(Data::Normal, T::DTYPE, row_offset + row, values, &mut random);
            }
            values
        };
        let x = rows_of(0);
        let second = if operation.inputs() > 1 { rows_of(block) } else { Vec::new() };
        let mut parameter = |present: bool| {
            let count = problem.parameters();
            present.then(|| (0..count).map(|_| P::from_f64(random.normal())).collect::<Vec<P>>())
        };
        let gain = parameter(problem.affine.has_gain());
        let bias = parameter(problem.affine.has_bias());
        let statistics = statistics(&problem, block, &x, None)?;
        Ok(Self { problem, operation, rows, block, cols, x, second, gain, bias, statistics })
    }

    /// The block of x, which all rows repeat.
    pub(super) fn x(&self) -> &[u8] {
        bytemuck::cast_slice(&self.x)
    }

    /// The block of residual or dy.
    pub(super) fn second(&self) -> &[u8] {
        bytemuck::cast_slice(&self.second)
    }

    /// The block of what forward would have left for backward.
    #[allow(clippy::cast_possible_truncation, reason = "statistics are saved in float32")]
    pub(super) fn statistics(&self) -> Vec<u8> {
        let block: Vec<f32> = self.statistics.iter().flatten().map(|value| *value as f32).collect();
        bytemuck::cast_slice(&block).to_vec()
    }

    /// Judges every output of the call.
    pub(super) fn judge(&self, outputs: &Outputs<'_>) -> Result<(Vec<OutputError>, Vec<String>), Error> {
        let mut verdict = Verdict::default();
        match self.operation {
            Operation::Forward | Operation::ForwardResidual => self.judge_forward(outputs, &mut verdict)?,
            Operation::Backward | Operation::BackwardDx => self.judge_backward(outputs, &mut verdict)?,
        }
        Ok((verdict.errors, verdict.failures))
    }

    fn judge_forward(&self, outputs: &Outputs<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        let Self { problem, block, cols, x, second, gain, bias, .. } = self;
        let (block, cols) = (*block, *cols);
        let (stored, y) = match outputs.rows[..] {
            [sum, y] => {
                // What is normalized is the sum as this device has stored it.
                let sum: Vec<T> = self.block_of(Tensor::Sum, sum, verdict);
                verdict.judge(Tensor::Sum, T::DTYPE, cols, &sum, |row, column| {
                    let i = row * cols + column;
                    let (x, residual) = (x[i].to_f64(), second[i].to_f64());
                    let (value, terms) = (x + residual, x.abs() + residual.abs());
                    Expected { value, terms, flushed: 3.0 * SMALLEST_NORMAL }
                });
                (sum, y)
            }
            [y] => (x.clone(), y),
            _ => return Err(Error::invalid("outputs of forward", outputs.rows.len(), "1 or 2")),
        };
        let y: Vec<T> = self.block_of(Tensor::Y, y, verdict);
        let mut expected = vec![0.0; block * cols];
        let mut statistics = vec![[0.0; 2]; block];
        reference::forward(
            problem,
            &ForwardInputs {
                gain: gain.as_deref(),
                bias: bias.as_deref(),
                ..ForwardInputs::new(block, Rows { data: &stored, stride: cols })
            },
            ForwardOutputs {
                statistics: Some(&mut statistics),
                ..ForwardOutputs::new(RowsMut { data: &mut expected, stride: cols })
            },
        )?;
        let (gains, biases) = (
            reference::gains(problem, block, gain.as_deref()),
            reference::biases(problem, block, bias.as_deref()),
        );
        let terms: Vec<ForwardTerms> = stored
            .chunks(cols)
            .zip(statistics)
            .enumerate()
            .map(|(i, (row, statistics))| {
                forward_terms(problem.activation, row, statistics, &gains.of_row(i), &biases.of_row(i))
            })
            .collect();
        verdict.judge(Tensor::Y, T::DTYPE, cols, &y, |row, column| {
            let terms = &terms[row];
            Expected {
                value: expected[row * cols + column],
                terms: terms.of_column(gains.at(row, column), biases.at(row, column)),
                flushed: terms.row.flushed,
            }
        });
        Ok(())
    }

    fn judge_backward(&self, outputs: &Outputs<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        let Self { problem, rows, block, cols, x, second, gain, .. } = self;
        // No other gradient depends on it.
        let bias = self.bias.as_deref().filter(|_| problem.activation.is_some());
        let (rows, block, cols, parameters) = (*rows, *block, *cols, problem.parameters() as usize);
        let [dx] = outputs.rows[..] else {
            return Err(Error::invalid("outputs of backward", outputs.rows.len(), 1));
        };
        let dx: Vec<T> = self.block_of(Tensor::Dx, dx, verdict);
        let gradients = |count: usize| -> Result<(Gradients, BackwardTerms), Error> {
            let (x, dy) = (&x[..count * cols], &second[..count * cols]);
            let mut gradients = Gradients {
                dx: vec![0.0; x.len()],
                dgain: vec![0.0; parameters],
                dbias: vec![0.0; parameters],
            };
            reference::backward(
                problem,
                &BackwardInputs {
                    gain: gain.as_deref(),
                    bias,
                    ..BackwardInputs::new(
                        count,
                        Rows { data: x, stride: cols },
                        Rows { data: dy, stride: cols },
                    )
                },
                BackwardOutputs {
                    dx: Some(RowsMut { data: &mut gradients.dx, stride: cols }),
                    dgain: problem.affine.has_gain().then_some(&mut gradients.dgain[..]),
                    dbias: problem.affine.has_bias().then_some(&mut gradients.dbias[..]),
                    ..BackwardOutputs::default()
                },
            )?;
            Ok((
                gradients,
                BackwardTerms::new(
                    problem,
                    &statistics(problem, count, x, None)?,
                    Source::X(x),
                    dy,
                    [
                        &reference::gains(problem, count, gain.as_deref()),
                        &reference::biases(problem, count, bias),
                    ],
                    false,
                    None,
                ),
            ))
        };
        let (mut whole, mut terms) = gradients(block)?;
        verdict.judge(Tensor::Dx, T::DTYPE, cols, &dx, |row, column| {
            let RowTerms { terms, flushed } = terms.rows[row];
            Expected { value: whole.dx[row * cols + column], terms, flushed }
        });

        // The sums over all rows: some whole blocks, and the start of one more.
        let (rest, rest_terms) = gradients(rows % block)?;
        let blocks = (rows / block) as f64;
        for (whole, rest) in [
            (&mut whole.dgain, &rest.dgain),
            (&mut whole.dbias, &rest.dbias),
            (&mut terms.dgain, &rest_terms.dgain),
            (&mut terms.dbias, &rest_terms.dbias),
        ] {
            for (whole, rest) in whole.iter_mut().zip(rest) {
                *whole = blocks * *whole + rest;
            }
        }
        for (tensor, bytes, expected, terms) in [
            (Tensor::Dgain, outputs.dgain, &whole.dgain, terms.dgain()),
            (Tensor::Dbias, outputs.dbias, &whole.dbias, terms.dbias()),
        ] {
            let Some(bytes) = bytes else { continue };
            let got: Vec<P> = bytemuck::pod_collect_to_vec(&bytes[..parameters * size_of::<P>()]);
            verdict.judge(tensor, P::DTYPE, parameters, &got, |_, column| {
                let RowTerms { terms, flushed } = terms;
                Expected { value: expected[column], terms, flushed }
            });
        }
        Ok(())
    }

    /// The first block of a downloaded tensor. All other rows must be those of the block.
    fn block_of(&self, tensor: Tensor, bytes: &[u8], verdict: &mut Verdict) -> Vec<T> {
        let row_bytes = self.cols * size_of::<T>();
        let rows: Vec<&[u8]> = bytes.chunks_exact(row_bytes).take(self.rows).collect();
        let differs = (self.block..self.rows).find(|row| rows[*row] != rows[row % self.block]);
        if let Some(row) = differs {
            verdict.failures.push(format!(
                "{} of row {row} differs from that of row {}, whose inputs are the same",
                tensor.name(),
                row % self.block
            ));
        }
        bytemuck::pod_collect_to_vec(&bytes[..self.block * row_bytes])
    }
}

struct Gradients {
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Dtype, Normalization};

    /// A workload of some blocks and a part of one, with the right results in f32.
    struct Fixture {
        inputs: Inputs<f32, f32>,
        rows: Vec<Vec<f32>>,
        dgain: Vec<f32>,
        dbias: Vec<f32>,
    }

    impl Fixture {
        fn new(operation: Operation) -> Self {
            let (rows, cols) = (700, 1000);
            let workload = Workload::new(operation, Normalization::Layer, Dtype::F32, rows, cols);
            let inputs = Inputs::<f32, f32>::new(&workload).unwrap();
            assert_eq!(inputs.block, 263, "several blocks, and the last one short");
            let (rows, cols) = (inputs.rows, inputs.cols);
            let all_rows =
                |block: &[f32]| block.iter().copied().cycle().take(rows * cols).collect::<Vec<_>>();
            let (x, second) = (all_rows(&inputs.x), all_rows(&inputs.second));
            let new = || vec![0.0_f32; rows * cols];
            let (mut y, mut sum, mut dx) = (new(), new(), new());
            let (mut dgain, mut dbias) = (vec![0.0_f32; cols], vec![0.0_f32; cols]);
            let stride = cols;
            let is_forward = matches!(operation, Operation::Forward | Operation::ForwardResidual);
            let with_residual = operation == Operation::ForwardResidual;
            let rows_out = if is_forward {
                let forward = ForwardInputs {
                    residual: with_residual.then_some(Rows { data: &second, stride }),
                    gain: inputs.gain.as_deref(),
                    bias: inputs.bias.as_deref(),
                    ..ForwardInputs::new(rows, Rows { data: &x, stride })
                };
                let outputs = ForwardOutputs {
                    sum: with_residual.then_some(RowsMut { data: &mut sum, stride }),
                    ..ForwardOutputs::new(RowsMut { data: &mut y, stride })
                };
                reference::forward(&inputs.problem, &forward, outputs).unwrap();
                if with_residual { vec![sum, y] } else { vec![y] }
            } else {
                let backward = BackwardInputs {
                    gain: inputs.gain.as_deref(),
                    ..BackwardInputs::new(rows, Rows { data: &x, stride }, Rows { data: &second, stride })
                };
                let outputs = BackwardOutputs {
                    dx: Some(RowsMut { data: &mut dx, stride }),
                    dgain: Some(&mut dgain[..]),
                    dbias: Some(&mut dbias[..]),
                    ..BackwardOutputs::default()
                };
                reference::backward(&inputs.problem, &backward, outputs).unwrap();
                vec![dx]
            };
            Self { inputs, rows: rows_out, dgain, dbias }
        }

        fn failures(&self) -> Vec<String> {
            let outputs = Outputs {
                rows: self.rows.iter().map(|rows| bytemuck::cast_slice(rows)).collect(),
                dgain: Some(bytemuck::cast_slice(&self.dgain)),
                dbias: Some(bytemuck::cast_slice(&self.dbias)),
            };
            self.inputs.judge(&outputs).unwrap().1
        }
    }

    #[test]
    fn right_results_pass() {
        for operation in Operation::ALL {
            assert_eq!(Fixture::new(operation).failures(), [""; 0], "{operation:?}");
        }
    }

    #[test]
    fn one_wrong_value_anywhere_fails() {
        for operation in Operation::ALL {
            for tensor in 0..operation.outputs() {
                for at in [0, 262 * 1000 + 999, 263 * 1000, 699 * 1000 + 999] {
                    let mut fixture = Fixture::new(operation);
                    fixture.rows[tensor][at] += 1e-3;
                    assert!(!fixture.failures().is_empty(), "{operation:?}, output {tensor}, value {at}");
                }
            }
        }
    }

    #[test]
    fn a_parameter_gradient_that_misses_a_row_fails() {
        for col in [0, 999] {
            let mut fixture = Fixture::new(Operation::Backward);
            // What row 699 adds to dbias.
            fixture.dbias[col] -= fixture.inputs.second[699 % 263 * 1000 + col];
            let failures = fixture.failures();
            assert!(failures.len() == 1 && failures[0].starts_with("dbias["), "{failures:?}");
        }
        let mut fixture = Fixture::new(Operation::Backward);
        fixture.dgain.fill(0.0);
        assert!(fixture.failures()[0].starts_with("dgain["));
    }
}
