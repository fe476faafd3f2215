// No running statistics.
fn update_running(
    row: u32,
    thread: u32,
    mean: PerRow,
    variance: PerRow,
    scale: PerRow,
    nan: PerRowBits,
) {}
