//! Every case of `verify` on every adapter, in two modes: with all that the adapter has, and, where it has subgroup
//! operations or 16-bit floats, without them. A test for each, named after adapter, mode and case. No adapter is a failure.

use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;
use wgpu_layernorm::{Context, adapters, describe_adapter, required_features, verify};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for adapter in pollster::block_on(adapters()) {
        let mut modes = vec![("full", pollster::block_on(Context::open(&adapter)))];
        if !required_features(&adapter).is_empty() {
            modes.push(("plain", pollster::block_on(Context::open_plain(&adapter))));
        }
        for (mode, context) in modes {
            let adapter = describe_adapter(&adapter.get_info()).replace(' ', "_");
            match context {
                Ok(context) => trials.extend(trials_on(&format!("{adapter}/{mode}"), Arc::new(context))),
                Err(error) => {
                    trials.push(Trial::test(format!("{adapter}/{mode}"), move || Err(error.into())));
                }
            }
        }
    }
    if trials.is_empty() {
        let message = "no adapter: `cargo xtask adapter` installs a software one on Debian and Ubuntu";
        trials.push(Trial::test("an_adapter_is_present", move || Err(message.into())));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials_on(prefix: &str, context: Arc<Context>) -> impl Iterator<Item = Trial> {
    verify::cases().into_iter().map(move |case| {
        let context = Arc::clone(&context);
        Trial::test(format!("{prefix}/{}", case.name()), move || check(&context, &case))
    })
}

fn check(context: &Context, case: &verify::Case) -> Result<(), Failed> {
    let outcome = pollster::block_on(verify::run(context, case))?;
    if outcome.failures.is_empty() {
        return Ok(());
    }
    Err(format!("{}: {}", outcome.kernel.name(), outcome.failures.join("; ")).into())
}
