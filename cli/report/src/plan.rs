//! How a kernel ran, as JSON has it and in words.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a kernel runs; what else a plan has is in `more`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What tells it from all other plans.
    pub label: String,
    /// The kernel.
    pub kernel: String,
    /// Threads that share a row.
    pub threads_per_row: u32,
    /// Rows of a workgroup at a time.
    pub rows_per_workgroup: u32,
    /// Elements of an access.
    pub vector_width: u32,
    /// Accesses that a thread makes to walk a row.
    pub steps: u32,
    /// How the threads of a row add up.
    pub reduction: String,
    /// Everything else.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// The plans of the dispatches after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Self>,
}

impl Plan {
    /// How each dispatch runs, in words: `cached, 32 threads a row, 4 rows a workgroup, by subgroup, 4 at a
    /// time`.
    ///
    /// The number of accesses follows from these and the width, so that widths which run alike have the same
    /// words.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { kernel, threads_per_row, rows_per_workgroup, vector_width, reduction, .. } = self;
        let count =
            |number: u32, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
        let mut parts = Vec::new();
        if kernel == "backward_reduce_parameters" {
            parts.push("dgain and dbias".to_owned());
            parts.push(count(*threads_per_row, "thread across", "threads across"));
            parts.push(count(*rows_per_workgroup, "slice of rows", "slices of rows"));
        } else {
            parts.push(match kernel.as_str() {
                "backward_channel_sums" => "sums over channels".to_owned(),
                "forward_split_statistics" => "statistics of parts of a row".to_owned(),
                "backward_split_sums" => "sums of parts of a row".to_owned(),
                "forward_split_apply" | "backward_split_apply" => "results of parts of a row".to_owned(),
                kernel => {
                    let name = ["forward_", "backward_"].iter().find_map(|start| kernel.strip_prefix(start));
                    name.unwrap_or(kernel).replace('_', " ")
                }
            });
            let of_channels = kernel == "backward_channel_sums";
            let [thread, threads, row, rows] = match of_channels {
                true => {
                    ["thread a channel", "threads a channel", "channel a workgroup", "channels a workgroup"]
                }
                false => ["thread a row", "threads a row", "row a workgroup", "rows a workgroup"],
            };
            parts.push(count(*threads_per_row, thread, threads));
            parts.push(count(*rows_per_workgroup, row, rows));
        }
        match reduction.as_str() {
            // There is nobody to add up with.
            "thread" => {}
            "workgroup" => parts.push("by workgroup memory".to_owned()),
            "adaptive" => parts.push("by subgroups of any size".to_owned()),
            other => parts.push(format!("by {other}")),
        }
        if let Some(rows) = self.more.get("block_rows").and_then(Value::as_u64).filter(|rows| *rows > 1) {
            parts.push(format!("blocks of {rows} rows"));
        }
        parts.push(format!("{vector_width} at a time"));
        let first = parts.join(", ");
        self.then.iter().fold(first, |text, next| format!("{text}; then {}", next.words()))
    }
}
