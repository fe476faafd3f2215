//! The call that `forward` or `backward` makes: an open file, and which rows its tensors are.

mod batch;
mod factor;
mod flags;
mod gate;
mod gated_sum;
mod rows;

pub(crate) use factor::{FactorFlags, Factors};
pub(crate) use flags::Common;
pub(crate) use gate::GateFlags;

use crate::arrangement::Arrangement;
use crate::compute::{Compute, size};
use crate::failure::Failure;
use crate::files;
use crate::output;
use crate::tensors::{TensorFile, TensorInfo, file_dtype, unknown, zeroed};
use crate::tuning;
use crate::words::NormalizationFlag;
use half::{bf16, f16};
use rows::{arrangement, batch_channels, channels, cols, cols_of, leading_shape, samples};
use wgpu_layernorm::{Affine, Channels, Dtype, Element, Problem, RowOrder};

/// An open file, and the call that x and gain in it make up.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) file: TensorFile,
    pub(crate) problem: Problem,
    pub(crate) rows: usize,
    pub(crate) x: TensorInfo,
    pub(crate) gain: Option<TensorInfo>,
    /// `x`, or `y` where that is in its place.
    name: &'static str,
    /// Where the rows lie, if not one after the other.
    arrangement: Option<Arrangement>,
    is_weight_norm: bool,
    normalization: NormalizationFlag,
    /// Heads inside each row of x, which are the rows then.
    heads: Option<usize>,
    /// Running mean and variance of each row.
    running: Option<[TensorInfo; 2]>,
    is_inference: bool,
}

/// Mean and variance of each row.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) given: Option<[Vec<f32>; 2]>,
    pub(crate) kept: Option<[Vec<f32>; 2]>,
}

impl Call {
    pub(crate) fn open(
        common: &Common,
        (flag, x): (&'static str, &str),
        factors: &Factors<'_>,
        affine: Affine,
    ) -> Result<Self, Failure> {
        let file = TensorFile::open(&common.input)?;
        let name = flag.trim_start_matches('-');
        let x = file.find(flag, x)?;
        common.batch.check(common.normalization)?;
        let is_batch_norm = common.normalization == NormalizationFlag::Batch;
        let channels = if is_batch_norm { Some(batch_channels(&x, common)?) } else { channels(&x, common)? };
        let arrangement = match channels {
            Some(_) if is_batch_norm => {
                let last = x.shape.len().saturating_sub(1);
                let along = Arrangement::along(&x, if common.channels_last { last } else { 1 })?;
                Some(along.in_one_dimension())
            }
            Some(channels) if common.channels_last => Some(Arrangement::groups_of_last(&x, channels)?),
            Some(_) => None,
            None => arrangement(&x, common)?,
        };
        let cols = match &arrangement {
            Some(arrangement) => cols_of(&x, arrangement.cols)?,
            None => match channels {
                Some(Channels { count, groups, spatial, .. }) => {
                    cols_of(&x, (count / groups) as usize * spatial as usize)?
                }
                None => cols(&x, common.cols)?,
            },
        };
        if arrangement.is_none() && x.elements() % cols as usize != 0 {
            return Err(Failure::WrongCall(format!(
                "{} has shape {:?}, {} elements, which is not a multiple of --cols {cols}",
                x.label,
                x.shape,
                x.elements()
            )));
        }
        let mut call = Self {
            problem: Problem {
                cols,
                dtype: x.dtype,
                parameter_dtype: x.dtype,
                normalization: common.normalization.of_rows(),
                affine: if factors.is_zero_centered { affine.zero_centered() } else { affine },
                activation: common.activation,
                channels,
                eps: common.eps(),
                ..Problem::default()
            },
            rows: arrangement.as_ref().map_or(x.elements() / cols as usize, |arrangement| arrangement.rows),
            file,
            x,
            name,
            gain: None,
            arrangement,
            is_weight_norm: common.normalization == NormalizationFlag::Weight,
            normalization: common.normalization,
            heads: common.heads,
            running: None,
            is_inference: common.batch.is_inference(),
        };
        if is_batch_norm {
            call.running = common.batch.find(&call)?;
            if cols == 1 && !call.is_inference {
                return Err(Failure::WrongCall(format!(
                    "{} has shape {:?}, one value for each channel, and --mode training needs 2 or more",
                    call.x.label, call.x.shape
                )));
            }
        }
        if let Some(gain) = factors.gain {
            let [[flag, _], _] = factors.names();
            if factors.is_modulation {
                call.problem.channels = Some(call.channels_of_samples(common, gain)?);
            } else {
                call.problem.channels = call.problem.channels.or(call.channels_of_heads(gain)?);
            }
            let gain = call.parameter(flag, gain)?;
            call.problem.parameter_dtype = gain.dtype;
            call.gain = Some(gain);
        }
        if call.is_weight_norm() {
            if factors.is_zero_centered {
                return Err(Failure::WrongCall(
                    "--zero-centered-gain: the g of weight norm is a norm".to_owned(),
                ));
            }
            if common.activation.is_some() {
                return Err(Failure::WrongCall(format!(
                    "--activation {}: weight norm has none, as its y is a weight",
                    common.activation
                )));
            }
            // Its gain is that of rows.
            call.problem.affine = Affine::None;
            call.problem.parameter_dtype = call.problem.dtype;
        }
        Ok(call)
    }

    /// A tensor that must be like x.
    pub(crate) fn rows_like_x(&self, flag: &str, name: &str) -> Result<TensorInfo, Failure> {
        let tensor = self.file.find(flag, name)?;
        if (tensor.dtype, &tensor.shape) != (self.x.dtype, &self.x.shape) {
            return Err(Failure::WrongCall(format!(
                "{} is {} {:?}, needs to be {} {:?} as {} is",
                tensor.label,
                file_dtype(tensor.dtype)?,
                tensor.shape,
                file_dtype(self.x.dtype)?,
                self.x.shape,
                self.name
            )));
        }
        Ok(tensor)
    }

    /// The rstd of each row, as forward writes it.
    pub(crate) fn rstd(&self, name: &str) -> Result<TensorInfo, Failure> {
        let tensor = self.file.find("--rstd", name)?;
        if (tensor.dtype, tensor.elements()) != (Dtype::F32, self.rows) {
            return Err(Failure::WrongCall(format!(
                "{} is {} {:?}, needs to be F32 with {} values, one for each row of y",
                tensor.label,
                file_dtype(tensor.dtype)?,
                tensor.shape,
                self.rows
            )));
        }
        Ok(tensor)
    }

    /// That xhat can be made from y.
    pub(crate) fn check_from_y(&self) -> Result<(), Failure> {
        let why = if self.is_weight_norm {
            "--normalization weight, whose rows have a gain each"
        } else if self.problem.activation.is_some() {
            "--activation, as y does not tell what that was applied to"
        } else if self.is_inference {
            "--mode inference, whose statistics are not those of x"
        } else {
            return Ok(());
        };
        Err(Failure::WrongCall(format!("--y does not go with {why}: give --x")))
    }

    /// The channels of heads that have a gain each: one for each value of each head.
    fn channels_of_heads(&self, gain: &str) -> Result<Option<Channels>, Failure> {
        let Some(heads) = self.heads.filter(|heads| *heads > 1) else { return Ok(None) };
        let has = self.file.find("--gain", gain)?.elements();
        let (heads, dim) = (size(heads)?, self.problem.cols);
        Ok((has as u64 == u64::from(heads) * u64::from(dim)).then(|| Channels::of_heads(heads, dim)))
    }

    /// The channels of a modulation: a value for each column of each sample, or of each row.
    fn channels_of_samples(&self, common: &Common, scale: &str) -> Result<Channels, Failure> {
        if !common.normalization.is_of_plain_rows() {
            let what = "--scale needs --normalization layer, rms or l2";
            return Err(Failure::WrongCall(what.to_owned()));
        }
        if self.heads.is_some() {
            return Err(Failure::WrongCall("--scale does not go with --heads".to_owned()));
        }
        let scale = self.file.find("--scale", scale)?;
        let samples = samples(&self.x, &scale, self.problem.cols, self.rows)?;
        if self.problem.cols == 1 {
            let what = format!("{} has rows of 1 value, and --scale needs 2 or more", self.x.label);
            return Err(Failure::WrongCall(what));
        }
        Ok(Channels::of_samples(size(samples)?, self.problem.cols))
    }

    /// A tensor of one value for each column, of the dtype of gain if there is one yet.
    pub(crate) fn parameter(&self, flag: &str, name: &str) -> Result<TensorInfo, Failure> {
        let tensor = self.file.find(flag, name)?;
        let parameters = self.problem.parameters() as usize;
        let (needs, of_what) = match (self.heads, self.problem.channels) {
            _ if self.is_weight_norm() => (self.rows, "index of --axis".to_owned()),
            (_, Some(channels)) if channels.order == RowOrder::Blocked => {
                (parameters, "column of each sample, as scale has".to_owned())
            }
            (Some(_), Some(_)) => (parameters, "value of each head, as gain has".to_owned()),
            (Some(heads), None) if heads > 1 && self.gain.is_none() => {
                let of_all = parameters.saturating_mul(heads);
                (parameters, format!("value of a head, or {of_all}, one for each value of each head"))
            }
            (Some(_), None) => (parameters, "value of a head, as all heads share them".to_owned()),
            (None, Some(_)) => (parameters, "channel of x".to_owned()),
            (None, None) => (parameters, "column of x".to_owned()),
        };
        if tensor.elements() != needs {
            return Err(Failure::WrongCall(format!(
                "{} has shape {:?}, {} elements, needs {needs}, one for each {of_what}",
                tensor.label,
                tensor.shape,
                tensor.elements()
            )));
        }
        let needs = match &self.gain {
            Some(gain) if tensor.dtype != gain.dtype => format!("{} as gain is", file_dtype(gain.dtype)?),
            None if tensor.dtype != self.x.dtype && tensor.dtype != Dtype::F32 => match self.x.dtype {
                Dtype::F32 => "F32 as x is".to_owned(),
                dtype => format!("{dtype} as x is, or F32", dtype = file_dtype(dtype)?),
            },
            _ => {
                return self
                    .check_rows_of_heads(tensor)
                    .and_then(|tensor| self.check_rows_of_samples(tensor));
            }
        };
        let has = file_dtype(tensor.dtype)?;
        Err(Failure::WrongCall(format!("{} is {has}, needs to be {needs}", tensor.label)))
    }

    /// That a scale or shift has a row for each sample, and not a column.
    fn check_rows_of_samples(&self, tensor: TensorInfo) -> Result<TensorInfo, Failure> {
        if self.problem.channels.is_some_and(|channels| channels.order == RowOrder::Blocked) {
            samples(&self.x, &tensor, self.problem.cols, self.rows)?;
        }
        Ok(tensor)
    }

    /// That a gain or bias of each head has a row for each, and not a column.
    fn check_rows_of_heads(&self, tensor: TensorInfo) -> Result<TensorInfo, Failure> {
        let Some(heads) = self.heads.filter(|_| self.problem.channels.is_some()) else { return Ok(tensor) };
        let needs = [heads, self.problem.cols as usize];
        if tensor.shape.len() < 2 || tensor.shape == needs {
            return Ok(tensor);
        }
        let what =
            format!("{} has shape {:?}, needs {needs:?}, a row for each head", tensor.label, tensor.shape);
        Err(Failure::WrongCall(what))
    }

    /// The rows of a tensor in x's shape, one after the other.
    pub(crate) fn read_rows<T: Element>(&mut self, tensor: &TensorInfo) -> Result<Vec<T>, Failure> {
        let values = self.file.read(tensor)?;
        match &self.arrangement {
            None => Ok(values),
            Some(arrangement) => arrangement.gather(&tensor.label, &values),
        }
    }

    /// A tensor in x's shape with such rows, and between them what `around` has.
    pub(crate) fn place_rows<T: Element>(
        &mut self,
        rows: Vec<T>,
        around: &TensorInfo,
    ) -> Result<Vec<T>, Failure> {
        let Some(arrangement) = &self.arrangement else { return Ok(rows) };
        let mut values: Vec<T> = match arrangement.fills(around.elements()) {
            true => zeroed(&around.label, around.elements())?,
            false => self.file.read(around)?,
        };
        arrangement.scatter(&rows, &mut values);
        Ok(values)
    }

    /// The same with 0 between them.
    pub(crate) fn place_alone<T: Element>(&self, rows: Vec<T>) -> Result<Vec<T>, Failure> {
        let Some(arrangement) = &self.arrangement else { return Ok(rows) };
        let mut values: Vec<T> = zeroed(&self.x.label, self.x.elements())?;
        arrangement.scatter(&rows, &mut values);
        Ok(values)
    }

    /// The codes of rows where x has their values.
    pub(crate) fn place_codes(&self, rows: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let Some(arrangement) = &self.arrangement else { return Ok(rows) };
        let mut codes = zeroed("codes", self.x.elements())?;
        arrangement.scatter(&rows, &mut codes);
        Ok(codes)
    }

    /// Whether rows have a gain each, and columns none.
    pub(crate) const fn is_weight_norm(&self) -> bool {
        self.is_weight_norm
    }

    /// The gain of each row, in float32, where rows have one.
    pub(crate) fn read_row_gain(&mut self) -> Result<Option<Vec<f32>>, Failure> {
        let Some(gain) = self.gain.clone().filter(|_| self.is_weight_norm) else { return Ok(None) };
        let widened = match gain.dtype {
            Dtype::F32 => self.file.read::<f32>(&gain)?,
            Dtype::F16 => self.file.read::<f16>(&gain)?.into_iter().map(f16::to_f32).collect(),
            Dtype::Bf16 => self.file.read::<bf16>(&gain)?.into_iter().map(bf16::to_f32).collect(),
            dtype => return Err(unknown(dtype)),
        };
        Ok(Some(widened))
    }

    /// Running mean and variance: those that x is normalized by, or those that forward updates.
    pub(crate) fn read_running(&mut self) -> Result<Statistics, Failure> {
        let Some([mean, variance]) = self.running.clone() else { return Ok(Statistics::default()) };
        let values = Some([self.file.read(&mean)?, self.file.read(&variance)?]);
        Ok(match self.is_inference {
            true => Statistics { given: values, kept: None },
            false => Statistics { given: None, kept: values },
        })
    }

    pub(crate) const fn has_running(&self) -> bool {
        self.running.is_some()
    }

    /// The shapes of the running statistics that forward updates.
    pub(crate) fn kept_shapes(&self) -> Option<[&[usize]; 2]> {
        let [mean, variance] = self.running.as_ref().filter(|_| !self.is_inference)?;
        Some([&mean.shape, &variance.shape])
    }

    /// Whether x has values that belong to no row.
    pub(crate) fn leaves_values(&self) -> bool {
        self.arrangement.as_ref().is_some_and(|arrangement| !arrangement.fills(self.x.elements()))
    }

    /// The shape of a tensor with one value for each row: the leading dimensions of x.
    pub(crate) fn rows_shape(&self) -> Vec<usize> {
        if let Some(arrangement) = &self.arrangement {
            return arrangement.rows_shape.clone();
        }
        if let Some(channels) = self.problem.channels.filter(|channels| channels.order != RowOrder::Blocked) {
            return vec![self.rows / channels.groups as usize, channels.groups as usize];
        }
        leading_shape(&self.x.shape, self.problem.cols as usize).unwrap_or_else(|| vec![self.rows])
    }

    /// Where to compute, which is said on stderr. Called when all that can be known to be wrong has been
    /// looked for.
    pub(crate) fn choose(&self, common: &Common) -> Result<Compute, Failure> {
        files::check_destination("OUT", &common.output)?;
        let tuning = common.tuning.read()?;
        let compute = match Compute::choose(&common.adapter.adapter)? {
            Compute::Adapter(context) => Compute::Adapter(tuning::apply(context, tuning.as_ref())),
            Compute::Cpu => Compute::Cpu,
        };
        output::note(&format!("running on {}", compute.describe()));
        Ok(compute)
    }
}
