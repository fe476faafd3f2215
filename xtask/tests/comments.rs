//! Comments and pages wrap at 110 columns, where rustfmt wraps code.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS: usize = 110;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "node_modules", "fixtures"].contains(&&*name)
        {
            files(&path, found);
        } else if ["rs", "wgsl", "md"].iter().any(|ending| path.extension().is_some_and(|has| has == *ending))
        {
            found.push(path);
        }
    }
}

/// The text of a line that could have been wrapped: tables, formulas, and addresses could not.
fn prose<'l>(path: &Path, line: &'l str) -> Option<&'l str> {
    let text = match path.extension() {
        Some(ending) if ending == "md" => line,
        _ => line.trim_start().strip_prefix("//")?.trim_start_matches(['/', '!']).strip_prefix(' ')?,
    };
    let is_whole = text.starts_with(['|', '!', '<']) || text.starts_with("    ");
    let is_whole = is_whole || text.trim_start().contains("  ") || text.contains("://");
    (!is_whole).then_some(text)
}

#[test]
fn comments_and_pages_wrap() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    files(root, &mut found);
    assert!(found.len() > 300, "{} files in {}", found.len(), root.display());
    let mut long = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.starts_with("```");
            if !is_code && line.chars().count() > COLUMNS && prose(&path, line).is_some() {
                long.push(format!("{}:{}", path.strip_prefix(root).unwrap().display(), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "lines of more than {COLUMNS} columns:\n{}", long.join("\n"));
}
