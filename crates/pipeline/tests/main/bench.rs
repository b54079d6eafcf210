//! A small program and what tests do with it.
//!
//! Table `accounts(id, balance)` with key `id`; table `log(id, balance)` without key; views `total`
//! (count and sum of accounts, materialized), `copy` (of the log, not materialized), and `single`
//! (fails when the log has two rows of one id).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use highwater_circuit::builder::PlanBuilder;
use highwater_circuit::dataflow::RelationRef;
use highwater_circuit::plan::{
    AggregateCall, AggregateSpec, LinearCall, LinearFunction, NodeIndex,
};
use highwater_connectors::changes::ParsedChanges;
use highwater_connectors::clock::SystemClock;
use highwater_connectors::decode::{Decoded, StreamPosition};
use highwater_connectors::error::RowErrors;
use highwater_connectors::table::InputTable;
use highwater_pipeline::{
    Contents, Definition, HttpInput, Pipeline, Settings, TableSetup, ViewSetup,
};
use highwater_types::connector::{ConnectorConfig, Direction, parse_connectors};
use highwater_types::relation::{self, ColumnType, Relation, SqlType};
use highwater_zset::{Delta, RowHasher};

pub(crate) const ACCOUNTS: usize = 0;
pub(crate) const LOG: usize = 1;
pub(crate) const TOTAL: RelationRef = RelationRef::View(0);
pub(crate) const COPY: RelationRef = RelationRef::View(1);

/// What tests vary.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) accounts_connectors: &'static str,
    pub(crate) log_connectors: String,
    pub(crate) copy_connectors: String,
    pub(crate) log_is_append_only: bool,
    pub(crate) copy_is_kept: bool,
    pub(crate) with_single: bool,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("balance", DataType::Int64, true),
    ]))
}

fn relation(name: &str, columns: &[&str], key: Option<&str>) -> Relation {
    let field = |name: &&str| relation::Field {
        name: (*name).to_owned(),
        case_sensitive: false,
        columntype: ColumnType {
            sql_type: SqlType::BigInt,
            nullable: true,
            precision: None,
            scale: None,
            component: None,
            fields: None,
            key: None,
            value: None,
        },
        default: None,
        unused: false,
    };
    Relation {
        name: name.to_owned(),
        case_sensitive: false,
        fields: columns.iter().map(field).collect(),
        materialized: true,
        primary_key: key.map(|key| vec![key.to_owned()]),
        properties: Default::default(),
    }
}

fn total(builder: &mut PlanBuilder, accounts: NodeIndex) -> NodeIndex {
    let function = LinearFunction::Sum {
        argument: DataType::Int64,
        result: DataType::Int64,
    };
    let calls = vec![
        LinearCall {
            function: LinearFunction::Count,
            argument: None,
        },
        LinearCall {
            function: function.clone(),
            argument: Some(1),
        },
    ];
    let partial = builder.partial_aggregate(accounts, Vec::new(), calls);
    let spec = AggregateSpec {
        group_columns: 0,
        calls: vec![
            AggregateCall::Linear {
                input: 0,
                call: 0,
                function: LinearFunction::Count,
            },
            AggregateCall::Linear {
                input: 0,
                call: 1,
                function,
            },
        ],
        is_global: true,
    };
    builder.aggregate(vec![partial], spec, &["count".to_owned(), "sum".to_owned()])
}

fn connectors(text: &str, direction: Direction) -> Vec<ConnectorConfig> {
    if text.is_empty() {
        return Vec::new();
    }
    parse_connectors(text, direction).unwrap()
}

pub(crate) fn definition(program: &Program) -> Definition {
    let mut builder = PlanBuilder::new(RowHasher::new(0));
    let accounts = builder.table("accounts", &schema(), vec![0], true, "");
    let log = builder.table("log", &schema(), Vec::new(), false, "");
    builder.set_owner("total");
    let total = total(&mut builder, accounts);
    builder.view("total", total, true);
    builder.view("copy", log, program.copy_is_kept);
    let mut views = vec![
        ViewSetup {
            relation: relation("total", &["count", "sum"], None),
            connectors: Vec::new(),
        },
        ViewSetup {
            relation: relation("copy", &["id", "balance"], None),
            connectors: connectors(&program.copy_connectors, Direction::Output),
        },
    ];
    if program.with_single {
        let single = builder.single_row(log, vec![0]);
        builder.view("single", single, false);
        views.push(ViewSetup {
            relation: relation("single", &["id", "balance"], None),
            connectors: Vec::new(),
        });
    }
    let table = |name: &str, key: Option<&str>, append_only, text: &str| TableSetup {
        input: InputTable::new(
            relation(name, &["id", "balance"], key),
            schema(),
            Vec::new(),
        )
        .unwrap(),
        append_only,
        connectors: connectors(text, Direction::Input),
    };
    Definition {
        plan: Arc::new(builder.finish()),
        tables: vec![
            table("accounts", Some("id"), false, program.accounts_connectors),
            table(
                "log",
                None,
                program.log_is_append_only,
                &program.log_connectors,
            ),
        ],
        views,
    }
}

/// A running pipeline.
pub(crate) async fn start(program: &Program, settings: Settings) -> Pipeline {
    let clock = Arc::new(SystemClock::new());
    let pipeline = Pipeline::start(definition(program), settings, clock).unwrap();
    pipeline.resume().await.unwrap();
    pipeline
}

/// `(id, balance, weight)` as a decoded piece of a request.
pub(crate) fn piece(rows: &[(i64, i64, i64)]) -> Decoded {
    let column = |pick: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(pick)))
    };
    let columns = vec![column(|row| row.0), column(|row| row.1)];
    Decoded {
        changes: ParsedChanges {
            rows: RecordBatch::try_new(schema(), columns).unwrap(),
            weights: rows.iter().map(|row| row.2).collect(),
            partial: None,
        },
        errors: RowErrors::default(),
        bytes: 10 * rows.len() as u64,
        position: StreamPosition::default(),
    }
}

/// Pushes on a thread that may block.
pub(crate) async fn push(input: &HttpInput, rows: &[(i64, i64, i64)]) {
    let (input, piece) = (input.clone(), piece(rows));
    let pushed = tokio::task::spawn_blocking(move || input.push(piece, 0, false));
    assert!(pushed.await.unwrap().unwrap().is_empty());
}

/// Waits for a condition; fails after a long time.
pub(crate) async fn eventually<F>(what: &str, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn completed(pipeline: &Pipeline, input: &HttpInput) {
    let token = pipeline.http_token(input).await.unwrap();
    eventually("the token is complete", || async {
        pipeline.completion(&token).await.unwrap().1
    })
    .await;
}

/// What [`total_of`] is for accounts `0..count`, each with a balance of ten times its id.
pub(crate) fn expected_total(count: i64) -> (i64, Option<i64>) {
    (count, (count > 0).then(|| 10 * count * (count - 1) / 2))
}

/// Rows of deltas with their weights, zeros left out, sorted.
pub(crate) fn rows_of(deltas: &[Delta]) -> Vec<(Vec<Option<i64>>, i64)> {
    let mut sums = std::collections::BTreeMap::new();
    for delta in deltas {
        for row in 0..delta.len() {
            let values = delta.rows().columns().iter().map(|column| {
                let column = column.as_primitive::<Int64Type>();
                arrow::array::Array::is_valid(column, row).then(|| column.value(row))
            });
            *sums.entry(values.collect::<Vec<_>>()).or_insert(0) += delta.weights()[row];
        }
    }
    sums.into_iter()
        .filter(|&(_, weight)| weight != 0)
        .collect()
}

/// The contents of a relation.
pub(crate) fn contents_of(
    contents: &Contents,
    relation: RelationRef,
) -> Vec<(Vec<Option<i64>>, i64)> {
    let snapshots = contents.snapshots(relation);
    let deltas: Vec<Delta> = snapshots.iter().flat_map(|it| it.scan().unwrap()).collect();
    rows_of(&deltas)
}

/// `(count, sum)` of the accounts.
pub(crate) fn total_of(contents: &Contents) -> (i64, Option<i64>) {
    let rows = contents_of(contents, TOTAL);
    assert_eq!(rows.len(), 1, "a global aggregate has one row: {rows:?}");
    assert_eq!(rows[0].1, 1);
    (rows[0].0[0].unwrap(), rows[0].0[1])
}
