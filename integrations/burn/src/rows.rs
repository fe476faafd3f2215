//! Where the rows of a tensor lie.

use wgpu_layernorm::plan::Span;

/// The rows of a strided tensor, those along its last axis; nothing where its leading axes are neither one
/// row after the other nor rows inside outer ones, or where an axis repeats its values.
pub(crate) fn span(shape: &[usize], strides: &[usize], element_bytes: usize) -> Option<Span> {
    let (&cols, leading) = shape.split_last()?;
    let (&column_stride, leading_strides) = strides.split_last()?;
    let column_stride = if cols > 1 { column_stride } else { 1 };
    // (rows, stride) of axes that are one, the innermost first.
    let mut axes: Vec<(usize, usize)> = Vec::new();
    for (&length, &stride) in leading.iter().zip(leading_strides).rev().filter(|(length, _)| **length != 1) {
        match axes.last_mut() {
            Some((rows, inner)) if stride == *rows * *inner => *rows *= length,
            _ => axes.push((length, stride)),
        }
    }
    if column_stride == 0 || axes.iter().any(|(_, stride)| *stride == 0) {
        return None;
    }
    let (stride, inner_rows, outer_stride) = match axes[..] {
        [] => (cols.saturating_mul(column_stride), 0, 0),
        [(_, stride)] => (stride, 0, 0),
        [(inner_rows, stride), (_, outer_stride)] => (stride, inner_rows, outer_stride),
        _ => return None,
    };
    Some(Span {
        stride: stride as u64,
        cols: u32::try_from(cols).ok()?,
        element_bytes: u32::try_from(element_bytes).ok()?,
        column_stride: column_stride as u64,
        inner_rows: inner_rows as u64,
        outer_stride: outer_stride as u64,
        ..Span::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: &[usize], strides: &[usize]) -> Option<(u64, u64, u64, u64)> {
        span(shape, strides, 4)
            .map(|span| (span.stride, span.column_stride, span.inner_rows, span.outer_stride))
    }

    #[test]
    fn axes_one_after_the_other_are_rows_of_one_stride() {
        assert_eq!(of(&[7], &[1]), Some((7, 1, 0, 0)));
        assert_eq!(of(&[5, 7], &[7, 1]), Some((7, 1, 0, 0)));
        assert_eq!(of(&[2, 3, 5, 7], &[105, 35, 7, 1]), Some((7, 1, 0, 0)));
        assert_eq!(of(&[2, 3, 7], &[60, 20, 1]), Some((20, 1, 0, 0)), "a slice of wider rows");
        assert_eq!(of(&[5, 1], &[3, 8]), Some((3, 1, 0, 0)), "a column has no next one");
    }

    #[test]
    fn axes_of_length_1_may_have_any_stride() {
        assert_eq!(of(&[1, 5, 1, 7], &[9999, 7, 3, 1]), Some((7, 1, 0, 0)));
        assert_eq!(of(&[1, 7], &[0, 1]), Some((7, 1, 0, 0)));
    }

    #[test]
    fn transposed_and_sliced_tensors_are_rows_too() {
        assert_eq!(of(&[5, 7], &[1, 5]), Some((1, 5, 0, 0)));
        // [2, 3, 4, 7] with its inner two axes swapped.
        assert_eq!(of(&[2, 4, 3, 7], &[84, 7, 28, 1]), None, "three axes");
        assert_eq!(of(&[4, 3, 7], &[7, 28, 1]), Some((28, 1, 3, 7)));
        // The first half of the middle axis.
        assert_eq!(of(&[4, 3, 7], &[42, 7, 1]), Some((7, 1, 3, 42)));
    }

    #[test]
    fn repeated_values_are_none() {
        assert_eq!(of(&[5, 7], &[0, 1]), None);
        assert_eq!(of(&[5, 7], &[7, 0]), None);
    }
}
