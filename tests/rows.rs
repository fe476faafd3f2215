//! A prepared call is recorded with as many rows as a step has: each result is that of a call for exactly
//! these rows.

mod support;

use support::{buffer, context, recorded, run, values, write};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    BackwardBuffers, Context, Error, ForwardBuffers, Gradient, Kernels, LayerNorm, LayerNormDescriptor,
    Prepared,
};

/// All tensors of a training step of one norm, for some rows.
struct Step {
    norm: LayerNorm,
    gain: wgpu::Buffer,
    bias: wgpu::Buffer,
    x: wgpu::Buffer,
    dy: wgpu::Buffer,
    y: wgpu::Buffer,
    statistics: wgpu::Buffer,
    dx: wgpu::Buffer,
    dgain: wgpu::Buffer,
    dbias: wgpu::Buffer,
}

impl Step {
    fn new(context: &Context, kernels: &Kernels, cols: usize, rows: usize, row_split: RowSplit) -> Self {
        let descriptor = LayerNormDescriptor {
            cols: u32::try_from(cols).unwrap(),
            row_split,
            ..LayerNormDescriptor::default()
        };
        let of = |seed, count| buffer(context, &values(seed, count));
        Self {
            norm: LayerNorm::new(kernels, &descriptor).unwrap(),
            gain: of(1, cols),
            bias: of(2, cols),
            x: of(3, rows * cols),
            dy: of(4, rows * cols),
            y: of(5, rows * cols),
            statistics: of(6, rows * 2),
            dx: of(7, rows * cols),
            dgain: of(8, cols),
            dbias: of(9, cols),
        }
    }

    fn calls(&self, rows: usize, parameter_gradient: Gradient) -> [Prepared; 2] {
        let forward = self.norm.prepare_forward(&ForwardBuffers {
            gain: Some((&self.gain).into()),
            bias: Some((&self.bias).into()),
            statistics: Some((&self.statistics).into()),
            ..ForwardBuffers::new(rows as u64, &self.x, &self.y)
        });
        let backward = self.norm.prepare_backward(&BackwardBuffers {
            gain: Some((&self.gain).into()),
            dx: Some((&self.dx).into()),
            dgain: Some((&self.dgain).into()),
            dbias: Some((&self.dbias).into()),
            parameter_gradient,
            ..BackwardBuffers::new(rows as u64, &self.x, &self.dy, &self.statistics)
        });
        [forward.unwrap(), backward.unwrap()]
    }

    fn outputs(&self) -> [&wgpu::Buffer; 5] {
        [&self.y, &self.statistics, &self.dx, &self.dgain, &self.dbias]
    }

    /// The bits of all outputs after `work` on buffers as they were at first.
    fn after(&self, context: &Context, work: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Vec<Vec<u32>> {
        for (seed, output) in [5, 6, 7, 8, 9].into_iter().zip(self.outputs()) {
            let count = usize::try_from(output.size() / 4).unwrap();
            write(context, output, &values(seed, count));
        }
        context.queue().submit([recorded(context, work)]);
        run(context, &[], &self.outputs())
    }
}

/// Widths of each kernel on a software adapter and on a GPU, and rows around the numbers at which slots get
/// more rows.
#[test]
fn fewer_rows_give_the_bits_of_a_call_for_so_many() {
    let context = context();
    for (cols, capacity, row_split) in
        [(96, 300, RowSplit::Never), (20_000, 40, RowSplit::Never), (9000, 40, RowSplit::Wide)]
    {
        let kernels = Kernels::new(context.device(), context.queue());
        let step = Step::new(&context, &kernels, cols, capacity, row_split);
        for gradient in [Gradient::Overwrite, Gradient::Accumulate] {
            let [forward, backward] = step.calls(capacity, gradient);
            assert_eq!([forward.rows(), backward.rows()], [capacity as u64; 2]);
            for rows in [1, 0, capacity - 1, capacity, capacity / 2 + 1, 7, 1] {
                let [exact_forward, exact_backward] = step.calls(rows, gradient);
                let exact = step.after(&context, |pass| {
                    exact_forward.record(pass);
                    exact_backward.record(pass);
                });
                let fewer = step.after(&context, |pass| {
                    forward.record_rows(pass, rows as u64).unwrap();
                    backward.record_rows(pass, rows as u64).unwrap();
                });
                for (name, (exact, fewer)) in
                    ["y", "statistics", "dx", "dgain", "dbias"].iter().zip(exact.iter().zip(&fewer))
                {
                    assert!(exact == fewer, "{name} of {rows} of {capacity} rows of {cols}, {gradient:?}");
                }
                if rows == 0 && gradient == Gradient::Overwrite {
                    assert_eq!(fewer[3..], [vec![0; cols], vec![0; cols]], "sums over no rows");
                }
            }
        }
    }
}

#[test]
fn rows_that_are_cut_into_several_dispatches_change_too() {
    // A binding of 1 MiB holds 16 of these rows.
    let few_bytes = |limits: &mut wgpu::Limits| limits.max_storage_buffer_binding_size = 1 << 20;
    let context = support::context_with(few_bytes);
    let (cols, capacity) = (1 << 14, 50);
    let step = Step::new(&context, context.kernels(), cols, capacity, RowSplit::Never);
    let [forward, backward] = step.calls(capacity, Gradient::Overwrite);
    assert_eq!([forward.dispatch_count(), backward.dispatch_count()], [4, 5]);
    for rows in [3, 16, 17, 49, 0, 50] {
        let [exact_forward, exact_backward] = step.calls(rows, Gradient::Overwrite);
        let exact = step.after(&context, |pass| {
            exact_forward.record(pass);
            exact_backward.record(pass);
        });
        let fewer = step.after(&context, |pass| {
            forward.record_rows(pass, rows as u64).unwrap();
            backward.record_rows(pass, rows as u64).unwrap();
        });
        assert!(exact == fewer, "{rows} of {capacity} rows");
    }
}

/// Row counts in one pass, each over what the one before has left: rows beyond the last call's are the
/// earlier ones'.
#[test]
fn one_submit_has_several_numbers_of_rows() {
    let context = context();
    let (cols, capacity) = (64, 40);
    let step = Step::new(&context, context.kernels(), cols, capacity, RowSplit::Never);
    let [forward, _] = step.calls(capacity, Gradient::Overwrite);
    let [exact, _] = step.calls(30, Gradient::Overwrite);
    let expected = step.after(&context, |pass| exact.record(pass));
    let got = step.after(&context, |pass| {
        for rows in [30, 2, 0, 17] {
            forward.record_rows(pass, rows).unwrap();
        }
    });
    assert!(expected == got);
    // Over other x, so that the rows of each count show.
    let twice: Vec<f32> = values(3, capacity * cols).iter().map(|x| x * x - 1.0).collect();
    let all = step.after(&context, |pass| forward.record(pass));
    write(&context, &step.x, &twice);
    let all_twice = step.after(&context, |pass| forward.record(pass));
    write(&context, &step.x, &values(3, capacity * cols));
    step.after(&context, |pass| forward.record_rows(pass, 30).unwrap());
    write(&context, &step.x, &twice);
    context.queue().submit([recorded(&context, |pass| forward.record_rows(pass, 4).unwrap())]);
    let y = &run(&context, &[], &[&step.y])[0];
    assert!(y[..4 * cols] == all_twice[0][..4 * cols], "the later call's rows");
    assert!(y[4 * cols..30 * cols] == all[0][4 * cols..30 * cols], "the earlier call's rows");
}

/// What was recorded does not change, whatever is recorded and submitted before it is.
#[test]
fn what_was_recorded_stays_as_it_is() {
    let context = context();
    let (cols, capacity) = (200, 600);
    let kernels = Kernels::new(context.device(), context.queue());
    let step = Step::new(&context, &kernels, cols, capacity, RowSplit::Never);
    let [forward, backward] = step.calls(capacity, Gradient::Overwrite);
    let record = |rows: u64| {
        recorded(&context, |pass| {
            forward.record_rows(pass, rows).unwrap();
            backward.record_rows(pass, rows).unwrap();
        })
    };
    let [exact_forward, exact_backward] = step.calls(37, Gradient::Overwrite);
    let expected = step.after(&context, |pass| {
        exact_forward.record(pass);
        exact_backward.record(pass);
    });
    drop((exact_forward, exact_backward));

    let late = record(37);
    // More numbers than a call remembers, so that 37 is forgotten, and more than one buffer of uniforms
    // holds.
    let most = u64::try_from(Prepared::ROW_COUNTS).unwrap() + 100;
    context.queue().submit((1..=most).map(record));
    // Scratch becomes another buffer.
    let large = Step::new(&context, &kernels, 4096, 600, RowSplit::Never);
    let before = kernels.scratch_bytes();
    let [_, large] = large.calls(600, Gradient::Overwrite);
    assert!(kernels.scratch_bytes() > before);
    context.queue().submit([recorded(&context, |pass| large.record(pass)), record(3)]);
    // All that the late call writes is as at first.
    for (seed, output) in [5, 6, 7, 8, 9].into_iter().zip(step.outputs()) {
        write(&context, output, &values(seed, usize::try_from(output.size() / 4).unwrap()));
    }
    context.queue().submit([late]);
    assert!(run(&context, &[], &step.outputs()) == expected, "the late call");
    // And the call itself goes on.
    let again = step.after(&context, |pass| {
        forward.record_rows(pass, 37).unwrap();
        backward.record_rows(pass, 37).unwrap();
    });
    assert!(again == expected, "once more");
}

#[test]
fn more_rows_than_were_prepared_for_are_refused() {
    let context = context();
    let step = Step::new(&context, context.kernels(), 8, 5, RowSplit::Never);
    let [forward, _] = step.calls(5, Gradient::Overwrite);
    let mut error = None;
    let got = step.after(&context, |pass| error = forward.record_rows(pass, 6).err());
    let error = error.expect("6 of 5 rows");
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert_eq!(error.to_string(), "rows is 6, needs to be 5 at most, as the call was prepared");
    let untouched: Vec<u32> = values(5, 40).iter().map(|value| value.to_bits()).collect();
    assert_eq!(got[0], untouched, "nothing was recorded");
}

#[test]
fn a_call_records_itself_into_a_pass_of_its_own() {
    let context = context();
    let norm = LayerNorm::new(context.kernels(), &LayerNormDescriptor::layer(8)).unwrap();
    let of = |seed| buffer(&context, &values(seed, 24));
    let (x, gain, y, other) = (of(1), of(2), of(3), of(3));
    let call = |y| {
        let (gain, bias) = (Some((&gain).into()), Some((&gain).into()));
        norm.prepare_forward(&ForwardBuffers { gain, bias, ..ForwardBuffers::new(3, &x, y) }).unwrap()
    };
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    call(&y).encode(&mut encoder);
    context.queue().submit([encoder.finish(), recorded(&context, |pass| call(&other).record(pass))]);
    let got = run(&context, &[], &[&y, &other]);
    assert!(
        got[0] == got[1] && got[0] != values(3, 24).iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    );
}
