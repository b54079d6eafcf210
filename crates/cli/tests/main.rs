//! The binary, as a user runs it.

#[path = "main/checkpoints.rs"]
mod checkpoints;
#[path = "main/kills.rs"]
mod kills;
#[path = "main/memory.rs"]
mod memory;
#[path = "main/pyarrow.rs"]
mod pyarrow;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = r#"
CREATE TABLE people (id INT NOT NULL PRIMARY KEY, team VARCHAR, points BIGINT)
WITH ('connectors' = '[{"name": "file", "transport": {"name": "file_input", "config": {"path": "people.csv"}},
                        "format": {"name": "csv"}}]');
CREATE VIEW everybody AS SELECT * FROM people;
CREATE MATERIALIZED VIEW teams AS SELECT team, COUNT(*) AS people, SUM(points) AS points FROM people GROUP BY team;
CREATE MATERIALIZED VIEW twice AS SELECT points FROM people UNION ALL SELECT points FROM people WHERE points > 10;
"#;

const PEOPLE: &str = "1,red,10\n2,blue,\n3,red,32\n4,blue,7\n";

/// A folder with a program and its data.
fn folder(program: &str, people: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.sql");
    fs::write(&file, program).unwrap();
    fs::write(folder.path().join("people.csv"), people).unwrap();
    (folder, file)
}

/// Runs elsewhere, so that relative paths must come from the program's folder.
fn highwater(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .current_dir("/")
        .args(arguments)
        .arg(file)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn once_prints_the_materialized_views_sorted() {
    let (_folder, file) = folder(PROGRAM, PEOPLE);
    let expected = "\
teams (2 rows)
+------+--------+--------+
| team | people | points |
+------+--------+--------+
| blue | 2      | 7      |
| red  | 2      | 42     |
+------+--------+--------+

twice (5 rows)
+--------+
| points |
+--------+
| NULL   |
| 7      |
| 10     |
| 32     |
| 32     |
+--------+

";
    for workers in ["1", "2"] {
        let output = highwater(&["run", "--once", "--workers", workers], &file);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), expected);
    }
}

#[test]
fn once_prints_csv_and_json() {
    let (_folder, file) = folder(PROGRAM, "1,red,10\n2,\"b,c\",\n");
    let output = highwater(&["run", "--once", "--format", "csv"], &file);
    let expected = "# teams\nteam,people,points\n\"b,c\",1,\nred,1,10\n# twice\npoints\n\"\"\n10\n";
    assert_eq!(text(&output.stdout), expected);
    let output = highwater(&["run", "--once", "--format", "json"], &file);
    let expected = "\
{\"view\":\"teams\",\"row\":{\"team\":\"b,c\",\"people\":1,\"points\":null}}
{\"view\":\"teams\",\"row\":{\"team\":\"red\",\"people\":1,\"points\":10}}
{\"view\":\"twice\",\"row\":{\"points\":null}}
{\"view\":\"twice\",\"row\":{\"points\":10}}
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn bad_rows_are_a_warning_and_a_missing_file_an_error() {
    let (folder, file) = folder(PROGRAM, "1,red,10\n2,red,many\n");
    let output = highwater(&["run", "--once"], &file);
    assert!(output.status.success());
    let warning = text(&output.stderr);
    assert!(
        warning.contains("`people.file`: bad rows left out: 1"),
        "{warning}"
    );
    assert!(
        warning.contains("many") && warning.contains("line 2"),
        "{warning}"
    );
    fs::remove_file(folder.path().join("people.csv")).unwrap();
    let output = highwater(&["run", "--once"], &file);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("people.csv"), "{error}");
}

#[test]
fn a_failed_step_is_an_error_with_its_reason() {
    let program = PROGRAM.replace("SUM(points)", "SUM(100 / (points - 10))");
    let (_folder, file) = folder(&program, PEOPLE);
    let output = highwater(&["run", "--once"], &file);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("zero") && error.contains("teams"), "{error}");
}

#[test]
fn check_reports_every_mistake_with_its_place() {
    let (_folder, file) = folder(PROGRAM, "");
    let output = highwater(&["check"], &file);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("no errors; 1 tables, 3 views"));
    let wrong = "CREATE TABLE t (a INT);\nCREATE VIEW v AS SELECT b FROM t;\nCREATE VIEW w AS SELECT * FROM nowhere;\n";
    let (_folder, file) = folder(wrong, "");
    for command in ["check", "explain", "run"] {
        let output = highwater(&[command], &file);
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(errors.contains("line 2, column 25"), "{errors}");
        assert!(errors.contains("nowhere"), "{errors}");
        assert!(
            errors.contains("   2|CREATE VIEW v AS SELECT b FROM t;\n"),
            "{errors}"
        );
        assert!(errors.contains("^\n"), "{errors}");
        assert!(errors.contains("2 errors"), "{errors}");
    }
}

#[test]
fn check_reads_the_connectors_too() {
    let program = PROGRAM.replace("file_input", "file_inptu");
    let (_folder, file) = folder(&program, "");
    let output = highwater(&["check"], &file);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("unknown transport `file_inptu`"),
        "{errors}"
    );
    assert!(errors.contains("line 3"), "{errors}");
}

#[test]
fn explain_prints_the_circuit() {
    let (folder, file) = folder(PROGRAM, "");
    let output = highwater(&["explain"], &file);
    assert!(
        text(&output.stdout).contains("teams"),
        "{}",
        text(&output.stderr)
    );
    let output = highwater(&["explain", "--format", "dot"], &file);
    assert!(text(&output.stdout).starts_with("digraph"));
    let picture = folder.path().join("circuit.svg");
    let arguments = ["explain", "-f", "svg", "-o", picture.to_str().unwrap()];
    assert!(highwater(&arguments, &file).status.success());
    assert!(fs::read_to_string(picture).unwrap().contains("<svg"));
}

#[test]
fn help_teaches_and_mistakes_are_explained() {
    let output = highwater(&["run", "--help"], Path::new(""));
    for taught in ["/ingress/", "/egress/", "/query", "--once"] {
        assert!(text(&output.stdout).contains(taught), "{taught}");
    }
    let output = highwater(&["check"], Path::new("/nowhere.sql"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read the program `/nowhere.sql`"));
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn run_shows_the_views_serves_and_stops_when_told() {
    let (_folder, file) = folder(PROGRAM, PEOPLE);
    let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["run", "--bind", "127.0.0.1:0", "--show", "1"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut messages = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let serving = messages.next().unwrap().unwrap();
    let url = serving
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .unwrap()
        .to_owned();
    assert!(serving.contains("`program`"), "{serving}");
    let hints: Vec<String> = messages
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("watch:"))
        .collect();
    assert!(
        hints.iter().any(|hint| hint.contains("/egress/teams")),
        "{hints:?}"
    );
    let get = |path: &str| {
        ureq::get(format!("{url}{path}"))
            .call()
            .unwrap()
            .into_body()
            .read_to_string()
            .unwrap()
    };
    assert!(get("/v0/pipelines/program/query?format=json&sql=SELECT%20team%20FROM%20teams%20ORDER%20BY%20team").starts_with("{\"team\":\"blue\"}"));
    ureq::post(format!("{url}/ingress/people"))
        .send("5,green,1\n")
        .unwrap();
    let start = Instant::now();
    while !get("/query?sql=SELECT%20team%20FROM%20teams").contains("green") {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let terminated = Command::new("kill")
        .arg(running.0.id().to_string())
        .status()
        .unwrap();
    assert!(terminated.success());
    assert!(running.0.wait().unwrap().success(), "a stop is no failure");
    let mut shown = String::new();
    running
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert!(shown.contains("teams (first 1 of 2 rows)"), "{shown}");
    let rest: Vec<String> = messages.map(Result::unwrap).collect();
    assert!(rest.is_empty(), "no errors at the end: {rest:?}");
}
