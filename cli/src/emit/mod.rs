//! `layernorm emit`: the kernels for programs in other languages.

mod choice;
mod description;
mod flags;
mod needs;
mod set;
mod uniform;

use crate::adapters::parse_part;
use crate::failure::Failure;
use crate::files;
use crate::output;
use clap::{Args, ValueEnum};
use description::Description;
use flags::Choice;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use wgpu_layernorm::shader::variants::Variant;
use wgpu_layernorm::shader::{self, Dialect, ENTRY_POINT, Layout};
use wgpu_layernorm::translate::{Checks, Module};

/// Print a kernel as WGSL, SPIR-V, MSL, HLSL or GLSL, with a description of how to launch it.
///
/// Without --output, the text goes to stdout; --description prints the JSON in its place. docs/emit.md
/// explains the description. No adapter is needed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  layernorm emit --cols 1024 --statistics
  layernorm emit --cols 1024 --operation backward --subgroup-sizes 32..32 --format spirv --output backward.spv
  layernorm emit --all kernels --format browser --case forward_cached/f32")]
pub(crate) struct Emit {
    /// The language
    #[arg(long, value_enum, default_value_t = Format::Wgsl)]
    format: Format,

    /// Write the text to FILE, and its description beside it, to FILE with the extension json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "description"])]
    output: Option<PathBuf>,

    /// Print the description, not the text
    #[arg(long)]
    description: bool,

    /// Write every variant of every kernel to DIR, which appears whole or not at all
    #[arg(long, value_name = "DIR", exclusive = false, conflicts_with = "description")]
    all: Option<PathBuf>,

    /// With --all: only the variants whose labels contain TEXT
    #[arg(long, value_name = "TEXT", requires = "all", value_parser = parse_part)]
    case: Option<String>,

    #[command(flatten)]
    choice: Choice,

    /// Number the storage buffers from 0 on, and the uniform after them, as CubeCL binds them [default: the
    /// uniform is binding 0]
    #[arg(long, help_heading = "Bindings", conflicts_with = "all")]
    uniform_last: bool,

    /// Declare all storage buffers read_write, as CubeCL binds them, so that they may lie in one buffer
    /// [default: those that are only read are declared so]
    #[arg(long, help_heading = "Bindings", conflicts_with = "all")]
    read_write: bool,
}

impl Emit {
    const fn layout(&self) -> Layout {
        Layout { uniform_last: self.uniform_last, read_write: self.read_write }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// WGSL as naga takes it, without `enable subgroups;`
    Wgsl,
    /// WGSL as browsers demand it, with that line where the kernel uses subgroups
    Browser,
    /// SPIR-V 1.3, for Vulkan 1.1
    Spirv,
    /// Metal Shading Language 2.4
    Msl,
    /// HLSL for shader model 6.2
    Hlsl,
    /// GLSL 4.50
    Glsl,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::Browser => "browser",
            Self::Spirv => "spirv",
            Self::Msl => "msl",
            Self::Hlsl => "hlsl",
            Self::Glsl => "glsl",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Wgsl | Self::Browser => "wgsl",
            Self::Spirv => "spv",
            Self::Msl => "metal",
            Self::Hlsl => "hlsl",
            Self::Glsl => "comp",
        }
    }
}

/// A variant in a language.
struct Emitted {
    text: Vec<u8>,
    description: Description,
}

impl Emitted {
    /// `None` where the language cannot express the variant: GLSL has no 16-bit floats.
    fn new(variant: &Variant, format: Format, layout: Layout) -> Result<Option<Self>, Failure> {
        let plan = &variant.plan;
        let module = Module::with_layout(plan, layout)?;
        let (text, entry_point) = match format {
            Format::Wgsl => (module.shader().source.clone().into_bytes(), ENTRY_POINT.to_owned()),
            Format::Browser => {
                let shader = shader::assemble_with(plan, Dialect::Browser, layout)?;
                (shader.source.into_bytes(), ENTRY_POINT.to_owned())
            }
            Format::Spirv => {
                let words = module.spirv(Checks::None)?;
                (words.iter().flat_map(|word| word.to_le_bytes()).collect(), ENTRY_POINT.to_owned())
            }
            Format::Msl => {
                let text = module.msl(Checks::None)?;
                (text.source.into_bytes(), text.entry_point)
            }
            Format::Hlsl => {
                let text = module.hlsl(Checks::None)?;
                (text.source.into_bytes(), text.entry_point)
            }
            Format::Glsl => match module.glsl()? {
                Some(text) => (text.source.into_bytes(), text.entry_point),
                None => return Ok(None),
            },
        };
        let description = Description::new(variant, &module, format, entry_point)?;
        Ok(Some(Self { text, description }))
    }
}

pub(crate) fn run(args: &Emit) -> Result<(), Failure> {
    if let Some(directory) = &args.all {
        args.choice.refuse_beside_all()?;
        return set::write(directory, args.format, args.case.as_deref().unwrap_or_default());
    }
    let variant = args.choice.variant()?;
    if let Some(path) = &args.output {
        files::check_destination("--output", path)?;
        if path.extension().is_some_and(|extension| extension == "json") {
            return Err(Failure::WrongCall(format!(
                "--output: {} is where its description would go; give the text another extension",
                path.display()
            )));
        }
        files::check_destination("--output", &path.with_extension("json"))?;
    }
    let emitted = Emitted::new(&variant, args.format, args.layout())?.ok_or_else(|| {
        Failure::WrongCall(
            "--format glsl: GLSL has no 16-bit floats; without --shader-f16 the kernel unpacks them from words"
                .to_owned(),
        )
    })?;
    if args.description {
        return output::print(&output::json(&emitted.description)?);
    }
    match &args.output {
        Some(path) => {
            files::write_file(&path.with_extension("json"), output::json(&emitted.description)?.as_bytes())?;
            files::write_file(path, &emitted.text)
        }
        None if args.format == Format::Spirv => print_binary(&emitted.text),
        None => output::print(&String::from_utf8_lossy(&emitted.text)),
    }
}

fn print_binary(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        return Err(Failure::WrongCall(
            "--format spirv is binary, and stdout is a terminal; give --output FILE".to_owned(),
        ));
    }
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::FailedRun(format!("writing to standard output failed: {error}")))
        }
        _ => Ok(()),
    }
}
