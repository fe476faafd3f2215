//! `bench` on the machine's adapter: every operation and storage is checked and timed, and what cannot be says so.
#![cfg(feature = "gpu")]

use std::time::Duration;
use wgpu_layernorm::bench::{
    Bench, Clock, CopyForm, CopyKernel, Measurement, Operation, Options, Workload, open,
};
use wgpu_layernorm::{AdapterChoice, Context, Dtype, Error, Normalization, adapters, wgpu};

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
    }
    for (workload, result) in workloads.iter().zip(measure(&workloads)) {
        let name = workload.name();
        let measurement = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(measurement.failures, [""; 0], "{name}");
        assert!(!measurement.plans.is_empty(), "{name}");
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
