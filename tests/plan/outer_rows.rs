//! Rows and columns inside outer ones, and columns apart: every element is where the shader looks for it, and
//! in the window that it is bound through.

use super::config;
use super::problems::{f32_of, subgroups_of_32};
use proptest::prelude::*;
use wgpu_layernorm::plan::{Caps, Forward, Numbers, Place, Plan, Span, Strides, Uniform};

/// Small ones, whose elements can be counted one by one; strides in any order, those of two axes the same
/// too. Rows inside outer ones, or columns.
fn spans() -> impl Strategy<Value = Span> {
    let axes = (0..40_u64, 0..9_u64, 1..9_u32, 1..7_u64, 0..6_u64, 0..60_u64, prop::option::of(1..4_u32));
    axes.prop_map(|(offset, stride, cols, column_stride, inner_rows, outer_stride, outer_columns)| {
        let of_rows = Span { offset, stride, cols, column_stride, ..Span::default() };
        match outer_columns {
            None => Span { inner_rows, outer_stride, ..of_rows },
            Some(outer) => {
                Span { cols: cols * outer, inner_columns: cols, outer_column_stride: outer_stride, ..of_rows }
            }
        }
    })
}

/// The element of a row and a column, as the type's documentation has it.
fn element(span: &Span, row: u64, column: u64) -> u64 {
    let (outer, inner) = match span.inner_rows {
        0 => (0, row),
        inner_rows => (row / inner_rows, row % inner_rows),
    };
    let (outer_column, column) = match u64::from(span.inner_columns) {
        0 => (0, column),
        inner_columns => (column / inner_columns, column % inner_columns),
    };
    let of_row = span.offset + outer * span.outer_stride + inner * span.stride;
    of_row + outer_column * span.outer_column_stride + column * span.column_stride
}

/// All elements of some rows.
fn elements(span: &Span, rows: std::ops::Range<u64>) -> impl Iterator<Item = u64> + '_ {
    rows.flat_map(move |row| (0..u64::from(span.cols)).map(move |column| element(span, row, column)))
}

/// What `layout/strided.wgsl` and `layout/outer_columns.wgsl` compute, in the numbers of a uniform.
fn in_shader(uniform: &[u8; Uniform::BYTES], strides: Strides, row: u32, column: u32) -> u32 {
    let word = |i: usize| u32::from_ne_bytes(uniform[4 * i..4 * i + 4].try_into().unwrap());
    let (inner_rows, first_inner_row, inner_columns) = (word(7), word(8), word(16));
    let [start, row_stride, column_stride, outer_stride] = [20, 21, 22, 23].map(word);
    if strides == Strides::Columns {
        return start
            .wrapping_add(row.wrapping_mul(row_stride))
            .wrapping_add((column / inner_columns).wrapping_mul(outer_stride))
            .wrapping_add((column % inner_columns).wrapping_mul(column_stride));
    }
    let inner = first_inner_row + row;
    start
        .wrapping_add((inner / inner_rows).wrapping_mul(outer_stride))
        .wrapping_add((inner % inner_rows).wrapping_mul(row_stride))
        .wrapping_add(column.wrapping_mul(column_stride))
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn a_window_has_all_elements_of_its_rows(span in spans(), first in 0..20_u64, rows in 1..20_u64) {
        let (begin, length) = span.window(first, rows, 4);
        let least = elements(&span, first..first + rows).min().unwrap();
        let most = elements(&span, first..first + rows).max().unwrap();
        prop_assert_eq!((begin, begin + length), (4 * least, 4 * (most + 1)));
        prop_assert_eq!(span.end(rows), 4 * (elements(&span, 0..rows).max().unwrap() + 1));
    }

    #[test]
    fn tensors_that_have_an_element_in_common_overlap(a in spans(), b in spans(), rows in 0..9_u64, others in 0..9_u64) {
        let share = elements(&a, 0..rows).any(|i| elements(&b, 0..others).any(|j| i == j));
        prop_assert!(!share || a.overlaps(rows, &b, others));
        prop_assert!(!share || b.overlaps(others, &a, rows));
    }

    /// Of a fused projection q, k and v lie in each other's gaps.
    #[test]
    fn heads_beside_each_other_do_not_overlap(dim in 1..9_u32, heads in 1..5_u64, tokens in 1..6_u64) {
        let width = 2 * heads * u64::from(dim);
        let q = Span { stride: dim.into(), cols: dim, inner_rows: heads, outer_stride: width, ..Span::default() };
        let k = Span { offset: width / 2, ..q };
        prop_assert!(!q.overlaps(heads * tokens, &k, heads * tokens));
        prop_assert!(!k.overlaps(heads * tokens, &q, heads * tokens));
        let late = Span { offset: width / 2 - 1, ..q };
        prop_assert!(q.overlaps(heads * tokens, &late, heads * tokens));
    }

    #[test]
    fn the_shader_finds_every_element_in_its_window(span in spans(), rows in 1..40_u64, few in 1..200_u64) {
        let least = span.window(0, 1, 4).1.max(4 * u64::from(span.cols)) + 8;
        let caps = Caps { max_binding_bytes: least + 4 * few, storage_alignment: 4, ..subgroups_of_32() };
        let strides = if span.inner_columns > 0 { Strides::Columns } else { Strides::Rows };
        let plan = Plan::forward(&f32_of(span.cols), Forward::default(), 1, &caps).unwrap().with_strides(strides);
        let mut next = 0;
        for dispatch in plan.dispatches(rows, &[span], &caps).unwrap() {
            prop_assert_eq!(dispatch.first_row, next);
            next += u64::from(dispatch.rows);
            let (begin, length) = span.window(dispatch.first_row, dispatch.rows.into(), 4);
            prop_assert!(length <= caps.max_binding_bytes);
            let number = |elements: u64| u32::try_from(elements).unwrap();
            let place = Place {
                start: number(element(&span, dispatch.first_row, 0) - begin / 4),
                row_stride: number(span.stride),
                column_stride: number(span.column_stride),
                outer_stride: match strides {
                    Strides::Columns => Some(number(span.outer_column_stride)),
                    _ => (span.inner_rows > 0).then_some(number(span.outer_stride)),
                },
            };
            let uniform = plan.uniform(&dispatch, &[place], &Numbers::new(1e-5));
            for row in 0..dispatch.rows {
                for column in 0..span.cols {
                    let expected = element(&span, dispatch.first_row + u64::from(row), column.into());
                    let found = in_shader(&uniform, strides, row, column);
                    prop_assert_eq!(begin / 4 + u64::from(found), expected);
                }
            }
        }
        prop_assert_eq!(next, rows);
    }
}

#[test]
fn tensors_of_a_call_have_as_many_inner_rows() {
    let plan = Plan::forward(&f32_of(8), Forward::default(), 1, &subgroups_of_32()).unwrap();
    let of = |inner_rows| Span { stride: 8, cols: 8, inner_rows, outer_stride: 64, ..Span::default() };
    plan.dispatches(12, &[of(4), of(0), of(4)], &subgroups_of_32()).unwrap();
    let error = plan.dispatches(12, &[of(4), of(0), of(6)], &subgroups_of_32()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("rows inside an outer row") && text.contains('6') && text.contains('4'), "{text}");
}

#[test]
fn tensors_of_a_call_have_as_many_inner_columns_and_no_outer_rows_beside_them() {
    let caps = subgroups_of_32();
    let plan = Plan::forward(&f32_of(12), Forward::default(), 1, &caps).unwrap();
    let of = |inner_columns| Span {
        stride: 4,
        cols: 12,
        inner_columns,
        outer_column_stride: 64,
        ..Span::default()
    };
    let said = |spans: &[Span]| plan.dispatches(8, spans, &caps).unwrap_err().to_string();
    plan.dispatches(8, &[of(4), of(0), of(4)], &caps).unwrap();
    let differ = said(&[of(4), of(0), of(6)]);
    assert!(differ.contains("columns inside an outer column is 6, needs to be 4"), "{differ}");
    let not_whole = said(&[of(5)]);
    assert!(
        not_whole.contains("columns inside an outer column is 5, needs to be a divisor of"),
        "{not_whole}"
    );
    let rows = Span { stride: 12, cols: 12, inner_rows: 4, outer_stride: 64, ..Span::default() };
    let both = said(&[of(4), rows]);
    assert!(both.contains("rows inside an outer row is 4, needs to be none"), "{both}");
}
