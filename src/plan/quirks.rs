//! What is known of drivers, as data: a row for each fact, with its evidence. Of a driver that no row names
//! nothing is taken for granted, and it gets the form of each kernel that is right on any.

use super::{Caps, RegisterBudget, SubgroupSizes};

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
    /// More than this of a row in registers spills: [`Caps::registers`].
    Registers(RegisterBudget),
    /// Subgroup operations cost more than they are worth, before this version of Mesa.
    NoSubgroups { before_mesa: u32 },
    /// [`Caps::max_loop_trips`], before this version of Mesa.
    LoopTrips { trips: u32, before_mesa: u32 },
}

struct Row {
    backend: Option<Backend>,
    vendor: Option<u32>,
    /// Parts of the adapter's name or of its driver's, in lower case: any of them.
    patterns: &'static [&'static str],
    fact: Fact,
    #[allow(dead_code, reason = "for readers, and for who changes the row")]
    evidence: &'static str,
}

const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;
const NVIDIA: u32 = 0x10de;
const QUALCOMM: u32 = 0x5143;

use Backend::{Dx12, Metal, Vulkan};
use Fact::{
    FullSubgroups, LargestSize, LoopTrips, MostInvocations, NoSubgroups, Registers, ShortTexts, Sizes,
    UnrollsLoops,
};

/// Where nothing spills; for rows to take from.
const MOST: RegisterBudget = RegisterBudget::MOST;

const ROWS: &[Row] = &[
    Row {
        backend: Some(Vulkan),
        vendor: Some(NVIDIA),
        patterns: &["nvidia"],
        fact: FullSubgroups,
        evidence: "bench on an H200, driver 580.159.04, each output checked before it was timed (reports/, 2026-11-27)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(AMD),
        patterns: &["radv"],
        fact: FullSubgroups,
        evidence: "a judgment, not measured: workgroups are whole waves there; compiled for four families, never run \
                   (2026-11-29, Mesa 22.3.6)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(AMD),
        patterns: &["radv"],
        fact: UnrollsLoops,
        evidence: "compiled for four families, no memory for arrays; some unrolled texts spill (2026-11-27, Mesa 22.3.6)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(QUALCOMM),
        patterns: &[""],
        fact: MostInvocations(256),
        evidence: "512 threads of backward_cached store 73 to 263 spilled registers on 630 and 740, backward_streamed in \
                   256 none with loops and 50 unrolled on 630 (2026-11-29, Turnip of Mesa 25.0.7, compiled); \
                   Qualcomm's own driver: not known",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(QUALCOMM),
        patterns: &[""],
        fact: Registers(RegisterBudget { residual_vec4: 8, ..MOST }),
        evidence: "forward_cached with a residual stores 225 to 256 spilled values of 16 vec4 a thread on 630 and 740 and \
                   loads 421 to 466, streamed none (2026-11-30, Turnip of Mesa 25.0.7, compiled)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(QUALCOMM),
        patterns: &["adreno (tm) 6"],
        fact: Registers(RegisterBudget { block_rows: 2, ..MOST }),
        evidence: "backward_streamed in blocks of four rows stores 32 spilled values on 630 and loads 64, in blocks of two \
                   none; 740 has no spills either way (2026-11-30, Turnip of Mesa 25.0.7, compiled)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(INTEL),
        patterns: &["mesa"],
        fact: Registers(RegisterBudget { forward_vec4: 8, residual_vec4: 8, backward_vec4: 2, ..MOST }),
        evidence: "backward_cached with both sums at 4096 columns in f32: 127 spills and 146 fills on Gen 12 with 4 vec4 a \
                   thread, none with 2; forward_cached at 16,384: 19 and 39 with 16, none with 8; with a residual in f16 \
                   152 and 137 (2026-11-30, Mesa 22.3.6, compiled)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(INTEL),
        patterns: &["(skl", "(kbl", "(aml", "(cfl", "(whl", "(cml", "(apl", "(bxt", "(glk"],
        fact: MostInvocations(256),
        evidence: "512 threads need 16 lanes on Gen 9, where 448 of 8 fit, and leave half of the registers: 51 spills and \
                   78 fills of backward_reduce_parameters, with 256 none (2026-11-30, Mesa 22.3.6, compiled for skl)",
    },
    Row {
        backend: Some(Vulkan),
        vendor: Some(INTEL),
        patterns: &["(dg2)", "(ats-m)"],
        fact: NoSubgroups { before_mesa: 23 },
        evidence: "forward_cached at 4096 columns in f32: 52 spills, 114 fills and 2724 instructions with subgroup \
                   operations, none and 1035 without (2026-11-30, Mesa 22.3.6, compiled); newer versions: not known",
    },
    Row {
        backend: Some(Metal),
        vendor: None,
        patterns: &["apple"],
        fact: Sizes(SubgroupSizes { min: 32, max: 32 }),
        evidence: "wgpu 30.0.1 says 4 to 64 for every Metal device; WebKit (pull request 68713) and Dawn (gpuweb issue 6240) \
                   take 32 for Apple's; read 2026-11-30, not run",
    },
    Row {
        backend: Some(Dx12),
        vendor: None,
        patterns: &[""],
        fact: LargestSize(128),
        evidence: "Microsoft's page on D3D12_FEATURE_DATA_D3D12_OPTIONS1: apps should rely only on WaveLaneCountMin; \
                   read 2026-11-30, not run",
    },
    Row {
        backend: None,
        vendor: None,
        patterns: &["llvmpipe"],
        fact: FullSubgroups,
        evidence: "conformance on lavapipe: one subgroup is one SIMD vector; GL has no subgroup operations \
                   (2026-11-29, Mesa 22.3.6)",
    },
    Row {
        backend: None,
        vendor: None,
        patterns: &["llvmpipe"],
        fact: ShortTexts,
        evidence: "backward at 1024 columns compiles in 1.5 s of CPU time for 4.9; SwiftShader takes minutes so (2026-11-29)",
    },
    Row {
        backend: None,
        vendor: None,
        patterns: &["llvmpipe"],
        fact: LoopTrips { trips: Caps::LAVAPIPE_22_LOOP_TRIPS, before_mesa: 25 },
        evidence: "22.3.6 stops after 65,535 trips of an invocation, 25.0.7 does not (2026-11-22)",
    },
    Row {
        backend: None,
        vendor: None,
        patterns: &["swiftshader"],
        fact: FullSubgroups,
        evidence: "conformance on SwiftShader: one subgroup is four lanes of a SIMD vector (2026-11-29, Chromium 156)",
    },
    Row {
        backend: None,
        vendor: None,
        patterns: &["swiftshader"],
        fact: UnrollsLoops,
        evidence: "a GPU's unrolled texts take it minutes to compile, with loops no time (2026-11-29, Chromium 156)",
    },
];

impl Row {
    fn is_of(&self, adapter: &AdapterNames<'_>) -> bool {
        let has = |text: &str| {
            let text = text.to_ascii_lowercase();
            self.patterns.iter().any(|pattern| text.contains(pattern))
        };
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
            Registers(budget) => caps.registers = caps.registers.at_most(budget),
            NoSubgroups { before_mesa } => {
                if is_before_mesa(adapter.driver, before_mesa) {
                    caps.subgroup = None;
                }
            }
            MostInvocations(most) => caps.max_invocations = caps.max_invocations.min(most),
            LargestSize(max) => {
                caps.subgroup = caps.subgroup.map(|sizes| SubgroupSizes { max: max.max(sizes.max), ..sizes });
            }
            LoopTrips { trips, before_mesa } => {
                if is_before_mesa(adapter.driver, before_mesa) {
                    caps.max_loop_trips = trips;
                }
            }
        }
    }
    caps
}

/// A version that cannot be read is taken for an old one.
fn is_before_mesa(driver: &str, version: u32) -> bool {
    mesa_major(driver).is_none_or(|major| major < version)
}

/// The 22 of "Mesa 22.3.6", which "open-source Mesa driver" may stand before.
fn mesa_major(text: &str) -> Option<u32> {
    let version = text.rsplit_once("Mesa ")?.1;
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
            assert_eq!(adreno.registers, RegisterBudget { residual_vec4: 8, ..MOST }, "{driver}");
        }
        let older = caps(Vulkan, QUALCOMM, "Turnip Adreno (TM) 630", "turnip Mesa driver, Mesa 25.0.7");
        assert_eq!(older.registers, RegisterBudget { residual_vec4: 8, block_rows: 2, ..MOST });
        let nvidia = caps(Vulkan, NVIDIA, "NVIDIA H200", "NVIDIA, 550.54");
        assert_eq!((nvidia.full_subgroups, nvidia.unrolls_loops), (true, false));
        let radv = caps(Vulkan, AMD, "AMD Radeon RX 6800 (RADV NAVI21)", "radv, Mesa 22.3.6");
        assert_eq!((radv.full_subgroups, radv.unrolls_loops), (true, true));
        let windows = caps(Vulkan, AMD, "AMD Radeon RX 6800", "AMD proprietary driver");
        assert_eq!((windows.full_subgroups, windows.unrolls_loops), (false, false));
        let on_mesa = |name, version| {
            caps(Vulkan, INTEL, name, &format!("Intel open-source Mesa driver, Mesa {version}"))
        };
        let of_intel = RegisterBudget { forward_vec4: 8, residual_vec4: 8, backward_vec4: 2, ..MOST };
        let arc = on_mesa("Intel(R) Arc(tm) A770M Graphics (DG2)", "22.3.6");
        assert_eq!((arc.full_subgroups, arc.unrolls_loops), (false, false));
        assert_eq!((arc.subgroup, arc.max_invocations, arc.registers), (None, 1024, of_intel));
        let newer = on_mesa("Intel(R) Arc(tm) A770M Graphics (DG2)", "25.0.7");
        assert_eq!((newer.subgroup, newer.registers), (Some(SubgroupSizes { min: 4, max: 64 }), of_intel));
        for gen_9 in ["Intel(R) HD Graphics 530 (SKL GT2)", "Intel(R) UHD Graphics 605 (GLK 2)"] {
            let caps = on_mesa(gen_9, "22.3.6");
            assert_eq!((caps.max_invocations, caps.registers), (256, of_intel), "{gen_9}");
            assert!(caps.subgroup.is_some(), "{gen_9}");
        }
        let gen_12 = on_mesa("Intel(R) Xe Graphics (TGL GT2)", "22.3.6");
        assert_eq!((gen_12.max_invocations, gen_12.registers), (1024, of_intel));
        assert!(gen_12.subgroup.is_some());
        let windows = caps(Vulkan, INTEL, "Intel(R) Arc(TM) A770 Graphics", "Intel Corporation, 101.5590");
        assert_eq!((windows.registers, windows.subgroup.is_some()), (MOST, true));
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
            for pattern in row.patterns {
                assert_eq!(*pattern, pattern.to_ascii_lowercase());
            }
            let has_date = row
                .evidence
                .split([' ', '(', ',', ')'])
                .any(|word| word.len() == 10 && word.starts_with("20") && word.matches('-').count() == 2);
            assert!(has_date, "{}", row.evidence);
        }
    }
}
