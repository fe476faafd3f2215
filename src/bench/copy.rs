//! Plain copies: the time that memory alone takes.

use crate::error::Error;
use crate::gpu::checked;
use std::fmt::Write as _;

/// How the invocations of a copy lie on the 16-byte words that it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyForm {
    /// Invocations of a workgroup.
    pub threads: u32,
    /// Words of an invocation.
    pub words: u32,
    /// Whether an invocation's words are neighbors, which a CPU wants. Otherwise neighboring invocations
    /// access neighboring words, which a GPU wants.
    pub contiguous: bool,
}

impl CopyForm {
    /// The forms of which the fastest counts. On software adapters they are more than a factor of two apart:
    /// lavapipe wants neighboring words in an invocation, and 128 invocations of 4 are as fast there as any
    /// number of either.
    pub const ALL: [Self; 5] = [
        Self { threads: 256, words: 1, contiguous: false },
        Self { threads: 256, words: 4, contiguous: false },
        Self { threads: 64, words: 8, contiguous: false },
        Self { threads: 64, words: 8, contiguous: true },
        Self { threads: 128, words: 4, contiguous: true },
    ];

    /// A name that tells forms apart: `64x8` with interleaved words, `64x8_contiguous`.
    #[must_use]
    pub fn name(&self) -> String {
        let suffix = if self.contiguous { "_contiguous" } else { "" };
        format!("{}x{}{suffix}", self.threads, self.words)
    }

    /// Whether the form has invocations and words, and not too many for one text.
    fn validate(&self) -> Result<(), Error> {
        for (what, value, most) in
            [("threads", self.threads, Self::MOST_THREADS), ("words", self.words, Self::MOST_WORDS)]
        {
            if value == 0 || value > most {
                return Err(Error::invalid(format!("{what} of a copy"), value, format!("1 to {most}")));
            }
        }
        Ok(())
    }

    /// Above any device's limit.
    const MOST_THREADS: u32 = 1 << 12;
    /// The accesses are written out in the text.
    const MOST_WORDS: u32 = 1 << 8;

    /// Whether this many bytes make up whole workgroups on a device with these limits.
    #[must_use]
    pub fn is_whole(&self, bytes: u64, limits: &wgpu::Limits) -> bool {
        self.validate().is_ok()
            && windows(bytes, limits).all(|(_, length)| {
                let [x, y] = grid((length / CopyKernel::WORD).div_ceil(self.tile()), limits);
                u64::from(x) * u64::from(y) * self.tile() * CopyKernel::WORD == length
            })
    }

    /// Words of a workgroup.
    const fn tile(&self) -> u64 {
        self.threads as u64 * self.words as u64
    }

    /// Each output becomes the exclusive or of the inputs: of one input, a copy. Straight-line code, since
    /// some compilers run what is in a loop or behind a condition at half the speed; `is_whole` leaves out
    /// the check for the end.
    fn wgsl(&self, inputs: usize, outputs: usize, is_whole: bool) -> String {
        let Self { threads, words, contiguous } = *self;
        let mut text = String::new();
        for binding in 0..inputs {
            let _ = writeln!(
                text,
                "@group(0) @binding({binding}) var<storage, read> input_{binding}: array<vec4<u32>>;"
            );
        }
        for output in 0..outputs {
            let binding = inputs + output;
            let _ = writeln!(
                text,
                "@group(0) @binding({binding}) var<storage, read_write> output_{output}: array<vec4<u32>>;"
            );
        }
        let _ = write!(
            text,
            "
@compute @workgroup_size({threads})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {{
    let tile = (workgroup.y * workgroups.x + workgroup.x) * {tile}u;
",
            tile = self.tile(),
        );
        let at = |word: u32| {
            if contiguous {
                format!("tile + thread * {words}u + {word}u")
            } else {
                format!("tile + {}u + thread", word * threads)
            }
        };
        let value = (0..inputs).map(|input| format!("input_{input}[at]")).collect::<Vec<_>>().join(" ^ ");
        for word in 0..words {
            let condition = if is_whole { "" } else { "if at < arrayLength(&input_0) " };
            let stores: String =
                (0..outputs).map(|output| format!("output_{output}[at] = value; ")).collect();
            let _ = writeln!(
                text,
                "    {{ let at = {}; {condition}{{ let value = {value}; {stores}}} }}",
                at(word)
            );
        }
        text.push_str("}\n");
        text
    }
}

/// A copy from some buffers to others, ready to be recorded.
#[derive(Debug)]
pub struct CopyKernel {
    pipeline: wgpu::ComputePipeline,
    inputs: usize,
    outputs: usize,
    form: CopyForm,
    is_whole: bool,
}

/// One copy over given buffers.
#[derive(Debug)]
pub struct CopyCall {
    pipeline: wgpu::ComputePipeline,
    windows: Vec<(wgpu::BindGroup, [u32; 2])>,
}

impl CopyKernel {
    /// The bytes of a word; the buffers of a copy hold whole ones.
    pub const WORD: u64 = 16;

    /// Compiles a copy of `inputs` buffers to `outputs` others. Each output becomes the exclusive or of the
    /// inputs. `is_whole` leaves out the check for the end, which then serves only what is
    /// [whole](CopyForm::is_whole).
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no input or no output, and where the form has no or too many
    /// invocations or words; [`Error::Unsupported`] where the device lacks a limit; [`Error::Device`] where
    /// wgpu fails.
    pub fn new(
        device: &wgpu::Device,
        form: CopyForm,
        inputs: usize,
        outputs: usize,
        is_whole: bool,
    ) -> Result<Self, Error> {
        form.validate()?;
        if inputs == 0 || outputs == 0 {
            return Err(Error::invalid(
                "buffers of a copy",
                format!("{inputs} to {outputs}"),
                "1 to 1 at least",
            ));
        }
        let limits = device.limits();
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        if form.threads > most {
            return Err(Error::unsupported("invocations per workgroup", most, form.threads));
        }
        let pipeline = checked(device, "compiling a copy", || {
            let label = format!("copy/{}", form.name());
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&label),
                source: wgpu::ShaderSource::Wgsl(form.wgsl(inputs, outputs, is_whole).into()),
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        })?;
        Ok(Self { pipeline, inputs, outputs, form, is_whole })
    }

    /// How its invocations lie.
    #[must_use]
    pub const fn form(&self) -> CopyForm {
        self.form
    }

    /// A copy of the first `bytes` bytes of these buffers.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the number of buffers is another, where `bytes` is no positive multiple of
    /// [`CopyKernel::WORD`], or not whole and the kernel does not check for the end;
    /// [`Error::BufferTooSmall`]; [`Error::Device`] where wgpu fails.
    pub fn call(
        &self,
        device: &wgpu::Device,
        bytes: u64,
        inputs: &[&wgpu::Buffer],
        outputs: &[&wgpu::Buffer],
    ) -> Result<CopyCall, Error> {
        if (inputs.len(), outputs.len()) != (self.inputs, self.outputs) {
            return Err(Error::invalid(
                "buffers of a copy",
                format!("{} to {}", inputs.len(), outputs.len()),
                format!("{} to {}", self.inputs, self.outputs),
            ));
        }
        let limits = device.limits();
        if bytes == 0 || !bytes.is_multiple_of(Self::WORD) {
            return Err(Error::invalid("bytes of a copy", bytes, "a positive multiple of 16"));
        }
        if self.is_whole && !self.form.is_whole(bytes, &limits) {
            return Err(Error::invalid("bytes of a copy", bytes, "whole workgroups"));
        }
        let named = inputs.iter().map(|buffer| ("input", buffer));
        for (name, buffer) in named.chain(outputs.iter().map(|buffer| ("output", buffer))) {
            if buffer.size() < bytes {
                let (has, needs) = (buffer.size(), bytes);
                return Err(Error::BufferTooSmall { buffer: name, has, needs, unit: "bytes" });
            }
        }
        let layout = self.pipeline.get_bind_group_layout(0);
        let windows = checked(device, "creating bind groups", || {
            windows(bytes, &limits)
                .map(|(offset, length)| {
                    let entries: Vec<_> = (0..)
                        .zip(inputs.iter().chain(outputs))
                        .map(|(binding, buffer)| wgpu::BindGroupEntry {
                            binding,
                            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                buffer,
                                offset,
                                size: wgpu::BufferSize::new(length),
                            }),
                        })
                        .collect();
                    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some("copy"),
                        layout: &layout,
                        entries: &entries,
                    });
                    (bind_group, grid((length / Self::WORD).div_ceil(self.form.tile()), &limits))
                })
                .collect()
        })?;
        Ok(CopyCall { pipeline: self.pipeline.clone(), windows })
    }
}

impl CopyCall {
    /// Records the copy into a compute pass. Bind group 0 and the pipeline of the pass are the copy's
    /// afterwards.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        for (bind_group, [x, y]) in &self.windows {
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }
}

/// Offset and length of the bindings that `bytes` bytes need.
fn windows(bytes: u64, limits: &wgpu::Limits) -> impl Iterator<Item = (u64, u64)> + use<> {
    // Shaders index words in u32. A large power of two keeps offsets aligned and workgroups whole.
    let most = limits.max_storage_buffer_binding_size.min(1 << 31);
    let window = 1_u64 << most.max(1 << 16).ilog2();
    (0..bytes.div_ceil(window)).map(move |i| (i * window, window.min(bytes - i * window)))
}

/// Workgroups in x and y, no more of either than the device allows, with few too many.
fn grid(workgroups: u64, limits: &wgpu::Limits) -> [u32; 2] {
    let y = workgroups.div_ceil(limits.max_compute_workgroups_per_dimension.max(1).into()).max(1);
    let x = workgroups.div_ceil(y);
    [x, y].map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn windows_cover_all_bytes_within_the_limit() {
        let mut limits = wgpu::Limits::default();
        for most in [128 << 20, (128 << 20) - 4, 1 << 30, u64::from(u32::MAX)] {
            limits.max_storage_buffer_binding_size = most;
            for bytes in [16, 1 << 20, (1 << 30) + 16, (5 << 30) - 16] {
                let windows: Vec<_> = windows(bytes, &limits).collect();
                let mut end = 0;
                for (offset, length) in windows {
                    assert_eq!(offset, end);
                    assert!(length > 0 && length <= most && offset % 256 == 0);
                    end = offset + length;
                }
                assert_eq!(end, bytes);
            }
        }
    }

    #[test]
    fn grids_keep_the_limit_and_cover() {
        let limits = wgpu::Limits::default();
        for workgroups in [1, 65_535, 65_536, 65_537, 1 << 27] {
            let [x, y] = grid(workgroups, &limits);
            assert!(x <= 65_535 && y <= 65_535);
            let count = u64::from(x) * u64::from(y);
            assert!(count >= workgroups && count < workgroups + u64::from(y));
        }
    }

    #[test]
    fn forms_without_words_copy_nothing() {
        let limits = wgpu::Limits::default();
        for (threads, words) in [(0, 1), (1, 0), (u32::MAX, 1), (1, u32::MAX)] {
            let form = CopyForm { threads, words, contiguous: false };
            assert!(!form.is_whole(1 << 20, &limits), "{form:?}");
            assert!(form.validate().is_err_and(|error| error.is_invalid()), "{form:?}");
        }
        assert!(CopyForm::ALL.iter().all(|form| form.validate().is_ok() && form.is_whole(1 << 20, &limits)));
    }

    #[test]
    fn forms_are_distinct() {
        let names: BTreeSet<_> = CopyForm::ALL.iter().map(CopyForm::name).collect();
        assert_eq!(names.len(), CopyForm::ALL.len());
    }
}
