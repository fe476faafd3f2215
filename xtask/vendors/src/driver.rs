//! A Vulkan driver as a compiler: SPIR-V in, statistics and texts of what came out.
//!
//! The driver need not have a device behind it: nothing is submitted. All of it is
//! `VK_KHR_pipeline_executable_properties`.

use crate::Result;
use ash::{Device, Entry, Instance, khr, vk};
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use wgpu_layernorm::shader::Binding;

/// An open device that compiles.
pub(crate) struct Driver {
    // Dropped by hand, in this order, before the library that their functions are in.
    device: ManuallyDrop<Device>,
    instance: ManuallyDrop<Instance>,
    executables: khr::pipeline_executable_properties::Device,
    _entry: Entry,
}

/// What a driver says of one pipeline; of several executables (Intel's widths) one each.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Lanes of a subgroup, as the driver chose them.
    pub(crate) subgroup_size: u32,
    /// By the driver's names.
    pub(crate) statistics: Vec<(String, f64)>,
    /// Texts by the driver's names: assembly and the forms before it.
    pub(crate) texts: Vec<(String, String)>,
}

impl Driver {
    /// The first device of the Vulkan driver that the environment names, with the features that wgpu turns on
    /// where it has them.
    pub(crate) fn open() -> Result<Self> {
        // SAFETY: loading the Vulkan loader runs its initializers, which is what it is made for; `_entry`
        // keeps it loaded as long as anything of it is used.
        let entry = unsafe { Entry::load() }.map_err(|error| format!("no Vulkan loader: {error}"))?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the info and what it points to live through the call; no allocator is given.
        let instance = unsafe { entry.create_instance(&info, None) }
            .map_err(|error| format!("the driver makes no Vulkan instance: {error}"))?;
        // From here on the instance is destroyed by drop, whatever fails.
        let instance = InstanceGuard(Some(instance));
        let device = open_device(instance.get())?;
        let executables = khr::pipeline_executable_properties::Device::new(instance.get(), &device);
        Ok(Self {
            device: ManuallyDrop::new(device),
            instance: ManuallyDrop::new(instance.take()),
            executables,
            _entry: entry,
        })
    }

    /// Compiles a compute shader, whose bindings are a uniform at 0 and the storage buffers given, all in
    /// group 0.
    pub(crate) fn compile(
        &self,
        spirv: &[u32],
        bindings: &[Binding],
        varying_subgroup_size: bool,
    ) -> Result<Vec<Executable>> {
        // Every binding of the module is in the layout: RADV without a device crashes now and then where one
        // is not.
        let layout_bindings: Vec<_> = std::iter::once((0, vk::DescriptorType::UNIFORM_BUFFER))
            .chain(bindings.iter().map(|bound| (bound.binding, vk::DescriptorType::STORAGE_BUFFER)))
            .map(|(number, kind)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(number)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let set_info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&layout_bindings);
        // SAFETY: the device is alive, the info and its slice live through the call.
        let set = unsafe { self.device.create_descriptor_set_layout(&set_info, None) }
            .map_err(|error| format!("vkCreateDescriptorSetLayout: {error}"))?;
        let set = Guard::new(set, |set| {
            // SAFETY: made by this device just above; the pipeline layout that used it is gone by now, since
            // guards drop in the reverse order of their making.
            unsafe { self.device.destroy_descriptor_set_layout(set, None) };
        });
        let sets = [set.value];
        let layout_info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: the device and the set layout are alive, the info and its slice live through the call.
        let layout = unsafe { self.device.create_pipeline_layout(&layout_info, None) }
            .map_err(|error| format!("vkCreatePipelineLayout: {error}"))?;
        let layout = Guard::new(layout, |layout| {
            // SAFETY: made by this device just above, and no pipeline that used it is left.
            unsafe { self.device.destroy_pipeline_layout(layout, None) };
        });
        let module_info = vk::ShaderModuleCreateInfo::default().code(spirv);
        // SAFETY: the code is a slice of whole words that lives through the call, and valid SPIR-V: naga
        // validated what it wrote it from.
        let module = unsafe { self.device.create_shader_module(&module_info, None) }
            .map_err(|error| format!("vkCreateShaderModule: {error}"))?;
        let module = Guard::new(module, |module| {
            // SAFETY: made by this device just above; a pipeline does not need its module once it is there.
            unsafe { self.device.destroy_shader_module(module, None) };
        });
        let mut flags = vk::PipelineShaderStageCreateFlags::empty();
        if varying_subgroup_size {
            flags |= vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
        }
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .flags(flags)
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module.value)
            .name(c"main");
        let info = vk::ComputePipelineCreateInfo::default()
            .flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            )
            .stage(stage)
            .layout(layout.value);
        // SAFETY: device, module and layout are alive; the entry point `main` is in the module; the infos
        // live through the call; no cache is given.
        let pipelines = unsafe {
            self.device.create_compute_pipelines(vk::PipelineCache::null(), std::slice::from_ref(&info), None)
        }
        .map_err(|(_, error)| format!("vkCreateComputePipelines: {error}"))?;
        let pipeline = Guard::new(pipelines[0], |pipeline| {
            // SAFETY: made by this device just above, and nothing was recorded or submitted with it.
            unsafe { self.device.destroy_pipeline(pipeline, None) };
        });
        self.executables_of(pipeline.value)
    }

    fn executables_of(&self, pipeline: vk::Pipeline) -> Result<Vec<Executable>> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is alive and was made by this device, which has the feature
        // pipelineExecutableInfo.
        let properties = unsafe { self.executables.get_pipeline_executable_properties(&info) }
            .map_err(|error| format!("vkGetPipelineExecutableProperties: {error}"))?;
        (0..)
            .zip(properties)
            .map(|(index, properties)| {
                let info =
                    vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(index);
                // SAFETY: as above; the pipeline was made with CAPTURE_STATISTICS and has this many
                // executables.
                let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&info) }
                    .map_err(|error| format!("vkGetPipelineExecutableStatistics: {error}"))?;
                Ok(Executable {
                    subgroup_size: properties.subgroup_size,
                    statistics: statistics.iter().map(statistic).collect(),
                    texts: self.texts_of(&info)?,
                })
            })
            .collect()
    }

    /// The texts of an executable, asked for twice: for their sizes, then with room for them.
    fn texts_of(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<Vec<(String, String)>> {
        let function = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let failed = |error: vk::Result| format!("vkGetPipelineExecutableInternalRepresentations: {error}");
        let mut count = 0;
        // SAFETY: the pipeline in `info` is alive, of this device and made with
        // CAPTURE_INTERNAL_REPRESENTATIONS; without room for representations their number is written.
        unsafe { function(self.device.handle(), info, &raw mut count, std::ptr::null_mut()) }
            .result()
            .map_err(failed)?;
        let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        // SAFETY: as above, with room for `count` representations, whose `p_data` is null: sizes are written.
        unsafe { function(self.device.handle(), info, &raw mut count, texts.as_mut_ptr()) }
            .result()
            .map_err(failed)?;
        let mut room: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
        for (text, room) in texts.iter_mut().zip(&mut room) {
            text.p_data = room.as_mut_ptr().cast();
        }
        // SAFETY: as above, and each `p_data` has `data_size` bytes of room in a vector that nobody else
        // touches meanwhile.
        let result = unsafe { function(self.device.handle(), info, &raw mut count, texts.as_mut_ptr()) };
        // RADV of Mesa 22.3.6 says INCOMPLETE of texts that are whole.
        if result != vk::Result::INCOMPLETE {
            result.result().map_err(failed)?;
        }
        Ok(texts
            .iter()
            .zip(room)
            .map(|(text, room)| {
                let written = &room[..text.data_size.min(room.len())];
                // RADV's disassembly has NULs in it.
                let text_of = String::from_utf8_lossy(written).replace('\0', "");
                (name_of(text.name_as_c_str()), text_of)
            })
            .collect())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: all that was made of the device was destroyed by the guards in `compile`, and nothing was
        // submitted; the device is not used again.
        unsafe { self.device.destroy_device(None) };
        // SAFETY: the device, all that was made of the instance, is gone; the instance is not used again.
        unsafe { self.instance.destroy_instance(None) };
    }
}

struct InstanceGuard(Option<Instance>);

impl InstanceGuard {
    #[allow(clippy::expect_used, reason = "only `take` empties it, which consumes the guard")]
    fn get(&self) -> &Instance {
        self.0.as_ref().expect("the guard is full until it is taken")
    }

    #[allow(clippy::expect_used, reason = "only this empties it, and it consumes the guard")]
    fn take(mut self) -> Instance {
        self.0.take().expect("the guard is full until it is taken")
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        if let Some(instance) = &self.0 {
            // SAFETY: opening a device has failed, so nothing was made of the instance, and it is not used
            // again.
            unsafe { instance.destroy_instance(None) };
        }
    }
}

/// A handle and how to be rid of it.
struct Guard<T: Copy, F: FnMut(T)> {
    value: T,
    destroy: F,
}

impl<T: Copy, F: FnMut(T)> Guard<T, F> {
    const fn new(value: T, destroy: F) -> Self {
        Self { value, destroy }
    }
}

impl<T: Copy, F: FnMut(T)> Drop for Guard<T, F> {
    fn drop(&mut self) {
        (self.destroy)(self.value);
    }
}

fn open_device(instance: &Instance) -> Result<Device> {
    // SAFETY: the instance is alive.
    let physical = unsafe { instance.enumerate_physical_devices() }
        .map_err(|error| format!("the driver lists no devices: {error}"))?
        .into_iter()
        .next()
        .ok_or("the driver has no device")?;
    // SAFETY: the physical device is the instance's.
    let properties = unsafe { instance.get_physical_device_properties(physical) };
    let name = name_of(properties.device_name_as_c_str());
    // SAFETY: as above.
    let extensions = unsafe { instance.enumerate_device_extension_properties(physical) }
        .map_err(|error| format!("{name} lists no extensions: {error}"))?;
    let has =
        |wanted: &CStr| extensions.iter().any(|extension| extension.extension_name_as_c_str() == Ok(wanted));
    let statistics = khr::pipeline_executable_properties::NAME;
    if !has(statistics) {
        return Err(format!("{name} does not have {}", statistics.to_string_lossy()));
    }
    let robustness = ash::ext::robustness2::NAME;
    let mut names = vec![statistics.as_ptr()];

    let mut supported_robustness2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
    let mut supported_11 = vk::PhysicalDeviceVulkan11Features::default();
    let mut supported_12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut supported =
        vk::PhysicalDeviceFeatures2::default().push_next(&mut supported_11).push_next(&mut supported_12);
    if has(robustness) {
        supported = supported.push_next(&mut supported_robustness2);
    }
    // SAFETY: the physical device is the instance's; the chain holds structures that the driver knows, each
    // once.
    unsafe { instance.get_physical_device_features2(physical, &mut supported) };
    let core = supported.features;

    // What wgpu asks for: robust access where it is there, and 16-bit floats.
    let core = vk::PhysicalDeviceFeatures::default()
        .robust_buffer_access(core.robust_buffer_access == vk::TRUE)
        .shader_int16(core.shader_int16 == vk::TRUE);
    let robust2 = supported_robustness2.robust_buffer_access2 == vk::TRUE;
    let mut robustness2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(robust2);
    let mut executable =
        vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
    let mut features_11 = vk::PhysicalDeviceVulkan11Features::default()
        .storage_buffer16_bit_access(supported_11.storage_buffer16_bit_access == vk::TRUE);
    let mut features_12 = vk::PhysicalDeviceVulkan12Features::default()
        .shader_float16(supported_12.shader_float16 == vk::TRUE)
        .shader_subgroup_extended_types(supported_12.shader_subgroup_extended_types == vk::TRUE);
    let mut features_13 = vk::PhysicalDeviceVulkan13Features::default().subgroup_size_control(true);
    let priorities = [1.0];
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&priorities)];
    if robust2 {
        names.push(robustness.as_ptr());
    }
    let mut info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(&names)
        .enabled_features(&core)
        .push_next(&mut executable)
        .push_next(&mut features_11)
        .push_next(&mut features_12)
        .push_next(&mut features_13);
    if robust2 {
        info = info.push_next(&mut robustness2);
    }
    // SAFETY: the physical device is the instance's; the info and all it points to live through the call; the
    // extensions named are there; queue family 0 always is. A feature that is missing is an error, not
    // undefined.
    unsafe { instance.create_device(physical, &info, None) }
        .map_err(|error| format!("{name} cannot be opened: {error}"))
}

fn name_of(name: std::result::Result<&CStr, std::ffi::FromBytesUntilNulError>) -> String {
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn statistic(statistic: &vk::PipelineExecutableStatisticKHR<'_>) -> (String, f64) {
    let name = name_of(statistic.name_as_c_str());
    let value = statistic.value;
    let number = match statistic.format {
        // SAFETY: the driver says in `format` which member of the union it has written.
        vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(unsafe { value.b32 }),
        #[allow(clippy::cast_precision_loss, reason = "statistics are far below 2^53; a hash may lose bits")]
        // SAFETY: as above.
        vk::PipelineExecutableStatisticFormatKHR::INT64 => (unsafe { value.i64 }) as f64,
        #[allow(clippy::cast_precision_loss, reason = "statistics are far below 2^53; a hash may lose bits")]
        // SAFETY: as above.
        vk::PipelineExecutableStatisticFormatKHR::UINT64 => (unsafe { value.u64 }) as f64,
        // SAFETY: as above.
        vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => unsafe { value.f64 },
        _ => f64::NAN,
    };
    (name, number)
}
