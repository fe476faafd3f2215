//! The pipelines of a device: one for each text.

use super::checked;
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::Uniform;
use crate::shader::{self, Dialect, Shader};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A compiled text.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// A pipeline that is there, is being compiled, or whose last try failed. Whoever comes second waits for the
/// first; a failure is not kept, so that the next one tries again.
type Cell = Arc<Mutex<Option<Arc<Compiled>>>>;

#[derive(Debug, Default)]
struct Cells {
    by_key: HashMap<Plan, Cell>,
    /// By the text without its first line, which is the label.
    by_text: HashMap<String, Cell>,
}

/// All pipelines that were asked for so far.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    cells: Mutex<Cells>,
    compiled: AtomicUsize,
    cache: Option<wgpu::PipelineCache>,
}

impl Pipelines {
    pub(super) fn new(cache: Option<wgpu::PipelineCache>) -> Self {
        Self { cache, ..Self::default() }
    }

    /// How many are compiled.
    pub(super) fn count(&self) -> usize {
        self.compiled.load(Ordering::Relaxed)
    }

    /// The pipeline of a plan. No lock is held while one is assembled or compiled but that of its own cell.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        dialect: Dialect,
        plan: &Plan,
    ) -> Result<Arc<Compiled>, Error> {
        let key = plan.text_key();
        if let Some(cell) = lock(&self.cells).by_key.get(&key).cloned() {
            // Where the first try failed, the text is assembled once more.
            if let Some(compiled) = &*lock(&cell) {
                return Ok(Arc::clone(compiled));
            }
        }
        let shader = shader::assemble(plan, dialect)?;
        let text = shader.source.split_once('\n').map_or("", |(_, text)| text);
        let cell = {
            let mut cells = lock(&self.cells);
            let cell = match cells.by_text.get(text) {
                Some(cell) => Arc::clone(cell),
                None => Arc::clone(cells.by_text.entry(text.to_owned()).or_default()),
            };
            cells.by_key.insert(key, Arc::clone(&cell));
            cell
        };
        let mut compiled = lock(&cell);
        if let Some(compiled) = &*compiled {
            return Ok(Arc::clone(compiled));
        }
        let new = Arc::new(compile(device, shader, self.cache.as_ref())?);
        *compiled = Some(Arc::clone(&new));
        self.compiled.fetch_add(1, Ordering::Relaxed);
        Ok(new)
    }
}

/// What a thread leaves that panics while it holds one of these locks is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn compile(
    device: &wgpu::Device,
    shader: Shader,
    cache: Option<&wgpu::PipelineCache>,
) -> Result<Compiled, Error> {
    log::debug!("compiling {}", shader.label);
    let label = Some(shader.label.as_str());
    let entry = |binding, ty, min_binding_size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        // The uniform is a slot of a buffer that many share.
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size },
        count: None,
    };
    let params_bytes = wgpu::BufferSize::new(Uniform::BYTES as u64);
    let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform, params_bytes))
        .chain(shader.bindings.iter().map(|binding| {
            let read_only = !binding.writable;
            entry(binding.binding, wgpu::BufferBindingType::Storage { read_only }, None)
        }))
        .collect();
    checked(device, "compiling a kernel", || {
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(shader.source.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(shader::ENTRY_POINT),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every word of workgroup memory is written before it is read.
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache,
        });
        Compiled { pipeline, layout }
    })
}
