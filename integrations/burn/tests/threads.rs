//! One device, several threads; and the same bits each time.

mod common;

use burn::tensor::Tensor;
use common::{Inputs, Results, device, run};
use std::sync::{Arc, Barrier};
use wgpu_layernorm_burn::{kernels, layer_norm, rms_norm};

const WIDTHS: [usize; 4] = [48, 100, 256, 1031];

fn of_width(cols: usize) -> Results {
    let inputs = Inputs::new(&[77, cols], cols, 1.0, true, true);
    run::<2>(&inputs, |x, gain, bias| {
        let y = layer_norm(x, gain.clone(), bias, 1e-5);
        rms_norm(y, gain, None, 1e-5)
    })
}

#[test]
fn threads_share_a_device() {
    let barrier = Arc::new(Barrier::new(2 * WIDTHS.len()));
    // Two threads a width, so that both want the same kernels at once.
    let threads: Vec<_> = WIDTHS
        .into_iter()
        .chain(WIDTHS)
        .map(|cols| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                barrier.wait();
                let first = of_width(cols);
                for _ in 0..3 {
                    assert_eq!(of_width(cols), first, "{cols} columns, another time");
                }
                (cols, first)
            })
        })
        .collect();
    let of_threads: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let made = kernels();
    for (cols, results) in of_threads {
        assert_eq!(of_width(cols), results, "{cols} columns, on this thread");
    }
    assert_eq!(kernels(), made, "what was there is not made again");
}

/// A tensor that one thread has made is read by others.
#[test]
fn threads_share_a_tensor() {
    let device = device();
    let x: Tensor<2> = common::vector(&common::values(1, 64 * 96), &device).reshape([64, 96]);
    let y = common::host(layer_norm(x.clone(), None, None, 1e-5));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let x = x.clone();
            std::thread::spawn(move || common::host(layer_norm(x, None, None, 1e-5)))
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), y);
    }
}
