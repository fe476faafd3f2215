//! Backward over buffers.

use crate::{Buffers, COLS, ROWS, WrongCalls, at, norm, said, strided, vector};
use wgpu_layernorm::{
    Activation, Affine, BackwardBuffers, BufferVector, Dtype, Gradient, LayerNorm, LayerNormDescriptor,
};

#[test]
fn a_wrong_call_gives_its_error_and_leaves_the_device_in_order() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
    let (device, kernels) = (context.device(), context.kernels());
    let Buffers { x, dy, dx, gain, dgain, dbias, statistics, short, large, copy_only, .. } =
        Buffers::new(device);
    let plain = norm(kernels, Affine::None, Dtype::F32);
    let with_gain = norm(kernels, Affine::Gain, Dtype::F32);
    let full = norm(kernels, Affine::GainBias, Dtype::F32);
    let silu = LayerNormDescriptor { activation: Activation::Silu, ..LayerNormDescriptor::layer(COLS) };
    let activated = LayerNorm::new(kernels, &silu).unwrap();
    let gain_at = vector(&gain, 0);
    let none = BackwardBuffers::new(ROWS, &x, &dy, &statistics);
    let backward = BackwardBuffers { dx: Some((&dx).into()), ..none };
    let all =
        BackwardBuffers { gain: gain_at, dgain: vector(&dgain, 0), dbias: vector(&dbias, 0), ..backward };
    for (name, expected, norm, buffers) in [
        (
            "no output",
            "invalid: buffer dx is missing: at least one of dx, dbranch, dgate, dgain, dbias and drow_gain must be given",
            &plain,
            none,
        ),
        ("no gain", "invalid: buffer gain is missing: `affine` has a gain", &full, backward),
        (
            "gain without use",
            "invalid: buffer gain was given but is not used: `affine` has no gain",
            &plain,
            BackwardBuffers { gain: gain_at, ..backward },
        ),
        (
            "no bias behind an activation",
            "invalid: buffer bias is missing: `affine` has a bias, and the gradient of the activation depends on it",
            &activated,
            all,
        ),
        (
            "bias without use",
            "invalid: buffer bias was given but is not used: no gradient depends on it without an activation",
            &full,
            BackwardBuffers { bias: gain_at, ..all },
        ),
        (
            "bias in dx",
            "invalid: dx and bias overlap: {READ_AND_WRITTEN}",
            &activated,
            BackwardBuffers { bias: vector(&large, 7), dx: Some(at(&large, 0)), ..all },
        ),
        (
            "stride of dy",
            "invalid: dy.stride is 3, needs to be at least cols, 4",
            &full,
            BackwardBuffers { dy: strided(&dy, 3), ..all },
        ),
        (
            "stride of dx",
            "invalid: dx.stride is 3, needs to be at least cols, 4",
            &full,
            BackwardBuffers { dx: Some(strided(&dx, 3)), ..all },
        ),
        (
            "x short by its rows",
            "invalid: buffer x has 32 bytes, needs 48",
            &full,
            BackwardBuffers { rows: 3, ..all },
        ),
        (
            "dy short",
            "invalid: buffer dy has 28 bytes, needs 32",
            &full,
            BackwardBuffers { dy: (&short).into(), ..all },
        ),
        (
            "dx short by its stride",
            "invalid: buffer dx has 32 bytes, needs 36",
            &full,
            BackwardBuffers { dx: Some(strided(&dx, 5)), ..all },
        ),
        (
            "dgain short",
            "invalid: buffer dgain has 16 bytes, needs 20",
            &full,
            BackwardBuffers { dgain: vector(&dgain, 1), ..all },
        ),
        (
            "dbias beyond 64 bits",
            "invalid: buffer dbias has 16 bytes, needs 18446744073709551615",
            &full,
            BackwardBuffers { dbias: vector(&dbias, u64::MAX), ..all },
        ),
        (
            "statistics short",
            "invalid: buffer statistics has 16 bytes, needs 24",
            &full,
            BackwardBuffers { statistics: BufferVector::at_element(&statistics, 2).into(), ..all },
        ),
        (
            "no STORAGE of dy",
            "invalid: buffer dy has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &full,
            BackwardBuffers { dy: (&copy_only).into(), ..all },
        ),
        (
            "no STORAGE of dgain",
            "invalid: buffer dgain has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &full,
            BackwardBuffers { dgain: vector(&copy_only, 0), ..all },
        ),
        (
            "dx accumulates over x",
            "invalid: dx and x overlap: {ACCUMULATED}",
            &full,
            BackwardBuffers { dx: Some((&x).into()), dx_gradient: Gradient::Accumulate, ..all },
        ),
        (
            "dx in dy",
            "invalid: dx and dy overlap: {NOT_IN_PLACE}",
            &full,
            BackwardBuffers { dy: at(&large, 0), dx: Some(at(&large, 7)), ..all },
        ),
        (
            "gain in dx",
            "invalid: dx and gain overlap: {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { gain: vector(&large, 7), dx: Some(at(&large, 0)), ..all },
        ),
        (
            "statistics in dx",
            "invalid: dx and statistics overlap: {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers {
                statistics: BufferVector::at_element(&large, 7).into(),
                dx: Some(at(&large, 0)),
                ..all
            },
        ),
        (
            "dgain in dx",
            "invalid: dx and dgain overlap: {WRITTEN_TWICE}",
            &full,
            BackwardBuffers { dx: Some(at(&large, 0)), dgain: vector(&large, 4), ..all },
        ),
        (
            "dgain as gain",
            "invalid: dgain and gain overlap: {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { dgain: vector(&gain, 0), ..all },
        ),
        (
            "dbias in x",
            "invalid: dbias and x overlap: {READ_AND_WRITTEN}",
            &full,
            BackwardBuffers { dbias: vector(&x, 4), ..all },
        ),
        (
            "dgain without gain",
            "invalid: buffer dgain was given but is not used: `affine` has no gain",
            &plain,
            BackwardBuffers { dgain: vector(&dgain, 0), ..backward },
        ),
        (
            "dbias without bias",
            "invalid: buffer dbias was given but is not used: `affine` has no bias",
            &with_gain,
            BackwardBuffers { gain: gain_at, dbias: vector(&dbias, 0), ..backward },
        ),
        (
            "dsum beside a dx that accumulates",
            "invalid: buffer dsum was given but is not used: dx accumulates: give the buffer that holds dsum as dx instead",
            &plain,
            BackwardBuffers { dsum: Some((&dy).into()), dx_gradient: Gradient::Accumulate, ..backward },
        ),
        (
            "dsum without dx",
            "invalid: buffer dsum was given but is not used: it is added into dx, which is not asked for",
            &with_gain,
            BackwardBuffers {
                gain: gain_at,
                dgain: vector(&dgain, 0),
                dx: None,
                dsum: Some((&dy).into()),
                ..backward
            },
        ),
        (
            "dx accumulates over dy",
            "invalid: dx and dy overlap: {ACCUMULATED}",
            &plain,
            BackwardBuffers { dx: Some((&dy).into()), dx_gradient: Gradient::Accumulate, ..none },
        ),
        (
            "dx one row after x",
            "invalid: dx and x overlap: {NOT_IN_PLACE}",
            &plain,
            BackwardBuffers { x: at(&large, 0), dx: Some(at(&large, 4)), ..none },
        ),
        (
            "dgain and dbias share a value",
            "invalid: dgain and dbias overlap: {WRITTEN_TWICE}",
            &full,
            BackwardBuffers { gain: gain_at, dgain: vector(&large, 0), dbias: vector(&large, 3), ..none },
        ),
    ] {
        calls.expect(name, expected, said(norm.prepare_backward(&buffers)));
        calls.expect(name, expected, said(norm.plan_backward(&buffers)));
    }

    calls.conclude();
}
