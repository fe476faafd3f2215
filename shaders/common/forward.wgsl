// What the forward bodies share.

// Sums over a row, two at a time.
alias Sums = TwoSums;

// Layer norm; false for RMS norm.
const CENTERED: bool = true;
// Whether squares of the storage's values can overflow float32.
const WIDE_RANGE: bool = true;
// The power of two that values are scaled by before they are squared, where they are large.
const SMALL_SCALE: f32 = 1.0;
