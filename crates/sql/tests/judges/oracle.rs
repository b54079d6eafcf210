//! Random programs, random steps: after every step each view equals DataFusion's batch answer over
//! the tables, and the followed deltas add up to it; with 1, 2 and 3 workers. A third of the programs
//! is restarted from its saved state after every step, with another number of workers each time.
//!
//! `ORACLE_PROGRAMS` and `ORACLE_SEED` ask for more, or for one seed again.

use highwater_zset::RowHasher;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Runtime;

use crate::batch::{ModelTable, answers};
use crate::generate::{RandomProgram, program};
use crate::rows::{compare, rows_of};
use crate::steps::{self, Step, draw, model};
use crate::subject::Subject;

/// What was compared.
#[derive(Debug, Default)]
struct Counts {
    programs: usize,
    steps: usize,
    comparisons: usize,
    rows: usize,
    restarts: usize,
}

/// A run that can be repeated and cut down.
#[derive(Clone, Debug)]
struct Case {
    program: RandomProgram,
    steps: Vec<Step>,
    workers: usize,
    hash_bits: u32,
    restarts: bool,
}

#[test]
fn views_equal_batch_answers_at_every_step() {
    let programs = number("ORACLE_PROGRAMS", 150);
    let first_seed = number("ORACLE_SEED", 1);
    let runtime = runtime();
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in first_seed..first_seed + programs {
        let case = draw_case(seed);
        if let Err(message) = run(&runtime, &case, &mut counts) {
            let (case, message) = shrink(&runtime, case, message);
            let text = format!(
                "seed {seed}, {} workers: {message}\n{}\n{}",
                case.workers,
                case.program.sql(),
                steps_text(&case)
            );
            eprintln!("{text}");
            failures.push(text);
            if failures.len() >= 5 {
                break;
            }
        }
    }
    crate::report(&format!(
        "oracle: {} programs, {} steps, {} restarts, {} comparisons of views, {} rows compared, seeds {first_seed}..{}",
        counts.programs,
        counts.steps,
        counts.restarts,
        counts.comparisons,
        counts.rows,
        first_seed + programs
    ));
    assert!(
        failures.is_empty(),
        "{} failures:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(
        counts.comparisons > 0 && counts.rows > 0,
        "nothing was compared"
    );
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn draw_case(seed: u64) -> Case {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let program = program(&mut random, 3);
    let count = random.random_range(4..10);
    let steps = draw(&mut random, &program.tables, count);
    let workers = usize::try_from(seed % 3).expect("small") + 1;
    // Now and then, hashes of few bits: rows that differ must stay apart all the same.
    let hash_bits = if seed.is_multiple_of(5) { 3 } else { 64 };
    Case {
        program,
        steps,
        workers,
        hash_bits,
        restarts: random.random_bool(0.34),
    }
}

fn run(runtime: &Runtime, case: &Case, counts: &mut Counts) -> Result<(), String> {
    let hasher = RowHasher::weakened(0x5eed, case.hash_bits);
    let mut subject = Subject::start(&case.program.sql(), case.workers, hasher)?;
    let mut models: Vec<ModelTable> = case.program.tables.iter().map(model).collect();
    counts.programs += 1;
    for (index, step) in case.steps.iter().enumerate() {
        let inputs = steps::run(&mut models, step);
        subject
            .step(inputs)
            .map_err(|error| format!("step {index}: {error}"))?;
        judge(runtime, case, &subject, &models, counts)
            .map_err(|error| format!("step {index}: {error}"))?;
        counts.steps += 1;
        if case.restarts {
            subject
                .restart((case.workers + index) % 3 + 1)
                .map_err(|error| format!("step {index}, restart: {error}"))?;
            judge(runtime, case, &subject, &models, counts)
                .map_err(|error| format!("step {index}, restarted: {error}"))?;
            counts.restarts += 1;
        }
    }
    Ok(())
}

fn judge(
    runtime: &Runtime,
    case: &Case,
    subject: &Subject,
    models: &[ModelTable],
    counts: &mut Counts,
) -> Result<(), String> {
    for model in models {
        let actual = subject.table_rows(&model.name)?;
        compare(&rows_of(&model.batch()), &actual)
            .map_err(|difference| format!("table {}: {difference}", model.name))?;
    }
    let expected = answers(runtime, models, &case.program.views)?;
    for (name, _) in &case.program.views {
        let actual = subject
            .view_rows(name)
            .map_err(|error| format!("view {name}: {error}"))?;
        compare(&expected[name], &actual)
            .map_err(|difference| format!("view {name}: {difference}"))?;
        counts.comparisons += 1;
        counts.rows += actual.len();
    }
    Ok(())
}

/// Drops views, then steps, then changes, as long as the case still fails.
fn shrink(runtime: &Runtime, mut case: Case, mut message: String) -> (Case, String) {
    let mut budget = 150;
    let mut attempt = |case: &mut Case, smaller: Case, message: &mut String| {
        if budget == 0 {
            return false;
        }
        budget -= 1;
        match run(runtime, &smaller, &mut Counts::default()) {
            // A smaller program that does not compile shows nothing.
            Err(error) if error.starts_with("step") => {
                *case = smaller;
                *message = error;
                true
            }
            _ => false,
        }
    };
    if !message.starts_with("step") {
        return (case, message);
    }
    for index in (0..case.program.views.len()).rev() {
        let mut smaller = case.clone();
        smaller.program.views.remove(index);
        attempt(&mut case, smaller, &mut message);
    }
    for index in (0..case.steps.len()).rev() {
        let mut smaller = case.clone();
        smaller.steps.remove(index);
        attempt(&mut case, smaller, &mut message);
    }
    for step in (0..case.steps.len()).rev() {
        let mut size = case.steps[step].len() / 2;
        while size > 0 {
            let mut start = 0;
            while start < case.steps[step].len() {
                let mut smaller = case.clone();
                let end = (start + size).min(smaller.steps[step].len());
                smaller.steps[step].drain(start..end);
                if !attempt(&mut case, smaller, &mut message) {
                    start += size;
                }
            }
            size /= 2;
        }
    }
    (case, message)
}

fn steps_text(case: &Case) -> String {
    let mut lines = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        for change in step {
            let sign = if change.is_insertion { '+' } else { '-' };
            let cells: Vec<_> = change.row.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "step {index}: {sign} {} ({})",
                case.program.tables[change.table].name,
                cells.join(", ")
            ));
        }
    }
    lines.join("\n")
}
