//! Running a case and judging its outputs.

use super::Outcome;
use super::cases::{Case, Data, Layout, Residual, Task, Values};
use super::data::{Random, fill_row};
use super::judge::{BackwardTerms, RowTerms, Verdict, forward_terms, statistics};
use super::tolerance::{Expected, SMALLEST_NORMAL};
use crate::error::Error;
use crate::gpu::{BackwardBuffers, BufferRows, BufferVector, Context, ForwardBuffers, LayerNorm};
use crate::plan::{Plan, Tensor};
use crate::reference::{self, BackwardOutputs, ForwardOutputs};
use crate::types::{
    BackwardInputs, Dtype, Element, ForwardInputs, Gradient, Problem, Rows, RowsMut, Statistics,
};
use half::{bf16, f16};

/// Runs a case on a device and compares every output with the reference.
///
/// # Errors
/// [`Error::Unsupported`] where the device lacks what the case needs; [`Error::Device`] where wgpu fails. Wrong results
/// are no error: they are in the [`Outcome`].
pub async fn run(context: &Context, case: &Case) -> Result<Outcome, Error> {
    use Dtype::{Bf16, F16, F32};
    let runner = Runner { context, case, problem: &case.problem, cols: case.problem.cols as usize };
    match (case.problem.dtype, case.problem.parameter_dtype) {
        (F32, F32) => runner.run::<f32, f32>().await,
        (F16, F16) => runner.run::<f16, f16>().await,
        (F16, F32) => runner.run::<f16, f32>().await,
        (Bf16, Bf16) => runner.run::<bf16, bf16>().await,
        (Bf16, F32) => runner.run::<bf16, f32>().await,
        (dtype, parameter_dtype) => Err(Error::invalid("parameter_dtype", parameter_dtype, dtype)),
    }
}

/// A NaN that no arithmetic makes, for what must not be read or must be written.
const POISON_32: u32 = 0x7fea_dead;
const POISON_16: u16 = 0x7fea;

/// Where one column of gain or dy outweighs all others, the row's largest term is that column's own y or dx, and how far that is
/// off is the roundings on its way and no average: six units, see docs/numerics.md.
const ONE_COLUMN: f64 = 6.0 / 4.0;

/// Elements after the last row.
const TAIL: usize = 64;

/// A tensor on the device with all that lies around it.
struct Fenced {
    tensor: Tensor,
    buffer: wgpu::Buffer,
    /// The buffer's bytes before the call.
    image: Vec<u8>,
    element_bytes: usize,
    offset: usize,
    stride: usize,
    rows: usize,
    cols: usize,
}

impl Fenced {
    /// The bytes of an element of the tensor.
    fn element(&self, row: usize, column: usize) -> std::ops::Range<usize> {
        let at = (self.offset + row * self.stride + column) * self.element_bytes;
        at..at + self.element_bytes
    }

    fn as_rows(&self) -> BufferRows<'_> {
        BufferRows { buffer: &self.buffer, offset: self.offset as u64, stride: Some(self.stride as u64) }
    }

    fn as_vector(&self) -> BufferVector<'_> {
        BufferVector { buffer: &self.buffer, offset: self.offset as u64 }
    }

    /// The tensor's values, one row after the other.
    fn values<E: Element>(&self, bytes: &[u8]) -> Vec<E> {
        let elements = (0..self.rows).flat_map(|row| (0..self.cols).map(move |column| (row, column)));
        elements
            .map(|(row, column)| bytemuck::pod_read_unaligned(&bytes[self.element(row, column)]))
            .collect()
    }

    /// A sentence if anything around the tensor has changed, or anything in it has not been written.
    fn check_fence(&self, bytes: &[u8]) -> Option<String> {
        let mut is_inside = vec![false; bytes.len()];
        for row in 0..self.rows {
            let (first, last) = (self.element(row, 0), self.element(row, self.cols - 1));
            is_inside[first.start..last.end].fill(true);
        }
        let outside = (0..bytes.len()).find(|at| !is_inside[*at] && bytes[*at] != self.image[*at]);
        if let Some(at) = outside {
            return Some(format!(
                "{} has been written to outside its rows, at byte {at}",
                self.tensor.name()
            ));
        }
        let poison = poison(self.element_bytes);
        let elements = (0..self.rows).flat_map(|row| (0..self.cols).map(move |column| (row, column)));
        let unwritten = elements.filter(|(row, column)| bytes[self.element(*row, *column)] == *poison);
        let count = unwritten.clone().count();
        unwritten.into_iter().next().map(|(row, column)| {
            let name = self.tensor.name();
            format!("{count} elements of {name} have not been written, the first at [{row}, {column}]")
        })
    }
}

fn poison(element_bytes: usize) -> &'static [u8] {
    const BYTES_16: [u8; 2] = POISON_16.to_ne_bytes();
    const BYTES_32: [u8; 4] = POISON_32.to_ne_bytes();
    if element_bytes == 2 { &BYTES_16 } else { &BYTES_32 }
}

struct Runner<'a> {
    context: &'a Context,
    case: &'a Case,
    problem: &'a Problem,
    cols: usize,
}

impl Runner<'_> {
    async fn run<T: Element, P: Element>(&self) -> Result<Outcome, Error> {
        let norm = self.context.layer_norm(self.problem)?;
        match self.case.task {
            Task::Forward { .. } => self.forward::<T, P>(&norm).await,
            Task::Backward { .. } => self.backward::<T, P>(&norm).await,
        }
    }

    async fn forward<T: Element, P: Element>(&self, norm: &LayerNorm) -> Result<Outcome, Error> {
        let Task::Forward { residual: with_residual, statistics: with_statistics, in_place } = self.case.task
        else {
            return Err(Error::invalid("task", "backward", "forward"));
        };
        let (rows, cols) = (self.case.rows, self.cols);
        let x: Vec<T> = self.rows_of(1);
        let residual: Option<Vec<T>> = with_residual.then(|| self.residual(&x));
        let gain: Option<Vec<P>> = self.problem.affine.has_gain().then(|| self.gain());
        let bias: Option<Vec<P>> =
            self.problem.affine.has_bias().then(|| self.values(self.case.bias, 1, cols / 4, 4));

        let over = |output, values| match in_place {
            Some((written, input)) if written == output => match input {
                Tensor::Residual => residual.as_deref(),
                _ => values,
            },
            _ => None,
        };
        let x_fenced = self.fence_rows(Tensor::X, Some(&x))?;
        let residual_fenced = residual
            .as_ref()
            .map(|residual| self.fence_rows(Tensor::Residual, Some(residual)))
            .transpose()?;
        let gain_fenced = gain.as_ref().map(|gain| self.fence_vector(Tensor::Gain, gain)).transpose()?;
        let bias_fenced = bias.as_ref().map(|bias| self.fence_vector(Tensor::Bias, bias)).transpose()?;
        let y = self.fence_rows::<T>(Tensor::Y, over(Tensor::Y, Some(&x)))?;
        let sum = with_residual
            .then(|| self.fence_rows::<T>(Tensor::Sum, over(Tensor::Sum, Some(&x))))
            .transpose()?;
        let statistics = with_statistics.then(|| self.fence_statistics(None)).transpose()?;

        // An input that is worked on in place lies in its output's buffer.
        let place = |input, own: &Fenced| -> wgpu::Buffer {
            match in_place {
                Some((Tensor::Y, replaced)) if replaced == input => y.buffer.clone(),
                Some((Tensor::Sum, replaced)) if replaced == input => {
                    sum.as_ref().map_or_else(|| own.buffer.clone(), |sum| sum.buffer.clone())
                }
                _ => own.buffer.clone(),
            }
        };
        let x_buffer = place(Tensor::X, &x_fenced);
        let residual_buffer = residual_fenced.as_ref().map(|own| place(Tensor::Residual, own));
        let buffers = ForwardBuffers {
            rows: rows as u64,
            x: BufferRows { buffer: &x_buffer, ..x_fenced.as_rows() },
            residual: residual_fenced
                .as_ref()
                .zip(residual_buffer.as_ref())
                .map(|(fenced, buffer)| BufferRows { buffer, ..fenced.as_rows() }),
            gain: gain_fenced.as_ref().map(Fenced::as_vector),
            bias: bias_fenced.as_ref().map(Fenced::as_vector),
            y: y.as_rows(),
            sum: sum.as_ref().map(Fenced::as_rows),
            statistics: statistics.as_ref().map(Fenced::as_vector),
            scratch: None,
        };
        let plan = first_plan(norm.plan_forward(&buffers)?)?;
        let prepared = norm.prepare_forward(&buffers)?;
        let outputs: Vec<&Fenced> =
            [Some(&y), sum.as_ref(), statistics.as_ref()].into_iter().flatten().collect();
        let (mut verdict, downloads) = self.execute(&prepared, &outputs).await?;

        // What is normalised is the sum as this device has stored it.
        let stored: Vec<T> = match (&sum, &residual) {
            (Some(sum), Some(residual)) => {
                let stored = sum.values::<T>(&downloads[1]);
                verdict.judge(Tensor::Sum, cols, &stored, |row, column| {
                    let (x, residual) =
                        (x[row * cols + column].to_f64(), residual[row * cols + column].to_f64());
                    Expected {
                        value: x + residual,
                        terms: x.abs() + residual.abs(),
                        flushed: 3.0 * SMALLEST_NORMAL,
                    }
                });
                stored
            }
            _ => x,
        };
        let mut expected_y = vec![0.0; rows * cols];
        let mut expected_statistics = vec![[0.0; 2]; rows];
        let inputs = ForwardInputs {
            rows,
            x: dense(&stored, cols),
            residual: None,
            gain: gain.as_deref(),
            bias: bias.as_deref(),
        };
        let outputs = ForwardOutputs {
            y: RowsMut { data: &mut expected_y, stride: cols },
            sum: None,
            statistics: Some(&mut expected_statistics),
        };
        reference::forward::<T, P, f64>(self.problem, &inputs, outputs)?;

        let terms: Vec<RowTerms> = stored
            .chunks(cols)
            .zip(&expected_statistics)
            .map(|(row, statistics)| forward_terms(row, *statistics, gain.as_deref(), bias.as_deref()))
            .collect();
        let most_xhat: Vec<f64> = stored
            .chunks(cols)
            .zip(&expected_statistics)
            .map(|(row, [mean, rstd])| {
                row.iter().map(|x| ((x.to_f64() - mean) * rstd).abs()).fold(0.0, f64::max)
            })
            .collect();
        let size = |values: Option<&[P]>, column: usize| values.map(|values| values[column].to_f64().abs());
        // What is off in xhat is relative to the row's largest: a column that outweighs the others is judged by its own gain,
        // and so are the others beside it.
        let own_terms = |row: usize, column: usize| {
            let (gain, bias) = (size(gain.as_deref(), column), size(bias.as_deref(), column));
            ONE_COLUMN * (gain.unwrap_or(1.0) * most_xhat[row] + bias.unwrap_or(0.0))
        };
        let one_outweighs = [self.case.gain, self.case.bias].contains(&Values::OneHuge);
        verdict.judge(Tensor::Y, cols, &y.values::<T>(&downloads[0]), |row, column| Expected {
            value: expected_y[row * cols + column],
            terms: if one_outweighs { own_terms(row, column) } else { terms[row].terms },
            flushed: terms[row].flushed,
        });
        if let Some(statistics) = &statistics {
            let got = statistics.values::<f32>(&downloads[downloads.len() - 1]);
            let most_x: Vec<f64> = stored
                .chunks(cols)
                .map(|row| row.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max))
                .collect();
            verdict.judge(Tensor::Statistics, 2, &got, |row, column| {
                let value = expected_statistics[row][column];
                // The mean of a row that is not finite may be infinite or NaN; its rstd is NaN.
                let value = if column == 0 && !value.is_finite() { f64::from(got[2 * row]) } else { value };
                let terms = if column == 0 { most_x[row] } else { value };
                Expected { value, terms, flushed: SMALLEST_NORMAL }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    async fn backward<T: Element, P: Element>(&self, norm: &LayerNorm) -> Result<Outcome, Error> {
        let Task::Backward { dx: dx_gradient, parameters: parameter_gradient, in_place } = self.case.task
        else {
            return Err(Error::invalid("task", "forward", "backward"));
        };
        let (rows, cols) = (self.case.rows, self.cols);
        let x: Vec<T> = self.rows_of(1);
        let dy: Vec<T> = self.dy();
        let gain: Option<Vec<P>> = self.problem.affine.has_gain().then(|| self.gain());
        let old_dx: Vec<T> = self.normal(rows * cols, 4);
        let old_parameters: Vec<P> = self.normal(cols, 5);
        let saved = self.statistics_of(&x)?;

        let accumulates = |gradient| gradient == Some(Gradient::Accumulate);
        let initial_dx = match in_place {
            Some(Tensor::X) => Some(&x),
            Some(_) => Some(&dy),
            None => accumulates(dx_gradient).then_some(&old_dx),
        };
        let x_fenced = self.fence_rows(Tensor::X, Some(&x))?;
        let dy_fenced = self.fence_rows(Tensor::Dy, Some(&dy))?;
        let gain_fenced = gain.as_ref().map(|gain| self.fence_vector(Tensor::Gain, gain)).transpose()?;
        let statistics = self.fence_statistics(Some(&saved))?;
        let dx =
            dx_gradient.map(|_| self.fence_rows(Tensor::Dx, initial_dx.map(Vec::as_slice))).transpose()?;
        let parameter = |tensor, present: bool| {
            let old = accumulates(parameter_gradient).then_some(old_parameters.as_slice());
            (present && parameter_gradient.is_some()).then(|| self.fence_parameter(tensor, old)).transpose()
        };
        let dgain = parameter(Tensor::Dgain, self.problem.affine.has_gain())?;
        let dbias = parameter(Tensor::Dbias, self.problem.affine.has_bias())?;
        let input = |tensor, own: &Fenced| match (&dx, in_place) {
            (Some(dx), Some(replaced)) if replaced == tensor => dx.buffer.clone(),
            _ => own.buffer.clone(),
        };
        let (x_buffer, dy_buffer) = (input(Tensor::X, &x_fenced), input(Tensor::Dy, &dy_fenced));
        let buffers = BackwardBuffers {
            rows: rows as u64,
            x: BufferRows { buffer: &x_buffer, ..x_fenced.as_rows() },
            dy: BufferRows { buffer: &dy_buffer, ..dy_fenced.as_rows() },
            gain: gain_fenced.as_ref().map(Fenced::as_vector),
            statistics: statistics.as_vector(),
            dx: dx.as_ref().map(Fenced::as_rows),
            dgain: dgain.as_ref().map(Fenced::as_vector),
            dbias: dbias.as_ref().map(Fenced::as_vector),
            dx_gradient: dx_gradient.unwrap_or_default(),
            parameter_gradient: parameter_gradient.unwrap_or_default(),
            scratch: None,
        };
        let outputs: Vec<&Fenced> = [&dx, &dgain, &dbias].into_iter().flatten().collect();
        if outputs.is_empty() {
            return Err(Error::MissingBuffer { buffer: "dx", why: "the case computes nothing" });
        }
        let plan = first_plan(norm.plan_backward(&buffers)?)?;
        let prepared = norm.prepare_backward(&buffers)?;
        let (mut verdict, downloads) = self.execute(&prepared, &outputs).await?;

        let as_f64 = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        let old = |values: &[P]| values.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        let mut expected_dx = as_f64(&old_dx);
        let (mut expected_dgain, mut expected_dbias) = (old(&old_parameters), old(&old_parameters));
        let inputs = BackwardInputs { rows, x: dense(&x, cols), dy: dense(&dy, cols), gain: gain.as_deref() };
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut expected_dx, stride: cols }),
            dgain: dgain.as_ref().map(|_| &mut expected_dgain[..]),
            dbias: dbias.as_ref().map(|_| &mut expected_dbias[..]),
            dx_gradient: dx_gradient.unwrap_or_default(),
            parameter_gradient: parameter_gradient.unwrap_or_default(),
        };
        reference::backward::<T, P, f64, f64>(self.problem, &inputs, outputs)?;

        let terms = BackwardTerms::new(self.problem, rows, &x, &dy, gain.as_deref())?;
        let one_outweighs = [self.case.gain, self.case.dy].contains(&Values::OneHuge);
        let of_one_column = if one_outweighs { ONE_COLUMN } else { 1.0 };
        let mut bytes = downloads.iter();
        if let (Some(dx), Some(bytes)) = (&dx, dx.as_ref().and_then(|_| bytes.next())) {
            verdict.judge(Tensor::Dx, cols, &dx.values::<T>(bytes), |row, column| {
                let i = row * cols + column;
                let RowTerms { terms, flushed } = terms.rows[row];
                let old = if accumulates(dx_gradient) { old_dx[i].to_f64().abs() } else { 0.0 };
                Expected { value: expected_dx[i], terms: terms * of_one_column + old, flushed }
            });
        }
        for (fenced, expected, terms) in
            [(&dgain, &expected_dgain, terms.dgain()), (&dbias, &expected_dbias, terms.dbias())]
        {
            let Some(fenced) = fenced else { continue };
            let got = fenced.values::<P>(bytes.next().map_or(&[], Vec::as_slice));
            verdict.judge(fenced.tensor, cols, &got, |_, column| {
                let old =
                    if accumulates(parameter_gradient) { old_parameters[column].to_f64().abs() } else { 0.0 };
                Expected { value: expected[column], terms: terms.terms + old, flushed: terms.flushed }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    #[allow(clippy::cast_possible_truncation, reason = "statistics are saved in float32")]
    fn statistics_of<T: Element>(&self, x: &[T]) -> Result<Vec<f32>, Error> {
        Ok(statistics(self.problem, self.case.rows, x)?
            .into_iter()
            .flatten()
            .map(|value| value as f32)
            .collect())
    }

    /// Runs a prepared call, downloads its outputs and checks their fences.
    async fn execute(
        &self,
        prepared: &crate::gpu::Prepared,
        outputs: &[&Fenced],
    ) -> Result<(Verdict, Vec<Vec<u8>>), Error> {
        for (scratch, bytes) in prepared.scratch() {
            #[allow(clippy::cast_possible_truncation, reason = "smaller than the case's tensors")]
            let words = bytes as usize / size_of::<f32>();
            let bytes = poison(size_of::<f32>()).repeat(words);
            self.context.queue().write_buffer(&scratch, 0, &bytes);
        }
        let buffers: Vec<_> = outputs.iter().map(|output| &output.buffer).collect();
        let downloads = self.context.run(&[prepared], &buffers).await?;
        let failures =
            outputs.iter().zip(&downloads).filter_map(|(output, bytes)| output.check_fence(bytes)).collect();
        Ok((Verdict { errors: Vec::new(), failures }, downloads))
    }

    fn outcome(&self, norm: &LayerNorm, plan: &Plan, verdict: Verdict) -> Outcome {
        let Verdict { errors, failures } = verdict;
        Outcome {
            kernel: plan.kernel,
            is_tuned: norm.is_tuned(plan),
            dtype: self.problem.dtype,
            errors,
            failures,
        }
    }

    /// Rows of the case's data.
    fn rows_of<T: Element>(&self, seed: u64) -> Vec<T> {
        let mut random = Random::new(seed);
        let mut values = vec![T::from_f64(0.0); self.case.rows * self.cols];
        for (row, values) in values.chunks_mut(self.cols).enumerate() {
            fill_row(self.case.data, T::DTYPE, row, values, &mut random);
        }
        values
    }

    /// The case's values, but for an infinity in a row whose x is finite where the case is about such values, and of one sign where
    /// rows are alike.
    fn dy<T: Element>(&self) -> Vec<T> {
        if self.case.data == Data::Alike {
            let row: Vec<f64> =
                self.normal::<f32>(self.cols, 2).iter().map(|dy| 1.0 + 0.1 * f64::from(dy.abs())).collect();
            return (0..self.case.rows).flat_map(|_| row.iter().map(|dy| T::from_f64(*dy))).collect();
        }
        let mut dy: Vec<T> = self.values(self.case.dy, self.case.rows, self.cols / 2, 2);
        if self.case.data == Data::NotFinite && self.case.rows > 4 {
            dy[4 * self.cols + self.cols / 3] = T::from_f64(f64::INFINITY);
        }
        dy
    }

    fn residual<T: Element>(&self, x: &[T]) -> Vec<T> {
        match self.case.residual {
            Residual::Normal => self.normal(x.len(), 2),
            Residual::Like => self.rows_of(2),
            Residual::Opposite => x.iter().map(|x| T::from_f64(-x.to_f64())).collect(),
        }
    }

    fn gain<P: Element>(&self) -> Vec<P> {
        self.values(self.case.gain, 1, self.cols / 3, 3)
    }

    /// Rows of a kind of values, the huge one of which is in one column.
    fn values<E: Element>(&self, values: Values, rows: usize, column: usize, seed: u64) -> Vec<E> {
        let (large, huge) = if E::DTYPE == Dtype::F16 { (1e3, 6e4) } else { (1e4, 1e30) };
        let mut random = Random::new(seed);
        let value = |i: usize| {
            let normal = random.normal();
            E::from_f64(match values {
                Values::Normal => normal,
                Values::Zero => 0.0,
                Values::Large => large * normal,
                Values::OneHuge if i % self.cols == column => huge,
                Values::OneHuge => normal,
                Values::Positive => 0.1 + normal.abs(),
            })
        };
        (0..rows * self.cols).map(value).collect()
    }

    fn normal<E: Element>(&self, count: usize, seed: u64) -> Vec<E> {
        let mut random = Random::new(seed);
        (0..count).map(|_| E::from_f64(random.normal())).collect()
    }

    fn fence_rows<T: Element>(&self, tensor: Tensor, values: Option<&[T]>) -> Result<Fenced, Error> {
        let (offset, gap) = self.case.layout.offset_and_gap();
        self.fence(tensor, values, offset, self.cols + gap, self.case.rows, self.cols)
    }

    fn fence_vector<P: Element>(&self, tensor: Tensor, values: &[P]) -> Result<Fenced, Error> {
        self.fence_parameter(tensor, Some(values))
    }

    fn fence_parameter<P: Element>(&self, tensor: Tensor, values: Option<&[P]>) -> Result<Fenced, Error> {
        let (offset, _) = self.case.layout.offset_and_gap();
        self.fence(tensor, values, offset, self.cols, 1, self.cols)
    }

    fn fence_statistics(&self, values: Option<&[f32]>) -> Result<Fenced, Error> {
        let offset = if self.case.layout == Layout::Dense { 0 } else { 3 };
        let per_row = size_of::<Statistics>() / size_of::<f32>();
        self.fence(Tensor::Statistics, values, offset, per_row, self.case.rows, per_row)
    }

    /// A buffer of poison, with `values` in the tensor's rows if there are any.
    fn fence<E: Element>(
        &self,
        tensor: Tensor,
        values: Option<&[E]>,
        offset: usize,
        stride: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Fenced, Error> {
        let element_bytes = size_of::<E>();
        let elements = (offset + rows * stride + TAIL).next_multiple_of(2);
        let mut image = poison(element_bytes).repeat(elements);
        let element = |row, column| {
            let at = (offset + row * stride + column) * element_bytes;
            at..at + element_bytes
        };
        for (i, value) in values.unwrap_or_default().iter().enumerate() {
            image[element(i / cols, i % cols)].copy_from_slice(bytemuck::bytes_of(value));
        }
        let buffer = self.context.upload(tensor.name(), &image)?;
        Ok(Fenced { tensor, buffer, image, element_bytes, offset, stride, rows, cols })
    }
}

fn first_plan(plans: Vec<Plan>) -> Result<Plan, Error> {
    plans.into_iter().next().ok_or_else(|| Error::invalid("plans", "none", "one at least"))
}

fn dense<T>(data: &[T], cols: usize) -> Rows<'_, T> {
    Rows { data, stride: cols }
}
