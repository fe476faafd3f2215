//! A host that builds the bind group itself, as some do: its own pipelines, one buffer for all tensors, every
//! binding `read_write` and the uniform last.

mod support;

use support::{buffer_of_bytes, context, run_bytes, values};
use wgpu_layernorm::plan::{Backward, Caps, Dispatch, Forward, Numbers, Place, Plan, Span, Tensor};
use wgpu_layernorm::reference::{self, BackwardOutputs, ForwardOutputs};
use wgpu_layernorm::shader::{Dialect, ENTRY_POINT, Layout, assemble_with};
use wgpu_layernorm::wgpu::{self, util::DeviceExt};
use wgpu_layernorm::{BackwardInputs, Context, Dtype, ForwardInputs, Gradient, Problem, Rows, RowsMut};

const ROWS: usize = 37;
const COLS: usize = 96;
const LAYOUT: Layout = Layout { uniform_last: true, read_write: true };

/// Where in the pool a tensor of float32 begins, in bytes, and its row stride.
struct Tensors(Vec<(Tensor, usize, usize)>);

impl Tensors {
    fn new() -> Self {
        let dense = ROWS * COLS;
        let sizes = [
            (Tensor::X, dense, COLS),
            (Tensor::Gain, COLS, 0),
            (Tensor::Bias, COLS, 0),
            (Tensor::Y, dense, COLS),
            // Means, and then rstds.
            (Tensor::Statistics, 2 * ROWS, 1),
            (Tensor::Dy, dense, COLS),
            (Tensor::Dx, dense, COLS),
            (Tensor::Dgain, COLS, 0),
            (Tensor::Dbias, COLS, 0),
            (Tensor::Partials, 1 << 16, COLS),
        ];
        let mut end = 0_usize;
        let place = |(tensor, elements, stride): (Tensor, usize, usize)| {
            // wgpu's bindings start on 256 bytes.
            let begin = end.next_multiple_of(256);
            end = begin + elements * 4;
            (tensor, begin, stride)
        };
        Self(sizes.into_iter().map(place).collect())
    }

    fn of(&self, tensor: Tensor) -> (usize, usize) {
        let (_, begin, stride) = self.0.iter().find(|(has, ..)| *has == tensor).unwrap();
        (*begin, *stride)
    }

    fn values(&self, pool: &[f32], tensor: Tensor, count: usize) -> Vec<f32> {
        let first = self.of(tensor).0 / 4;
        pool[first..first + count].to_vec()
    }
}

/// A dispatch with a pipeline and a bind group of the host's.
fn record(
    context: &Context,
    pass: &mut wgpu::ComputePass<'_>,
    pool: &wgpu::Buffer,
    tensors: &Tensors,
    plan: &Plan,
    dispatch: &Dispatch,
    eps: f32,
) {
    let device = context.device();
    let shader = assemble_with(plan, Dialect::Naga, LAYOUT).unwrap();
    let place = |tensor: &Tensor| match tensor {
        Tensor::Partials => plan.place_of_partials(),
        _ => Place {
            row_stride: u32::try_from(tensors.of(*tensor).1).unwrap(),
            column_stride: if *tensor == Tensor::Statistics { u32::try_from(ROWS).unwrap() } else { 1 },
            ..Place::default()
        },
    };
    let places: Vec<Place> = plan.tensors().iter().map(place).collect();
    let uniform = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &plan.uniform(dispatch, &places, &Numbers::new(eps)),
        usage: wgpu::BufferUsages::UNIFORM,
    });
    // The layout that wgpu itself reads out of the text.
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&shader.label),
        layout: None,
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(shader.source.into()),
        }),
        entry_point: Some(ENTRY_POINT),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let mut entries: Vec<_> = (0..)
        .zip(&shader.bindings)
        .map(|(binding, bound)| {
            assert_eq!((bound.binding, bound.writable), (binding, true));
            let offset = tensors.of(bound.tensor).0 as u64;
            let resource =
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: pool, offset, size: None });
            wgpu::BindGroupEntry { binding, resource }
        })
        .collect();
    let last = u32::try_from(entries.len()).unwrap();
    assert_eq!(shader.uniform, last);
    entries.push(wgpu::BindGroupEntry { binding: last, resource: uniform.as_entire_binding() });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(dispatch.workgroups[0], dispatch.workgroups[1], 1);
}

fn plans(problem: &Problem, caps: &Caps) -> [Plan; 3] {
    let overwrite = Some(Gradient::Overwrite);
    let backward = Backward { dx: overwrite, dgain: overwrite, dbias: overwrite, ..Backward::default() };
    let forward = Forward { statistics: true, ..Forward::default() };
    [
        Plan::forward(problem, forward, 4, caps).unwrap(),
        Plan::backward(problem, backward, 4, caps).unwrap(),
        Plan::reduce_parameters(problem, backward, 4, caps).unwrap(),
    ]
}

#[test]
fn a_host_with_the_uniform_last_and_everything_read_write_gets_the_reference() {
    let context = context();
    let caps = context.caps();
    let problem = Problem { cols: u32::try_from(COLS).unwrap(), ..Problem::default() };
    let [forward, backward, reduce] = plans(&problem, &caps);
    let tensors = Tensors::new();
    let image = values(1, tensors.of(Tensor::Partials).0 / 4 + (1 << 16));
    let pool = buffer_of_bytes(&context, bytemuck::cast_slice(&image));
    let span = Span { stride: COLS as u64, cols: problem.cols, ..Span::default() };
    let dispatches = |plan: &Plan| plan.dispatches(ROWS as u64, &[span], &caps).unwrap();
    let (of_forward, of_backward) = (dispatches(&forward), dispatches(&backward));
    assert_eq!([of_forward.len(), of_backward.len()], [1, 1]);
    let of_reduce = reduce.reduce_dispatch(of_backward[0].partial_rows, &caps);
    context.queue().submit([support::recorded(&context, |pass| {
        for (plan, dispatch) in
            [(&forward, &of_forward[0]), (&backward, &of_backward[0]), (&reduce, &of_reduce)]
        {
            record(&context, pass, &pool, &tensors, plan, dispatch, problem.eps);
        }
    })]);
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&run_bytes(&context, &[], &[&pool])[0]);

    let input = |tensor, count| tensors.values(&image, tensor, count);
    let (x, dy) = (input(Tensor::X, ROWS * COLS), input(Tensor::Dy, ROWS * COLS));
    let (gain, bias) = (input(Tensor::Gain, COLS), input(Tensor::Bias, COLS));
    let rows = |data| Rows { data, stride: COLS };
    let mut y = vec![0.0_f64; ROWS * COLS];
    let mut statistics = vec![[0.0_f64; 2]; ROWS];
    let inputs = ForwardInputs {
        gain: Some(&gain[..]),
        bias: Some(&bias[..]),
        ..ForwardInputs::new(ROWS, rows(&x[..]))
    };
    let outputs = ForwardOutputs {
        statistics: Some(&mut statistics),
        ..ForwardOutputs::new(RowsMut { data: &mut y, stride: COLS })
    };
    reference::forward(&problem, &inputs, outputs).unwrap();
    let (mut dx, mut dgain, mut dbias) = (vec![0.0_f64; ROWS * COLS], vec![0.0; COLS], vec![0.0; COLS]);
    let inputs =
        BackwardInputs { gain: Some(&gain[..]), ..BackwardInputs::new(ROWS, rows(&x[..]), rows(&dy[..])) };
    let outputs = BackwardOutputs {
        dx: Some(RowsMut { data: &mut dx, stride: COLS }),
        dgain: Some(&mut dgain),
        dbias: Some(&mut dbias),
        ..BackwardOutputs::default()
    };
    reference::backward(&problem, &inputs, outputs).unwrap();

    let column = |i: usize| -> Vec<f64> { statistics.iter().map(|row| row[i]).collect() };
    let mean_and_rstd = [column(0), column(1)].concat();
    let largest = |values: &[f64]| values.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let largest_x = x.iter().copied().map(f32::abs).fold(0.0, f32::max);
    // What `layernorm demo` allows: 4 units of the largest of a row, or of all of dgain and dbias. A mean is
    // made of the row's x.
    for (tensor, expected, width) in [
        (Tensor::Y, &y, COLS),
        (Tensor::Statistics, &mean_and_rstd, ROWS),
        (Tensor::Dx, &dx, COLS),
        (Tensor::Dgain, &dgain, COLS),
        (Tensor::Dbias, &dbias, COLS),
    ] {
        let got = tensors.values(&got, tensor, expected.len());
        for (row, (got, expected)) in got.chunks(width).zip(expected.chunks(width)).enumerate() {
            let is_mean = tensor == Tensor::Statistics && row == 0;
            let terms = if is_mean { f64::from(largest_x) } else { largest(expected) };
            let most = 4.0 * Dtype::F32.unit_roundoff() * terms;
            for (column, (got, expected)) in got.iter().zip(expected).enumerate() {
                let error = (f64::from(*got) - expected).abs();
                assert!(error <= most, "{}[{row}, {column}] is {got}, needs to be {expected}", tensor.name());
            }
        }
    }
    // Inputs are as they were.
    for (tensor, count) in
        [(Tensor::X, ROWS * COLS), (Tensor::Gain, COLS), (Tensor::Bias, COLS), (Tensor::Dy, ROWS * COLS)]
    {
        assert_eq!(tensors.values(&got, tensor, count), tensors.values(&image, tensor, count));
    }
}
