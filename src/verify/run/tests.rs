//! What a case is not run with, and what it is judged by.

use super::*;
use crate::gpu::AdapterChoice;
use crate::plan::Backward;
use crate::types::Gradient;

/// The buffers say once what becomes of dgain and dbias.
#[test]
fn a_case_whose_options_are_lost_is_not_run() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
    let backward = Backward {
        dgain: Some(Gradient::Overwrite),
        dbias: Some(Gradient::Accumulate),
        ..Backward::default()
    };
    let case = Case::new(Problem::layer(4), 2, Task::Backward(backward));
    let error = pollster::block_on(run(&context, &case)).unwrap_err();
    assert!(error.to_string().starts_with("option dbias_accumulate is another"), "{error}");
}

/// Of so many sums in float32 some lie halfway between two numbers of 16 bits, where the exact sum does
/// not: rounded from float64 they would be other numbers than the device's.
#[test]
fn a_sum_that_is_not_written_is_the_one_that_the_device_stores() {
    let context = Context::new_blocking(&AdapterChoice::Auto).expect("an adapter");
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let problem = Problem { cols: 20_000, residual_dtype: Some(dtype), ..Problem::default() };
        let forward = Forward { residual: true, without_sum: true, ..Forward::default() };
        let case = Case::new(problem, 10, Task::Forward(forward));
        let outcome = pollster::block_on(run(&context, &case)).unwrap();
        assert_eq!(outcome.failures, Vec::<String>::new(), "{}", case.name());
        let sum = outcome.errors.iter().find(|error| error.tensor == Tensor::Sum);
        assert!(sum.is_some_and(|error| error.units > 0.0), "it is judged: {sum:?}");
    }
}
