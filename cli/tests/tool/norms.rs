//! `forward` and `backward` with each `--normalization`: which values make up a row, and what they become.

use crate::Room;
use crate::calls::{assert_close, assert_near, assert_similar, on_both};
use crate::files::{self, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use wgpu_layernorm::Real;

#[test]
fn rms_norm_keeps_the_mean() {
    let room = Room::new();
    files::write(&room.path("in"), &[("x", Tensor::f32(&[1, 2], &[3.0, 4.0]))]);
    let args = ["--x", "x", "--normalization", "rms", "--eps", "12.5"];
    let [cpu, adapter] = on_both(&room, &[&["forward", &room.path("in")], &args[..]].concat(), &["y"]);
    // The mean square is 12.5 too, so the root is 5.
    assert_close("y", &cpu[0], &Tensor::f32(&[1, 2], &[0.6, 0.8]), 2);
    assert_close("y", &adapter[0], &Tensor::f32(&[1, 2], &[0.6, 0.8]), 2);
}

#[test]
fn l2_divides_by_the_norm_or_by_eps_where_that_is_larger() {
    let room = Room::new();
    let x = [3.0, 4.0, 0.0, 0.0, 3e-30, -4e-30];
    let tensors =
        [("x", Tensor::f32(&[3, 2], &x)), ("dy", Tensor::f32(&[3, 2], &[1.0, 0.0, 1.0, 2.0, 0.0, 0.0]))];
    files::write(&room.path("in"), &tensors);
    let input = room.path("in");
    let forward = ["forward", &input, "--x", "x", "--normalization", "l2"];
    for (eps, expected) in [
        (&[][..], [0.6, 0.8, 0.0, 0.0, 0.6, -0.8]),
        (&["--eps", "10"], [0.3, 0.4, 0.0, 0.0, 3e-31, -4e-31]),
        (&["--eps", "torch"], [0.6, 0.8, 0.0, 0.0, 3e-18, -4e-18]),
    ] {
        for has in on_both(&room, &[&forward[..], eps].concat(), &["y"]) {
            assert_near("y", &has[0], &expected);
        }
    }
    let backward = ["backward", &input, "--x", "x", "--dy", "dy", "--normalization", "l2"];
    // (dy - y * sum(dy * y)) / norm, and 0 at the zero vector.
    for has in on_both(&room, &backward, &["dx"]) {
        assert_near("dx", &has[0], &[0.128, -0.096, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn channels_of_each_position_are_a_row() {
    let room = Room::new();
    let input = room.path("in");
    // Two samples of two channels at three positions, and the same with the channels last.
    let first = [1.0, 5.0, -2.0, 3.0, 1.0, 2.0, 0.0, 8.0, 4.0, 4.0, 2.0, 4.0];
    let at = |sample: usize, channel: usize, position: usize| first[6 * sample + 3 * channel + position];
    let positions = || (0..2).flat_map(|sample| (0..3).map(move |position| (sample, position)));
    let last: Vec<f32> = positions().flat_map(|(n, s)| [at(n, 0, s), at(n, 1, s)]).collect();
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&[2, 2, 3], &first)),
            ("last", Tensor::f32(&[2, 3, 2], &last)),
            ("g", Tensor::f32(&[2], &[2.0, 3.0])),
            ("b", Tensor::f32(&[2], &[0.5, 0.25])),
            ("none", Tensor::f32(&[2, 2, 0], &[])),
        ],
    );
    let y_of = |flags: &[&str], names: &[&str]| {
        let all = [&["forward", &input, "--gain", "g", "--bias", "b", "--eps", "0.25"], flags].concat();
        on_both(&room, &all, names)
    };
    let names = ["y", "mean", "rstd"];
    // Half the difference d of two channels has the variance d^2; with eps that is under the root.
    let expected = |channel: usize, n: usize, s: usize| {
        let half = (at(n, channel, s) - at(n, 1 - channel, s)) / 2.0;
        [2.0, 3.0][channel] * half / (half * half + 0.25).sqrt() + [0.5, 0.25][channel]
    };
    for has in y_of(&["--x", "x", "--normalization", "channel", "--statistics"], &names) {
        let y: Vec<f32> = (0..2)
            .flat_map(|n| (0..2).flat_map(move |c| (0..3).map(move |s| (c, n, s))))
            .map(|(c, n, s)| expected(c, n, s))
            .collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 2, 3], &y), 12);
        let means: Vec<f32> = positions().map(|(n, s)| (at(n, 0, s) + at(n, 1, s)) / 2.0).collect();
        assert_close("mean", &has[1], &Tensor::f32(&[2, 3], &means), 6);
        assert_eq!(has[2].shape, [2, 3]);
    }
    for has in y_of(&["--x", "last", "--normalization", "channel", "--channels-last"], &["y"]) {
        let y: Vec<f32> = positions().flat_map(|(n, s)| [expected(0, n, s), expected(1, n, s)]).collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 3, 2], &y), 12);
    }
    for has in y_of(&["--x", "x", "--normalization", "channel-rms"], &["y"]) {
        let value = |c: usize, n: usize, s: usize| {
            let square = (at(n, 0, s).powi(2) + at(n, 1, s).powi(2)) / 2.0;
            [2.0, 3.0][c] * at(n, c, s) / (square + 0.25).sqrt() + [0.5, 0.25][c]
        };
        let y: Vec<f32> = (0..2)
            .flat_map(|n| (0..2).flat_map(move |c| (0..3).map(move |s| (c, n, s))))
            .map(|(c, n, s)| value(c, n, s))
            .collect();
        assert_close("y", &has[0], &Tensor::f32(&[2, 2, 3], &y), 12);
    }
    for has in y_of(&["--x", "none", "--normalization", "channel", "--statistics"], &names) {
        assert_eq!((&has[0].shape[..], &has[1].shape[..]), (&[2, 2, 0][..], &[2, 0][..]));
    }
    let backward = ["backward", &input, "--x", "x", "--dy", "x", "--gain", "g", "--normalization", "channel"];
    for has in on_both(&room, &backward, &["dx", "dgain", "dbias"]) {
        let of_channel = |c| positions().map(|(n, s)| at(n, c, s)).sum();
        assert_close("dbias", &has[2], &Tensor::f32(&[2], &[of_channel(0), of_channel(1)]), 2);
        // What is added to all channels of a position changes nothing.
        let dx = has[0].values();
        for (n, s) in positions() {
            let both = [dx[6 * n + s], dx[6 * n + 3 + s]];
            assert!((both[0] + both[1]).abs() <= 1e-5, "{both:?}");
        }
    }
}

#[test]
fn weight_norm_has_a_norm_for_each_index_of_an_axis() {
    let room = Room::new();
    let input = room.path("in");
    // Along the first axis the norms are 5 and 0, along the second 3, 4 and 0.
    let tensors = [
        ("v", Tensor::f32(&[2, 3], &[3.0, 4.0, 0.0, 0.0, 0.0, 0.0])),
        ("dw", Tensor::f32(&[2, 3], &[1.0, 0.0, 2.0, 3.0, 1.0, 1.0])),
        ("g", Tensor::f32(&[2, 1], &[10.0, 7.0])),
        ("g16", Tensor::f16(&[1, 3], &[2.0, -1.0, 3.0])),
        ("v16", Tensor::f16(&[2, 3], &[3.0, 4.0, 0.0, 0.0, 0.0, 0.0])),
        ("dw16", Tensor::f16(&[2, 3], &[1.0, 0.0, 2.0, 3.0, 1.0, 1.0])),
    ];
    files::write(&input, &tensors);
    let weight = ["--normalization", "weight"];
    let rows = [&["forward", &input, "--x", "v", "--gain", "g", "--statistics"], &weight[..]].concat();
    for has in on_both(&room, &rows, &["y", "norm"]) {
        assert_near("w", &has[0], &[6.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((has[1].values(), &has[1].shape[..]), (vec![5.0, 0.0], &[2, 1][..]));
    }
    let of_columns =
        [&["forward", &input, "--x", "v16", "--gain", "g16", "--axis", "1"], &weight[..]].concat();
    for has in on_both(&room, &of_columns, &["y"]) {
        assert_eq!((has[0].dtype, has[0].values()), (Dtype::F16, vec![2.0, -1.0, 0.0, 0.0, 0.0, 0.0]));
    }
    let backward = [&["backward", &input, "--x", "v", "--dy", "dw", "--gain", "g"], &weight[..]].concat();
    // sum(dw * xhat) = 0.6, and g / norm * (dw - xhat * 0.6).
    for has in on_both(&room, &backward, &["dx", "dgain"]) {
        assert_near("dv", &has[0], &[1.28, -0.96, 4.0, 0.0, 0.0, 0.0]);
        assert_near("dg", &has[1], &[0.6, 0.0]);
        assert_eq!(has[1].shape, [2, 1]);
    }
    let backward =
        [&["backward", &input, "--x", "v16", "--dy", "dw16", "--gain", "g16", "--axis", "1"], &weight[..]]
            .concat();
    for has in on_both(&room, &backward, &["dx", "dgain"]) {
        // Of [3, 0] and [1, 3] the first is along v: dv has the second, times g / norm.
        assert_similar("dv", &has[0], &Tensor::f16(&[2, 3], &[0.0, 0.0, 0.0, 2.0, -0.25, 0.0]));
        assert_similar("dg", &has[1], &Tensor::f16(&[1, 3], &[1.0, 0.0, 0.0]));
    }
}

/// PyTorch's group norm, with the channels first and last.
#[test]
fn group_and_instance_norm_are_those_of_pytorch() {
    let room = Room::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/torch.safetensors");
    let bytes = std::fs::read(vectors).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, groups, flags) in [
        ("group.gain_bias.8.4.15", 4, &["--eps", "1e-5", "--normalization", "group", "--groups", "4"][..]),
        ("group.gain_bias.6.6.49", 6, &["--eps", "1e-6", "--normalization", "instance"]),
    ] {
        let of = |tensor: &str| format!("{name}.{tensor}");
        let narrow = |tensor: &str| -> Vec<f32> {
            bytemuck::pod_collect_to_vec(tensors.tensor(&of(tensor)).unwrap().data())
        };
        let expected = |tensor: &str| -> Vec<f32> {
            let wide: Vec<f64> = bytemuck::pod_collect_to_vec(tensors.tensor(&of(tensor)).unwrap().data());
            wide.into_iter().map(f32::from_f64).collect()
        };
        let shape = tensors.tensor(&of("x")).unwrap().shape().to_vec();
        let [samples, channels, spatial] = shape[..] else { panic!("{shape:?}") };
        let last = |values: &[f32]| -> Vec<f32> {
            let place = |n: usize, s: usize, c: usize| (n * channels + c) * spatial + s;
            let in_sample =
                move |n| (0..spatial).flat_map(move |s| (0..channels).map(move |c| place(n, s, c)));
            (0..samples).flat_map(in_sample).map(|place| values[place]).collect()
        };
        let input = room.path("in");
        let (last_shape, shape) = ([samples, spatial, channels], [samples, channels, spatial]);
        files::write(
            &input,
            &[
                ("x", Tensor::f32(&shape, &narrow("x"))),
                ("dy", Tensor::f32(&shape, &narrow("dy"))),
                ("x_last", Tensor::f32(&last_shape, &last(&narrow("x")))),
                ("dy_last", Tensor::f32(&last_shape, &last(&narrow("dy")))),
                ("g", Tensor::f32(&[channels], &narrow("gain"))),
                ("b", Tensor::f32(&[channels], &narrow("bias"))),
            ],
        );
        let rows = [samples, groups];
        let channels = [channels];
        for is_last in [false, true] {
            let (x, dy) = if is_last { ("x_last", "dy_last") } else { ("x", "dy") };
            let flags = [flags, if is_last { &["--channels-last"][..] } else { &[] }].concat();
            let of_rows = |values: Vec<f32>| match is_last {
                true => Tensor::f32(&last_shape, &last(&values)),
                false => Tensor::f32(&shape, &values),
            };
            let forward = ["forward", &input, "--x", x, "--gain", "g", "--bias", "b", "--statistics"];
            for has in on_both(&room, &[&forward, &flags[..]].concat(), &["y", "mean", "rstd"]) {
                assert_close("y", &has[0], &of_rows(expected("y")), samples * channels[0] * spatial);
                assert_close("mean", &has[1], &Tensor::f32(&rows, &expected("mean")), samples * groups);
                assert_close("rstd", &has[2], &Tensor::f32(&rows, &expected("rstd")), samples * groups);
            }
            let backward = ["backward", &input, "--x", x, "--dy", dy, "--gain", "g"];
            for has in on_both(&room, &[&backward, &flags[..]].concat(), &["dx", "dgain", "dbias"]) {
                assert_close("dx", &has[0], &of_rows(expected("dx")), samples * channels[0] * spatial);
                assert_close("dgain", &has[1], &Tensor::f32(&channels, &expected("dgain")), channels[0]);
                assert_close("dbias", &has[2], &Tensor::f32(&channels, &expected("dbias")), channels[0]);
            }
        }
    }
}

/// Means and biased variances of the channels of `[samples, channels, spatial]`.
fn moments(x: &[f32], [samples, channels, spatial]: [usize; 3]) -> Vec<[f64; 2]> {
    let of_channel = |channel: usize| -> [f64; 2] {
        let places =
            (0..samples).flat_map(|n| (0..spatial).map(move |s| (n * channels + channel) * spatial + s));
        let values: Vec<f64> = places.map(|place| f64::from(x[place])).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        [mean, variance]
    };
    (0..channels).map(of_channel).collect()
}

#[test]
fn batch_norm_keeps_running_statistics_and_is_normalized_by_them() {
    let room = Room::new();
    let shape = [3, 2, 5];
    let [samples, channels, spatial] = shape;
    let count = samples * spatial;
    let x: Vec<f32> = (0..30).map(|i| ((i * i * 7 + 3) % 23) as f32 - 5.0).collect();
    let dy: Vec<f32> = (0..30).map(|i| ((i * 5 + 1) % 11) as f32 * 0.5 - 2.0).collect();
    let last = |values: &[f32]| -> Vec<f32> {
        let place = move |n: usize, s: usize, c: usize| (n * channels + c) * spatial + s;
        let in_sample = move |n| (0..spatial).flat_map(move |s| (0..channels).map(move |c| place(n, s, c)));
        (0..samples).flat_map(in_sample).map(|place| values[place]).collect()
    };
    let (gain, bias, mean, variance) = ([1.5_f32, -0.5], [0.25_f32, 1.0], [1.0_f32, -2.0], [4.0_f32, 9.0]);
    let input = room.path("in");
    files::write(
        &input,
        &[
            ("x", Tensor::f32(&shape, &x)),
            ("dy", Tensor::f32(&shape, &dy)),
            ("x_last", Tensor::f32(&[samples, spatial, channels], &last(&x))),
            ("g", Tensor::f32(&[channels], &gain)),
            ("b", Tensor::f32(&[channels], &bias)),
            ("m", Tensor::f32(&[channels], &mean)),
            ("v", Tensor::f32(&[1, channels], &variance)),
        ],
    );
    let own = moments(&x, shape);
    let channel = |i: usize| i / spatial % channels;
    let normalized = |statistics: &[[f64; 2]]| -> Vec<f32> {
        let of = |(i, x): (usize, &f32)| {
            let [mean, variance] = statistics[channel(i)];
            let xhat = (f64::from(*x) - mean) / (variance + f64::from(1e-5_f32)).sqrt();
            f32::from_f64(f64::from(gain[channel(i)]) * xhat + f64::from(bias[channel(i)]))
        };
        x.iter().enumerate().map(of).collect()
    };
    let given: Vec<[f64; 2]> = (0..channels).map(|c| [f64::from(mean[c]), f64::from(variance[c])]).collect();
    let common = ["--gain", "g", "--normalization", "batch"];
    let affine = [&common[..], &["--bias", "b", "--running-mean", "m", "--running-variance", "v"]].concat();
    for (flags, new_share, factor) in [
        (&[][..], 0.1, count as f64 / (count - 1) as f64),
        (&["--mode", "training", "--momentum", "0.25"], 0.25, count as f64 / (count - 1) as f64),
        (&["--running", "onnx"], 0.1, 1.0),
        (&["--running", "onnx", "--momentum", "0.75"], 0.25, 1.0),
    ] {
        let average = |old: &[f32], new: &dyn Fn(usize) -> f64| -> Vec<f32> {
            let of = |c| f32::from_f64((1.0 - new_share) * f64::from(old[c]) + new_share * new(c));
            (0..channels).map(of).collect()
        };
        let forward = ["forward", &input, "--x", "x", "--statistics"];
        let names = ["y", "mean", "rstd", "running_mean", "running_variance"];
        for has in on_both(&room, &[&forward[..], &affine, flags].concat(), &names) {
            assert_close("y", &has[0], &Tensor::f32(&shape, &normalized(&own)), 30);
            let means: Vec<f32> = own.iter().map(|[mean, _]| f32::from_f64(*mean)).collect();
            assert_close("mean", &has[1], &Tensor::f32(&[channels], &means), 2);
            let kept_mean = average(&mean, &|c| own[c][0]);
            assert_close("running_mean", &has[3], &Tensor::f32(&[channels], &kept_mean), 2);
            let kept_variance = average(&variance, &|c| own[c][1] * factor);
            assert_close("running_variance", &has[4], &Tensor::f32(&[1, channels], &kept_variance), 2);
        }
    }
    let forward = ["forward", &input, "--x", "x_last", "--channels-last", "--mode", "inference"];
    for has in on_both(&room, &[&forward[..], &affine].concat(), &["y"]) {
        let expected = Tensor::f32(&[samples, spatial, channels], &last(&normalized(&given)));
        assert_close("y", &has[0], &expected, 30);
    }
    // Gradients of constants: dx is dy times a factor of the channel.
    let backward = ["backward", &input, "--x", "x", "--dy", "dy", "--mode", "inference"];
    let running = ["--running-mean", "m", "--running-variance", "v"];
    for has in on_both(&room, &[&backward[..], &common, &running].concat(), &["dx", "dgain", "dbias"]) {
        let rstd = |c: usize| 1.0 / (given[c][1] + f64::from(1e-5_f32)).sqrt();
        let dx: Vec<f32> = dy
            .iter()
            .enumerate()
            .map(|(i, dy)| f32::from_f64(f64::from(gain[channel(i)]) * rstd(channel(i)) * f64::from(*dy)))
            .collect();
        assert_close("dx", &has[0], &Tensor::f32(&shape, &dx), 30);
        let sums = |of: &dyn Fn(usize) -> f64| -> Vec<f32> {
            let sum = |c| (0..30).filter(|i| channel(*i) == c).map(of).sum::<f64>();
            (0..channels).map(|c| f32::from_f64(sum(c))).collect()
        };
        let xhat = |i: usize| (f64::from(x[i]) - given[channel(i)][0]) * rstd(channel(i));
        let dgain = sums(&|i| f64::from(dy[i]) * xhat(i));
        assert_close("dgain", &has[1], &Tensor::f32(&[channels], &dgain), 2);
        let dbias = sums(&|i| f64::from(dy[i]));
        assert_close("dbias", &has[2], &Tensor::f32(&[channels], &dbias), 2);
    }
}
