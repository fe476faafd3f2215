//! The test of the page: what a user would do, in a headless browser, and what must then be there.
//!
//! The page says in which state it is by `data-state` of `<html>`, and how long after its navigation the
//! first result was there by `data-first-result`; everything else is read from what a user sees, or from the
//! report that is saved.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::browser::{Adapter, Browser, Page, Screen};
use crate::judgment::Judgment;
use crate::{Result, print};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The browser: Chromium, or one that takes the same arguments
    #[arg(long, value_name = "PROGRAM")]
    browser: PathBuf,

    /// Where screenshots, the report and the browser's log go
    #[arg(long, value_name = "DIRECTORY")]
    out: PathBuf,

    /// Which cases to run
    #[arg(long, value_enum, default_value_t = Cases::All)]
    cases: Cases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cases {
    /// Every shape, option and kind of data in each kernel
    Quick,
    /// All that the library has
    All,
}

/// From the load of the page to the first result.
const MOST_TO_FIRST_RESULT: Duration = Duration::from_secs(10);
/// Without any progress for so long, the page hangs.
const MOST_WITHOUT_PROGRESS: Duration = Duration::from_secs(120);

const DESKTOP: Screen =
    Screen { name: "desktop", width: 1280, height: 900, scale: 1, is_phone: false, is_dark: false };
const PHONE: Screen =
    Screen { name: "phone", width: 390, height: 844, scale: 2, is_phone: true, is_dark: false };
const DESKTOP_DARK: Screen = Screen { name: "desktop-dark", is_dark: true, ..DESKTOP };
const PHONE_DARK: Screen = Screen { name: "phone-dark", is_dark: true, ..PHONE };
/// The narrowest that is still about.
const NARROW: Screen = Screen { name: "narrow", width: 320, height: 640, ..PHONE };

/// Runs the page at `address` to its end.
pub(crate) fn run(address: &str, options: &Options) -> Result<()> {
    let out = &options.out;
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", out.display());
    if out.exists() {
        fs::remove_dir_all(out).map_err(failed)?;
    }
    fs::create_dir_all(out).map_err(failed)?;
    let mut problems = Vec::new();
    for adapter in [Adapter::Trusted, Adapter::SwiftShader] {
        let log = out.join("browser.log");
        let browser = Browser::start(&options.browser, adapter, &log)?;
        let mut test = Test { browser, out, problems: Vec::new() };
        let version =
            test.browser.version().map_err(|message| format!("{message}; {} is its log", log.display()))?;
        if adapter == Adapter::Trusted {
            test.without_adapter(address)?;
        } else {
            print(&format!("browser: {version}"));
            test.without_webgpu(address)?;
            test.with_poor_webgpu(address)?;
            test.with_webgpu(address, options.cases)?;
        }
        problems.extend(test.problems);
        let consoles = test.browser.take_problems();
        problems.extend(consoles.into_iter().map(|problem| format!("console: {problem}")));
    }
    print(&format!("screenshots and report: {}", out.display()));
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        print(&format!("failed: {problem}"));
    }
    Err(format!("{} things are wrong with the page: see above", problems.len()))
}

struct Test<'a> {
    browser: Browser,
    out: &'a Path,
    /// What is wrong but does not keep the rest from being looked at.
    problems: Vec<String>,
}

impl Test<'_> {
    /// A browser without WebGPU is told so.
    fn without_webgpu(&mut self, address: &str) -> Result<()> {
        let hide = "Object.defineProperty(Navigator.prototype, 'gpu', { get() { return undefined; } });";
        let page = self.browser.open(Some(hide))?;
        self.browser.show(&page, PHONE)?;
        self.browser.navigate(&page, address)?;
        self.wait_for_state(&page, &["unavailable"], Duration::from_secs(30))?;
        let text = self.text(&page, "document.querySelector('#trouble:not([hidden])')?.innerText")?;
        self.expect(text.contains("WebGPU"), || "without WebGPU the page does not say so".to_owned());
        self.look_at(&page, PHONE, "unavailable")
    }

    /// Nor is one with WebGPU left in the dark that has no adapter.
    fn without_adapter(&mut self, address: &str) -> Result<()> {
        let page = self.browser.open(None)?;
        self.browser.show(&page, DESKTOP)?;
        self.browser.navigate(&page, address)?;
        self.wait_for_state(&page, &["unavailable"], Duration::from_secs(30))?;
        let text = self.text(&page, "document.querySelector('#trouble:not([hidden])')?.innerText")?;
        self.expect(text.contains("no adapter"), || "without an adapter the page does not say so".to_owned());
        self.look_at(&page, DESKTOP, "no-adapter")
    }

    /// A browser whose devices are of no adapter, as Safari 26.0, and that cannot map a buffer as it is made,
    /// as one whose memory is short: cases pass all the same.
    fn with_poor_webgpu(&mut self, address: &str) -> Result<()> {
        let page = self.browser.open(Some(&before_workers(POOR_WEBGPU)))?;
        self.browser.show(&page, DESKTOP)?;
        self.browser.navigate(&page, address)?;
        self.wait_for_state(&page, &["ready"], Duration::from_secs(60))?;
        self.press(&page, "run")?;
        self.wait_for_state(&page, &["running"], Duration::from_secs(30))?;
        let start = Instant::now();
        let done = "document.querySelector('#done').innerText";
        while number_in(&self.text(&page, done)?) < 6 {
            if self.state(&page)? != "running" || start.elapsed() > MOST_WITHOUT_PROGRESS {
                return Err(self.trouble(&page));
            }
            self.browser.pause(Duration::from_millis(100))?;
        }
        self.press(&page, "stop")?;
        self.wait_for_state(&page, &["stopped"], Duration::from_secs(60))?;
        let verdict = self.text(&page, "document.querySelector('#verdict-text').innerText")?;
        self.expect(verdict.contains("passed") && number_in(&verdict) >= 6, || {
            format!("without adapterInfo and mapped buffers the page says `{verdict}`")
        });
        self.look_at(&page, DESKTOP, "poor-webgpu")
    }

    fn with_webgpu(&mut self, address: &str, cases: Cases) -> Result<()> {
        let page = self.browser.open(None)?;
        self.browser.allow_downloads(self.out)?;
        self.browser.show(&page, DESKTOP)?;
        let start = Instant::now();
        self.browser.navigate(&page, address)?;
        if self.wait_for_state(&page, &["ready", "unavailable", "broken"], Duration::from_secs(60))?
            != "ready"
        {
            return Err(self.trouble(&page));
        }
        let adapter = self.text(&page, "document.querySelector('#adapter-name').innerText")?;
        print(&format!("adapter: {adapter}"));

        let choice = if cases == Cases::All { "all" } else { "quick" };
        self.browser
            .evaluate(&page, &format!("document.querySelector('[name=cases][value={choice}]').click()"))?;
        self.press(&page, "run")?;
        let first_result = self.wait_for_first_result(&page, start)?;
        print(&format!("first result: {:.1} s after the load began", first_result.as_secs_f64()));
        self.expect(first_result <= MOST_TO_FIRST_RESULT, || {
            format!("the first result is there only after {:.1} s", first_result.as_secs_f64())
        });
        self.browser.pause(Duration::from_secs(2))?;
        self.look_at(&page, PHONE, "running")?;
        self.browser.show(&page, DESKTOP)?;

        // A run that was stopped leaves a page that can run again.
        self.press(&page, "stop")?;
        self.wait_for_state(&page, &["stopped"], Duration::from_secs(30))?;
        let can_be_saved =
            self.browser.evaluate(&page, "document.querySelector('#save').offsetParent !== null")?;
        self.expect(can_be_saved == true, || "a run that was stopped has no report to save".to_owned());
        self.press(&page, "run")?;
        self.wait_for_state(&page, &["running"], Duration::from_secs(30))?;
        let end = self.wait_for_end(&page)?;
        print(&format!("{end} after {:.0} s", start.elapsed().as_secs_f64()));
        if end != "done" {
            return Err(self.trouble(&page));
        }
        let offered = self.text(&page, &format!("document.querySelector('#{choice}-text').textContent"))?;
        self.save_and_judge(&page, number_in(&offered))?;
        for screen in [DESKTOP, DESKTOP_DARK, PHONE, PHONE_DARK] {
            self.look_at(&page, screen, "done")?;
        }
        self.browser.evaluate(&page, "document.querySelector('#cases').open = true")?;
        for screen in [NARROW, DESKTOP] {
            self.look_at(&page, screen, "cases")?;
        }
        Ok(())
    }

    /// Saves the report as a user does, and looks at what it says of the cases that the page has offered.
    fn save_and_judge(&mut self, page: &Page, offered: usize) -> Result<()> {
        self.press(page, "save")?;
        self.browser.wait_for_download()?;
        let path = self.out.join("layernorm-browser.json");
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("there is no report {}: {error}", path.display()))?;
        let reports = layernorm_report::parse(&text)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let [report] = &reports[..] else {
            return Err(format!("{} has {} reports, needs to have 1", path.display(), reports.len()));
        };
        let judgment = Judgment::new(report);
        print(&judgment.summary);
        self.problems.extend(judgment.problems);

        let verdict = self.text(page, "document.querySelector('#verdict-text').innerText")?;
        let Judgment { cases, passed, failed, .. } = judgment;
        self.expect(cases == offered, || format!("the report has {cases} cases, the page offers {offered}"));
        let agrees = if failed > 0 { verdict.contains("failure") } else { number_in(&verdict) == passed };
        self.expect(agrees, || {
            format!("the page says `{verdict}`, its report {passed} passed, {failed} failed")
        });
        let plots = self.browser.evaluate(page, "document.querySelectorAll('#plots svg').length")?;
        self.expect(plots.as_u64().is_some_and(|plots| plots > 0), || "there is no plot".to_owned());
        Ok(())
    }

    /// The time from `start` to the first result, as this program sees it.
    fn wait_for_first_result(&mut self, page: &Page, start: Instant) -> Result<Duration> {
        loop {
            let first =
                self.browser.evaluate(page, "document.documentElement?.dataset.firstResult ?? null")?;
            if first != Value::Null {
                return Ok(start.elapsed());
            }
            if start.elapsed() > MOST_TO_FIRST_RESULT * 6 || self.state(page)? == "broken" {
                return Err(self.trouble(page));
            }
            self.browser.pause(Duration::from_millis(50))?;
        }
    }

    /// Waits for as long as there is progress.
    fn wait_for_end(&mut self, page: &Page) -> Result<String> {
        let mut last = (String::new(), Instant::now());
        loop {
            let state = self.state(page)?;
            if state != "running" {
                return Ok(state);
            }
            let progress = self.text(page, "document.querySelector('#done').innerText")?;
            if progress != last.0 {
                show_progress(&progress);
                last = (progress, Instant::now());
            } else if last.1.elapsed() > MOST_WITHOUT_PROGRESS {
                let current = self.text(page, "document.querySelector('#current').innerText")?;
                return Err(format!(
                    "the page hangs: no progress after {} within {} s, at {current}",
                    last.0,
                    MOST_WITHOUT_PROGRESS.as_secs()
                ));
            }
            self.browser.pause(Duration::from_millis(500))?;
        }
    }

    fn wait_for_state(&mut self, page: &Page, wanted: &[&str], limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let state = self.state(page)?;
            if wanted.contains(&state.as_str()) {
                return Ok(state);
            }
            if start.elapsed() > limit {
                let problems = self.browser.take_problems().join("; ");
                return Err(format!(
                    "the page is still in state {state} after {} s, needs to come to {}: {problems}",
                    limit.as_secs(),
                    wanted.join(" or ")
                ));
            }
            self.browser.pause(Duration::from_millis(50))?;
        }
    }

    fn press(&mut self, page: &Page, button: &str) -> Result<()> {
        self.browser.evaluate(page, &format!("document.querySelector('#{button}').click()")).map(drop)
    }

    fn state(&mut self, page: &Page) -> Result<String> {
        self.text(page, "document.documentElement?.dataset.state")
    }

    /// The page's own words for what has gone wrong.
    fn trouble(&mut self, page: &Page) -> String {
        let words = self.text(page, "document.querySelector('#trouble').innerText").unwrap_or_default();
        let problems = self.browser.take_problems().join("; ");
        format!("the page has come to no end: {} {problems}", words.replace('\n', " "))
    }

    fn text(&mut self, page: &Page, expression: &str) -> Result<String> {
        Ok(self.browser.evaluate(page, expression)?.as_str().unwrap_or_default().to_owned())
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(otherwise());
        }
    }

    /// Takes a picture of the page on a screen, and looks for what would be in a user's way there.
    fn look_at(&mut self, page: &Page, screen: Screen, name: &str) -> Result<()> {
        self.browser.show(page, screen)?;
        self.browser.pause(Duration::from_millis(200))?;
        let path = self.out.join(format!("{name}-{}.png", screen.name));
        let picture = self.browser.screenshot(page)?;
        fs::write(&path, picture).map_err(|error| format!("cannot write {}: {error}", path.display()))?;

        let width = self
            .browser
            .evaluate(page, "document.documentElement.scrollWidth")?
            .as_f64()
            .unwrap_or(f64::INFINITY);
        self.expect(width <= f64::from(screen.width), || {
            format!("{name} on {}: the page is {width} wide and scrolls sideways", screen.name)
        });
        let small = self.browser.evaluate(page, SMALL_TARGETS)?;
        for target in small.as_array().into_iter().flatten() {
            self.problems.push(format!("{name} on {}: a target is too small: {target}", screen.name));
        }
        Ok(())
    }
}

/// Devices without `adapterInfo`, and a `RangeError` for every buffer that is to be mapped as it is made.
const POOR_WEBGPU: &str = "
    delete GPUDevice.prototype.adapterInfo;
    const { createBuffer } = GPUDevice.prototype;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      if (descriptor.mappedAtCreation) throw new RangeError('size is too large');
      return createBuffer.call(this, descriptor);
    };";

/// A script for a page whose workers, which are modules, run `script` before their own.
fn before_workers(script: &str) -> String {
    let script = Value::from(script);
    format!(
        "const before = 'data:text/javascript,' + encodeURIComponent({script});
        const Plain = Worker;
        self.Worker = function (url, options) {{
          const imports = [before, new URL(url, location).href].map((url) => `import ${{JSON.stringify(url)}};`);
          return new Plain(URL.createObjectURL(new Blob(imports, {{ type: 'text/javascript' }})), options);
        }};"
    )
}

/// The first number in a text, whose thousands may be apart: `1,366 of 1,366 cases passed`.
fn number_in(text: &str) -> usize {
    let digits: String = text.split(' ').next().unwrap_or_default().replace(',', "");
    digits.parse().unwrap_or_default()
}

/// What is to be pressed and is too low for a finger, below 44 pixels of CSS; a choice is its whole label.
const SMALL_TARGETS: &str = "[...document.querySelectorAll('button, label, summary')]
    .filter((target) => target.offsetParent && target.getBoundingClientRect().height < 44)
    .map((target) => `${target.innerText}: ${target.getBoundingClientRect().height}`)";

/// On a terminal alone, in one line.
fn show_progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r{text} ");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_shown() {
        assert_eq!(number_in("1,366 of 1,366 cases passed"), 1366);
        assert_eq!(number_in("No case has run yet"), 0);
    }
}
