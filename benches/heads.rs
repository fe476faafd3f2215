//! QK norm in place, 32 heads of 128 inside packed rows (q beside k and v, as Qwen3 8B has them), beside the
//! same rows one after the other: RMS norm in f32, each call in turn, and the medians of all rounds.
//!
//!     cargo bench --features gpu --bench heads
//!
//! The gain of each head is the same, so that all calls have to give the same bits: that is looked at first.

#[path = "support/turns.rs"]
mod turns;

use turns::time;
use wgpu::util::DeviceExt as _;
use wgpu_layernorm::{
    AdapterChoice, Affine, BackwardBuffers, BufferRows, Channels, Context, ForwardBuffers, LayerNorm,
    LayerNormDescriptor, Prepared,
};

const TOKENS: usize = 1024;
const HEADS: usize = 32;
const DIM: usize = 128;
const WIDTH: usize = 48 * DIM;
const ROWS: usize = TOKENS * HEADS;
const ROUNDS: usize = 41;

/// A call, what it writes its rows to, and whether those are inside packed ones.
struct Contestant {
    name: &'static str,
    call: Prepared,
    output: wgpu::Buffer,
    is_packed: bool,
}

fn main() {
    // What cargo passes on, such as --bench, and what it asks of benches that are tested.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let context = Context::new_blocking(&AdapterChoice::Auto).unwrap_or_else(|error| panic!("{error}"));
    println!("{}: {TOKENS} tokens, {HEADS} heads of {DIM} in rows of {WIDTH}", context.description());
    for backward in [false, true] {
        let contestants = [
            contestant(&context, "rows one after the other", [false, false], backward),
            contestant(&context, "packed, one gain", [true, false], backward),
            contestant(&context, "packed, a gain of each head", [true, true], backward),
        ];
        let results = contestants.each_ref().map(|contestant| rows_of(&context, contestant));
        assert!(results[1..].iter().all(|rows| *rows == results[0]), "the calls differ");
        let mut times = contestants.each_ref().map(|_| Vec::new());
        for _ in 0..if is_test { 1 } else { ROUNDS } {
            for (contestant, times) in contestants.iter().zip(&mut times) {
                times.push(time(&context, &contestant.call));
            }
        }
        let medians = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        println!("{}", if backward { "backward, dx and dgain" } else { "forward, in place" });
        for (contestant, median) in contestants.iter().zip(&medians) {
            let share = medians[0].as_secs_f64() / median.as_secs_f64();
            println!("  {:<28} {median:>10.2?}  {share:.2} of the first's throughput", contestant.name);
        }
    }
}

fn contestant(
    context: &Context,
    name: &'static str,
    [is_packed, of_each_head]: [bool; 2],
    backward: bool,
) -> Contestant {
    let [cols, heads] = [DIM, HEADS].map(|count| u32::try_from(count).expect("few"));
    let channels = of_each_head.then(|| Channels::of_heads(heads, cols));
    let descriptor = LayerNormDescriptor { channels, affine: Affine::Gain, ..LayerNormDescriptor::rms(cols) };
    let norm = LayerNorm::new(context.kernels(), &descriptor).expect("the descriptor is valid");
    let buffer = |values: &[f32]| {
        context.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    };
    let value = |i: usize| ((i * 7919) % 1009) as f32 / 500.0 - 1.0;
    let place = |row: usize| if is_packed { row / HEADS * WIDTH + row % HEADS * DIM } else { row * DIM };
    let rows = |seed: usize| {
        let mut values = vec![0.0; if is_packed { TOKENS * WIDTH } else { ROWS * DIM }];
        for (row, column) in (0..ROWS).flat_map(|row| (0..DIM).map(move |column| (row, column))) {
            values[place(row) + column] = value(row * DIM + column + seed);
        }
        buffer(&values)
    };
    let of = |buffer| match is_packed {
        true => BufferRows::at_element(buffer, 0).with_inner_rows(HEADS as u64, WIDTH as u64),
        false => BufferRows::at_element(buffer, 0),
    };
    let gains: Vec<f32> = (0..if of_each_head { HEADS * DIM } else { DIM }).map(|i| value(i % DIM)).collect();
    let gain = buffer(&gains);
    let x = rows(0);
    if !backward {
        let required = ForwardBuffers::new(ROWS as u64, of(&x), of(&x));
        let call = norm.prepare_forward(&ForwardBuffers { gain: Some((&gain).into()), ..required });
        return Contestant { name, call: call.expect("the call is valid"), output: x, is_packed };
    }
    let (dy, dx, dgain) = (rows(1), rows(2), buffer(&gains));
    let statistics: Vec<f32> = (0..ROWS).flat_map(|row| [0.0, 1.0 + value(row) / 2.0]).collect();
    let statistics = buffer(&statistics);
    let call = norm.prepare_backward(&BackwardBuffers {
        gain: Some((&gain).into()),
        dx: Some(of(&dx)),
        dgain: Some((&dgain).into()),
        ..BackwardBuffers::new(ROWS as u64, of(&x), of(&dy), &statistics)
    });
    Contestant { name, call: call.expect("the call is valid"), output: dx, is_packed }
}

/// The bits of the rows that a call writes.
fn rows_of(context: &Context, contestant: &Contestant) -> Vec<u32> {
    let outputs = pollster::block_on(context.run(&[&contestant.call], &[&contestant.output]));
    let bits: Vec<u32> = bytemuck::pod_collect_to_vec(&outputs.expect("the call runs")[0]);
    match contestant.is_packed {
        true => bits.chunks(WIDTH).flat_map(|token| token[..HEADS * DIM].to_vec()).collect(),
        false => bits,
    }
}
