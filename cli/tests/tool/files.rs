//! safetensors files for tests.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A tensor to write, or one that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn f16(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        Self { dtype: Dtype::F16, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn bf16(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        Self { dtype: Dtype::BF16, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn i64(shape: &[usize]) -> Self {
        let bytes = vec![0; 8 * shape.iter().product::<usize>()];
        Self { dtype: Dtype::I64, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn values(&self) -> Vec<f32> {
        let (pairs, _) = self.bytes.as_chunks::<2>();
        let (words, _) = self.bytes.as_chunks::<4>();
        match self.dtype {
            Dtype::F32 => words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F16 => pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            Dtype::BF16 => pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn write(path: &str, tensors: &[(&str, Tensor)]) {
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
        (*name, view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// All tensors of a file, by name.
pub(crate) fn read(path: &str) -> Vec<(String, Tensor)> {
    let bytes = std::fs::read(path).unwrap();
    let mut tensors: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| {
            let tensor =
                Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            (name.to_owned(), tensor)
        })
        .collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    tensors
}

/// One tensor of a file.
pub(crate) fn tensor(path: &str, name: &str) -> Tensor {
    let tensors = read(path);
    let found = tensors.iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("{path} has no {name}")).1.clone()
}

/// The names of the tensors in a file.
pub(crate) fn names(path: &str) -> Vec<String> {
    read(path).into_iter().map(|(name, _)| name).collect()
}

/// Values that are not all alike.
pub(crate) fn ramp(length: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * 37 + 11) % 64) as f32 / 16.0 - 2.0).collect()
}
