//! `highwater checkpoint`: every tool, on a storage directory that the binary has made.
//!
//! The directory has two checkpoints. The first is of one worker and a program with one input; the last
//! is of two workers, and of a program that has one more input and one more view.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PEOPLE, PROGRAM, Running, text};

/// More than one block of a batch file, so that a merge sees several.
const LOG_ROWS: usize = 5_000;

fn program() -> String {
    let log = "CREATE TABLE log (id BIGINT, note VARCHAR) WITH ('materialized' = 'true', 'connectors' = '[{
        \"name\": \"file\", \"transport\": {\"name\": \"file_input\", \"config\": {\"path\": \"log.csv\"}},
        \"format\": {\"name\": \"csv\"}}]');
        CREATE TABLE silent (x INT) WITH ('materialized' = 'true');
        CREATE MATERIALIZED VIEW notes AS SELECT note FROM log;\n";
    format!("{PROGRAM}{log}")
}

/// The same with one more input of `people`, and one more view.
fn changed_program() -> String {
    let connector = r#"{"name": "more", "transport": {"name": "file_input", "config": {"path": "more.csv"}},
                        "format": {"name": "csv"}}]'"#;
    let program = program();
    let (people, rest) = program.split_once("]'").unwrap();
    let view = "CREATE MATERIALIZED VIEW top AS SELECT id FROM people WHERE points > 20;";
    format!("{people}, {connector}{rest}{view}")
}

/// A folder with a program, its data and its storage; gone with the value.
struct State {
    folder: TempDir,
}

/// Made once; each test gets a copy.
struct Template {
    folder: TempDir,
    /// What the last run printed.
    views: String,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let log = (0..LOG_ROWS).map(|row| format!("{row},note {}\n", row % 3));
        fs::write(folder.path().join("log.csv"), log.collect::<String>()).unwrap();
        fs::write(folder.path().join("people.csv"), PEOPLE).unwrap();
        fs::write(folder.path().join("more.csv"), "5,green,11\n6,red,1\n").unwrap();
        let run = |program: String, workers: &str| {
            let file = folder.path().join("program.sql");
            fs::write(&file, program).unwrap();
            run_once(&file, &folder.path().join("state"), workers)
        };
        run(program(), "1");
        let views = run(changed_program(), "2");
        // What the start of the changed program has taken for itself.
        let state = State { folder };
        let uuids = state.uuids();
        for uuid in &uuids[1..uuids.len() - 1] {
            state.succeed(&["rm", "DIR", uuid]);
        }
        assert_eq!(state.uuids().len(), 2);
        Template {
            folder: state.folder,
            views,
        }
    })
}

/// Where the last program and its data are: elsewhere the same inputs would be other files.
fn program_file() -> PathBuf {
    template().folder.path().join("program.sql")
}

fn run_once(file: &Path, root: &Path, workers: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args([
            "run",
            "--once",
            "--retain",
            "9",
            "--workers",
            workers,
            "--storage",
        ])
        .args([root, file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A tool; `DIR` among its arguments stands for the root.
fn tool(root: &Path, arguments: &[&str]) -> Output {
    let arguments = arguments.iter().map(|argument| match *argument {
        "DIR" => root.as_os_str().to_owned(),
        argument => argument.into(),
    });
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .current_dir("/")
        .arg("checkpoint")
        .args(arguments)
        .output()
        .unwrap()
}

impl State {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = template().folder.path().join("state");
        copy(&root, &folder.path().join("state"));
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = tool(&self.root(), arguments);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        text(&output.stdout).to_owned()
    }

    /// Fails with exit code 1; what it prints to stderr.
    #[track_caller]
    fn fail(&self, arguments: &[&str]) -> String {
        let output = tool(&self.root(), arguments);
        let errors = text(&output.stderr).to_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        errors
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--format", "json"]].concat();
        serde_json::from_str(&self.succeed(&arguments)).unwrap()
    }

    /// Oldest first.
    fn uuids(&self) -> Vec<String> {
        let list = self.json(&["ls", "DIR"]);
        let entries = list["checkpoints"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["uuid"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Every file with its contents, but for the lock.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        gather(&self.root(), &mut contents);
        contents.remove(&self.root().join("feldera.pidlock"));
        contents
    }
}

fn gather(folder: &Path, contents: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, contents);
        } else {
            let bytes = fs::read(&path).unwrap();
            contents.insert(path, bytes);
        }
    }
}

/// Bytes of all files below a folder, in folders of their own included.
fn bytes_below(folder: &Path) -> u64 {
    let mut contents = BTreeMap::new();
    gather(folder, &mut contents);
    contents.values().map(|bytes| bytes.len() as u64).sum()
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn ls_lists_and_show_tells_everything() {
    let state = State::new();
    let uuids = state.uuids();
    let list = state.succeed(&["ls", "DIR"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_has(
        lines[0],
        &["UUID", "TAKEN AT", "STEP", "RECORDS", "SIZE", "STATE"],
    );
    assert!(lines[1].starts_with(&uuids[0]) && lines[2].starts_with(&uuids[1]));
    assert!(
        lines[1].ends_with("no      ok") && lines[1].contains(" UTC "),
        "{list}"
    );
    let last = &state.json(&["ls", "DIR"])["checkpoints"][1];
    assert_eq!(last["processed_records"], 5_006);
    assert_eq!(
        (&last["usable"], &last["pinned"]),
        (&json!(true), &json!(false))
    );

    let shown = state.succeed(&["show", "DIR"]);
    assert_has(
        &shown,
        &[
            &uuids[1],
            "workers     2",
            "people.more",
            "at its end",
            r#"{"offset":19,"lines":2,"records":2}"#,
            "everybody  view   not kept",
            "log        table     5,000",
            "id INTEGER NOT NULL, team VARCHAR, points BIGINT, PRIMARY KEY (id)",
            "pspine-1.dat",
            "state.json",
        ],
    );
    let first = state.json(&["show", "DIR", &uuids[0]]);
    assert_eq!(first["record"]["workers"], 1);
    assert_eq!(
        first["record"]["inputs"]["people.file"]["position"]["records"],
        4
    );
    let relations = first["relations"].as_array().unwrap();
    let rows: Vec<(&str, &Value)> = relations
        .iter()
        .map(|relation| (relation["name"].as_str().unwrap(), &relation["rows"]))
        .collect();
    let expected = [
        ("log", json!(5_000)),
        ("people", json!(4)),
        ("silent", json!(0)),
        ("everybody", Value::Null),
        ("notes", json!(5_000)),
        ("teams", json!(2)),
        ("twice", json!(5)),
    ];
    let expected: Vec<(&str, &Value)> = expected.iter().map(|(name, rows)| (*name, rows)).collect();
    assert_eq!(rows, expected);
    for file in first["files"]["batches"].as_array().unwrap() {
        let path = state.root().join(file["name"].as_str().unwrap());
        assert_eq!(fs::metadata(path).unwrap().len(), file["size_bytes"]);
    }
}

#[test]
fn checkpoints_are_meant_by_uuid_prefix_name_and_latest() {
    let state = State::new();
    let uuids = state.uuids();
    let common = uuids[0].bytes().zip(uuids[1].bytes());
    let common = common.take_while(|(left, right)| left == right).count();
    let meant = |wanted: &str| state.json(&["show", "DIR", wanted])["uuid"].clone();
    assert_eq!(meant("latest"), uuids[1]);
    assert_eq!(meant(&uuids[0][..=common]), uuids[0]);
    assert_eq!(meant(&uuids[0].replace('-', "").to_uppercase()), uuids[0]);
    let error = state.fail(&["show", "DIR", &uuids[0][..common]]);
    assert_has(&error, &[&uuids[0], &uuids[1], "give more of the uuid"]);
    let error = state.fail(&["show", "DIR", "ffff"]);
    assert_has(&error, &["no checkpoint `ffff`", "checkpoint ls"]);

    let named = state.succeed(&["name", "DIR", &uuids[0], "before-upgrade"]);
    assert_has(&named, &[&uuids[0], "`before-upgrade`"]);
    assert_eq!(meant("before-upgrade"), uuids[0]);
    let error = state.fail(&["name", "DIR", "latest", "before-upgrade"]);
    assert_has(&error, &["already", "choose another name"]);
    assert_has(
        &state.fail(&["name", "DIR", "latest", "latest"]),
        &["choose another name"],
    );
    state.fail(&["name", "DIR", "latest", "abc-123"]);
    state.succeed(&["name", "DIR", "before-upgrade"]);
    state.fail(&["name", "DIR", &uuids[0]]);
    state.fail(&["show", "DIR", "before-upgrade"]);
}

#[test]
fn cat_prints_what_the_run_printed() {
    let state = State::new();
    let views = ["teams", "twice", "notes", "top"];
    let printed: String = views
        .map(|view| state.succeed(&["cat", "DIR", view]))
        .concat();
    assert!(printed == template().views, "{}", &printed[..400]);

    let csv = state.succeed(&["cat", "DIR", "People", "--format", "csv"]);
    assert!(csv.starts_with("id,team,points\n"), "{csv}");
    let expected = "1,red,10\n2,blue,\n3,red,32\n4,blue,7\n5,green,11\n6,red,1\nid,team,points\n";
    assert_eq!(sorted_lines(&csv), sorted_lines(expected));
    let first = &state.uuids()[0];
    let json = state.succeed(&["cat", "DIR", "teams", "-c", first, "--format", "json"]);
    let expected = "{\"team\":\"blue\",\"people\":2,\"points\":7}\n{\"team\":\"red\",\"people\":2,\"points\":42}";
    assert_eq!(sorted_lines(&json), sorted_lines(expected));
    let log = state.succeed(&["cat", "DIR", "log", "--format", "csv"]);
    let source = fs::read_to_string(program_file().with_file_name("log.csv")).unwrap();
    let expected = format!("{source}id,note\n");
    assert!(
        sorted_lines(&log) == sorted_lines(&expected),
        "{}",
        &log[..400]
    );
    assert_has(
        &state.succeed(&["cat", "DIR", "silent"]),
        &["silent (0 rows)", "| x |"],
    );
    assert_eq!(state.succeed(&["cat", "DIR", "silent", "-f", "csv"]), "x\n");

    let error = state.fail(&["cat", "DIR", "everybody"]);
    assert_has(
        &error,
        &["everybody", "not materialized", "CREATE MATERIALIZED VIEW"],
    );
    let error = state.fail(&["cat", "DIR", "nothing"]);
    assert_has(
        &error,
        &["no table or view `nothing`", "people, silent, everybody"],
    );
    state.fail(&["cat", "DIR", "top", "--checkpoint", first]);
}

#[test]
fn sql_answers_over_tables_and_views() {
    let state = State::new();
    let query = "SELECT t.team, COUNT(l.id) AS notes FROM teams t JOIN log l ON l.id < t.people GROUP BY t.team ORDER BY t.team";
    let answer = state.succeed(&["sql", "DIR", query, "--format", "csv"]);
    assert_eq!(answer, "team,notes\nblue,2\ngreen,1\nred,3\n");
    let first = &state.uuids()[0];
    let old = [
        "sql",
        "DIR",
        query,
        "--format",
        "json",
        "--checkpoint",
        first,
    ];
    assert_eq!(
        state.succeed(&old),
        "{\"team\":\"blue\",\"notes\":2}\n{\"team\":\"red\",\"notes\":2}\n"
    );
    let table = state.succeed(&["sql", "DIR", "SELECT COUNT(*) AS n FROM silent"]);
    assert_has(&table, &["| n |", "| 0 |", "1 row\n"]);
    let error = state.fail(&["sql", "DIR", "SELECT * FROM everybody"]);
    assert_has(&error, &["error: Planning error", "not materialized"]);
    state.fail(&["sql", "DIR", "SELECT"]);
    assert_has(
        &state.fail(&["sql", "DIR", "SELECT 1/0 FROM teams"]),
        &["zero"],
    );
}

#[test]
fn export_writes_one_file_per_relation() {
    let state = State::new();
    let out = state.folder.path().join("out");
    let target = out.to_str().unwrap();
    let said = state.succeed(&["export", "DIR", target]);
    let mut names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let relations = ["log", "notes", "people", "silent", "teams", "top", "twice"];
    assert_eq!(names, relations.map(|name| format!("{name}.parquet")));
    assert_has(
        &said,
        &["log.parquet: 5,000 rows", "silent.parquet: 0 rows"],
    );
    let file = fs::read(out.join("log.parquet")).unwrap();
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));

    let error = state.fail(&["export", "DIR", target, "teams", "log"]);
    assert_has(
        &error,
        &["teams.parquet", "is there already", "choose another folder"],
    );
    state.succeed(&["export", "DIR", target, "--format", "csv", "TEAMS"]);
    let csv = fs::read_to_string(out.join("teams.csv")).unwrap();
    assert_eq!(
        csv,
        state.succeed(&["cat", "DIR", "teams", "--format", "csv"])
    );
    state.succeed(&["export", "DIR", target, "--format", "json", "teams"]);
    let json = fs::read_to_string(out.join("teams.json")).unwrap();
    assert_eq!(
        json,
        state.succeed(&["cat", "DIR", "teams", "--format", "json"])
    );
    state.succeed(&["export", "DIR", target, "--format", "arrow", "log"]);
    let arrow = fs::File::open(out.join("log.arrow")).unwrap();
    let reader = arrow::ipc::reader::FileReader::try_new(arrow, None).unwrap();
    let rows: usize = reader.map(|rows| rows.unwrap().num_rows()).sum();
    assert_eq!(rows, LOG_ROWS);
    state.fail(&["export", "DIR", target, "everybody"]);
    assert!(!out.join("everybody.parquet").exists());
}

#[test]
fn du_counts_every_byte_once() {
    let state = State::new();
    let uuids = state.uuids();
    state.succeed(&["pin", "DIR", &uuids[0]]);
    let usage = state.json(&["du", "DIR"]);
    assert_eq!(usage["total_bytes"], bytes_below(&state.root()));
    let [first, last] = [0, 1].map(|number| usage["checkpoints"][number].clone());
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
    for checkpoint in [&first, &last] {
        let sum = number(checkpoint, "unique_bytes") + number(checkpoint, "shared_bytes");
        assert_eq!(sum, number(checkpoint, "total_bytes"));
    }
    assert!(number(&first, "shared_bytes") > 0);
    assert_eq!(first["pinned_bytes"], first["total_bytes"]);
    assert_eq!(last["pinned_bytes"], last["shared_bytes"]);
    assert_eq!(
        number(&usage, "checkpoints_bytes"),
        number(&first, "total_bytes") + number(&last, "unique_bytes")
    );
    let text = state.succeed(&["du", "DIR"]);
    assert_has(
        &text,
        &[
            "UNIQUE",
            "SHARED",
            "kept by pins and names alone",
            "total\n",
        ],
    );

    // What is given back is what was said.
    let freed = number(&last, "unique_bytes");
    let removed = state.succeed(&["rm", "DIR", &uuids[1]]);
    assert_has(&removed, &[&uuids[1], "given back"]);
    let after = state.json(&["du", "DIR"]);
    assert_eq!(
        number(&after, "checkpoints_bytes"),
        number(&usage, "checkpoints_bytes") - freed
    );
    assert_eq!(after["total_bytes"], bytes_below(&state.root()));
}

#[test]
fn diff_tells_what_happened_between() {
    let state = State::new();
    let uuids = state.uuids();
    let diff = state.json(&["diff", "DIR", &uuids[0], "latest"]);
    assert_eq!(diff["records"], 2);
    assert!(diff["steps"].as_i64().unwrap() > 0);
    assert_eq!(
        diff["program"]["program_diff"]["added_views"],
        json!(["top"])
    );
    assert_eq!(
        diff["program"]["added_input_connectors"],
        json!(["people.more"])
    );
    let changed = diff["changed_relations"].as_array().unwrap().iter();
    let changed: Vec<&str> = changed.map(|it| it["relation"].as_str().unwrap()).collect();
    assert_has(&changed.join(" "), &["people", "teams", "twice"]);
    assert!(!changed.contains(&"silent"));
    assert_eq!(diff["inputs"].as_array().unwrap().len(), 1);
    assert_eq!(diff["inputs"][0]["input"], "people.more");
    assert_eq!(diff["inputs"][0]["position_a"], Value::Null);
    assert_eq!(diff["inputs"][0]["position_b"]["records"], 2);
    let usage = state.json(&["du", "DIR"]);
    assert_eq!(
        diff["shared"]["bytes"],
        usage["checkpoints"][0]["shared_bytes"]
    );

    let text = state.succeed(&["diff", "DIR", &uuids[0], "latest"]);
    assert_has(
        &text,
        &[
            "+2 records",
            "new views: top",
            "people.more",
            "only in A",
            "only in B",
            "shared",
        ],
    );
    let back = state.json(&["diff", "DIR", "latest", &uuids[0]]);
    assert_eq!(back["records"], -2);
    assert_eq!(back["only_a"], diff["only_b"]);
    let same = state.json(&["diff", "DIR", "latest", "latest"]);
    assert_eq!(
        (&same["only_a"]["bytes"], &same["only_b"]["bytes"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn a_fork_lives_its_own_life() {
    let state = State::new();
    let before = state.contents();
    let fork = State {
        folder: tempfile::tempdir().unwrap(),
    };
    let source = state.root();
    let target = fork.root();
    let said = tool(&source, &["fork", "DIR", target.to_str().unwrap()]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_has(text(&said.stdout), &[&state.uuids()[1], "shared with"]);
    assert_eq!(fork.uuids(), state.uuids()[1..]);
    let shared = before.keys().filter_map(|path| {
        let other = target.join(path.strip_prefix(&source).unwrap());
        let inode = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
        (inode(&other)? == inode(path)?).then_some(())
    });
    assert!(shared.count() >= 5, "files are shared, not copied");

    // It goes on with new rows; the original does not notice.
    let views = run_once(&program_file(), &target, "2");
    assert!(views == template().views, "a fork has the same views");
    let changed = changed_program().replace("more", "other");
    let file = program_file().with_file_name("fork.sql");
    fs::write(&file, changed).unwrap();
    fs::write(file.with_file_name("other.csv"), "7,red,100\n").unwrap();
    let views = run_once(&file, &target, "1");
    assert_has(&views[..400], &["| red   | 4      | 143    |"]);
    assert!(state.contents() == before, "the original is as it was");
    state.succeed(&["verify", "DIR", "--all"]);
    fork.succeed(&["verify", "DIR", "--all"]);

    let error = state.fail(&["fork", "DIR", target.to_str().unwrap()]);
    assert_has(&error, &["is not empty", "choose an empty directory"]);
}

#[test]
fn gc_does_what_its_plan_says() {
    let state = State::new();
    let uuids = state.uuids();
    let stray = state
        .root()
        .join("w0-00000000-0000-7000-8000-000000000000.feldera");
    fs::write(&stray, [0; 100]).unwrap();
    fs::write(state.root().join("notes.txt"), "mine").unwrap();
    let before = state.contents();
    let plan = state.succeed(&["gc", "DIR", "--dry-run", "--retain", "1"]);
    assert_has(
        &plan,
        &[
            &format!("drop checkpoint {}", uuids[0]),
            "delete file w0-00000000-0000-7000-8000-000000000000.feldera (100 bytes)",
            "leave notes.txt: not ours",
            "nothing was deleted",
        ],
    );
    assert!(state.contents() == before, "a dry run changes nothing");
    let planned = state.json(&["gc", "DIR", "--dry-run", "--retain", "1"]);
    assert_eq!(planned["executed"], Value::Null);

    // A pin outlives retention.
    state.succeed(&["pin", "DIR", &uuids[0]]);
    let done = state.json(&["gc", "DIR", "--retain", "1"]);
    assert_eq!(done["plan"]["drop"], json!([]));
    assert_eq!(done["executed"]["freed_bytes"], 100);
    assert!(!stray.exists() && state.root().join("notes.txt").exists());
    assert_eq!(state.uuids(), uuids);
    state.succeed(&["unpin", "DIR", &uuids[0]]);
    let done = state.json(&["gc", "DIR", "--retain", "1"]);
    assert_eq!(done["plan"]["delete_folders"][0]["uuid"], uuids[0]);
    assert_eq!(done["plan"]["freed_bytes"], done["executed"]["freed_bytes"]);
    assert_eq!(state.uuids(), uuids[1..]);
    assert_has(&state.succeed(&["gc", "DIR"]), &["nothing to delete"]);
    state.succeed(&["verify", "DIR", "--all"]);
}

#[test]
fn pins_protect_and_the_last_checkpoint_needs_force() {
    let state = State::new();
    let uuids = state.uuids();
    state.succeed(&["pin", "DIR", &uuids[0]]);
    let entry = &state.json(&["ls", "DIR"])["checkpoints"][0];
    assert_eq!(entry["pinned"], true);
    assert_has(
        &state.fail(&["rm", "DIR", &uuids[0]]),
        &["is pinned", "unpin it first"],
    );
    state.succeed(&["unpin", "DIR", &uuids[0]]);
    state.succeed(&["rm", "DIR", &uuids[0]]);
    assert_has(
        &state.fail(&["rm", "DIR", "latest"]),
        &["last usable one", "--force"],
    );
    state.succeed(&["rm", "DIR", "latest", "--force"]);
    assert!(state.uuids().is_empty());
    assert_has(&state.succeed(&["ls", "DIR"]), &["no checkpoint", "yet"]);
    assert_has(&state.succeed(&["verify", "DIR"]), &["no checkpoint"]);
    for arguments in [["show", "DIR"], ["pin", "DIR"]] {
        let error = state.fail(&[&arguments, ["latest"].as_slice()].concat());
        assert_has(&error, &["no checkpoint yet", "highwater run --storage"]);
    }
}

/// What a flipped byte in this file should lead to.
fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    let position = position.min(bytes.len() - 1);
    bytes[position] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn verify_names_the_file_whose_byte_was_flipped() {
    let state = State::new();
    let good = state.succeed(&["verify", "DIR", "--all"]);
    assert_eq!(good.matches(": good: ").count(), 2, "{good}");
    let uuid = &state.uuids()[1];
    let files = state.json(&["show", "DIR"]);
    let batch = files["files"]["batches"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let in_folder = |name: &str| format!("{uuid}/{name}");
    let kinds = [
        batch,
        in_folder("dependencies.json"),
        in_folder("state.json"),
        in_folder("pspine-0.dat"),
        in_folder("pspine-batches-1.dat"),
    ];
    for name in kinds {
        let path = state.root().join(&name);
        let intact = fs::read(&path).unwrap();
        for position in [0, 40, intact.len() / 2, intact.len() - 1] {
            flip(&path, position);
            let output = tool(&state.root(), &["verify", "DIR", uuid]);
            let said = text(&output.stdout);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{name} at {position}: {said}"
            );
            assert_has(
                said,
                &["DAMAGED", path.to_str().unwrap(), "put the files back"],
            );
            fs::write(&path, &intact).unwrap();
        }
    }
    let catalog = state.root().join("checkpoints.feldera");
    let intact = fs::read(&catalog).unwrap();
    for position in [20, 100, intact.len() / 2] {
        flip(&catalog, position);
        let error = state.fail(&["verify", "DIR"]);
        assert_has(&error, &["checkpoints.feldera", "put it back from a copy"]);
        fs::write(&catalog, &intact).unwrap();
    }
    assert_eq!(state.succeed(&["verify", "DIR", "--all"]), good);
}

#[test]
fn a_damaged_batch_is_named_by_every_tool_that_reads_it() {
    let state = State::new();
    let uuids = state.uuids();
    // The largest one has the log; what it flips is inside of a block.
    let files = state.json(&["show", "DIR", &uuids[0]]);
    let largest = files["files"]["batches"].as_array().unwrap().iter();
    let largest = largest
        .max_by_key(|file| file["size_bytes"].as_u64())
        .unwrap();
    let name = largest["name"].as_str().unwrap();
    let path = state.root().join(name);
    let intact = fs::read(&path).unwrap();
    for position in (1_000..intact.len() - 5_000).step_by(1_000) {
        flip(&path, position);
    }
    let named = path.to_str().unwrap();
    let out = state.folder.path().join("out");
    let target = out.to_str().unwrap();
    assert_has(
        &state.fail(&["cat", "DIR", "log", "-c", &uuids[0], "-f", "csv"]),
        &[named],
    );
    assert_has(
        &state.fail(&["sql", "DIR", "SELECT COUNT(*) FROM log", "-c", &uuids[0]]),
        &["feldera"],
    );
    assert_has(
        &state.fail(&["export", "DIR", target, "log", "-c", &uuids[0]]),
        &[named],
    );
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        0,
        "nothing looks like a result"
    );
    assert_has(
        &state.succeed(&["show", "DIR", &uuids[0]]),
        &["unreadable", named],
    );
    let verified = tool(
        &state.root(),
        &["verify", "DIR", "--all", "--format", "json"],
    );
    assert_eq!(verified.status.code(), Some(1));
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified["good"], false);
    let damages = verified["checkpoints"][0]["damages"].as_array().unwrap();
    assert_eq!(damages.len(), 1, "each file once: {damages:?}");
    assert_eq!(damages[0]["file"], named);
}

#[test]
fn what_is_missing_or_short_makes_a_checkpoint_unusable_with_the_reason() {
    let state = State::new();
    let uuids = state.uuids();
    let before = state.contents();
    let record = state.root().join(&uuids[1]).join("state.json");
    let intact = fs::read(&record).unwrap();
    fs::write(&record, &intact[..10]).unwrap();
    let list = state.succeed(&["ls", "DIR"]);
    assert_has(&list, &["unusable: ", "state.json", "has 10 bytes"]);
    let entry = &state.json(&["ls", "DIR"])["checkpoints"][1];
    assert_eq!(entry["usable"], false);
    assert_has(entry["reason"].as_str().unwrap(), &["state.json"]);
    assert_has(
        &state.succeed(&["show", "DIR", &uuids[1]]),
        &["unusable", "cannot be read", "pspine-1.dat"],
    );

    // The one before is the latest usable one; nobody is left in the dark.
    let output = tool(&state.root(), &["cat", "DIR", "teams"]);
    assert!(output.status.success());
    assert_has(
        text(&output.stderr),
        &["warning", &uuids[1], "state.json", "the one before"],
    );
    assert_has(text(&output.stdout), &["teams (2 rows)"]);
    let output = tool(&state.root(), &["verify", "DIR"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert_has(
        said,
        &[
            &format!("{}: good", uuids[0]),
            &format!("{}: DAMAGED", uuids[1]),
        ],
    );
    assert_has(
        &state.fail(&["cat", "DIR", "teams", "-c", &uuids[1]]),
        &["marked unusable", "choose another"],
    );
    assert_has(
        &state.fail(&["fork", "DIR", "/nowhere/at/all", "-c", &uuids[1]]),
        &["unusable"],
    );

    // With the first one gone too, there is nothing to choose from.
    fs::remove_file(state.root().join(&uuids[0]).join("pspine-0.dat")).unwrap();
    let error = state.fail(&["cat", "DIR", "teams"]);
    assert_has(
        &error,
        &[
            "no checkpoint is usable",
            "pspine-0.dat",
            "put the files back",
        ],
    );
    fs::write(&record, &intact).unwrap();
    assert_has(
        &state.succeed(&["cat", "DIR", "teams"]),
        &["teams (3 rows)"],
    );
    let after = state.contents();
    assert!(
        after.iter().all(|(path, bytes)| before[path] == *bytes),
        "reading changes nothing"
    );
}

#[test]
fn a_mark_of_damage_goes_when_the_file_is_back() {
    let state = State::new();
    let uuids = state.uuids();
    let file = state.root().join(&uuids[0]).join("pspine-0.dat");
    let intact = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    // A change writes the mark down.
    state.succeed(&["pin", "DIR", "latest"]);
    fs::write(&file, &intact[1..]).unwrap();
    assert_has(
        &state.fail(&["readmit", "DIR", &uuids[0]]),
        &["still damaged", "pspine-0.dat"],
    );
    fs::write(&file, &intact).unwrap();
    let output = tool(&state.root(), &["verify", "DIR", "--all"]);
    assert_eq!(output.status.code(), Some(1));
    assert_has(
        text(&output.stdout),
        &["marked unusable", "highwater checkpoint readmit"],
    );
    assert_has(
        &state.succeed(&["readmit", "DIR", &uuids[0]]),
        &["usable again"],
    );
    state.succeed(&["verify", "DIR", "--all"]);
    assert_has(
        &state.succeed(&["readmit", "DIR", &uuids[0]]),
        &["is not marked"],
    );
}

#[test]
fn roots_that_are_none_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tools: [&[&str]; 14] = [
        &["ls", "DIR"],
        &["show", "DIR"],
        &["verify", "DIR"],
        &["du", "DIR"],
        &["diff", "DIR", "a", "b"],
        &["cat", "DIR", "t"],
        &["sql", "DIR", "SELECT 1"],
        &["export", "DIR", "/nowhere/at/all"],
        &["pin", "DIR", "latest"],
        &["unpin", "DIR", "latest"],
        &["name", "DIR", "latest", "it"],
        &["rm", "DIR", "latest"],
        &["fork", "DIR", "/nowhere/at/all"],
        &["gc", "DIR"],
    ];
    let check = |root: &Path, parts: &[&str]| {
        for arguments in tools {
            let output = tool(root, arguments);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
            assert_has(error, &[root.to_str().unwrap()]);
            assert_has(error, parts);
        }
    };
    let missing = folder.path().join("missing");
    check(
        &missing,
        &["No such file", "choose a directory that holds checkpoints"],
    );
    assert!(!missing.exists());
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    check(
        &empty,
        &[
            "checkpoints.feldera",
            "choose a directory that holds checkpoints",
        ],
    );
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "mine").unwrap();
    check(&foreign, &["not a storage directory", "thesis.txt"]);
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    check(&foreign.join("thesis.txt"), &["ot a directory"]);
    let lost = State::new();
    fs::remove_file(lost.root().join("checkpoints.feldera")).unwrap();
    check(
        &lost.root(),
        &["no catalog", "nothing was deleted", "put the catalog back"],
    );
}

#[test]
fn c16_beside_a_running_engine_one_reads_and_does_not_change() {
    let state = State::new();
    let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["run", "--bind", "127.0.0.1:0", "--paused", "--storage"])
        .args([state.root(), program_file()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut messages = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let is_up = |line: &String| line.starts_with("serving ");
    messages.by_ref().map(Result::unwrap).find(is_up).unwrap();
    let uuids = state.uuids();
    let reading: [&[&str]; 5] = [
        &["show", "DIR"],
        &["verify", "DIR", "--all"],
        &["du", "DIR"],
        &["cat", "DIR", "teams"],
        &["sql", "DIR", "SELECT * FROM teams"],
    ];
    for arguments in reading {
        state.succeed(arguments);
    }
    let fork = state.folder.path().join("fork");
    state.succeed(&["fork", "DIR", fork.to_str().unwrap(), "-c", &uuids[0]]);
    let process = format!("process {}", running.0.id());
    let changing: [&[&str]; 7] = [
        &["pin", "DIR", "latest"],
        &["unpin", "DIR", "latest"],
        &["name", "DIR", "latest", "it"],
        &["rm", "DIR", &uuids[0]],
        &["readmit", "DIR", "latest"],
        &["gc", "DIR"],
        &["gc", "DIR", "--dry-run"],
    ];
    for arguments in changing {
        assert_has(&state.fail(arguments), &[&process, "stop it"]);
    }
    assert_eq!(state.uuids(), uuids);
}

/// One that ends soon, as after `kill -9`, is waited for; one that goes on is named.
#[test]
fn c16_a_process_that_is_ending_is_waited_for() {
    let state = State::new();
    let start = || {
        let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["run", "--bind", "127.0.0.1:0", "--paused", "--storage"])
            .args([state.root(), program_file()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let messages = BufReader::new(running.0.stderr.take().unwrap()).lines();
        (running, messages.map(Result::unwrap))
    };
    let is_up = |line: &String| line.starts_with("serving ");
    let (mut first, mut messages) = start();
    messages.find(is_up).unwrap();
    let process = format!("process {}", first.0.id());
    let (mut refused, messages) = start();
    assert_eq!(refused.0.wait().unwrap().code(), Some(1));
    let said: Vec<String> = messages.collect();
    assert_has(said.last().unwrap(), &["error", &process, "stop it"]);
    let (_second, mut messages) = start();
    assert_has(&messages.next().unwrap(), &[&process, "waiting"]);
    first.0.kill().unwrap();
    messages.find(is_up).unwrap();
}

#[test]
fn a_root_that_the_system_refuses_is_one_plain_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("x".repeat(300));
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["run", "--once", "--storage"])
        .arg(&root)
        .arg(program_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "error: {}: cannot list: File name too long (os error 36)\n",
        root.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn help_teaches_by_examples() {
    let help = tool(Path::new(""), &["--help"]);
    assert_has(
        text(&help.stdout),
        &["latest", "checkpoint fork ./state", "docs/checkpoints.md"],
    );
    for name in [
        "show", "verify", "diff", "cat", "sql", "export", "name", "fork", "gc",
    ] {
        let help = tool(Path::new(""), &[name, "--help"]);
        assert_has(
            text(&help.stdout),
            &["Example", &format!("highwater checkpoint {name} ./state")],
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let state = State::new();
    for format in ["csv", "json", "text"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["checkpoint", "cat"])
            .arg(state.root())
            .args(["log", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{format}: {}",
            text(&output.stderr)
        );
    }
}
