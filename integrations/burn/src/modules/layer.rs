//! Layer norm.

use crate::operations::{add_layer_norm, layer_norm};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};

/// What a [`LayerNorm`] is made of: `burn::nn::LayerNormConfig`, field for field.
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Columns of a row, the length of the last axis.
    pub d_model: usize,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there is a beta. Default: true
    #[config(default = true)]
    pub bias: bool,
}

impl LayerNormConfig {
    /// A module with a gamma of ones and a beta of zeros.
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Initializer::Ones.init([self.d_model], device),
            beta: self.bias.then(|| Initializer::Zeros.init([self.d_model], device)),
            epsilon: self.epsilon,
        }
    }
}

/// Layer norm over the last axis, [`layer_norm`](crate::layer_norm()): in place of `burn::nn::LayerNorm`,
/// whose records it reads and writes.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LayerNorm {
    /// The gain of each column.
    pub gamma: Param<Tensor<1>>,
    /// The bias of each column.
    pub beta: Option<Param<Tensor<1>>>,
    /// Added to the variance.
    epsilon: f64,
}

impl LayerNorm {
    /// Normalizes rows.
    ///
    /// # Shapes
    /// - `input`, and what is returned: `[..., d_model]`
    ///
    /// # Panics
    /// If the last axis of `input` is not `d_model`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        layer_norm(input, Some(self.gamma.val()), self.beta.as_ref().map(Param::val), self.epsilon)
    }

    /// Normalizes the rows of `input + residual`: (y, sum), as [`add_layer_norm`](crate::add_layer_norm()).
    ///
    /// # Shapes
    /// - `input`, `residual`, and both that are returned: `[..., d_model]`
    ///
    /// # Panics
    /// If the last axis of `input` is not `d_model`, or the shape or the type of `residual` is not that of
    /// `input`.
    pub fn forward_add<const D: usize>(
        &self,
        input: Tensor<D>,
        residual: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        let (gamma, beta) = (Some(self.gamma.val()), self.beta.as_ref().map(Param::val));
        add_layer_norm(input, residual, gamma, beta, self.epsilon)
    }
}

impl ModuleDisplay for LayerNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        content
            .add("d_model", &d_model)
            .add("epsilon", &self.epsilon)
            .add("bias", &self.beta.is_some())
            .optional()
    }
}
