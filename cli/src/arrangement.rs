//! Where in a tensor of a file the rows lie that are normalized.

use crate::failure::Failure;
use crate::tensors::{TensorInfo, product, zeroed};
use bytemuck::Zeroable;
use wgpu_layernorm::Channels;

/// Rows that do not fill a tensor one after the other: row `r` is number `r % inner_rows` inside the outer
/// row `r / inner_rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrangement {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// The shape of a tensor with one value for each row.
    pub(crate) rows_shape: Vec<usize>,
    offset: usize,
    inner_rows: usize,
    outer_stride: usize,
    row_stride: usize,
    /// Columns of a run, the elements from one run to the next, and those from one column of a run to the
    /// next.
    column_run: usize,
    run_stride: usize,
    column_stride: usize,
}

impl Arrangement {
    /// The channels of each position, of `[samples, channels, ...]`.
    pub(crate) fn channels(x: &TensorInfo) -> Result<Self, Failure> {
        let [samples, channels, spatial @ ..] = &x.shape[..] else {
            return Err(Failure::WrongCall(format!(
                "{} has shape {:?}, needs [samples, channels, ...] for --normalization channel",
                x.label, x.shape
            )));
        };
        let too_many =
            || Failure::WrongCall(format!("{} has shape {:?}: more than can be", x.label, x.shape));
        let positions = product(spatial).ok_or_else(too_many)?;
        Ok(Self {
            rows: product(&[*samples, positions]).ok_or_else(too_many)?,
            cols: *channels,
            rows_shape: [&[*samples], spatial].concat(),
            offset: 0,
            inner_rows: positions,
            outer_stride: product(&[*channels, positions]).ok_or_else(too_many)?,
            row_stride: 1,
            column_run: 1,
            run_stride: positions,
            column_stride: 1,
        })
    }

    /// All that one index of an axis has, in the order of the other axes.
    pub(crate) fn along(x: &TensorInfo, axis: usize) -> Result<Self, Failure> {
        let Some((length, (before, after))) =
            x.shape.get(axis).map(|length| (length, (&x.shape[..axis], &x.shape[axis + 1..])))
        else {
            return Err(Failure::WrongCall(format!(
                "{} has shape {:?}, and --axis {axis} needs {} dimensions",
                x.label,
                x.shape,
                axis + 1
            )));
        };
        let too_many =
            || Failure::WrongCall(format!("{} has shape {:?}: more than can be", x.label, x.shape));
        let [before, after] = [product(before), product(after)];
        let (before, after) = before.zip(after).ok_or_else(too_many)?;
        Ok(Self {
            rows: *length,
            cols: product(&[before, after]).ok_or_else(too_many)?,
            rows_shape: (0..x.shape.len()).map(|i| if i == axis { *length } else { 1 }).collect(),
            offset: 0,
            inner_rows: (*length).max(1),
            outer_stride: 0,
            row_stride: after,
            column_run: after,
            run_stride: product(&[*length, after]).ok_or_else(too_many)?,
            column_stride: 1,
        })
    }

    /// The same, whose tensors of one value for each row have one dimension.
    pub(crate) fn in_one_dimension(self) -> Self {
        Self { rows_shape: vec![self.rows], ..self }
    }

    /// Heads of `dim` values inside the rows of `[..., width]`, from `offset` on.
    pub(crate) fn heads(x: &TensorInfo, heads: usize, dim: usize, offset: usize) -> Result<Self, Failure> {
        let width = x.shape.last().copied().unwrap_or(0);
        let end = heads.checked_mul(dim).and_then(|all| all.checked_add(offset));
        if end.is_none_or(|end| end > width) {
            return Err(Failure::WrongCall(format!(
                "{} has rows of {width} values, and --offset {offset} with --heads {heads} of --head-dim {dim} needs {}",
                x.label,
                end.map_or("more than there are numbers for".to_owned(), |end| end.to_string())
            )));
        }
        let leading = x.shape.split_last().map_or(&[][..], |(_, leading)| leading);
        let rows_shape = [leading, &[heads]].concat();
        let too_many =
            || Failure::WrongCall(format!("{} has shape {:?}: more than can be", x.label, x.shape));
        Ok(Self {
            rows: product(&rows_shape).ok_or_else(too_many)?,
            cols: dim,
            rows_shape,
            offset,
            inner_rows: heads,
            outer_stride: width,
            row_stride: dim,
            column_run: 1,
            run_stride: 1,
            column_stride: 1,
        })
    }

    /// Groups of the channels of `[samples, ..., channels]`, a channel's values one after the other.
    pub(crate) fn groups_of_last(x: &TensorInfo, channels: Channels) -> Result<Self, Failure> {
        let Channels { count, groups, spatial, .. } = channels;
        let [count, groups, spatial] = [count, groups, spatial].map(|value| value as usize);
        let samples = x.shape.first().copied().unwrap_or(0);
        let of_group = count / groups;
        let too_many =
            || Failure::WrongCall(format!("{} has shape {:?}: more than can be", x.label, x.shape));
        Ok(Self {
            rows: product(&[samples, groups]).ok_or_else(too_many)?,
            cols: product(&[of_group, spatial]).ok_or_else(too_many)?,
            rows_shape: vec![samples, groups],
            offset: 0,
            inner_rows: groups,
            outer_stride: product(&[spatial, count]).ok_or_else(too_many)?,
            row_stride: of_group,
            column_run: spatial,
            run_stride: 1,
            column_stride: count,
        })
    }

    /// Whether the rows are all of a tensor with so many elements.
    pub(crate) const fn fills(&self, elements: usize) -> bool {
        self.rows * self.cols == elements
    }

    /// The elements of each row in turn.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows).flat_map(move |row| {
            // Without positions there are no rows.
            let outer = row / self.inner_rows * self.outer_stride;
            let start = self.offset + outer + row % self.inner_rows * self.row_stride;
            let run = self.column_run.max(1);
            (0..self.cols)
                .map(move |column| start + column / run * self.run_stride + column % run * self.column_stride)
        })
    }

    /// The rows one after the other.
    pub(crate) fn gather<T: Copy + Zeroable>(&self, label: &str, tensor: &[T]) -> Result<Vec<T>, Failure> {
        let mut rows = zeroed(label, self.rows * self.cols)?;
        rows.iter_mut().zip(self.places()).for_each(|(value, place)| *value = tensor[place]);
        Ok(rows)
    }

    /// Puts them back where they lie; what is between them stays.
    pub(crate) fn scatter<T: Copy>(&self, rows: &[T], tensor: &mut [T]) {
        rows.iter().zip(self.places()).for_each(|(value, place)| tensor[place] = *value);
    }
}
