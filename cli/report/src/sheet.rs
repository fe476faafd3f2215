//! Tables, before they are text or a page.

use comfy_table::{CellAlignment, Table, presets};
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
    pub(crate) fn new(title: &str, header: &[&str], numbers: Range<usize>) -> Self {
        Self {
            title: title.to_owned(),
            note: String::new(),
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            numbers,
            rows: Vec::new(),
        }
    }

    /// As text that reads well on a terminal and is Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(self.header.clone());
        for column in table.column_iter_mut().skip(self.numbers.start).take(self.numbers.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| cell.replace('|', "\\|")));
        }
        let mut text = format!("## {}\n\n", self.title);
        if !self.note.is_empty() {
            text += &self.note;
            text += "\n\n";
        }
        // comfy-table marks no column as right-aligned, which Markdown wants in the line below the header.
        for (i, line) in table.to_string().lines().enumerate() {
            if i == 1 {
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
    }
}
