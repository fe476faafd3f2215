// xhat by the saved statistics. Where the deviation is large, in quarters, so that no difference overflows.
fn saved_xhat(x: vec4<f32>, saved: RowStatistics) -> vec4<f32> {
    let is_large = saved.rstd < PerRow(1.0);
    let difference = scaled_difference(x, saved.mean, select(PerRow(1.0), PerRow(0.25), is_large));
    return difference * (saved.rstd * select(PerRow(1.0), PerRow(4.0), is_large));
}
