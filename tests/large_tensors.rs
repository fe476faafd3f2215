//! Tensors larger than a storage binding: calls are cut into several dispatches, and nothing of that shows in
//! results.

use wgpu_layernorm::reference::{self, BackwardOutputs};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{
    AdapterChoice, BackwardBuffers, BackwardInputs, BufferRows, Context, ForwardBuffers, Gradient, LayerNorm,
    LayerNormDescriptor, Prepared, Problem, Rows, RowsMut, adapters, describe_adapter, required_features,
    required_limits,
};

const OFFSET: usize = 5;
/// Holds 15 rows of the widest tensor here, and 7 partial sums of its dgain and dbias.
const SMALL_BINDING: u64 = 1 << 19;

fn contexts() -> [Context; 2] {
    let whole = Context::new_blocking(&AdapterChoice::Auto).expect("the tests need an adapter");
    let description = whole.description();
    let adapter = pollster::block_on(adapters())
        .into_iter()
        .find(|adapter| describe_adapter(&adapter.get_info()) == description)
        .unwrap();
    let small = wgpu::Limits { max_storage_buffer_binding_size: SMALL_BINDING, ..required_limits(&adapter) };
    let descriptor = wgpu::DeviceDescriptor {
        required_features: required_features(&adapter),
        required_limits: small,
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    [whole, Context::from_device(device, queue)]
}

/// `rows` rows from element OFFSET on, `stride` elements each.
fn values(rows: usize, stride: usize, seed: usize) -> Vec<f32> {
    (0..OFFSET + rows * stride).map(|i| ((i * 61 + seed * 17) % 127) as f32 / 8.0 - 5.0).collect()
}

struct Inputs {
    rows: usize,
    stride: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
    gain: Vec<f32>,
}

/// Forward and backward over `rows` rows from `first` on, recorded twice: y, statistics, dx, dgain, dbias and
/// the number of dispatches of backward.
fn run(
    context: &Context,
    inputs: &Inputs,
    (first, rows): (usize, usize),
    gradient: Gradient,
) -> (Vec<Vec<f32>>, usize) {
    let Inputs { stride, x, dy, gain, .. } = inputs;
    let cols = gain.len();
    let buffer = |values: &[f32]| {
        context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    };
    let place = |buffer| {
        let offset = (OFFSET + first * stride) as u64;
        BufferRows::at_element(buffer, offset).with_stride(*stride as u64)
    };
    let (x, dy, gain, bias) = (buffer(x), buffer(dy), buffer(gain), buffer(&inputs.gain));
    let [y, dx] = [(); 2].map(|()| buffer(&vec![1.0; rows * cols]));
    let [dgain, dbias] = [(); 2].map(|()| buffer(&vec![1.0; cols]));
    let statistics = buffer(&vec![0.0; rows * 2]);
    let descriptor =
        LayerNormDescriptor { cols: u32::try_from(cols).unwrap(), ..LayerNormDescriptor::default() };
    let norm = LayerNorm::new(context.kernels(), &descriptor).unwrap();
    let forward = norm
        .prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(rows as u64, place(&x), &y)
        })
        .unwrap();
    let backward = norm
        .prepare_backward(&BackwardBuffers {
            gain: Some((&gain).into()),
            dx: Some((&dx).into()),
            dgain: Some((&dgain).into()),
            dbias: Some((&dbias).into()),
            parameter_gradient: gradient,
            ..BackwardBuffers::new(rows as u64, place(&x), place(&dy), &statistics)
        })
        .unwrap();
    let calls: [&Prepared; 4] = [&forward, &backward, &forward, &backward];
    let outputs = pollster::block_on(context.run(&calls, &[&y, &statistics, &dx, &dgain, &dbias])).unwrap();
    let outputs = outputs.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect();
    (outputs, backward.dispatch_count())
}

/// dgain and dbias in float64.
fn column_sums(inputs: &Inputs) -> [Vec<f64>; 2] {
    let Inputs { rows, stride, x, dy, gain } = inputs;
    let problem = Problem { cols: u32::try_from(gain.len()).unwrap(), ..Problem::default() };
    let inputs = BackwardInputs {
        gain: Some(&gain[..]),
        ..BackwardInputs::new(
            *rows,
            Rows { data: &x[OFFSET..], stride: *stride },
            Rows { data: &dy[OFFSET..], stride: *stride },
        )
    };
    let mut sums = [vec![0.0; gain.len()], vec![0.0; gain.len()]];
    let [dgain, dbias] = &mut sums;
    let outputs = BackwardOutputs {
        dgate_input: None,
        dx: None::<RowsMut<'_, f64>>,
        dgain: Some(&mut dgain[..]),
        dbias: Some(&mut dbias[..]),
        drow_gain: None,
        dx_gradient: Gradient::Overwrite,
        parameter_gradient: Gradient::Overwrite,
        ..BackwardOutputs::default()
    };
    reference::backward(&problem, &inputs, outputs).unwrap();
    sums
}

#[test]
fn a_call_that_is_cut_gives_what_one_dispatch_gives() {
    let [whole, small] = contexts();
    // Rows that share a workgroup, rows that have one each, and rows that are too wide for registers.
    for (rows, cols, stride) in [(9000, 30, 31), (1000, 400, 403), (100, 8200, 8208)] {
        let inputs = Inputs {
            rows,
            stride,
            x: values(rows, stride, 1),
            dy: values(rows, stride, 2),
            gain: (0..cols).map(|i| 1.0 + (i % 64) as f32 / 64.0).collect(),
        };
        let expected = column_sums(&inputs);
        let all = (0, rows);
        let (uncut, uncut_dispatches) = run(&whole, &inputs, all, Gradient::Overwrite);
        let (cut, dispatches) = run(&small, &inputs, all, Gradient::Overwrite);
        assert!(uncut_dispatches == 2 && dispatches > 2, "{uncut_dispatches} and {dispatches} dispatches");
        for (name, i) in [("y", 0), ("statistics", 1), ("dx", 2)] {
            assert!(uncut[i] == cut[i], "{name} of {cols} columns");
        }
        // Recorded twice, sums that are accumulated come twice.
        let (accumulated, _) = run(&small, &inputs, all, Gradient::Accumulate);
        for (i, expected) in expected.iter().enumerate() {
            let largest = expected.iter().fold(0.0_f64, |largest, sum| largest.max(sum.abs()));
            for (times, present, got) in [(1.0, 0.0, &cut[3 + i]), (2.0, 1.0, &accumulated[3 + i])] {
                let worst =
                    got.iter().zip(expected).map(|(got, sum)| f64::from(*got) - (present + times * sum));
                let worst = worst.fold(0.0, |worst: f64, error| worst.max(error.abs()));
                assert!(
                    worst <= 1e-5 * largest,
                    "{cols} columns, sum {i} times {times}: {worst} of {largest}"
                );
            }
        }

        // A row's results do not depend on the rows beside it.
        for row in [0, 1, rows / 2, rows - 1] {
            let (alone, _) = run(&whole, &inputs, (row, 1), Gradient::Overwrite);
            for (name, i, width) in [("y", 0, cols), ("statistics", 1, 2), ("dx", 2, cols)] {
                assert!(
                    alone[i] == uncut[i][row * width..][..width],
                    "{name} of row {row} of {cols} columns"
                );
            }
        }
    }
}
