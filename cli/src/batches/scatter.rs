//! How the statistics and the output of one case scatter over batches that it may lie in.

use crate::compute::{Compute, size};
use crate::failure::Failure;
use crate::random::Random;
use serde::Serialize;
use wgpu_layernorm::reference::ForwardInputs;
use wgpu_layernorm::{Affine, ForwardResult, Problem, Rows, Statistics};

/// Activations to draw batches from, `[rows, cols]`.
#[derive(Debug)]
pub(super) struct Population<'a> {
    pub(super) values: &'a [f32],
    pub(super) cols: usize,
    pub(super) eps: f32,
    /// Mean and standard deviation of each column over all rows.
    moments: Vec<[f64; 2]>,
}

/// What batches of one size give.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Scatter {
    pub(super) batch: usize,
    /// The root mean square, over columns and draws, of the distance between the mean of the batch and that
    /// of all rows, by the standard deviation over all rows.
    pub(super) mean: f64,
    /// Mean, standard deviation and median, over columns and draws, of rstd by that of all rows with eps 0.
    pub(super) rstd: [f64; 3],
    pub(super) batch_norm: Output,
    pub(super) layer_norm: Output,
    /// Draws in which layer norm gave the case a bit, of y or the statistics, that it has not alone.
    pub(super) layer_norm_bits: usize,
}

/// The normalized output of one case, relative to its size by the statistics of all rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Output {
    /// Its standard deviation over the draws.
    pub(super) scatter: f64,
    /// Its distance from that by the statistics of all rows: for layer norm, from that of the case alone.
    pub(super) distance: f64,
}

impl<'a> Population<'a> {
    pub(super) fn new(values: &'a [f32], cols: usize, eps: f32) -> Self {
        let moments = (0..cols)
            .map(|column| {
                let values = || values.iter().skip(column).step_by(cols).map(|value| f64::from(*value));
                let count = values().count() as f64;
                let mean = values().sum::<f64>() / count;
                let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
                [mean, variance.sqrt()]
            })
            .collect();
        Self { values, cols, eps, moments }
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.cols
    }

    /// A column that has one value in all rows, which has no sigma.
    pub(super) fn constant_column(&self) -> Option<usize> {
        self.moments.iter().position(|[_, sigma]| *sigma == 0.0)
    }

    /// Why a norm makes 0 of all values of a row, if one does: an output to hold others against has a size.
    pub(super) fn leaves_nothing_of(&self, row: usize) -> Option<&'static str> {
        let values = self.row(row);
        if values.iter().all(|value| *value == values[0]) {
            return Some("all values of the row are the same");
        }
        let is_mean = |(value, [mean, _]): (&f32, &[f64; 2])| f64::from(*value) == *mean;
        values.iter().zip(&self.moments).all(is_mean).then_some("the row is the mean of all rows")
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..][..self.cols]
    }

    /// Draws batches of a size: one of any rows, for the statistics, and one with the case in it. Rows are
    /// drawn with replacement.
    pub(super) fn scatter(&self, compute: &Compute, draw: &Draw, batch: usize) -> Result<Scatter, Failure> {
        let mut random = Random(draw.seed);
        let mut some =
            |count: usize| -> Vec<usize> { (0..count).map(|_| random.index(self.rows())).collect() };
        let alone = self.layer_norm(compute, &[draw.case])?;
        let mut deviations = Sum::default();
        let mut rstd = Vec::with_capacity(draw.draws * self.cols);
        let [mut of_batch, mut of_layer] = [Vec::new(), Vec::new()];
        let mut layer_norm_bits = 0;
        for number in 0..draw.draws {
            let any = some(batch);
            let mut with_case = some(batch);
            let at = number % batch;
            with_case[at] = draw.case;

            let result = self.batch_norm(compute, &[&any, &with_case])?;
            for (Statistics { mean, rstd: own }, [all, sigma]) in result.statistics.iter().zip(&self.moments)
            {
                deviations.add((f64::from(*mean) - all) / sigma);
                rstd.push(f64::from(*own) * sigma);
            }
            let y = result.y[self.cols * batch..].chunks(batch).map(|channel| f64::from(channel[at]));
            of_batch.push(y.collect::<Vec<f64>>());

            let result = self.layer_norm(compute, &with_case)?;
            let y = &result.y[at * self.cols..][..self.cols];
            let [own, first] = [result.statistics[at], alone.statistics[0]];
            let has_other_bits =
                bits(y) != bits(&alone.y) || bits(&[own.mean, own.rstd]) != bits(&[first.mean, first.rstd]);
            layer_norm_bits += usize::from(has_other_bits);
            of_layer.push(y.iter().copied().map(f64::from).collect());
        }
        let by_all: Vec<f64> = (self.row(draw.case).iter().zip(&self.moments))
            .map(|(x, [mean, sigma])| (f64::from(*x) - mean) / (sigma.powi(2) + f64::from(self.eps)).sqrt())
            .collect();
        let alone: Vec<f64> = alone.y.iter().copied().map(f64::from).collect();
        Ok(Scatter {
            batch,
            mean: deviations.root_mean_square(),
            rstd: distribution(rstd),
            batch_norm: Output::of(&of_batch, &by_all),
            layer_norm: Output::of(&of_layer, &alone),
            layer_norm_bits,
        })
    }

    /// Several batches of one size as samples of `cols` channels: rows are `[batches, cols]`.
    fn batch_norm(&self, compute: &Compute, batches: &[&[usize]]) -> Result<ForwardResult<f32>, Failure> {
        let batch = batches.first().map_or(0, |batch| batch.len());
        let channel = |rows: &[usize], column: usize| -> Vec<f32> {
            rows.iter().map(|row| self.row(*row)[column]).collect()
        };
        let x: Vec<f32> =
            batches.iter().flat_map(|rows| (0..self.cols).flat_map(|column| channel(rows, column))).collect();
        let problem = Problem::batch(size(self.cols)?, size(batch)?, 1);
        self.forward(compute, problem, &x)
    }

    fn layer_norm(&self, compute: &Compute, rows: &[usize]) -> Result<ForwardResult<f32>, Failure> {
        let x: Vec<f32> = rows.iter().flat_map(|row| self.row(*row)).copied().collect();
        self.forward(compute, Problem::layer(size(self.cols)?), &x)
    }

    fn forward(&self, compute: &Compute, problem: Problem, x: &[f32]) -> Result<ForwardResult<f32>, Failure> {
        let problem = Problem { affine: Affine::None, eps: self.eps, ..problem };
        let stride = problem.cols as usize;
        let inputs = ForwardInputs::<f32, f32>::new(x.len() / stride, Rows { data: x, stride });
        compute.forward(&problem, &inputs)
    }
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) draws: usize,
    pub(super) seed: u64,
    /// The row whose output is looked at.
    pub(super) case: usize,
}

impl Output {
    /// Of outputs over the draws, against one.
    fn of(draws: &[Vec<f64>], expected: &[f64]) -> Self {
        let (mut deviations, mut distances, mut size) = (Sum::default(), Sum::default(), Sum::default());
        for (column, expected) in expected.iter().enumerate() {
            let values = || draws.iter().map(|y| y[column]);
            // Counted from a value of its own: what is always the same has no deviation, not even a rounding.
            let first = values().next().unwrap_or(0.0);
            let mean = first + values().map(|y| y - first).sum::<f64>() / draws.len() as f64;
            values().for_each(|y| {
                deviations.add(y - mean);
                distances.add(y - expected);
            });
            size.add(*expected);
        }
        let size = size.root_mean_square();
        Self { scatter: deviations.root_mean_square() / size, distance: distances.root_mean_square() / size }
    }
}

/// Of squares.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    squares: f64,
    count: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.squares += value.powi(2);
        self.count += 1.0;
    }

    fn root_mean_square(self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

/// Mean, standard deviation and median.
fn distribution(mut values: Vec<f64>) -> [f64; 3] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    values.sort_unstable_by(f64::total_cmp);
    [mean, variance.sqrt(), values.get(values.len() / 2).copied().unwrap_or(f64::NAN)]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_held_against_their_size() {
        let draws = [vec![3.0, 4.0], vec![5.0, 4.0]];
        let output = Output::of(&draws, &[4.0, 4.0]);
        assert_eq!(output, Output { scatter: 0.5_f64.sqrt() / 4.0, distance: 0.5_f64.sqrt() / 4.0 });
        let still = Output::of(&[vec![0.1; 2], vec![0.1; 2], vec![0.1; 2]], &[0.1, 0.1]);
        assert_eq!(still, Output { scatter: 0.0, distance: 0.0 });
        assert_eq!(distribution(vec![4.0, 1.0, 1.0]), [2.0, 2.0_f64.sqrt(), 1.0]);
    }

    #[test]
    fn two_rows_have_the_statistics_that_can_be_counted() {
        // Columns of sigma 1 and 2: batches of 2 rows are both rows, or one of them twice.
        let values = [-1.0, 5.0, 1.0, 1.0];
        let population = Population::new(&values, 2, 1e-4);
        assert_eq!((population.rows(), population.constant_column()), (2, None));
        let draw = Draw { draws: 400, seed: 1, case: 0 };
        let one = population.scatter(&Compute::Cpu, &draw, 1).unwrap();
        // A row is one sigma from the mean; its own variance is 0, so rstd is 100 and y is 0.
        assert!((one.mean - 1.0).abs() < 1e-6);
        assert!((one.rstd[0] - 150.0).abs() < 1e-3 && (one.rstd[1] - 50.0).abs() < 1e-3, "{one:?}");
        assert_eq!(one.batch_norm.scatter, 0.0);
        assert!((one.batch_norm.distance - 1.0).abs() < 1e-9, "{one:?}");
        let two = population.scatter(&Compute::Cpu, &draw, 2).unwrap();
        assert!((two.mean - 0.5_f64.sqrt()).abs() < 0.05, "{two:?}");
        // Half of the batches with the case hold it twice: y is 0 there, and else as with all rows.
        assert!((two.batch_norm.scatter - 0.5).abs() < 0.02, "{two:?}");
        for scatter in [one, two] {
            assert_eq!(scatter.layer_norm, Output { scatter: 0.0, distance: 0.0 });
            assert_eq!(scatter.layer_norm_bits, 0);
        }
        assert_eq!(Population::new(&[1.0, 2.0, 3.0, 2.0], 2, 0.0).constant_column(), Some(1));
    }
}
