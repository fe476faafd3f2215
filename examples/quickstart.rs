//! Layer norm of two rows, forward and backward, through the convenience layer.
//!
//!     cargo run --release --example quickstart

use wgpu_layernorm::reference::{BackwardInputs, ForwardInputs};
use wgpu_layernorm::{AdapterChoice, Context, Error, Problem, Rows};

fn main() -> Result<(), Error> {
    let context = Context::new_blocking(&AdapterChoice::Auto)?;
    println!("on {}", context.description());

    let problem = Problem { cols: 4, ..Problem::default() };
    let x = [1.0_f32, 2.0, 3.0, 4.0, 40_000.0, 40_001.0, 40_002.0, 40_003.0];
    let (gain, bias) = ([1.0_f32, 1.0, 2.0, 2.0], [0.0_f32, 0.0, 0.5, 0.5]);
    let rows = Rows { data: &x[..], stride: 4 };

    let inputs =
        ForwardInputs { gain: Some(&gain[..]), bias: Some(&bias[..]), ..ForwardInputs::new(2, rows) };
    let forward = context.forward_blocking(&problem, &inputs)?;
    for (y, statistics) in forward.y.chunks(4).zip(&forward.statistics) {
        println!("y {y:?}, mean {}, rstd {}", statistics.mean, statistics.rstd);
    }

    let dy = [1.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let inputs = BackwardInputs {
        gain: Some(&gain[..]),
        ..BackwardInputs::new(2, rows, Rows { data: &dy[..], stride: 4 })
    };
    let backward = context.backward_blocking(&problem, &inputs)?;
    println!("dx {:?}", backward.dx);
    println!("dgain {:?}, dbias {:?}", backward.dgain, backward.dbias);
    Ok(())
}
