//! Writing out loops whose trips are constants.
//!
//! Mesa's compilers for AMD and Intel do it themselves, and AMD's spills registers in some texts that are
//! written out. NVIDIA's and Mesa's software rasterizer do not where naga has added a bound to the loop and
//! clamped the index into a local array, which it does to every loop and every index that is not a constant:
//! the row then lies in memory (H200: forward at 0.33 of the copy, 0.93 written out). Written out, there is
//! nothing to bound or clamp.

/// A constant of the shaders that bounds loops, and its value.
pub(super) type Bound = (&'static str, u32);

/// How far loops are written out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Loops of more trips stay as they are.
    pub(super) most_trips: u32,
    /// Where there is one: a loop that lies in no other and has more trips than this becomes a loop over runs
    /// of so many, each written out.
    pub(super) run: Option<u32>,
}

/// Replaces each `for (var NAME = 0u; NAME < BOUND; NAME++) {` of at most `most_trips` trips by a block for
/// each trip, or for each trip of a run. A loop ends with the brace beneath its `for`, as in all files of
/// `shaders/`.
///
/// In a loop over runs `array[NAME]` and `array[NAME * PARTS + part]` are the first elements of the array,
/// and those behind them move up at the end of each run: after the last one all are where they were. So no
/// index depends on the run, and the array stays in registers.
///
/// # Errors
/// A sentence about a loop that should be written out and cannot be: it is not written as above, or leaves an
/// iteration early.
pub(super) fn unroll(text: &str, bounds: &[Bound], limits: Limits) -> Result<String, String> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let unrolled = expand(&lines, bounds, limits);
    for line in &unrolled {
        if let Some(bound) = left_over(line, bounds, limits) {
            return Err(format!(
                "the loop over {bound} is not written as one that can be unrolled: {}",
                line.trim()
            ));
        }
    }
    let mut unrolled = unrolled.join("\n");
    unrolled.push('\n');
    match unrolled.contains(LEAVES_EARLY) {
        true => Err("a loop that is to be unrolled leaves an iteration early".to_owned()),
        false => Ok(unrolled),
    }
}

/// The bound of a loop that should have become something else.
fn left_over(line: &str, bounds: &[Bound], limits: Limits) -> Option<&'static str> {
    let head = line.trim_start().strip_prefix("for (")?;
    let (_, condition) = head.split_once("; ")?;
    let is_bound = |bound: &str| condition.split(|c: char| !is_word(c)).any(|word| word == bound);
    // Blocks of rows and runs of steps are walked by strides that are products of such constants.
    let steps_by_one = condition.contains("++");
    let few = bounds.iter().filter(|(_, trips)| *trips <= limits.most_trips);
    few.map(|(bound, _)| *bound).find(|bound| steps_by_one && is_bound(bound))
}

/// Stands where a `continue` or `break` of an unrolled loop was, which would be another loop's, or nobody's.
const LEAVES_EARLY: &str = "LEAVES EARLY";

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
        let body = match constant_loop(line, bounds) {
            Some((_, trips)) if trips <= limits.most_trips => &marked(body),
            _ => body,
        };
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

/// A loop's body, with what would leave an iteration early marked: not that of loops within.
fn marked(body: &[String]) -> Vec<String> {
    let mut end_of_inner: Option<String> = None;
    let mark = |line: &String| {
        let code = line.trim();
        match &end_of_inner {
            Some(end) if line == end => end_of_inner = None,
            Some(_) => {}
            None if code.starts_with("for (") || code.starts_with("while ") => {
                let indent = &line[..line.len() - line.trim_start().len()];
                end_of_inner = Some(format!("{indent}}}"));
            }
            None if code == "continue;" || code == "break;" => return format!("{LEAVES_EARLY} {line}"),
            None => {}
        }
        line.clone()
    };
    body.iter().map(mark).collect()
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
        let limits = Limits { most_trips: 4, run: None };
        assert_eq!(unroll(text, &[("STEPS", 2), ("PARTS", 1)], limits).unwrap(), expected);
    }

    #[test]
    fn loops_with_other_bounds_or_too_many_trips_stay() {
        for head in [
            "for (var step = 0u; step < STEPS; step++) {",
            "for (var i = 0u; i < count; i++) {",
            "for (var i = 0u; i < PARTS; i += 2u) {",
        ] {
            let text = format!("{head}\n    x += step;\n}}\n");
            let limits = Limits { most_trips: 32, run: Some(4) };
            assert_eq!(unroll(&text, &[("STEPS", 100), ("PARTS", 2)], limits).unwrap(), text);
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
        let unrolled =
            unroll(text, &[("STEPS", 3), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2) }).unwrap();
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
        let two_runs =
            unroll(text, &[("STEPS", 4), ("PARTS", 1)], Limits { most_trips: 4, run: Some(2) }).unwrap();
        for moved in
            ["sums[0u] = sums[2u];", "sums[1u] = sums[3u];", "sums[2u] = sums_0;", "sums[3u] = sums_1;"]
        {
            assert!(two_runs.contains(moved), "{moved} is not in {two_runs}");
        }
    }
    #[test]
    fn a_loop_that_cannot_be_written_out_is_an_error() {
        let limits = Limits { most_trips: 32, run: None };
        for text in [
            // Another start, another space, another brace.
            "for (var row = first; row < PARTS; row++) {\n    x += row;\n}\n",
            "for (var part = 0u; part <  PARTS; part++) {\n    x += part;\n}\n",
            "for (var part = 0u; part < PARTS; part++) {\n    x += part; }\n",
            "for (var part = 0u; part < PARTS; part++) {\n    if (part > 0u) {\n        continue;\n    }\n}\n",
            "for (var part = 0u; part < PARTS; part++) {\n    break;\n}\n",
        ] {
            unroll(text, &[("PARTS", 2)], limits).expect_err(text);
        }
        let inner = "for (var part = 0u; part < PARTS; part++) {\n    for (var i = 0u; i < n; i++) {\n        break;\n    }\n}\n";
        unroll(inner, &[("PARTS", 2)], limits).expect("the inner loop leaves itself");
    }
}
