//! Forward over buffers.

use crate::{Buffers, ROWS, WrongCalls, apart, at, norm, of_bytes, said, strided, vector};
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    Affine, BufferRows, BufferStatistics, Dtype, ForwardBuffers, LayerNorm, LayerNormDescriptor,
};

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) }
}

#[test]
fn a_wrong_call_gives_its_error_and_leaves_the_device_in_order() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
    let (device, kernels) = (context.device(), context.kernels());
    let Buffers { x, y, residual, sum, gain, bias, statistics, short, large, copy_only, .. } =
        Buffers::new(device);
    let plain = norm(kernels, Affine::None, Dtype::F32);
    let with_gain = norm(kernels, Affine::Gain, Dtype::F32);
    let full = norm(kernels, Affine::GainBias, Dtype::F32);
    let (gain_at, bias_at) = (vector(&gain, 0), vector(&bias, 0));
    let forward = ForwardBuffers::new(ROWS, &x, &y);
    let added = ForwardBuffers { residual: Some((&residual).into()), sum: Some((&sum).into()), ..forward };
    for (name, expected, norm, buffers) in [
        (
            "no gain",
            "invalid: buffer gain is missing: `affine` has a gain",
            &full,
            ForwardBuffers { bias: bias_at, ..forward },
        ),
        (
            "no bias",
            "invalid: buffer bias is missing: `affine` has a bias; many norms have a gain alone, `Affine::Gain`",
            &full,
            ForwardBuffers { gain: gain_at, ..forward },
        ),
        (
            "gain without use",
            "invalid: buffer gain was given but is not used: `affine` has no gain",
            &plain,
            ForwardBuffers { gain: gain_at, ..forward },
        ),
        (
            "bias without use",
            "invalid: buffer bias was given but is not used: `affine` has no bias",
            &with_gain,
            ForwardBuffers { gain: gain_at, bias: bias_at, ..forward },
        ),
        (
            "no output",
            "invalid: buffer y is missing: at least one of y, codes and statistics must be given",
            &plain,
            ForwardBuffers { y: None, statistics: None, ..forward },
        ),
        (
            "gain without y",
            "invalid: buffer gain was given but is not used: y is left out, and statistics do not depend on it",
            &with_gain,
            ForwardBuffers {
                gain: gain_at,
                y: None,
                statistics: vector(&statistics, 0).map(Into::into),
                ..forward
            },
        ),
        (
            "sum alone",
            "invalid: buffer sum was given but is not used: no residual was given",
            &plain,
            ForwardBuffers { residual: None, ..added },
        ),
        (
            "stride below cols",
            "invalid: y.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { y: Some(strided(&y, 3)), ..forward },
        ),
        (
            "stride 0",
            "invalid: x.stride is 0, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { x: strided(&x, 0), ..forward },
        ),
        (
            "stride of the residual",
            "invalid: residual.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { residual: Some(strided(&residual, 3)), ..added },
        ),
        (
            "stride of the sum",
            "invalid: sum.stride is 3, needs to be at least cols, 4",
            &plain,
            ForwardBuffers { sum: Some(strided(&sum, 3)), ..added },
        ),
        (
            "x short by its stride",
            "invalid: buffer x has 32 bytes, needs 36",
            &plain,
            ForwardBuffers { x: strided(&x, 5), ..forward },
        ),
        (
            "residual short",
            "invalid: buffer residual has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { residual: Some((&short).into()), ..added },
        ),
        (
            "sum short",
            "invalid: buffer sum has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { sum: Some((&short).into()), ..added },
        ),
        (
            "gain short",
            "invalid: buffer gain has 16 bytes, needs 20",
            &with_gain,
            ForwardBuffers { gain: vector(&gain, 1), ..forward },
        ),
        (
            "bias short",
            "invalid: buffer bias has 16 bytes, needs 32",
            &full,
            ForwardBuffers { gain: gain_at, bias: vector(&bias, 4), ..forward },
        ),
        (
            "x short",
            "invalid: buffer x has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { x: (&short).into(), ..forward },
        ),
        (
            "y short by its offset",
            "invalid: buffer y has 32 bytes, needs 36",
            &plain,
            ForwardBuffers { y: Some(at(&y, 1)), ..forward },
        ),
        (
            "statistics short",
            "invalid: buffer statistics has 16 bytes, needs 20",
            &plain,
            ForwardBuffers { statistics: vector(&statistics, 1).map(Into::into), ..forward },
        ),
        (
            "an offset beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { x: at(&x, u64::MAX), ..forward },
        ),
        (
            "a byte within an element",
            "invalid: the start of x is 6 bytes, needs to be a multiple of the 4 bytes of an element",
            &plain,
            ForwardBuffers { x: BufferRows::at_byte(&large, 6), ..forward },
        ),
        (
            "a slice from within an element on",
            "invalid: the start of gain is 2 bytes, needs to be a multiple of the 4 bytes of an element",
            &with_gain,
            ForwardBuffers { gain: Some(large.slice(2..).into()), ..forward },
        ),
        (
            "a slice that ends before its rows do",
            "invalid: buffer y has 28 bytes, needs 32",
            &plain,
            ForwardBuffers { y: Some(large.slice(4..32).into()), ..forward },
        ),
        (
            "a binding that ends before its rows do",
            "invalid: buffer x has 16 bytes, needs 32",
            &plain,
            ForwardBuffers { x: binding(&large, 8, 16).into(), ..forward },
        ),
        (
            "a binding beyond its buffer",
            "invalid: buffer x has 1024 bytes, needs 1028",
            &plain,
            ForwardBuffers { x: binding(&large, 996, 64).into(), ..forward },
        ),
        (
            "a slice too short for statistics",
            "invalid: buffer statistics has 12 bytes, needs 16",
            &plain,
            ForwardBuffers { statistics: Some(large.slice(0..12).into()), ..forward },
        ),
        (
            "mean and rstd in two buffers",
            "invalid: the buffer of rstd is another than that of mean, needs to be the same, because they share a \
             binding: lay them apart within one buffer, or side by side",
            &plain,
            ForwardBuffers { statistics: Some(BufferStatistics::apart(&statistics, &large)), ..forward },
        ),
        (
            "rstd in mean",
            "invalid: mean and rstd overlap: they are two tensors, and need to lie apart",
            &plain,
            ForwardBuffers { statistics: Some(apart(&large, 0, 1)), ..forward },
        ),
        (
            "a short rstd",
            "invalid: buffer rstd has 16 bytes, needs 20",
            &plain,
            ForwardBuffers { statistics: Some(apart(&statistics, 0, 3)), ..forward },
        ),
        (
            "a slice too short for mean",
            "invalid: buffer mean has 4 bytes, needs 8",
            &plain,
            ForwardBuffers {
                statistics: Some(BufferStatistics::apart(large.slice(0..4), large.slice(8..16))),
                ..forward
            },
        ),
        (
            "mean in y, with rstd behind it",
            "invalid: y and statistics overlap: {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 4, 20)), ..forward },
        ),
        (
            "rstd in y, with mean before it",
            "invalid: y and statistics overlap: {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 0, 11)), ..forward },
        ),
        (
            "y between rstd and mean",
            "no error",
            &plain,
            ForwardBuffers { y: Some(at(&large, 4)), statistics: Some(apart(&large, 12, 2)), ..forward },
        ),
        (
            "rows beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { rows: u64::MAX, ..forward },
        ),
        (
            "a stride beyond 64 bits",
            "invalid: buffer x has 32 bytes, needs 18446744073709551615",
            &plain,
            ForwardBuffers { x: strided(&x, u64::MAX), ..forward },
        ),
        (
            "no STORAGE",
            "invalid: buffer y has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { y: Some((&copy_only).into()), ..forward },
        ),
        (
            "no STORAGE of x",
            "invalid: buffer x has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { x: (&copy_only).into(), ..forward },
        ),
        (
            "no STORAGE of gain",
            "invalid: buffer gain has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &with_gain,
            ForwardBuffers { gain: vector(&copy_only, 0), ..forward },
        ),
        (
            "no STORAGE of the statistics",
            "invalid: buffer statistics has the usages BufferUsages(COPY_DST), needs BufferUsages::STORAGE",
            &plain,
            ForwardBuffers { statistics: vector(&copy_only, 0).map(Into::into), ..forward },
        ),
        (
            "y one row after x",
            "invalid: y and x overlap: {NOT_IN_PLACE}",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: Some(at(&large, 4)), ..forward },
        ),
        (
            "y as x, in longer rows",
            "invalid: y and x overlap: {NOT_IN_PLACE}",
            &plain,
            ForwardBuffers { x: at(&large, 0), y: Some(strided(&large, 5)), ..forward },
        ),
        (
            "y one row after sum",
            "invalid: y and sum overlap: {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: Some(at(&large, 4)), ..added },
        ),
        (
            "y as sum",
            "invalid: y and sum overlap: {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers { sum: Some(at(&large, 0)), y: Some(at(&large, 0)), ..added },
        ),
        (
            "y one row after the residual",
            "invalid: y and residual overlap: {NOT_IN_PLACE}",
            &plain,
            ForwardBuffers { residual: Some(at(&large, 0)), y: Some(at(&large, 4)), ..added },
        ),
        (
            "sum one row before x",
            "invalid: sum and x overlap: {NOT_IN_PLACE}",
            &plain,
            ForwardBuffers { x: at(&large, 4), sum: Some(at(&large, 0)), ..added },
        ),
        (
            "statistics in x",
            "invalid: statistics and x overlap: {READ_AND_WRITTEN}",
            &plain,
            ForwardBuffers { x: at(&large, 0), statistics: vector(&large, 7).map(Into::into), ..forward },
        ),
        (
            "bias in the statistics",
            "invalid: statistics and bias overlap: {READ_AND_WRITTEN}",
            &full,
            ForwardBuffers {
                gain: gain_at,
                bias: vector(&large, 3),
                statistics: vector(&large, 0).map(Into::into),
                ..forward
            },
        ),
        (
            "statistics in y",
            "invalid: y and statistics overlap: {WRITTEN_TWICE}",
            &plain,
            ForwardBuffers {
                y: Some(at(&large, 0)),
                statistics: vector(&large, 4).map(Into::into),
                ..forward
            },
        ),
        (
            "gain in y",
            "invalid: y and gain overlap: {READ_AND_WRITTEN}",
            &with_gain,
            ForwardBuffers { y: Some(at(&large, 0)), gain: vector(&large, 7), ..forward },
        ),
    ] {
        calls.expect(name, expected, said(norm.prepare_forward(&buffers)));
        calls.expect(name, expected, said(norm.plan_forward(&buffers)));
    }

    calls.conclude();
}

/// Three values of 16 bits: shaders read the fourth with them. bf16 needs no feature.
#[test]
fn half_a_word_is_too_short() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
    let (half, three_halves) = (of_bytes(context.device(), 8), of_bytes(context.device(), 6));
    let descriptor = LayerNormDescriptor { cols: 3, affine: Affine::None, ..LayerNormDescriptor::default() };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let norm = LayerNorm::new(context.kernels(), &LayerNormDescriptor { dtype, ..descriptor }).unwrap();
        let buffers = ForwardBuffers::new(1, &three_halves, &half);
        calls.expect(
            "half a word",
            "invalid: buffer x has 6 bytes, needs 8",
            said(norm.prepare_forward(&buffers)),
        );
        let buffers = ForwardBuffers::new(1, &half, &three_halves);
        calls.expect(
            "half a word to write",
            "invalid: buffer y has 6 bytes, needs 8",
            said(norm.prepare_forward(&buffers)),
        );
    }

    calls.conclude();
}

/// What only wgpu can know, it reports; that is returned, and does not reach the device's handler.
#[test]
fn what_wgpu_refuses_is_an_error() {
    let mut calls = WrongCalls::new();
    let context = calls.context.clone();
    let plain = norm(context.kernels(), Affine::None, Dtype::F32);
    let Buffers { x: destroyed, y, .. } = Buffers::new(context.device());
    destroyed.destroy();
    let buffers = ForwardBuffers::new(ROWS, &destroyed, &y);
    // What follows is wgpu's.
    let refused = said(plain.prepare_forward(&buffers));
    let (ours, wgpus) = refused.split_at_checked(36).unwrap_or((&refused, ""));
    calls.expect("a destroyed buffer", "failed: creating bind groups failed:", ours.to_owned());
    assert!(wgpus.contains("has been destroyed"), "{refused}");

    calls.conclude();
}
