//! Running a case and judging its outputs.
//!
//! Which tensors a call has, how they are stored and which of them are written follows from the operation's table. On the host all
//! values are float32, which holds those of every storage exactly.

use super::Outcome;
use super::cases::{Case, Data, Layout, Residual, Task, Values};
use super::data::{Random, fill_row};
use super::judge::{BackwardTerms, ForwardTerms, RowTerms, Verdict, forward_terms, statistics};
use super::tolerance::{Expected, SMALLEST_NORMAL};
use crate::error::Error;
use crate::gpu::{BackwardBuffers, Context, ForwardBuffers, Given, LayerNorm, Prepared};
use crate::op::{Role, Shape, Stored, Used};
use crate::plan::{Backward, Forward, Operation, Plan, Tensor};
use crate::reference::{self, BackwardOutputs, ForwardOutputs};
use crate::types::{
    Affine, BackwardInputs, Dtype, ForwardInputs, Gradient, Problem, Real, Rows, RowsMut, Statistics,
};
use half::{bf16, f16};

/// Runs a case on a device and compares every output with the reference.
///
/// # Errors
/// [`Error::Unsupported`] where the device lacks what the case needs; [`Error::Device`] where wgpu fails. Wrong results
/// are no error: they are in the [`Outcome`].
pub async fn run(context: &Context, case: &Case) -> Result<Outcome, Error> {
    let runner = Runner { context, case, problem: &case.problem, cols: case.problem.cols as usize };
    let norm = context.layer_norm(&case.problem)?;
    let call = runner.call(case.task.operation())?;
    match case.task {
        Task::Forward(_) => runner.forward(&norm, &call).await,
        Task::Backward(backward) => runner.backward(&norm, &call, &backward).await,
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

/// The nearest value of a dtype.
#[allow(clippy::cast_possible_truncation, reason = "to the nearest float32")]
fn rounded(dtype: Dtype, value: f64) -> f32 {
    match dtype {
        Dtype::F32 => value as f32,
        Dtype::F16 => <f16 as Real>::from_f64(value).to_f32(),
        Dtype::Bf16 => <bf16 as Real>::from_f64(value).to_f32(),
    }
}

/// Writes the bytes of a value that a dtype holds exactly.
fn encode(dtype: Dtype, value: f32, bytes: &mut [u8]) {
    match dtype {
        Dtype::F32 => bytes.copy_from_slice(&value.to_ne_bytes()),
        Dtype::F16 => bytes.copy_from_slice(&f16::from_f32(value).to_ne_bytes()),
        Dtype::Bf16 => bytes.copy_from_slice(&bf16::from_f32(value).to_ne_bytes()),
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> f32 {
    let half = || bytemuck::pod_read_unaligned::<u16>(bytes);
    match dtype {
        Dtype::F32 => bytemuck::pod_read_unaligned(bytes),
        Dtype::F16 => f16::from_bits(half()).to_f32(),
        Dtype::Bf16 => bf16::from_bits(half()).to_f32(),
    }
}

/// A tensor on the device with all that lies around it.
struct Fenced {
    tensor: Tensor,
    dtype: Dtype,
    is_written: bool,
    /// Its values, or those that its buffer has before the call.
    values: Option<Vec<f32>>,
    buffer: wgpu::Buffer,
    /// The buffer's bytes before the call.
    image: Vec<u8>,
    offset: usize,
    stride: usize,
    /// Elements from one column to the next: statistics lie apart in some layouts.
    column_stride: usize,
    rows: usize,
    cols: usize,
    /// The tensor in whose buffer it lies: itself, or the output that is written over it.
    bound: Tensor,
}

impl Fenced {
    /// The bytes of an element of the tensor.
    fn element(&self, row: usize, column: usize) -> std::ops::Range<usize> {
        let element_bytes = self.dtype.size() as usize;
        let at = (self.offset + row * self.stride + column * self.column_stride) * element_bytes;
        at..at + element_bytes
    }

    fn elements(&self) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (rows, cols) = (self.rows, self.cols);
        (0..rows).flat_map(move |row| (0..cols).map(move |column| (row, column)))
    }

    /// The tensor's values in its buffer's bytes, one row after the other.
    fn decoded(&self, bytes: &[u8]) -> Vec<f32> {
        self.elements().map(|(row, column)| decode(self.dtype, &bytes[self.element(row, column)])).collect()
    }

    /// A sentence if anything around the tensor has changed, or anything in it has not been written.
    fn check_fence(&self, bytes: &[u8]) -> Option<String> {
        let mut is_inside = vec![false; bytes.len()];
        for (row, column) in self.elements() {
            is_inside[self.element(row, column)].fill(true);
        }
        let outside = (0..bytes.len()).find(|at| !is_inside[*at] && bytes[*at] != self.image[*at]);
        if let Some(at) = outside {
            return Some(format!(
                "{} has been written to outside its rows, at byte {at}",
                self.tensor.name()
            ));
        }
        let poison = poison(self.dtype);
        let unwritten = self.elements().filter(|(row, column)| bytes[self.element(*row, *column)] == *poison);
        let count = unwritten.clone().count();
        unwritten.into_iter().next().map(|(row, column)| {
            let name = self.tensor.name();
            format!("{count} elements of {name} have not been written, the first at [{row}, {column}]")
        })
    }
}

fn poison(dtype: Dtype) -> &'static [u8] {
    const BYTES_16: [u8; 2] = POISON_16.to_ne_bytes();
    const BYTES_32: [u8; 4] = POISON_32.to_ne_bytes();
    if dtype.size() == 2 { &BYTES_16 } else { &BYTES_32 }
}

/// The tensors of a call.
struct Call {
    tensors: Vec<Fenced>,
}

impl Call {
    fn get(&self, tensor: Tensor) -> Option<&Fenced> {
        self.tensors.iter().find(|fenced| fenced.tensor == tensor)
    }

    /// The values of an input, or what an output's buffer has before the call.
    fn values(&self, tensor: Tensor) -> Option<&[f32]> {
        self.get(tensor)?.values.as_deref()
    }

    /// Those of a tensor that the call must have.
    fn needed(&self, tensor: Tensor) -> Result<&[f32], Error> {
        let why = "the case has none";
        self.values(tensor).ok_or(Error::MissingBuffer { buffer: tensor.name(), why })
    }

    fn given(&self, tensor: Tensor) -> Option<Given<'_>> {
        let fenced = self.get(tensor)?;
        let buffer = &self.get(fenced.bound)?.buffer;
        let given = Given::at_element(buffer, fenced.offset as u64, Some(fenced.stride as u64));
        Some(match fenced.column_stride {
            1 => given,
            column_stride => given.with_rstd((fenced.offset + column_stride) as u64),
        })
    }

    fn outputs(&self) -> impl Iterator<Item = &Fenced> {
        self.tensors.iter().filter(|fenced| fenced.is_written)
    }
}

/// What a call has written: the values of each output.
struct Results(Vec<(Tensor, Dtype, Vec<f32>)>);

impl Results {
    fn get(&self, tensor: Tensor) -> Option<(Dtype, &[f32])> {
        let (_, dtype, values) = self.0.iter().find(|(written, ..)| *written == tensor)?;
        Some((*dtype, values))
    }
}

struct Runner<'a> {
    context: &'a Context,
    case: &'a Case,
    problem: &'a Problem,
    cols: usize,
}

impl Runner<'_> {
    /// The tensors of a call, uploaded.
    fn call(&self, operation: Operation) -> Result<Call, Error> {
        let used = operation.of_call(self.problem.affine);
        let mut call = Call { tensors: Vec::with_capacity(used.len()) };
        for used in used.iter().filter(|used| used.role != Role::Output) {
            let values = self.input(used, &call)?;
            call.tensors.push(self.fence(used, Some(values))?);
        }
        for used in used.iter().filter(|used| used.role == Role::Output) {
            let over = call.tensors.iter().find(|input| input.bound == used.tensor);
            let values = match over {
                Some(input) => input.values.clone(),
                None if used.uses.reads > 0 => Some(self.old_values(used)),
                None => None,
            };
            call.tensors.push(self.fence(used, values)?);
        }
        Ok(call)
    }

    /// The values of an input.
    fn input(&self, used: &Used, call: &Call) -> Result<Vec<f32>, Error> {
        let (case, cols) = (self.case, self.cols);
        let dtype = used.stored.dtype(self.problem);
        Ok(match used.tensor {
            Tensor::X => self.rows_of(dtype, 1),
            Tensor::Residual => match case.residual {
                Residual::Normal => self.normal(dtype, case.rows * cols, 2),
                Residual::Like => self.rows_of(dtype, 2),
                Residual::Opposite => {
                    call.needed(Tensor::X)?.iter().map(|x| rounded(dtype, -f64::from(*x))).collect()
                }
            },
            Tensor::Dy => self.dy(dtype),
            Tensor::Gain => self.values(case.gain, dtype, 1, cols / 3, 3),
            Tensor::Bias => self.values(case.bias, dtype, 1, cols / 4, 4),
            Tensor::Statistics => {
                let statistics = statistics(&self.exact(), case.rows, call.needed(Tensor::X)?)?;
                statistics.into_iter().flatten().map(|value| rounded(dtype, value)).collect()
            }
            _ => self.old_values(used),
        })
    }

    /// What there is in a tensor that is added to.
    fn old_values(&self, used: &Used) -> Vec<f32> {
        let dtype = used.stored.dtype(self.problem);
        match used.shape {
            Shape::Cols => self.normal(dtype, self.cols, 5),
            _ => self.normal(dtype, self.case.rows * self.cols, 4),
        }
    }

    /// The problem on the host, where all values are float32.
    fn exact(&self) -> Problem {
        Stored::all(self.problem, Dtype::F32)
    }

    async fn forward(&self, norm: &LayerNorm, call: &Call) -> Result<Outcome, Error> {
        let (rows, cols) = (self.case.rows, self.cols);
        let buffers = ForwardBuffers::from_given(rows as u64, |tensor| call.given(tensor))
            .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        let plan = first_plan(norm.plan_forward(&buffers)?)?;
        let prepared = norm.prepare_forward(&buffers)?;
        let (mut verdict, results) = self.execute(&prepared, call).await?;

        // What is normalised is the sum as this device has stored it, or as it stores it where it is written.
        let unwritten: Vec<f32>;
        let stored = match (results.get(Tensor::Sum), call.values(Tensor::Residual)) {
            (None, Some(_)) => {
                unwritten = self.written_sum(norm, &mut verdict).await?;
                &unwritten
            }
            (Some((dtype, sum)), Some(_)) => {
                self.judge_sum(call, dtype, sum, &mut verdict)?;
                sum
            }
            _ => call.needed(Tensor::X)?,
        };
        let (gain, bias) = (call.values(Tensor::Gain), call.values(Tensor::Bias));
        // Without y there are none, whatever the problem has.
        let affine = if gain.is_some() { self.problem.affine } else { Affine::None };
        let exact = Problem { affine, ..self.exact() };
        let mut expected_y = vec![0.0; rows * cols];
        let mut expected_statistics = vec![[0.0; 2]; rows];
        let inputs = ForwardInputs { gain, bias, ..ForwardInputs::new(rows, dense(stored, cols)) };
        let outputs = ForwardOutputs {
            y: RowsMut { data: &mut expected_y, stride: cols },
            sum: None,
            statistics: Some(&mut expected_statistics),
        };
        reference::forward(&exact, &inputs, outputs)?;

        let (gains, biases) = (reference::gains(&exact, gain), reference::biases(&exact, bias));
        let terms: Vec<ForwardTerms> = stored
            .chunks(cols)
            .zip(&expected_statistics)
            .map(|(row, statistics)| forward_terms(row, *statistics, &gains, &biases))
            .collect();
        let one_outweighs = [self.case.gain, self.case.bias].contains(&Values::OneHuge);
        if let Some((dtype, y)) = results.get(Tensor::Y) {
            verdict.judge(Tensor::Y, dtype, cols, y, |row, column| {
                let (of_row, gain, bias) = (&terms[row], gains[column], biases[column]);
                // Beside a column that outweighs the others, those are judged by their own gains.
                let terms = if one_outweighs {
                    ONE_COLUMN * of_row.own(gain, bias)
                } else {
                    of_row.of_column(gain, bias)
                };
                Expected { value: expected_y[row * cols + column], terms, flushed: of_row.row.flushed }
            });
        }
        if let Some((dtype, got)) = results.get(Tensor::Statistics) {
            let most_x: Vec<f64> = stored
                .chunks(cols)
                .map(|row| row.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max))
                .collect();
            verdict.judge(Tensor::Statistics, dtype, 2, got, |row, column| {
                let value = expected_statistics[row][column];
                // The mean of a row that is not finite may be infinite or NaN; its rstd is NaN.
                let value = if column == 0 && !value.is_finite() { f64::from(got[2 * row]) } else { value };
                let terms = if column == 0 { most_x[row] } else { value };
                Expected { value, terms, flushed: SMALLEST_NORMAL }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    /// The sum as this device stores it, from a call that writes it. The host cannot know it: the device adds in float32, and its
    /// rounding of that to float16 is its own. Neither y nor what y needs is in the call, so that four bindings are enough.
    async fn written_sum(&self, norm: &LayerNorm, verdict: &mut Verdict) -> Result<Vec<f32>, Error> {
        let forward = Forward { residual: true, statistics: true, without_y: true, ..Forward::default() };
        let call = self.call(Operation::Forward(forward))?;
        let buffers = ForwardBuffers::from_given(self.case.rows as u64, |tensor| call.given(tensor))
            .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        let (of_sum, results) = self.execute(&norm.prepare_forward(&buffers)?, &call).await?;
        verdict.failures.extend(of_sum.failures);
        let (dtype, sum) = results
            .get(Tensor::Sum)
            .ok_or(Error::MissingBuffer { buffer: "sum", why: "what is normalised is read from it" })?;
        self.judge_sum(&call, dtype, sum, verdict)?;
        Ok(sum.to_vec())
    }

    fn judge_sum(&self, call: &Call, dtype: Dtype, sum: &[f32], verdict: &mut Verdict) -> Result<(), Error> {
        let (x, residual) = (call.needed(Tensor::X)?, call.needed(Tensor::Residual)?);
        let cols = self.cols;
        verdict.judge(Tensor::Sum, dtype, cols, sum, |row, column| {
            let i = row * cols + column;
            let (x, residual) = (x[i].to_f64(), residual[i].to_f64());
            Expected { value: x + residual, terms: x.abs() + residual.abs(), flushed: 3.0 * SMALLEST_NORMAL }
        });
        Ok(())
    }

    async fn backward(&self, norm: &LayerNorm, call: &Call, backward: &Backward) -> Result<Outcome, Error> {
        let (rows, cols) = (self.case.rows, self.cols);
        let buffers = BackwardBuffers::from_given(rows as u64, backward, |tensor| call.given(tensor))
            .ok_or(Error::MissingBuffer { buffer: "x", why: "the case has none" })?;
        let plan = first_plan(norm.plan_backward(&buffers)?)?;
        let prepared = norm.prepare_backward(&buffers)?;
        let (mut verdict, results) = self.execute(&prepared, call).await?;

        let exact = self.exact();
        let (x, dy, gain) = (call.needed(Tensor::X)?, call.needed(Tensor::Dy)?, call.values(Tensor::Gain));
        // What dx and the parameters' gradients are added to.
        let adds_to = |tensor, gradient| match gradient {
            Some(Gradient::Accumulate) => call.values(tensor),
            _ => None,
        };
        let old_dx = adds_to(Tensor::Dx, backward.dx);
        let dsum = call.values(Tensor::Dsum);
        let old_dgain = adds_to(Tensor::Dgain, backward.dgain);
        let old_dbias = adds_to(Tensor::Dbias, backward.dbias);
        let as_f64 = |old: Option<&[f32]>, count: usize| -> Vec<f64> {
            old.map_or_else(|| vec![0.0; count], |old| old.iter().map(|value| value.to_f64()).collect())
        };
        let mut expected_dx = as_f64(old_dx, rows * cols);
        let (mut expected_dgain, mut expected_dbias) = (as_f64(old_dgain, cols), as_f64(old_dbias, cols));
        let inputs = BackwardInputs {
            dsum: dsum.map(|dsum| dense(dsum, cols)),
            gain,
            ..BackwardInputs::new(rows, dense(x, cols), dense(dy, cols))
        };
        let outputs = BackwardOutputs {
            dx: Some(RowsMut { data: &mut expected_dx, stride: cols }),
            dgain: backward.dgain.map(|_| &mut expected_dgain[..]),
            dbias: backward.dbias.map(|_| &mut expected_dbias[..]),
            dx_gradient: backward.dx.unwrap_or_default(),
            parameter_gradient: backward.dgain.or(backward.dbias).unwrap_or_default(),
        };
        reference::backward(&exact, &inputs, outputs)?;

        let terms = BackwardTerms::new(&exact, rows, x, dy, &reference::gains(&exact, gain))?;
        let one_outweighs = [self.case.gain, self.case.dy].contains(&Values::OneHuge);
        let of_one_column = if one_outweighs { ONE_COLUMN } else { 1.0 };
        let size = |old: Option<&[f32]>, i: usize| old.map_or(0.0, |old| old[i].to_f64().abs());
        if let Some((dtype, dx)) = results.get(Tensor::Dx) {
            verdict.judge(Tensor::Dx, dtype, cols, dx, |row, column| {
                let i = row * cols + column;
                let RowTerms { terms, flushed } = terms.rows[row];
                let terms = terms * of_one_column + size(old_dx, i) + size(dsum, i);
                Expected { value: expected_dx[i], terms, flushed }
            });
        }
        for (tensor, expected, old, terms) in [
            (Tensor::Dgain, &expected_dgain, old_dgain, terms.dgain()),
            (Tensor::Dbias, &expected_dbias, old_dbias, terms.dbias()),
        ] {
            let Some((dtype, got)) = results.get(tensor) else { continue };
            verdict.judge(tensor, dtype, cols, got, |_, column| {
                let RowTerms { terms, flushed } = terms;
                Expected { value: expected[column], terms: terms + size(old, column), flushed }
            });
        }
        Ok(self.outcome(norm, &plan, verdict))
    }

    /// Runs a prepared call, downloads its outputs and checks their fences.
    async fn execute(&self, prepared: &Prepared, call: &Call) -> Result<(Verdict, Results), Error> {
        for (scratch, bytes) in prepared.scratch() {
            #[allow(clippy::cast_possible_truncation, reason = "smaller than the case's tensors")]
            let words = bytes as usize / size_of::<f32>();
            self.context.queue().write_buffer(&scratch, 0, &poison(Dtype::F32).repeat(words));
        }
        let buffers: Vec<_> = call.outputs().map(|output| &output.buffer).collect();
        let downloads = self.context.run(&[prepared], &buffers).await?;
        let written = || call.outputs().zip(&downloads);
        let failures = written().filter_map(|(output, bytes)| output.check_fence(bytes)).collect();
        let values =
            written().map(|(output, bytes)| (output.tensor, output.dtype, output.decoded(bytes))).collect();
        Ok((Verdict { errors: Vec::new(), failures }, Results(values)))
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
    fn rows_of(&self, dtype: Dtype, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut values = vec![0.0; self.case.rows * self.cols];
        for (row, values) in values.chunks_mut(self.cols).enumerate() {
            fill_row(self.case.data, dtype, row, values, &mut random);
            values.iter_mut().for_each(|value| *value = rounded(dtype, (*value).into()));
        }
        values
    }

    /// The case's values, but for an infinity in a row whose x is finite where the case is about such values, and of one sign where
    /// rows are alike.
    fn dy(&self, dtype: Dtype) -> Vec<f32> {
        if self.case.data == Data::Alike {
            let row: Vec<f32> = self
                .normal(Dtype::F32, self.cols, 2)
                .iter()
                .map(|dy| rounded(dtype, 1.0 + 0.1 * f64::from(dy.abs())))
                .collect();
            return row.repeat(self.case.rows);
        }
        let mut dy = self.values(self.case.dy, dtype, self.case.rows, self.cols / 2, 2);
        if self.case.data == Data::NotFinite && self.case.rows > 4 {
            dy[4 * self.cols + self.cols / 3] = f32::INFINITY;
        }
        dy
    }

    /// Rows of a kind of values, the huge one of which is in one column.
    fn values(&self, values: Values, dtype: Dtype, rows: usize, column: usize, seed: u64) -> Vec<f32> {
        let (large, huge) = if dtype == Dtype::F16 { (1e3, 6e4) } else { (1e4, 1e30) };
        let mut random = Random::new(seed);
        let value = |i: usize| {
            let normal = random.normal();
            let value = match values {
                Values::Normal => normal,
                Values::Zero => 0.0,
                Values::Large => large * normal,
                Values::OneHuge if i % self.cols == column => huge,
                Values::OneHuge => normal,
                Values::Positive => 0.1 + normal.abs(),
            };
            rounded(dtype, value)
        };
        (0..rows * self.cols).map(value).collect()
    }

    fn normal(&self, dtype: Dtype, count: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| rounded(dtype, random.normal())).collect()
    }

    /// A buffer of poison, with `values` in the tensor's rows if there are any.
    fn fence(&self, used: &Used, values: Option<Vec<f32>>) -> Result<Fenced, Error> {
        let (offset, gap) = self.case.layout.offset_and_gap();
        let (mut stride, mut column_stride) = (self.cols + gap, 1);
        let (mut rows, mut cols) = (self.case.rows, self.cols);
        match used.shape {
            Shape::Cols => rows = 1,
            Shape::Statistics => {
                cols = size_of::<Statistics>() / size_of::<f32>();
                stride = cols;
                if self.case.layout == Layout::Slice {
                    (stride, column_stride) = (1, rows + gap);
                }
            }
            _ => {}
        }
        let dtype = used.stored.dtype(self.problem);
        let elements = (offset + rows * stride + (cols - 1) * column_stride + TAIL).next_multiple_of(2);
        let mut image = poison(dtype).repeat(elements);
        let element_bytes = dtype.size() as usize;
        for (i, value) in values.iter().flatten().enumerate() {
            let at = (offset + i / cols * stride + i % cols * column_stride) * element_bytes;
            encode(dtype, *value, &mut image[at..at + element_bytes]);
        }
        let buffer = self.context.upload(used.tensor.name(), &image)?;
        let (tensor, bound, is_written) = (used.tensor, used.bound, used.role == Role::Output);
        Ok(Fenced {
            tensor,
            dtype,
            is_written,
            values,
            buffer,
            image,
            offset,
            stride,
            column_stride,
            rows,
            cols,
            bound,
        })
    }
}

fn first_plan(plans: Vec<Plan>) -> Result<Plan, Error> {
    plans.into_iter().next().ok_or_else(|| Error::invalid("plans", "none", "one at least"))
}

fn dense<T>(data: &[T], cols: usize) -> Rows<'_, T> {
    Rows { data, stride: cols }
}
