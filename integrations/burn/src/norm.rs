//! Which norm, and what its rows are.

use burn::tensor::{DType, Shape};
use wgpu_layernorm::{Affine, Channels, Dtype, Error, Normalization, Problem};

/// A norm, whatever tensor it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// What rows are, and what is done to them.
    pub kind: Kind,
    /// Below the root.
    pub eps: f32,
}

/// What rows are, and what is done to them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Layer norm or RMS norm of rows along the last axis.
    Rows(Normalization),
    /// Layer norm of groups of channels, so many in a sample: `[samples, channels, ...]`.
    Groups(usize),
}

impl Kind {
    /// The axis that gain and bias have a value for each index of.
    pub(crate) fn parameter_axis(self, axes: usize) -> usize {
        match self {
            Self::Rows(_) => axes - 1,
            Self::Groups(_) => 1,
        }
    }
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// dx.
    pub x: bool,
    /// dgain.
    pub gain: bool,
    /// dbias.
    pub bias: bool,
}

/// Gain and bias that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    None,
    /// With the type of the gain.
    Gain(DType),
    GainBias(DType),
}

impl Norm {
    /// How many rows a tensor has.
    pub(crate) fn rows(&self, shape: &Shape) -> usize {
        match self.kind {
            Kind::Rows(_) => shape[..shape.num_dims() - 1].iter().product(),
            Kind::Groups(groups) => shape[0] * groups,
        }
    }

    /// What the kernels are asked for.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Unsupported`] where they cannot do it.
    pub(crate) fn problem(
        &self,
        shape: &Shape,
        dtype: DType,
        parameters: Parameters,
    ) -> Result<Problem, Error> {
        let affine = match parameters {
            Parameters::None => Affine::None,
            Parameters::Gain(_) => Affine::Gain,
            Parameters::GainBias(_) => Affine::GainBias,
        };
        let rows = match self.kind {
            Kind::Rows(normalization) => {
                Problem { normalization, ..Problem::layer(length(shape[shape.num_dims() - 1])?) }
            }
            Kind::Groups(groups) => {
                let spatial = shape[2..].iter().product();
                Problem::group(length(shape[1])?, length(groups)?, length(spatial)?)
            }
        };
        // Without gain and bias, groups are rows like any other.
        let channels: Option<Channels> = rows.channels.filter(|_| affine != Affine::None);
        let dtype = self::dtype(dtype)?;
        let parameter_dtype = match parameters {
            Parameters::None => dtype,
            Parameters::Gain(gain) | Parameters::GainBias(gain) => self::dtype(gain)?,
        };
        let problem = Problem { dtype, parameter_dtype, affine, channels, eps: self.eps, ..rows };
        problem.validate()?;
        Ok(problem)
    }
}

fn length(axis: usize) -> Result<u32, Error> {
    u32::try_from(axis).map_err(|_| Error::Unsupported {
        what: "length of an axis".into(),
        has: "32 bits".into(),
        needs: axis.to_string(),
    })
}

pub(crate) fn dtype(dtype: DType) -> Result<Dtype, Error> {
    match dtype {
        DType::F32 => Ok(Dtype::F32),
        DType::F16 => Ok(Dtype::F16),
        DType::BF16 => Ok(Dtype::Bf16),
        other => Err(Error::Unsupported {
            what: "type of a tensor".into(),
            has: "F32, F16 and BF16".into(),
            needs: format!("{other:?}"),
        }),
    }
}
