fn store_statistics(row: u32, thread: u32, mean: PerRow, rstd: PerRow, nan: PerRowBits) {}
