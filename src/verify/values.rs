//! What the tensors of a case hold, and where in their buffers they lie.
//!
//! Which tensors a call has, how they are stored and which of them are written follows from the operation's
//! table.

use super::data::{Random, fill_row};
use super::fenced::{Call, Fenced, TAIL, element, encode, poison};
use super::judge::statistics;
use super::kinds::{Data, Layout, Residual, Values};
use super::run::Runner;
use crate::error::Error;
use crate::op::{Role, Shape, Used};
use crate::plan::{Operation, Span, Tensor};
use crate::reference::{self, ForwardOutputs};
use crate::types::{Channels, Dtype, ForwardInputs, GateOrder, Problem, Real, Rows, RowsMut};
use half::{bf16, f16};

/// The nearest value of a dtype.
#[allow(clippy::cast_possible_truncation, reason = "to the nearest float32")]
fn rounded(dtype: Dtype, value: f64) -> f32 {
    match dtype {
        Dtype::F32 => value as f32,
        Dtype::F16 => <f16 as Real>::from_f64(value).to_f32(),
        Dtype::Bf16 => <bf16 as Real>::from_f64(value).to_f32(),
    }
}

/// The largest multiple that an adapter may want the start of a binding to be.
const POOL_ALIGNMENT: usize = 256;

impl Runner<'_> {
    /// The tensors of a call, uploaded.
    pub(super) fn call(&self, operation: Operation) -> Result<Call, Error> {
        let used = operation.of_call(self.problem.affine, self.problem.activation);
        let mut call = Call { tensors: Vec::with_capacity(used.len()), buffers: Vec::new() };
        for used in used.iter().filter(|used| used.role != Role::Output) {
            let values = self.input(used, &call)?;
            call.tensors.push(self.fence(used, Some(values)));
        }
        for used in used.iter().filter(|used| used.role == Role::Output) {
            let over = call.tensors.iter().find(|input| input.bound == used.tensor);
            let values = match over {
                Some(input) => input.values.clone(),
                None if used.uses.reads > 0 => Some(self.old_values(used)),
                None => None,
            };
            call.tensors.push(self.fence(used, values));
        }
        self.upload(&mut call)?;
        Ok(call)
    }

    /// Creates the buffers of a call, or the one of all its tensors.
    fn upload(&self, call: &mut Call) -> Result<(), Error> {
        if self.case.layout != Layout::Pool {
            let buffers =
                call.tensors.iter().map(|fenced| self.context.upload(fenced.tensor.name(), &fenced.image));
            call.buffers = buffers.collect::<Result<_, _>>()?;
            return Ok(());
        }
        let mut pool = Vec::new();
        for fenced in &mut call.tensors {
            let padded = fenced.image.len().next_multiple_of(POOL_ALIGNMENT);
            let poison = poison(fenced.dtype);
            fenced.image.extend(poison.iter().cycle().take(padded - fenced.image.len()));
            fenced.begin = pool.len();
            pool.extend_from_slice(&fenced.image);
        }
        call.buffers.push(self.context.upload("pool", &pool)?);
        Ok(())
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
            Tensor::GateInput => self.gate_input(dtype),
            Tensor::Dy => self.dy(dtype),
            Tensor::Y => self.y(call, dtype)?,
            Tensor::Gain => self.values(case.gain, dtype, [1, self.parameters()], 3, 3),
            Tensor::Bias => self.values(case.bias, dtype, [1, self.parameters()], 4, 4),
            Tensor::RowGain => self.row_gain(dtype),
            Tensor::Gate => self.gate(dtype),
            Tensor::Branch => self.normal(dtype, case.rows * cols, 8),
            Tensor::Statistics => match &self.saved {
                Some(saved) => saved.clone(),
                None => {
                    let statistics = self.statistics_of(&self.normalized(call))?;
                    statistics.into_iter().flatten().map(|value| rounded(dtype, value)).collect()
                }
            },
            Tensor::Mean => self.given_statistics(call.needed(Tensor::X)?)?[0].clone(),
            Tensor::Variance => self.given_statistics(call.needed(Tensor::X)?)?[1].clone(),
            _ => self.old_values(used),
        })
    }

    /// What is normalized, be it in the call or not.
    pub(super) fn x(&self, call: &Call) -> Vec<f32> {
        call.values(Tensor::X).map_or_else(|| self.rows_of(self.problem.dtype, 1), <[f32]>::to_vec)
    }

    /// What a gate is `silu` of: on both sides of 0, and far from it.
    fn gate_input(&self, dtype: Dtype) -> Vec<f32> {
        let wide = |value: f32| rounded(dtype, 3.0 * f64::from(value));
        self.normal(Dtype::F32, self.case.rows * self.cols, 7).into_iter().map(wide).collect()
    }

    /// What a gate makes of x where there is one before the norm, rounded to float32.
    pub(super) fn normalized(&self, call: &Call) -> Vec<f32> {
        let mut x = self.x(call);
        if self.case.task.operation().gate_input() == Some(GateOrder::Before) {
            let gates = call.values(Tensor::GateInput).unwrap_or_default();
            let factors = gates.iter().map(|input| reference::gate(f64::from(*input))[0]);
            x.iter_mut()
                .zip(factors)
                .for_each(|(x, factor)| *x = rounded(Dtype::F32, f64::from(*x) * factor));
        }
        x
    }

    /// What forward makes of it.
    fn y(&self, call: &Call, dtype: Dtype) -> Result<Vec<f32>, Error> {
        let (rows, stride) = (self.case.rows, self.cols);
        let x = self.x(call);
        let mut y = vec![0.0; x.len()];
        let inputs = ForwardInputs {
            gain: call.values(Tensor::Gain),
            bias: call.values(Tensor::Bias),
            ..ForwardInputs::new(rows, Rows { data: &x, stride })
        };
        let outputs = ForwardOutputs::new(RowsMut { data: &mut y, stride });
        reference::forward(&self.exact(), &inputs, outputs)?;
        Ok(y.into_iter().map(|y: f64| rounded(dtype, y)).collect())
    }

    /// Mean and variance that are given for rows: near their own, where those are in range.
    pub(super) fn given_statistics(&self, x: &[f32]) -> Result<[Vec<f32>; 2], Error> {
        let own = statistics(&Problem { eps: 0.0, ..self.exact() }, self.case.rows, x, None)?;
        let given = own.into_iter().map(|[mean, rstd]| {
            let deviation = if rstd > 0.0 { 1.0 / rstd } else { 0.0 };
            let variance = (1.5 * deviation * deviation).min(1e38);
            match mean.is_finite() && rstd.is_finite() {
                true => [mean + 0.5 * deviation, variance].map(|value| rounded(Dtype::F32, value)),
                false => [0.25, 1.0],
            }
        });
        let given: Vec<[f32; 2]> = given.collect();
        Ok([0, 1].map(|which| given.iter().map(|given| given[which]).collect()))
    }

    /// Mean and rstd of rows as the case has them.
    pub(super) fn statistics_of(&self, x: &[f32]) -> Result<Vec<[f64; 2]>, Error> {
        let given = match self.case.task.operation().has_given_statistics() {
            true => Some(self.given_statistics(x)?),
            false => None,
        };
        statistics(&self.exact(), self.case.rows, x, given.as_ref())
    }

    /// Of all sizes and signs; the third is 0.
    fn row_gain(&self, dtype: Dtype) -> Vec<f32> {
        let mut gains = self.normal(dtype, self.case.rows, 6);
        gains.iter_mut().enumerate().for_each(|(row, gain)| match row % 7 {
            2 => *gain = 0.0,
            5 => *gain *= 1e4,
            _ => {}
        });
        gains
    }

    /// Up to 1 on both sides of 0, so that what it multiplies stays in range; some are 0, as all are where
    /// training begins.
    fn gate(&self, dtype: Dtype) -> Vec<f32> {
        let mut gates = self.normal(dtype, self.problem.gates() as usize, 7);
        gates.iter_mut().enumerate().for_each(|(i, gate)| match i % 7 {
            2 => *gate = 0.0,
            _ => *gate = rounded(dtype, f64::from(*gate * 0.5).clamp(-1.0, 1.0)),
        });
        gates
    }

    /// What there is in a tensor that is added to.
    fn old_values(&self, used: &Used) -> Vec<f32> {
        let dtype = used.stored.dtype(self.problem);
        match used.shape {
            Shape::Cols => self.normal(dtype, self.parameters(), 5),
            Shape::Gates => self.normal(dtype, self.problem.gates() as usize, 5),
            Shape::PerRow => self.normal(dtype, self.case.rows, 5),
            _ => self.normal(dtype, self.case.rows * self.cols, 4),
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

    /// The case's values, but for an infinity in a row whose x is finite where the case is about such values,
    /// and of one sign where rows are alike.
    fn dy(&self, dtype: Dtype) -> Vec<f32> {
        if self.case.data == Data::Alike {
            let row: Vec<f32> = self
                .normal(Dtype::F32, self.cols, 2)
                .iter()
                .map(|dy| rounded(dtype, 1.0 + 0.1 * f64::from(dy.abs())))
                .collect();
            return row.repeat(self.case.rows);
        }
        let mut dy = self.values(self.case.dy, dtype, [self.case.rows, self.cols], 2, 2);
        if self.case.data == Data::NotFinite && self.case.rows > 4 {
            dy[4 * self.cols + self.cols / 3] = f32::INFINITY;
        }
        dy
    }

    fn parameters(&self) -> usize {
        self.problem.parameters() as usize
    }

    /// Rows of a kind of values, the huge one of which is in one column: by which part of its row.
    fn values(
        &self,
        values: Values,
        dtype: Dtype,
        [rows, cols]: [usize; 2],
        part: usize,
        seed: u64,
    ) -> Vec<f32> {
        let (large, huge, tiny) = if dtype == Dtype::F16 { (1e3, 6e4, 1e-6) } else { (1e4, 1e30, 1e-34) };
        let mut random = Random::new(seed);
        let value = |i: usize| {
            let normal = random.normal();
            let value = match values {
                Values::Normal => normal,
                Values::Zero => 0.0,
                Values::Large => large * normal,
                Values::OneHuge if i % cols == cols / part => huge,
                Values::OneHuge => normal,
                Values::Tiny => tiny * normal,
                Values::Positive => 0.1 + normal.abs(),
            };
            rounded(dtype, value)
        };
        (0..rows * cols).map(value).collect()
    }

    fn normal(&self, dtype: Dtype, count: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| rounded(dtype, random.normal())).collect()
    }

    /// Poison, with `values` in the tensor's rows if there are any.
    fn fence(&self, used: &Used, values: Option<Vec<f32>>) -> Fenced {
        let dtype = used.stored.dtype(self.problem);
        let of_rows = self.case.layout.span(self.problem.cols, dtype.size());
        let plain = Span { offset: of_rows.offset, element_bytes: dtype.size(), ..Span::default() };
        let rows = self.case.rows;
        let (rows, span) = match used.shape {
            Shape::Cols | Shape::Gates => {
                let channels = self.problem.channels;
                let (values, has_rows) = match used.shape {
                    Shape::Gates => (self.problem.gates(), channels.is_some_and(Channels::is_by_column)),
                    _ => (self.problem.parameters(), channels.is_some_and(Channels::has_parameter_rows)),
                };
                let span = Span { cols: values, ..plain };
                let inner_columns = self.problem.cols;
                let outer_column_stride = u64::from(inner_columns) + self.case.layout.gap();
                let apart = Span { inner_columns, outer_column_stride, ..span };
                (1, if has_rows && self.case.layout == Layout::Slice { apart } else { span })
            }
            Shape::Codes => {
                let words = Shape::words(self.problem.cols);
                (rows, Span { stride: u64::from(words) + self.case.layout.gap(), cols: words, ..plain })
            }
            Shape::PerRow => (rows, Span { stride: 1, cols: 1, ..plain }),
            Shape::One => (1, Span { stride: 1, cols: 1, ..plain }),
            Shape::Statistics => {
                // Mean and rstd.
                let span = Span { stride: 2, cols: 2, ..plain };
                let apart = Span { stride: 1, column_stride: rows as u64 + self.case.layout.gap(), ..span };
                (rows, if self.case.layout == Layout::Slice { apart } else { span })
            }
            _ => (rows, of_rows),
        };
        let cols = span.cols as usize;
        let bytes = usize::try_from(span.end(rows as u64)).unwrap_or(usize::MAX);
        let elements = (bytes / dtype.size() as usize + TAIL).next_multiple_of(2);
        let mut image = poison(dtype).repeat(elements);
        for (i, value) in values.iter().flatten().enumerate() {
            encode(dtype, *value, &mut image[element(&span, i / cols, i % cols)]);
        }
        let (tensor, bound, is_written) = (used.tensor, used.bound, used.role == Role::Output);
        Fenced {
            tensor,
            dtype,
            is_written,
            values,
            begin: 0,
            image,
            span,
            rows,
            cols,
            has_rows: used.shape == Shape::Rows,
            bound,
        }
    }
}
