//! The uniform of a dispatch, for any host.

use super::{Dispatch, Plan, Strides, Tensor};
use crate::types::Running;
use bytemuck::{Pod, Zeroable};

/// Where a tensor lies in the window of its buffer that a dispatch binds. In elements of the tensor, as all
/// of a shader's numbers are. Written with `..`, over [`default`](Self::default), as [all that
/// grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// From the start of the binding to row 0 of the dispatch.
    pub start: u32,
    /// From one row's start to the next; 0 for gain, bias and their gradients, which have one row.
    pub row_stride: u32,
    /// From one column to the next: 1, but for [strided](Plan::with_strides) rows, and statistics whose mean
    /// and rstd lie apart. Modulo 2^32 where rstd comes first.
    pub column_stride: u32,
    /// From one outer row's start to the next, where each has [`Dispatch::inner_rows`] rows; with
    /// [`Strides::Columns`] from one outer column's start to the next, where each has
    /// [`Dispatch::inner_columns`] columns. `None` where one stride tells all rows, or all columns, apart. Of
    /// gain and bias that have a row for each head or sample, from one row's start to the next; `None` where
    /// those follow each other.
    pub outer_stride: Option<u32>,
}

impl Default for Place {
    /// One row from the start of the binding on, its columns one after the other.
    fn default() -> Self {
        Self { start: 0, row_stride: 0, column_stride: 1, outer_stride: None }
    }
}

const PLACES: usize = 11;

/// The numbers of a call that are the same for all its dispatches. Written with `..`, over
/// [`new`](Self::new), as [all that grows](crate#what-grows).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// That of the [`Problem`](crate::Problem); in backward, forward's.
    pub eps: f32,
    /// That of [`Running`](crate::Running) statistics, where forward updates some.
    pub momentum: f32,
    /// What a row's variance is multiplied by before it is kept there: `cols / (cols - 1)` for the unbiased
    /// one, 1 for the biased.
    pub variance_factor: f32,
    /// That of all codes, where it is given: see [`CodeFormat`](crate::CodeFormat).
    /// In backward from y, in its place: the least |gain| that leaves enough of xhat in y.
    pub unit: f32,
}

impl Numbers {
    /// With this eps.
    #[must_use]
    pub const fn new(eps: f32) -> Self {
        Self { eps, momentum: 0.0, variance_factor: 1.0, unit: 1.0 }
    }

    /// The same for running statistics of rows of so many columns.
    #[must_use]
    pub fn with_running<V>(self, running: &Running<V>, cols: u32) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
        let variance_factor = running.kept.factor(cols) as f32;
        Self { momentum: running.momentum, variance_factor, ..self }
    }
}

/// Mirrors `Params` of `shaders/common/params.wgsl`, which says what the fields mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Uniform {
    rows: u32,
    workgroups_x: u32,
    slot_rows: u32,
    earlier_partial_rows: u32,
    eps: f32,
    one: f32,
    zero: u32,
    inner_rows: u32,
    first_inner_row: u32,
    cols: u32,
    steps: u32,
    chunks: u32,
    sum_scale: f32,
    mean_factor: f32,
    channels: u32,
    spatial: u32,
    inner_columns: u32,
    momentum: f32,
    variance_factor: f32,
    unit: f32,
    places: [[u32; 4]; PLACES],
}

impl Uniform {
    /// The most storage buffers that a shader binds.
    pub const PLACES: usize = PLACES;

    /// Bytes of a uniform: one slot of the largest alignment that WebGPU lets an adapter ask for.
    pub const BYTES: usize = 256;

    /// The numbers of a dispatch of no rows over tensors at `places`, in the order of the plan's bindings;
    /// places beyond [`Uniform::PLACES`] have no binding, and are left out.
    pub(crate) fn new(places: &[Place], numbers: &Numbers, outer: Outer) -> Self {
        let Outer { strides, first_inner_row, inner_rows, inner_columns } = outer;
        let outer = Self { inner_rows, first_inner_row, inner_columns, ..Self::zeroed() };
        let Numbers { eps, momentum, variance_factor, unit } = *numbers;
        let of_call = Self { eps, momentum, variance_factor, unit, one: 1.0, ..outer };
        let mut uniform = Self { workgroups_x: 1, slot_rows: 1, chunks: 1, ..of_call };
        for (to, place) in uniform.places.iter_mut().zip(places) {
            let Place { start, row_stride, column_stride, outer_stride } = *place;
            // The shader's sum wraps around to the place of row 0.
            let before = match strides {
                Strides::Rows | Strides::Across => first_inner_row.wrapping_mul(row_stride),
                Strides::Dense | Strides::Columns => 0,
            };
            let start = start.wrapping_sub(before);
            let without_outer = match strides {
                Strides::Columns => inner_columns.wrapping_mul(column_stride),
                Strides::Dense | Strides::Rows | Strides::Across => inner_rows.wrapping_mul(row_stride),
            };
            let outer_stride = outer_stride.unwrap_or(without_outer);
            *to = [start, row_stride, column_stride, outer_stride];
        }
        uniform
    }

    /// The numbers that follow the plan and the rows of a dispatch; places and eps stay.
    pub(crate) fn of(self, plan: &Plan, dispatch: &Dispatch) -> Self {
        let factors = plan.row_factors();
        Self {
            cols: plan.cols,
            steps: plan.steps,
            chunks: plan.chunks,
            sum_scale: factors.sum_scale,
            mean_factor: factors.mean_factor,
            channels: factors.channels,
            spatial: factors.spatial,
            rows: dispatch.rows,
            workgroups_x: dispatch.workgroups[0],
            slot_rows: plan.slot_rows(dispatch.rows.into()),
            earlier_partial_rows: dispatch.earlier_partial_rows,
            ..self
        }
    }
}

/// How rows and columns of a dispatch lie among outer ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    pub(crate) strides: Strides,
    /// Which of its outer row row 0 is: [`Strides::Rows`] count from the start of that.
    pub(crate) first_inner_row: u32,
    pub(crate) inner_rows: u32,
    pub(crate) inner_columns: u32,
}

const _: () = assert!(size_of::<Uniform>() == Uniform::BYTES, "Uniform is one slot");

impl Plan {
    /// The bytes of a dispatch's uniform, for a host of its own: `places` are those of [`Plan::tensors`], in
    /// their order. Partial sums of gradients start where their binding does, with
    /// [`Plan::place_of_partials`].
    #[must_use]
    pub fn uniform(&self, dispatch: &Dispatch, places: &[Place], numbers: &Numbers) -> [u8; Uniform::BYTES] {
        bytemuck::cast(self.uniform_of(dispatch, places, numbers))
    }

    /// The same before it is bytes.
    pub(crate) fn uniform_of(&self, dispatch: &Dispatch, places: &[Place], numbers: &Numbers) -> Uniform {
        let Dispatch { first_inner_row, inner_rows, inner_columns, .. } = *dispatch;
        let outer = Outer { strides: self.strides, first_inner_row, inner_rows, inner_columns };
        let of_tensor = |(tensor, place): (&Tensor, &Place)| self.with_rows_of_parameters(*tensor, *place);
        let places: Vec<_> = self.tensors().iter().zip(places).map(of_tensor).collect();
        Uniform::new(&places, numbers, outer).of(self, dispatch)
    }

    /// The place of a tensor, with the stride between its rows if it is one of parameters that have some.
    pub(crate) fn with_rows_of_parameters(&self, tensor: Tensor, place: Place) -> Place {
        let outer_stride = place.outer_stride.or(self.has_rows_of(tensor).then_some(self.cols));
        Place { outer_stride, ..place }
    }

    /// The place of the partial sums of dgain and dbias in a binding of their own: rows of
    /// [`Plan::parameters`], one after the other.
    #[must_use]
    pub fn place_of_partials(&self) -> Place {
        Place { start: 0, row_stride: self.parameters(), column_stride: 1, outer_stride: None }
    }

    /// The number of a tensor's place: that of the binding which it is accessed through, less one.
    pub(crate) fn place_number(&self, tensor: Tensor) -> Option<usize> {
        self.tensors().iter().position(|bound| *bound == tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Caps, Forward};
    use crate::shader::{Dialect, assemble};
    use crate::types::Problem;
    use std::mem::offset_of;

    #[test]
    fn the_shader_has_the_same_fields_at_the_same_places() {
        let mirror = [
            ("rows", offset_of!(Uniform, rows)),
            ("workgroups_x", offset_of!(Uniform, workgroups_x)),
            ("slot_rows", offset_of!(Uniform, slot_rows)),
            ("earlier_partial_rows", offset_of!(Uniform, earlier_partial_rows)),
            ("eps", offset_of!(Uniform, eps)),
            ("one", offset_of!(Uniform, one)),
            ("zero", offset_of!(Uniform, zero)),
            ("inner_rows", offset_of!(Uniform, inner_rows)),
            ("first_inner_row", offset_of!(Uniform, first_inner_row)),
            ("cols", offset_of!(Uniform, cols)),
            ("steps", offset_of!(Uniform, steps)),
            ("chunks", offset_of!(Uniform, chunks)),
            ("sum_scale", offset_of!(Uniform, sum_scale)),
            ("mean_factor", offset_of!(Uniform, mean_factor)),
            ("channels", offset_of!(Uniform, channels)),
            ("spatial", offset_of!(Uniform, spatial)),
            ("inner_columns", offset_of!(Uniform, inner_columns)),
            ("momentum", offset_of!(Uniform, momentum)),
            ("variance_factor", offset_of!(Uniform, variance_factor)),
            ("unit", offset_of!(Uniform, unit)),
            ("places", offset_of!(Uniform, places)),
        ];
        let problem = Problem { cols: 64, ..Problem::default() };
        let plan = Plan::forward(&problem, Forward::default(), 8, &Caps::webgpu_default()).unwrap();
        let source = assemble(&plan, Dialect::Naga).unwrap().source;
        let module = naga::front::wgsl::parse_str(&source).unwrap();
        let (_, declared) =
            module.types.iter().find(|(_, declared)| declared.name.as_deref() == Some("Params")).unwrap();
        let naga::TypeInner::Struct { members, span } = &declared.inner else {
            panic!("Params is {declared:?}");
        };
        let in_shader: Vec<_> =
            members.iter().map(|member| (member.name.as_deref().unwrap(), member.offset as usize)).collect();
        assert_eq!(in_shader, mirror);
        assert_eq!(*span as usize, Uniform::BYTES);
    }
}
