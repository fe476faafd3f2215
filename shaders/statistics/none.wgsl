fn store_statistics(row: u32, thread: u32, mean: f32, rstd: f32, nan: u32) {}
