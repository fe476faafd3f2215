// Which gradients of the channel that a row is are wanted.
const WITH_CHANNEL_DGAIN: bool = true;
const WITH_CHANNEL_DBIAS: bool = true;

// The sums over the row, sum_cols(dy * xhat) and sum_cols(dy), by its first thread: partial sums of its
// sample.
fn write_row_gain_gradient(row: u32, thread: u32, means: RowMeans) {
    if (thread == 0u) {
        let sample = (params.first_inner_row + row) / params.inner_rows;
        let channel = (params.first_inner_row + row) % params.inner_rows;
        let is_first = sample >= params.earlier_partial_rows;
        if (WITH_CHANNEL_DGAIN) {
            var product = means.product;
            var nan = bits_if_not_finite(load_statistics(row).rstd);
            // Of one column xhat is 0, as compilers may know: they would take 0 times what is not finite for
            // 0.
            if (CENTERED && IS_ONE_COLUMN) {
                product = 0.0;
                nan |= bits_if_not_finite(means.sum);
            }
            store_partial_sum(partial_dgain(sample), channel, or_nan(vec4<f32>(product), nan).x, is_first);
        }
        if (WITH_CHANNEL_DBIAS) {
            store_partial_sum(partial_dbias(sample), channel, means.sum, is_first);
        }
    }
}
