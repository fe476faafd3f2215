// What the two backward bodies share: the terms of one row.
//
//     xhat    (x - mean) * rstd, less what rounding left in the saved mean, or as y shows it (source/)
//     dxhat   dy * gain                               (dz * gain where there is an activation, which takes
//                                                     the place of dy everywhere: activation/)
//     dx      rstd * (dxhat - mean_cols(dxhat) - xhat * mean_cols(dxhat * xhat))
//
// RMS norm: the first mean is 0. L2: so it is, and the second is a sum.

// Sums over a row, up to three at a time.
alias Sums = ThreeSums;

// Layer norm; false for RMS norm.
const CENTERED: bool = true;
// Whether a row is one column, of which xhat is 0.
const IS_ONE_COLUMN: bool = false;
// Whether xhat is what y shows of it. Columns may be missing then, and what is off in the others is what
// rounding left of y: neither its mean nor its part of dx tells what to take out.
const FROM_Y: bool = false;
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
    mean: PerRow,
    rstd: PerRow,
}

// What dy counts for in dgain. Of one column xhat is 0, as compilers may know: they would take 0 times what
// is not finite for 0.
fn gain_factor(xhat: vec4<f32>, dy: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    if (CENTERED && IS_ONE_COLUMN) {
        return or_nan(vec4<f32>(), bits_if_not_finite(of_row(dy)) | bits_if_not_finite(saved.rstd));
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
    delta: PerRow,
    dxhat: PerRow,
    dxhat_xhat: PerRow,
    // The sums of dxhat * xhat and of dxhat.
    product: PerRow,
    sum: PerRow,
    // The saved rstd, 0 where all of the row's dx is 0.
    rstd: PerRow,
    // What dx is multiplied by at last: rstd, times the gain that a row has.
    factor: PerRow,
    // Whether the means are none: the row is not finite, or a dxhat of it exceeds float32.
    is_large: PerRowBool,
    // All bits where all of the row's dx is NaN, as far as it is known: see numerics.wgsl.
    nan: PerRowBits,
}

// Whether y is linear in x: where the statistics were given, or eps is in place of the row's norm. 1 / eps is
// rounded, and the product with eps.
fn is_linear(rstd: PerRow) -> PerRowBool {
    let is_by_eps = rstd * params.eps >= PerRow(0x1.fffff8p-1f);
    return PerRowBool(IS_LINEAR) | (PerRowBool(BY_NORM) & is_by_eps);
}

// mean_cols(dxhat * xhat) as dx has no part of it: none where the row is linear.
fn product_mean(mean: PerRow, rstd: PerRow) -> PerRow {
    return select(mean, PerRow(), is_linear(rstd));
}

// From the sums of xhat, dxhat and dxhat * xhat.
fn row_means(sums: Sums, rstd: PerRow) -> RowMeans {
    let means = means_of(sums);
    let is_large = is_not_finite(sums[1]) | is_not_finite(sums[2]) | is_not_finite(rstd);
    // Without a wide range only what is not finite makes such sums.
    let nan = bits_if_not_finite(rstd) | bits_if(is_large & PerRowBool(!WIDE_RANGE && !IS_LINEAR));
    if (CENTERED) {
        let row_rstd = select(rstd, PerRow(), IS_ONE_COLUMN);
        let delta = select(means[0], PerRow(), FROM_Y);
        // An infinity of dy would be taken from itself.
        let product = sums[2] - select(delta * sums[1], PerRow(), is_not_finite(sums[1]));
        let dxhat_xhat = means[2] - delta * means[1];
        return RowMeans(delta, means[1], dxhat_xhat, product, sums[1], row_rstd, row_rstd, is_large, nan);
    }
    return RowMeans(PerRow(), PerRow(), product_mean(means[2], rstd), sums[2], sums[1], rstd, rstd, is_large, nan);
}

// dx / rstd, from dxhat - mean_cols(dxhat).
fn projected(xhat: vec4<f32>, centered_dxhat: vec4<f32>, means: RowMeans) -> vec4<f32> {
    return fma(-xhat, vec4<f32>(means.dxhat_xhat), centered_dxhat);
}

// dx / rstd is a projection: it has no part along 1 and along xhat. What rounding left there is measured and
// taken out, which keeps dx accurate where one column outweighs the others, so that the terms of dx cancel
// (in a row of a real model: 7.8 units off without, 2.9 with).
struct RowResidue {
    dx: PerRow,
    dx_xhat: PerRow,
}

// From the sums of dx / rstd and of its products with xhat: what they are off from the values that they have
// by definition, 0 and mean_cols(dxhat * xhat) * eps * rstd^2, or 0 for L2. Where eps outweighs the variance
// nothing cancels.
fn row_residue(sums: Sums, means: RowMeans) -> RowResidue {
    if (FROM_Y) {
        return RowResidue();
    }
    let left = means_of(sums);
    let from_eps = select((params.eps * means.rstd) * means.rstd, PerRow(), BY_NORM);
    let dx_xhat = (left[1] - means.dxhat_xhat * from_eps) / (1.0 - from_eps);
    let cancels = (from_eps < PerRow(0.5)) & !is_linear(means.rstd);
    return RowResidue(select(PerRow(), left[0], CENTERED), select(PerRow(), dx_xhat, cancels));
}

// The means with what rounding left of them, before dx is made from them.
fn projecting_means(means: RowMeans, left: Sums) -> RowMeans {
    let residue = row_residue(left, means);
    var projecting = means;
    if (SHOWS_RESIDUE) {
        projecting.dxhat += select(residue.dx, PerRow(), means.is_large);
        projecting.dxhat_xhat += select(residue.dx_xhat, PerRow(), means.is_large);
    }
    return projecting;
}

// Of either sums where a row is large, and where not.
fn chosen_sums(sums: Sums, of_large: Sums, is_large: PerRowBool) -> Sums {
    return Sums(
        select(sums[0], of_large[0], is_large),
        select(sums[1], of_large[1], is_large),
        select(sums[2], of_large[2], is_large),
    );
}

// What row_residue needs of columns that were walked before the row's means were known.
struct WalkSums {
    // Of xhat, dxhat and dxhat * xhat.
    sums: Sums,
    // Of xhat * xhat.
    squares: PerRow,
    // Of 1.
    count: PerRow,
}

// The sums of dx / rstd and of its products with xhat over such columns.
fn sums_left(walked: WalkSums, means: RowMeans) -> Sums {
    if (!SHOWS_RESIDUE) {
        return Sums();
    }
    let sums = walked.sums;
    // Less delta.
    let xhat = fma(-means.delta, walked.count, sums[0]);
    let xhat_xhat = walked.squares - means.delta * (sums[0] + xhat);
    let dx = less_product(sums[1], means.dxhat, walked.count) - means.dxhat_xhat * xhat;
    let dx_xhat = less_product(sums[2], means.dxhat_xhat, xhat_xhat) - (means.delta * sums[1] + means.dxhat * xhat);
    return Sums(dx, dx_xhat, PerRow());
}
