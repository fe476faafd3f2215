//! `layernorm invariances`: Table 1 of the layer-norm paper, measured.

mod layer;
mod table;

use crate::compute::{AdapterFlag, Compute};
use crate::failure::Failure;
use crate::output;
use clap::Args;
use layer::{CASES, EPS, FACTOR, INPUTS, Layer, Normalized, UNITS};
use serde::Serialize;
use table::{CHANGED, Norm, Transformation, Verdict, judge};

/// Measure what batch, weight and layer norm are invariant to, and hold it against the paper.
///
/// Table 1 of Ba, Kiros, Hinton, "Layer Normalization" (2016): six transformations of the weights and the
/// data of a dense layer, and for each norm whether its output stays. The summed inputs are computed on the
/// host in float64 and rounded to float32, and normalized by the kernels. Printed is how much the normalized
/// output of all cases changes, relative to its size; how much of a change eps and float32 explain; the
/// verdict; and the paper's. A change that is explained is invariant, and from 0.01 on it is not. Anything
/// between is neither, and counts as wrong. RMS norm, which the paper has not, is held against what follows
/// from its formula.
///
/// The text of section 5.1 says that all the methods are invariant to re-scaling the dataset. The table says
/// no for weight norm, which does not look at the data, and the table is right.
///
/// Exit code 1 if a verdict is not the expected one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm invariances
  layernorm invariances --adapter cpu --json")]
pub(crate) struct Invariances {
    #[command(flatten)]
    adapter: AdapterFlag,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// One norm under one transformation.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    norm: &'static str,
    transformation: &'static str,
    /// Of the normalized output, relative to its size: roots of sums of squares.
    change: f64,
    /// The most that eps and float32 explain.
    explained: f64,
    verdict: Verdict,
    expected: Verdict,
    source: &'static str,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    adapter: &'a str,
    cases: usize,
    inputs: usize,
    units: usize,
    factor: f64,
    eps: f32,
    changed_from: f64,
    cells: &'a [Cell],
}

pub(crate) fn run(args: &Invariances) -> Result<(), Failure> {
    let compute = Compute::choose(&args.adapter.adapter)?;
    let cells = measure(&compute)?;
    let adapter = compute.describe();
    if args.json {
        output::print(&json(&adapter, &cells)?)?;
    } else {
        output::print(&text(&adapter, &cells))?;
    }
    conclude(&cells)
}

fn measure(compute: &Compute) -> Result<Vec<Cell>, Failure> {
    let layer = Layer::new();
    let mut cells = Vec::new();
    for norm in Norm::ALL {
        let before = layer.normalized(compute, norm)?;
        for transformation in Transformation::ALL {
            let after = layer.transformed(transformation).normalized(compute, norm)?;
            cells.push(Cell::new(norm, transformation, &before, &after));
        }
    }
    Ok(cells)
}

impl Cell {
    fn new(norm: Norm, transformation: Transformation, before: &Normalized, after: &Normalized) -> Self {
        let difference: Vec<f64> =
            before.y.iter().zip(&after.y).map(|(before, after)| after - before).collect();
        let change = layer::norm_of(&difference) / layer::norm_of(&before.y);
        let explained = before.rounding + after.rounding + by_eps(transformation, before.least_variance);
        Self {
            norm: norm.name(),
            transformation: transformation.name(),
            change,
            explained,
            verdict: judge(change, explained),
            expected: Verdict::expected(norm.is_invariant_to(transformation)),
            source: norm.source(),
        }
    }
}

/// What eps changes of xhat, relative to itself, where a set becomes [`FACTOR`] times what it was.
fn by_eps(transformation: Transformation, least_variance: f64) -> f64 {
    if !transformation.is_scaling() {
        return 0.0;
    }
    f64::from(EPS) / (2.0 * least_variance) * (1.0 - FACTOR.powi(-2)).abs()
}

fn text(adapter: &str, cells: &[Cell]) -> String {
    let header = ["norm", "transformation", "verdict", "expected", "by", "change", "explained"];
    let mut table = output::table(&header, 5);
    for cell in cells {
        let verdict = cell.verdict.name();
        table.add_row([
            cell.norm.to_owned(),
            cell.transformation.to_owned(),
            if cell.verdict == cell.expected { verdict.to_owned() } else { format!("{verdict} WRONG") },
            cell.expected.name().to_owned(),
            cell.source.to_owned(),
            format!("{:.1e}", cell.change),
            format!("{:.1e}", cell.explained),
        ]);
    }
    format!(
        "\n{adapter}\n\n{table}\n\n\
         Ba, Kiros, Hinton, \"Layer Normalization\" (2016), Table 1: {CASES} cases, {INPUTS} inputs, {UNITS} units,\n\
         re-scaling by {FACTOR}, eps {EPS:e}. Changes are of the normalized output of all cases, relative to its size.\n\
         Up to what eps and float32 explain a norm is invariant, from {CHANGED} on it is not.\n\n\
         The paper's text (section 5.1) calls all the methods invariant to re-scaling the dataset. Its table says\n\
         no for weight norm, which does not look at the data: the table is right.\n"
    )
}

fn json(adapter: &str, cells: &[Cell]) -> Result<String, Failure> {
    let measured = Measured {
        adapter,
        cases: CASES,
        inputs: INPUTS,
        units: UNITS,
        factor: FACTOR,
        eps: EPS,
        changed_from: CHANGED,
        cells,
    };
    output::json(&measured)
}

fn conclude(cells: &[Cell]) -> Result<(), Failure> {
    let wrong: Vec<&Cell> = cells.iter().filter(|cell| cell.verdict != cell.expected).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    Err(Failure::FailedRun(format!(
        "{} of {} verdicts are not the expected ones, the first: {}, {}: {} (change {:.1e}, explained {:.1e}), expected: {}",
        wrong.len(),
        cells.len(),
        first.norm,
        first.transformation,
        first.verdict.name(),
        first.change,
        first.explained,
        first.expected.name()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell that is as the CPU has it, and then disturbed.
    fn disturbed(at: usize, change: impl Fn(&mut Normalized)) -> Result<(), Failure> {
        let layer = Layer::new();
        let mut cells = measure(&Compute::Cpu)?;
        let of = |layer: &Layer, norm| layer.normalized(&Compute::Cpu, norm);
        let (norm, transformation) = (Norm::ALL[at / 6], Transformation::ALL[at % 6]);
        let mut after = of(&layer.transformed(transformation), norm)?;
        change(&mut after);
        cells[at] = Cell::new(norm, transformation, &of(&layer, norm)?, &after);
        conclude(&cells)
    }

    #[test]
    fn a_verdict_that_is_not_expected_fails() {
        assert!(disturbed(0, |_| ()).is_ok());
        // Batch norm, matrix re-scaling: y off by 2e-5 of itself, then by a tenth.
        let scaled =
            |factor: f64| move |after: &mut Normalized| after.y.iter_mut().for_each(|y| *y *= factor);
        let neither = disturbed(0, scaled(1.0 + 2e-5)).unwrap_err().to_string();
        assert!(
            neither.starts_with("1 of 24 verdicts") && neither.contains("matrix re-scaling: NEITHER"),
            "{neither}"
        );
        let changed = disturbed(0, scaled(1.1)).unwrap_err().to_string();
        assert!(
            changed.contains("batch norm, weight matrix re-scaling: not (") && changed.ends_with("invariant"),
            "{changed}"
        );
        let missing = disturbed(0, |after| after.y[5] = f64::NAN).unwrap_err().to_string();
        assert!(missing.contains("NEITHER (change NaN"), "{missing}");
        // Weight norm, dataset re-scaling: as the paper's text has it.
        let text = disturbed(9, scaled(1.0 / FACTOR)).unwrap_err().to_string();
        assert!(text.contains("weight norm, dataset re-scaling: invariant"), "{text}");
    }

    #[test]
    fn a_wrong_expectation_fails() {
        let mut cells = measure(&Compute::Cpu).unwrap();
        for at in 0..cells.len() {
            let right = cells[at].expected;
            cells[at].expected = Verdict::expected(right != Verdict::Invariant);
            let failure = conclude(&cells).unwrap_err();
            assert!(
                matches!(&failure, Failure::FailedRun(said) if said.starts_with("1 of 24 ")),
                "{failure}"
            );
            assert!(text("here", &cells).contains(" WRONG "));
            cells[at].expected = right;
        }
        assert!(!text("here", &cells).contains("WRONG"));
    }

    #[test]
    fn eps_changes_what_its_formula_says() {
        // Of a set of two values, whose xhat is known.
        let (variance, eps) = (4.0_f64, f64::from(EPS));
        let xhat = |factor: f64| factor * variance.sqrt() / (factor.powi(2) * variance + eps).sqrt();
        let exact = xhat(FACTOR) / xhat(1.0) - 1.0;
        let bound = by_eps(Transformation::Matrix, variance);
        assert!(exact <= bound && bound < 1.001 * exact, "{exact}, {bound}");
        assert_eq!(by_eps(Transformation::DataCenter, variance), 0.0);
        assert_eq!(by_eps(Transformation::Matrix, f64::INFINITY), 0.0);
    }
}
