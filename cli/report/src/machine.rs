//! The machines that some reports are of.

use crate::format::{Adapter, Measurement, Report, VerifyRun};
use crate::key::Key;
use std::fmt;

/// An adapter in a comparison, with its reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine<'a> {
    /// A to Z, AA, AB, …
    pub label: String,
    /// At least one: reports of the same driver and version of the crate that have nothing in common, such as
    /// a verification and measurements, or measurements of other shapes.
    pub reports: Vec<&'a Report>,
}

/// The machines in the order of their first reports.
///
/// Two reports that have both verified, or measured the same thing, are two machines, because each of them
/// has to be seen.
#[must_use]
pub fn machines(reports: &[Report]) -> Vec<Machine<'_>> {
    let mut machines: Vec<Machine<'_>> = Vec::new();
    for report in reports {
        match machines.iter_mut().find(|machine| machine.takes(report)) {
            Some(machine) => machine.reports.push(report),
            None => machines.push(Machine { label: label(machines.len()), reports: vec![report] }),
        }
    }
    machines
}

/// The name of machine `index` in a comparison: A to Z, AA, AB, ….
#[must_use]
pub fn label(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    match index / 26 {
        0 => letter.to_string(),
        more => format!("{}{letter}", label(more - 1)),
    }
}

impl<'a> Machine<'a> {
    fn takes(&self, report: &Report) -> bool {
        let setting = |report: &Report| {
            (
                report.adapter.clone(),
                report.made_by.clone(),
                report.crate_version.clone(),
                report.error.clone(),
            )
        };
        let keys =
            |report: &Report| -> Vec<Key> { report.measurements.iter().flatten().map(Key::of).collect() };
        let new = keys(report);
        self.reports.iter().all(|other| {
            setting(other) == setting(report)
                && !(other.verify.is_some() && report.verify.is_some())
                && !keys(other).iter().any(|key| new.contains(key))
        })
    }

    /// What all its reports say of the adapter.
    #[must_use]
    pub fn adapter(&self) -> &'a Adapter {
        &self.reports[0].adapter
    }

    /// Its letter, name and back end: `A NVIDIA H200, vulkan`.
    #[must_use]
    pub fn name(&self) -> String {
        let Adapter { name, backend, .. } = self.adapter();
        format!("{} {}, {backend}", self.label, if name.is_empty() { "no name" } else { name })
    }

    /// The measurements of all its reports.
    pub fn measurements(&self) -> impl Iterator<Item = &'a Measurement> + '_ {
        self.reports.iter().flat_map(|report| report.measurements.iter().flatten())
    }

    /// Its verification.
    pub fn verify(&self) -> impl Iterator<Item = &'a VerifyRun> + '_ {
        self.reports.iter().flat_map(|report| report.verify.iter().flatten())
    }
}

/// What it is, and what its reports are.
impl fmt::Display for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { made_by, crate_version, adapter, .. } = self.reports[0];
        let host = if adapter.host.is_empty() { String::new() } else { format!(", {}", adapter.host) };
        let dates: Vec<&str> = self.reports.iter().map(|report| report.date.as_str()).collect();
        let (label, adapter) = (&self.label, adapter.description());
        write!(f, "{label}: {adapter}{host}, by {made_by} {crate_version}, {}", dates.join(" and "))
    }
}

/// A number of `0..colors` for each machine. It follows from the adapter's name and back end, whatever else
/// there is. Only of machines that would have the same, all but one get another: the first by name keeps it.
pub(crate) fn color_slots(machines: &[Machine<'_>], colors: usize) -> Vec<usize> {
    let identity = |machine: &Machine<'_>| {
        let Adapter { name, backend, .. } = machine.adapter();
        (name.clone(), backend.clone())
    };
    let mut order: Vec<usize> = (0..machines.len()).collect();
    order.sort_by_key(|index| identity(&machines[*index]));
    let mut slots = vec![0; machines.len()];
    let mut taken: Vec<usize> = Vec::new();
    let wanted = |index: usize| {
        let (name, backend) = identity(&machines[index]);
        preferred(&format!("{name}\0{backend}"), colors)
    };
    // Who can have what he wants has it before others look for what is left.
    let (content, others): (Vec<usize>, Vec<usize>) = {
        let mut seen = Vec::new();
        order.into_iter().partition(|index| {
            let slot = wanted(*index);
            let is_free = !seen.contains(&slot);
            seen.push(slot);
            is_free
        })
    };
    for index in content.into_iter().chain(others) {
        let start = wanted(index);
        // Steps of 5 through 12 come to all of them, and none is a neighbor of the last.
        let free = (0..colors).map(|step| (start + 5 * step) % colors).find(|slot| !taken.contains(slot));
        slots[index] = free.unwrap_or(start);
        taken.push(slots[index]);
    }
    slots
}

/// By FNV-1a, which is the same on every machine and in every version.
fn preferred(identity: &str, colors: usize) -> usize {
    let hash = identity.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % colors.max(1) as u64).unwrap_or(0)
}
