//! A vendor's table: what its compiler made of the [baseline](crate::baseline)'s plans, a line each, and how
//! much worse that may become.

use crate::Result;
use crate::compiled::{self, Form, Widths};
use crate::outcome::Outcome;
use crate::tools;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Where a table is, and what it holds of each plan beside the widths of accesses.
#[derive(Debug)]
pub(crate) struct Table {
    /// As its line of the result is called.
    pub(crate) name: &'static str,
    /// From the root of the repository.
    pub(crate) path: &'static str,
    pub(crate) columns: &'static [Column],
}

/// A figure of each plan.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) figure: Figure,
    pub(crate) margin: Margin,
}

#[derive(Debug)]
pub(crate) enum Figure {
    /// By the driver's name.
    Statistic(&'static str),
    /// Lanes of a subgroup, as the driver chose them.
    Lanes,
}

/// What may become of a figure without a new baseline.
#[derive(Debug)]
pub(crate) enum Margin {
    /// Anything: it is there to be read.
    Free,
    /// So much more.
    Plus(f64),
    /// So many times as much.
    Times(f64),
    /// Nothing less.
    NoLess,
}

/// A twentieth more, for instructions.
pub(crate) const A_TWENTIETH: Margin = Margin::Times(1.05);

impl Margin {
    fn allows(&self, value: f64, old: f64) -> bool {
        match self {
            Self::Free => true,
            Self::Plus(margin) => value <= old + margin,
            Self::Times(margin) => value <= old * margin,
            Self::NoLess => value >= old,
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    family: String,
    variant: String,
    /// One a column.
    numbers: Vec<f64>,
    loads: Widths,
    stores: Widths,
}

impl Row {
    fn csv(&self) -> String {
        let numbers: Vec<String> = self.numbers.iter().map(f64::to_string).collect();
        let (loads, stores) = (shown(&self.loads), shown(&self.stores));
        format!("{},{},{},{loads},{stores}", self.family, self.variant, numbers.join(","))
    }
}

impl Table {
    /// The line of a plan by its label.
    pub(crate) fn row(&self, family: &str, variant: &str, form: &Form) -> Result<Row> {
        let figure = |column: &Column| match column.figure {
            Figure::Statistic(name) => form.statistic(name),
            Figure::Lanes => Ok(f64::from(form.subgroup_size)),
        };
        Ok(Row {
            family: family.to_owned(),
            variant: variant.to_owned(),
            numbers: self.columns.iter().map(figure).collect::<Result<_>>()?,
            loads: form.loads.clone(),
            stores: form.stores.clone(),
        })
    }

    /// Holds what was found by a version of the driver against the table, or writes it anew, if no plan has
    /// `failed`.
    pub(crate) fn hold(&self, found: &[Row], failed: usize, version: &str, accept: bool) -> Outcome {
        let path = Path::new(tools::ROOT).join(self.path);
        let mut outcome = Outcome::of(self.name, self.path, &[], Duration::ZERO);
        if accept && failed > 0 {
            outcome.fail(self.path, format!("left as it was: {failed} of its plans have no figures"));
            return outcome;
        }
        if accept {
            let mut text = format!("# {version}\n{}\n", self.header());
            for row in found {
                let _ = writeln!(text, "{}", row.csv());
            }
            match crate::write_file(&path, &text) {
                Ok(()) => outcome.passed = found.len(),
                Err(message) => outcome.fail(self.path, message),
            }
            outcome.tried = outcome.passed + outcome.failed;
            return outcome;
        }
        let baseline = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| self.parse(&text));
        match baseline {
            Err(message) => outcome.fail(self.path, format!("{message}; --accept writes it anew")),
            Ok((of, _)) if tools::upstream(&of) != tools::upstream(version) => {
                let because = format!("the table is of {of}, this is {version}");
                return Outcome::missing(self.name, found.len(), &because, true);
            }
            Ok((_, baseline)) => {
                for (what, verdict) in self.compare(found, &baseline) {
                    match verdict {
                        Ok(()) => {
                            outcome.tried += 1;
                            outcome.passed += 1;
                        }
                        Err(message) => {
                            outcome.fail(&what, format!("{message}; --accept takes it as the baseline"));
                        }
                    }
                }
            }
        }
        outcome
    }

    fn header(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        format!("family,variant,{},loads,stores", columns.join(","))
    }

    /// The driver's version, and the rows.
    fn parse(&self, text: &str) -> Result<(String, Vec<Row>)> {
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.strip_prefix("# "));
        let version = version.ok_or("the first line is not `# ` and the driver's version")?.to_owned();
        let header = self.header();
        if lines.next() != Some(&header) {
            return Err(format!("the second line is not {header}"));
        }
        Ok((version, lines.map(|line| self.parse_row(line)).collect::<Result<_>>()?))
    }

    fn parse_row(&self, line: &str) -> Result<Row> {
        let fields: Vec<&str> = line.split(',').collect();
        let [family, variant, numbers @ .., loads, stores] = fields.as_slice() else {
            return Err(format!("a line with too few fields: {line}"));
        };
        let numbers: Vec<f64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
        if numbers.len() != self.columns.len() {
            return Err(format!("needs {} numbers: {line}", self.columns.len()));
        }
        Ok(Row {
            family: (*family).to_owned(),
            variant: (*variant).to_owned(),
            numbers,
            loads: read_widths(loads)?,
            stores: read_widths(stores)?,
        })
    }

    /// Each row with its verdict; rows that only one side has are wrong.
    fn compare(&self, found: &[Row], baseline: &[Row]) -> Vec<(String, Result<()>)> {
        let key = |row: &Row| (row.family.clone(), row.variant.clone());
        let mut old: BTreeMap<_, &Row> = baseline.iter().map(|row| (key(row), row)).collect();
        let mut verdicts: Vec<_> = found
            .iter()
            .map(|row| {
                let verdict = match old.remove(&key(row)) {
                    None => Err("is not in the table".to_owned()),
                    Some(old) => self.regression(row, old).map_or(Ok(()), Err),
                };
                (format!("{} {}", row.family, row.variant), verdict)
            })
            .collect();
        verdicts.extend(old.into_keys().map(|(family, variant)| {
            (format!("{family} {variant}"), Err("is in the table, but no plan any more".to_owned()))
        }));
        verdicts
    }

    /// What has become worse than in the baseline.
    fn regression(&self, row: &Row, baseline: &Row) -> Option<String> {
        let mut figures = self.columns.iter().zip(row.numbers.iter().zip(&baseline.numbers));
        if let Some((column, (value, old))) =
            figures.find(|(column, (value, old))| !column.margin.allows(**value, **old))
        {
            return Some(format!("{value} {}, were {old}", column.name));
        }
        [("loads", &row.loads, &baseline.loads), ("stores", &row.stores, &baseline.stores)]
            .into_iter()
            .find_map(|(what, widths, old)| {
                let narrowed =
                    |bits: &&u32| compiled::narrower(widths, **bits) > compiled::narrower(old, **bits);
                old.keys()
                    .find(narrowed)
                    .map(|_| format!("{what} are {}, were {}", shown(widths), shown(old)))
            })
    }
}

/// `24x128 1x32`: 24 of 128 bits, one of 32.
pub(crate) fn shown(widths: &Widths) -> String {
    let mut text = String::new();
    for (bits, count) in widths.iter().rev() {
        let _ = write!(text, "{}{count}x{bits}", if text.is_empty() { "" } else { " " });
    }
    text
}

/// What [`shown`] shows.
fn read_widths(text: &str) -> Result<Widths> {
    let read = |entry: &str| {
        let (count, bits) = entry.split_once('x')?;
        Some((bits.parse().ok()?, count.parse().ok()?))
    };
    text.split_whitespace()
        .map(|entry| {
            read(entry).ok_or_else(|| format!("needs counts and widths such as 24x128, has {entry:?}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        name: "a table",
        path: "tests/vendors/amd.csv",
        columns: &[
            Column { name: "lanes", figure: Figure::Lanes, margin: Margin::NoLess },
            Column { name: "registers", figure: Figure::Statistic("VGPRs"), margin: Margin::Plus(8.0) },
            Column { name: "instructions", figure: Figure::Statistic("Instructions"), margin: A_TWENTIETH },
            Column { name: "cycles", figure: Figure::Statistic("Latency"), margin: Margin::Free },
        ],
    };

    fn sample(registers: f64, instructions: f64) -> Row {
        Row {
            family: "navi21".to_owned(),
            variant: "forward_cached/f32x4".to_owned(),
            numbers: vec![16.0, registers, instructions, 2000.0],
            loads: Widths::from([(128, 24), (32, 1)]),
            stores: Widths::new(),
        }
    }

    fn verdict(row: Row) -> Result<()> {
        TABLE.compare(&[row], &[sample(48.0, 400.0)]).remove(0).1
    }

    #[test]
    fn growth_beyond_the_margin_fails() {
        assert_eq!(verdict(sample(56.0, 420.0)), Ok(()), "within the margin");
        assert_eq!(verdict(sample(40.0, 300.0)), Ok(()), "better");
        assert!(verdict(sample(64.0, 400.0)).unwrap_err().contains("64 registers, were 48"));
        assert!(verdict(sample(48.0, 421.0)).unwrap_err().contains("421 instructions, were 400"));
        let with = |lanes, cycles| Row { numbers: vec![lanes, 48.0, 400.0, cycles], ..sample(48.0, 400.0) };
        assert_eq!(verdict(with(32.0, 1e9)), Ok(()), "wider; the model of cycles is for readers");
        assert!(verdict(with(8.0, 2000.0)).unwrap_err().contains("8 lanes, were 16"));
    }

    #[test]
    fn accesses_that_have_become_narrower_fail() {
        let verdict = |loads| verdict(Row { loads, ..sample(48.0, 400.0) });
        assert_eq!(verdict(Widths::from([(128, 30), (32, 1)])), Ok(()), "more, as wide");
        assert_eq!(verdict(Widths::from([(128, 25)])), Ok(()), "wider");
        for narrow in [Widths::from([(128, 23), (64, 2), (32, 1)]), Widths::from([(128, 24), (16, 1)])] {
            let message = verdict(narrow).unwrap_err();
            assert!(message.starts_with("loads are ") && message.ends_with("were 24x128 1x32"), "{message}");
        }
    }

    #[test]
    fn rows_that_one_side_lacks_fail() {
        let row = sample(48.0, 400.0);
        assert!(TABLE.compare(std::slice::from_ref(&row), &[])[0].1.is_err());
        assert!(TABLE.compare(&[], &[row])[0].1.is_err());
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rows = [sample(48.0, 400.0), sample(56.0, 1.0)];
        let header = TABLE.header();
        let text = format!("# Mesa 1.2-3\n{header}\n{}\n{}\n", rows[0].csv(), rows[1].csv());
        assert_eq!(TABLE.parse(&text).unwrap(), ("Mesa 1.2-3".to_owned(), rows.to_vec()));
        assert!(TABLE.parse("something else\n").is_err());
        assert!(TABLE.parse(&format!("{header}\n")).is_err());
        for line in ["navi21,x,1,2,3", "navi21,x,1,2,3,4,5x6x,"] {
            assert!(TABLE.parse(&format!("# Mesa 1.2\n{header}\n{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_table_that_lacks_plans_is_not_written() {
        let path = Path::new(tools::ROOT).join(TABLE.path);
        let before = std::fs::read(&path).unwrap();
        let outcome = TABLE.hold(&[sample(48.0, 400.0)], 1, "Mesa 0.1-2", true);
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    /// Those that are committed, under the columns of today.
    #[test]
    fn every_table_can_be_read() {
        for vendor in crate::mesa::VENDORS {
            let text = std::fs::read_to_string(Path::new(tools::ROOT).join(vendor.table.path)).unwrap();
            let (version, rows) = vendor.table.parse(&text).unwrap();
            assert!(version.starts_with("Mesa "), "{version}");
            for family in vendor.families {
                assert!(rows.iter().any(|row| row.family == *family), "{family} in {}", vendor.table.path);
            }
        }
    }

    #[test]
    fn another_version_of_the_driver_is_not_held_against_the_table() {
        let amd = &crate::amd::AMD.table;
        let outcome = amd.hold(&[sample(48.0, 400.0)], 0, "Mesa 0.1-2", false);
        assert_eq!((outcome.passed, outcome.failed, outcome.not_run, outcome.incomplete), (0, 0, 1, true));
    }
}
