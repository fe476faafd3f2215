//! The simplest calls: rows of the host, and nothing else to say.

use super::context::Context;
use crate::error::Error;
use crate::types::{Affine, Element, ForwardInputs, Normalization, Problem, Rows};

impl Context {
    /// Normalizes rows of `cols` values, one after the other, without gain and bias: eps is 1e-5, and for L2
    /// none. Whatever else there is to choose, [`Context::forward`] takes, which says when the thread waits.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `cols` is out of its range, or `x` does not consist of whole rows;
    /// [`Error::Unsupported`] where the device has too small limits for them; [`Error::Device`] where wgpu
    /// fails.
    pub async fn normalize<T: Element>(
        &self,
        normalization: Normalization,
        x: &[T],
        cols: u32,
    ) -> Result<Vec<T>, Error> {
        let problem = problem(normalization, x, cols)?;
        let stride = cols as usize;
        let inputs = ForwardInputs::<T, T>::new(x.len() / stride, Rows { data: x, stride });
        Ok(self.forward_without_statistics(&problem, &inputs).await?.y)
    }

    /// [`Context::normalize`], waiting.
    ///
    /// # Errors
    /// Those of [`Context::normalize`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn normalize_blocking<T: Element>(
        &self,
        normalization: Normalization,
        x: &[T],
        cols: u32,
    ) -> Result<Vec<T>, Error> {
        pollster::block_on(self.normalize(normalization, x, cols))
    }
}

/// Layer norm of rows of `cols` values, one after the other, without gain and bias, eps 1e-5, on a real GPU,
/// or a software adapter where there is none (or what `WGPU_ADAPTER_NAME` names). It opens the adapter and
/// compiles each time, and waits; for more than one call, keep a [`Context`].
///
/// ```
/// let y = wgpu_layernorm::layer_norm(&[1.0_f32, 2.0, 3.0, 4.0], 4)?;
/// # assert!((y[3] - 1.341_635_4).abs() < 1e-6, "{y:?}");
/// # Ok::<(), wgpu_layernorm::Error>(())
/// ```
///
/// # Errors
/// Those of [`Context::new`] and [`Context::normalize`].
#[cfg(not(target_arch = "wasm32"))]
pub fn layer_norm<T: Element>(x: &[T], cols: u32) -> Result<Vec<T>, Error> {
    normalized(Normalization::Layer, x, cols)
}

/// RMS norm of rows of `cols` values, as [`layer_norm`].
///
/// ```
/// let y = wgpu_layernorm::rms_norm(&[3.0_f32, 4.0], 2)?;
/// # assert!((y[1] - 1.131_370_4).abs() < 1e-6, "{y:?}");
/// # Ok::<(), wgpu_layernorm::Error>(())
/// ```
///
/// # Errors
/// Those of [`layer_norm`].
#[cfg(not(target_arch = "wasm32"))]
pub fn rms_norm<T: Element>(x: &[T], cols: u32) -> Result<Vec<T>, Error> {
    normalized(Normalization::Rms, x, cols)
}

/// The problem of a call, if `x` has whole rows of it.
fn problem<T: Element>(normalization: Normalization, x: &[T], cols: u32) -> Result<Problem, Error> {
    let problem = Problem {
        cols,
        dtype: T::DTYPE,
        parameter_dtype: T::DTYPE,
        normalization,
        affine: Affine::None,
        eps: normalization.usual_eps(),
        ..Problem::default()
    };
    problem.validate()?;
    if !x.len().is_multiple_of(cols as usize) {
        let needs = format!("whole rows: a multiple of cols, {cols}");
        return Err(Error::invalid("the number of values in x", x.len(), needs));
    }
    Ok(problem)
}

#[cfg(not(target_arch = "wasm32"))]
fn normalized<T: Element>(normalization: Normalization, x: &[T], cols: u32) -> Result<Vec<T>, Error> {
    // What is wrong with the call is said before what is wrong with the machine.
    problem(normalization, x, cols)?;
    let context = Context::new_blocking(&super::AdapterChoice::Auto)?;
    context.normalize_blocking(normalization, x, cols)
}
