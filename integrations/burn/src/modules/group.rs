//! Group norm.

use crate::operations::group_norm;
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};

/// What a [`GroupNorm`] is made of: `burn::nn::GroupNormConfig`, field for field.
#[derive(Config, Debug)]
pub struct GroupNormConfig {
    /// Groups of a sample.
    pub num_groups: usize,
    /// Channels of a sample.
    pub num_channels: usize,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta. Default: true
    #[config(default = true)]
    pub affine: bool,
}

impl GroupNormConfig {
    /// A module with a gamma of ones and a beta of zeros, or with neither.
    ///
    /// # Panics
    /// If the groups do not divide the channels, as burn's own.
    pub fn init(&self, device: &Device) -> GroupNorm {
        let Self { num_groups, num_channels, epsilon, affine } = *self;
        assert!(
            num_groups > 0 && num_channels.is_multiple_of(num_groups),
            "num_channels of GroupNorm is {num_channels}, needs to be a multiple of num_groups, {num_groups}"
        );
        GroupNorm {
            gamma: affine.then(|| Initializer::Ones.init([num_channels], device)),
            beta: affine.then(|| Initializer::Zeros.init([num_channels], device)),
            num_groups,
            num_channels,
            epsilon,
            affine,
        }
    }
}

/// Group norm, [`group_norm`](crate::group_norm()): in place of `burn::nn::GroupNorm`, whose records it reads
/// and writes.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GroupNorm {
    /// The gain of each channel.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The bias of each channel.
    pub beta: Option<Param<Tensor<1>>>,
    /// Groups of a sample.
    pub num_groups: usize,
    /// Channels of a sample.
    pub num_channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether there are gamma and beta.
    pub affine: bool,
}

impl GroupNorm {
    /// Normalizes the groups of channels of each sample.
    ///
    /// # Shapes
    /// - `input`, and what is returned: `[samples, num_channels, ...]`
    ///
    /// # Panics
    /// If the second axis of `input` is not `num_channels`, or `affine` is true and gamma or beta is missing.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let has = input.shape().get(1).copied().unwrap_or(0);
        let needs = self.num_channels;
        assert!(has == needs, "input of GroupNorm has {has} channels in its second axis, needs {needs}");
        let [gamma, beta] = [&self.gamma, &self.beta].map(|it| it.as_ref().map(Param::val));
        let [gamma, beta] = match self.affine {
            true => {
                assert!(gamma.is_some() && beta.is_some(), "affine of GroupNorm needs gamma and beta");
                [gamma, beta]
            }
            false => [None, None],
        };
        group_norm(input, gamma, beta, self.num_groups, self.epsilon)
    }
}

impl ModuleDisplay for GroupNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("num_groups", &self.num_groups)
            .add("num_channels", &self.num_channels)
            .add("epsilon", &self.epsilon)
            .add("affine", &self.affine)
            .optional()
    }
}
