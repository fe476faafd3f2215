//! The 13 layer norms of a trained model, with expected results: see tests/fixtures/README.md.

use super::norm::{Check, Norm, Results, in_units, largest, worst};
use crate::failure::Failure;
use safetensors::SafeTensors;
use wgpu_layernorm::{Dtype, Problem, Statistics};

const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/minilm_layer_norms.safetensors");

/// The most that passes, in units of 2^-24: of the largest expected value of a row for y and dx; of the terms
/// that they are sums of for dgain and dbias, which may be many times as large as the sums.
pub(super) const ALLOWED: f64 = 4.0;

/// One of the model's norms.
#[derive(Debug)]
pub(super) struct ModelNorm {
    pub(super) norm: Norm<f32>,
    expected: Results<f32>,
}

/// All norms, in the order of the model.
pub(super) fn load() -> Result<Vec<ModelNorm>, Failure> {
    let unusable = |what: String| Failure::FailedRun(format!("the built-in fixture is unusable: {what}"));
    let tensors = SafeTensors::deserialize(FIXTURE).map_err(|error| unusable(error.to_string()))?;
    let (_, metadata) = SafeTensors::read_metadata(FIXTURE).map_err(|error| unusable(error.to_string()))?;
    let eps = metadata.metadata().as_ref().and_then(|metadata| metadata.get("eps")?.parse().ok());
    let eps = eps.ok_or_else(|| unusable("no eps".to_owned()))?;

    let names = tensors.names();
    let mut norms: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".x")).collect();
    norms.sort_unstable();
    norms
        .into_iter()
        .map(|name| {
            let tensor = |tensor: &str| -> Result<Vec<f32>, Failure> {
                let tensor = tensors
                    .tensor(&format!("{name}.{tensor}"))
                    .map_err(|error| unusable(error.to_string()))?;
                Ok(bytemuck::pod_collect_to_vec(tensor.data()))
            };
            let (x, gain, mean, rstd) = (tensor("x")?, tensor("gain")?, tensor("mean")?, tensor("rstd")?);
            let cols = u32::try_from(gain.len()).map_err(|error| unusable(error.to_string()))?;
            Ok(ModelNorm {
                norm: Norm {
                    name: name.to_owned(),
                    problem: Problem { cols, eps, ..Problem::default() },
                    rows: mean.len(),
                    x,
                    dy: tensor("dy")?,
                    gain,
                    bias: tensor("bias")?,
                },
                expected: Results {
                    y: tensor("y")?,
                    statistics: mean
                        .into_iter()
                        .zip(rstd)
                        .map(|(mean, rstd)| Statistics { mean, rstd })
                        .collect(),
                    dx: tensor("dx")?,
                    dgain: tensor("dgain")?,
                    dbias: tensor("dbias")?,
                },
            })
        })
        .collect()
}

impl ModelNorm {
    /// The worst error of each output in units of 2^-24, relative to the largest expected value in the row
    /// (dgain and dbias: in the tensor); the mean relative to the largest x in the row, rstd to itself.
    pub(super) fn checks(&self, results: &Results<f32>) -> [Check; 5] {
        let expected = &self.expected;
        let cols = self.norm.problem.cols as usize;
        let check = |output, units| Check { output, units, allowed: ALLOWED };
        let sum = |output, units, terms, sums: &[f32]| {
            let allowed = ALLOWED * terms / largest(sums.iter().copied().map(f64::from));
            Check { output, units, allowed }
        };
        let (dgain_terms, dbias_terms) = self.terms();
        [
            check("y", units(&results.y, &expected.y, cols)),
            check("statistics", self.statistics_units(&results.statistics)),
            check("dx", units(&results.dx, &expected.dx, cols)),
            sum("dgain", units(&results.dgain, &expected.dgain, cols), dgain_terms, &expected.dgain),
            sum("dbias", units(&results.dbias, &expected.dbias, cols), dbias_terms, &expected.dbias),
        ]
    }

    /// The largest sums over rows of |dy * xhat| and of |dy|.
    fn terms(&self) -> (f64, f64) {
        let cols = self.norm.problem.cols as usize;
        let (mut dgain, mut dbias) = (vec![0.0; cols], vec![0.0; cols]);
        let rows = self.norm.x.chunks(cols).zip(self.norm.dy.chunks(cols)).zip(&self.expected.statistics);
        for ((x, dy), Statistics { mean, rstd }) in rows {
            for (column, (x, dy)) in x.iter().zip(dy).enumerate() {
                let xhat = (f64::from(*x) - f64::from(*mean)) * f64::from(*rstd);
                dgain[column] += (f64::from(*dy) * xhat).abs();
                dbias[column] += f64::from(*dy).abs();
            }
        }
        (largest(dgain.into_iter()), largest(dbias.into_iter()))
    }

    fn statistics_units(&self, statistics: &[Statistics]) -> f64 {
        let rows = self.norm.x.chunks(self.norm.problem.cols as usize);
        worst(statistics.iter().zip(&self.expected.statistics).zip(rows).map(|((got, expected), x)| {
            let mean = (f64::from(got.mean) - f64::from(expected.mean)).abs();
            let mean = in_units(mean, unit(largest(x.iter().copied().map(f64::from))));
            mean.max(units(&[got.rstd], &[expected.rstd], 1))
        }))
    }
}

/// The worst error in units of 2^-24 of the largest value of each `chunk`.
fn units(got: &[f32], expected: &[f32], chunk: usize) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    worst(got.chunks(chunk).zip(expected.chunks(chunk)).map(|(got, expected)| {
        let unit = unit(largest(expected.iter().copied().map(f64::from)));
        // The expected values are float64 results rounded to f32: half a place may be their own.
        let errors = got.iter().zip(expected).map(|(got, expected)| {
            let half_place = (f64::from(expected.abs().next_up()) - f64::from(expected.abs())) / 2.0;
            let error = (f64::from(*got) - f64::from(*expected)).abs();
            if error.is_nan() { error } else { (error - half_place).max(0.0) }
        });
        worst(errors.map(|error| in_units(error, unit)))
    }))
}

fn unit(size: f64) -> f64 {
    size * Dtype::F32.unit_roundoff()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_shows_in_its_output() {
        let norms = load().unwrap();
        assert_eq!(norms.len(), 13);
        let norm = &norms[0];
        let copy = || Results {
            y: norm.expected.y.clone(),
            statistics: norm.expected.statistics.clone(),
            dx: norm.expected.dx.clone(),
            dgain: norm.expected.dgain.clone(),
            dbias: norm.expected.dbias.clone(),
        };
        let failed = |results: &Results<f32>| -> Vec<&str> {
            let checks = norm.checks(results);
            checks.iter().filter(|check| check.units > check.allowed).map(|check| check.output).collect()
        };
        assert_eq!(failed(&copy()), [""; 0]);
        let mut results = copy();
        results.y[5] = f32::NAN;
        results.dx[7] += 1e-4;
        results.dgain.pop();
        assert_eq!(failed(&results), ["y", "dx", "dgain"]);
        let mut results = copy();
        results.statistics[3].mean += 1e-3;
        results.dbias[0] *= 2.0;
        assert_eq!(failed(&results), ["statistics", "dbias"]);
    }
}
