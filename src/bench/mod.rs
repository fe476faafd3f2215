//! Times the kernels on a device against plain copies of the same bytes.
//!
//! [`Bench::measure`] takes a [`Workload`], an operation on rows of one shape and storage:
//!
//! 1. It runs the call once on known rows and holds every output against the [`reference`](crate::reference),
//!    within the tolerance of [`verify`](crate::verify). What is wrong is not timed.
//! 2. It times every [`CopyForm`] on the same buffers and keeps the fastest. That is what the workload is
//!    held against: as many tensors read, and as many written, without arithmetic to speak of.
//! 3. It times call and copy in turn, a submit of the one after a submit of the other, since the speed of a
//!    machine drifts. Each submit holds so many calls that starting it and waiting for it count for little,
//!    and each call of a submit has another set of buffers, so that no cache holds what it reads.
//!
//! A submit is timed by the GPU's own timestamps where they work, else by the wall clock: see [`Clock`]. The
//! calls of a submit do not depend on each other, so a device may run the end of one beside the start of the
//! next, as it may in an application.
//!
//! [`Bench::tune`] times other plans of a workload in turn with the ladder's.
//!
//! Nothing here blocks in a browser, and nothing is printed.

mod check;
mod contestant;
mod copy;
mod measure;
mod set;
mod shapes;
mod summary;
mod timer;
mod tune;
mod workload;

pub use copy::{CopyCall, CopyForm, CopyKernel};
pub use measure::{Bench, Measurement, Options, Timing, open};
pub use shapes::{NamedShape, SHAPES};
pub use summary::Summary;
pub use timer::Clock;
pub use tune::Tuned;
pub use workload::{Operation, Workload};
