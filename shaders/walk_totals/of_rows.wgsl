// The sums of runs, compensated: each of four rows.
struct WalkTotals {
    xhat: Compensated,
    dxhat: Compensated,
    product: Compensated,
    squares: Compensated,
}

fn add_run(totals: WalkTotals, sums: Sums, squares: PerRow) -> WalkTotals {
    return WalkTotals(
        add_compensated(totals.xhat, sums[0]),
        add_compensated(totals.dxhat, sums[1]),
        add_compensated(totals.product, sums[2]),
        add_compensated(totals.squares, squares),
    );
}

fn walk_sums_of(totals: WalkTotals, count: PerRow) -> WalkSums {
    return WalkSums(Sums(totals.xhat.sum, totals.dxhat.sum, totals.product.sum), totals.squares.sum, count);
}
