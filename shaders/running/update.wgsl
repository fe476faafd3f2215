// Running mean and variance of a row, whose variance is at `scale`, by its first thread: each row has one
// workgroup that stores its statistics.
fn update_running(row: u32, thread: u32, mean: f32, variance: f32, scale: f32, nan: u32) {
    if (thread == 0u) {
        let of_mean = row_start(PLACE_RUNNING_MEAN, row);
        let of_variance = row_start(PLACE_RUNNING_VARIANCE, row);
        let old = 1.0 - params.momentum;
        let new_mean = fma(old, running_mean[of_mean], params.momentum * mean);
        // The share first, and then up from the scale by each factor in turn: neither the variance nor the
        // square of the scale need be in range. `params.one` is 1, which compilers do not know.
        let share = (params.momentum * params.variance_factor) * max(variance, 0.0);
        let up = 1.0 / scale;
        let kept = fma(fma(share, up, 1.0 - params.one), up, 1.0 - params.one);
        let new_variance = fma(old, running_variance[of_variance], kept);
        let values = or_nan(vec4<f32>(new_mean, new_variance, 0.0, 0.0), nan);
        running_mean[of_mean] = values.x;
        running_variance[of_variance] = values.y;
    }
}
