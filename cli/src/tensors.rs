//! Tensors from and to safetensors files. Only what is asked for is read: a checkpoint may be larger than
//! memory.

use crate::failure::Failure;
use crate::files;
use crate::input;
use bytemuck::Zeroable;
use bytemuck::allocation::try_zeroed_vec;
use layernorm_report::check_distinct_names;
use safetensors::View;
use safetensors::tensor::{Metadata, TensorView};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use wgpu_layernorm::{Dtype, Element};

/// The bytes before the header: its length.
const LENGTH_BYTES: u64 = size_of::<u64>() as u64;

/// The longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Names listed in an error, and characters of each, so that it stays a line.
const MAX_NAMES: usize = 20;
const MAX_NAME_CHARACTERS: usize = 100;

/// An open safetensors file, its header checked against its length.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    data_start: u64,
}

/// A tensor of a file, as far as its header knows it.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo {
    /// The flag that asked for it, and its name, for errors.
    pub(crate) label: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes from the start of the data.
    start: u64,
}

impl TensorInfo {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl TensorFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::WrongCall(format!("IN: {}: {what}", path.display()));
        let not_safetensors = |why: String| wrong(format!("not a whole safetensors file: {why}"));

        let mut file = input::open_regular(path, "a safetensors file").map_err(wrong)?;
        let length = file.metadata().map_err(|error| wrong(format!("cannot be read: {error}")))?.len();
        let mut header_length = [0; size_of::<u64>()];
        file.read_exact(&mut header_length)
            .map_err(|_| not_safetensors(format!("it has {length} bytes, needs at least {LENGTH_BYTES}")))?;
        let header_length = u64::from_le_bytes(header_length);
        let most = length.saturating_sub(LENGTH_BYTES).min(MAX_HEADER_BYTES);
        if header_length > most {
            return Err(not_safetensors(format!(
                "its header claims {header_length} bytes, of which there can be {most}"
            )));
        }
        let mut header = Vec::new();
        Read::by_ref(&mut file)
            .take(header_length)
            .read_to_end(&mut header)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let in_header = |error: serde_json::Error| not_safetensors(format!("header: {error}"));
        check_distinct_names(&header).map_err(in_header)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(in_header)?;
        let data_start = LENGTH_BYTES + header_length;
        let (has, needs) = (length - data_start, metadata.data_len() as u64);
        if has != needs {
            return Err(not_safetensors(format!("it has {has} bytes of data, its header needs {needs}")));
        }
        Ok(Self { path: path.to_owned(), file, metadata, data_start })
    }

    /// The tensor that a flag names.
    pub(crate) fn find(&self, flag: &str, name: &str) -> Result<TensorInfo, Failure> {
        let label = format!("{flag}: tensor {name}");
        let path = self.path.display();
        let Some(info) = self.metadata.info(name) else {
            let names = self.names();
            return Err(Failure::WrongCall(format!("{label} is not in {path}, which has {names}")));
        };
        let dtype = match info.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => {
                return Err(Failure::WrongCall(format!("{label} is {other}, needs to be F32, F16 or BF16")));
            }
        };
        Ok(TensorInfo { label, dtype, shape: info.shape.clone(), start: info.data_offsets.0 as u64 })
    }

    fn names(&self) -> String {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        let all = names.len();
        names.truncate(MAX_NAMES);
        let shown: Vec<String> = names.into_iter().map(|name| shortened(&name)).collect();
        match all {
            0 => "no tensors".to_owned(),
            all if all > MAX_NAMES => format!("{}, and {} more", shown.join(", "), all - MAX_NAMES),
            _ => shown.join(", "),
        }
    }

    /// The values of a tensor of this file, whose dtype must be that of `T`.
    pub(crate) fn read<T: Element>(&mut self, tensor: &TensorInfo) -> Result<Vec<T>, Failure> {
        let mut values = zeroed::<T>(&tensor.label, tensor.elements())?;
        let mut read = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(self.data_start + tensor.start))?;
            self.file.read_exact(bytemuck::cast_slice_mut(&mut values))
        };
        match read() {
            Ok(()) => Ok(values),
            Err(error) => Err(Failure::FailedRun(format!(
                "{}: reading it from {} failed: {error}",
                tensor.label,
                self.path.display()
            ))),
        }
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARACTERS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// Zeros, where there is memory for so many. Without the check it would be the allocator that ends the
/// process.
pub(crate) fn zeroed<T: Zeroable>(label: &str, elements: usize) -> Result<Vec<T>, Failure> {
    try_zeroed_vec(elements).map_err(|()| no_memory(label, elements as u64 * size_of::<T>() as u64))
}

fn no_memory(label: &str, bytes: u64) -> Failure {
    Failure::FailedRun(format!("{label} has {bytes} bytes, for which there is not enough memory"))
}

/// A tensor for [`write()`].
pub(crate) fn view<'a, T: Element>(shape: &[usize], values: &'a [T]) -> Result<TensorView<'a>, Failure> {
    TensorView::new(file_dtype(T::DTYPE)?, shape.to_vec(), bytemuck::cast_slice(values))
        .map_err(|error| Failure::FailedRun(format!("a result cannot be written: {error}")))
}

/// Writes a safetensors file, whole or not at all.
pub(crate) fn write(path: &Path, tensors: Vec<(&str, TensorView<'_>)>) -> Result<(), Failure> {
    let bytes: usize = tensors.iter().map(|(_, tensor)| tensor.data_len()).sum();
    // Room for all of them once more, and for a header.
    let room = Vec::<u8>::new().try_reserve_exact(bytes.saturating_add(1 << 16));
    room.map_err(|_| no_memory(&format!("{}", path.display()), bytes as u64))?;
    let content = safetensors::serialize(tensors, None).map_err(|error| {
        Failure::FailedRun(format!("{} cannot be written as safetensors: {error}", path.display()))
    })?;
    files::write_file(path, &content)
}

/// Of few dimensions that are large, more than there are numbers for: of [0, 2^32, 2^32] the last two.
pub(crate) fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))
}

/// The safetensors name of a dtype.
pub(crate) fn file_dtype(dtype: Dtype) -> Result<safetensors::Dtype, Failure> {
    match dtype {
        Dtype::F32 => Ok(safetensors::Dtype::F32),
        Dtype::F16 => Ok(safetensors::Dtype::F16),
        Dtype::Bf16 => Ok(safetensors::Dtype::BF16),
        dtype => Err(unknown(dtype)),
    }
}

/// The failure of a dtype that the library has and this tool does not know yet.
pub(crate) fn unknown(dtype: Dtype) -> Failure {
    Failure::FailedRun(format!("tensors of {dtype} are not known to the tool"))
}
