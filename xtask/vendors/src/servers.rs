//! Compilers in processes of their own: a line in, a line out, one process a core.
//!
//! A compiler that crashes or hangs takes its process with it and fails the one text that it was given.

use crate::Result;
use indicatif::ProgressBar;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// Longer than any text takes, by far.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many processes may end without an answer before it is said that none will come.
const HOPELESS: usize = 8;

/// Asks `count` questions, `question(i)` each, of as many processes as there are cores. The answers are in
/// order.
pub(crate) fn ask(
    command: &(dyn Fn() -> Command + Sync),
    count: usize,
    question: &(dyn Fn(usize) -> Result<String> + Sync),
    bar: &ProgressBar,
) -> Vec<Result<String>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new((0..count).map(|_| Err("not asked".to_owned())).collect::<Vec<_>>());
    // Of what answers nothing at all, the first few failures say it.
    let (answered, dead) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let set = |number: usize, answer| {
        answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[number] = answer;
    };
    let work = || {
        let mut server: Option<Server> = None;
        let mut last = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            last = Some(number);
            let answer = question(number).and_then(|question| {
                if answered.load(Ordering::Relaxed) == 0 && dead.load(Ordering::Relaxed) >= HOPELESS {
                    return Err("not asked: the compiler has not answered once before".to_owned());
                }
                let mut running = match server.take() {
                    Some(server) => server,
                    None => Server::start(command())?,
                };
                let answer = running.ask(&question);
                // One that has failed is not asked again.
                if answer.is_ok() {
                    answered.fetch_add(1, Ordering::Relaxed);
                    server = Some(running);
                } else {
                    dead.fetch_add(1, Ordering::Relaxed);
                }
                answer
            });
            set(number, answer);
            bar.inc(1);
        }
        // What a process finds wrong with itself at its end is the last answer's to say.
        if let (Some(Err(message)), Some(last)) = (server.map(Server::finish), last) {
            set(last, Err(message));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..crate::threads().min(count) {
            scope.spawn(work);
        }
    });
    answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Server {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<std::io::Result<String>>,
    errors: std::fs::File,
}

impl Server {
    fn start(mut command: Command) -> Result<Self> {
        let errors = tempfile::tempfile().map_err(|error| format!("no temporary file: {error}"))?;
        let for_process = errors.try_clone().map_err(|error| format!("no temporary file: {error}"))?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(for_process)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a process without its pipes".to_owned());
        };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, stdin: Some(stdin), lines, errors })
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        let sent = match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{question}").and_then(|()| stdin.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        // A process that has gone away is explained by how it went.
        let answer = if sent.is_ok() {
            self.lines.recv_timeout(PATIENCE)
        } else {
            Err(RecvTimeoutError::Disconnected)
        };
        match answer {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => Err(format!("the compiler's answer cannot be read: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.process.kill();
                Err(format!("the compiler did not answer within {} s", PATIENCE.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.obituary()),
        }
    }

    /// The end of its input ends it, and its exit code has to be 0.
    fn finish(mut self) -> Result<()> {
        drop(self.stdin.take());
        match self.process.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.obituary()),
        }
    }

    fn obituary(&mut self) -> String {
        let status = self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut said = String::new();
        let _ = self.errors.seek(SeekFrom::Start(0));
        let _ = self.errors.read_to_string(&mut said);
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        format!(
            "the compiler's process ended ({status}): {}",
            last.into_iter().rev().collect::<Vec<_>>().join(" | ")
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

/// The other side: answers each line of stdin with a line on stdout.
pub(crate) fn serve(mut answer: impl FnMut(&str) -> String) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("stdin: {error}"))?;
        let written = writeln!(stdout, "{}", answer(&line)).and_then(|()| stdout.flush());
        written.map_err(|error| format!("stdout: {error}"))?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &'static str) -> impl Fn() -> Command + Sync {
        move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        }
    }

    #[test]
    fn answers_are_in_order() {
        let echo = shell("while read line; do echo \"<$line>\"; done");
        let answers = ask(&echo, 50, &|number| Ok(number.to_string()), &ProgressBar::hidden());
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer.as_deref(), Ok(format!("<{number}>").as_str()));
        }
    }

    #[test]
    fn a_crash_fails_one_question_and_is_explained() {
        let fragile = shell(
            "while read line; do if [ $line = 7 ]; then echo 'out of registers' >&2; kill -SEGV $$; fi; echo $line; done",
        );
        let answers = ask(&fragile, 20, &|number| Ok(number.to_string()), &ProgressBar::hidden());
        let failed: Vec<usize> = (0..20).filter(|number| answers[*number].is_err()).collect();
        assert_eq!(failed, [7]);
        let message = answers[7].as_ref().unwrap_err();
        assert!(message.contains("SIGSEGV") && message.contains("out of registers"), "{message}");
    }

    #[test]
    fn a_process_that_ends_in_failure_fails_its_last_answer() {
        let remorseful = shell("while read line; do echo $line; done; echo 'none of it is true' >&2; exit 1");
        let answers = ask(&remorseful, 20, &|number| Ok(number.to_string()), &ProgressBar::hidden());
        let failed: Vec<&String> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!((1..=crate::threads()).contains(&failed.len()), "one for each process: {answers:?}");
        assert!(failed.iter().all(|message| message.contains("none of it is true")), "{failed:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let missing = || Command::new("/no/such/program");
        let answers = ask(&missing, 2, &|number| Ok(number.to_string()), &ProgressBar::hidden());
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|e| e.contains("/no/such/program"))));
    }
}
