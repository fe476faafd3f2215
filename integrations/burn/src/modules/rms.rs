//! RMS norm.

use crate::operations::{add_rms_norm, rms_norm};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};

/// What an [`RmsNorm`] is made of: `burn::nn::RmsNormConfig`, field for field.
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Columns of a row, the length of the last axis.
    pub d_model: usize,
    /// Added to the mean of squares. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

impl RmsNormConfig {
    /// A module with a gamma of ones.
    ///
    /// # Panics
    /// If `epsilon` is not above 0, as burn's own.
    pub fn init(&self, device: &Device) -> RmsNorm {
        assert!(self.epsilon > 0.0, "epsilon of RmsNorm is {}, needs to be above 0", self.epsilon);
        RmsNorm { gamma: Initializer::Ones.init([self.d_model], device), epsilon: self.epsilon }
    }
}

/// RMS norm over the last axis, [`rms_norm`](crate::rms_norm()): in place of `burn::nn::RmsNorm`, whose
/// records it reads and writes.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RmsNorm {
    /// The gain of each column.
    pub gamma: Param<Tensor<1>>,
    /// Added to the mean of squares.
    pub epsilon: f64,
}

impl RmsNorm {
    /// Normalizes rows.
    ///
    /// # Shapes
    /// - `x`, and what is returned: `[..., d_model]`
    ///
    /// # Panics
    /// If the last axis of `x` is not `d_model`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        rms_norm(x, Some(self.gamma.val()), None, self.epsilon)
    }

    /// Normalizes the rows of `x + residual`: (y, sum), as [`add_rms_norm`](crate::add_rms_norm()).
    ///
    /// # Shapes
    /// - `x`, `residual`, and both that are returned: `[..., d_model]`
    ///
    /// # Panics
    /// If the last axis of `x` is not `d_model`, or the shape or the type of `residual` is not that of `x`.
    pub fn forward_add<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        add_rms_norm(x, residual, Some(self.gamma.val()), None, self.epsilon)
    }
}

impl ModuleDisplay for RmsNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        content.add("d_model", &d_model).add("epsilon", &self.epsilon).optional()
    }
}
