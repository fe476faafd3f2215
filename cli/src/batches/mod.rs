//! `layernorm batches`: what small batches do to batch norm, and not to layer norm.

mod scatter;

use crate::compute::{AdapterFlag, Compute};
use crate::failure::Failure;
use crate::files;
use crate::output;
use crate::tensors::{self, TensorFile, TensorInfo};
use clap::Args;
use half::{bf16, f16};
use layernorm_report::{Chart, Line, chart};
use scatter::{Draw, Population, Scatter};
use serde::Serialize;
use std::path::PathBuf;
use wgpu_layernorm::{Dtype, Element, Problem, Real};

/// Measure how batch norm scatters where batches are small, and that layer norm does not.
///
/// Draws batches of 1, 2, 4, 16 and 128 rows from a tensor of activations and normalizes them by the kernels,
/// without gain and bias: by batch norm, which takes a column of the batch for a channel, and by layer norm.
/// Rows are drawn with replacement, so that those of the file are the population, whose mean, sigma and
/// output the batches are held against.
///
/// Printed are the distance of a batch's mean from that of all rows, in sigma (root mean square); a batch's
/// rstd times sigma, by its mean, standard deviation and median; and of the output of one case its standard
/// deviation over the batches that it may lie in (scatter), and its distance from the output by the
/// statistics of all rows (layer norm: of the case alone), both relative to the size of the latter. Other
/// bits are the draws in which layer norm gave the case another y, mean or rstd than alone: exit code 1 if
/// there are any.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  layernorm batches tests/fixtures/minilm_layer_norms.safetensors \\
      --x 06.encoder.layer.2.output.LayerNorm.x --row 1 --svg batches.svg")]
pub(crate) struct Batches {
    /// safetensors file to read from
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Activations, [..., cols], F32, F16 or BF16; computed in F32
    #[arg(long, value_name = "NAME")]
    x: String,

    /// The row of x whose output is looked at
    #[arg(long, value_name = "R", default_value_t = 0)]
    row: usize,

    /// Batches of each size
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = parse_draws)]
    draws: usize,

    /// Another seed draws other batches
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Added to the variance before the root, by both norms
    #[arg(long, value_name = "E", default_value_t = 1e-5, value_parser = parse_eps, allow_negative_numbers = true)]
    eps: f32,

    #[command(flatten)]
    adapter: AdapterFlag,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,

    /// Write a plot of mean and distance by batch as an SVG image
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

const SIZES: [usize; 5] = [1, 2, 4, 16, 128];

/// Numbers that are drawn have 24 bits.
const MOST_ROWS: usize = 1 << 24;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    adapter: &'a str,
    rows: usize,
    cols: usize,
    row: usize,
    draws: usize,
    seed: u64,
    eps: f32,
    batches: &'a [Scatter],
}

pub(crate) fn run(args: &Batches) -> Result<(), Failure> {
    if let Some(path) = &args.svg {
        files::check_destination("--svg", path)?;
    }
    let mut file = TensorFile::open(&args.input)?;
    let x = file.find("--x", &args.x)?;
    let cols = cols(&x)?;
    let values = match x.dtype {
        Dtype::F32 => read::<f32>(&mut file, &x)?,
        Dtype::F16 => read::<f16>(&mut file, &x)?,
        Dtype::Bf16 => read::<bf16>(&mut file, &x)?,
        dtype => return Err(tensors::unknown(dtype)),
    };
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Failure::WrongCall(format!("{} has values that are not finite", x.label)));
    }
    let population = Population::new(&values, cols, args.eps);
    check(&population, &x.label, args.row)?;

    let compute = Compute::choose(&args.adapter.adapter)?;
    let draw = Draw { draws: args.draws, seed: args.seed, case: args.row };
    let bar = output::progress(SIZES.len() as u64);
    let mut batches = Vec::new();
    for size in SIZES {
        batches.push(population.scatter(&compute, &draw, size)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let adapter = compute.describe();
    let measured = Measured {
        adapter: &adapter,
        rows: population.rows(),
        cols,
        row: args.row,
        draws: args.draws,
        seed: args.seed,
        eps: args.eps,
        batches: &batches,
    };
    output::print(&if args.json { output::json(&measured)? } else { text(&measured, &args.x) })?;
    if let Some(path) = &args.svg {
        let svg = plot(&args.x, &batches)
            .map_err(|error| Failure::FailedRun(format!("--svg: the plot cannot be drawn: {error}")))?;
        files::write_file(path, svg.as_bytes())?;
    }
    conclude(&batches, args.draws)
}

fn cols(x: &TensorInfo) -> Result<usize, Failure> {
    match x.shape.last() {
        Some(cols) if x.elements() > 0 && *cols <= Problem::MAX_COLS as usize => Ok(*cols),
        _ => Err(Failure::WrongCall(format!(
            "{} has shape {:?}, needs rows of 1 to {} values",
            x.label,
            x.shape,
            Problem::MAX_COLS
        ))),
    }
}

fn read<T: Element>(file: &mut TensorFile, x: &TensorInfo) -> Result<Vec<f32>, Failure> {
    Ok(file.read::<T>(x)?.into_iter().map(|value| f32::from_f64(value.to_f64())).collect())
}

fn check(population: &Population<'_>, label: &str, row: usize) -> Result<(), Failure> {
    let rows = population.rows();
    if !(2..=MOST_ROWS).contains(&rows) {
        return Err(Failure::WrongCall(format!("{label} has {rows} rows, needs 2 to {MOST_ROWS}")));
    }
    if row >= rows {
        return Err(Failure::WrongCall(format!("--row {row}: {label} has {rows} rows, from 0 on")));
    }
    if let Some(column) = population.constant_column() {
        return Err(Failure::WrongCall(format!(
            "{label} has the same value in all rows of column {column}, which has no sigma"
        )));
    }
    match population.leaves_nothing_of(row) {
        Some(why) => Err(Failure::WrongCall(format!("--row {row}: {why}, which leaves nothing to look at"))),
        None => Ok(()),
    }
}

fn parse_draws(text: &str) -> Result<usize, String> {
    let draws: usize = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    if (2..=1_000_000).contains(&draws) { Ok(draws) } else { Err("needs to be 2 to 1000000".to_owned()) }
}

fn parse_eps(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(eps) if eps > 0.0 && eps.is_finite() => Ok(eps),
        Ok(_) => Err("needs to be above 0: a batch of one row has no variance".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn text(measured: &Measured<'_>, x: &str) -> String {
    let header = [
        "batch",
        "batch norm: mean",
        "rstd: mean",
        "std",
        "median",
        "y: scatter",
        "distance",
        "layer norm, y: scatter",
        "distance",
        "other bits",
    ];
    let Measured { adapter, rows, cols, row, draws, eps, .. } = measured;
    let mut table = output::table(&header, 0);
    for batch in measured.batches {
        let mut cells = vec![batch.batch.to_string(), format!("{:.3}", batch.mean)];
        cells.extend(batch.rstd.map(|rstd| format!("{rstd:.2}")));
        for output in [batch.batch_norm, batch.layer_norm] {
            cells.extend([output.scatter, output.distance].map(|value| format!("{value:.3}")));
        }
        cells.push(format!("{} of {draws}", batch.layer_norm_bits));
        table.add_row(cells);
    }
    format!(
        "\n{adapter}\n\n{table}\n\n\
         {x}\n\
         {draws} batches of each size, drawn from {rows} rows of {cols} columns with replacement, eps {eps:e}.\n\
         mean: its distance from that of all rows, in sigma. rstd: times sigma. y is that of row {row}, and its\n\
         scatter and distance from y by the statistics of all rows (layer norm: of the row alone) are relative to\n\
         the size of the latter. Other bits: draws in which layer norm gave the row another y, mean or rstd.\n"
    )
}

fn plot(x: &str, batches: &[Scatter]) -> Result<String, String> {
    let line = |name: &str, of: fn(&Scatter) -> f64| Line {
        name: name.to_owned(),
        points: batches.iter().map(|batch| (batch.batch as f64, of(batch))).collect(),
    };
    chart(&Chart {
        title: x.to_owned(),
        x: "rows of the batch, logarithmic".to_owned(),
        lines: vec![
            line("batch norm: distance of the batch's mean, in sigma", |batch| batch.mean),
            line("batch norm: distance of a case's y, relative to y", |batch| batch.batch_norm.distance),
            line("layer norm: distance of a case's y, relative to y", |batch| batch.layer_norm.distance),
        ],
    })
}

fn conclude(batches: &[Scatter], draws: usize) -> Result<(), Failure> {
    match batches.iter().find(|batch| batch.layer_norm_bits > 0) {
        Some(batch) => Err(Failure::FailedRun(format!(
            "layer norm gave the row other bits in {} of {draws} batches of {} than alone",
            batch.layer_norm_bits, batch.batch
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bits_of_layer_norm_fail() {
        let population = Population::new(&[-1.0, 5.0, 1.0, 1.0], 2, 1e-4);
        let draw = Draw { draws: 2, seed: 1, case: 0 };
        let mut batches = vec![population.scatter(&Compute::Cpu, &draw, 4).unwrap()];
        assert!(conclude(&batches, 2).is_ok());
        batches[0].layer_norm_bits = 1;
        let failure = conclude(&batches, 2).unwrap_err().to_string();
        assert_eq!(failure, "layer norm gave the row other bits in 1 of 2 batches of 4 than alone");
    }
}
