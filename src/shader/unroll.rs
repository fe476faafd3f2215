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
    /// Where there is one: a loop that lies in no other, or in that over blocks of rows, and has more trips
    /// than this becomes a loop over runs of so many, each written out.
    pub(super) run: Option<u32>,
    /// A bound whose loops stay, with their arrays turned by one element at the end of each trip: each trip
    /// finds its element at index 0. Of an access with an index that is not a constant, Mesa makes a ladder
    /// of branches over all elements.
    pub(super) turned: Option<&'static str>,
}

/// Replaces each `for (var NAME = 0u; NAME < BOUND; NAME++) {` of at most `most_trips` trips by a block for
/// each trip, or for each trip of a run. A loop ends with the brace beneath its `for`, as in all files of
/// `shaders/`.
///
/// In a loop over runs `array[NAME]` and `array[NAME * PARTS + part]` are the first elements of the array,
/// and those behind them move up at the end of each run: after the last one all are where they were. So no
/// index depends on the run, and the array stays in registers. A loop over the bound that is turned is the
/// same with a trip for a run, wherever it lies. With one access to its arrays elsewhere, by an index that is
/// not a constant, forward 2048x2048 ran on lavapipe at 0.29 of its speed.
///
/// # Errors
/// A sentence about a loop that should be written out or turned and cannot be: it is not written as above,
/// leaves an iteration early, or has other indices that depend on it.
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
    if unrolled.contains(LEAVES_EARLY) {
        return Err("a loop that is to be unrolled leaves an iteration early".to_owned());
    }
    match unrolled.contains(OTHER_INDEX) {
        true => Err("an index depends on the trip of a loop whose arrays turn".to_owned()),
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

/// Stands before a line with an index that `in_turn` leaves.
const OTHER_INDEX: &str = "OTHER INDEX";

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
        // What a block of rows does once it does seldom.
        let within = if line.trim_start().starts_with("for (var block = ") { limits } else { in_a_loop };
        if let Some(turned) = turned_loop(line, bounds, limits) {
            out.extend(in_turn(indent, body, bounds, in_a_loop, turned));
            at += length + 1;
            continue;
        }
        let body = match constant_loop(line, bounds) {
            Some((_, trips)) if trips <= limits.most_trips => &marked(body),
            _ => body,
        };
        let trip = |name: &str, trip: &str| {
            let body: Vec<String> = body.iter().map(|line| substitute(line, name, trip)).collect();
            let mut block = vec![format!("{indent}{{")];
            block.extend(expand(&body, bounds, within));
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
                out.extend(expand(body, bounds, within));
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

/// A loop that stays, with its arrays turned by one element at the end of each trip.
fn in_turn(
    indent: &str,
    body: &[String],
    bounds: &[Bound],
    limits: Limits,
    (name, trips): (&str, u32),
) -> Vec<String> {
    let mut out = vec![format!("{indent}for (var {name} = 0u; {name} < {trips}u; {name} += 1u) {{")];
    let written_out = expand(body, bounds, limits);
    // `name + 0u` is what a loop over accesses side by side leaves, of which there is one.
    let arrays = indexed(&written_out, name, 1);
    let (begun, alone, beside) = (format!("[{name}"), format!("[{name}]"), format!("[{name} + 0u]"));
    for line in &written_out {
        let line = line.replace(&alone, "[0u]").replace(&beside, "[0u]");
        let (code, _) = line.split_at(line.find("//").unwrap_or(line.len()));
        let depends = code.split(&begun).skip(1).any(|rest| !rest.starts_with(is_word));
        out.push(if depends { format!("{OTHER_INDEX} {line}") } else { line });
    }
    for (array, _) in arrays {
        out.push(format!("{indent}    let {array}_0 = {array}[0u];"));
        out.extend((1..trips).map(|i| format!("{indent}    {array}[{}u] = {array}[{i}u];", i - 1)));
        out.push(format!("{indent}    {array}[{}u] = {array}_0;", trips - 1));
    }
    out.push(format!("{indent}}}"));
    out
}

/// The arrays that a loop's body indexes by the loop's variable, and how many elements of each a trip has.
fn indexed<'a>(body: &'a [String], name: &str, parts: u32) -> Vec<(&'a str, u32)> {
    let mut arrays = Vec::new();
    for line in body {
        let indices =
            [(format!("[{name}]"), 1), (format!("[{name} + 0u]"), 1), (format!("[{name} * PARTS"), parts)];
        for (index, per_trip) in indices {
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

/// The variable and the trips of a loop whose arrays turn, one element or one access of rows at a time.
fn turned_loop<'a>(line: &'a str, bounds: &[Bound], limits: Limits) -> Option<(&'a str, u32)> {
    let bound = limits.turned.filter(|bound| line.contains(&format!(" < {bound}; ")))?;
    constant_loop(line, bounds).or_else(|| {
        let name = line.trim_start().strip_prefix("for (var ")?.split(' ').next()?;
        let trips = |bound: &str| bounds.iter().find(|(known, _)| *known == bound).map(|(_, trips)| *trips);
        let is_by_one = line.ends_with(&format!("; {name} += WALKED) {{")) && trips("WALKED") == Some(1);
        is_by_one.then_some((name, trips(bound)?))
    })
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
mod tests;
