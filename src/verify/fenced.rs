//! Tensors on the device with fences around them. On the host all values are float32, which holds those of
//! every storage exactly.

use crate::error::Error;
use crate::gpu::Given;
use crate::plan::{Span, Tensor};
use crate::types::Dtype;
use half::{bf16, f16};

/// A NaN that no arithmetic makes, for what must not be read or must be written.
const POISON_32: u32 = 0x7fea_dead;
const POISON_16: u16 = 0x7fea;

/// Elements after the last row.
pub(super) const TAIL: usize = 64;

/// Writes the bytes of a value that a dtype holds exactly.
pub(super) fn encode(dtype: Dtype, value: f32, bytes: &mut [u8]) {
    match dtype {
        Dtype::F32 => bytes.copy_from_slice(&value.to_ne_bytes()),
        Dtype::F16 => bytes.copy_from_slice(&f16::from_f32(value).to_ne_bytes()),
        Dtype::Bf16 => bytes.copy_from_slice(&bf16::from_f32(value).to_ne_bytes()),
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> f32 {
    let half = || bytemuck::pod_read_unaligned::<u16>(bytes);
    match dtype {
        Dtype::F32 => bytemuck::pod_read_unaligned(bytes),
        Dtype::F16 => f16::from_bits(half()).to_f32(),
        Dtype::Bf16 => bf16::from_bits(half()).to_f32(),
    }
}

/// A tensor on the device with all that lies around it.
pub(super) struct Fenced {
    pub(super) tensor: Tensor,
    pub(super) dtype: Dtype,
    pub(super) is_written: bool,
    /// Its values, or those that its buffer has before the call.
    pub(super) values: Option<Vec<f32>>,
    /// Where its part of its buffer begins, in bytes.
    pub(super) begin: usize,
    /// The bytes of that part before the call.
    pub(super) image: Vec<u8>,
    /// Where it lies: statistics have their columns apart in some layouts.
    pub(super) span: Span,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Whether it has the columns of the problem.
    pub(super) has_rows: bool,
    /// The tensor in whose buffer it lies: itself, or the output that is written over it.
    pub(super) bound: Tensor,
}

impl Fenced {
    /// What of the bytes of its buffer is its part.
    pub(super) fn part<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        &buffer[self.begin..][..self.image.len()]
    }

    /// The bytes of an element of the tensor, in its part.
    pub(super) fn element(&self, row: usize, column: usize) -> std::ops::Range<usize> {
        element(&self.span, row, column)
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (rows, cols) = (self.rows, self.cols);
        (0..rows).flat_map(move |row| (0..cols).map(move |column| (row, column)))
    }

    /// The tensor's values in the bytes of its part, one row after the other.
    pub(super) fn decoded(&self, bytes: &[u8]) -> Vec<f32> {
        self.elements().map(|(row, column)| decode(self.dtype, &bytes[self.element(row, column)])).collect()
    }

    /// A sentence if the part of an input in a pool is not as it was.
    pub(super) fn check_unchanged(&self, pool: &[u8]) -> Option<String> {
        let at = self.part(pool).iter().zip(&self.image).position(|(is, was)| is != was)?;
        Some(format!(
            "{} has been written to, which is an input, at byte {at} of its part",
            self.tensor.name()
        ))
    }

    /// A sentence if anything around the tensor has changed, or anything in it has not been written.
    pub(super) fn check_fence(&self, bytes: &[u8]) -> Option<String> {
        let mut is_inside = vec![false; bytes.len()];
        for (row, column) in self.elements() {
            is_inside[self.element(row, column)].fill(true);
        }
        let outside = (0..bytes.len()).find(|at| !is_inside[*at] && bytes[*at] != self.image[*at]);
        if let Some(at) = outside {
            return Some(format!(
                "{} has been written to outside its rows, at byte {at}",
                self.tensor.name()
            ));
        }
        let poison = poison(self.dtype);
        let unwritten = self.elements().filter(|(row, column)| bytes[self.element(*row, *column)] == *poison);
        let count = unwritten.clone().count();
        unwritten.into_iter().next().map(|(row, column)| {
            let name = self.tensor.name();
            format!("{count} elements of {name} have not been written, the first at [{row}, {column}]")
        })
    }
}

/// The bytes of an element of a tensor that lies so.
#[allow(clippy::cast_possible_truncation, reason = "within a buffer that the host has made")]
pub(super) fn element(span: &Span, row: usize, column: usize) -> std::ops::Range<usize> {
    let bytes = span.element_bytes as usize;
    let at = span.row_byte(row as u64) as usize + span.column_element(column as u32) as usize * bytes;
    at..at + bytes
}

pub(super) fn poison(dtype: Dtype) -> &'static [u8] {
    const BYTES_16: [u8; 2] = POISON_16.to_ne_bytes();
    const BYTES_32: [u8; 4] = POISON_32.to_ne_bytes();
    if dtype.size() == 2 { &BYTES_16 } else { &BYTES_32 }
}

/// The tensors of a call.
pub(super) struct Call {
    pub(super) tensors: Vec<Fenced>,
    /// One for each tensor, in their order, or one for all.
    pub(super) buffers: Vec<wgpu::Buffer>,
}

impl Call {
    pub(super) fn get(&self, tensor: Tensor) -> Option<&Fenced> {
        self.tensors.iter().find(|fenced| fenced.tensor == tensor)
    }

    /// The values of an input, or what an output's buffer has before the call.
    pub(super) fn values(&self, tensor: Tensor) -> Option<&[f32]> {
        self.get(tensor)?.values.as_deref()
    }

    /// Those of a tensor that the call must have.
    pub(super) fn needed(&self, tensor: Tensor) -> Result<&[f32], Error> {
        let why = "the case has none";
        self.values(tensor).ok_or(Error::MissingBuffer { buffer: tensor.name(), why })
    }

    /// The buffer of a tensor that is not written over another's.
    pub(super) fn buffer(&self, tensor: Tensor) -> Option<&wgpu::Buffer> {
        let number = self.tensors.iter().position(|fenced| fenced.tensor == tensor)?;
        self.buffers.get(number).or(self.buffers.first())
    }

    pub(super) fn given(&self, tensor: Tensor) -> Option<Given<'_>> {
        let fenced = self.get(tensor)?;
        let begin = self.get(fenced.bound)?.begin as u64 / u64::from(fenced.span.element_bytes);
        let buffer = self.buffer(fenced.bound)?;
        let offset = begin + fenced.span.offset;
        let Span { stride, inner_columns, outer_column_stride, .. } = fenced.span;
        // Those of parameters that have some.
        let of_rows = if inner_columns > 0 { outer_column_stride } else { stride };
        let stride = if fenced.has_rows { stride } else { of_rows };
        // Of codes, four to a word.
        let of_element = if tensor == Tensor::Codes { 4 } else { 1 };
        let stride = Some(of_element * stride).filter(|stride| *stride > 0);
        let given = Given::at_element(buffer, of_element * offset, stride);
        Some(match fenced.span.column_stride {
            _ if fenced.has_rows => given.with_strides_of(&fenced.span),
            1 => given,
            column_stride => given.with_rstd(offset + column_stride),
        })
    }

    pub(super) fn inputs(&self) -> impl Iterator<Item = &Fenced> {
        self.tensors.iter().filter(|fenced| !fenced.is_written)
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Fenced> {
        self.tensors.iter().filter(|fenced| fenced.is_written)
    }
}

/// What a call has written: the values of each output.
pub(super) struct Results(pub(super) Vec<(Tensor, Dtype, Vec<f32>)>);

impl Results {
    pub(super) fn get(&self, tensor: Tensor) -> Option<(Dtype, &[f32])> {
        let (_, dtype, values) = self.0.iter().find(|(written, ..)| *written == tensor)?;
        Some((*dtype, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of two columns, with an element between and one after them, in a part that begins at byte 8.
    fn fenced(is_written: bool) -> Fenced {
        let span = Span { stride: 3, cols: 2, element_bytes: 4, ..Span::default() };
        let image = poison(Dtype::F32).repeat(6);
        let (tensor, values) = (Tensor::X, None);
        let (rows, cols, begin, bound) = (2, 2, 8, Tensor::X);
        Fenced {
            tensor,
            dtype: Dtype::F32,
            is_written,
            values,
            begin,
            image,
            span,
            rows,
            cols,
            has_rows: true,
            bound,
        }
    }

    /// A buffer with eight bytes before the part and as many after it.
    fn buffer(part: &[u8]) -> Vec<u8> {
        [&[1; 8], part, &[2; 8]].concat()
    }

    #[test]
    fn a_change_to_an_input_shows_wherever_it_is_in_its_part() {
        let input = fenced(false);
        assert_eq!(input.check_unchanged(&buffer(&input.image)), None);
        for at in 0..input.image.len() {
            let mut changed = buffer(&input.image);
            changed[8 + at] ^= 1;
            let said = input.check_unchanged(&changed).unwrap_or_default();
            assert!(said.starts_with("x has been written to") && said.contains(&at.to_string()), "{said}");
        }
    }

    #[test]
    fn outputs_are_written_in_their_rows_and_nowhere_else() {
        let output = fenced(true);
        let mut written = buffer(&output.image);
        for (row, column) in output.elements() {
            written[8..][output.element(row, column)].fill(0);
        }
        assert_eq!(output.check_fence(output.part(&written)), None);
        assert_eq!(output.decoded(output.part(&written)), [0.0; 4]);
        for between in [8, 20] {
            let mut outside = written.clone();
            outside[8 + between] ^= 1;
            let said = output.check_fence(output.part(&outside)).unwrap_or_default();
            assert!(said.contains("outside its rows"), "{between}: {said}");
        }
        let unwritten = output.check_fence(&output.image).unwrap_or_default();
        assert!(unwritten.starts_with("4 elements of x have not been written"), "{unwritten}");
    }
}
