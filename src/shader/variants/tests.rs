//! That the set has every kernel, and every pair of factors that the product has.

use super::*;
use crate::plan::Kernel;

#[test]
fn every_kernel_storage_width_and_reduction_is_there() {
    let variants = all().unwrap();
    let has = |what: &dyn Fn(&Plan) -> bool| variants.iter().any(|variant| what(&variant.plan));
    let storages = [Storage::F32, Storage::NativeF16, Storage::PackedF16, Storage::PackedBf16].into_iter();
    for (kernel, storage) in Kernel::ALL.into_iter().flat_map(|k| storages.clone().map(move |s| (k, s))) {
        let widths: &[u32] = match storage {
            Storage::F32 => &[1, 2, 4],
            Storage::NativeF16 => &[1],
            Storage::PackedF16 | Storage::PackedBf16 if kernel == Kernel::BackwardReduceParameters => {
                &[1, 2, 4]
            }
            Storage::PackedF16 | Storage::PackedBf16 => &[1, 2, 4, 8],
        };
        for width in widths {
            assert!(
                has(&|plan| plan.kernel == kernel
                    && plan.storage(Tensor::X) == storage
                    && plan.vector_width == *width),
                "{} {} x{width}",
                kernel.name(),
                storage.name()
            );
        }
    }
    for kernel in Kernel::ALL {
        let has = |what: &dyn Fn(&Plan) -> bool| has(&|plan| plan.kernel == kernel && what(plan));
        let name = kernel.name();
        if kernel == Kernel::BackwardReduceParameters {
            assert!(has(&|plan| plan.combine_slots) && has(&|plan| !plan.combine_slots), "{name}");
        } else {
            assert!(has(&|plan| plan.reduction == Reduction::Workgroup), "{name}");
            assert!(has(&|plan| plan.uses_subgroups()), "{name}");
        }
        assert!(has(&|plan| plan.unroll) && has(&|plan| !plan.unroll), "{name}");
    }
}

#[test]
fn no_two_variants_have_one_label() {
    let variants = all().unwrap();
    let labels: HashSet<String> = variants.iter().map(|variant| variant.plan.label()).collect();
    assert_eq!(labels.len(), variants.len());
}

/// Each two levels of two factors of some rows.
fn pairs<'a>(rows: impl IntoIterator<Item = &'a Levels<FACTORS>>) -> HashSet<[u8; 4]> {
    /// More than any factor has.
    const LEVELS: usize = 32;
    // No hash set: the product's rows have 400 million pairs.
    let mut has = vec![[[false; LEVELS]; LEVELS]; FACTORS * FACTORS];
    for levels in rows {
        for (first, level) in levels.iter().enumerate() {
            for (second, other) in levels.iter().enumerate().skip(first + 1) {
                has[FACTORS * first + second][usize::from(*level)][usize::from(*other)] = true;
            }
        }
    }
    let mut pairs = HashSet::new();
    for (factors, of_factors) in (0_u16..).zip(&has) {
        let [high, low] = factors.to_be_bytes();
        for (level, of_level) in (0..).zip(of_factors) {
            pairs.extend(
                (0..).zip(of_level).filter(|(_, has)| **has).map(|(other, _)| [high, low, level, other]),
            );
        }
    }
    pairs
}

#[test]
fn every_pair_of_factors_of_the_product_is_in_the_arrays() {
    let in_product = pairs(with_levels().unwrap().iter().map(|(_, levels)| levels));
    // As many as are compiled in the gate's time.
    for (strength, most) in [(Strength::Pairs, 380), (Strength::Triples, 4000)] {
        let chosen = match strength {
            Strength::Triples => all().unwrap(),
            _ => covering(strength, |_| true).unwrap(),
        };
        let chosen: Vec<_> = chosen.iter().map(|variant| levels(&variant.plan)).collect();
        let covered = pairs(&chosen);
        let missing = in_product.difference(&covered).next();
        assert_eq!(covered.len(), in_product.len(), "{strength:?}: {missing:?}");
        assert!(chosen.len() <= most, "{strength:?} takes {} plans", chosen.len());
    }
}
