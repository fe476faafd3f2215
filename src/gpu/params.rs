//! The uniform of a dispatch.

use crate::plan::{Dispatch, Plan};
use bytemuck::{Pod, Zeroable};

/// Mirrors `Params` of `shaders/common/params.wgsl`, which says what the fields mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) rows: u32,
    pub(super) workgroups_x: u32,
    pub(super) slot_rows: u32,
    pub(super) earlier_partial_rows: u32,
    pub(super) x: [u32; 2],
    pub(super) residual: [u32; 2],
    pub(super) y: [u32; 2],
    pub(super) sum: [u32; 2],
    pub(super) dy: [u32; 2],
    pub(super) dx: [u32; 2],
    pub(super) gain: u32,
    pub(super) bias: u32,
    pub(super) statistics: u32,
    pub(super) dgain: u32,
    pub(super) dbias: u32,
    pub(super) eps: f32,
    pub(super) one: f32,
    pub(super) row_partials: u32,
}

impl Params {
    /// The numbers that follow the rows of a dispatch; places, eps and `one` stay.
    pub(super) fn of(self, plan: &Plan, dispatch: &Dispatch) -> Self {
        Self {
            rows: dispatch.rows,
            workgroups_x: dispatch.workgroups[0],
            slot_rows: plan.slot_rows(dispatch.rows.into()),
            earlier_partial_rows: dispatch.earlier_partial_rows,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Caps, Forward};
    use crate::shader::{Dialect, assemble};
    use crate::types::Problem;
    use std::mem::offset_of;
    use wgpu::naga;

    #[test]
    fn the_shader_has_the_same_fields_at_the_same_places() {
        macro_rules! fields {
            ($($field:ident)*) => { vec![$((stringify!($field), offset_of!(Params, $field)),)*] };
        }
        let mirror = fields!(
            rows workgroups_x slot_rows earlier_partial_rows x residual y sum dy dx gain bias statistics dgain dbias eps one
            row_partials
        );
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
        assert_eq!(*span as usize, size_of::<Params>());
    }
}
