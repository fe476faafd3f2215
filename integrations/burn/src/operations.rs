//! The norms on burn's tensors.

use crate::backend::{Inputs, NormOps, Outputs};
use crate::fallback::{self, Reason};
use crate::kernels::{self, Stage};
use crate::norm::{Kind, Norm, Parameters};
use crate::{caps, norm, own};
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_cubecl::CubeDevice;
use wgpu_layernorm::plan::{Backward, Forward};
use wgpu_layernorm::{Error, Gradient, Normalization};

/// Layer norm over the last axis: `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` (Ba, Kiros,
/// Hinton, "Layer Normalization", 2016, equation 3), with the variance over all columns.
///
/// # Shapes
/// - `x`, and what is returned: `[..., columns]`
/// - `gamma`, `beta`: `[columns]`
///
/// # Panics
/// Where a shape is another.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    normalize(x, None, gamma, beta, Kind::Rows(Normalization::Layer), epsilon).0
}

/// RMS norm over the last axis: `y = gamma * x / sqrt(mean(x^2) + epsilon) + beta` (Zhang, Sennrich, "Root
/// Mean Square Layer Normalization", 2019, equation 4).
///
/// # Shapes
/// As [`layer_norm`].
///
/// # Panics
/// As [`layer_norm`].
pub fn rms_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    normalize(x, None, gamma, beta, Kind::Rows(Normalization::Rms), epsilon).0
}

/// [`layer_norm`] of `x + residual`, and that sum: (y, sum). One kernel, which reads both and writes both.
///
/// What is normalized is the sum as its type rounds it, as if it had been added before.
///
/// # Shapes
/// - `x`, `residual`, and both that are returned: `[..., columns]`
/// - `gamma`, `beta`: `[columns]`
///
/// # Panics
/// Where a shape is another, or x and the residual have different types.
pub fn add_layer_norm<const D: usize>(
    x: Tensor<D>,
    residual: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> (Tensor<D>, Tensor<D>) {
    let (y, sum) = normalize(x, Some(residual), gamma, beta, Kind::Rows(Normalization::Layer), epsilon);
    (y, sum.expect("there is a residual"))
}

/// [`rms_norm`] of `x + residual`, and that sum: as [`add_layer_norm`].
///
/// # Shapes
/// As [`add_layer_norm`].
///
/// # Panics
/// As [`add_layer_norm`].
pub fn add_rms_norm<const D: usize>(
    x: Tensor<D>,
    residual: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> (Tensor<D>, Tensor<D>) {
    let (y, sum) = normalize(x, Some(residual), gamma, beta, Kind::Rows(Normalization::Rms), epsilon);
    (y, sum.expect("there is a residual"))
}

/// Group norm: layer norm of groups of neighboring channels, with gamma and beta for each channel (Wu, He,
/// "Group Normalization", 2018, equations 1 and 7). With as many groups as channels it is instance norm.
///
/// # Shapes
/// - `x`, and what is returned: `[samples, channels, ...]`
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
/// Where a shape is another, or the groups do not divide the channels.
pub fn group_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    groups: usize,
    epsilon: f64,
) -> Tensor<D> {
    assert!(D >= 2, "x of group_norm has {D} axes, needs samples, channels and any others");
    let channels = x.dims()[1];
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "x of group_norm has {channels} channels, needs a multiple of the {groups} groups"
    );
    normalize(x, None, gamma, beta, Kind::Groups(groups), epsilon).0
}

fn normalize<const D: usize>(
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    kind: Kind,
    epsilon: f64,
) -> (Tensor<D>, Option<Tensor<D>>) {
    check(&x, residual.as_ref(), [("gamma", gamma.as_ref()), ("beta", beta.as_ref())], kind);
    #[allow(clippy::cast_possible_truncation, reason = "kernels compute in float32")]
    let norm = Norm { kind, eps: epsilon as f32 };
    let dtype = x.dtype();
    // Kernels take parameters in the type of rows or in float32, and both in one.
    let is_taken = |tensor: &Tensor<1>| [dtype, DType::F32].contains(&tensor.dtype());
    let wanted = match (&gamma, &beta) {
        (Some(gamma), None) if is_taken(gamma) => gamma.dtype(),
        (Some(gamma), Some(beta)) if gamma.dtype() == beta.dtype() && is_taken(gamma) => gamma.dtype(),
        _ => DType::F32,
    };
    let parameters = match (&gamma, &beta) {
        (None, _) => Parameters::None,
        (Some(_), None) => Parameters::Gain(wanted),
        (Some(_), Some(_)) => Parameters::GainBias(wanted),
    };
    if let Err(reason) = supported(&x.device(), &norm, &x.shape(), dtype, residual.is_some(), parameters) {
        fallback::warn(&reason);
        return own::normalize(x, residual, gamma, beta, kind, epsilon);
    }
    let cast = |tensor: Tensor<1>| if tensor.dtype() == wanted { tensor } else { tensor.cast(wanted) };
    // There is no kernel with a bias and no gain.
    let (of_kernel, added) = if gamma.is_some() { (beta, None) } else { (None, beta) };
    let inputs = Inputs {
        residual: residual.map(Tensor::into_dispatch).into(),
        gain: gamma.map(|gamma| cast(gamma).into_dispatch()).into(),
        bias: of_kernel.map(|beta| cast(beta).into_dispatch()).into(),
    };
    let Outputs { y, sum, .. } = Dispatch::norm_forward(x.into_dispatch(), inputs, norm, false);
    let y = Tensor::from_dispatch(y);
    let y = match added {
        Some(beta) => y + own::along(beta.cast(dtype), kind),
        None => y,
    };
    (y, sum.into_option().map(Tensor::from_dispatch))
}

/// Shapes and types that have to agree.
fn check<const D: usize>(
    x: &Tensor<D>,
    residual: Option<&Tensor<D>>,
    parameters: [(&str, Option<&Tensor<1>>); 2],
    kind: Kind,
) {
    let axis = kind.parameter_axis(D);
    let length = x.dims()[axis];
    for (name, parameter) in parameters {
        if let Some(parameter) = parameter {
            let has = parameter.dims()[0];
            assert!(
                has == length,
                "{name} has {has} values, needs {length}: one for each index of axis {axis} of x"
            );
        }
    }
    if let Some(residual) = residual {
        let (has, needs) = (residual.dims(), x.dims());
        assert!(has == needs, "the residual has shape {has:?}, needs that of x, {needs:?}");
        let (has, needs) = (residual.dtype(), x.dtype());
        assert!(has == needs, "the residual has type {has:?}, needs that of x, {needs:?}");
    }
}

/// Whether the kernels can do a call, with gradients or without.
fn supported(
    device: &Device,
    norm: &Norm,
    shape: &Shape,
    dtype: DType,
    has_residual: bool,
    parameters: Parameters,
) -> Result<(), Reason> {
    let device = cube(device.as_dispatch()).ok_or(Reason::Device)?;
    let caps = caps::of(device).map_err(Reason::Runtime)?;
    norm::dtype(dtype).map_err(|_| Reason::Type(dtype))?;
    // An empty tensor needs no kernel, so its lengths do not matter.
    if shape.num_elements() == 0 {
        return Ok(());
    }
    let limit = |error: Error| Reason::Limit(error.to_string());
    let problem = norm.problem(shape, dtype, parameters).map_err(limit)?;
    let gradient = Some(Gradient::Overwrite);
    let forward = Forward { residual: has_residual, statistics: true, ..Forward::default() };
    let backward = Backward {
        dx: gradient,
        dgain: gradient.filter(|_| problem.affine.has_gain()),
        dbias: gradient.filter(|_| problem.affine.has_bias()),
        ..Backward::default()
    };
    kernels::can_run(&problem, &[Stage::Forward(forward), Stage::Backward(backward)], &caps).map_err(limit)
}

/// The device of `CubeCL` that this is, with gradients or without.
fn cube(device: &DispatchDevice) -> Option<&CubeDevice> {
    match device {
        DispatchDevice::Cube(device) => Some(device),
        DispatchDevice::Autodiff(device) => cube(device),
        #[allow(unreachable_patterns, reason = "burn's features add devices")]
        _ => None,
    }
}
