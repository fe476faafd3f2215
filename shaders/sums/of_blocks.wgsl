// Sums over the rows of a block, which are few enough to be added up plainly, and then to the slot's partial
// sum in memory. A compiler that holds compensated sums of many columns takes as long for them as for all
// else.

const BLOCK_ROWS: u32 = 8u;

struct ProductSum {
    sum: vec4<f32>,
}

// Adds a * b.
fn add_product(total: ProductSum, a: vec4<f32>, b: vec4<f32>) -> ProductSum {
    return ProductSum(fma(a, b, total.sum));
}

// Blocks of a workgroup's rows, which its slots take in turn.
fn blocks_of(rows: Rows) -> u32 {
    let of_block = BLOCK_ROWS * ROWS_PER_WORKGROUP;
    return (rows.end - rows.first + of_block - 1u) / of_block;
}

fn rows_of_block(rows: Rows, block: u32) -> Rows {
    let first = rows.first + block * BLOCK_ROWS * ROWS_PER_WORKGROUP;
    return Rows(first, min(first + BLOCK_ROWS * ROWS_PER_WORKGROUP, rows.end));
}
