//! Where in a buffer a tensor starts.

use crate::error::Error;

/// Where in a buffer a tensor starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(in crate::gpu) buffer: &'a wgpu::Buffer,
    pub(super) start: Start,
}

/// In the unit that the caller gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Element(u64),
    /// With the bytes from there on that the tensor may take, where the caller gave them.
    Byte {
        offset: u64,
        size: Option<u64>,
    },
}

impl<'a> Place<'a> {
    /// Elements of so many bytes before the tensor's first.
    pub(in crate::gpu) fn offset(&self, tensor: &'static str, element_bytes: u32) -> Result<u64, Error> {
        match self.start {
            Start::Element(offset) => Ok(offset),
            Start::Byte { offset, .. } if offset.is_multiple_of(element_bytes.into()) => {
                Ok(offset / u64::from(element_bytes))
            }
            Start::Byte { offset, .. } => {
                let needs = format!("a multiple of the {element_bytes} bytes of an element");
                Err(Error::invalid(format!("the start of {tensor}"), format!("{offset} bytes"), needs))
            }
        }
    }

    /// That so many bytes from the start on are in the slice that was given.
    pub(in crate::gpu) fn check_size(&self, buffer: &'static str, needs: u128) -> Result<(), Error> {
        match self.start {
            Start::Byte { size: Some(has), .. } if needs > u128::from(has) => {
                let needs = u64::try_from(needs).unwrap_or(u64::MAX);
                Err(Error::BufferTooSmall { buffer, has, needs, unit: "bytes" })
            }
            _ => Ok(()),
        }
    }
}

/// That kernels can bind the buffer.
pub(in crate::gpu) fn check_usage(name: &'static str, buffer: &wgpu::Buffer) -> Result<(), Error> {
    let usages = buffer.usage();
    if usages.contains(wgpu::BufferUsages::STORAGE) {
        return Ok(());
    }
    let needs = "BufferUsages::STORAGE".to_owned();
    Err(Error::BufferUsage { buffer: name, has: format!("{usages:?}"), needs })
}

impl<'a> From<&'a wgpu::Buffer> for Place<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, start: Start::Element(0) }
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for Place<'a> {
    fn from(slice: wgpu::BufferSlice<'a>) -> Self {
        let start = Start::Byte { offset: slice.offset(), size: Some(slice.size()) };
        Self { buffer: slice.buffer(), start }
    }
}

impl<'a> From<wgpu::BufferBinding<'a>> for Place<'a> {
    fn from(wgpu::BufferBinding { buffer, offset, size }: wgpu::BufferBinding<'a>) -> Self {
        Self { buffer, start: Start::Byte { offset, size: size.map(wgpu::BufferSize::get) } }
    }
}
