//! AMD's compiler: Mesa's RADV on null hardware, which compiles for any family without a device.

use crate::Result;
use crate::compiled::{self, Widths};
use crate::mesa::{Source, Spilled, Vendor};
use crate::table::{A_TWENTIETH, Column, Figure, Margin, Table};
use crate::work::For;
use wgpu_layernorm::plan::{AdapterKind, Caps, SubgroupSizes};

/// GCN 5, RDNA 1, 2 and 3, by RADV's names.
pub(crate) const AMD: Vendor = Vendor {
    name: "amd",
    driver: "RADV",
    families: &["vega10", "navi10", "navi21", "gfx1100"],
    caps,
    variable: "RADV_FORCE_FAMILY",
    source: Source::Installed("radeon"),
    whose: For::Loops,
    spills: &["Spilled VGPRs", "Spilled SGPRs", "Scratch size"],
    spilled: Spilled::Fails,
    least_lanes: 32,
    accesses,
    wide: &["vega10", "navi10", "navi21", "gfx1100"],
    table: Table {
        name: "RADV, against the table",
        path: "tests/vendors/amd.csv",
        columns: &[
            // A granule more.
            Column { name: "vgprs", figure: Figure::Statistic("VGPRs"), margin: Margin::Plus(8.0) },
            Column { name: "lds_bytes", figure: Figure::Statistic("LDS size"), margin: Margin::Free },
            Column {
                name: "waves_per_simd",
                figure: Figure::Statistic("Subgroups per SIMD"),
                margin: Margin::Free,
            },
            Column { name: "instructions", figure: Figure::Statistic("Instructions"), margin: A_TWENTIETH },
            Column { name: "code_bytes", figure: Figure::Statistic("Code size"), margin: Margin::Free },
        ],
    },
};

/// The vector memory instructions of RADV's disassembly.
fn accesses(texts: &[(String, String)]) -> Result<(Widths, Widths)> {
    let assembly = compiled::text(texts, "Assembly")?;
    // A part of it would lack accesses, and so faults.
    if !assembly.lines().any(|line| line.trim_start().starts_with("s_endpgm")) {
        return Err("the driver's assembly has no end".to_owned());
    }
    let (mut loads, mut stores) = (Widths::new(), Widths::new());
    for line in assembly.lines() {
        let Some(instruction) = line.split_whitespace().next() else { continue };
        for prefix in ["buffer_", "global_", "flat_"] {
            let Some(access) = instruction.strip_prefix(prefix) else { continue };
            let (into, width) = if let Some(width) = access.strip_prefix("load_") {
                (&mut loads, width)
            } else if let Some(width) = access.strip_prefix("store_") {
                (&mut stores, width)
            } else {
                // Atomics, which store a 16-bit value beside its neighbor, and cache control.
                continue;
            };
            let bits = bits_of(width).ok_or_else(|| format!("an access of unknown width: {instruction}"))?;
            *into.entry(bits).or_default() += 1;
        }
    }
    Ok((loads, stores))
}

/// The bits of an access, by the end of its instruction's name: GCN's and RDNA's, then RDNA 3's words.
fn bits_of(width: &str) -> Option<u32> {
    Some(match width {
        "dwordx4" | "b128" | "format_xyzw" => 128,
        "dwordx3" | "b96" | "format_xyz" => 96,
        "dwordx2" | "b64" | "format_xy" => 64,
        "dword" | "b32" | "format_x" => 32,
        "ushort" | "sshort" | "short" | "short_d16" | "short_d16_hi" | "u16" | "i16" | "b16" | "d16_b16"
        | "d16_hi_b16" => 16,
        "ubyte" | "sbyte" | "byte" | "u8" | "i8" | "b8" => 8,
        _ => return None,
    })
}

/// What an adapter of a family tells wgpu.
fn caps(family: &str) -> Caps {
    let min = if family == "vega10" { 64 } else { 32 };
    Caps {
        kind: AdapterKind::Gpu,
        subgroup: Some(SubgroupSizes { min, max: 64 }),
        full_subgroups: true,
        shader_f16: true,
        unrolls_loops: true,
        max_invocations: 1024,
        max_workgroup_bytes: 65_536,
        max_storage_buffers: 64,
        max_binding_bytes: u64::from(u32::MAX),
        storage_alignment: 16,
        ..Caps::webgpu_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::shown;

    const RDNA2: &str = "BB0:\n\ts_buffer_load_dwordx2 s[6:7], s[8:11], null   ; f4240184 fa000000\n\
        \tbuffer_load_dwordx4 v[4:7], v0, s[8:11], 0 offen\n\tbuffer_load_dwordx4 v[8:11], v1, s[8:11], 0 offen\n\
        \tbuffer_load_ushort v1, v0, s[8:11], 0 offen\n\tbuffer_store_dwordx4 v[0:3], v1, s[8:11], 0 offen glc\n\
        \tbuffer_atomic_cmpswap v[0:1], v2, s[8:11], 0 offen glc\n\tds_write_b128 v0, v[1:4]\n\ts_endpgm\n";
    const RDNA3: &str = "BB0:\n\tbuffer_load_b128 v[4:7], v0, s[8:11], 0 offen\n\tbuffer_load_d16_b16 v1, v0, s[8:11], 0 offen\n\
        \tbuffer_store_b64 v[0:1], v1, s[8:11], 0 offen\n\tbuffer_gl0_inv\n\ts_endpgm\n";

    fn text(assembly: &str) -> Vec<(String, String)> {
        vec![("ACO IR".to_owned(), String::new()), ("Assembly".to_owned(), assembly.to_owned())]
    }

    #[test]
    fn widths_are_read_from_the_assembly_of_both_generations() {
        let (loads, stores) = accesses(&text(RDNA2)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("2x128 1x16", "1x128"));
        let (loads, stores) = accesses(&text(RDNA3)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("1x128 1x16", "1x64"));
    }

    #[test]
    fn an_access_of_a_width_that_nobody_knows_is_an_error() {
        assert!(
            accesses(&text("\tbuffer_load_b256 v0\n\ts_endpgm\n")).unwrap_err().contains("buffer_load_b256")
        );
        assert!(accesses(&text("\tbuffer_load_b128 v0\n")).unwrap_err().contains("no end"));
        assert!(accesses(&[]).unwrap_err().contains("no text Assembly"));
    }
}
