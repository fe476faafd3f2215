//! How a host numbers and declares the bindings of group 0.

/// What a host that builds the bind group itself may choose of the bindings. The default is the crate's own.
/// Written with `..`, over [`default`](Self::default), as [all that grows](crate#what-grows).
///
/// `Layout { uniform_last: true, read_write: true }` is for hosts that bind as `CubeCL` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The storage buffers are numbered from 0 on, and the uniform comes after them. Default: the uniform is
    /// binding 0, the storage buffers follow.
    pub uniform_last: bool,
    /// All storage buffers are declared `read_write`, those that are only read too, as for a plan with
    /// [`Pooled::Everything`](crate::plan::Pooled::Everything). Default: they are declared as the plan
    /// [uses](crate::plan::Plan::binds_read_write) them.
    pub read_write: bool,
}

impl Layout {
    /// The number of the first storage buffer.
    pub(super) const fn first_storage(self) -> u32 {
        if self.uniform_last { 0 } else { 1 }
    }

    /// The number of the uniform beside so many storage buffers.
    pub(super) const fn uniform(self, storage_buffers: u32) -> u32 {
        if self.uniform_last { storage_buffers } else { 0 }
    }
}
