//! The shapes that are timed unless others are asked for.

/// Rows as they occur somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedShape {
    /// Number of rows.
    pub rows: u64,
    /// Values in a row.
    pub cols: u32,
    /// Where rows of this width are normalized.
    pub name: &'static str,
}

/// Rows of real models and, with them, both ends of what kernels have to serve: narrower than a subgroup, and
/// few but wider than any register budget. Most have four million values, 16 MiB in f32.
pub const SHAPES: [NamedShape; 14] = [
    NamedShape { rows: 65_536, cols: 64, name: "QK norm, heads of 64 (Stable Diffusion 3)" },
    NamedShape { rows: 32_768, cols: 128, name: "QK norm, heads of 128 (Qwen3, ViT-22B)" },
    NamedShape { rows: 8192, cols: 256, name: "QK norm, heads of 256 (Gemma 3 4B); Swin-B, stage 2" },
    NamedShape { rows: 8192, cols: 384, name: "MiniLM, ViT-S" },
    NamedShape { rows: 6304, cols: 768, name: "ViT-B/16: 32 images of 197 tokens; BERT base, GPT-2" },
    NamedShape { rows: 4096, cols: 1024, name: "BERT large, ViT-L, GPT-2 medium" },
    NamedShape { rows: 1500, cols: 1280, name: "Whisper large: 30 seconds of audio" },
    NamedShape { rows: 2048, cols: 1600, name: "GPT-2 XL" },
    NamedShape { rows: 2048, cols: 4096, name: "LLaMA 7B and 8B: a prompt of 2048 tokens" },
    NamedShape { rows: 1, cols: 4096, name: "LLaMA 7B and 8B: one token" },
    NamedShape { rows: 1024, cols: 5120, name: "LLaMA 13B, Qwen 14B and 32B" },
    NamedShape { rows: 512, cols: 8192, name: "LLaMA 70B" },
    NamedShape { rows: 256, cols: 16_384, name: "LLaMA 405B" },
    NamedShape { rows: 8, cols: 131_072, name: "few rows, as wide as a vocabulary" },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn shapes_are_distinct() {
        let shapes: BTreeSet<_> = SHAPES.iter().map(|shape| (shape.rows, shape.cols)).collect();
        assert_eq!(shapes.len(), SHAPES.len());
    }
}
