// The sums of runs, compensated: those of xhat, dxhat, dxhat * xhat and xhat * xhat of one row.
alias WalkTotals = Compensated;

fn add_run(totals: WalkTotals, sums: Sums, squares: PerRow) -> WalkTotals {
    return add_compensated(totals, vec4<f32>(sums, squares));
}

fn walk_sums_of(totals: WalkTotals, count: PerRow) -> WalkSums {
    return WalkSums(totals.sum.xyz, totals.sum.w, count);
}
