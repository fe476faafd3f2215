//! Writing out loops whose trips are constants.
//!
//! Mesa's compilers for AMD and Intel do it themselves, and AMD's spills registers in some texts that are written out. NVIDIA's
//! and Mesa's software rasteriser do not where naga has added a bound to the loop and clamped the index into a local array, which it does to every loop and
//! every index that is not a constant: the row then lies in memory (H200: forward at 0.33 of the copy, 0.93 written out).
//! Written out, there is nothing to bound or clamp.

/// A constant of the shaders that bounds loops, and its value.
pub(super) type Bound = (&'static str, u32);

/// How far loops are written out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Loops of more trips stay as they are.
    pub(super) most_trips: u32,
    /// Where there is one: a loop that lies in no other and has more trips than this becomes a loop over runs of so many, each
    /// written out.
    pub(super) run: Option<u32>,
}

/// Replaces each `for (var NAME = 0u; NAME < BOUND; NAME++) {` of at most `most_trips` trips by a block for each trip, or for
/// each trip of a run. A loop ends with the brace beneath its `for`, as in all files of `shaders/`.
///
/// In a loop over runs `array[NAME]` and `array[NAME * PARTS + part]` are the first elements of the array, and those behind them
/// move up at the end of each run: after the last one all are where they were. So no index depends on the run, and the array stays
/// in registers.
pub(super) fn unroll(text: &str, bounds: &[Bound], limits: Limits) -> String {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut unrolled = expand(&lines, bounds, limits).join("\n");
    unrolled.push('\n');
    unrolled
}

fn expand(lines: &[String], bounds: &[Bound], limits: Limits) -> Vec<String> {
    let in_a_loop = Limits { run: None, ..limits };
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let is_loop = line.trim_start().starts_with("for (");
        let Some(length) = is_loop.then(|| lines[at..].iter().position(|line| *line == end)).flatten() else {
            out.push(line.clone());
            at += 1;
            continue;
        };
        let body = &lines[at + 1..at + length];
        let trip = |name: &str, trip: &str| {
            let body: Vec<String> = body.iter().map(|line| substitute(line, name, trip)).collect();
            let mut block = vec![format!("{indent}{{")];
            block.extend(expand(&body, bounds, in_a_loop));
            block.push(end.clone());
            block
        };
        match (constant_loop(line, bounds).filter(|(_, trips)| *trips <= limits.most_trips), limits.run) {
            (Some((name, trips)), Some(run)) if trips > run && line.contains("< STEPS;") => {
                out.extend(in_runs(indent, body, bounds, in_a_loop, (name, trips, run)));
            }
            (Some((name, trips)), _) => out.extend((0..trips).flat_map(|i| trip(name, &format!("{i}u")))),
            (None, _) => {
                out.push(line.clone());
                out.extend(expand(body, bounds, in_a_loop));
                out.push(end.clone());
            }
        }
        at += length + 1;
    }
    out
}

/// A loop over whole runs, and what is left written out.
fn in_runs(
    indent: &str,
    body: &[String],
    bounds: &[Bound],
    limits: Limits,
    (name, trips, run): (&str, u32, u32),
) -> Vec<String> {
    let in_runs = trips / run * run;
    let parts = bounds.iter().find(|(bound, _)| *bound == "PARTS").map_or(1, |(_, parts)| *parts);
    // The trip as an index of an array, and everywhere else.
    let block = |margin: &str, index: &str, number: &str| {
        let body: Vec<String> = body
            .iter()
            .map(|line| {
                let line = line.replace(&format!("[{name}]"), &format!("[{index}]"));
                let line = line.replace(&format!("[{name} * PARTS"), &format!("[{index} * PARTS"));
                substitute(&line, name, number)
            })
            .collect();
        let mut block = vec![format!("{margin}{indent}{{")];
        block.extend(expand(&body, bounds, limits).iter().map(|line| format!("{margin}{line}")));
        block.push(format!("{margin}{indent}}}"));
        block
    };
    // `params.one` is 1, which compilers do not know: they would write out the loop.
    let mut out =
        vec![format!("{indent}for (var run = 0u; run < {in_runs}u * u32(params.one); run += {run}u) {{")];
    for i in 0..run {
        out.extend(block("    ", &format!("{i}u"), &format!("(run + {i}u)")));
    }
    for (array, per_trip) in indexed(body, name, parts) {
        let (length, step) = (in_runs * per_trip, run * per_trip);
        let first = (0..step).map(|i| format!("{indent}    let {array}_{i} = {array}[{i}u];"));
        let moved = (step..length).map(|i| format!("{indent}    {array}[{}u] = {array}[{i}u];", i - step));
        let last = (0..step).map(|i| format!("{indent}    {array}[{}u] = {array}_{i};", length - step + i));
        out.extend(first.chain(moved).chain(last));
    }
    out.push(format!("{indent}}}"));
    for i in in_runs..trips {
        out.extend(block("", &format!("{i}u"), &format!("{i}u")));
    }
    out
}

/// The arrays that a loop's body indexes by the loop's variable, and how many elements of each a trip has.
fn indexed<'a>(body: &'a [String], name: &str, parts: u32) -> Vec<(&'a str, u32)> {
    let mut arrays = Vec::new();
    for line in body {
        for (index, per_trip) in [(format!("[{name}]"), 1), (format!("[{name} * PARTS"), parts)] {
            for (at, _) in line.match_indices(&index) {
                let before = &line[..at];
                let start = before.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1);
                if !arrays.contains(&(&before[start..], per_trip)) {
                    arrays.push((&before[start..], per_trip));
                }
            }
        }
    }
    arrays
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

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
        assert_eq!(
            unroll(text, &[("STEPS", 2), ("PARTS", 1)], Limits { most_trips: 4, run: None }),
            expected
        );
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
            let limits = Limits { most_trips: 32, run: Some(4) };
            assert_eq!(unroll(&text, &[("STEPS", 100), ("PARTS", 2)], limits), text);
        }
    }

    #[test]
    fn a_loop_that_runs_once_stays_one_over_runs() {
        let text = "\
fn f() {
    for (var step = 0u; step < STEPS; step++) {
        gain[step] = load(step);
        for (var part = 0u; part < PARTS; part++) {
            store(step, sums[step * PARTS + part]);
        }
    }
    for (var row = first; row < end; row++) {
        for (var step = 0u; step < STEPS; step++) {
            x[step] = load(step);
        }
    }
}
";
        let unrolled = unroll(text, &[("STEPS", 3), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2) });
        let expected = "\
fn f() {
    for (var run = 0u; run < 2u * u32(params.one); run += 2u) {
        {
            gain[0u] = load((run + 0u));
            {
                store((run + 0u), sums[0u * PARTS + 0u]);
            }
        }
        {
            gain[1u] = load((run + 1u));
            {
                store((run + 1u), sums[1u * PARTS + 0u]);
            }
        }
        let gain_0 = gain[0u];
        let gain_1 = gain[1u];
        gain[0u] = gain_0;
        gain[1u] = gain_1;
        let sums_0 = sums[0u];
        let sums_1 = sums[1u];
        sums[0u] = sums_0;
        sums[1u] = sums_1;
    }
    {
        gain[2u] = load(2u);
        {
            store(2u, sums[2u * PARTS + 0u]);
        }
    }
    for (var row = first; row < end; row++) {
        {
            x[0u] = load(0u);
        }
        {
            x[1u] = load(1u);
        }
        {
            x[2u] = load(2u);
        }
    }
}
";
        assert_eq!(unrolled, expected);
        let two_runs = unroll(text, &[("STEPS", 4), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2) });
        for moved in
            ["sums[0u] = sums[2u];", "sums[1u] = sums[3u];", "sums[2u] = sums_0;", "sums[3u] = sums_1;"]
        {
            assert!(two_runs.contains(moved), "{moved} is not in {two_runs}");
        }
    }
}
