//! The kernels on every adapter against numbers that nobody here computed: the layer norms of a trained
//! model, and PyTorch's on data whose mean is far from 0.

mod faults;

use faults::{FAULTS, Fault};
use safetensors::SafeTensors;
use wgpu_layernorm::plan::{Backward, Forward, Plan};
use wgpu_layernorm::{BackwardInputs, Context, Dtype, ForwardInputs, Problem, Rows, adapters};

/// What a float32 result may be off, in units of 2^-24 of the largest value of its row (of its tensor for
/// dgain and dbias), beyond the half place that an expected value in float32 has been rounded by.
const UNITS: f64 = 4.0;

/// What a known fault may be off: it excuses a digit, not a wrong result.
const MOST_UNITS: f64 = 2.0 * UNITS;

fn contexts() -> Vec<Context> {
    let contexts: Vec<_> = pollster::block_on(adapters())
        .iter()
        .map(|adapter| pollster::block_on(Context::open(adapter)))
        .collect::<Result<_, _>>()
        .expect("every adapter opens");
    assert!(
        !contexts.is_empty(),
        "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu"
    );
    contexts
}

fn f32s(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    bytemuck::pod_collect_to_vec(tensor.data())
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().map(|value| value.abs()).fold(0.0, f64::max)
}

/// The worst error in units, by rows of `cols`; `half_place` is what an expected value may be off itself.
fn units(got: &[f32], expected: &[f64], cols: usize, half_place: impl Fn(f64) -> f64) -> f64 {
    assert_eq!(got.len(), expected.len());
    let row_units = |(got, expected): (&[f32], &[f64])| {
        let error =
            |(got, expected): (&f32, &f64)| (f64::from(*got) - expected).abs() - half_place(*expected);
        let errors: Vec<f64> = got.iter().zip(expected).map(error).collect();
        assert!(errors.iter().all(|error| error.is_finite()), "a result is not finite");
        errors.into_iter().fold(0.0, f64::max) / (largest(expected) * Dtype::F32.unit_roundoff())
    };
    got.chunks(cols).zip(expected.chunks(cols)).map(row_units).fold(0.0, f64::max)
}

#[allow(clippy::cast_possible_truncation, reason = "the value is a float32")]
fn half_place_of_f32(value: f64) -> f64 {
    (f64::from((value.abs() as f32).next_up()) - value.abs()) / 2.0
}

#[test]
fn the_norms_of_a_trained_model_are_within_four_units() {
    let bytes = include_bytes!("fixtures/minilm_layer_norms.safetensors");
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let eps: f32 = metadata.metadata().as_ref().unwrap()["eps"].parse().unwrap();
    let norms: Vec<String> =
        tensors.names().iter().filter_map(|name| name.strip_suffix(".x")).map(str::to_owned).collect();
    assert_eq!(norms.len(), 13);
    let fault_name = |norm: &str, output: &str| format!("accuracy/{norm}.{output}");
    let outputs = ["y", "rstd", "dx", "dgain", "dbias"];
    let names: Vec<String> =
        norms.iter().flat_map(|norm| outputs.map(|output| fault_name(norm, output))).collect();
    for context in contexts() {
        faults::check_names(FAULTS, "accuracy/", &context.description(), &names).unwrap();
        for norm in &norms {
            let tensor = |name: &str| f32s(&tensors, &format!("{norm}.{name}"));
            let (x, dy, gain, bias) = (tensor("x"), tensor("dy"), tensor("gain"), tensor("bias"));
            let cols = gain.len();
            let rows = x.len() / cols;
            let problem = Problem { cols: u32::try_from(cols).unwrap(), eps, ..Problem::default() };
            let caps = context.caps();
            let forward_kernel = Plan::forward(&problem, Forward::default(), 4, &caps).unwrap().kernel;
            let backward_kernel = Plan::backward(&problem, Backward::default(), 4, &caps).unwrap().kernel;
            let dense = |data| Rows { data, stride: cols };
            let inputs = ForwardInputs {
                gain: Some(&gain[..]),
                bias: Some(&bias[..]),
                ..ForwardInputs::new(rows, dense(&x[..]))
            };
            let forward = context.forward_blocking(&problem, &inputs).unwrap();
            let inputs = BackwardInputs {
                gain: Some(&gain[..]),
                ..BackwardInputs::new(rows, dense(&x[..]), dense(&dy[..]))
            };
            let backward = context.backward_blocking(&problem, &inputs).unwrap();
            let rstd: Vec<f32> = forward.statistics.iter().map(|statistics| statistics.rstd).collect();
            for (name, got, cols) in [
                ("y", &forward.y, cols),
                ("rstd", &rstd, 1),
                ("dx", &backward.dx, cols),
                ("dgain", backward.dgain.as_ref().unwrap(), cols),
                ("dbias", backward.dbias.as_ref().unwrap(), cols),
            ] {
                let units = units(got, &widened(&tensor(name)), cols, half_place_of_f32);
                let adapter = context.description();
                assert!(units <= MOST_UNITS, "{adapter}: {norm}.{name} is off by {units:.2} units");
                let kernel = if ["y", "rstd"].contains(&name) { forward_kernel } else { backward_kernel };
                let result = if units <= UNITS { Ok(()) } else { Err(format!("off by {units:.2} units")) };
                let test = fault_name(norm, name);
                if let Err(error) = faults::judge(FAULTS, &adapter, kernel.name(), &test, result) {
                    panic!("{adapter}, {}, {test}: {error}", kernel.name());
                }
            }
        }
    }
}

/// Mean 1e4 and 1e6 times the standard deviation: within the same four units, where PyTorch's float32 layer
/// norm on the same data is off by thousands.
#[test]
fn a_large_mean_costs_no_accuracy() {
    let bytes = include_bytes!("vectors/torch.safetensors");
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    for context in contexts() {
        for case in ["large_mean_1e4", "large_mean_1e6"] {
            let tensor = |name: &str| f32s(&tensors, &format!("{case}.{name}"));
            let (x, gain, bias) = (tensor("x"), tensor("gain"), tensor("bias"));
            let cols = gain.len();
            let expected: Vec<f64> =
                bytemuck::pod_collect_to_vec(tensors.tensor(&format!("{case}.y")).unwrap().data());
            let problem = Problem { cols: u32::try_from(cols).unwrap(), ..Problem::default() };
            let inputs = ForwardInputs {
                gain: Some(&gain[..]),
                bias: Some(&bias[..]),
                ..ForwardInputs::new(x.len() / cols, Rows { data: &x[..], stride: cols })
            };
            let y = context.forward_blocking(&problem, &inputs).unwrap().y;
            let (ours, pytorch) = (
                units(&y, &expected, cols, |_| 0.0),
                units(&tensor("y_torch_f32"), &expected, cols, |_| 0.0),
            );
            println!("{}: {case}: {ours:.2} units, PyTorch {pytorch:.0}", context.description());
            assert!(ours <= UNITS, "{}: {case} is off by {ours:.2} units", context.description());
            assert!(ours < pytorch, "PyTorch is off by {pytorch:.2} units only");
        }
    }
}

#[test]
fn a_known_fault_passes_where_it_shows_and_fails_where_it_does_not() {
    let fault =
        Fault { adapter: "GPU", driver: "1.2", kernel: "forward_cached", test: "wide", reason: "of rain" };
    let judge =
        |adapter, kernel, test, result| faults::judge(&[Fault { ..fault }], adapter, kernel, test, result);
    assert_eq!(judge("GPU [vulkan, 1.2]", "forward_cached", "a/wide/row", Err("wrong")), Ok(()));
    let gone = judge("GPU [vulkan, 1.2]", "forward_cached", "a/wide/row", Ok(())).unwrap_err();
    assert!(gone.contains("no longer shows") && gone.contains("of rain"), "{gone}");
    for (adapter, kernel, test) in [
        ("GPU [vulkan, 1.3]", "forward_cached", "a/wide/row"),
        ("CPU [vulkan, 1.2]", "forward_cached", "a/wide/row"),
        ("GPU [vulkan, 1.2]", "forward_streamed", "a/wide/row"),
        ("GPU [vulkan, 1.2]", "forward_cached", "a/narrow/row"),
    ] {
        assert_eq!(judge(adapter, kernel, test, Err("wrong")), Err("wrong".to_owned()));
        assert_eq!(judge(adapter, kernel, test, Ok(())), Ok(()));
    }
    let check_names =
        |adapter, test: &str| faults::check_names(&[Fault { ..fault }], "wi", adapter, &[test.to_owned()]);
    assert_eq!(check_names("GPU [vulkan, 1.2]", "a/wide/row"), Ok(()));
    assert_eq!(check_names("GPU [vulkan, 1.3]", "a/narrow/row"), Ok(()), "of no adapter that is here");
    assert!(check_names("GPU [vulkan, 1.2]", "a/narrow/row").unwrap_err().contains("wide"));
}
