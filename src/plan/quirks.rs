//! What is known of drivers, as data: a row for each fact, with its evidence. Of a driver that no row names
//! nothing is taken for granted, and it gets the form of each kernel that is right on any.

use super::{Caps, SubgroupSizes};

/// How an adapter names itself: what [`Caps::corrected_for`] goes by.
#[derive(Clone, Copy, Debug)]
pub struct AdapterNames<'a> {
    /// The API behind wgpu or WebGPU.
    pub backend: Backend,
    /// The PCI vendor; 0 if it is not known.
    pub vendor: u32,
    /// The adapter's name, such as "NVIDIA H200".
    pub name: &'a str,
    /// The driver's name and version, such as "llvmpipe, Mesa 22.3.6"; empty if they are not known. A driver
    /// whose version is not known is taken for an old one.
    pub driver: &'a str,
}

/// The API behind wgpu or WebGPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// Direct3D 12.
    Dx12,
    /// OpenGL and its ES.
    Gl,
    /// A browser's WebGPU, of which wgpu 30 has no vendor and no driver, and Chromium gives no name: rows
    /// cannot tell Chromium, whose compiler adds no bounds to loops that end, from Firefox, whose naga does.
    Browser,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fact {
    /// Every subgroup of a workgroup is full where its size divides the workgroup's:
    /// [`Caps::full_subgroups`].
    FullSubgroups,
    /// [`Caps::unrolls_loops`].
    UnrollsLoops,
    /// [`Caps::short_texts`].
    ShortTexts,
    /// The sizes are these, whatever the adapter says.
    Sizes(SubgroupSizes),
    /// Subgroups may be as large as this, whatever the adapter says.
    LargestSize(u32),
    /// More invocations than these leave each too few registers, whatever the adapter allows.
    MostInvocations(u32),
    /// [`Caps::max_loop_trips`], before this version of Mesa.
    LoopTrips { trips: u32, before_mesa: u32 },
}

struct Row {
    backend: Option<Backend>,
    vendor: Option<u32>,
    /// A part of the adapter's name or of its driver's, in lower case.
    pattern: &'static str,
    fact: Fact,
    #[allow(dead_code, reason = "for readers, and for who changes the row")]
    evidence: &'static str,
}

const AMD: u32 = 0x1002;
const NVIDIA: u32 = 0x10de;
const QUALCOMM: u32 = 0x5143;

use Backend::{Dx12, Metal, Vulkan};
use Fact::{FullSubgroups, LargestSize, LoopTrips, MostInvocations, ShortTexts, Sizes, UnrollsLoops};

const ROWS: &[Row] = &[
    Row {
        backend: Some(Vulkan),
        vendor: Some(NVIDIA),
        pattern: "nvidia",
        fact: FullSubgroups,
        evidence: "bench on an H200, driver 580.159.04, each output checked before it was timed (reports/, 2026-11-27)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(AMD),
        pattern: "radv",
        fact: FullSubgroups,
        evidence: "a judgment, not measured: workgroups are whole waves there; compiled for four families, never run \
                   (2026-11-29, Mesa 22.3.6)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(AMD),
        pattern: "radv",
        fact: UnrollsLoops,
        evidence: "compiled for four families, no memory for arrays; some unrolled texts spill (2026-11-27, Mesa 22.3.6)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(QUALCOMM),
        pattern: "",
        fact: MostInvocations(256),
        evidence: "512 threads of backward_cached store 73 to 263 spilled registers on 630 and 740, backward_streamed in \
                   256 none with loops and 50 unrolled on 630 (2026-11-29, Turnip of Mesa 25.0.7, compiled); \
                   Qualcomm's own driver: not known",
    },
    Row {
        backend: Some(Metal),
        vendor: None,
        pattern: "apple",
        fact: Sizes(SubgroupSizes { min: 32, max: 32 }),
        evidence: "wgpu 30.0.1 says 4 to 64 for every Metal device; WebKit (pull request 68713) and Dawn (gpuweb issue 6240) \
                   take 32 for Apple's; read 2026-11-30, not run",
    },
    Row {
        backend: Some(Dx12),
        vendor: None,
        pattern: "",
        fact: LargestSize(128),
        evidence: "Microsoft's page on D3D12_FEATURE_DATA_D3D12_OPTIONS1: apps should rely only on WaveLaneCountMin; \
                   read 2026-11-30, not run",
    },
    Row {
        backend: None,
        vendor: None,
        pattern: "llvmpipe",
        fact: FullSubgroups,
        evidence: "conformance on lavapipe: one subgroup is one SIMD vector; GL has no subgroup operations \
                   (2026-11-29, Mesa 22.3.6)",
    },
    Row {
        backend: None,
        vendor: None,
        pattern: "llvmpipe",
        fact: ShortTexts,
        evidence: "backward at 1024 columns compiles in 1.5 s of CPU time for 4.9; SwiftShader takes minutes so (2026-11-29)",
    },
    Row {
        backend: None,
        vendor: None,
        pattern: "llvmpipe",
        fact: LoopTrips { trips: Caps::LAVAPIPE_22_LOOP_TRIPS, before_mesa: 25 },
        evidence: "22.3.6 stops after 65,535 trips of an invocation, 25.0.7 does not (2026-11-22)",
    },
    Row {
        backend: None,
        vendor: None,
        pattern: "swiftshader",
        fact: FullSubgroups,
        evidence: "conformance on SwiftShader: one subgroup is four lanes of a SIMD vector (2026-11-29, Chromium 156)",
    },
    Row {
        backend: None,
        vendor: None,
        pattern: "swiftshader",
        fact: UnrollsLoops,
        evidence: "a GPU's unrolled texts take it minutes to compile, with loops no time (2026-11-29, Chromium 156)",
    },
];

impl Row {
    fn is_of(&self, adapter: &AdapterNames<'_>) -> bool {
        let has = |text: &str| text.to_ascii_lowercase().contains(self.pattern);
        self.backend.is_none_or(|backend| backend == adapter.backend)
            && self.vendor.is_none_or(|vendor| vendor == adapter.vendor)
            && (has(adapter.name) || has(adapter.driver))
    }
}

/// The caps as the adapter reports them, corrected by what is known of it.
pub(crate) fn apply(reported: Caps, adapter: &AdapterNames<'_>) -> Caps {
    let mut caps = reported;
    for row in ROWS.iter().filter(|row| row.is_of(adapter)) {
        match row.fact {
            FullSubgroups => caps.full_subgroups = true,
            UnrollsLoops => caps.unrolls_loops = true,
            ShortTexts => caps.short_texts = true,
            Sizes(sizes) => caps.subgroup = caps.subgroup.map(|_| sizes),
            MostInvocations(most) => caps.max_invocations = caps.max_invocations.min(most),
            LargestSize(max) => {
                caps.subgroup = caps.subgroup.map(|sizes| SubgroupSizes { max: max.max(sizes.max), ..sizes });
            }
            // A version that cannot be read is taken for an old one.
            LoopTrips { trips, before_mesa } => {
                if mesa_major(adapter.driver).is_none_or(|major| major < before_mesa) {
                    caps.max_loop_trips = trips;
                }
            }
        }
    }
    caps
}

/// The 22 of "Mesa 22.3.6".
fn mesa_major(text: &str) -> Option<u32> {
    let version = text.split_once("Mesa ")?.1;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(backend: Backend, vendor: u32, name: &str, driver: &str) -> Caps {
        let subgroup = Some(SubgroupSizes { min: 4, max: 64 });
        let reported = Caps { subgroup, max_invocations: 1024, ..Caps::webgpu_default() };
        apply(reported, &AdapterNames { backend, vendor, name, driver })
    }

    #[test]
    fn each_row_is_applied_to_its_adapters_and_to_no_others() {
        let unknown = caps(Vulkan, 0x13b5, "Mali-G715", "ARM proprietary driver");
        assert_eq!((unknown.full_subgroups, unknown.unrolls_loops), (false, false));
        assert_eq!((unknown.max_invocations, unknown.max_loop_trips), (1024, u32::MAX));
        for driver in ["Qualcomm Technologies Inc. Adreno Vulkan Driver", "turnip Mesa driver, Mesa 25.0.7"] {
            let adreno = caps(Vulkan, QUALCOMM, "Adreno (TM) 740", driver);
            assert_eq!((adreno.max_invocations, adreno.full_subgroups), (256, false), "{driver}");
        }
        let nvidia = caps(Vulkan, NVIDIA, "NVIDIA H200", "NVIDIA, 550.54");
        assert_eq!((nvidia.full_subgroups, nvidia.unrolls_loops), (true, false));
        let radv = caps(Vulkan, AMD, "AMD Radeon RX 6800 (RADV NAVI21)", "radv, Mesa 22.3.6");
        assert_eq!((radv.full_subgroups, radv.unrolls_loops), (true, true));
        let windows = caps(Vulkan, AMD, "AMD Radeon RX 6800", "AMD proprietary driver");
        assert_eq!((windows.full_subgroups, windows.unrolls_loops), (false, false));
        let intel = caps(Vulkan, 0x8086, "Intel(R) Arc", "Intel open-source Mesa driver, Mesa 25.0.7");
        assert_eq!((intel.full_subgroups, intel.unrolls_loops), (false, false));
        let apple = caps(Metal, 0, "Apple M3 Max", "");
        assert_eq!(apple.subgroup, Some(SubgroupSizes { min: 32, max: 32 }));
        let macs = caps(Metal, AMD, "AMD Radeon Pro 5500M", "");
        assert_eq!(macs.subgroup, Some(SubgroupSizes { min: 4, max: 64 }));
        assert_eq!(caps(Dx12, NVIDIA, "NVIDIA", "").subgroup, Some(SubgroupSizes { min: 4, max: 128 }));
        let browser = caps(Backend::Browser, 0, "", "");
        assert_eq!((browser.full_subgroups, browser.unrolls_loops), (false, false), "it may be Firefox");
        assert!(!browser.short_texts, "Chromium runs on SwiftShader");
        let lavapipe = caps(Vulkan, 0x10005, "llvmpipe (LLVM 15.0.6)", "llvmpipe, Mesa 22.3.6 (LLVM 15.0.6)");
        assert_eq!(lavapipe.max_loop_trips, Caps::LAVAPIPE_22_LOOP_TRIPS);
        assert!(lavapipe.full_subgroups && !lavapipe.unrolls_loops && lavapipe.short_texts);
        let newer = caps(Backend::Gl, 0x10005, "llvmpipe (LLVM 19)", "4.5 (Core Profile) Mesa 25.0.7-2");
        assert_eq!(newer.max_loop_trips, u32::MAX);
        let unread = caps(Vulkan, 0x10005, "llvmpipe", "");
        assert_eq!(unread.max_loop_trips, Caps::LAVAPIPE_22_LOOP_TRIPS);
        let swiftshader = caps(Vulkan, 0x1ae0, "SwiftShader Device (Subzero)", "SwiftShader driver");
        assert_eq!((swiftshader.full_subgroups, swiftshader.unrolls_loops), (true, true));
        assert!(!swiftshader.short_texts);
    }

    /// An adapter without subgroup operations gets none by a row.
    #[test]
    fn rows_add_no_feature() {
        for (backend, name) in [(Metal, "Apple M3"), (Dx12, "Microsoft Basic Render Driver")] {
            let names = AdapterNames { backend, vendor: 0, name, driver: "" };
            assert_eq!(apply(Caps::webgpu_default(), &names).subgroup, None);
        }
    }

    /// An adapter of fewer invocations gets no more by a row.
    #[test]
    fn rows_raise_no_limit() {
        let names =
            AdapterNames { backend: Vulkan, vendor: QUALCOMM, name: "Adreno (TM) 306", driver: "Qualcomm" };
        let few = Caps { max_invocations: 128, ..Caps::webgpu_default() };
        assert_eq!(apply(few, &names).max_invocations, 128);
    }

    #[test]
    fn patterns_are_in_lower_case_and_evidence_has_a_date() {
        for row in ROWS {
            assert_eq!(row.pattern, row.pattern.to_ascii_lowercase());
            let has_date = row
                .evidence
                .split([' ', '(', ',', ')'])
                .any(|word| word.len() == 10 && word.starts_with("20") && word.matches('-').count() == 2);
            assert!(has_date, "{}", row.evidence);
        }
    }
}
