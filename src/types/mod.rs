//! What is computed: the words that the reference, the plans and the GPU path share.

mod channels;
mod codes;
mod gate_order;
mod host;
mod number;
mod problem;
mod running;
mod words;

pub use channels::{Channels, RowOrder};
pub use codes::{CodeDtype, CodeFormat};
pub use gate_order::GateOrder;
#[cfg(feature = "gpu")]
pub(crate) use host::HostTensor;
pub use host::{BackwardInputs, ForwardInputs, Rows, RowsMut, Statistics};
pub use number::{Element, Real};
pub use problem::Problem;
pub use running::{KeptVariance, Running};
pub(crate) use running::{check_kept, check_statistics};
pub use words::{Activation, Affine, Dtype, Gradient, LEAST_GAIN, Normalization};
pub(crate) use words::{by_name, check_least_gain};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::plan::{AdapterKind, Kernel, RowSplit};
    use half::{bf16, f16};
    use std::fmt;
    use std::str::FromStr;

    #[test]
    fn each_norm_has_its_usual_parameters_and_eps() {
        let usual =
            |problem: Problem| (problem.normalization, problem.affine, problem.eps, problem.validate());
        assert_eq!(usual(Problem::layer(4)), (Normalization::Layer, Affine::GainBias, 1e-5, Ok(())));
        assert_eq!(usual(Problem::rms(4)), (Normalization::Rms, Affine::Gain, 1e-5, Ok(())));
        assert_eq!(usual(Problem::l2(4)), (Normalization::L2, Affine::None, 0.0, Ok(())));
        let group = Problem::group(6, 2, 5);
        assert_eq!(usual(group), (Normalization::Layer, Affine::GainBias, 1e-5, Ok(())));
        assert_eq!((group.cols, group.parameters()), (15, 6));
        assert!(Problem::group(6, 0, 5).validate().is_err());
    }

    #[test]
    fn validate_names_the_field_that_is_out_of_range() {
        let good = Problem { cols: 4, ..Problem::default() };
        assert_eq!(good.validate(), Ok(()));
        let message = |problem: Problem| problem.validate().unwrap_err().to_string();
        assert!(message(Problem { cols: 0, ..good }).starts_with("cols"), "zero cols");
        assert!(
            message(Problem { cols: Problem::MAX_COLS + 1, ..good }).starts_with("cols"),
            "too many cols"
        );
        for eps in [0.0, 1e-40, 1e-29] {
            assert_eq!(Problem { eps, ..good }.validate(), Ok(()), "eps {eps}");
        }
        for eps in [-1.0, -1e-40, f32::NAN, f32::INFINITY] {
            assert!(message(Problem { eps, ..good }).starts_with("eps"), "eps {eps}");
        }
        assert!(
            message(Problem { parameter_dtype: Dtype::F16, ..good }).starts_with("parameter_dtype"),
            "f32 rows with f16 parameters"
        );
    }

    /// Those of the host too: what is not given to a device is not uploaded.
    #[cfg(feature = "gpu")]
    #[test]
    fn inputs_have_every_tensor_of_their_operation() {
        use crate::op::Role;
        use crate::plan::{Backward, Forward, Operation, Tensor};
        let values = [0.0_f32; 4];
        let rows = Rows { data: &values[..], stride: 4 };
        let forward = ForwardInputs {
            residual: Some(rows),
            gate_input: Some(rows),
            gate: Some(&values[..]),
            gain: Some(&values[..]),
            bias: Some(&values[..]),
            row_gain: Some(&values[..]),
            mean: Some(&values[..]),
            variance: Some(&values[..]),
            running: Some(Running::new(&values[..], &values[..])),
            ..ForwardInputs::new(1, rows)
        };
        let backward = BackwardInputs {
            dsum: Some(rows),
            gate_input: Some(rows),
            branch: Some(rows),
            gate: Some(&values[..]),
            gain: Some(&values[..]),
            bias: Some(&values[..]),
            row_gain: Some(&values[..]),
            ..BackwardInputs::new(1, rows, rows)
        };
        let check = |operation: Operation, given: &[(&'static str, Option<HostTensor<'_>>)]| {
            // Backward's statistics are computed on the device.
            let from_host = |tensor| tensor != Tensor::Statistics;
            for used in operation.of_call(Affine::GainBias, Activation::Silu) {
                let name = used.tensor.name();
                let is_there = given.iter().any(|(has, given)| *has == name && given.is_some());
                assert!(
                    used.role == Role::Output || !from_host(used.tensor) || is_there,
                    "{name} of {operation:?}"
                );
            }
        };
        Forward::all().into_iter().for_each(|options| check(Operation::Forward(options), &forward.given()));
        let from_y = BackwardInputs { y: Some(rows), rstd: Some(&values[..]), ..backward };
        Backward::all().into_iter().for_each(|options| {
            let given = if options.from_y { from_y } else { backward };
            check(Operation::Backward(options), &given.given());
        });
    }

    #[test]
    fn rows_have_one_type_of_sixteen_bits() {
        use Dtype::{Bf16, F16, F32};
        let problem = |dtype, y_dtype, residual_dtype| {
            let problem = Problem { cols: 4, dtype, ..Problem::default() };
            Problem { y_dtype: Some(y_dtype), residual_dtype: Some(residual_dtype), ..problem }.validate()
        };
        for sixteen in [F16, Bf16] {
            for dtypes in
                [[F32, sixteen, F32], [F32, F32, sixteen], [F32, sixteen, sixteen], [sixteen, F32, F32]]
            {
                let [dtype, y_dtype, residual_dtype] = dtypes;
                assert_eq!(problem(dtype, y_dtype, residual_dtype), Ok(()), "{dtypes:?}");
            }
        }
        let message = problem(F16, Bf16, F32).unwrap_err().to_string();
        assert_eq!(message, "y_dtype is bf16, needs to be f16 or f32: rows have one type of 16 bits");
        let message = problem(F32, F16, Bf16).unwrap_err().to_string();
        assert_eq!(message, "residual_dtype is bf16, needs to be f16 or f32: rows have one type of 16 bits");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        fn check<T: FromStr<Err = Error> + fmt::Display + PartialEq + fmt::Debug>(all: &[T], says: &str) {
            for word in all {
                assert_eq!(word.to_string().parse().as_ref(), Ok(word));
            }
            for wrong in ["", "F32", " layer", "gain-bias"] {
                let error = wrong.parse::<T>().unwrap_err();
                assert_eq!(error.to_string(), says.replace("TEXT", &format!("{wrong:?}")));
            }
        }
        check(&Dtype::ALL, "dtype is TEXT, needs to be one of f32, f16, bf16");
        check(&Normalization::ALL, "normalization is TEXT, needs to be one of layer, rms, l2");
        check(
            &Affine::ALL,
            "affine is TEXT, needs to be one of none, gain, gain_bias, zero_centered_gain, zero_centered_gain_bias",
        );
        check(&Gradient::ALL, "gradient is TEXT, needs to be one of overwrite, accumulate");
        check(&RowSplit::ALL, "row split is TEXT, needs to be one of never, wide");
        check(&AdapterKind::ALL, "adapter kind is TEXT, needs to be one of gpu, software");
        let kernels = Kernel::ALL.map(Kernel::name).join(", ");
        check(&Kernel::ALL, &format!("kernel is TEXT, needs to be one of {kernels}"));
    }

    #[test]
    fn sixteen_bits_are_rounded_once() {
        let (a_hair, tie_f16, tie_bf16) = (2_f64.powi(-40), 2_f64.powi(-11), 2_f64.powi(-8));
        for sign in [1.0, -1.0] {
            let f16 = |value: f64| <f16 as Real>::from_f64(sign * value).to_f64() * sign;
            assert_eq!(f16(1.0 + tie_f16), 1.0, "to even");
            assert_eq!(f16(1.0 + tie_f16 + a_hair), 1.0 + 2.0 * tie_f16, "just above a tie");
            assert_eq!(f16(1.0 + 3.0 * tie_f16 - a_hair), 1.0 + 2.0 * tie_f16, "just below a tie");
            assert_eq!(f16(2_f64.powi(-25)), 0.0, "half the smallest");
            assert_eq!(
                f16(2_f64.powi(-25) + 2_f64.powi(-70)),
                2_f64.powi(-24),
                "just above half the smallest"
            );
            assert_eq!(f16(65520.0 - 2_f64.powi(-30)), 65504.0, "the largest");
            assert_eq!(f16(65520.0), f64::INFINITY, "beyond the largest");

            let bf16 = |value: f64| <bf16 as Real>::from_f64(sign * value).to_f64() * sign;
            assert_eq!(bf16(1.0 + tie_bf16), 1.0, "to even");
            assert_eq!(bf16(1.0 + tie_bf16 + a_hair), 1.0 + 2.0 * tie_bf16, "just above a tie");
            assert_eq!(bf16(1.0 + 3.0 * tie_bf16 - a_hair), 1.0 + 2.0 * tie_bf16, "just below a tie");
            assert_eq!(bf16(2_f64.powi(-200)), 0.0, "below the smallest float32");
            assert_eq!(bf16(1e300), f64::INFINITY, "beyond the largest float32");
            assert_eq!(bf16(f64::INFINITY), f64::INFINITY);
            assert!(bf16(f64::NAN).is_nan());
        }
    }

    #[test]
    fn sixteen_bit_values_survive_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(
                half.is_nan() || <f16 as Real>::from_f64(Real::to_f64(half)).to_bits() == bits,
                "{half:e}"
            );
            assert!(
                brain.is_nan() || <bf16 as Real>::from_f64(Real::to_f64(brain)).to_bits() == bits,
                "{brain:e}"
            );
        }
    }

    #[test]
    fn a_unit_roundoff_is_half_the_step_after_one() {
        assert_eq!(Dtype::F32.unit_roundoff(), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(Dtype::F16.unit_roundoff(), f16::EPSILON.to_f64() / 2.0);
        assert_eq!(Dtype::Bf16.unit_roundoff(), bf16::EPSILON.to_f64() / 2.0);
    }
}
