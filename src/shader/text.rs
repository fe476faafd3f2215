//! Text surgery: everything that is done to a segment beside putting it behind another. What cannot be done
//! as meant is an error, never a text that is something else.

use super::unroll::substitute;
use crate::plan::Tensor;

/// Appends a segment.
pub(super) fn segment(text: &mut String, segment: &str) {
    text.push('\n');
    text.push_str(segment);
}

/// A segment of `io/` or `gradient/` for a tensor that is accessed through the binding of `bound`. TENSOR
/// stands for the name of the one, BUFFER for that of the other, and `PLACE_TENSOR` for the number of its
/// place in the uniform.
pub(super) fn for_tensor(segment: &str, tensor: Tensor, bound: Tensor) -> String {
    segment
        .replace("PLACE_TENSOR", &place_constant(tensor))
        .replace("TENSOR", tensor.name())
        .replace("BUFFER", bound.name())
}

/// An accessor of a tensor whose rows are those of the inner rows: `along/inner_row.wgsl` says where they
/// lie.
pub(super) fn of_inner_row(accessor: &str) -> String {
    accessor.replace("row_start(", "parameter_start(").replace("element(", "parameter_element(")
}

/// The constant that has the number of a tensor's place.
pub(super) fn place_constant(tensor: Tensor) -> String {
    format!("PLACE_{}", tensor.name().to_uppercase())
}

/// A segment with one of its functions under another name, for a segment that puts its own in front of it.
pub(super) fn with_renamed(segment: &str, function: &str, name: &str) -> Result<String, String> {
    let declared = format!("fn {function}(");
    match segment.matches(&declared).count() {
        1 => Ok(segment.replace(&declared, &format!("fn {name}("))),
        count => Err(format!("`{declared}` is there {count} times")),
    }
}

/// The functions of a reduction again, for the largest in place of the sum: `row_max` for `row_sum`. It
/// shares what lies in workgroup memory. Largest are 0 at least, so that 0 stands for what is not there.
pub(super) fn of_largest(reduction: &str) -> Result<String, String> {
    let mut text = String::new();
    for (function, name) in [("with_lane_across", "with_largest_across"), ("row_sum", "row_max")] {
        let Some((_, rest)) = reduction.split_once(&format!("fn {function}(")) else { continue };
        let (body, _) = rest.split_once("\n}\n").ok_or(format!("`{function}` has no end"))?;
        text += &format!("\nfn {name}({body}\n}}\n");
    }
    let text =
        text.replace("subgroupAdd(", "subgroupMax(").replace("with_lane_across(", "with_largest_across(");
    let largest = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim().strip_suffix(';').and_then(|code| code.split_once(" += ")) {
            Some((total, term)) => format!("{indent}{total} = max({total}, {term});\n"),
            None => format!("{line}\n"),
        }
    };
    let text: String = text.lines().map(largest).collect();
    match text.contains("fn row_max(") {
        true => Ok(text),
        false => Err("the reduction has no `row_sum`".to_owned()),
    }
}

/// The declaration of the uniform with the number of its binding.
pub(super) fn bind_uniform(params: &str, binding: u32) -> Result<String, String> {
    const DECLARED: &str = "@binding(0) var<uniform>";
    match params.matches(DECLARED).count() {
        1 => Ok(params.replace(DECLARED, &format!("@binding({binding}) var<uniform>"))),
        count => Err(format!("`{DECLARED}` is there {count} times")),
    }
}

/// Sets the value of each constant's one line `const NAME: TYPE = VALUE;`.
pub(super) fn set_constants(text: &str, constants: &[(&str, String)]) -> Result<String, String> {
    let mut declarations = vec![0; constants.len()];
    let mut set = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let declared = line.strip_prefix("const ").and_then(|rest| rest.split_once(": "));
        let place =
            declared.and_then(|(name, _)| constants.iter().position(|(constant, _)| *constant == name));
        let Some(place) = place else {
            set.push_str(line);
            continue;
        };
        let (name, value) = &constants[place];
        let (Some(equals), Some(semicolon)) = (line.find("= "), line.find(';')) else {
            return Err(format!("constant {name} is not declared as `const NAME: TYPE = VALUE;`"));
        };
        declarations[place] += 1;
        set.push_str(&line[..equals + 2]);
        set.push_str(value);
        set.push_str(&line[semicolon..]);
    }
    match constants.iter().zip(declarations).find(|(_, declarations)| *declarations != 1) {
        None => Ok(set),
        Some(((name, _), declarations)) => Err(format!("constant {name} is declared {declarations} times")),
    }
}

/// The text with a field of the uniform in place of each constant; its declaration goes, with the comment
/// above it.
pub(super) fn read_from_uniform(text: &str, fields: &[(&str, &str)]) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (name, field) in fields {
        let declaration = format!("const {name}: ");
        let mut declared = (0..lines.len()).filter(|&at| lines[at].starts_with(&declaration));
        let (Some(at), None) = (declared.next(), declared.next()) else {
            return Err(format!("constant {name} is not declared once"));
        };
        let comment = lines[..at].iter().rev().take_while(|line| line.starts_with("//")).count();
        lines.drain(at - comment..=at);
        for line in lines.iter_mut().filter(|line| line.contains(name)) {
            *line = substitute(line, name, field);
        }
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The text without the blocks `if (NAME) {` of constants that are false. A block ends with the brace beneath
/// its `if`, and has no `else`.
///
/// # Errors
/// A sentence about a block that has no such end.
pub(super) fn without_blocks(text: &str, switched_off: &[&str]) -> Result<String, String> {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let condition = code.strip_prefix("if (").and_then(|rest| rest.strip_suffix(") {"));
        if !condition.is_some_and(|name| switched_off.contains(&name)) {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let is_end = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}'));
        match lines.find(|line| is_end(line)) {
            Some(end) if end.trim_start() == "}" => {}
            _ => return Err(format!("a block that is left out has no end of its own: {code}")),
        }
    }
    Ok(kept)
}

/// The text with what each `alias NAME = TYPE;` stands for in place of NAME. For naga an alias is a type of
/// its own: where the same type occurs without it too, the SPIR-V has a type twice and the HLSL a function.
pub(super) fn expand_aliases(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let alias = |line: &String| {
        let (name, of) = line.strip_prefix("alias ")?.strip_suffix(';')?.split_once(" = ")?;
        Some((name.to_owned(), of.to_owned()))
    };
    // An alias may stand in the one that is expanded after it.
    while let Some((at, (name, of))) =
        lines.iter().enumerate().find_map(|(at, line)| Some((at, alias(line)?)))
    {
        lines.remove(at);
        for line in lines.iter_mut().filter(|line| line.contains(&name)) {
            *line = substitute(line, &name, &of);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_constants_that_are_false_are_left_out() {
        let text = "\
    a();
    if (OFF) {
        if (b) {
            c();
        }
    }
    if (ON) {
        d();
    }
";
        let expected = "a();\n    if (ON) {\n        d();\n    }\n";
        assert_eq!(without_blocks(text, &["OFF"]).unwrap(), expected);
        let with_else = text.replace("    }\n    if (ON)", "    } else {\n    }\n    if (ON)");
        for wrong in [with_else, "if (OFF) {\n".to_owned()] {
            assert!(without_blocks(&wrong, &["OFF"]).unwrap_err().contains("no end"), "{wrong}");
        }
    }

    #[test]
    fn aliases_are_expanded_one_in_another() {
        let text = "\
alias Pair = vec2<f32>;
alias Pairs = array<Pair, N>;
// a Pair
fn f(p: Pair, q: Pairing) -> Pairs {
";
        let expected = "\
// a Pair
fn f(p: vec2<f32>, q: Pairing) -> array<vec2<f32>, N> {
";
        assert_eq!(expand_aliases(text), expected);
    }

    #[test]
    fn a_constant_becomes_a_field_of_the_uniform() {
        let text = "\
const B: u32 = 1u;
// Columns of a row.
// Of each.
const A: u32 = 1024u;

fn f() -> u32 {
    return A + AB; // A
}
";
        let expected = "\
const B: u32 = 1u;

fn f() -> u32 {
    return params.a + AB; // A
}
";
        assert_eq!(read_from_uniform(text, &[("A", "params.a")]).unwrap(), expected);
        for wrong in [text.repeat(2), text.replace("const A:", "let A:")] {
            assert!(read_from_uniform(&wrong, &[("A", "params.a")]).unwrap_err().contains("once"), "{wrong}");
        }
    }

    #[test]
    fn a_uniform_wants_exactly_one_declaration() {
        let once = "@group(0) @binding(0) var<uniform> params: Params;\n";
        let bound = bind_uniform(once, 5).unwrap();
        assert_eq!(bound, "@group(0) @binding(5) var<uniform> params: Params;\n");
        for wrong in [&once.repeat(2), "@group(0) @binding(1) var<uniform> params: Params;"] {
            assert!(bind_uniform(wrong, 5).unwrap_err().contains("times"), "{wrong}");
        }
    }

    #[test]
    fn a_function_that_gets_another_name_wants_exactly_one_declaration() {
        let once = "fn start(row: u32) -> u32 {\n    return row;\n}\n";
        let renamed = with_renamed(once, "start", "whole_start").unwrap();
        assert_eq!(renamed, "fn whole_start(row: u32) -> u32 {\n    return row;\n}\n");
        for wrong in [&once.repeat(2), "fn starts(row: u32) {}"] {
            assert!(with_renamed(wrong, "start", "whole_start").unwrap_err().contains("times"), "{wrong}");
        }
    }

    #[test]
    fn the_largest_is_found_where_sums_are_taken() {
        let sum = "\
var<workgroup> sums: array<Sums, 2>;

fn row_sum(invocation: Invocation, sums: Sums) -> Sums {
    var total = subgroupAdd(sums);
    for (var i = 0u; i < 2u; i += 1u) {
        total += sums[i];
    }
    return total;
}
";
        let largest = "
fn row_max(invocation: Invocation, sums: Sums) -> Sums {
    var total = subgroupMax(sums);
    for (var i = 0u; i < 2u; i += 1u) {
        total = max(total, sums[i]);
    }
    return total;
}
";
        assert_eq!(of_largest(sum).unwrap(), largest);
        assert!(of_largest("fn other() {\n}\n").unwrap_err().contains("row_sum"));
    }

    #[test]
    fn a_constant_wants_exactly_one_declaration() {
        let once = "\nconst A: u32 = 1u;\nconst AB: u32 = A; // A\n";
        let set = |text: &str, name| set_constants(text, &[("AB", "8u".to_owned()), (name, "7u".to_owned())]);
        assert_eq!(set(once, "A").unwrap(), "\nconst A: u32 = 7u;\nconst AB: u32 = 8u; // A\n");
        assert!(set(once, "C").unwrap_err().contains("C is declared 0 times"), "absent");
        let twice = format!("{once}const A: u32 = 1u;\n");
        assert!(set(&twice, "A").unwrap_err().contains("A is declared 2 times"), "repeated");
        assert!(set("const A: u32", "A").unwrap_err().contains("not declared as"), "without a value");
    }
}
