//! The measurements of one operation, norm and storage, by machine and shape.

use crate::cells::three_digits;
use crate::format::Measurement;
use crate::key::Key;
use crate::machine::Machine;
use std::collections::{BTreeMap, BTreeSet};

/// A row of a table: rows and cols, and which of several measurements of the same thing. Tables are ordered
/// by cols.
pub(super) type Place = (u32, u64, usize);

/// The measurements of an operation, norm and storage on each machine that has any.
pub(super) struct Section<'a> {
    pub(super) title: String,
    /// By the machine's number.
    pub(super) machines: BTreeMap<usize, BTreeMap<Place, &'a Measurement>>,
}

impl<'a> Section<'a> {
    pub(super) fn all(machines: &[Machine<'a>]) -> Vec<Self> {
        let mut sections: BTreeMap<Key, Self> = BTreeMap::new();
        for (index, machine) in machines.iter().enumerate() {
            for measurement in machine.measurements() {
                let key = Key::of(measurement).section();
                let title = key.title();
                let section =
                    sections.entry(key).or_insert_with(|| Self { title, machines: BTreeMap::new() });
                let places = section.machines.entry(index).or_default();
                let (cols, rows) = (measurement.cols, measurement.rows);
                let before = places.range((cols, rows, 0)..=(cols, rows, usize::MAX)).count();
                places.insert((cols, rows, before), measurement);
            }
        }
        sections.into_values().collect()
    }

    pub(super) fn at(&self, machine: usize, place: Place) -> Option<&'a Measurement> {
        self.machines.get(&machine)?.get(&place).copied()
    }

    pub(super) fn places(&self) -> BTreeSet<Place> {
        self.machines.values().flat_map(|places| places.keys().copied()).collect()
    }

    /// How many times as fast one machine is as another, where both have a time.
    pub(super) fn ratio(&self, machine: usize, reference: usize, place: Place) -> Option<f64> {
        let seconds = |machine| Some(self.at(machine, place)?.timing.as_ref()?.median_seconds);
        Some(seconds(reference)? / seconds(machine)?)
    }
}

pub(super) fn shape((cols, rows, _): Place) -> String {
    format!("{rows} x {cols}")
}

pub(super) fn rate_or_failure(measurement: &Measurement) -> String {
    match (&measurement.timing, &measurement.failure) {
        (Some(timing), _) => three_digits(timing.gigabytes_per_second),
        (None, failure) => failure.as_ref().map_or("not measured", |failure| failure.kind.name()).to_owned(),
    }
}
