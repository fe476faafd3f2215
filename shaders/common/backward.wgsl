// What the two backward bodies share: the terms of one row.
//
//     xhat    (x - mean) * rstd, less what rounding left in the saved mean
//     dxhat   dy * gain
//     dx      rstd * (dxhat - mean_cols(dxhat) - xhat * mean_cols(dxhat * xhat))
//
// RMS norm: the first mean is 0.

// Sums over a row, up to three at a time.
alias Sums = vec3<f32>;

// Layer norm; false for RMS norm.
const CENTRED: bool = true;
// Which sums over rows are wanted.
const WITH_DGAIN: bool = true;
const WITH_DBIAS: bool = true;

struct RowStatistics {
    mean: f32,
    rstd: f32,
}

fn load_statistics(row: u32) -> RowStatistics {
    return RowStatistics(statistics[params.statistics + 2u * row], statistics[params.statistics + 2u * row + 1u]);
}

// xhat by the saved statistics, in quarters so that no difference overflows.
fn saved_xhat(x: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    return scaled_difference(x, saved.mean, 0.25) * (4.0 * saved.rstd);
}

// Means over a row, from sums of terms scaled by SUM_SCALE.
struct RowMeans {
    // Of xhat by the saved statistics: what rounding left in the saved mean.
    delta: f32,
    dxhat: f32,
    dxhat_xhat: f32,
    // The saved rstd; NaN where dy has a NaN or an infinity, so that all of the row's dx is NaN.
    rstd: f32,
}

// From the sums of xhat, dxhat and dxhat * xhat.
fn row_means(sums: Sums, rstd: f32) -> RowMeans {
    let means = sums * MEAN_FACTOR;
    let row_rstd = poison(rstd, sums.y);
    if (CENTRED) {
        return RowMeans(means.x, means.y, means.z - means.x * means.y, row_rstd);
    }
    return RowMeans(0.0, 0.0, means.z, row_rstd);
}

// dx / rstd, from dxhat - mean_cols(dxhat).
fn projected(xhat: vec4<f32>, centred_dxhat: vec4<f32>, means: RowMeans) -> vec4<f32> {
    return fma(-xhat, vec4<f32>(means.dxhat_xhat), centred_dxhat);
}
