//! Which kernels a call launches, each counted once. `CubeCL` collects those of the whole process: this test
//! is alone in it.

mod common;

use burn::tensor::Tensor;
use common::{Inputs, device, vector};
use cubecl_runtime::launched::LaunchedKernels;
use std::collections::HashSet;
use wgpu_layernorm_burn::{add_layer_norm, kernels, layer_norm};

/// The kernels that are launched until the device has run all.
fn launched<T>(call: impl FnOnce() -> T) -> (T, HashSet<String>) {
    device().sync().unwrap();
    let kernels = LaunchedKernels::new();
    let result = call();
    device().sync().unwrap();
    (result, kernels.finish().into_iter().map(|hash| format!("{hash:?}")).collect())
}

/// Whole rows take one kernel forward and two backward, and views of them are not copied.
#[test]
fn whole_rows_take_one_kernel_forward_and_two_backward() {
    let tracked = device().autodiff();
    let inputs = Inputs::new(&[64, 256], 256, 0.0, true, true);
    let x = inputs.tensor::<2>(&inputs.x, &tracked).require_grad();
    let [gain, bias] =
        [&inputs.gain, &inputs.bias].map(|it| vector(it.as_ref().unwrap(), &tracked).require_grad());

    let (y, forward) = launched(|| layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), 1e-5));
    assert_eq!(forward.len(), 1, "{forward:?}");

    // One of them is burn's own, which makes the gradient of ones that backward begins with.
    let (_, backward) = launched(|| y.backward());
    assert_eq!(backward.len(), 1 + 2, "{backward:?}");

    // dx alone leaves nothing to add up.
    let fixed = |tensor: &Tensor<1>| Some(Tensor::from_inner(tensor.clone().inner()));
    let y = layer_norm(x.clone(), fixed(&gain), fixed(&bias), 1e-5);
    let (_, backward) = launched(|| y.backward());
    assert_eq!(backward.len(), 1 + 1, "{backward:?}");

    // The sum with a residual is made in the same kernel.
    let (_, forward) = launched(|| add_layer_norm(x.clone(), x.clone(), fixed(&gain), fixed(&bias), 1e-5));
    assert_eq!(forward.len(), 1, "{forward:?}");

    // Views are read where they lie.
    let plain = x.clone().inner();
    let transposed = plain.clone().transpose();
    let (_, forward) = launched(|| layer_norm(transposed, None, None, 1e-5));
    assert_eq!(forward.len(), 1, "transposed: {forward:?}");
    let heads: Tensor<3> = plain.clone().reshape([16, 4, 256]).swap_dims(0, 1);
    let (_, forward) = launched(|| layer_norm(heads, None, None, 1e-5));
    assert_eq!(forward.len(), 1, "heads: {forward:?}");
    let slice = plain.slice([0..64, 64..192]);
    let (_, forward) = launched(|| layer_norm(slice, None, None, 1e-5));
    assert_eq!(forward.len(), 1, "a slice: {forward:?}");

    // The same again makes no kernel.
    let made = kernels();
    let y = layer_norm(x.clone() + 1.0, Some(gain), Some(bias), 1e-3);
    y.backward();
    device().sync().unwrap();
    assert_eq!(kernels(), made);
}
