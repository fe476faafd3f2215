//! A layer norm in other ways, beside the plain one of the same rows: with a scale and a shift for each
//! sample, of a sum, with a gate or without, with all tensors in one buffer, and with y in codes of 8 bits.
//! Each call in turn, and the medians of all rounds.
//!
//!     cargo bench --features gpu --bench ways

#[path = "support/turns.rs"]
mod turns;

use turns::time;
use wgpu::util::DeviceExt as _;
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BufferRows, BufferVector, Channels, CodeBuffers, CodeDtype,
    Context, ForwardBuffers, LayerNorm, LayerNormDescriptor, Prepared,
};

/// Two samples of a diffusion transformer.
const SAMPLES: usize = 2;
const TOKENS: usize = 1024;
const COLS: usize = 1024;
const ROWS: usize = SAMPLES * TOKENS;
const VALUES: usize = ROWS * COLS;
/// Of the tensor that scale and shift are chunks of.
const CHUNKS: usize = 6;
const ROUNDS: usize = 41;

/// A call, and the bytes that it reads and writes.
struct Contestant {
    name: &'static str,
    call: Prepared,
    bytes: usize,
}

fn main() {
    // What cargo passes on, such as --bench, and what it asks of benches that are tested.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let context = Context::new_blocking(&AdapterChoice::Auto).unwrap_or_else(|error| panic!("{error}"));
    println!("{}: {ROWS} rows of {COLS}, f32", context.description());
    for (what, contestants) in [("forward", forward(&context)), ("backward", backward(&context))] {
        let mut times = contestants.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for round in 0..if is_test { 1 } else { 1 + ROUNDS } {
            for (contestant, times) in contestants.iter().zip(&mut times) {
                let time = time(&context, &contestant.call);
                // The first one compiles.
                if round > 0 || is_test {
                    times.push(time);
                }
            }
        }
        let medians: Vec<f64> = times
            .into_iter()
            .map(|mut times| {
                times.sort_unstable();
                times[times.len() / 2].as_secs_f64()
            })
            .collect();
        println!("{what}");
        for (contestant, median) in contestants.iter().zip(&medians) {
            let speed = medians[0] / median;
            let per_byte = speed * contestant.bytes as f64 / contestants[0].bytes as f64;
            println!(
                "  {:<28} {:>8.2} ms, {speed:.2} of the first's speed, {per_byte:.2} per byte",
                contestant.name,
                median * 1e3
            );
        }
    }
}

fn value(i: usize) -> f32 {
    ((i * 7919) % 1009) as f32 / 500.0 - 1.0
}

fn buffer(context: &Context, values: usize) -> wgpu::Buffer {
    let values: Vec<f32> = (0..values).map(value).collect();
    context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&values),
        usage: wgpu::BufferUsages::STORAGE,
    })
}

fn norm(context: &Context, is_modulated: bool) -> LayerNorm {
    let [samples, cols] = [SAMPLES, COLS].map(|count| u32::try_from(count).expect("few"));
    let channels = is_modulated.then(|| Channels::of_samples(samples, cols));
    let affine = Affine::ZeroCenteredGainBias;
    let descriptor = LayerNormDescriptor { channels, affine, ..LayerNormDescriptor::layer(cols) };
    LayerNorm::new(context.kernels(), &descriptor).expect("the descriptor is valid")
}

/// A chunk of the rows of one tensor.
fn chunk(buffer: &wgpu::Buffer, which: usize) -> BufferVector<'_> {
    BufferVector::at_element(buffer, (which * COLS) as u64).with_row_stride((CHUNKS * COLS) as u64)
}

const FORWARD_BYTES: usize = 4 * (2 * VALUES + 2 * ROWS);

fn forward(context: &Context) -> Vec<Contestant> {
    let [x, y, gain, bias, codes] =
        [VALUES, VALUES, COLS, COLS, VALUES / 4].map(|count| buffer(context, count));
    let [statistics, units] = [2 * ROWS, ROWS].map(|count| buffer(context, count));
    let modulation = buffer(context, SAMPLES * CHUNKS * COLS);
    let [residual, sum] = [(); 2].map(|()| buffer(context, VALUES));
    let pool = buffer(context, 2 * VALUES + 2 * COLS + 2 * ROWS);
    let in_pool = |offset: usize| BufferRows::at_element(&pool, offset as u64);
    let vector_in_pool = |offset: usize| BufferVector::at_element(&pool, offset as u64);
    let rows = ROWS as u64;
    let plain = ForwardBuffers {
        gain: Some((&gain).into()),
        bias: Some((&bias).into()),
        statistics: Some((&statistics).into()),
        ..ForwardBuffers::new(rows, &x, &y)
    };
    let modulated =
        ForwardBuffers { gain: Some(chunk(&modulation, 1)), bias: Some(chunk(&modulation, 0)), ..plain };
    let (residual, sum) = (Some((&residual).into()), Some((&sum).into()));
    let of_sum = ForwardBuffers { residual, sum, ..plain };
    let gated = ForwardBuffers { residual, sum, gate: Some(chunk(&modulation, 2)), ..modulated };
    let pooled = ForwardBuffers {
        gain: Some(vector_in_pool(2 * VALUES)),
        bias: Some(vector_in_pool(2 * VALUES + COLS)),
        statistics: Some(vector_in_pool(2 * VALUES + 2 * COLS).into()),
        ..ForwardBuffers::new(rows, in_pool(0), in_pool(VALUES))
    };
    let in_codes = ForwardBuffers {
        gain: plain.gain,
        bias: plain.bias,
        ..ForwardBuffers::codes(rows, &x, CodeBuffers::per_row(CodeDtype::Fp8E4m3, &codes, &units))
    };
    let of_codes = 4 * (VALUES + VALUES / 4 + ROWS);
    [
        ("plain", false, plain, FORWARD_BYTES),
        ("scale and shift of samples", true, modulated, FORWARD_BYTES),
        ("a residual", false, of_sum, FORWARD_BYTES + 8 * VALUES),
        ("the same with a gate", true, gated, FORWARD_BYTES + 8 * VALUES),
        ("all in one buffer", false, pooled, FORWARD_BYTES),
        ("y in fp8, a unit per row", false, in_codes, of_codes),
    ]
    .map(|(name, is_modulated, buffers, bytes)| {
        let call = norm(context, is_modulated).prepare_forward(&buffers).expect("the call is valid");
        Contestant { name, call, bytes }
    })
    .into()
}

const BACKWARD_BYTES: usize = 4 * (3 * VALUES + 2 * ROWS);

fn backward(context: &Context) -> Vec<Contestant> {
    let [x, dy, dx, gain, dgain, dbias] =
        [VALUES, VALUES, VALUES, COLS, COLS, COLS].map(|count| buffer(context, count));
    let statistics: Vec<f32> = (0..ROWS).flat_map(|row| [0.0, 1.0 + value(row) / 2.0]).collect();
    let statistics = context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&statistics),
        usage: wgpu::BufferUsages::STORAGE,
    });
    let [modulation, gradients] = [(); 2].map(|()| buffer(context, SAMPLES * CHUNKS * COLS));
    let pool = buffer(context, 3 * VALUES + 3 * COLS + 2 * ROWS);
    let in_pool = |offset: usize| BufferRows::at_element(&pool, offset as u64);
    let vector_in_pool = |offset: usize| BufferVector::at_element(&pool, (3 * VALUES + offset) as u64);
    let rows = ROWS as u64;
    let plain = BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some((&dx).into()),
        dgain: Some((&dgain).into()),
        dbias: Some((&dbias).into()),
        ..BackwardBuffers::new(rows, &x, &dy, &statistics)
    };
    let modulated = BackwardBuffers {
        gain: Some(chunk(&modulation, 1)),
        dgain: Some(chunk(&gradients, 1)),
        dbias: Some(chunk(&gradients, 0)),
        ..plain
    };
    let [branch, dbranch] = [(); 2].map(|()| buffer(context, VALUES));
    let gated = BackwardBuffers {
        branch: Some((&branch).into()),
        gate: Some(chunk(&modulation, 2)),
        dbranch: Some((&dbranch).into()),
        dgate: Some(chunk(&gradients, 2)),
        ..modulated
    };
    let pooled = BackwardBuffers {
        gain: Some(vector_in_pool(0)),
        dx: Some(in_pool(2 * VALUES)),
        dgain: Some(vector_in_pool(COLS)),
        dbias: Some(vector_in_pool(2 * COLS)),
        ..BackwardBuffers::new(rows, in_pool(0), in_pool(VALUES), vector_in_pool(3 * COLS))
    };
    [
        ("plain", false, plain, BACKWARD_BYTES),
        ("scale and shift of samples", true, modulated, BACKWARD_BYTES),
        ("the same with a gate", true, gated, BACKWARD_BYTES + 8 * VALUES),
        ("all in one buffer", false, pooled, BACKWARD_BYTES),
    ]
    .map(|(name, is_modulated, buffers, bytes)| {
        let call = norm(context, is_modulated).prepare_backward(&buffers).expect("the call is valid");
        Contestant { name, call, bytes }
    })
    .into()
}
