//! `layernorm demo`: a real model's norms and a large batch on everything there is, checked and timed.

mod batch;
mod measure;
mod model;
mod norm;

use crate::adapters;
use crate::compute::Compute;
use crate::failure::Failure;
use crate::output;
use batch::Batch;
use clap::Args;
use indicatif::ProgressBar;
use model::ModelNorm;
use norm::Check;
use std::time::Duration;
use wgpu_layernorm::{Context, describe_adapter};

/// Run the 13 layer norms of a real model, and a large batch, on the CPU reference and on every adapter.
///
/// The norms are those of all-MiniLM-L6-v2 on one sentence ([32, 384], f32), forward and backward; what they
/// should give was computed by PyTorch in float64. The batch is [8192, 1024] in f16, checked in full against
/// the float64 reference. Exit code 0 only if all results are within tolerance, and there is an adapter.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm demo
  WGPU_BACKEND=vulkan layernorm demo")]
pub(crate) struct Demo {}

/// The results so far.
#[derive(Default)]
struct Tally {
    checked: usize,
    failures: Vec<String>,
}

impl Tally {
    /// Counts a result and gives the text for its cell.
    fn add(&mut self, place: &str, norm: &str, check: Check) -> String {
        let Check { output, units, allowed } = check;
        self.checked += 1;
        if units <= allowed {
            return format!("{units:.2}");
        }
        self.failures
            .push(format!("{place}: {norm}: {output} is off by {units:.2} units, allowed are {allowed}"));
        format!("{units:.2} WRONG")
    }
}

pub(crate) fn run(_: &Demo) -> Result<(), Failure> {
    let model = model::load()?;
    let batch = Batch::new()?;
    let adapters = adapters::present()?;
    let mut tally = Tally::default();
    output::print(&legend())?;

    let bar = output::progress(((1 + adapters.len()) * (model.len() + 1)) as u64);
    let mut show = |place: &str, compute: Result<Compute, Failure>| -> Result<(), Failure> {
        bar.set_message(place.to_owned());
        let report = compute.and_then(|compute| report(place, &compute, &model, &batch, &mut tally, &bar));
        match report {
            Ok(report) => bar.suspend(|| output::print(&report)),
            Err(failure) => {
                tally.failures.push(format!("{place}: {failure}"));
                bar.suspend(|| output::print(&format!("\n{place}\n\n{failure}\n")))
            }
        }
    };
    show(&Compute::Cpu.describe(), Ok(Compute::Cpu))?;
    for adapter in &adapters {
        let context = pollster::block_on(Context::open(adapter)).map_err(Into::into);
        show(&describe_adapter(&adapter.get_info()), context.map(Compute::Adapter))?;
    }
    bar.finish_and_clear();

    if adapters.is_empty() {
        return Err(adapters::none_found());
    }
    match tally.failures.as_slice() {
        [] => output::print(&format!("\nall {} results within tolerance\n", tally.checked)),
        [first, ..] => {
            output::print(&format!("\n{}\n", tally.failures.join("\n")))?;
            Err(Failure::FailedRun(format!(
                "{} of {} results are not within tolerance or not there, the first: {first}",
                tally.failures.len(),
                tally.checked
            )))
        }
    }
}

fn legend() -> String {
    format!(
        "Errors of the model's norms are in units of 2^-24 of the largest expected value in the row (dgain and dbias: in\n\
         the tensor), beyond the rounding of the expected values themselves; at most {} pass (dgain and dbias: of the\n\
         sum of the magnitudes that they are sums of). Those of the batch are in units in the last place of the correctly rounded\n\
         float64 result, beyond {} x 2^-24 of that largest value; at most {} passes.\n\
         Times are wall clock, the median of {}: on an adapter the kernels alone, in submissions of about {} ms divided\n\
         by the number of calls in them, with the data where the last call left it; on the CPU the whole call.\n",
        model::ALLOWED,
        batch::FLOAT32_UNITS,
        batch::ALLOWED,
        measure::REPEATS,
        measure::SUBMISSION.as_millis(),
    )
}

/// Runs everything in one place. Nothing is shown of a place where something fails to run.
fn report(
    place: &str,
    compute: &Compute,
    model: &[ModelNorm],
    batch: &Batch,
    tally: &mut Tally,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let header = ["norm", "rows x cols", "y", "statistics", "forward", "dx", "dgain", "dbias", "backward"];
    let mut norms = output::table(&header, 1);
    for model_norm in model {
        let norm = &model_norm.norm;
        let measured = measure::measure(compute, norm)?;
        let [y, statistics, dx, dgain, dbias] =
            model_norm.checks(&measured.results).map(|check| tally.add(place, &norm.name, check));
        let (forward, backward) = (duration(measured.forward), duration(measured.backward));
        norms.add_row([norm.name.clone(), norm.shape(), y, statistics, forward, dx, dgain, dbias, backward]);
        bar.inc(1);
    }

    let measured = measure::measure(compute, &batch.norm)?;
    let [y, dx, dgain, dbias] = match compute {
        // The errors are distances from the reference itself.
        Compute::Cpu => ["-"; 4].map(str::to_owned),
        Compute::Adapter(_) => {
            batch.checks(&measured.results).map(|check| tally.add(place, &batch.norm.name, check))
        }
    };
    bar.inc(1);
    let mut throughput =
        output::table(&[&batch.norm.name, "rows x cols", "y", "dx", "dgain", "dbias", "time", "GB/s"], 1);
    let none = String::new;
    let forward_rate = gigabytes_per_second(batch.forward_bytes(), measured.forward);
    throughput.add_row([
        "forward (x, y)".to_owned(),
        batch.norm.shape(),
        y,
        none(),
        none(),
        none(),
        duration(measured.forward),
        forward_rate,
    ]);
    let backward_rate = gigabytes_per_second(batch.backward_bytes(), measured.backward);
    throughput.add_row([
        "backward (x, dy, dx)".to_owned(),
        batch.norm.shape(),
        none(),
        dx,
        dgain,
        dbias,
        duration(measured.backward),
        backward_rate,
    ]);
    Ok(format!("\n{place}\n\n{norms}\n\n{throughput}\n"))
}

fn duration(duration: Duration) -> String {
    let microseconds = duration.as_secs_f64() * 1e6;
    match microseconds {
        ..100.0 => format!("{microseconds:.1} us"),
        100.0..10_000.0 => format!("{microseconds:.0} us"),
        _ => format!("{:.1} ms", microseconds / 1e3),
    }
}

fn gigabytes_per_second(bytes: usize, duration: Duration) -> String {
    format!("{:.2}", bytes as f64 / duration.as_secs_f64() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_or_so() {
        let text = |nanoseconds| duration(Duration::from_nanos(nanoseconds));
        assert_eq!(text(1_234), "1.2 us");
        assert_eq!(text(123_456), "123 us");
        assert_eq!(text(12_345_678), "12.3 ms");
    }

    #[test]
    fn a_result_over_its_limit_is_a_failure() {
        let mut tally = Tally::default();
        let check = |units| Check { output: "y", units, allowed: 4.0 };
        assert_eq!(tally.add("here", "norm", check(4.0)), "4.00");
        assert!(tally.failures.is_empty());
        assert_eq!(tally.add("here", "norm", check(4.01)), "4.01 WRONG");
        assert_eq!(tally.add("here", "norm", check(f64::INFINITY)), "inf WRONG");
        assert_eq!((tally.checked, tally.failures.len()), (3, 2));
    }
}
