//! What is compiled: the distinct texts of all variants.

use crate::Result;
use std::collections::HashMap;
use wgpu_layernorm::plan::Plan;
use wgpu_layernorm::shader::variants::{self, Variant};
use wgpu_layernorm::shader::{Dialect, assemble};

/// A text, and the variants that are this text: some options change nothing in one kernel, such as what the sum of the
/// parameter gradients does with the old value in the kernel before it.
#[derive(Debug)]
pub(crate) struct Text {
    /// Its place among the texts of the same case.
    pub(crate) number: usize,
    pub(crate) variant: Variant,
    pub(crate) labels: Vec<String>,
}

impl Text {
    /// The first of its names.
    pub(crate) fn label(&self) -> &str {
        &self.labels[0]
    }

    /// Whether AMD's and Intel's compilers may be given it.
    pub(crate) fn has_loops(&self) -> bool {
        !self.variant.plan.unroll
    }
}

/// Why they are not given the others.
pub(crate) const WRITTEN_OUT: &str = "written out for compilers that do not unroll loops, as this one does";

/// The texts of the variants whose labels contain `case`, always in the same order.
pub(crate) fn texts(case: &str) -> Result<Vec<Text>> {
    let mut texts: Vec<Text> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for variant in variants::all().map_err(|error| error.to_string())? {
        let label = variant.plan.label();
        if !label.contains(case) {
            continue;
        }
        let source = assemble(&variant.plan, Dialect::Browser).map_err(|error| error.to_string())?.source;
        // The first line is a comment with the label.
        let body = source.split_once('\n').map_or("", |(_, body)| body).to_owned();
        match known.get(&body) {
            Some(number) => texts[*number].labels.push(label),
            None => {
                known.insert(body, texts.len());
                texts.push(Text { number: texts.len(), variant, labels: vec![label] });
            }
        }
    }
    if texts.is_empty() {
        return Err(format!("no variant's label contains {case:?}: `layernorm emit --all DIR` lists them"));
    }
    Ok(texts)
}

/// The plans of all variants by their labels, by which a process that holds a compiler is asked: assembling all texts to
/// number them, as [`texts`] does, would take each of these longer than what most of them are asked.
pub(crate) fn plans() -> Result<HashMap<String, Plan>> {
    let variants = variants::all().map_err(|error| error.to_string())?;
    Ok(variants.into_iter().map(|variant| (variant.plan.label(), variant.plan)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_variant_is_in_one_text() {
        let all = variants::all().unwrap();
        let texts = texts("").unwrap();
        let labels: HashSet<&String> = texts.iter().flat_map(|text| &text.labels).collect();
        assert_eq!(labels.len(), all.len());
        assert!(texts.len() < all.len(), "some options leave a text as it is");
    }

    #[test]
    fn a_case_that_nothing_contains_is_an_error() {
        assert!(texts("no such variant").unwrap_err().contains("no such variant"));
        let some = texts("forward_cached/f32x4/layer/none").unwrap();
        assert!(some.iter().all(|text| text.label().starts_with("forward_cached/f32x4/layer/none")));
    }
}
