//! Which values of x its rows are, by its shape and the flags.

use super::flags::Common;
use crate::arrangement::Arrangement;
use crate::failure::Failure;
use crate::tensors::{TensorInfo, product};
use crate::words::NormalizationFlag;
use wgpu_layernorm::{Channels, Problem};

/// Where the rows of x lie, if not one after the other.
pub(super) fn arrangement(x: &TensorInfo, common: &Common) -> Result<Option<Arrangement>, Failure> {
    let wrong = |what: &str| Err(Failure::WrongCall(what.to_owned()));
    if common.groups.is_some() {
        return wrong("--groups needs --normalization group");
    }
    let along_channels = common.normalization.is_along_channels();
    if common.normalization == NormalizationFlag::Weight {
        return match (common.heads, common.cols, common.channels_last) {
            (None, None, false) => Arrangement::along(x, common.axis.unwrap_or(0)).map(Some),
            _ => wrong("--normalization weight takes --axis, not --heads, --cols or --channels-last"),
        };
    }
    if common.axis.is_some() {
        return wrong("--axis needs --normalization weight");
    }
    match (common.heads.zip(common.head_dim), along_channels) {
        (Some(_), true) => wrong("--heads are parts of rows, and --normalization channel has none"),
        (Some((heads, dim)), false) => Arrangement::heads(x, heads, dim, common.offset).map(Some),
        (None, true) if common.cols.is_some() => wrong(
            "--cols says how long a row is, which with --normalization channel is the number of channels",
        ),
        (None, true) if common.channels_last => Ok(None),
        (None, true) => Arrangement::channels(x).map(Some),
        (None, false) if common.channels_last => {
            wrong("--channels-last needs --normalization group, instance, batch, channel or channel-rms")
        }
        (None, false) => Ok(None),
    }
}

/// The channels of x, where gain and bias have a value for each.
pub(super) fn channels(x: &TensorInfo, common: &Common) -> Result<Option<Channels>, Failure> {
    if !common.normalization.is_of_channels() {
        return Ok(None);
    }
    let wrong = |what: String| Err(Failure::WrongCall(what));
    if common.heads.is_some() || common.cols.is_some() || common.axis.is_some() {
        return wrong(
            "--normalization group and instance take neither --heads, --cols nor --axis".to_owned(),
        );
    }
    let [_, rest @ ..] = &x.shape[..] else { return wrong(needs_channels(x)) };
    let (count, spatial) = match common.channels_last {
        true => rest.split_last().map(|(count, spatial)| (*count, spatial)),
        false => rest.split_first().map(|(count, spatial)| (*count, spatial)),
    }
    .ok_or_else(|| Failure::WrongCall(needs_channels(x)))?;
    let groups = match (common.normalization, common.groups) {
        (NormalizationFlag::Group, Some(groups)) => groups,
        (NormalizationFlag::Group, None) => return wrong("--normalization group needs --groups".to_owned()),
        (_, Some(_)) => {
            return wrong(
                "--groups needs --normalization group: instance has one for each channel".to_owned(),
            );
        }
        (_, None) => count,
    };
    if count == 0 {
        return wrong(format!("{} has shape {:?}: no channels", x.label, x.shape));
    }
    if count % groups != 0 {
        let shape = format!("{} has shape {:?}, {count} channels", x.label, x.shape);
        return wrong(format!("{shape}, which need to be a multiple of --groups {groups}"));
    }
    let spatial = product(spatial).filter(|spatial| *spatial > 0);
    let numbers = [Some(count), Some(groups), spatial].map(|number| u32::try_from(number?).ok());
    match numbers {
        [Some(count), Some(groups), Some(spatial)] => Ok(Some(Channels::new(count, groups, spatial))),
        _ => {
            wrong(format!("{} has shape {:?}: no values of a channel, or more than can be", x.label, x.shape))
        }
    }
}

/// How many samples a scale has a row for: its leading dimensions are the first of x's, or all rows in one.
pub(super) fn samples(x: &TensorInfo, scale: &TensorInfo, cols: u32, rows: usize) -> Result<usize, Failure> {
    let of_rows = leading_shape(&x.shape, cols as usize).unwrap_or_else(|| vec![rows]);
    let of_scale = leading_shape(&scale.shape, cols as usize);
    match of_scale.filter(|of_scale| of_rows.starts_with(of_scale) || *of_scale == [rows]) {
        Some(of_scale) => Ok(product(&of_scale).unwrap_or(0).max(1)),
        None => Err(Failure::WrongCall(format!(
            "{} has shape {:?}, needs [samples, {cols}], or [{rows}, {cols}] for a row each; x has shape {:?}",
            scale.label, scale.shape, x.shape
        ))),
    }
}

/// The channels of a batch: a row has all values of one.
pub(super) fn batch_channels(x: &TensorInfo, common: &Common) -> Result<Channels, Failure> {
    let given = [
        ("--heads", common.heads.is_some()),
        ("--cols", common.cols.is_some()),
        ("--axis", common.axis.is_some()),
        ("--groups", common.groups.is_some()),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(Failure::WrongCall(format!("--normalization batch does not take {flag}")));
    }
    let count = match (&x.shape[..], common.channels_last) {
        ([_, .., count], true) | ([_, count, ..], false) if *count > 0 => *count,
        _ => {
            return Err(Failure::WrongCall(format!(
                "{} has shape {:?}, needs [samples, channels, ...] for --normalization batch",
                x.label, x.shape
            )));
        }
    };
    let spatial = cols_of(x, x.elements() / count)?;
    let too_many = |_| Failure::WrongCall(format!("{} has shape {:?}: more than can be", x.label, x.shape));
    let count = u32::try_from(count).map_err(too_many)?;
    Ok(Channels::new(count, count, spatial))
}

fn needs_channels(x: &TensorInfo) -> String {
    let (label, shape) = (&x.label, &x.shape);
    format!(
        "{label} has shape {shape:?}, needs [samples, channels, ...] for --normalization group and instance"
    )
}

/// The columns of rows that are not the last dimension.
pub(super) fn cols_of(x: &TensorInfo, cols: usize) -> Result<u32, Failure> {
    u32::try_from(cols).ok().filter(|cols| (1..=Problem::MAX_COLS).contains(cols)).ok_or_else(|| {
        Failure::WrongCall(format!(
            "{} has shape {:?}, and rows of {cols} values, which need 1 to {}",
            x.label,
            x.shape,
            Problem::MAX_COLS
        ))
    })
}

pub(super) fn cols(x: &TensorInfo, given: Option<u32>) -> Result<u32, Failure> {
    if let Some(cols) = given {
        return Ok(cols);
    }
    let last = x.shape.last().copied().unwrap_or(0);
    u32::try_from(last).ok().filter(|cols| (1..=Problem::MAX_COLS).contains(cols)).ok_or_else(|| {
        Failure::WrongCall(format!(
            "{} has shape {:?}, needs a last dimension of 1 to {}; or say with --cols how long a row is",
            x.label,
            x.shape,
            Problem::MAX_COLS
        ))
    })
}

/// The dimensions before the last ones that together make up a row, if some do.
pub(super) fn leading_shape(shape: &[usize], cols: usize) -> Option<Vec<usize>> {
    (0..shape.len())
        .rev()
        .find(|first| product(&shape[*first..]) == Some(cols))
        .map(|first| shape[..first].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dimensions_end_where_a_row_starts() {
        assert_eq!(leading_shape(&[2, 3, 4], 4), Some(vec![2, 3]));
        assert_eq!(leading_shape(&[2, 3, 4], 12), Some(vec![2]));
        assert_eq!(leading_shape(&[2, 3, 4], 24), Some(vec![]));
        assert_eq!(leading_shape(&[2, 3, 4], 6), None);
        assert_eq!(leading_shape(&[0, 4], 4), Some(vec![0]));
        assert_eq!(leading_shape(&[2, 1], 1), Some(vec![2]));
        assert_eq!(leading_shape(&[0, 1 << 32, 1 << 32], 4), None);
        assert_eq!(leading_shape(&[0, 1 << 32, 1 << 32, 4], 4), Some(vec![0, 1 << 32, 1 << 32]));
    }
}
