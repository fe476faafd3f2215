//! Qualcomm's GPUs by Mesa's compiler for them, Turnip, behind a library that answers for the kernel driver.
//! Android ships Qualcomm's own compiler, which is not this one.

use crate::Result;
use crate::compiled::{self, Widths};
use crate::mesa::{Source, Spilled, Vendor};
use crate::shims;
use crate::table::{A_TWENTIETH, Column, Figure, Margin, Table};
use crate::work::For;
use wgpu_layernorm::plan::{AdapterBackend, AdapterKind, AdapterNames, Caps, SubgroupSizes};

/// Adreno 6xx and 7xx, by their numbers.
pub(crate) const ADRENO: Vendor = Vendor {
    name: "adreno",
    driver: "Turnip",
    families: &["630", "740"],
    caps,
    variable: "FD_GPU_ID",
    source: Source::Built(&shims::ADRENO),
    whose: For::Unrolled { native_f16: false },
    // Loads and stores of memory that is a thread's own: spilled registers, and arrays that are not in
    // registers.
    spills: &["STP Count", "LDP Count"],
    spilled: Spilled::IsCounted,
    least_lanes: 64,
    accesses,
    // 6xx loads no vectors through the texture cache; Mesa 25.0.7 takes each for four values.
    wide: &["740"],
    table: Table {
        name: "Turnip, against the table",
        path: "tests/vendors/adreno.csv",
        columns: &[
            Column { name: "lanes", figure: Figure::Lanes, margin: Margin::NoLess },
            // Of four values of 32 bits; two more are eight values more, as for AMD.
            Column {
                name: "registers",
                figure: Figure::Statistic("Registers used"),
                margin: Margin::Plus(2.0),
            },
            Column {
                name: "half_registers",
                figure: Figure::Statistic("Half-registers used"),
                margin: Margin::Free,
            },
            Column { name: "waves", figure: Figure::Statistic("Max Waves Per Core"), margin: Margin::Free },
            Column {
                name: "instructions",
                figure: Figure::Statistic("Instruction Count"),
                margin: A_TWENTIETH,
            },
            Column {
                name: "spill_stores",
                figure: Figure::Statistic("STP Count"),
                margin: Margin::Plus(0.0),
            },
            Column { name: "spill_loads", figure: Figure::Statistic("LDP Count"), margin: Margin::Plus(0.0) },
        ],
    },
};

/// The accesses of storage buffers in Turnip's disassembly: loads through the texture cache (`isam`) and past
/// it (`ldib`).
fn accesses(texts: &[(String, String)]) -> Result<(Widths, Widths)> {
    let assembly = compiled::text(texts, "IR3 Assembly")?;
    // A part of it would lack accesses, and so faults.
    if !assembly.lines().any(|line| line.split_whitespace().any(|word| without_flags(word) == "end")) {
        return Err("the driver's assembly has no end".to_owned());
    }
    let (mut loads, mut stores) = (Widths::new(), Widths::new());
    for line in assembly.lines() {
        let mut words = line.split_whitespace();
        let Some(instruction) = words.next().map(without_flags) else { continue };
        let mut parts = instruction.split('.');
        let (into, bits) = match parts.next() {
            // isam.v.base0 (u32)(xyzw)r4.w, ...
            Some("isam") => (&mut loads, words.next().and_then(bits_of_channels)),
            // ldib.b.untyped.1d.u32.4.imm.base0 r22.z, ...
            Some("ldib") => (&mut loads, bits_of_parts(parts)),
            Some("stib") => (&mut stores, bits_of_parts(parts)),
            _ => continue,
        };
        let bits = bits.ok_or_else(|| format!("an access of unknown width: {line}"))?;
        *into.entry(bits).or_default() += 1;
    }
    Ok((loads, stores))
}

/// What an instruction waits for stands before it: `(sy)(ss)isam`.
fn without_flags(word: &str) -> &str {
    word.rsplit(')').next().unwrap_or(word)
}

/// `(u32)(xyzw)r4.w,`: 128.
fn bits_of_channels(word: &str) -> Option<u32> {
    let mut groups = word.split(')').map(|group| group.trim_start_matches('('));
    let bits = bits_of_type(groups.next()?)?;
    let channels =
        groups.next().filter(|channels| channels.chars().all(|channel| "xyzw".contains(channel)))?;
    u32::try_from(channels.len()).ok().filter(|count| *count > 0).map(|count| bits * count)
}

/// `u32.4` among others: 128.
fn bits_of_parts<'a>(mut parts: impl Iterator<Item = &'a str>) -> Option<u32> {
    let bits = parts.find_map(bits_of_type)?;
    let count: u32 = parts.next()?.parse().ok()?;
    (1..=4).contains(&count).then_some(bits * count)
}

fn bits_of_type(name: &str) -> Option<u32> {
    match name {
        "u32" | "s32" | "f32" => Some(32),
        "u16" | "s16" | "f16" => Some(16),
        "u8" | "s8" => Some(8),
        _ => None,
    }
}

/// What an adapter of these tells wgpu, Mesa 25.0.7, `layernorm adapters` behind the library; and what the
/// library's quirks make of it. wgpu wants 16-bit values in uniforms too before it offers 16-bit floats.
fn caps(family: &str) -> Caps {
    let name = format!("Turnip Adreno (TM) {family}");
    let adapter = AdapterNames {
        backend: AdapterBackend::Vulkan,
        vendor: 0x5143,
        name: &name,
        driver: "turnip Mesa driver, Mesa 25.0.7",
    };
    let reported = Caps {
        kind: AdapterKind::Gpu,
        subgroup: (family != "630").then_some(SubgroupSizes { min: 64, max: 128 }),
        max_invocations: 2048,
        max_workgroup_bytes: 32_768,
        max_storage_buffers: 64,
        storage_alignment: 16,
        ..Caps::webgpu_default()
    };
    reported.corrected_for(&adapter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::shown;

    fn text(assembly: &str) -> Vec<(String, String)> {
        vec![("Final NIR".to_owned(), String::new()), ("IR3 Assembly".to_owned(), assembly.to_owned())]
    }

    #[test]
    fn widths_are_read_from_the_assembly() {
        let (loads, stores) = accesses(&text(
            "(sy)(ss)isam.v.base0 (u32)(xyzw)r4.w, r4.y, s#0, t#1\nisam.base0.1d (u32)(x)r1.x, r2.x, s#0, t#1\n\
             ldib.b.untyped.1d.u32.4.imm.base0 r22.z, r22.y, 6\nstib.b.untyped.1d.u16.2.imm.base0 r16.y, r20.x, 5\n\
             stl.u32 l[r0.x], r1.x, 2\nresinfo.b.untyped.1d.u32.1.imm.base0 r0.x, 1\n(ss)end\n",
        ))
        .unwrap();
        assert_eq!((shown(&loads).as_str(), shown(&stores).as_str()), ("2x128 1x32", "1x32"));
    }

    #[test]
    fn an_access_of_a_width_that_nobody_knows_is_an_error() {
        for line in ["isam.v (u64)(x)r4.w, r4.y", "isam.v (u32)()r4.w", "ldib.b.1d.u32.5.imm r1", "stib.b r1"]
        {
            let message = accesses(&text(&format!("{line}\nend\n"))).unwrap_err();
            assert!(message.contains("unknown width"), "{message}");
        }
        assert!(accesses(&text("nop\n")).unwrap_err().contains("no end"));
        assert!(accesses(&[]).unwrap_err().contains("no text IR3 Assembly"));
    }
}
