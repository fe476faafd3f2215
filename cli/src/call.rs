//! What `forward` and `backward` have in common: flags, the file, and which rows its tensors are.

use crate::adapters::parse_part;
use crate::arrangement::Arrangement;
use crate::compute::Compute;
use crate::failure::Failure;
use crate::files;
use crate::output;
use crate::tensors::{TensorFile, TensorInfo, file_dtype, product, zeroed};
use crate::tuning::{self, TuningFlag};
use crate::words::NormalizationFlag;
use clap::Args;
use half::{bf16, f16};
use std::path::PathBuf;
use wgpu_layernorm::{Affine, Channels, Dtype, Element, Normalization, Problem};

#[derive(Args, Debug)]
pub(crate) struct Common {
    /// safetensors file to read from
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// safetensors file to write, IN itself if wanted; written only if the whole run succeeded
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// What is computed. The eps of rms, channel-rms and l2 is not PyTorch's unless --eps says so
    #[arg(long, value_enum, default_value_t = NormalizationFlag::Layer)]
    normalization: NormalizationFlag,

    /// With group, instance, channel and channel-rms: x is [samples, ..., channels]
    #[arg(long)]
    channels_last: bool,

    /// With group: so many groups of neighboring channels, which divide them evenly
    #[arg(long, value_name = "G", value_parser = parse_count)]
    groups: Option<usize>,

    /// With weight: the axis along which there is a norm for each index, as PyTorch's dim [default: 0]
    #[arg(long, value_name = "K")]
    axis: Option<usize>,

    /// Normalize so many heads inside each row of x, and leave the rest of it as it is
    #[arg(long, value_name = "H", requires = "head_dim", conflicts_with = "cols", value_parser = parse_count)]
    heads: Option<usize>,

    /// Values of a head
    #[arg(long, value_name = "D", requires = "heads", value_parser = parse_count)]
    head_dim: Option<usize>,

    /// Values of a row before the first head
    #[arg(long, value_name = "O", requires = "heads", default_value_t = 0)]
    offset: usize,

    /// Added to the variance (mean square) before the root, or with l2 the least norm that counts; may be 0. torch: what
    /// PyTorch takes where it is given none, 1e-5 for layer, group and instance norm, 2^-23 for RMS norm and 1e-12 for l2, whatever the type of
    /// x [default: 1e-5, with l2 0]
    #[arg(long, value_name = "E|torch", value_parser = parse_eps, allow_negative_numbers = true)]
    eps: Option<Eps>,

    /// Multiply by 1 + gain, as Gemma and Qwen3-Next do
    #[arg(long)]
    zero_centered_gain: bool,

    /// Values in a row [default: the last dimension of x]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(Problem::MAX_COLS)),
        allow_negative_numbers = true
    )]
    cols: Option<u32>,

    /// auto: a real GPU, else a software adapter, else the CPU reference; cpu: the CPU reference; else a part of an
    /// adapter's description, such as vulkan or its name
    #[arg(long, value_name = "auto|cpu|SUBSTRING", default_value = "auto", value_parser = parse_part)]
    adapter: String,

    #[command(flatten)]
    tuning: TuningFlag,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("needs to be 1 or more".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

/// `--eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Eps {
    Torch,
    Number(f32),
}

impl Eps {
    const fn of(self, normalization: Normalization) -> f32 {
        match (self, normalization) {
            (Self::Number(eps), _) => eps,
            // The epsilon of the type that it computes in, which for 16 bits is float32 too.
            (Self::Torch, Normalization::Rms) => f32::EPSILON,
            (Self::Torch, Normalization::L2) => 1e-12,
            (Self::Torch, _) => 1e-5,
        }
    }
}

impl Common {
    fn eps(&self) -> f32 {
        match (self.eps, self.normalization) {
            // PyTorch's weight norm has none.
            (Some(Eps::Torch), NormalizationFlag::Weight) => 0.0,
            (Some(eps), normalization) => eps.of(normalization.of_rows()),
            (None, normalization) => normalization.of_rows().usual_eps(),
        }
    }
}

fn parse_eps(text: &str) -> Result<Eps, String> {
    if text == "torch" {
        return Ok(Eps::Torch);
    }
    let eps = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    let problem = Problem { cols: 1, eps, ..Problem::default() };
    problem.validate().map_err(|error| error.to_string())?;
    Ok(Eps::Number(eps))
}

/// An open file, and the call that x and gain in it make up.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) file: TensorFile,
    pub(crate) problem: Problem,
    pub(crate) rows: usize,
    pub(crate) x: TensorInfo,
    pub(crate) gain: Option<TensorInfo>,
    /// Where the rows lie, if not one after the other.
    arrangement: Option<Arrangement>,
    is_weight_norm: bool,
}

impl Call {
    pub(crate) fn open(
        common: &Common,
        x: &str,
        gain: Option<&str>,
        affine: Affine,
    ) -> Result<Self, Failure> {
        let file = TensorFile::open(&common.input)?;
        let x = file.find("--x", x)?;
        let channels = channels(&x, common)?;
        let arrangement = match channels {
            Some(channels) if common.channels_last => Some(Arrangement::groups_of_last(&x, channels)?),
            Some(_) => None,
            None => arrangement(&x, common)?,
        };
        let cols = match &arrangement {
            Some(arrangement) => cols_of(&x, arrangement.cols)?,
            None => match channels {
                Some(Channels { count, groups, spatial }) => {
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
                affine: if common.zero_centered_gain { affine.zero_centered() } else { affine },
                channels,
                eps: common.eps(),
                ..Problem::default()
            },
            rows: arrangement.as_ref().map_or(x.elements() / cols as usize, |arrangement| arrangement.rows),
            file,
            x,
            gain: None,
            arrangement,
            is_weight_norm: common.normalization == NormalizationFlag::Weight,
        };
        if let Some(gain) = gain {
            let gain = call.parameter("--gain", gain)?;
            call.problem.parameter_dtype = gain.dtype;
            call.gain = Some(gain);
        }
        if call.is_weight_norm() {
            if common.zero_centered_gain {
                return Err(Failure::WrongCall(
                    "--zero-centered-gain: the g of weight norm is a norm".to_owned(),
                ));
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
                "{} is {} {:?}, needs to be {} {:?} as x is",
                tensor.label,
                file_dtype(tensor.dtype),
                tensor.shape,
                file_dtype(self.x.dtype),
                self.x.shape
            )));
        }
        Ok(tensor)
    }

    /// A tensor of one value for each column, of the dtype of gain if there is one yet.
    pub(crate) fn parameter(&self, flag: &str, name: &str) -> Result<TensorInfo, Failure> {
        let tensor = self.file.find(flag, name)?;
        let (needs, of_what) = match self.is_weight_norm() {
            true => (self.rows, "index of --axis"),
            false if self.problem.channels.is_some() => (self.problem.parameters() as usize, "channel of x"),
            false => (self.problem.cols as usize, "column of x"),
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
            Some(gain) if tensor.dtype != gain.dtype => format!("{} as gain is", file_dtype(gain.dtype)),
            None if tensor.dtype != self.x.dtype && tensor.dtype != Dtype::F32 => match self.x.dtype {
                Dtype::F32 => "F32 as x is".to_owned(),
                dtype => format!("{dtype} as x is, or F32", dtype = file_dtype(dtype)),
            },
            _ => return Ok(tensor),
        };
        let has = file_dtype(tensor.dtype);
        Err(Failure::WrongCall(format!("{} is {has}, needs to be {needs}", tensor.label)))
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
        };
        Ok(Some(widened))
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
        if let Some(channels) = self.problem.channels {
            return vec![self.rows / channels.groups as usize, channels.groups as usize];
        }
        leading_shape(&self.x.shape, self.problem.cols as usize).unwrap_or_else(|| vec![self.rows])
    }

    /// Where to compute, which is said on stderr. Called when all that can be known to be wrong has been looked for.
    pub(crate) fn choose(&self, common: &Common) -> Result<Compute, Failure> {
        files::check_destination("OUT", &common.output)?;
        let tuning = common.tuning.read()?;
        let compute = match Compute::choose(&common.adapter)? {
            Compute::Adapter(context) => Compute::Adapter(tuning::apply(context, tuning.as_ref())),
            Compute::Cpu => Compute::Cpu,
        };
        output::note(&format!("running on {}", compute.describe()));
        Ok(compute)
    }
}

/// Where the rows of x lie, if not one after the other.
fn arrangement(x: &TensorInfo, common: &Common) -> Result<Option<Arrangement>, Failure> {
    let wrong = |what: &str| Err(Failure::WrongCall(what.to_owned()));
    if common.groups.is_some() {
        return wrong("--groups needs --normalization group");
    }
    let along_channels = common.normalization.is_along_channels();
    if common.normalization == NormalizationFlag::Weight {
        return match (common.heads, common.cols, common.channels_last) {
            (None, None, false) => Arrangement::along(x, common.axis.unwrap_or(0)).map(Some),
            _ => wrong("--normalization weight takes --axis, not --heads, --cols or --channels-last"),
        };
    }
    if common.axis.is_some() {
        return wrong("--axis needs --normalization weight");
    }
    match (common.heads.zip(common.head_dim), along_channels) {
        (Some(_), true) => wrong("--heads are parts of rows, and --normalization channel has none"),
        (Some((heads, dim)), false) => Arrangement::heads(x, heads, dim, common.offset).map(Some),
        (None, true) if common.cols.is_some() => wrong(
            "--cols says how long a row is, which with --normalization channel is the number of channels",
        ),
        (None, true) if common.channels_last => Ok(None),
        (None, true) => Arrangement::channels(x).map(Some),
        (None, false) if common.channels_last => {
            wrong("--channels-last needs --normalization group, instance, channel or channel-rms")
        }
        (None, false) => Ok(None),
    }
}

/// The channels of x, where gain and bias have a value for each.
fn channels(x: &TensorInfo, common: &Common) -> Result<Option<Channels>, Failure> {
    if !common.normalization.is_of_channels() {
        return Ok(None);
    }
    let wrong = |what: String| Err(Failure::WrongCall(what));
    if common.heads.is_some() || common.cols.is_some() || common.axis.is_some() {
        return wrong(
            "--normalization group and instance take neither --heads, --cols nor --axis".to_owned(),
        );
    }
    let [_, rest @ ..] = &x.shape[..] else { return wrong(needs_channels(x)) };
    let (count, spatial) = match common.channels_last {
        true => rest.split_last().map(|(count, spatial)| (*count, spatial)),
        false => rest.split_first().map(|(count, spatial)| (*count, spatial)),
    }
    .ok_or_else(|| Failure::WrongCall(needs_channels(x)))?;
    let groups = match (common.normalization, common.groups) {
        (NormalizationFlag::Group, Some(groups)) => groups,
        (NormalizationFlag::Group, None) => return wrong("--normalization group needs --groups".to_owned()),
        (_, Some(_)) => {
            return wrong(
                "--groups needs --normalization group: instance has one for each channel".to_owned(),
            );
        }
        (_, None) => count,
    };
    if count == 0 {
        return wrong(format!("{} has shape {:?}: no channels", x.label, x.shape));
    }
    if count % groups != 0 {
        let shape = format!("{} has shape {:?}, {count} channels", x.label, x.shape);
        return wrong(format!("{shape}, which need to be a multiple of --groups {groups}"));
    }
    let spatial = product(spatial).filter(|spatial| *spatial > 0);
    let numbers = [Some(count), Some(groups), spatial].map(|number| u32::try_from(number?).ok());
    match numbers {
        [Some(count), Some(groups), Some(spatial)] => Ok(Some(Channels { count, groups, spatial })),
        _ => {
            wrong(format!("{} has shape {:?}: no values of a channel, or more than can be", x.label, x.shape))
        }
    }
}

fn needs_channels(x: &TensorInfo) -> String {
    let (label, shape) = (&x.label, &x.shape);
    format!(
        "{label} has shape {shape:?}, needs [samples, channels, ...] for --normalization group and instance"
    )
}

/// The columns of rows that are not the last dimension.
fn cols_of(x: &TensorInfo, cols: usize) -> Result<u32, Failure> {
    u32::try_from(cols).ok().filter(|cols| (1..=Problem::MAX_COLS).contains(cols)).ok_or_else(|| {
        Failure::WrongCall(format!(
            "{} has shape {:?}, and rows of {cols} values, which need 1 to {}",
            x.label,
            x.shape,
            Problem::MAX_COLS
        ))
    })
}

fn cols(x: &TensorInfo, given: Option<u32>) -> Result<u32, Failure> {
    if let Some(cols) = given {
        return Ok(cols);
    }
    let last = x.shape.last().copied().unwrap_or(0);
    u32::try_from(last).ok().filter(|cols| (1..=Problem::MAX_COLS).contains(cols)).ok_or_else(|| {
        Failure::WrongCall(format!(
            "{} has shape {:?}, needs a last dimension of 1 to {}; or say with --cols how long a row is",
            x.label,
            x.shape,
            Problem::MAX_COLS
        ))
    })
}

/// The dimensions before the last ones that together make up a row, if some do.
fn leading_shape(shape: &[usize], cols: usize) -> Option<Vec<usize>> {
    (0..shape.len())
        .rev()
        .find(|first| product(&shape[*first..]) == Some(cols))
        .map(|first| shape[..first].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dimensions_end_where_a_row_starts() {
        assert_eq!(leading_shape(&[2, 3, 4], 4), Some(vec![2, 3]));
        assert_eq!(leading_shape(&[2, 3, 4], 12), Some(vec![2]));
        assert_eq!(leading_shape(&[2, 3, 4], 24), Some(vec![]));
        assert_eq!(leading_shape(&[2, 3, 4], 6), None);
        assert_eq!(leading_shape(&[0, 4], 4), Some(vec![0]));
        assert_eq!(leading_shape(&[2, 1], 1), Some(vec![2]));
        assert_eq!(leading_shape(&[0, 1 << 32, 1 << 32], 4), None);
        assert_eq!(leading_shape(&[0, 1 << 32, 1 << 32, 4], 4), Some(vec![0, 1 << 32, 1 << 32]));
    }
}
