//! Devices with small limits, lost devices, and calls that are right where they seem wrong.

use crate::{COLS, context, context_with, norm, said, storage};
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BackwardInputs, BufferRows, BufferVector, Context, Dtype, Error,
    ForwardBuffers, ForwardInputs, Gradient, LayerNorm, LayerNormDescriptor, Problem, Rows, wgpu,
};

#[test]
fn an_error_says_which_of_many_normalizations_it_is_about() {
    let context = context();
    let descriptor = LayerNormDescriptor { label: Some("block 7, norm 2"), ..LayerNormDescriptor::rms(COLS) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let x = storage(context.device(), &[0.0; 4]);
    let error = norm.prepare_forward(&ForwardBuffers::new(1, &x, &x)).unwrap_err();
    assert_eq!(error.to_string(), "block 7, norm 2: buffer gain is missing: `affine` has a gain");
    assert!(error.is_invalid() && !error.is_unsupported());
    assert!(matches!(error.unlabeled(), Error::MissingBuffer { buffer: "gain", .. }));
    let gain = Some(BufferVector::from(&x));
    // RMS norm has a gain alone.
    norm.plan_forward(&ForwardBuffers {
        gain,
        ..ForwardBuffers::new(1, &x, &storage(context.device(), &[0.0; 4]))
    })
    .unwrap();

    let error =
        LayerNorm::new(context.kernels(), &LayerNormDescriptor { cols: 0, ..descriptor }).unwrap_err();
    assert_eq!(error.to_string(), "block 7, norm 2: cols is 0, needs to be 1 to 16777216");

    let (y, weight) = (storage(context.device(), &[0.0; 4]), storage(context.device(), &[1.0; 4]));
    let gain = Some(BufferVector::from(&weight));
    let call = norm.prepare_forward(&ForwardBuffers { gain, ..ForwardBuffers::new(1, &x, &y) }).unwrap();
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let error = call.record_rows(&mut pass, 2).unwrap_err();
    let needs = "needs to be 1 at most, as the call was prepared";
    assert_eq!(error.to_string(), format!("block 7, norm 2: rows is 2, {needs}"));
}

/// x, y, gain and bias fit in four bindings; the statistics would be the fifth.
#[test]
fn a_device_with_few_bindings_refuses_only_what_does_not_fit() {
    let context = context_with(|limits| limits.max_storage_buffers_per_shader_stage = 4);
    let device = context.device();
    let rows = |row: [f32; 4]| storage(device, &row);
    let (x, y) = (rows([1.0, 2.0, 3.0, 4.0]), rows([0.0; 4]));
    let (gain, bias, statistics) = (rows([0.0; 4]), rows([3.0, 4.0, 5.0, 6.0]), rows([0.0; 4]));
    let norm = norm(context.kernels(), Affine::GainBias, Dtype::F32);
    let fits = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        ..ForwardBuffers::new(1, &x, &y)
    };
    let error = norm
        .prepare_forward(&ForwardBuffers { statistics: Some((&statistics).into()), ..fits })
        .expect_err("five bindings");
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(
        said::<()>(Err(error)),
        "unsupported: storage buffers per shader stage is 4 on this device, needs at least 5"
    );
    let prepared = norm.prepare_forward(&fits).unwrap();
    let y = pollster::block_on(context.run(&[&prepared], &[&y])).unwrap();
    assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&y[0]), [3.0, 4.0, 5.0, 6.0]);

    let problem = Problem { cols: COLS, ..Problem::default() };
    let x = Rows { data: &[1.0, 2.0, 3.0, 4.0][..], stride: 4 };
    let (gain, bias) = (Some(&[0.0; 4][..]), Some(&[3.0_f32, 4.0, 5.0, 6.0][..]));
    let inputs = ForwardInputs { gain, bias, ..ForwardInputs::new(1, x) };
    assert!(context.forward_blocking(&problem, &inputs).unwrap_err().is_unsupported());
    let result = context.forward_without_statistics_blocking(&problem, &inputs).unwrap();
    assert_eq!((&result.y[..], &result.statistics[..]), (&[3.0, 4.0, 5.0, 6.0][..], &[][..]));
}

/// A binding of 1 MiB holds 2^18 values.
#[test]
fn a_device_with_small_bindings_refuses_only_what_does_not_fit() {
    let context = context_with(|limits| limits.max_storage_buffer_binding_size = 1 << 20);
    let device = context.device();
    let norm = |cols| {
        LayerNorm::new(
            context.kernels(),
            &LayerNormDescriptor { cols, affine: Affine::Gain, ..LayerNormDescriptor::default() },
        )
        .unwrap()
    };
    let buffer = storage(device, &vec![0.0; 4 << 18]);
    let [y, dx, gain, dgain] = [(); 4].map(|()| storage(device, &vec![0.0; (4 << 18) + 8]));
    let statistics = storage(device, &[0.0; 8]);

    let forward = ForwardBuffers { gain: Some((&gain).into()), ..ForwardBuffers::new(4, &buffer, &y) };
    assert_eq!(norm(1 << 18).prepare_forward(&forward).unwrap().dispatch_count(), 4);
    let wide = norm((1 << 18) + 8).prepare_forward(&ForwardBuffers { rows: 1, ..forward });
    assert_eq!(
        said(wide),
        "unsupported: storage buffer binding size in bytes is 1048576 on this device, needs at least 1048608 for one row of x"
    );

    let backward = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        ..BackwardBuffers::new(4, &buffer, &buffer, &statistics)
    };
    // A dispatch for each row, and one for dgain.
    assert_eq!(norm(1 << 18).prepare_backward(&backward).unwrap().dispatch_count(), 5);
    let wide = norm((1 << 18) + 8).prepare_backward(&BackwardBuffers { rows: 1, ..backward });
    let scratch = "bytes of a storage binding, for the partial sums of dgain and dbias,";
    assert_eq!(
        said(wide),
        format!("unsupported: {scratch} is 1048576 on this device, needs at least 1048608")
    );
}

#[test]
fn a_device_with_small_buffers_refuses_larger_host_rows() {
    let context = context_with(|limits| {
        limits.max_buffer_size = 1 << 20;
        limits.max_storage_buffer_binding_size = 1 << 20;
    });
    let problem = Problem { cols: 1 << 10, affine: Affine::None, ..Problem::default() };
    let data = vec![0.0_f32; 1 << 19];
    let x = Rows { data: &data[..], stride: 1 << 10 };
    let inputs = ForwardInputs::<f32, f32>::new(1 << 9, x);
    let refused = said(context.forward_blocking(&problem, &inputs));
    assert_eq!(
        refused,
        "unsupported: buffer size in bytes for x is 1048576 on this device, needs at least 2097152"
    );
}

/// A buffer ends on a whole word, with zeros that are not the caller's.
#[test]
fn a_parameter_that_ends_within_a_word_is_too_short() {
    let context = context();
    let problem = Problem { cols: 4, dtype: Dtype::F16, parameter_dtype: Dtype::F16, ..Problem::default() };
    let data = [half::f16::ONE; 4];
    let x = Rows { data: &data[..], stride: 4 };
    let inputs = ForwardInputs { gain: Some(&data[..]), bias: Some(&data[..]), ..ForwardInputs::new(1, x) };
    let short = Some(&data[..3]);
    let refused = |inputs| said(context.forward_blocking(&problem, &inputs));
    assert_eq!(
        refused(ForwardInputs { gain: short, ..inputs }),
        "invalid: buffer gain has 3 elements, needs 4"
    );
    assert_eq!(
        refused(ForwardInputs { bias: short, ..inputs }),
        "invalid: buffer bias has 3 elements, needs 4"
    );
    let inputs = BackwardInputs { gain: short, ..BackwardInputs::new(1, x, x) };
    assert_eq!(
        said(context.backward_blocking(&problem, &inputs)),
        "invalid: buffer gain has 3 elements, needs 4"
    );
}

#[test]
fn a_lost_device_is_an_error() {
    let context = context();
    let problem = Problem { cols: 4, affine: Affine::Gain, ..Problem::default() };
    let data = [1.0_f32, 2.0, 3.0, 4.0];
    let x = Rows { data: &data[..], stride: 4 };
    let gain = Some(&data[..]);
    let forward = ForwardInputs { gain, ..ForwardInputs::new(1, x) };
    let backward = BackwardInputs { gain, ..BackwardInputs::new(1, x, x) };
    let [x, y] = [(); 2].map(|()| storage(context.device(), &data));
    // The one has compiled before, the other has not.
    context.forward_blocking(&problem, &forward).unwrap();
    let norm = norm(context.kernels(), Affine::None, Dtype::F32);
    context.device().destroy();
    let is_lost = |error: Error| assert!(matches!(error, Error::Device { .. }), "{error:?}");
    is_lost(context.forward_blocking(&problem, &forward).unwrap_err());
    is_lost(context.backward_blocking(&problem, &backward).unwrap_err());
    let prepared = norm.prepare_forward(&ForwardBuffers::new(1, &x, &y));
    prepared.map_or_else(is_lost, |prepared| {
        is_lost(pollster::block_on(context.run(&[&prepared], &[&y])).unwrap_err());
    });
}

#[test]
fn no_rows_do_nothing_but_zero_the_parameter_gradients() {
    let context = context();
    let device = context.device();
    let seven = |values| storage(device, &vec![7.0; values]);
    let [x, y, dy, dx, gain, bias, statistics] = [(); 7].map(|()| seven(4));
    let norm = norm(context.kernels(), Affine::GainBias, Dtype::F32);
    let floats = |bytes: &[Vec<u8>]| -> Vec<Vec<f32>> {
        bytes.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect()
    };

    let forward = norm
        .prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(0, &x, &y)
        })
        .unwrap();
    assert_eq!(forward.dispatch_count(), 0);
    // Two outputs in one buffer, at an offset whose byte is beyond 64 bits.
    let nowhere = BufferRows::at_element(&y, u64::MAX);
    norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        residual: Some((&x).into()),
        sum: Some(nowhere),
        ..ForwardBuffers::new(0, &x, nowhere)
    })
    .unwrap();
    let kept = pollster::block_on(context.run(&[&forward], &[&y, &statistics])).unwrap();
    assert_eq!(floats(&kept), [[7.0; 4]; 2]);

    for (parameter_gradient, expected) in [(Gradient::Overwrite, 0.0), (Gradient::Accumulate, 7.0)] {
        let (dgain, dbias) = (seven(4), seven(4));
        let backward = norm
            .prepare_backward(&BackwardBuffers {
                gain: Some((&gain).into()),
                dx: Some((&dx).into()),
                dgain: Some((&dgain).into()),
                dbias: Some((&dbias).into()),
                parameter_gradient,
                ..BackwardBuffers::new(0, &x, &dy, &statistics)
            })
            .unwrap();
        let got = pollster::block_on(context.run(&[&backward], &[&dx, &dgain, &dbias])).unwrap();
        let expected = [[7.0; 4], [expected; 4], [expected; 4]];
        assert_eq!(floats(&got), expected, "{parameter_gradient:?}");
    }
}

/// Every description contains it: the first adapter is not what somebody meant.
#[test]
fn an_adapter_without_a_name_is_not_the_first() {
    for name in ["", " "] {
        let refused = said(Context::new_blocking(&AdapterChoice::Named(name.to_owned())));
        assert_eq!(refused, "invalid: the adapter's name is empty, needs to be a part of its description");
    }
}
