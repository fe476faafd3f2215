//! What it takes to compile kernels on Mesa's software rasterizer, whose users' CI pays for it: seconds of
//! the process, from a problem to the end of a first, small call, with Mesa's cache off.
//!
//!     cargo test --release --workspace --test compile_time              some kernels, held against a bound
//!     cargo test --release --workspace --test compile_time -- table     the figures of docs/lab/compile-time.md
//!
//! A driver reads its environment when it is loaded, so the program runs itself.

use std::process::{Command, ExitCode};
use wgpu_layernorm::{
    Activation, BackwardBuffers, Context, Dtype, ForwardBuffers, Gradient, Kernels, LayerNorm,
    LayerNormDescriptor, Prepared, WarmOptions, adapters,
    plan::{Backward, Forward, RowSplit},
    wgpu,
};

const ROWS: u64 = 8;

/// Far above what any of these calls takes on an idle machine of today (1 s), or on a busy one (1.3 s), and
/// below what backward took of a row of 1024 columns when all its accesses were written out (4 s), and of
/// split rows when chunks were long and what is known of a block's rows was looked up by their number (3.9 s
/// in f32, 7.3 in bfloat16).
const MOST_SECONDS: f64 = 2.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Forward,
    ForwardResidual,
    Backward,
    BackwardDx,
    /// With an activation, behind which dz is made of x, gain and bias.
    BackwardSilu,
}

/// Seconds that all threads of the process have computed.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    // Behind the name, which may hold spaces: state, ten numbers, user and system time in hundredths of a
    // second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

struct Buffers {
    rows: [wgpu::Buffer; 4],
    vectors: [wgpu::Buffer; 4],
    statistics: wgpu::Buffer,
}

impl Buffers {
    fn new(device: &wgpu::Device, cols: u32) -> Self {
        let buffer = |size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        Self {
            rows: [(); 4].map(|()| buffer(ROWS * u64::from(cols) * 4)),
            vectors: [(); 4].map(|()| buffer(u64::from(cols) * 4)),
            statistics: buffer(ROWS * 8),
        }
    }

    fn prepare(&self, norm: &LayerNorm, call: Call) -> Prepared {
        let ([a, b, c, d], [gain, bias, dgain, dbias]) = (&self.rows, &self.vectors);
        if let Call::Forward | Call::ForwardResidual = call {
            let with_residual = call == Call::ForwardResidual;
            return norm
                .prepare_forward(&ForwardBuffers {
                    gain: Some(gain.into()),
                    bias: Some(bias.into()),
                    residual: with_residual.then(|| c.into()),
                    sum: with_residual.then(|| d.into()),
                    statistics: with_residual.then(|| (&self.statistics).into()),
                    ..ForwardBuffers::new(ROWS, a, b)
                })
                .expect("the call is valid");
        }
        let with_parameters = call != Call::BackwardDx;
        norm.prepare_backward(&BackwardBuffers {
            gain: Some(gain.into()),
            bias: (call == Call::BackwardSilu).then(|| bias.into()),
            dx: Some(c.into()),
            dgain: with_parameters.then(|| dgain.into()),
            dbias: with_parameters.then(|| dbias.into()),
            ..BackwardBuffers::new(ROWS, a, b, &self.statistics)
        })
        .expect("the call is valid")
    }
}

/// Compiles the kernels of a call, prints what it took and returns that.
fn compile(context: &Context, call: Call, dtype: Dtype, cols: u32, row_split: RowSplit) -> f64 {
    let buffers = Buffers::new(context.device(), cols);
    let activation = if call == Call::BackwardSilu { Activation::Silu } else { Activation::None };
    let descriptor =
        LayerNormDescriptor { cols, dtype, row_split, activation, ..LayerNormDescriptor::default() };
    let kernels = Kernels::new(context.device(), context.queue());
    let norm = LayerNorm::new(&kernels, &descriptor).expect("the descriptor is valid");
    let before = cpu_seconds();
    let prepared = buffers.prepare(&norm, call);
    pollster::block_on(context.run(&[&prepared], &[&buffers.statistics])).expect("the call runs");
    let seconds = cpu_seconds() - before;
    let split = if row_split == RowSplit::Wide { ", split" } else { "" };
    println!("{call:?} {dtype} {cols}{split}: {seconds:.2} s");
    seconds
}

/// Mesa's software rasterizer, on Vulkan and GL, as far as it is there.
fn contexts() -> Vec<Context> {
    let is_mesa = |context: &Context| context.description().to_lowercase().contains("llvmpipe");
    let adapters = pollster::block_on(adapters());
    let open = |adapter| pollster::block_on(Context::open(adapter)).expect("the adapter opens");
    let contexts: Vec<_> = adapters.iter().map(open).filter(is_mesa).collect();
    for context in &contexts {
        // The first call pays for what all share.
        compile(context, Call::Forward, Dtype::F32, 4, RowSplit::Never);
    }
    contexts
}

const COLD: &str = "MESA_SHADER_CACHE_DISABLE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_os = "linux") {
        println!(
            "test no_kernel_takes_long_to_compile: Mesa's rasterizer is Linux's\n0 passed, 0 failed, 1 skipped"
        );
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(COLD).is_none() {
        let this = std::env::current_exe().expect("the test has a file");
        let status = Command::new(this).args(&arguments).env(COLD, "true").status().expect("the test runs");
        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if arguments.iter().any(|argument| argument == "table") {
        print_table();
        return ExitCode::SUCCESS;
    }
    let slow = [slow_kernels(), warmed_kernels()].concat();
    slow.iter().for_each(|slow| println!("FAILED: {slow}"));
    println!("{} passed, {} failed", usize::from(slow.is_empty()), usize::from(!slow.is_empty()));
    if slow.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What takes longer than it may.
fn slow_kernels() -> Vec<String> {
    let mut slow = Vec::new();
    for context in contexts() {
        for (call, dtype, cols, row_split) in [
            (Call::Forward, Dtype::F32, 1024, RowSplit::Never),
            (Call::ForwardResidual, Dtype::F16, 1024, RowSplit::Never),
            (Call::ForwardResidual, Dtype::F32, 1025, RowSplit::Never),
            (Call::Backward, Dtype::F32, 64, RowSplit::Never),
            (Call::Backward, Dtype::F32, 1024, RowSplit::Never),
            (Call::Backward, Dtype::Bf16, 1025, RowSplit::Never),
            (Call::Backward, Dtype::F32, 2048, RowSplit::Never),
            (Call::Forward, Dtype::Bf16, 4096, RowSplit::Wide),
            (Call::Backward, Dtype::F32, 4096, RowSplit::Wide),
            (Call::Backward, Dtype::Bf16, 4096, RowSplit::Wide),
        ] {
            let seconds = compile(&context, call, dtype, cols, row_split);
            if seconds > MOST_SECONDS {
                let name = context.description();
                slow.push(format!(
                    "{call:?} {dtype} {cols} on {name}: {seconds:.2} s, {MOST_SECONDS} allowed"
                ));
            }
        }
    }
    slow
}

/// What is compiled by a first call although it was warmed: a driver may compile a kernel for the numbers of
/// its uniform, so it has to be run as calls run it.
fn warmed_kernels() -> Vec<String> {
    let overwrite = Some(Gradient::Overwrite);
    let backward = Backward { dx: overwrite, dgain: overwrite, dbias: overwrite, ..Backward::default() };
    let mut slow = Vec::new();
    for (context, cols) in contexts().iter().flat_map(|context| [1024, 2048].map(|cols| (context, cols))) {
        let kernels = Kernels::new(context.device(), context.queue());
        let norm = LayerNorm::new(&kernels, &LayerNormDescriptor::layer(cols)).expect("it is valid");
        let buffers = Buffers::new(context.device(), cols);
        let options = WarmOptions {
            forward: &[Forward::default()],
            backward: &[backward],
            submit: true,
            ..WarmOptions::default()
        };
        let before = cpu_seconds();
        norm.warm(&options).expect("the options are valid");
        pollster::block_on(context.run(&[], &[&buffers.statistics])).expect("the queue is waited for");
        let warmed = cpu_seconds();
        let calls = [Call::Forward, Call::Backward].map(|call| buffers.prepare(&norm, call));
        let calls = calls.each_ref();
        pollster::block_on(context.run(&calls, &[&buffers.statistics])).expect("the calls run");
        let [warming, first] = [warmed - before, cpu_seconds() - warmed];
        println!("warming {cols} columns: {warming:.2} s, the first calls: {first:.2} s");
        if first > warming / 4.0 {
            let name = context.description();
            slow.push(format!("{cols} columns on {name}: warmed in {warming:.2} s, then {first:.2} s"));
        }
    }
    slow
}

fn print_table() {
    for context in contexts() {
        println!("{}", context.description());
        let mut of_widths = 0.0;
        for cols in [128, 192, 256, 320, 384, 512, 640, 768, 896, 1024] {
            for call in [Call::Forward, Call::Backward] {
                of_widths += compile(&context, call, Dtype::F32, cols, RowSplit::Never);
            }
        }
        println!("ten widths of forward and backward: {of_widths:.1} s");
        for dtype in Dtype::ALL {
            for cols in [64, 1000, 1024, 1025, 2048] {
                for call in [
                    Call::Forward,
                    Call::ForwardResidual,
                    Call::Backward,
                    Call::BackwardDx,
                    Call::BackwardSilu,
                ] {
                    compile(&context, call, dtype, cols, RowSplit::Never);
                }
            }
            for call in [Call::Forward, Call::Backward] {
                compile(&context, call, dtype, 4096, RowSplit::Wide);
            }
        }
    }
}
