// What the two backward bodies share: the terms of one row.
//
//     xhat    (x - mean) * rstd, less what rounding left in the saved mean
//     dxhat   dy * gain                               (dz * gain where there is an activation, which takes
//                                                     the place of dy everywhere: activation/)
//     dx      rstd * (dxhat - mean_cols(dxhat) - xhat * mean_cols(dxhat * xhat))
//
// RMS norm: the first mean is 0. L2: so it is, and the second is a sum.

// Sums over a row, up to three at a time.
alias Sums = vec3<f32>;

// Layer norm; false for RMS norm.
const CENTERED: bool = true;
// Whether a row is one column, of which xhat is 0.
const IS_ONE_COLUMN: bool = false;
// Which sums over rows are wanted.
const WITH_DGAIN: bool = true;
const WITH_DBIAS: bool = true;
// Whether a row's sum of dxhat is wanted for itself: the gradient of its bias.
const WITH_ROW_SUM: bool = false;
// Whether mean and variance were given to forward: y is linear in x, and dx has no part along 1 or xhat. The
// means of both are 0 then, where a sum that is wanted for dgain may be infinite.
const IS_LINEAR: bool = false;
// Whether dx is wanted, and may be in range where dxhat is not (large_dxhat.wgsl).
const WIDE_RANGE: bool = true;

// Whether dx shows what rounding leaves of its parts along 1 and along xhat: 16 bits do not.
const SHOWS_RESIDUE: bool = true;

struct RowStatistics {
    mean: f32,
    rstd: f32,
}

fn load_statistics(row: u32) -> RowStatistics {
    let start = row_start(PLACE_STATISTICS, row);
    return RowStatistics(statistics[start], statistics[start + column_stride(PLACE_STATISTICS)]);
}

// xhat by the saved statistics. Where the deviation is large, in quarters, so that no difference overflows.
fn saved_xhat(x: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    let is_large = saved.rstd < 1.0;
    let difference = scaled_difference(x, saved.mean, select(1.0, 0.25, is_large));
    return difference * (saved.rstd * select(1.0, 4.0, is_large));
}

// What dy counts for in dgain. Of one column xhat is 0, as compilers may know: they would take 0 times what
// is not finite for 0.
fn gain_factor(xhat: vec4<f32>, dy: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    if (CENTERED && IS_ONE_COLUMN) {
        return or_nan(vec4<f32>(), bits_if_not_finite(dy.x) | bits_if_not_finite(saved.rstd));
    }
    return xhat;
}

// Means over a row from sums that are not scaled. By norm: the sums.
fn means_of(sums: Sums) -> Sums {
    return sums * (MEAN_FACTOR * SUM_SCALE);
}

// Means over a row.
struct RowMeans {
    // Of xhat by the saved statistics: what rounding left in the saved mean.
    delta: f32,
    dxhat: f32,
    dxhat_xhat: f32,
    // The sums of dxhat * xhat and of dxhat.
    product: f32,
    sum: f32,
    // The saved rstd, 0 where all of the row's dx is 0.
    rstd: f32,
    // What dx is multiplied by at last: rstd, times the gain that a row has.
    factor: f32,
    // Whether the means are none: the row is not finite, or a dxhat of it exceeds float32.
    is_large: bool,
    // All bits where all of the row's dx is NaN, as far as it is known: see numerics.wgsl.
    nan: u32,
}

// Whether y is linear in x: where the statistics were given, or eps is in place of the row's norm. 1 / eps is
// rounded, and the product with eps.
fn is_linear(rstd: f32) -> bool {
    return IS_LINEAR || (BY_NORM && rstd * params.eps >= 0x1.fffff8p-1f);
}

// mean_cols(dxhat * xhat) as dx has no part of it: none where the row is linear.
fn product_mean(mean: f32, rstd: f32) -> f32 {
    return select(mean, 0.0, is_linear(rstd));
}

// From the sums of xhat, dxhat and dxhat * xhat.
fn row_means(sums: Sums, rstd: f32) -> RowMeans {
    let means = means_of(sums);
    let is_large = is_not_finite(sums.y) || is_not_finite(sums.z) || is_not_finite(rstd);
    // Without a wide range only what is not finite makes such sums.
    let nan = select(bits_if_not_finite(rstd), 0xffffffffu, !WIDE_RANGE && !IS_LINEAR && is_large);
    if (CENTERED) {
        let row_rstd = select(rstd, 0.0, IS_ONE_COLUMN);
        // An infinity of dy would be taken from itself.
        let product = sums.z - select(means.x * sums.y, 0.0, is_not_finite(sums.y));
        return RowMeans(means.x, means.y, means.z - means.x * means.y, product, sums.y, row_rstd, row_rstd, is_large, nan);
    }
    return RowMeans(0.0, 0.0, product_mean(means.z, rstd), sums.z, sums.y, rstd, rstd, is_large, nan);
}

// dx / rstd, from dxhat - mean_cols(dxhat).
fn projected(xhat: vec4<f32>, centered_dxhat: vec4<f32>, means: RowMeans) -> vec4<f32> {
    return fma(-xhat, vec4<f32>(means.dxhat_xhat), centered_dxhat);
}

// dx / rstd is a projection: it has no part along 1 and along xhat. What rounding left there is measured and
// taken out, which keeps dx accurate where one column outweighs the others, so that the terms of dx cancel
// (in a row of a real model: 7.8 units off without, 2.9 with).
struct RowResidue {
    dx: f32,
    dx_xhat: f32,
}

// From the sums of dx / rstd and of its products with xhat: what they are off from the values that they have
// by definition, 0 and mean_cols(dxhat * xhat) * eps * rstd^2, or 0 for L2. Where eps outweighs the variance
// nothing cancels.
fn row_residue(sums: Sums, means: RowMeans) -> RowResidue {
    let left = means_of(sums);
    let from_eps = select((params.eps * means.rstd) * means.rstd, 0.0, BY_NORM);
    let dx_xhat = (left.y - means.dxhat_xhat * from_eps) / (1.0 - from_eps);
    return RowResidue(select(0.0, left.x, CENTERED), select(0.0, dx_xhat, from_eps < 0.5 && !is_linear(means.rstd)));
}

// The means with what rounding left of them, before dx is made from them.
fn projecting_means(means: RowMeans, left: Sums) -> RowMeans {
    let residue = row_residue(left, means);
    var projecting = means;
    if (SHOWS_RESIDUE && !means.is_large) {
        projecting.dxhat += residue.dx;
        projecting.dxhat_xhat += residue.dx_xhat;
    }
    return projecting;
}

// What row_residue needs of columns that were walked before the row's means were known.
struct WalkSums {
    // Of xhat, dxhat and dxhat * xhat.
    sums: Sums,
    // Of xhat * xhat.
    squares: f32,
    // Of 1.
    count: f32,
}

// The sums of dx / rstd and of its products with xhat over such columns.
fn sums_left(walked: WalkSums, means: RowMeans) -> Sums {
    if (!SHOWS_RESIDUE) {
        return Sums();
    }
    let sums = walked.sums;
    // Less delta.
    let xhat = fma(-means.delta, walked.count, sums.x);
    let xhat_xhat = walked.squares - means.delta * (sums.x + xhat);
    let dx = less_product(sums.y, means.dxhat, walked.count) - means.dxhat_xhat * xhat;
    let dx_xhat = less_product(sums.z, means.dxhat_xhat, xhat_xhat) - (means.delta * sums.y + means.dxhat * xhat);
    return Sums(dx, dx_xhat, 0.0);
}
