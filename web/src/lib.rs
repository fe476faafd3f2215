//! What the page's worker calls: the browser's adapter, opened; the library's cases and a short benchmark on
//! it, one at a time, so that the worker can be told to stop in between; and the report of what was run.
//!
//! Everything goes to JavaScript as JSON text: the page shows it and decides nothing.

mod messages;
mod selection;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layernorm_report::{Adapter, Measurement, Mode, Report, VerifyRun, figure, panels};
use messages::{CaseResult, Opened, WorkloadResult, to_json};
use selection::Selection;
use wasm_bindgen::prelude::*;
use wgpu_layernorm::bench::{self, Bench, Workload};
use wgpu_layernorm::plan::AdapterKind;
use wgpu_layernorm::verify::{self, Case};
use wgpu_layernorm::{Context, Error, wgpu};

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// An open adapter and what has been run on it.
#[derive(Debug)]
#[wasm_bindgen]
pub struct Session {
    devices: Vec<Device>,
    /// Opened by itself, for timestamps, when there is something to time.
    bench: Option<(Device, Bench)>,
    /// Those of a quick run and all.
    cases: [Vec<Case>; 2],
    selection: Selection,
    report: Report,
}

/// How the report of a device that is lost begins.
const LOST: &str = "the device was lost";

/// A device, and what it has reported outside of calls: in browsers wgpu's errors come too late for the call.
#[derive(Debug)]
struct Device {
    mode: Mode,
    context: Context,
    reports: Arc<Mutex<Vec<String>>>,
}

impl Device {
    fn new(mode: Mode, context: Context) -> Self {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let report = |reports: &Arc<Mutex<Vec<String>>>| {
            let reports = Arc::clone(reports);
            move |text: String| reports.lock().unwrap_or_else(PoisonError::into_inner).push(text)
        };
        let uncaptured = report(&reports);
        let device = context.device();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured(error.to_string())));
        let lost = report(&reports);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost(format!("{LOST}: {message}"));
            }
        });
        Self { mode, context, reports }
    }

    /// What was reported since the last call.
    fn take_reports(&self) -> Vec<String> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The adapter that the browser prefers for heavy work. In browsers each serves for one device only.
async fn adapter() -> Result<wgpu::Adapter, JsError> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..wgpu::RequestAdapterOptions::default()
    };
    Ok(instance.request_adapter(&options).await?)
}

#[wasm_bindgen]
impl Session {
    /// Opens the browser's adapter. `name` is what the page has found out about it, in case that wgpu has
    /// not; `host` is the browser.
    ///
    /// # Errors
    /// Where the browser has none, or cannot open it.
    pub async fn open(name: String, host: String) -> Result<Self, JsError> {
        let first = adapter().await?;
        let mut described = Adapter::of(&first, &host);
        if described.name.is_empty() {
            described.name = name;
        }
        let mut devices = vec![Device::new(Mode::Full, Context::open(&first).await?)];
        // Where the adapter has nothing to leave out, a plain device would run the same texts again.
        if !devices[0].context.device().features().is_empty() {
            devices.push(Device::new(Mode::Plain, Context::open_plain(&adapter().await?).await?));
        }
        let report = Report::new("web", Duration::ZERO, described);
        let cases = selection::quick_and_all(&devices[0].context.caps());
        Ok(Self { devices, bench: None, cases, selection: Selection::default(), report })
    }

    /// The adapter, and how much there is to run, as JSON.
    #[must_use]
    pub fn opened(&self) -> String {
        to_json(&Opened {
            adapter: &self.report.adapter,
            is_software: self.devices[0].context.caps().kind == AdapterKind::Software,
            cases: self.cases.each_ref().map(|cases| cases.len() * self.devices.len()),
            crate_version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// Starts a new report, `milliseconds` after the beginning of 1970, on some of the cases and of the
    /// benchmark: the numbers of both.
    pub fn select(&mut self, all: bool, bench: bool, milliseconds: f64) -> Vec<usize> {
        let cases = &self.cases[usize::from(all)];
        self.selection = Selection::new(cases, bench, &self.devices[0].context.caps());
        let since_1970 = Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default();
        self.report = Report {
            verify: Some(self.devices.iter().map(|device| VerifyRun::of_all(device.mode)).collect()),
            measurements: bench.then(Vec::new),
            ..Report::new("web", since_1970, self.report.adapter.clone())
        };
        vec![self.case_count(), self.selection.workloads.len()]
    }

    fn case_count(&self) -> usize {
        self.selection.cases.len() * self.devices.len()
    }

    /// The device and the case of an index below [`Session::case_count`].
    fn case(&self, index: usize) -> Option<(usize, &Case)> {
        let device = index.checked_div(self.selection.cases.len())?;
        self.devices.get(device)?;
        Some((device, &self.selection.cases[index % self.selection.cases.len()]))
    }

    /// The name of a case, or past the cases of a workload, for the page to show while it runs.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        match self.case(index) {
            Some((_, case)) => case.name(),
            None => {
                let workload = self.selection.workloads.get(index - self.case_count());
                workload.map(Workload::name).unwrap_or_default()
            }
        }
    }

    /// Runs a case: what became of it, as JSON.
    ///
    /// # Errors
    /// Where there is no such case, or the device is lost, which ends a run.
    pub async fn verify(&mut self, index: usize) -> Result<String, JsError> {
        let Some((number, case)) = self.case(index) else {
            return Err(JsError::new("there is no such case"));
        };
        let (device, case) = (&self.devices[number], *case);
        device.take_reports();
        let mut result = verify::run(&device.context, &case).await;
        let reports = device.take_reports();
        match &mut result {
            // A failure even where the results are right.
            Ok(outcome) => outcome.failures.extend(reports.iter().cloned()),
            Err(error) if !reports.is_empty() => result = Err(reported(error, &reports)),
            Err(_) => {}
        }
        if let Some(run) = self.report.verify.as_mut().and_then(|runs| runs.get_mut(number)) {
            run.add(&case, &result);
        }
        check_lost(&reports)?;
        Ok(to_json(&CaseResult::new(device.mode, &case, &result)))
    }

    /// Checks and times a workload of the benchmark: what became of it, as JSON.
    ///
    /// # Errors
    /// Where there is no such workload, or the device for it cannot be opened or is lost.
    pub async fn measure(&mut self, index: usize) -> Result<String, JsError> {
        let Some(workload) = self.selection.workloads.get(index).copied() else {
            return Err(JsError::new("there is no such workload"));
        };
        if self.bench.is_none() {
            let device = Device::new(Mode::Full, bench::open(&adapter().await?).await?);
            let bench = Bench::new(&device.context, selection::bench_options())?;
            self.bench = Some((device, bench));
        }
        let Some((device, bench)) = &mut self.bench else {
            return Err(JsError::new("there is no device to time on"));
        };
        device.take_reports();
        let mut result = bench.measure(&workload).await;
        let reports = device.take_reports();
        match &mut result {
            Ok(measurement) if !reports.is_empty() => {
                measurement.failures.extend(reports.iter().cloned());
                measurement.timing = None;
            }
            Err(error) if !reports.is_empty() => result = Err(reported(error, &reports)),
            _ => {}
        }
        let measurement = Measurement::of(&workload, &result);
        self.report.measurements.get_or_insert_default().push(measurement.clone());
        check_lost(&reports)?;
        Ok(to_json(&WorkloadResult::new(&workload, measurement)))
    }

    /// The report of what has been run, as the tool writes it.
    ///
    /// # Errors
    /// What the JSON library has to say.
    pub fn report(&self) -> Result<String, JsError> {
        Ok(layernorm_report::to_json(std::slice::from_ref(&self.report))?)
    }
}

/// Plots of what a report has measured, an SVG each. For the page itself: workers have no fonts to measure
/// texts with.
///
/// # Errors
/// Where the report cannot be read or drawn.
#[wasm_bindgen]
pub fn plots(report: &str) -> Result<Vec<String>, JsError> {
    let panels = panels(&layernorm_report::parse(report)?);
    let draw = |panel| figure(std::slice::from_ref(panel)).map_err(|error| JsError::new(&error));
    panels.iter().map(draw).collect()
}

/// An error behind what its device has reported meanwhile, which is the cause: no longer one that says what
/// the device lacks.
fn reported(error: &Error, reports: &[String]) -> Error {
    Error::Device { doing: "running it", message: format!("{}; {error}", reports.join("; ")) }
}

fn check_lost(reports: &[String]) -> Result<(), JsError> {
    match reports.iter().find(|report| report.starts_with(LOST)) {
        Some(report) => Err(JsError::new(report)),
        None => Ok(()),
    }
}
