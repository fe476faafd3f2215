//! NVIDIA's GPUs by Mesa's compiler for them, NAK in NVK, behind a library that answers for the kernel
//! driver. NVIDIA's own driver has another, which is packaged nowhere.

use crate::Result;
use crate::compiled::{self, Widths};
use crate::mesa::{Source, Spilled, Vendor};
use crate::shims;
use crate::table::{A_TWENTIETH, Column, Figure, Margin, Table};
use crate::work::For;
use wgpu_layernorm::plan::{AdapterKind, Caps, SubgroupSizes};

/// Turing and Ampere, by nouveau's numbers of chips, in hexadecimal.
pub(crate) const NVK: Vendor = Vendor {
    name: "nvk",
    driver: "NVK",
    families: &["164", "172"],
    caps,
    variable: "NOUVEAU_CHIPSET",
    source: Source::Built(&shims::NVK),
    whose: For::Unrolled { native_f16: false },
    // Memory that is a thread's own: spilled registers, and arrays that are not in registers.
    spills: &["SLM Size"],
    spilled: Spilled::IsCounted,
    least_lanes: 32,
    accesses,
    // It takes a robust access apart, and wgpu asks for no others.
    wide: &[],
    table: Table {
        name: "NVK, against the table",
        path: "tests/vendors/nvk.csv",
        columns: &[
            // A granule more.
            Column { name: "gprs", figure: Figure::Statistic("Number of GPRs"), margin: Margin::Plus(8.0) },
            Column {
                name: "instructions",
                figure: Figure::Statistic("Instruction count"),
                margin: A_TWENTIETH,
            },
            Column { name: "code_bytes", figure: Figure::Statistic("Code Size"), margin: Margin::Free },
            Column { name: "local_bytes", figure: Figure::Statistic("SLM Size"), margin: Margin::Plus(0.0) },
        ],
    },
};

/// The accesses of global memory in NAK's disassembly.
fn accesses(texts: &[(String, String)]) -> Result<(Widths, Widths)> {
    let assembly = compiled::text(texts, "NAK assembly")?;
    // A part of it would lack accesses, and so faults.
    if !assembly.split_whitespace().any(|word| word == "exit") {
        return Err("the driver's assembly has no end".to_owned());
    }
    let (mut loads, mut stores) = (Widths::new(), Widths::new());
    for word in assembly.split_whitespace() {
        let (into, access) = if let Some(access) = word.strip_prefix("ld.global") {
            (&mut loads, access)
        } else if let Some(access) = word.strip_prefix("st.global") {
            (&mut stores, access)
        } else {
            continue;
        };
        let bits = match access.rsplit('.').next() {
            Some("b128") => 128,
            Some("b64") => 64,
            Some("b32") => 32,
            Some("u16" | "i16") => 16,
            Some("u8" | "i8") => 8,
            _ => return Err(format!("an access of unknown width: {word}")),
        };
        *into.entry(bits).or_default() += 1;
    }
    Ok((loads, stores))
}

/// What an adapter of these tells wgpu: Mesa 25.0.7, `layernorm adapters` behind the library. Turing's offers
/// no 16-bit floats there.
fn caps(family: &str) -> Caps {
    Caps {
        kind: AdapterKind::Gpu,
        subgroup: Some(SubgroupSizes { min: 32, max: 32 }),
        full_subgroups: true,
        shader_f16: family == "172",
        max_invocations: 1024,
        max_workgroup_bytes: 49_152,
        max_storage_buffers: 64,
        max_binding_bytes: 2047 << 20,
        storage_alignment: 16,
        ..Caps::webgpu_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::shown;

    fn text(assembly: &str) -> Vec<(String, String)> {
        vec![("NIR".to_owned(), String::new()), ("NAK assembly".to_owned(), assembly.to_owned())]
    }

    #[test]
    fn widths_are_read_from_the_assembly() {
        let (loads, stores) = accesses(&text(
            "r2..6 = ld.global.a64.strong.gpu.b128 [r4..6+0x10] // delay=1\n\
             @p0 r1 = ld.global.a64.b32 [r4..6]\nr3 = ld.shared.b64 [r1]\nr3 = ldc.b32 c[0x0][+0x10]\n\
             st.global.a64.strong.cta.u16 [r8..10] r1\nexit // delay=1\n",
        ))
        .unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("1x128 1x32", "1x16"));
    }

    #[test]
    fn an_access_of_a_width_that_nobody_knows_is_an_error() {
        assert!(accesses(&text("r1 = ld.global.b256 [r2]\nexit\n")).unwrap_err().contains("ld.global.b256"));
        assert!(accesses(&text("r1 = ld.global.b32 [r2]\n")).unwrap_err().contains("no end"));
        assert!(accesses(&[]).unwrap_err().contains("no text NAK assembly"));
    }
}
