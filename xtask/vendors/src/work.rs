//! What is compiled: the distinct texts of a covering array of the variants.

use crate::Result;
use std::collections::HashMap;
use wgpu_layernorm::plan::{AdapterKind, Plan};
use wgpu_layernorm::shader::variants::{self, Strength, Variant};
use wgpu_layernorm::shader::{Dialect, assemble};

/// A text, and the variants that are this text: some options change nothing in one kernel, such as what the
/// sum of the parameter gradients does with the old value in the kernel before it.
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
}

/// Which of the product's variants a compiler is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Every compiler.
    All,
    /// AMD's, which unrolls loops itself. The others' texts are unrolled, some for software adapters that
    /// hold 32 vec4 a thread: given to RADV all the same, 14 of 90 spilled on gfx1100.
    Loops,
    /// Compilers of other GPUs: unrolled texts of plans for GPUs, without native 16-bit floats where wgpu
    /// offers none.
    Unrolled { native_f16: bool },
}

impl For {
    fn wants(self, variant: &Variant) -> bool {
        match self {
            Self::All => true,
            Self::Loops => !variant.plan.unroll,
            Self::Unrolled { native_f16 } => {
                let is_of_a_gpu = variant.plan.unroll && variant.caps.kind == AdapterKind::Gpu;
                is_of_a_gpu && (native_f16 || !variant.caps.shader_f16)
            }
        }
    }
}

/// A covering array of the variants whose labels contain `case`, always in the same order.
fn chosen(case: &str, strength: Strength, whose: For) -> Result<Vec<Variant>> {
    let wanted =
        |variant: &Variant| whose.wants(variant) && (case.is_empty() || variant.plan.label().contains(case));
    variants::covering(strength, wanted).map_err(|error| error.to_string())
}

/// The distinct texts of a covering array of the variants whose labels contain `case`, always in the same
/// order.
pub(crate) fn texts(case: &str, strength: Strength, whose: For) -> Result<Vec<Text>> {
    let mut texts: Vec<Text> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for variant in chosen(case, strength, whose)? {
        let label = variant.plan.label();
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
    Ok(texts)
}

/// The plans of the same covering array by their labels, by which a process that holds a compiler is asked.
/// Each process chooses anew: all of the product by its labels would take it longer.
pub(crate) fn plans(case: &str, strength: Strength, whose: For) -> Result<HashMap<String, Plan>> {
    let chosen = chosen(case, strength, whose)?;
    Ok(chosen.into_iter().map(|variant| (variant.plan.label(), variant.plan)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_chosen_variant_is_in_one_text_and_can_be_asked_for() {
        for whose in
            [For::All, For::Loops, For::Unrolled { native_f16: false }, For::Unrolled { native_f16: true }]
        {
            let plans = plans("", Strength::Pairs, whose).unwrap();
            let texts = texts("", Strength::Pairs, whose).unwrap();
            let labels: Vec<&String> = texts.iter().flat_map(|text| &text.labels).collect();
            assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len(), "a label twice");
            for text in &texts {
                assert_eq!(plans[text.label()].label(), text.label());
                assert!(whose.wants(&text.variant), "{}", text.label());
            }
        }
    }

    #[test]
    fn a_case_chooses_among_the_whole_product() {
        assert!(texts("no such variant", Strength::Pairs, For::All).unwrap().is_empty());
        let some = texts("forward_cached/f32x4/layer/none", Strength::Pairs, For::All).unwrap();
        assert!(!some.is_empty());
        assert!(some.iter().all(|text| text.label().starts_with("forward_cached/f32x4/layer/none")));
    }
}
