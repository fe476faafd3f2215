//! QK norm: heads inside packed rows, in place, with a gain that all heads share or a gain of each head.
//! Against the formulas in float64, written out here; what lies between the heads has to stay as it is.

mod support;

use half::{bf16, f16};
use support::{
    assert_close, buffer, buffer_of_bytes, context, context_with, mixed_values, recorded, run, run_bytes,
    wide,
};
use wgpu_layernorm::plan::{AdapterKind, Backward, Forward, RowSplit, Strides, Tensor};
use wgpu_layernorm::{
    Affine, BackwardBuffers, BufferRows, Channels, Context, Dtype, Element, Error, ForwardBuffers, Gradient,
    LayerNorm, LayerNormDescriptor, Normalization, WarmOptions, wgpu,
};

const EPS: f32 = 1e-3;

/// Heads inside rows of `width` values, from `offset` on.
#[derive(Clone, Copy, Debug)]
struct Packed {
    tokens: usize,
    width: usize,
    heads: usize,
    dim: usize,
    offset: usize,
}

impl Packed {
    const fn new(tokens: usize, width: usize, heads: usize, dim: usize, offset: usize) -> Self {
        Self { tokens, width, heads, dim, offset }
    }

    const fn rows(self) -> usize {
        self.tokens * self.heads
    }

    fn of(self, buffer: &wgpu::Buffer) -> BufferRows<'_> {
        BufferRows::at_element(buffer, self.offset as u64)
            .with_stride(self.dim as u64)
            .with_inner_rows(self.heads as u64, self.width as u64)
    }

    fn is_head(self, element: usize) -> bool {
        (self.offset..self.offset + self.heads * self.dim).contains(&(element % self.width))
    }

    /// The first element of each row, and the head that it is.
    fn each_row(self) -> impl Iterator<Item = (usize, usize)> {
        let first = move |row| row / self.heads * self.width + self.offset + row % self.heads * self.dim;
        (0..self.rows()).map(move |row| (first(row), row % self.heads))
    }

    fn norm(self, context: &Context, kind: &Kind) -> LayerNorm {
        let [heads, dim] = [self.heads, self.dim].map(|count| u32::try_from(count).unwrap());
        let descriptor = LayerNormDescriptor {
            cols: dim,
            dtype: kind.dtype,
            parameter_dtype: Some(Dtype::F32),
            normalization: kind.normalization,
            affine: Affine::GainBias,
            channels: kind.of_each_head.then(|| Channels::of_heads(heads, dim)),
            eps: EPS,
            row_split: kind.row_split,
            ..LayerNormDescriptor::default()
        };
        LayerNorm::new(context.kernels(), &descriptor).unwrap()
    }
}

/// Which norm.
#[derive(Clone, Copy, Debug)]
struct Kind {
    normalization: Normalization,
    dtype: Dtype,
    of_each_head: bool,
    row_split: RowSplit,
}

const RMS: Kind = Kind {
    normalization: Normalization::Rms,
    dtype: Dtype::F32,
    of_each_head: true,
    row_split: RowSplit::Never,
};

/// Packed tensors, with all of y, dx and of the gradients of parameters as they have to come out.
struct Expected {
    y: Vec<f64>,
    /// Mean and rstd of each row.
    statistics: Vec<f64>,
    dx: Vec<f64>,
    dgain: Vec<f64>,
    dbias: Vec<f64>,
}

/// The formulas, row by row.
fn expected(packed: Packed, kind: &Kind, x: &[f64], dy: &[f64], gain: &[f32], bias: &[f32]) -> Expected {
    let Packed { dim, .. } = packed;
    let centered = if kind.normalization == Normalization::Layer { 1.0 } else { 0.0 };
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / dim as f64;
    let mut all = Expected {
        y: x.to_vec(),
        statistics: Vec::new(),
        dx: dy.to_vec(),
        dgain: vec![0.0; gain.len()],
        dbias: vec![0.0; gain.len()],
    };
    for (first, head) in packed.each_row() {
        let own = if kind.of_each_head { head * dim } else { 0 };
        let (x, dy) = (&x[first..first + dim], &dy[first..first + dim]);
        let gain: Vec<f64> = gain[own..own + dim].iter().map(|gain| f64::from(*gain)).collect();
        let mean = centered * mean_of(x);
        let squares: Vec<f64> = x.iter().map(|x| (x - mean).powi(2)).collect();
        let rstd = 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt();
        let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * rstd).collect();
        let dxhat: Vec<f64> = dy.iter().zip(&gain).map(|(dy, gain)| dy * gain).collect();
        let products: Vec<f64> = dxhat.iter().zip(&xhat).map(|(dxhat, xhat)| dxhat * xhat).collect();
        let means = [centered * mean_of(&dxhat), mean_of(&products)];
        for c in 0..dim {
            all.y[first + c] = xhat[c] * gain[c] + f64::from(bias[own + c]);
            all.dx[first + c] = rstd * (dxhat[c] - means[0] - xhat[c] * means[1]);
            all.dgain[own + c] += dy[c] * xhat[c];
            all.dbias[own + c] += dy[c];
        }
        all.statistics.extend([mean, rstd]);
    }
    all
}

fn elements<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytemuck::pod_collect_to_vec(bytes)
}

fn parameters(kind: &Kind, packed: Packed, seed: u32) -> Vec<f32> {
    mixed_values(seed, packed.dim * if kind.of_each_head { packed.heads } else { 1 })
}

/// Forward over x and backward over dy, both in place, for some heads of the same packed rows, one call after
/// the other; the calls of each direction in one submit.
fn check<T: Element>(context: &Context, all: &[Packed], kind: Kind) {
    let kind = Kind { dtype: T::DTYPE, ..kind };
    let Packed { tokens, width, .. } = all[0];
    let packed = |seed| -> Vec<T> {
        mixed_values(seed, tokens * width).into_iter().map(|value| T::from_f64(value.into())).collect()
    };
    let (x, dy) = (packed(1), packed(2));
    let upload = |values: &[T]| buffer_of_bytes(context, bytemuck::cast_slice(values));
    let (x_buffer, y_buffer, dx_buffer) = (upload(&x), upload(&x), upload(&dy));
    // Those of the heads at hand come out, the rest stays.
    let (mut y, mut dx) = (wide(&x), wide(&dy));
    let (mut forwards, mut backwards, mut of_heads) = (Vec::new(), Vec::new(), Vec::new());
    for heads in all {
        let (gain, bias) = (parameters(&kind, *heads, 3), parameters(&kind, *heads, 4));
        let expected = expected(*heads, &kind, &wide(&x), &wide(&dy), &gain, &bias);
        for (first, _) in heads.each_row() {
            let own = first..first + heads.dim;
            y[own.clone()].copy_from_slice(&expected.y[own.clone()]);
            dx[own.clone()].copy_from_slice(&expected.dx[own]);
        }
        let norm = heads.norm(context, &kind);
        let [dgain, dbias] = [5, 6].map(|seed| buffer(context, &mixed_values(seed, gain.len())));
        let [gain, bias] = [gain, bias].map(|values| buffer(context, &values));
        let statistics = buffer(context, &mixed_values(7, 2 * heads.rows()));
        let forward = norm.prepare_forward(&ForwardBuffers {
            gain: Some((&gain).into()),
            bias: Some((&bias).into()),
            statistics: Some((&statistics).into()),
            ..ForwardBuffers::new(heads.rows() as u64, heads.of(&y_buffer), heads.of(&y_buffer))
        });
        let backward = norm.prepare_backward(&BackwardBuffers {
            gain: Some((&gain).into()),
            dx: Some(heads.of(&dx_buffer)),
            dgain: Some((&dgain).into()),
            dbias: Some((&dbias).into()),
            ..BackwardBuffers::new(
                heads.rows() as u64,
                heads.of(&x_buffer),
                heads.of(&dx_buffer),
                &statistics,
            )
        });
        forwards.push(forward.unwrap());
        backwards.push(backward.unwrap());
        of_heads.push((expected, statistics, dgain, dbias));
    }
    let is_head = |element: usize| all.iter().any(|heads| heads.is_head(element));
    let bits = |values: &[T]| -> Vec<u16> {
        let values: Vec<T> =
            values.iter().enumerate().filter(|(i, _)| !is_head(*i)).map(|(_, value)| *value).collect();
        bytemuck::cast_slice(&values).to_vec()
    };
    // A rounding of the storage, and some of float32.
    let share = 2.0 * T::DTYPE.unit_roundoff() + 1e-6;
    let which = format!("{kind:?}, {all:?}");
    for (calls, buffer, before, expected) in
        [(&forwards, &y_buffer, &x, &y), (&backwards, &dx_buffer, &dy, &dx)]
    {
        let calls: Vec<_> = calls.iter().collect();
        let mut after: Vec<T> = elements(&run_bytes(context, &calls, &[buffer])[0]);
        // Of the last word of 16-bit values.
        after.truncate(before.len());
        assert_close(&which, &wide(&after), expected, share);
        assert_eq!(bits(&after), bits(before), "between heads, {which}");
    }
    for (expected, statistics, dgain, dbias) in &of_heads {
        let after = run_bytes(context, &[], &[statistics, dgain, dbias]);
        let [statistics, dgain, dbias] = [0, 1, 2].map(|i| wide(&elements::<f32>(&after[i])));
        assert_close(&which, &statistics, &expected.statistics, 1e-6);
        assert_close(&which, &dgain, &expected.dgain, 1e-5);
        assert_close(&which, &dbias, &expected.dbias, 1e-5);
    }
}

/// q and k of one fused projection beside a v, whose dimensions pair up, and rows on odd elements.
const FUSED: [[Packed; 2]; 2] = [
    [Packed::new(21, 224, 4, 32, 0), Packed::new(21, 224, 2, 32, 128)],
    [Packed::new(21, 61, 3, 7, 3), Packed::new(21, 61, 5, 7, 25)],
];

#[test]
fn q_and_k_are_normalized_in_one_buffer() {
    let context = context();
    for all in FUSED {
        for normalization in [Normalization::Layer, Normalization::Rms] {
            for of_each_head in [false, true] {
                let kind = Kind { normalization, of_each_head, ..RMS };
                check::<f32>(&context, &all, kind);
                check::<f16>(&context, &all, kind);
                check::<bf16>(&context, &all, kind);
            }
        }
    }
}

/// Held and walked, by a workgroup and by several a row, with many slots a head and with few; on what the
/// adapter has, without it, and with the plans of a GPU.
#[test]
fn gains_of_each_head_hold_on_every_kernel() {
    let adapter = context();
    let gpu = adapter.clone().with_ladder(AdapterKind::Gpu);
    let plain = {
        let found = pollster::block_on(wgpu_layernorm::adapters());
        let is_its =
            |of: &&wgpu::Adapter| wgpu_layernorm::describe_adapter(&of.get_info()) == adapter.description();
        pollster::block_on(Context::open_plain(found.iter().find(is_its).unwrap())).unwrap()
    };
    for context in [&adapter, &gpu, &plain] {
        for (packed, row_split) in [
            (Packed::new(700, 200, 3, 64, 8), RowSplit::Never),
            (Packed::new(1, 1024, 8, 128, 0), RowSplit::Never),
            (Packed::new(3, 50, 17, 2, 1), RowSplit::Never),
            (Packed::new(9, 24_700, 2, 12_345, 4), RowSplit::Never),
            (Packed::new(5, 40_032, 2, 20_000, 16), RowSplit::Wide),
        ] {
            check::<f32>(context, &[packed], Kind { row_split, ..RMS });
        }
        let layer = Kind { normalization: Normalization::Layer, ..RMS };
        check::<bf16>(context, &[Packed::new(130, 1552, 12, 128, 16)], layer);
    }
}

/// Fewer tokens than were prepared, and more than fit one dispatch: each time as if prepared for so many.
#[test]
fn token_counts_change_and_calls_are_cut() {
    let packed = Packed::new(600, 40, 3, 12, 2);
    let contexts = [context(), context_with(|limits| limits.max_storage_buffer_binding_size = 16 << 10)];
    let [x, dy, gain] =
        [(1, 600 * 40), (2, 600 * 40), (3, 36)].map(|(seed, count)| mixed_values(seed, count));
    let results = contexts.each_ref().map(|context| {
        let [x, dy, gain] = [&x, &dy, &gain].map(|values| buffer(context, values));
        let bias = buffer(context, &mixed_values(4, 36));
        let norm = packed.norm(context, &RMS);
        let statistics = buffer(context, &mixed_values(5, 2 * packed.rows()));
        let [dx, dgain, dbias] = [600 * 40, 36, 36].map(|count| buffer(context, &vec![0.5; count]));
        let of = |tokens: usize| {
            let rows = (tokens * packed.heads) as u64;
            let forward = norm.prepare_forward(&ForwardBuffers {
                gain: Some((&gain).into()),
                bias: Some((&bias).into()),
                statistics: Some((&statistics).into()),
                ..ForwardBuffers::new(rows, packed.of(&x), packed.of(&dx))
            });
            let backward = norm.prepare_backward(&BackwardBuffers {
                gain: Some((&gain).into()),
                dx: Some(packed.of(&dx)),
                dgain: Some((&dgain).into()),
                dbias: Some((&dbias).into()),
                ..BackwardBuffers::new(rows, packed.of(&x), packed.of(&dy), &statistics)
            });
            [forward.unwrap(), backward.unwrap()]
        };
        let outputs = [&statistics, &dx, &dgain, &dbias];
        let all = of(packed.tokens);
        let mut results = Vec::new();
        for tokens in [packed.tokens, 1, 77, 0, 500] {
            let exact = of(tokens);
            let expected = run(context, &[&exact[0], &exact[1]], &outputs);
            let commands = recorded(context, |pass| {
                for call in &all {
                    call.record_rows(pass, (tokens * packed.heads) as u64).unwrap();
                }
            });
            context.queue().submit([commands]);
            assert_eq!(run(context, &[], &outputs), expected, "{tokens} tokens");
            results.push(expected);
        }
        assert_eq!(all[0].dispatch_count() > 1, all[1].dispatch_count() > 2);
        let error = all[0].record_rows(&mut NoPass::new(context).pass(), 4).unwrap_err().to_string();
        assert!(error.contains("rows is 4") && error.contains("multiple of the 3"), "{error}");
        results
    });
    // Rows come out the same however a call is cut; sums over rows nearly.
    let [whole, cut] = results;
    for (whole, cut) in whole.iter().zip(&cut) {
        assert_eq!(whole[..2], cut[..2]);
        for (whole, cut) in whole[2..].iter().zip(&cut[2..]) {
            let [whole, cut] = [whole, cut].map(|bits| -> Vec<f64> {
                bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect()
            });
            assert_close("sums of a cut call", &cut, &whole, 1e-5);
        }
    }
}

/// A pass that nothing is recorded in.
struct NoPass(wgpu::CommandEncoder);

impl NoPass {
    fn new(context: &Context) -> Self {
        Self(context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    fn pass(&mut self) -> wgpu::ComputePass<'_> {
        self.0.begin_compute_pass(&wgpu::ComputePassDescriptor::default())
    }
}

#[test]
fn one_dispatch_serves_all_heads() {
    let context = context();
    let packed = FUSED[0][0];
    let norm = packed.norm(&context, &RMS);
    let [x, gain] =
        [packed.tokens * packed.width, 128].map(|count| buffer(&context, &mixed_values(1, count)));
    let call = norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&gain).into()),
        ..ForwardBuffers::new(packed.rows() as u64, packed.of(&x), packed.of(&x))
    });
    assert_eq!(call.unwrap().dispatch_count(), 1);
    let statistics = buffer(&context, &mixed_values(1, 2 * packed.rows()));
    let plans = norm.plan_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(packed.of(&x)),
        dgain: Some((&gain).into()),
        ..BackwardBuffers::new(packed.rows() as u64, packed.of(&x), packed.of(&x), &statistics)
    });
    // They share bytes with the gain.
    assert!(matches!(plans, Err(Error::Overlap { written: "dgain", .. })), "{plans:?}");
    let dgain = buffer(&context, &mixed_values(1, 128));
    let plans = norm.plan_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dgain: Some((&dgain).into()),
        ..BackwardBuffers::new(packed.rows() as u64, packed.of(&x), packed.of(&x), &statistics)
    });
    assert_eq!(plans.unwrap().len(), 2, "backward, and the sum of its sums");
}

#[test]
fn heads_that_were_warmed_compile_nothing_more() {
    let context = context();
    let packed = FUSED[0][0];
    let norm = packed.norm(&context, &RMS);
    let overwrite = Some(Gradient::Overwrite);
    norm.warm(&WarmOptions {
        forward: &[Forward { x_in: Some(Tensor::Y), ..Forward::default() }],
        backward: &[Backward { dgain: overwrite, dx: overwrite, ..Backward::default() }],
        strides: Strides::Rows,
        submit: true,
        ..WarmOptions::default()
    })
    .unwrap();
    let warmed = context.kernels().pipelines();
    assert_eq!(warmed, 3);
    let count = packed.tokens * packed.width;
    let [x, dy, dx] = [1, 2, 3].map(|seed| buffer(&context, &mixed_values(seed, count)));
    let [gain, dgain] = [1, 2].map(|seed| buffer(&context, &mixed_values(seed, 128)));
    let statistics = buffer(&context, &mixed_values(1, 2 * packed.rows()));
    let rows = packed.rows() as u64;
    let forward = norm.prepare_forward(&ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&gain).into()),
        ..ForwardBuffers::new(rows, packed.of(&x), packed.of(&x))
    });
    let backward = norm.prepare_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(packed.of(&dx)),
        dgain: Some((&dgain).into()),
        ..BackwardBuffers::new(rows, packed.of(&x), packed.of(&dy), &statistics)
    });
    run(&context, &[&forward.unwrap(), &backward.unwrap()], &[]);
    assert_eq!(context.kernels().pipelines(), warmed);
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let context = context();
    let packed = FUSED[0][0];
    let norm = packed.norm(&context, &RMS);
    let x = buffer(&context, &mixed_values(1, packed.tokens * packed.width));
    let [gain, short] = [128, 127].map(|count| buffer(&context, &mixed_values(2, count)));
    let refused = |rows: usize, heads: Packed, gain: &wgpu::Buffer, says: &[&str]| {
        let buffers = ForwardBuffers {
            gain: Some(gain.into()),
            bias: Some(gain.into()),
            ..ForwardBuffers::new(rows as u64, heads.of(&x), heads.of(&x))
        };
        let error = norm.prepare_forward(&buffers).unwrap_err().to_string();
        assert!(says.iter().all(|part| error.contains(part)), "{error}: {says:?}");
    };
    refused(packed.rows() - 1, packed, &gain, &["rows is 83", "a multiple of the 4"]);
    refused(packed.rows(), packed, &short, &["gain", "508", "512"]);
    refused(40, Packed { heads: 2, ..packed }, &gain, &["x.inner_rows is 2", "4, the groups"]);
    let channels = Some(Channels::new(128, 4, 2));
    let descriptor = LayerNormDescriptor { channels, ..LayerNormDescriptor::rms(32) };
    let error = LayerNorm::new(context.kernels(), &descriptor).unwrap_err().to_string();
    assert!(error.contains("cols is 32") && error.contains("64"), "{error}");
}
