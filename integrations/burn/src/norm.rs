//! Which norm, and what its rows are.

use burn::tensor::{DType, Shape};
use wgpu_layernorm::{Affine, Channels, Dtype, Error, Normalization, Problem};

/// A norm, whatever tensor it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Layer norm or RMS norm.
    pub normalization: Normalization,
    /// Below the root.
    pub eps: f32,
    /// Rows are groups of channels, `[samples, channels, ...]`; else they are along the last axis.
    pub groups: Option<usize>,
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
        let axes = self.groups.map_or(shape.num_dims() - 1, |_| 1);
        shape[..axes].iter().product::<usize>() * self.groups.unwrap_or(1)
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
        let rows = match self.groups {
            None => Problem::layer(length(shape[shape.num_dims() - 1])?),
            Some(groups) => {
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
        let problem = Problem {
            dtype,
            parameter_dtype,
            normalization: self.normalization,
            affine,
            channels,
            eps: self.eps,
            ..rows
        };
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
