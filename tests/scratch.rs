//! Scratch is the device's: all calls share it, or bring their own.

mod support;

use support::{buffer, context, recorded, run, values, write};
use wgpu_layernorm::plan::RowSplit;
use wgpu_layernorm::wgpu;
use wgpu_layernorm::{
    BackwardBuffers, Context, Error, ForwardBuffers, Kernels, LayerNorm, LayerNormDescriptor, Prepared,
};

fn norm(kernels: &Kernels, cols: u32) -> LayerNorm {
    LayerNorm::new(kernels, &LayerNormDescriptor { cols, ..LayerNormDescriptor::default() }).unwrap()
}

fn storage(context: &Context, size: u64) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    context.device().create_buffer(&descriptor)
}

/// Backward with all gradients. dy, x and dx of all layers are the same buffers: they are not what is
/// measured.
struct Layers {
    rows: u64,
    x: wgpu::Buffer,
    dy: wgpu::Buffer,
    dx: wgpu::Buffer,
    statistics: wgpu::Buffer,
    vectors: [wgpu::Buffer; 3],
}

impl Layers {
    fn new(context: &Context, rows: u64, cols: u32) -> Self {
        let bytes = rows * u64::from(cols) * 4;
        Self {
            rows,
            x: storage(context, bytes),
            dy: storage(context, bytes),
            dx: storage(context, bytes),
            statistics: storage(context, rows * 8),
            vectors: [(); 3].map(|()| storage(context, u64::from(cols) * 4)),
        }
    }

    fn buffers(&self) -> BackwardBuffers<'_> {
        let [gain, dgain, dbias] = &self.vectors;
        BackwardBuffers {
            gain: Some(gain.into()),
            dx: Some((&self.dx).into()),
            dgain: Some(dgain.into()),
            dbias: Some(dbias.into()),
            ..BackwardBuffers::new(self.rows, &self.x, &self.dy, &self.statistics)
        }
    }
}

/// Bytes that the device has given out, where wgpu can tell. What nothing uses any more is given back first.
fn allocated(context: &Context) -> Option<u64> {
    context.queue().submit([]);
    context.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    context.device().generate_allocator_report().map(|report| report.total_allocated_bytes)
}

/// 65,536 rows of 4096 columns, as far as the device has buffers for them. Nothing is run: nobody touches
/// their bytes.
#[test]
fn a_hundred_equal_layers_hold_the_scratch_of_one() {
    let context = context();
    let (rows, cols) = (65_536.min(context.device().limits().max_buffer_size / (4096 * 4)), 4096);
    let rows_buffer = storage(&context, rows * u64::from(cols) * 4);
    let [gain, dgain, dbias] = [(); 3].map(|()| storage(&context, u64::from(cols) * 4));
    let statistics = storage(&context, rows * 8);
    let buffers = BackwardBuffers {
        gain: Some((&gain).into()),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(rows, &rows_buffer, &rows_buffer, &statistics)
    };
    let kernels = Kernels::new(context.device(), context.queue());
    let first = norm(&kernels, cols).prepare_backward(&buffers).unwrap();
    let (one, has) = (kernels.scratch_bytes(), allocated(&context));
    assert!(one > 1 << 20, "{one} bytes of scratch");
    let others: Vec<Prepared> =
        (0..99).map(|_| norm(&kernels, cols).prepare_backward(&buffers).unwrap()).collect();
    assert_eq!(kernels.scratch_bytes(), one);
    if let (Some(has), Some(now)) = (has, allocated(&context)) {
        // Uniforms.
        assert!(now < has + (1 << 20), "{now} bytes, {has} before");
    }
    drop((first, others));
}

/// Ten of each width, so that the test compiles no more than it must.
#[test]
fn a_hundred_layers_of_growing_widths_hold_little_more_than_the_largest() {
    let context = context();
    let layers = Layers::new(&context, 512, 1320);
    let kernels = Kernels::new(context.device(), context.queue());
    let before = allocated(&context);
    let (mut calls, mut needs) = (Vec::new(), Vec::new());
    for layer in 0..100_u32 {
        let norm = norm(&kernels, 1240 + layer / 10 * 8);
        needs.push(norm.backward_scratch_bytes(&layers.buffers()).unwrap());
        let call = norm.prepare_backward(&layers.buffers()).unwrap();
        // Some are recorded in between, so that they have been bound to scratch which has become too small
        // since.
        if layer % 3 == 0 {
            context.queue().submit([recorded(&context, |pass| call.record(pass))]);
        }
        calls.push(call);
    }
    let largest = *needs.iter().max().unwrap();
    assert!(needs.is_sorted() && largest > needs[0], "{needs:?} bytes");
    let all = kernels.scratch_bytes();
    assert!(all * 10 <= largest * 11, "{all} bytes for all, {largest} for the largest");
    if let (Some(before), Some(now)) = (before, allocated(&context)) {
        // A hundred times the bytes of a uniform and some more are spared.
        assert!(now - before <= largest * 11 / 10 + (1 << 20), "{} bytes for {largest}", now - before);
        assert!(needs.iter().step_by(10).sum::<u64>() > 4 * largest + (1 << 20), "nothing to let go of");
    }
    // Whatever they were bound to, they are bound to the last one now.
    context.queue().submit([recorded(&context, |pass| calls.iter().for_each(|call| call.record(pass)))]);

    // The wider ones go, and scratch becomes what the others need.
    calls.truncate(10);
    kernels.trim_scratch().unwrap();
    let trimmed = kernels.scratch_bytes();
    assert!(trimmed > 0 && trimmed < all, "{trimmed} of {all} bytes");
    context.queue().submit([recorded(&context, |pass| calls.iter().for_each(|call| call.record(pass)))]);
    drop(calls);
    kernels.trim_scratch().unwrap();
    assert_eq!(kernels.scratch_bytes(), 0, "nothing is prepared any more");
}

/// dgain and dbias of calls that share scratch, each after the other has left something there.
#[test]
fn calls_find_nothing_of_each_other_in_scratch() {
    let context = context();
    let kernels = Kernels::new(context.device(), context.queue());
    let of = |seed, count| buffer(&context, &values(seed, count));
    let (rows, cols) = (130_usize, [64_usize, 640]);
    let tensors = cols.map(|cols| {
        [of(1, rows * cols), of(2, rows * cols), of(3, cols), of(4, 2 * rows), of(5, cols), of(6, cols)]
    });
    let call = |kernels: &Kernels, which: usize| {
        let [x, dy, gain, statistics, dgain, dbias] = &tensors[which];
        let buffers = BackwardBuffers {
            gain: Some(gain.into()),
            dgain: Some(dgain.into()),
            dbias: Some(dbias.into()),
            ..BackwardBuffers::new(rows as u64, x, dy, statistics)
        };
        norm(kernels, u32::try_from(cols[which]).unwrap()).prepare_backward(&buffers).unwrap()
    };
    let outputs = |which: usize| [&tensors[which][4], &tensors[which][5]];
    let alone = [0, 1].map(|which| {
        let kernels = Kernels::new(context.device(), context.queue());
        run(&context, &[&call(&kernels, which)], &outputs(which))
    });
    // The second one is prepared when the first has been recorded, but not submitted, and needs more.
    let narrow = call(&kernels, 0);
    let early = recorded(&context, |pass| narrow.record(pass));
    let small = kernels.scratch_bytes();
    let wide = call(&kernels, 1);
    assert!(kernels.scratch_bytes() > small);
    for which in [0, 1] {
        outputs(which).iter().for_each(|output| write(&context, output, &values(9, cols[which])));
    }
    context.queue().submit([recorded(&context, |pass| wide.record(pass)), early]);
    for which in [0, 1] {
        assert!(
            run(&context, &[], &outputs(which)) == alone[which],
            "the early call, {} columns",
            cols[which]
        );
    }
    for which in [0, 1] {
        outputs(which).iter().for_each(|output| write(&context, output, &values(9, cols[which])));
    }
    run(&context, &[&wide, &narrow, &wide, &narrow, &wide], &[]);
    for which in [0, 1] {
        assert!(run(&context, &[], &outputs(which)) == alone[which], "in turn, {} columns", cols[which]);
    }
}

#[test]
fn a_call_can_bring_its_own_scratch() {
    let context = context();
    let of = |seed, count| buffer(&context, &values(seed, count));
    let (rows, cols) = (40, 20_000);
    let (x, dy, gain, statistics) = (of(1, rows * cols), of(2, rows * cols), of(3, cols), of(4, 2 * rows));
    let (y, dx, dgain, dbias) = (of(5, rows * cols), of(6, rows * cols), of(7, cols), of(8, cols));
    for row_split in [RowSplit::Never, RowSplit::Wide] {
        let kernels = Kernels::new(context.device(), context.queue());
        let descriptor = LayerNormDescriptor { cols: 20_000, row_split, ..LayerNormDescriptor::default() };
        let norm = LayerNorm::new(&kernels, &descriptor).unwrap();
        let forward = ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&gain).into()),
            ..ForwardBuffers::new(rows as u64, &x, &y)
        };
        let backward = BackwardBuffers {
            gain: Some((&gain).into()),
            dx: Some((&dx).into()),
            dgain: Some((&dgain).into()),
            dbias: Some((&dbias).into()),
            ..BackwardBuffers::new(rows as u64, &x, &dy, &statistics)
        };
        let calls = [norm.prepare_forward(&forward).unwrap(), norm.prepare_backward(&backward).unwrap()];
        let outputs = [&y, &dx, &dgain, &dbias];
        let expected = run(&context, &[&calls[0], &calls[1]], &outputs);
        drop(calls);
        kernels.trim_scratch().unwrap();

        let bytes = norm.forward_scratch_bytes(&forward).unwrap();
        assert_eq!(bytes == 0, row_split == RowSplit::Never);
        let bytes = bytes.max(norm.backward_scratch_bytes(&backward).unwrap());
        // At an offset that no binding may begin at.
        let own = storage(&context, 36 + bytes + 100);
        let fence = vec![7.5; usize::try_from(own.size() / 4).unwrap()];
        write(&context, &own, &fence);
        let scratch = Some(own.slice(36..36 + bytes));
        for output in outputs {
            write(&context, output, &values(9, usize::try_from(output.size() / 4).unwrap()));
        }
        let forward = norm.prepare_forward(&ForwardBuffers { scratch, ..forward }).unwrap();
        let own_backward = BackwardBuffers { scratch, ..backward };
        let backward = norm.prepare_backward(&own_backward).unwrap();
        assert_eq!(kernels.scratch_bytes(), 0, "the device's scratch is not needed");
        assert!(run(&context, &[&forward, &backward], &outputs) == expected, "{row_split:?}");
        let left = &run(&context, &[], &[&own])[0];
        let is_fence = |words: &[u32]| words.iter().all(|word| *word == 7.5_f32.to_bits());
        let end = usize::try_from((36 + bytes) / 4).unwrap();
        assert!(is_fence(&left[..9]) && is_fence(&left[end..]), "beside the scratch");
        assert!(!is_fence(&left[9..end]), "the scratch is used");

        let scratch = Some(own.slice(36..36 + bytes / 2));
        let error = norm.prepare_backward(&BackwardBuffers { scratch, ..own_backward }).unwrap_err();
        let is_named = matches!(&error, Error::BufferTooSmall { buffer: "scratch", .. });
        assert!(is_named, "{error}");
    }
}
