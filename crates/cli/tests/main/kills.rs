//! The real binary on a real directory, killed with SIGKILL at random moments while rows stream in.
//!
//! After each kill the pipeline is started again, and everything it says is checked:
//! - a view (each in its turn) equals its own query, recomputed from the tables in the same snapshot;
//! - the tables hold a prefix of their sources, without holes and without repeats;
//! - nothing is gone that a confirmed checkpoint had.
//!
//! In the end the views equal those of a run that reads the same rows and is never killed. `KILLS` and `KILLS_SEED` say how often and when.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{Running, highwater, text};

const KILLS_DEFAULT: u64 = 200;
const EVENTS: u64 = 400_000;
const LINES_PER_ROUND: u64 = 40;
/// A start and a look take no longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Views and the queries that they are.
const VIEWS: [(&str, &str); 5] = [
    (
        "by_kind",
        "SELECT kind, COUNT(*) AS n, SUM(amount) AS total, MIN(amount) AS low, MAX(amount) AS high FROM events GROUP BY kind",
    ),
    (
        "joined",
        "SELECT l.name, COUNT(*) AS n, SUM(e.amount) AS total FROM events e JOIN lines l ON e.kind = l.kind GROUP BY l.name",
    ),
    (
        "kinds",
        "SELECT DISTINCT kind FROM events WHERE amount > 500 EXCEPT SELECT kind FROM lines WHERE id < 100",
    ),
    (
        "rich",
        "SELECT id, amount FROM events WHERE amount > 995 AND kind IN (SELECT kind FROM lines)",
    ),
    (
        "everything",
        "SELECT COUNT(*) AS n, SUM(amount) AS total FROM events",
    ),
];

struct Bench {
    file: PathBuf,
    root: PathBuf,
    lines: PathBuf,
    written_lines: u64,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let bench = Self {
            file: folder.join("program.sql"),
            root: folder.join("state"),
            lines: folder.join("lines.csv"),
            written_lines: 0,
        };
        fs::write(&bench.lines, "").unwrap();
        fs::write(&bench.file, program(true)).unwrap();
        bench
    }

    fn append_lines(&mut self, count: u64) {
        let file = OpenOptions::new().append(true).open(&self.lines);
        let mut text = String::new();
        for id in self.written_lines..self.written_lines + count {
            text.push_str(&format!("{id},{},name{}\n", id % 97, id % 13));
        }
        file.unwrap().write_all(text.as_bytes()).unwrap();
        self.written_lines += count;
    }

    fn start(&self, workers: u64) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["run", "--bind", "127.0.0.1:0", "--show", "0"])
            .args([
                "--checkpoint-interval",
                "1",
                "--workers",
                &workers.to_string(),
            ])
            .arg("--storage")
            .arg(&self.root)
            .arg(&self.file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Running(child.unwrap())
    }
}

/// Tables fed by made-up rows and a growing file, and the views.
fn program(follows: bool) -> String {
    let mut program = format!(
        r#"
CREATE TABLE events (id BIGINT NOT NULL PRIMARY KEY, kind BIGINT, amount BIGINT)
WITH ('connectors' = '[{{"name": "gen", "max_batch_size": 100, "transport": {{"name": "datagen", "config":
  {{"seed": 5, "plan": [{{"limit": {EVENTS}, "rate": 3000, "fields": {{
    "id": {{"strategy": "increment"}}, "kind": {{"strategy": "uniform", "range": [0, 120]}},
    "amount": {{"strategy": "uniform", "range": [0, 1000]}}}}}}]}}}}}}]');
CREATE TABLE lines (id BIGINT, kind BIGINT, name VARCHAR)
WITH ('materialized' = 'true', 'connectors' = '[{{"name": "file", "transport": {{"name": "file_input", "config":
  {{"path": "lines.csv", "follow": {follows}}}}}, "format": {{"name": "csv"}}}}]');
"#
    );
    for (name, query) in VIEWS {
        program.push_str(&format!("CREATE MATERIALIZED VIEW {name} AS {query};\n"));
    }
    program
}

/// The address that a process serves on; `None` if it was killed before.
fn address(running: &mut Running) -> Option<String> {
    let mut messages = BufReader::new(running.0.stderr.take()?).lines();
    let mut told = Vec::new();
    while let Some(Ok(line)) = messages.next() {
        if line.starts_with("serving") {
            // Somebody must read what follows, or the process would wait.
            std::thread::spawn(move || messages.for_each(drop));
            let mut words = line.split_whitespace();
            return words
                .find(|word| word.starts_with("http://"))
                .map(str::to_owned);
        }
        told.push(line);
    }
    let status = running.0.wait().unwrap();
    assert!(
        status.code().is_none(),
        "the pipeline does not start: {told:#?}"
    );
    None
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    config.http_status_as_error(false).build().into()
}

/// The only row of a query, or the error of a process that is gone.
fn query(agent: &ureq::Agent, address: &str, sql: &str) -> Result<Value, String> {
    let url = format!("{address}/query");
    let request = agent.get(&url).query("format", "json").query("sql", sql);
    let mut response = request.call().map_err(|error| error.to_string())?;
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    assert_eq!(response.status(), 200, "{sql}: {text}");
    serde_json::from_str(text.trim()).map_err(|error| format!("{error} in {text}"))
}

/// Checks that the tables and one of the views are right; how many events and lines there are.
fn check(agent: &ureq::Agent, address: &str, view: usize) -> Result<(u64, u64), String> {
    let (name, view_query) = VIEWS[view];
    let mut columns = vec![
        "(SELECT COUNT(*) FROM events) AS events".to_owned(),
        "(SELECT COALESCE(MAX(id) + 1, 0) FROM events) AS next_event".to_owned(),
        "(SELECT COUNT(*) FROM lines) AS all_lines".to_owned(),
        "(SELECT COUNT(DISTINCT id) FROM lines) AS distinct_lines".to_owned(),
        "(SELECT COALESCE(MAX(id) + 1, 0) FROM lines) AS next_line".to_owned(),
    ];
    columns.push(format!(
        "(SELECT COUNT(*) FROM ((SELECT * FROM {name} EXCEPT ALL ({view_query})) UNION ALL (({view_query}) EXCEPT ALL SELECT * FROM {name}))) AS wrong"
    ));
    let row = query(agent, address, &format!("SELECT {}", columns.join(", ")))?;
    let number = |name: &str| {
        row[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} in {row}"))
    };
    assert_eq!(
        number("events"),
        number("next_event"),
        "events have no holes: {row}"
    );
    assert_eq!(
        number("all_lines"),
        number("distinct_lines"),
        "no line twice: {row}"
    );
    assert_eq!(
        number("all_lines"),
        number("next_line"),
        "lines have no holes: {row}"
    );
    assert_eq!(number("wrong"), 0, "{name} differs from its query: {row}");
    Ok((number("events"), number("all_lines")))
}

/// Asks for a checkpoint and waits until it is durable.
fn checkpoint(agent: &ureq::Agent, address: &str) -> Result<(), String> {
    let read = |mut response: ureq::http::Response<ureq::Body>| -> Result<Value, String> {
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))
    };
    let url = format!("{address}/checkpoint");
    let asked = agent
        .post(&url)
        .send_empty()
        .map_err(|error| error.to_string())?;
    let sequence = read(asked)?["checkpoint_sequence_number"].as_u64().unwrap();
    loop {
        let url = format!("{address}/checkpoint_status");
        let status = read(agent.get(&url).call().map_err(|error| error.to_string())?)?;
        assert!(status["failure"].is_null(), "{status}");
        if status["success"].as_u64() >= Some(sequence) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A small generator of numbers: what a test needs of randomness.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % sides
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap())
}

/// What a round found out before it was killed.
#[derive(Default)]
struct Found {
    events: u64,
    lines: u64,
    checks: u64,
    checkpoints: u64,
}

/// Watches a running pipeline until a thread kills it; errors are those of a process that is gone.
fn watch(
    agent: &ureq::Agent,
    address: &str,
    durable: &mut (u64, u64),
    found: &mut Found,
    looked: &std::sync::mpsc::Sender<()>,
) -> Result<(), String> {
    loop {
        let view = usize::try_from(found.checks).unwrap_or_default() % VIEWS.len();
        let (events, lines) = check(agent, address, view)?;
        // The killer may be past waiting.
        let _ = looked.send(());
        assert!(
            events >= durable.0 && lines >= durable.1,
            "{events} events and {lines} lines, but a checkpoint had {durable:?}"
        );
        (found.events, found.lines) = (events, lines);
        found.checks += 1;
        checkpoint(agent, address)?;
        found.checkpoints += 1;
        *durable = (events, lines);
    }
}

#[test]
fn p1_kill_9_at_any_moment_loses_nothing_that_was_confirmed() {
    let kills = from_environment("KILLS", KILLS_DEFAULT);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = from_environment("KILLS_SEED", u64::from(clock.subsec_nanos()));
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(folder.path());
    let agent = agent();
    let (mut durable, mut total) = ((0, 0), Found::default());
    let mut unserved = 0;
    for round in 0..kills {
        bench.append_lines(dice.roll(LINES_PER_ROUND));
        // Every fourth is killed while it starts, the others at some moment after the first look.
        let is_early = round % 4 == 0;
        let early = Duration::from_millis(5 + dice.roll(150));
        let late = Duration::from_millis(dice.roll(700));
        let mut running = bench.start(1 + dice.roll(3));
        let process = running.0.id();
        let (looked, has_looked) = std::sync::mpsc::channel();
        let is_told = Arc::new(AtomicBool::new(false));
        let tells = is_told.clone();
        let killer = std::thread::spawn(move || {
            let patience = if is_early { early } else { PATIENCE };
            if has_looked.recv_timeout(patience).is_ok() {
                std::thread::sleep(late);
            }
            tells.store(true, Ordering::SeqCst);
            let killed = Command::new("kill")
                .args(["-9", &process.to_string()])
                .status();
            assert!(killed.unwrap().success());
        });
        let address = address(&mut running);
        match address {
            Some(address) => {
                let gone = watch(&agent, &address, &mut durable, &mut total, &looked).unwrap_err();
                // A process that nobody has killed yet is at fault itself.
                let was_told = is_told.load(Ordering::SeqCst);
                assert!(was_told, "seed {seed}, round {round}: {gone}");
                let is_killed = running.0.wait().unwrap().code().is_none();
                assert!(is_killed, "seed {seed}, round {round}: {gone}");
            }
            None => unserved += 1,
        }
        killer.join().unwrap();
        drop(running);
    }
    let Found {
        checks,
        checkpoints,
        ..
    } = total;
    // Past the capture of passing tests: a run is to show its figures.
    let mut figures = std::io::stdout();
    let _ = writeln!(
        figures,
        "{kills} kills (seed {seed}): {checks} checks of {} views, {checkpoints} checkpoints, {unserved} killed before they served; \
         at least {} events and {} lines durable",
        VIEWS.len(),
        durable.0,
        durable.1
    );
    assert!(
        checks > kills / 4 && checkpoints > kills / 8,
        "the rounds were too short to see much"
    );
    finish(&agent, &bench, folder.path());
}

/// Stops the sources where they are, and compares with a run that reads the same rows and was never killed.
fn finish(agent: &ureq::Agent, bench: &Bench, folder: &Path) {
    let mut running = bench.start(2);
    let address = address(&mut running).unwrap();
    let mut limits = (0, 0);
    for view in 0..VIEWS.len() {
        limits = check(agent, &address, view).unwrap();
    }
    assert!(limits.0 > 0 && limits.1 > 0, "{limits:?}");
    agent.post(format!("{address}/pause")).send_empty().unwrap();
    let (events, lines) = settled(agent, &address);
    let rows = |view: &str| {
        let sql = format!("SELECT * FROM {view}");
        let request = agent
            .get(format!("{address}/query"))
            .query("format", "json");
        let mut response = request.query("sql", &sql).call().unwrap();
        sorted(
            response
                .body_mut()
                .read_to_string()
                .unwrap()
                .lines()
                .map(str::to_owned),
        )
    };
    let found: Vec<(&str, Vec<String>)> =
        VIEWS.iter().map(|(name, _)| (*name, rows(name))).collect();
    drop(running);
    let all_lines = fs::read_to_string(&bench.lines).unwrap();
    let read: Vec<&str> = all_lines
        .lines()
        .take(usize::try_from(lines).unwrap())
        .collect();
    fs::write(&bench.lines, format!("{}\n", read.join("\n"))).unwrap();
    let fresh = folder.join("fresh.sql");
    let limited = program(false).replace("\"rate\": 3000, ", "");
    let limited = limited.replace(
        &format!("\"limit\": {EVENTS}"),
        &format!("\"limit\": {events}"),
    );
    fs::write(&fresh, limited).unwrap();
    let expected = highwater(&["run", "--once", "--format", "json"], &fresh);
    assert!(expected.status.success(), "{}", text(&expected.stderr));
    for (view, found) in found {
        let lines = text(&expected.stdout).lines();
        let expected = lines.filter_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["view"] == view).then(|| line["row"].to_string())
        });
        assert_eq!(found, sorted(expected), "{view}");
    }
    let _ = writeln!(
        std::io::stdout(),
        "then all views of {events} events and {lines} lines equal those of a run without kills"
    );
}

/// Rows of the tables, once no step is under way any more.
fn settled(agent: &ureq::Agent, address: &str) -> (u64, u64) {
    let mut before = (0, 0);
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = check(agent, address, 4).unwrap();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Rows as JSON with their keys in order, sorted.
fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let parse = |row: String| serde_json::from_str::<Value>(&row).unwrap().to_string();
    let mut rows: Vec<String> = rows.map(parse).collect();
    rows.sort_unstable();
    rows
}
