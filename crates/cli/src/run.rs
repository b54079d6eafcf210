//! `highwater run`: load, show, stay up; or load, print, exit.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use highwater_allocator::{GiveBack, give_back_memory};
use highwater_connectors::clock::SystemClock;
use highwater_pipeline::controller::InputProgress;
use highwater_pipeline::settings::draw_hash_seed;
use highwater_pipeline::{
    BootstrapPolicy, Definition, OpenedStorage, Pipeline, Settings, with_causes,
};
use highwater_server::{ServerState, await_approval, serve};
use highwater_sql::Program;
use highwater_storage::{Kind, LocalDisk};
use tokio::net::TcpListener;

use crate::arguments::{Bootstrap, OutputFormat, RunOptions};
use crate::program::{Compiled, read, report};
use crate::progress::{self, Display};
use crate::views::materialized_views;
use crate::{diff, format, views};

/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Each follower has a thread, and each request that sends rows while it does.
const BLOCKING_THREADS_MAX: usize = 4_096;

/// Inputs without an end count as loaded after this long.
const ENDLESS_PATIENCE: Duration = Duration::from_secs(3);

/// A process that was killed holds its lock until the system has taken its memory apart, a second or so:
/// `kill -9 …; highwater run …` is to go on.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Runs a program.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode> {
    let storage = options.storage.as_deref().map(open_storage).transpose()?;
    let settings = settings(options, storage.as_ref());
    let give_back = match options.memory {
        Some(_) => GiveBack::Soon,
        None => GiveBack::AtRest,
    };
    give_back_memory(give_back).context("cannot start a thread")?;
    let compiled = match read(&options.file, settings.hash_seed)? {
        Ok(compiled) => compiled,
        Err(diagnostics) => {
            report(&options.file, &diagnostics);
            return Ok(ExitCode::FAILURE);
        }
    };
    report(&options.file, &compiled.program.warnings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(async {
        if options.once {
            once(options, compiled, settings, storage).await
        } else {
            stay(options, compiled, settings, storage).await
        }
    });
    // A transport may be waiting for a slow server: the process does not wait for it.
    runtime.shutdown_background();
    code
}

/// Opens the directory of checkpoints and says what is there.
fn open_storage(root: &Path) -> Result<OpenedStorage> {
    let began = Instant::now();
    let mut is_told = false;
    let storage = loop {
        match OpenedStorage::open(Arc::new(LocalDisk), root) {
            Err(error) if error.kind() == Kind::Locked && began.elapsed() < LOCK_PATIENCE => {
                if !is_told {
                    eprintln!("{error}; waiting {LOCK_PATIENCE:?} for that");
                    is_told = true;
                }
                std::thread::sleep(POLL);
            }
            opened => break opened?,
        }
    };
    for passed_over in storage.passed_over() {
        eprintln!("warning: checkpoint {passed_over}; it is kept, and the one before is used");
    }
    Ok(storage)
}

fn settings(options: &RunOptions, storage: Option<&OpenedStorage>) -> Settings {
    let interval = Duration::from_secs(u64::from(options.checkpoint_interval));
    let settings = Settings {
        name: pipeline_name(options),
        workers: usize::from(options.workers),
        hash_seed: storage
            .and_then(OpenedStorage::hash_seed)
            .unwrap_or_else(draw_hash_seed),
        batch_records_min: options.min_batch_size,
        buffering_delay_max: Duration::from_millis(options.max_delay),
        step_rows_max: options.max_batch_size.max(1),
        checkpoint_interval: (!interval.is_zero()).then_some(interval),
        retained_checkpoints: usize::from(options.retain),
        bootstrap: match options.bootstrap {
            Bootstrap::Reject => BootstrapPolicy::Reject,
            // Who waits for approval has it when the pipeline starts.
            Bootstrap::Allow | Bootstrap::AwaitApproval => BootstrapPolicy::Allow,
        },
        ..Settings::default()
    };
    match options.memory {
        Some(bytes_max) => settings.within_memory(bytes_max),
        None => settings,
    }
}

fn pipeline_name(options: &RunOptions) -> String {
    let name = options.name.clone();
    name.unwrap_or_else(|| file_stem(&options.file))
}

/// Starts the pipeline, on its storage if there is one, and says from where it goes on.
fn start(
    compiled: Definition,
    settings: Settings,
    storage: Option<OpenedStorage>,
) -> Result<Pipeline> {
    let clock = Arc::new(SystemClock::new());
    let Some(storage) = storage else {
        return Ok(Pipeline::start(compiled, settings, clock)?);
    };
    if let Some(difference) = storage.difference(&compiled, settings.hash_seed) {
        eprintln!("the program has changed since the checkpoint:");
        eprint!("{}", diff::text(&difference));
    }
    let began = Instant::now();
    let from = storage.saved().map(ToString::to_string);
    let root = storage.store().root().display().to_string();
    let pipeline = Pipeline::start_on(compiled, settings, clock, storage)?;
    match from {
        Some(from) => eprintln!("restored {from}, in {:.0?}", began.elapsed()),
        None => eprintln!("no checkpoint in {root} yet: starting from the beginning"),
    }
    Ok(pipeline)
}

/// Loads, prints and exits.
async fn once(
    options: &RunOptions,
    compiled: Compiled,
    settings: Settings,
    storage: Option<OpenedStorage>,
) -> Result<ExitCode> {
    let pipeline = start(compiled.definition, settings, storage)?;
    pipeline.resume().await?;
    let loaded = tokio::select! {
        loaded = load(&pipeline, false) => loaded,
        () = interrupted() => bail!("interrupted"),
    };
    let inputs = loaded?;
    let failed = report_inputs(&inputs);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for view in materialized_views(&pipeline)? {
        format::print(&view, options.format, &mut out)?;
    }
    out.flush()?;
    if pipeline.store().is_some() {
        checkpoint_and_end(&pipeline).await?;
    }
    pipeline.stop().await;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Loads, shows, and serves until it is interrupted or suspended.
async fn stay(
    options: &RunOptions,
    compiled: Compiled,
    settings: Settings,
    storage: Option<OpenedStorage>,
) -> Result<ExitCode> {
    // Before anything is loaded: a taken port is known at once.
    let socket = std::net::TcpListener::bind(options.bind)
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .with_context(|| {
            format!(
                "cannot serve on {}; choose another address with --bind",
                options.bind
            )
        })?;
    let address = socket.local_addr()?;
    if options.bootstrap == Bootstrap::AwaitApproval
        && let Some(storage) = &storage
        && let Some(difference) = storage.difference(&compiled.definition, settings.hash_seed)
    {
        eprintln!("waiting for approval: curl -X POST http://{address}/approve");
        eprint!("{}", diff::text(&difference));
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        tokio::select! {
            approved = await_approval(listener, difference) => approved?,
            () = interrupted() => return Ok(ExitCode::SUCCESS),
        }
    }
    let listener = TcpListener::from_std(socket)?;
    let name = settings.name.clone();
    let pipeline = start(compiled.definition, settings, storage)?;
    let program = Arc::new(compiled.program);
    let base = options.file.parent().unwrap_or(Path::new(""));
    let state = ServerState::new(pipeline.clone(), program.clone(), &name).with_base(base);
    let (outcome_sender, outcome) = tokio::sync::oneshot::channel();
    let ending = pipeline.clone();
    let server = tokio::spawn(serve(listener, state, async move {
        // The other end waits for the server.
        let _ = outcome_sender.send(until_end(&ending).await);
    }));
    eprintln!("serving http://{address} (pipeline `{name}`)");
    if pipeline.store().is_none() {
        eprintln!("state is in memory only and forgotten on exit; --storage DIRECTORY keeps it");
    }
    if options.paused {
        eprintln!("paused: curl -X POST http://{address}/start");
    } else {
        pipeline.resume().await?;
        match load(&pipeline, true).await {
            Ok(inputs) => {
                report_inputs(&inputs);
                show_views(&pipeline, options.show)?;
            }
            // Interrupted while it loaded.
            Err(error) if is_stopped(&error) => {}
            Err(error) => eprintln!("error: {}", with_causes(error.as_ref())),
        }
    }
    let is_alive = pipeline.is_running().await.map_err(anyhow::Error::from);
    if !is_alive.is_err_and(|error| is_stopped(&error)) {
        eprint!("{}", hints(&program, &address.to_string()));
    }
    server
        .await
        .context("the server ended")?
        .context("the server failed")?;
    outcome.await.context("the server ended early")??;
    Ok(ExitCode::SUCCESS)
}

/// Resolves when the pipeline has ended (it was suspended), or the process is interrupted: with
/// storage a checkpoint is taken then.
async fn until_end(pipeline: &Pipeline) -> Result<()> {
    tokio::select! {
        () = pipeline.ended() => {
            eprintln!("suspended: its checkpoint is complete");
            return Ok(());
        }
        () = interrupted() => {}
    }
    if pipeline.store().is_none() || pipeline.is_running().await.is_err() {
        return Ok(());
    }
    eprintln!("taking a checkpoint; ctrl-c again leaves without it");
    tokio::select! {
        ended = checkpoint_and_end(pipeline) => ended,
        () = interrupted() => bail!("interrupted before the checkpoint was complete"),
    }
}

/// Suspends the pipeline.
///
/// # Errors
/// If the checkpoint fails: the pipeline has not ended then.
async fn checkpoint_and_end(pipeline: &Pipeline) -> Result<()> {
    let failures = pipeline.checkpoint_counters().await?.failures;
    pipeline.suspend().await?;
    let bar = progress::checkpoint_bar();
    loop {
        tokio::select! {
            () = pipeline.ended() => {
                bar.finish_and_clear();
                return Ok(());
            }
            () = tokio::time::sleep(POLL) => {}
        }
        if let Some((done, expected)) = pipeline.checkpoint_bytes() {
            bar.set_length(expected);
            bar.set_position(done);
        } else if let Ok(outputs) = pipeline.checkpoint_waits_for().await
            && !outputs.is_empty()
        {
            bar.set_message(format!("waiting for {}", outputs.join(", ")));
        }
        let Ok(counters) = pipeline.checkpoint_counters().await else {
            continue;
        };
        if counters.failures > failures {
            let failure = pipeline.checkpoint_status(None).await?.failure;
            let reason = failure.map_or_else(String::new, |failure| failure.error);
            bail!("the last checkpoint failed: {reason}");
        }
    }
}

/// Waits until the inputs are at their end (or, if `may_be_endless`, have had their time) and all
/// that they gave is in the views.
async fn load(pipeline: &Pipeline, may_be_endless: bool) -> Result<Vec<InputProgress>> {
    let mut display = Display::new();
    let started = Instant::now();
    loop {
        let inputs = pipeline.progress().await?;
        pipeline.is_running().await?;
        let metrics = pipeline.stats(false).await?.global_metrics;
        let is_settled = |input: &InputProgress| {
            let is_endless = may_be_endless && input.progress.total.is_none();
            input.end_of_input
                || input.fatal_error.is_some()
                || (is_endless && started.elapsed() > ENDLESS_PATIENCE)
        };
        let has_first_step = metrics.total_completed_steps > 0;
        let all_ended = inputs
            .iter()
            .all(|input| input.end_of_input || input.fatal_error.is_some());
        let is_processed = metrics.total_completed_records == metrics.total_input_records
            || (may_be_endless && !all_ended);
        if has_first_step && is_processed && inputs.iter().all(is_settled) {
            display.finish(&inputs);
            return Ok(inputs);
        }
        display.show(&inputs);
        tokio::time::sleep(POLL).await;
    }
}

fn is_stopped(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(highwater_pipeline::Error::Stopped)
    )
}

/// Says what went wrong with inputs; true if one of them failed.
fn report_inputs(inputs: &[InputProgress]) -> bool {
    let mut has_failed = false;
    for input in inputs {
        if let Some(error) = &input.fatal_error {
            has_failed = true;
            eprintln!("error: input `{}` failed: {error}", input.name);
        }
        if input.parse_errors > 0 {
            let first = input.first_parse_error.as_deref().unwrap_or("");
            eprintln!(
                "warning: input `{}`: bad rows left out: {}; the first: {first}",
                input.name, input.parse_errors
            );
        }
    }
    has_failed
}

fn show_views(pipeline: &Pipeline, rows_max: usize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for view in materialized_views(pipeline)? {
        let total = view.rows.num_rows();
        let shown = views::ViewRows {
            rows: view.rows.slice(0, total.min(rows_max)),
            name: view.name,
        };
        if shown.rows.num_rows() == total {
            format::print(&shown, OutputFormat::Text, &mut out)?;
        } else {
            writeln!(out, "{} (first {rows_max} of {total} rows)", shown.name)?;
            writeln!(out, "{}\n", format::table(&shown.rows)?)?;
        }
    }
    Ok(())
}

/// What to do next, with this program's own names.
fn hints(program: &Program, address: &str) -> String {
    let mut text = String::new();
    let views: Vec<_> = program
        .views
        .iter()
        .filter(|view| view.relation.materialized)
        .collect();
    if let Some(view) = views.first() {
        let name = &view.relation.name;
        let (path, sql) = if view.relation.case_sensitive {
            (format!("%22{name}%22"), format!("\"{name}\""))
        } else {
            (name.clone(), name.clone())
        };
        text.push_str(&format!(
            "follow: curl -N -X POST 'http://{address}/egress/{path}?format=json'\n\
             query:  curl -G http://{address}/query -d format=text --data-urlencode 'sql=SELECT * FROM {sql} LIMIT 10'\n"
        ));
    }
    if let Some(table) = program.tables.first() {
        text.push_str(&format!(
            "send:   curl -d '{{\"insert\": {{…}}}}' 'http://{address}/ingress/{}?format=json'\n",
            table.relation.name
        ));
    }
    text.push_str(&format!("watch:  http://{address}/   stop: ctrl-c\n"));
    text
}

fn file_stem(file: &Path) -> String {
    file.file_stem().map_or_else(
        || "main".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// Resolves on ctrl-c or SIGTERM.
async fn interrupted() {
    use tokio::signal;
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        interrupt = signal::ctrl_c() => {
            if let Err(error) = interrupt {
                tracing::warn!(%error, "ctrl-c cannot be caught");
                std::future::pending::<()>().await;
            }
        }
        () = terminated => {}
    }
}
