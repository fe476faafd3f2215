//! What it takes to compile kernels on Mesa's software rasteriser, whose users' CI pays for it: seconds of the process, from a
//! problem to the end of a first, small call, with Mesa's cache off.
//!
//!     cargo test --release --workspace --test compile_time
//!     cargo test --release --workspace --test compile_time -- --ignored --nocapture table
#![cfg(target_os = "linux")]

use std::process::Command;
use wgpu_layernorm::{
    BackwardBuffers, Context, Dtype, ForwardBuffers, LayerNorm, LayerNormDescriptor, Prepared, adapters,
    plan::RowSplit, wgpu,
};

const ROWS: u64 = 8;

/// Far above what any kernel takes on an idle machine of today, and below what a row of 1024 columns in backward took when all
/// its accesses were written out (4 s).
const MOST_SECONDS: f64 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Forward,
    ForwardResidual,
    Backward,
    BackwardDx,
}

/// Seconds that all threads of the process have computed.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    // Behind the name, which may hold spaces: state, ten numbers, user and system time in hundredths of a second.
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
        let with_parameters = call == Call::Backward;
        norm.prepare_backward(&BackwardBuffers {
            gain: Some(gain.into()),
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
    let descriptor = LayerNormDescriptor { cols, dtype, row_split, ..LayerNormDescriptor::default() };
    let norm = LayerNorm::new(context.device(), &descriptor).expect("the descriptor is valid");
    let before = cpu_seconds();
    let prepared = buffers.prepare(&norm, call);
    pollster::block_on(context.run(&[&prepared], &[&buffers.statistics])).expect("the call runs");
    let seconds = cpu_seconds() - before;
    let split = if row_split == RowSplit::Always { ", split" } else { "" };
    println!("{call:?} {dtype} {cols}{split}: {seconds:.2} s");
    seconds
}

/// Mesa's software rasteriser, on Vulkan and GL, as far as it is there.
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

/// A driver reads its environment when it is loaded: the test named `inner` runs in a process of its own.
fn without_cache(inner: &str) {
    let output = Command::new(std::env::current_exe().expect("the test has a file"))
        .args(["--ignored", "--exact", "--nocapture", inner])
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .output()
        .expect("the test runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}

#[test]
fn no_kernel_takes_long_to_compile() {
    without_cache("kernels_compile_cold");
}

#[test]
#[ignore = "runs within no_kernel_takes_long_to_compile"]
fn kernels_compile_cold() {
    for context in contexts() {
        for (call, dtype, cols, row_split) in [
            (Call::Forward, Dtype::F32, 1024, RowSplit::Never),
            (Call::ForwardResidual, Dtype::F16, 1024, RowSplit::Never),
            (Call::Backward, Dtype::F32, 64, RowSplit::Never),
            (Call::Backward, Dtype::F32, 1024, RowSplit::Never),
            (Call::Backward, Dtype::F32, 2048, RowSplit::Never),
        ] {
            let seconds = compile(&context, call, dtype, cols, row_split);
            let name = context.description();
            assert!(seconds < MOST_SECONDS, "{call:?} {dtype} {cols} on {name}: {seconds:.2} s");
        }
    }
}

/// Prints the figures of docs/performance.md.
#[test]
#[ignore = "takes a minute, and asserts nothing"]
fn table() {
    without_cache("print_table");
}

#[test]
#[ignore = "runs within table"]
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
                for call in [Call::Forward, Call::ForwardResidual, Call::Backward, Call::BackwardDx] {
                    compile(&context, call, dtype, cols, RowSplit::Never);
                }
            }
            for call in [Call::Forward, Call::Backward] {
                compile(&context, call, dtype, 4096, RowSplit::Always);
            }
        }
    }
}
