//! What is applied to z, which gain and bias make of xhat, and what dy becomes on its way back.

use crate::Activation;

/// What a gate is a factor by, and the derivative of that: `silu`.
pub(crate) fn gate(input: f64) -> [f64; 2] {
    [Activation::Silu.of(input), Activation::Silu.slope(input)]
}

impl Activation {
    /// y of z.
    pub(super) fn of(self, z: f64) -> f64 {
        match self {
            Self::None => z,
            // Its limit, where arithmetic has infinity times 0.
            Self::Silu if z == f64::NEG_INFINITY => 0.0,
            Self::Silu => z * sigmoid(z),
        }
    }

    /// The gradient of z, from that of y. NaN with an activation where dy is not finite: infinity times what
    /// is next to 0 would be anything.
    pub(crate) fn gradient(self, z: f64, dy: f64) -> f64 {
        match self {
            Self::None => dy,
            _ if !dy.is_finite() => f64::NAN,
            _ => dy * self.slope(z),
        }
    }

    /// The derivative of y by z.
    pub(crate) fn slope(self, z: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Silu if z.is_infinite() => f64::from(u8::from(z > 0.0)),
            Self::Silu => sigmoid(z) * z.mul_add(sigmoid(-z), 1.0),
        }
    }
}

/// `1 / (1 + exp(-z))`, by exp of no positive number, which would overflow.
fn sigmoid(z: f64) -> f64 {
    let exp = (-z.abs()).exp();
    if z < 0.0 { exp / (1.0 + exp) } else { 1.0 / (1.0 + exp) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silu_is_its_definition() {
        let silu = Activation::Silu;
        for (z, expected) in [
            (0.0, 0.0),
            (1.0, 0.731_058_578_630_004_9),
            (-1.0, -0.268_941_421_369_995_1),
            (20.0, 19.999_999_958_776_927),
            (-20.0, -4.122_307_236_380_407e-8),
        ] {
            assert!((silu.of(z) - expected).abs() <= 1e-15 * f64::abs(z), "{z}: {:e}", silu.of(z));
        }
    }

    #[test]
    fn the_slope_is_a_difference_quotient() {
        let silu = Activation::Silu;
        let h = 1e-5;
        for z in (-400..=400).map(|z| f64::from(z) / 20.0) {
            let quotient = (silu.of(z + h) - silu.of(z - h)) / (2.0 * h);
            assert!((quotient - silu.slope(z)).abs() < 1e-9, "{z}: {quotient} and {}", silu.slope(z));
        }
    }

    #[test]
    fn silu_is_defined_for_every_z() {
        let silu = Activation::Silu;
        let all = |z| (silu.of(z), silu.gradient(z, 2.0));
        assert_eq!(all(f64::INFINITY), (f64::INFINITY, 2.0));
        assert_eq!(all(f64::NEG_INFINITY), (0.0, 0.0));
        assert_eq!(all(1e300), (1e300, 2.0));
        assert_eq!(all(-1e300), (0.0, 0.0));
        assert!(all(f64::NAN).0.is_nan() && all(f64::NAN).1.is_nan());
        assert!(silu.gradient(-800.0, f64::INFINITY).is_nan());
        assert!(Activation::None.gradient(0.0, f64::INFINITY).is_infinite());
    }
}
