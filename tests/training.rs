//! The example of training, which holds its gradients against the reference.

#[path = "../examples/training.rs"]
#[allow(dead_code, reason = "the example has a main of its own")]
mod training;

#[test]
fn a_step_over_a_pool_has_the_gradients_of_the_reference() {
    training::train().unwrap();
}
