//! Writing out loops whose trips are constants.
//!
//! Mesa's compilers for AMD and Intel do it themselves, and AMD's spills registers in some texts that are written out. NVIDIA's
//! and Mesa's software rasteriser do not where naga has added a bound to the loop and clamped the index into a local array, which it does to every loop and
//! every index that is not a constant: the row then lies in memory (H200: forward at 0.33 of the copy, 0.93 written out).
//! Written out, there is nothing to bound or clamp.

/// A constant of the shaders that bounds loops, and its value.
pub(super) type Bound = (&'static str, u32);

/// Replaces each `for (var NAME = 0u; NAME < BOUND; NAME++) {` of at most `most` trips by a block for each trip. A loop
/// ends with the brace beneath its `for`, as in all files of `shaders/`.
pub(super) fn unroll(text: &str, bounds: &[Bound], most: u32) -> String {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut unrolled = expand(&lines, bounds, most).join("\n");
    unrolled.push('\n');
    unrolled
}

fn expand(lines: &[String], bounds: &[Bound], most: u32) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let found = constant_loop(line, bounds).filter(|(_, trips)| *trips <= most);
        let indent = &line[..line.len() - line.trim_start().len()];
        let length = || {
            let end = format!("{indent}}}");
            lines[at..].iter().position(|line| *line == end)
        };
        let Some(((name, trips), length)) = found.and_then(|found| Some((found, length()?))) else {
            out.push(line.clone());
            at += 1;
            continue;
        };
        let body = &lines[at + 1..at + length];
        for trip in 0..trips {
            let body: Vec<String> =
                body.iter().map(|line| substitute(line, name, &format!("{trip}u"))).collect();
            out.push(format!("{indent}{{"));
            out.extend(expand(&body, bounds, most));
            out.push(format!("{indent}}}"));
        }
        at += length + 1;
    }
    out
}

/// The variable and the trips of a loop's first line.
fn constant_loop<'a>(line: &'a str, bounds: &[Bound]) -> Option<(&'a str, u32)> {
    let (name, rest) = line.trim_start().strip_prefix("for (var ")?.split_once(" = 0u; ")?;
    let (bound, rest) = rest.strip_prefix(name)?.strip_prefix(" < ")?.split_once("; ")?;
    let is_plain = rest.strip_prefix(name)? == "++) {";
    let (_, trips) = bounds.iter().find(|(known, _)| *known == bound)?;
    is_plain.then_some((name, *trips))
}

/// The line with `value` for the word `name`, but for what is a comment.
pub(super) fn substitute(line: &str, name: &str, value: &str) -> String {
    let (code, comment) = line.split_at(line.find("//").unwrap_or(line.len()));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(line.len());
    let mut rest = code;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let is_whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        out.push_str(before);
        if is_whole {
            out.push_str(value);
        } else {
            out.push_str(name);
        }
        rest = after;
    }
    out + rest + comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_become_a_block_for_each_trip() {
        let text = "\
fn f() {
    for (var step = 0u; step < STEPS; step++) {
        // each step
        for (var part = 0u; part < PARTS; part++) {
            x[step * PARTS + part] = a_step(step, part.x); // of step
        }
    }
}
";
        let expected = "\
fn f() {
    {
        // each step
        {
            x[0u * PARTS + 0u] = a_step(0u, 0u.x); // of step
        }
    }
    {
        // each step
        {
            x[1u * PARTS + 0u] = a_step(1u, 0u.x); // of step
        }
    }
}
";
        assert_eq!(unroll(text, &[("STEPS", 2), ("PARTS", 1)], 4), expected);
    }

    #[test]
    fn loops_with_other_bounds_or_too_many_trips_stay() {
        for head in [
            "for (var step = 0u; step < STEPS; step++) {",
            "for (var row = first; row < PARTS; row++) {",
            "for (var i = 0u; i < count; i++) {",
            "for (var i = 0u; i < PARTS; i += 2u) {",
        ] {
            let text = format!("{head}\n    x += step;\n}}\n");
            assert_eq!(unroll(&text, &[("STEPS", 100), ("PARTS", 2)], 32), text);
        }
    }
}
