//! Words and numbers as the cells of a table have them.

pub(crate) fn dash() -> String {
    "-".to_owned()
}

/// With three digits, or all of the whole number.
pub(crate) fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        0.001.. => 5,
        _ => 6,
    };
    format!("{value:.decimals$}")
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// With three digits or so.
pub(crate) fn duration(seconds: f64) -> String {
    let microseconds = seconds * 1e6;
    match microseconds {
        ..10.0 => format!("{microseconds:.2} us"),
        10.0..100.0 => format!("{microseconds:.1} us"),
        100.0..10_000.0 => format!("{microseconds:.0} us"),
        _ => format!("{:.1} ms", microseconds / 1e3),
    }
}
