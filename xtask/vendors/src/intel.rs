//! Intel's compiler: Mesa's ANV behind a library that answers for the kernel driver of a GPU that is not
//! there.

use crate::Result;
use crate::compiled::{self, Widths};
use crate::mesa::{Source, Spilled, Vendor};
use crate::shims;
use crate::table::{A_TWENTIETH, Column, Figure, Margin, Table};
use crate::work::For;
use wgpu_layernorm::plan::{AdapterBackend, AdapterKind, AdapterNames, Caps, SubgroupSizes};

/// Gen 9, Gen 12 and the first discrete ones, by Mesa's names.
pub(crate) const INTEL: Vendor = Vendor {
    name: "intel",
    driver: "ANV",
    families: &["skl", "tgl", "dg2"],
    caps,
    variable: "INTEL_STUB_GPU_PLATFORM",
    source: Source::Behind("intel", &shims::INTEL),
    whose: For::Unrolled { native_f16: true },
    spills: &["Spill Count", "Fill Count", "Scratch Memory Size"],
    spilled: Spilled::IsCounted,
    // Eight leave half of the machine idle, but a plan of 16 vec4 a thread may need it.
    least_lanes: 8,
    accesses,
    wide: &["skl", "tgl", "dg2"],
    table: Table {
        name: "ANV, against the table",
        path: "tests/vendors/intel.csv",
        columns: &[
            Column { name: "simd", figure: Figure::Lanes, margin: Margin::NoLess },
            Column {
                name: "instructions",
                figure: Figure::Statistic("Instruction Count"),
                margin: A_TWENTIETH,
            },
            Column { name: "sends", figure: Figure::Statistic("SEND Count"), margin: Margin::Free },
            Column { name: "loops", figure: Figure::Statistic("Loop Count"), margin: Margin::Free },
            Column { name: "cycles", figure: Figure::Statistic("Cycle Count"), margin: Margin::Free },
            Column { name: "spills", figure: Figure::Statistic("Spill Count"), margin: Margin::Plus(0.0) },
            Column { name: "fills", figure: Figure::Statistic("Fill Count"), margin: Margin::Plus(0.0) },
            Column {
                name: "workgroup_bytes",
                figure: Figure::Statistic("Workgroup Memory Size"),
                margin: Margin::Free,
            },
        ],
    },
};

/// The memory of a workgroup, where other surfaces have their number.
const WORKGROUP: &str = "254";

/// The messages to memory in ANV's disassembly. Uniforms and other values that are one for a subgroup come in
/// blocks, which are no accesses of lanes.
fn accesses(texts: &[(String, String)]) -> Result<(Widths, Widths)> {
    let assembly = compiled::text(texts, "GEN Assembly")?;
    // A part of it would lack accesses, and so faults.
    if !assembly.lines().any(|line| line.contains(" EOT ")) {
        return Err("the driver's assembly has no end".to_owned());
    }
    let (mut loads, mut stores) = (Widths::new(), Widths::new());
    for message in
        assembly.lines().filter_map(|line| line.split_once("MsgDesc: (")).map(|(_, message)| message.trim())
    {
        let Some((is_load, bits)) = access(message)? else { continue };
        let into = if is_load { &mut loads } else { &mut stores };
        *into.entry(bits).or_default() += 1;
    }
    Ok((loads, stores))
}

/// Whether a message loads, and the bits of each lane; `None` if it is no access of storage buffers by lanes.
fn access(message: &str) -> Result<Option<(bool, u32)>> {
    let unknown = || format!("an access of unknown width: {message}");
    let fields: Vec<&str> = message.split(',').map(str::trim).collect();
    let value = |name: &str| {
        let field = fields.iter().find_map(|field| field.strip_prefix(name))?;
        field.split([' ', ')']).find(|word| !word.is_empty())
    };
    let is_load = fields[0].contains("read") || fields[0].starts_with("load");
    match fields.as_slice() {
        // To Gen 12: channels that are set are left out.
        ["untyped surface read" | "DC untyped surface write", ..] => {
            if value("Surface = ") == Some(WORKGROUP) {
                return Ok(None);
            }
            let mask = value("Mask = 0x").and_then(|mask| u32::from_str_radix(mask, 16).ok());
            let mask = mask.filter(|mask| *mask < 0xf).ok_or_else(unknown)?;
            Ok(Some((is_load, 32 * (4 - mask.count_ones()))))
        }
        ["DC byte scattered read" | "DC byte scattered write", bti, control, ..] => {
            if bti.strip_prefix("bti ") == Some(WORKGROUP) {
                return Ok(None);
            }
            let control = control.split(')').next().and_then(|control| control.parse::<u32>().ok());
            match (control.ok_or_else(unknown)? >> 2) & 3 {
                3 => Err(unknown()),
                size => Ok(Some((is_load, 8 << size))),
            }
        }
        // From DG2.
        ["load" | "load_cmask" | "store" | "store_cmask", _, size, vector, rest @ ..] => {
            let in_a_block = rest.contains(&"transpose");
            if in_a_block || !message.contains(" bti )") {
                return Ok(None);
            }
            let bits = match *size {
                "d8" | "d8u32" => 8,
                "d16" | "d16u32" => 16,
                "d32" => 32,
                "d64" => 64,
                _ => return Err(unknown()),
            };
            let count = match vector.strip_prefix('V') {
                Some(count) => count.parse().ok(),
                None => vector.chars().all(|channel| "xyzw".contains(channel)).then_some(vector.len()),
            };
            let count = count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
            Ok(Some((is_load, bits * count.ok_or_else(unknown)?)))
        }
        _ => Ok(None),
    }
}

/// What an adapter of these tells wgpu, Mesa 22.3.6, `layernorm adapters` behind the library; and what the
/// library's quirks make of it.
fn caps(family: &str) -> Caps {
    let name = match family {
        "skl" => "Intel(R) HD Graphics 530 (SKL GT2)",
        "tgl" => "Intel(R) Xe Graphics (TGL GT2)",
        _ => "Intel(R) Arc(tm) A770M Graphics (DG2)",
    };
    let adapter = AdapterNames {
        backend: AdapterBackend::Vulkan,
        vendor: 0x8086,
        name,
        driver: "Intel open-source Mesa driver, Mesa 22.3.6",
    };
    let reported = Caps {
        kind: AdapterKind::Gpu,
        subgroup: Some(SubgroupSizes { min: 8, max: 32 }),
        shader_f16: true,
        max_invocations: 1024,
        max_workgroup_bytes: 65_536,
        max_storage_buffers: 64,
        max_binding_bytes: 1 << 30,
        storage_alignment: 16,
        ..Caps::webgpu_default()
    };
    reported.corrected_for(&adapter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::shown;

    const GEN12: &str = "untyped MsgDesc: (bti 2, msg_ctrl 3, msg_type 0, write_commit 0) mlen 1 rlen 2 { align1 WE_all 1H $4 };\n\
        hdc1 MsgDesc: (untyped surface read, Surface = 3, SIMD8, Mask = 0x0) mlen 1 ex_mlen 0 rlen 4 { align1 1Q $5 };\n\
        hdc1 MsgDesc: (untyped surface read, Surface = 254, SIMD8, Mask = 0xc) mlen 1 ex_mlen 0 rlen 2 { align1 1Q };\n\
        hdc1 MsgDesc: (DC untyped surface write, Surface = 7, SIMD8, Mask = 0xe) mlen 1 ex_mlen 1 rlen 0 { align1 1Q };\n\
        hdc0 MsgDesc: (DC byte scattered read, bti 4, 4) mlen 1 ex_mlen 0 rlen 1 { align1 1Q };\n\
        hdc0 MsgDesc: (DC mfence, bti 254, 32) mlen 1 ex_mlen 0 rlen 1 { align1 WE_all 1N $3 };\n\
        ts MsgDesc: mlen 1 ex_mlen 0 rlen 0 { align1 WE_all 1Q @1 EOT };\n";
    const DG2: &str = "ugm MsgDesc: ( load, a32, d32, V16, transpose, L1STATE_L3MOCS dst_len = 2, src0_len = 1 bti ) BTI 2\n\
        ugm MsgDesc: ( load_cmask, a32, d32, xyzw, L1STATE_L3MOCS dst_len = 4, src0_len = 1, src1_len = 0 bti ) BTI 3\n\
        slm MsgDesc: ( load_cmask, a32, d32, xy, L1STATE_L3MOCS dst_len = 2, src0_len = 1, src1_len = 0 flat ) base\n\
        ugm MsgDesc: ( store, a32, d16u32, V1, L1STATE_L3MOCS dst_len = 0, src0_len = 1, src1_len = 1 bti ) BTI 7\n\
        gateway MsgDesc: (open) mlen 1 ex_mlen 0 rlen 0 { align1 WE_all 1Q A@1 EOT };\n";

    fn text(assembly: &str) -> Vec<(String, String)> {
        vec![("Final NIR".to_owned(), String::new()), ("GEN Assembly".to_owned(), assembly.to_owned())]
    }

    #[test]
    fn widths_are_read_from_the_assembly_of_both_generations() {
        let (loads, stores) = accesses(&text(GEN12)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("1x128 1x16", "1x32"));
        let (loads, stores) = accesses(&text(DG2)).unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("1x128", "1x16"));
    }

    #[test]
    fn an_access_of_a_width_that_nobody_knows_is_an_error() {
        let with = |message: &str| accesses(&text(&format!("x MsgDesc: ({message}\n EOT }};")));
        for message in [
            "untyped surface read, Surface = 3, SIMD8, Mask = 0xf)",
            "DC byte scattered read, bti 4, 12)",
            "load, a32, d128, V1, x bti ) BTI 3",
            "load_cmask, a32, d32, rgba, x bti ) BTI 3",
        ] {
            assert!(with(message).unwrap_err().contains("unknown width"), "{message}");
        }
        assert!(accesses(&text("")).unwrap_err().contains("no end"));
        assert!(accesses(&[]).unwrap_err().contains("no text GEN Assembly"));
    }
}
