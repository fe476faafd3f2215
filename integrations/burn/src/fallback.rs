//! Why burn's own operations run in place of the kernels, said once.

use burn::tensor::DType;
use std::fmt;
use std::sync::Once;

/// Why the kernels cannot do a call.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The device is none of `CubeCL`'s.
    Device,
    /// `CubeCL` runs this there, which takes no WGSL.
    Runtime(&'static str),
    /// The kernels do not have the type.
    Type(DType),
    /// Another limit.
    Limit(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => write!(f, "the device is not one of CubeCL's, and the kernels are WGSL"),
            Self::Runtime("wgpu<spirv>") => write!(
                f,
                "the runtime wgpu<spirv> takes no WGSL: leave burn's feature `vulkan` out, and take `wgpu`"
            ),
            Self::Runtime("wgpu<msl>") => write!(
                f,
                "the runtime wgpu<msl> takes no WGSL: leave burn's feature `metal` out, and take `wgpu`"
            ),
            Self::Runtime(name) => write!(f, "the runtime {name} takes no WGSL"),
            Self::Type(dtype) => write!(f, "tensors have type {dtype:?}, and the kernels F32, F16 and BF16"),
            Self::Limit(error) => f.write_str(error),
        }
    }
}

/// Says it, once in a program for each kind of reason.
pub(crate) fn warn(reason: &Reason) {
    static ONCE: [Once; 4] = [const { Once::new() }; 4];
    let kind = match reason {
        Reason::Device => 0,
        Reason::Runtime(_) => 1,
        Reason::Type(_) => 2,
        Reason::Limit(_) => 3,
    };
    ONCE[kind].call_once(|| log::warn!("norms run as burn's own operations: {reason}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_to_do_about_it() {
        let said = |name| Reason::Runtime(name).to_string();
        assert!(said("wgpu<spirv>").contains("leave burn's feature `vulkan` out"));
        assert!(said("wgpu<msl>").contains("leave burn's feature `metal` out"));
        assert!(said("cuda").contains("the runtime cuda takes no WGSL"));
        assert!(Reason::Type(DType::F64).to_string().contains("F64"));
    }
}
