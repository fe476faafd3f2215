//! The paper's Table 1: norms, transformations, and what is invariant to what.

use serde::Serialize;

/// What a norm takes for the summed inputs of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norm {
    Batch,
    Weight,
    Layer,
    Rms,
}

impl Norm {
    pub(super) const ALL: [Self; 4] = [Self::Batch, Self::Weight, Self::Layer, Self::Rms];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch norm",
            Self::Weight => "weight norm",
            Self::Layer => "layer norm",
            Self::Rms => "RMS norm",
        }
    }

    /// Who says what the norm is invariant to.
    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::Batch | Self::Weight | Self::Layer => "Table 1",
            Self::Rms => "derived, not in the paper",
        }
    }

    /// What the paper's table has, by transformation; of RMS norm, which it has not, what follows from its
    /// formula: as layer norm, but nothing that moves the mean is taken out.
    pub(super) const fn is_invariant_to(self, transformation: Transformation) -> bool {
        use Transformation::{Case, Data, DataCenter, Matrix, MatrixCenter, Unit};
        match self {
            Self::Batch => matches!(transformation, Matrix | Unit | Data | DataCenter),
            Self::Weight => matches!(transformation, Matrix | Unit),
            Self::Layer => matches!(transformation, Matrix | MatrixCenter | Data | Case),
            Self::Rms => matches!(transformation, Matrix | Data | Case),
        }
    }
}

/// What is done to the weights or to the data of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transformation {
    Matrix,
    MatrixCenter,
    Unit,
    Data,
    DataCenter,
    Case,
}

impl Transformation {
    /// In the order of the table's columns.
    pub(super) const ALL: [Self; 6] =
        [Self::Matrix, Self::MatrixCenter, Self::Unit, Self::Data, Self::DataCenter, Self::Case];

    /// The paper's words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Matrix => "weight matrix re-scaling",
            Self::MatrixCenter => "weight matrix re-centering",
            Self::Unit => "weight vector re-scaling",
            Self::Data => "dataset re-scaling",
            Self::DataCenter => "dataset re-centering",
            Self::Case => "single training case re-scaling",
        }
    }

    /// Whether it multiplies, and does not add.
    pub(super) const fn is_scaling(self) -> bool {
        !matches!(self, Self::MatrixCenter | Self::DataCenter)
    }
}

/// What a measured change says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Invariant,
    NotInvariant,
    /// More than arithmetic explains, and less than what a transformation does to a norm that sees it.
    Neither,
}

impl Verdict {
    pub(super) const fn expected(is_invariant: bool) -> Self {
        if is_invariant { Self::Invariant } else { Self::NotInvariant }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Invariant => "invariant",
            Self::NotInvariant => "not",
            Self::Neither => "NEITHER",
        }
    }
}

/// From here on an output has changed. With the factor and the sizes of [`super::layer`] the least change
/// that a norm shows which sees its transformation is more than ten times as large (docs/invariances.md).
pub(super) const CHANGED: f64 = 1e-2;

/// What a change says, where arithmetic explains one of `explained`.
pub(super) fn judge(change: f64, explained: f64) -> Verdict {
    if change <= explained {
        Verdict::Invariant
    } else if change >= CHANGED {
        Verdict::NotInvariant
    } else {
        // NaN too.
        Verdict::Neither
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_those_of_the_paper() {
        let of = |norm: Norm| Transformation::ALL.map(|transformation| norm.is_invariant_to(transformation));
        assert_eq!(of(Norm::Batch), [true, false, true, true, true, false]);
        assert_eq!(of(Norm::Weight), [true, false, true, false, false, false]);
        assert_eq!(of(Norm::Layer), [true, true, false, true, false, true]);
        assert_eq!(of(Norm::Rms), [true, false, false, true, false, true]);
    }

    #[test]
    fn what_is_neither_small_nor_large_is_no_verdict() {
        assert_eq!(judge(0.0, 1e-6), Verdict::Invariant);
        assert_eq!(judge(1e-6, 1e-6), Verdict::Invariant);
        assert_eq!(judge(1.1e-6, 1e-6), Verdict::Neither);
        assert_eq!(judge(0.9e-2, 1e-6), Verdict::Neither);
        assert_eq!(judge(1e-2, 1e-6), Verdict::NotInvariant);
        assert_eq!(judge(f64::INFINITY, 1e-6), Verdict::NotInvariant);
        assert_eq!(judge(f64::NAN, 1e-6), Verdict::Neither);
    }
}
