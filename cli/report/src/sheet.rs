//! Tables, before they are text or a page.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use std::ops::Range;

/// A table with its heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// What it shows.
    pub title: String,
    /// What has to be known to read it; may be empty.
    pub note: String,
    /// One for each column.
    pub header: Vec<String>,
    /// The columns that hold numbers; the others hold words.
    pub numbers: Range<usize>,
    /// As many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Columns of a terminal that a table takes at most, unless its words are longer still.
    pub const COLUMNS: u16 = 120;

    pub(crate) fn new(title: &str, header: &[&str], numbers: Range<usize>) -> Self {
        Self {
            title: title.to_owned(),
            note: String::new(),
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            numbers,
            rows: Vec::new(),
        }
    }

    /// As text for a terminal of [`Sheet::COLUMNS`]: what is too wide takes several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let table = self.table();
        let note = wrapped(&self.note, usize::from(Self::COLUMNS), "");
        if width(&table) <= usize::from(Self::COLUMNS) {
            return self.framed(&note, &table.to_string());
        }
        let mut table = table;
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(Self::COLUMNS);
        // Lines are broken between words, and within one only where it is longer than any that is ours.
        const LONGEST: usize = 32;
        for (column, name) in self.header.iter().enumerate() {
            let cells = self.rows.iter().map(|row| &row[column]).chain([name]);
            let words = cells.flat_map(|cell| cell.split(' ')).map(|word| word.chars().count());
            let longest = words.max().unwrap_or(0).min(LONGEST);
            if let (Some(column), Ok(longest)) = (table.column_mut(column), u16::try_from(longest)) {
                // With the spaces beside it.
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(longest + 2)));
            }
        }
        self.framed(&note, &table.to_string())
    }

    /// As Markdown, with a line for each row however long it is.
    #[must_use]
    pub fn markdown(&self) -> String {
        self.framed(&self.note, &self.table().to_string())
    }

    /// Columns that the table takes with each row on a line.
    pub(crate) fn width(&self) -> usize {
        width(&self.table())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(self.header.clone());
        for column in table.column_iter_mut().skip(self.numbers.start).take(self.numbers.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| cell.replace('|', "\\|")));
        }
        table
    }

    fn framed(&self, note: &str, table: &str) -> String {
        let mut text = format!("## {}\n\n", self.title);
        if !note.is_empty() {
            text += note;
            text += "\n";
        }
        if self.header.is_empty() {
            return text;
        }
        if !note.is_empty() {
            text.push('\n');
        }
        for line in table.lines() {
            // comfy-table marks no column as right-aligned, which Markdown wants in the line below the
            // header.
            if line.starts_with("|-") {
                text += &self.aligned(line);
            } else {
                text += line;
            }
            text.push('\n');
        }
        text
    }

    /// `|---|---|` with a colon at the end of each column of numbers.
    fn aligned(&self, line: &str) -> String {
        let cells = line.trim_matches('|').split('|').enumerate();
        let cells: Vec<String> = cells
            .map(|(column, cell)| match cell.strip_suffix('-') {
                Some(cell) if self.numbers.contains(&column) => format!("{cell}:"),
                _ => cell.to_owned(),
            })
            .collect();
        format!("|{}|", cells.join("|"))
    }
}

/// All lines of a table are equally long.
fn width(table: &Table) -> usize {
    table.lines().next().map_or(0, |line| line.chars().count())
}

/// The words of a text on lines of at most `columns`, all but the first indented.
pub(crate) fn wrapped(text: &str, columns: usize, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{indent}{word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_markdown_that_lines_up() {
        let mut sheet = Sheet::new("Rates", &["kernel", "GB/s", "why"], 1..2);
        sheet.note = "Higher is better.".to_owned();
        sheet.rows =
            [["a|b", "1.5", "-"], ["c", "10.5", "so"]].map(|row| row.map(str::to_owned).into()).into();
        let expected = "## Rates\n\nHigher is better.\n\n\
                        | kernel | GB/s | why |\n\
                        |--------|-----:|-----|\n\
                        | a\\|b   |  1.5 | -   |\n\
                        | c      | 10.5 | so  |\n";
        assert_eq!(sheet.text(), expected);
        assert_eq!(sheet.markdown(), expected);
    }

    #[test]
    fn text_fits_a_terminal_and_markdown_keeps_its_lines() {
        let mut sheet = Sheet::new("Plans", &["cols", "plan"], 0..1);
        let words = ["word"; 60].join(" ");
        sheet.note.clone_from(&words);
        sheet.rows.push(vec!["64".to_owned(), words.clone()]);
        let columns = usize::from(Sheet::COLUMNS);
        let text = sheet.text();
        assert!(text.lines().all(|line| line.len() <= columns), "{text}");
        assert_eq!(text.matches("word").count(), 120, "{text}");
        assert!(text.contains("-:|"), "{text}");
        assert!(sheet.markdown().contains(&format!("|   64 | {words} |")), "{}", sheet.markdown());
    }
}
