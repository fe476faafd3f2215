//! `bench` on the machine's adapter: every operation and storage is checked and timed, and what cannot be
//! says so.

use std::time::Duration;
use wgpu_layernorm::bench::{
    Bench, Clock, CopyForm, CopyKernel, Measurement, Operation, Options, Workload, open,
};
use wgpu_layernorm::plan::{
    AdapterKind, Backward, Forward, Operation as PlanOperation, Plan, Tensor, Tuning, TuningEntry, TuningKey,
};
use wgpu_layernorm::verify::{self, Layout, tuned_cases};
use wgpu_layernorm::{
    Activation, AdapterChoice, Channels, Context, Dtype, Error, Gradient, Normalization, Problem,
    adapter_info_of_device, adapters, tuned_adapter, wgpu,
};

/// As little time and memory as it can do with.
const SHORT: Options =
    Options { budget: Duration::ZERO, least_submit: Duration::from_micros(500), rotation_bytes: 1 << 18 };

fn measure(workloads: &[Workload]) -> Vec<Result<Measurement, Error>> {
    pollster::block_on(async {
        let adapters = adapters().await;
        let context = open(adapters.first().expect("an adapter")).await.unwrap();
        let mut bench = Bench::new(&context, SHORT).unwrap();
        let mut results = Vec::new();
        for workload in workloads {
            results.push(bench.measure(workload).await);
        }
        results
    })
}

#[test]
fn tuning_finds_a_rung_that_is_right_or_keeps_the_ladder() {
    let context = pollster::block_on(async {
        open(adapters().await.first().expect("an adapter")).await.expect("an adapter that opens")
    });
    let mut bench = Bench::new(&context, SHORT).unwrap();
    let adapter = tuned_adapter(&adapter_info_of_device(context.device()));
    let mut tuning = Tuning::default();
    for (operation, dtype, normalization, cols) in [
        (Operation::ForwardResidual, Dtype::F16, Normalization::Rms, 40),
        (Operation::Backward, Dtype::F32, Normalization::Layer, 24),
    ] {
        let workload = Workload::new(operation, normalization, dtype, 100, cols);
        let name = workload.name();
        // Ten times as long as the ladder's is fast enough here, so one wins, and no finite time is.
        let mut steps = Vec::new();
        let won = pollster::block_on(bench.tune(&workload, -0.9, |done, of| {
            steps.push((done, of));
            true
        }));
        let won = won.unwrap_or_else(|error| panic!("{name}: {error}")).expect("nobody has stopped it");
        assert_eq!(won.failures, [], "{name}");
        assert!(won.candidates > 2, "{name}: {} candidates", won.candidates);
        let count = won.candidates + 1;
        assert_eq!(steps[..count], (0..count).map(|done| (done, count)).collect::<Vec<_>>(), "{name}");
        assert!(won.entry.rung.is_some() && won.entry.speedup >= 0.1, "{name}: {:?}", won.entry);
        assert_eq!(won.entry.key, bench.tuning_key(&workload));
        assert_eq!(won.entry.key.adapter, adapter);
        tuning.insert(won.entry).unwrap();
    }
    let workload = Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, 100, 64);
    let kept = pollster::block_on(bench.tune(&workload, f64::INFINITY, |_, _| true)).unwrap().unwrap();
    assert_eq!((kept.entry.rung, kept.entry.speedup), (None, 1.0));
    let stopped = pollster::block_on(bench.tune(&workload, 0.05, |done, _| done < 2)).unwrap();
    assert_eq!(stopped, None);

    // The library's own cases, on the rungs that won.
    let cases = tuned_cases(&tuning);
    let with_tuning = context.clone().with_tuning(tuning);
    let mut tuned = 0;
    for case in &cases {
        let name = case.name();
        let outcome = pollster::block_on(verify::run(&with_tuning, case));
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(outcome.failures, [""; 0], "{name}");
        assert!(outcome.is_tuned || case.layout != Layout::Dense, "{name} ran on the ladder's plan");
        tuned += usize::from(outcome.is_tuned);
    }
    let by_ladder = pollster::block_on(verify::run(&context, &cases[0])).unwrap();
    assert!(!by_ladder.is_tuned, "{}", cases[0].name());
    assert!(tuned >= 20, "{tuned} of {} cases are tuned", cases.len());
}

#[test]
fn candidates_give_right_results() {
    let context = pollster::block_on(Context::new(&AdapterChoice::Auto)).unwrap();
    let adapter = tuned_adapter(&adapter_info_of_device(context.device()));
    for (kind, every) in [(AdapterKind::Software, 3), (AdapterKind::Gpu, 5)] {
        let context = context.clone().with_ladder(kind);
        for (cols, operation) in [
            (104, PlanOperation::Forward(Forward { statistics: true, ..Forward::default() })),
            (104, PlanOperation::Backward(GRADIENTS)),
        ] {
            let problem = Problem { cols, ..Problem::default() };
            let rungs = Plan::candidates(&problem, operation, 4, &context.caps()).unwrap();
            assert!(rungs.len() > 5, "{} candidates", rungs.len());
            for rung in rungs.into_iter().skip(1).step_by(every) {
                let key = TuningKey {
                    adapter: adapter.clone(),
                    operation: operation.name().to_owned(),
                    normalization: problem.normalization,
                    dtype: problem.dtype,
                    cols,
                    vector_width: 4,
                };
                let mut tuning = Tuning::default();
                tuning.insert(TuningEntry { key, rows: 37, rung: Some(rung), speedup: 1.0 }).unwrap();
                // A number of rows that none of the numbers in the rung divides.
                let cases = tuned_cases(&tuning);
                let case = cases.iter().find(|case| case.rows == 37).unwrap();
                let context = context.clone().with_tuning(tuning);
                let outcome = pollster::block_on(verify::run(&context, case)).unwrap();
                assert!(outcome.is_tuned, "{rung:?}");
                assert_eq!(outcome.failures, [""; 0], "{kind:?}: {rung:?}");
            }
        }
    }
}

const GRADIENTS: Backward = Backward {
    dx: Some(Gradient::Overwrite),
    dgain: Some(Gradient::Overwrite),
    dbias: Some(Gradient::Overwrite),
    ..Backward::new()
};

#[test]
fn every_operation_is_checked_and_timed() {
    let mut workloads = Vec::new();
    for operation in Operation::ALL {
        for (dtype, normalization, rows, cols) in [
            (Dtype::F32, Normalization::Layer, 640, 64),
            // A last word of a copy that is not whole, and rows that share words.
            (Dtype::F16, Normalization::Rms, 37, 77),
            (Dtype::Bf16, Normalization::Layer, 5, 1001),
            // More than one block of the check.
            (Dtype::F32, Normalization::Layer, 1300, 301),
        ] {
            workloads.push(Workload::new(operation, normalization, dtype, rows, cols));
        }
        // Parameters in float32 beside rows in 16 bits.
        for (dtype, cols) in [(Dtype::F16, 104), (Dtype::Bf16, 77)] {
            let narrow = Workload::new(operation, Normalization::Layer, dtype, 37, cols);
            let mixed = narrow.with_parameter_dtype(Dtype::F32);
            assert!(mixed.name().contains("_f32_parameters"), "{}", mixed.name());
            workloads.push(mixed);
        }
    }
    for (workload, result) in workloads.iter().zip(measure(&workloads)) {
        let name = workload.name();
        let measurement = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(measurement.failures, [""; 0], "{name}");
        assert!(!measurement.plans.is_empty(), "{name}");
        for plan in &measurement.plans {
            let is_f32 = workload.problem.parameter_dtype == Dtype::F32;
            assert_eq!(plan.storage(Tensor::Gain).name() == "f32", is_f32, "{name}: {plan:?}");
        }
        assert!(measurement.errors.iter().all(|error| error.units <= error.allowed), "{name}");
        let timing = measurement.timing.unwrap_or_else(|| panic!("{name} is right, but not timed"));
        assert!(timing.rounds >= Options::LEAST_ROUNDS, "{name}: {timing:?}");
        assert!(timing.sets % 2 == 1 && timing.sets <= Options::MOST_SETS, "{name}: {timing:?}");
        for summary in [timing.call, timing.copy] {
            assert!(0.0 < summary.p10 && summary.p10 <= summary.median && summary.median <= summary.p90);
            assert!(summary.p90 < 10.0, "seconds a call: {name}: {timing:?}");
        }
        assert_eq!(timing.bytes, workload.bytes());
        let ratio = timing.gigabytes_per_second() / timing.copy_gigabytes_per_second();
        assert!((timing.copy_ratio() / ratio - 1.0).abs() < 1e-9, "{name}: {timing:?}");
    }
}

#[test]
fn outputs_of_a_call_are_what_its_errors_are_of() {
    let layer = |operation| Workload::new(operation, Normalization::Layer, Dtype::F32, 9, 40);
    let results = measure(&Operation::ALL.map(layer));
    let tensors: Vec<Vec<&str>> = results
        .iter()
        .map(|result| result.as_ref().unwrap().errors.iter().map(|error| error.tensor.name()).collect())
        .collect();
    assert_eq!(tensors, [&["y"][..], &["sum", "y"], &["dx", "dgain", "dbias"], &["dx"]]);
}

/// Group norm, whose rows of one sample have parameters of their own.
#[test]
fn rows_of_channels_are_checked_and_timed() {
    let channels = Channels::new(12, 3, 20);
    let of = |operation, dtype| {
        Workload::new(operation, Normalization::Layer, dtype, 300, 80).with_channels(channels)
    };
    let workloads = [
        of(Operation::Forward, Dtype::F32),
        of(Operation::Backward, Dtype::F32),
        of(Operation::Backward, Dtype::F16),
        of(Operation::Forward, Dtype::F32).with_activation(Activation::Silu),
        of(Operation::Backward, Dtype::F32).with_activation(Activation::Silu),
    ];
    for result in measure(&workloads) {
        let Measurement { workload, failures, timing, .. } = result.unwrap();
        assert!(failures.is_empty() && timing.is_some(), "{}: {failures:?}", workload.name());
    }
    let context = Context::new_blocking(&AdapterChoice::Auto).unwrap();
    let mut bench = Bench::new(&context, SHORT).unwrap();
    let error = pollster::block_on(bench.tune(&workloads[0], 0.1, |_, _| true)).unwrap_err();
    assert!(error.to_string().contains("a value for each column"), "{error}");
}

#[test]
fn a_workload_that_cannot_be_is_an_error() {
    let workload =
        |rows, cols| Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, rows, cols);
    for result in measure(&[workload(0, 8), workload(1, 0), workload(1 << 39, 4)]) {
        assert!(result.unwrap_err().is_invalid());
    }
    // 64 GiB a tensor: more than a buffer may have.
    let error = measure(&[workload(1 << 20, 1 << 14)]).remove(0).unwrap_err();
    assert!(error.is_unsupported() || matches!(error, Error::Device { .. }), "{error}");
}

#[test]
fn every_form_of_copy_copies() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
    let device = context.device();
    let limits = device.limits();
    // Some that fill their workgroups, and some that do not.
    for words in [1, 2047, 2048, 65_536] {
        let bytes = words * CopyKernel::WORD;
        let [length, size] = [bytes, bytes + CopyKernel::WORD].map(|bytes| usize::try_from(bytes).unwrap());
        let buffer = |fill: Option<u8>| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                // One word more, which has to stay as it is.
                size: size as u64,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            if let Some(fill) = fill {
                let content: Vec<u8> =
                    (0..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(fill)).take(length).collect();
                context.queue().write_buffer(&buffer, 0, &content);
            }
            buffer
        };
        for form in CopyForm::ALL {
            for (inputs, outputs) in [(1, 1), (2, 1), (2, 2)] {
                let name = format!("{} of {words} words, {inputs} to {outputs}", form.name());
                let inputs: Vec<_> = [3, 7][..inputs].iter().map(|fill| buffer(Some(*fill))).collect();
                let outputs: Vec<_> = (0..outputs).map(|_| buffer(None)).collect();
                let is_whole = form.is_whole(bytes, &limits);
                let kernel = CopyKernel::new(device, form, inputs.len(), outputs.len(), is_whole).unwrap();
                let call = kernel
                    .call(
                        device,
                        bytes,
                        &inputs.iter().collect::<Vec<_>>(),
                        &outputs.iter().collect::<Vec<_>>(),
                    )
                    .unwrap();
                let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                call.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
                context.queue().submit([encoder.finish()]);
                let download = |buffers: &[wgpu::Buffer]| {
                    pollster::block_on(context.run(&[], &buffers.iter().collect::<Vec<_>>())).unwrap()
                };
                let mut expected = vec![0; size];
                for input in download(&inputs) {
                    expected.iter_mut().zip(&input[..length]).for_each(|(word, input)| *word ^= input);
                }
                assert!(download(&outputs).iter().all(|output| *output == expected), "{name}");
            }
        }
    }
    let form = CopyForm::ALL[0];
    let whole = CopyKernel::new(device, form, 1, 1, true).unwrap();
    let (small, large) = (buffer_of(device, 16), buffer_of(device, 1 << 20));
    let call = |bytes, input, output| whole.call(device, bytes, &[input], &[output]).map(drop);
    assert!(call(16, &small, &large).unwrap_err().is_invalid(), "not a whole workgroup");
    assert!(call(1 << 20, &small, &large).unwrap_err().is_invalid(), "an input that is too small");
    assert!(call(24, &large, &large).unwrap_err().is_invalid(), "half a word");
    assert!(whole.call(device, 1 << 20, &[&large, &large], &[&large]).is_err(), "one input too many");
    assert!(CopyKernel::new(device, form, 0, 1, true).unwrap_err().is_invalid());
}

fn buffer_of(device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    })
}

#[test]
fn a_device_without_timestamps_is_timed_by_the_wall_clock() {
    // Opened for the kernels alone.
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
    assert!(!context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY));
    let workload = Workload::new(Operation::Forward, Normalization::Layer, Dtype::F32, 64, 64);
    let mut bench = Bench::new(&context, SHORT).unwrap();
    let timing = pollster::block_on(bench.measure(&workload)).unwrap().timing.unwrap();
    assert_eq!(timing.clock, Clock::Wall);
    // A submit of all calls of a round is as long as was asked for, more or less.
    let submit = timing.call.p90 * f64::from(timing.calls[0]);
    assert!(submit > SHORT.least_submit.as_secs_f64() / 4.0, "{timing:?}");
}

#[test]
fn clocks_have_names() {
    assert_eq!([Clock::GpuTimestamps, Clock::Wall].map(Clock::name), ["gpu_timestamps", "wall"]);
}
