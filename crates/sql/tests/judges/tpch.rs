//! TPC-H's 22 queries as views, held while rows are inserted and deleted in random chunks; each
//! view is compared with DataFusion's batch answer after every chunk.
//!
//! The data are drawn here, with the vocabulary of the specification narrowed so that at this
//! small scale (about 3,000 rows) nearly every query finds something.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use highwater_sql::{CompileOptions, compile};
use highwater_zset::RowHasher;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::batch::{ModelTable, answers};
use crate::rows::compare;
use crate::steps::{self, Change, Step};
use crate::subject::Subject;

const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
/// Nations that the queries name, so that their joins find rows.
const BUSY_NATIONS: [usize; 7] = [2, 3, 6, 7, 8, 12, 20];

struct Draw {
    random: ChaCha8Rng,
}

impl Draw {
    fn number(&mut self, low: i64, high: i64) -> i64 {
        self.random.random_range(low..=high)
    }

    fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.choose(&mut self.random).expect("words")
    }

    fn cents(&mut self, low: i64, high: i64) -> String {
        let cents = self.number(low, high);
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    /// A day of 1992-01-01 … 1998-11-30, as days since 1992-01-01.
    fn day(&mut self) -> i64 {
        self.number(0, 2_525)
    }

    fn nation(&mut self) -> usize {
        if self.random.random_bool(0.8) {
            *BUSY_NATIONS.choose(&mut self.random).expect("nations")
        } else {
            self.random.random_range(0..NATIONS.len())
        }
    }
}

fn date(day: i64) -> String {
    let first = chrono::NaiveDate::from_ymd_opt(1992, 1, 1).expect("a date");
    (first + chrono::Duration::days(day)).to_string()
}

type TextRow = Vec<(&'static str, String)>;

fn region_rows() -> Vec<TextRow> {
    let row = |(key, name): (usize, &&str)| {
        vec![
            ("r_regionkey", key.to_string()),
            ("r_name", (*name).to_owned()),
            ("r_comment", String::new()),
        ]
    };
    REGIONS.iter().enumerate().map(row).collect()
}

fn nation_rows() -> Vec<TextRow> {
    let row = |(key, (name, region)): (usize, &(&str, usize))| {
        vec![
            ("n_nationkey", key.to_string()),
            ("n_name", (*name).to_owned()),
            ("n_regionkey", region.to_string()),
            ("n_comment", String::new()),
        ]
    };
    NATIONS.iter().enumerate().map(row).collect()
}

fn phone(draw: &mut Draw, nation: usize) -> String {
    format!(
        "{}-{:03}-{:03}-{:04}",
        nation + 10,
        draw.number(100, 999),
        draw.number(100, 999),
        draw.number(1000, 9999)
    )
}

fn supplier_row(draw: &mut Draw, key: i64) -> TextRow {
    let nation = draw.nation();
    vec![
        ("s_suppkey", key.to_string()),
        ("s_name", format!("Supplier#{key:09}")),
        ("s_address", format!("address {key}")),
        ("s_nationkey", nation.to_string()),
        ("s_phone", phone(draw, nation)),
        ("s_acctbal", draw.cents(0, 999_999)),
        (
            "s_comment",
            draw.word(&["quick", "Customer asks Complaints", "fine"])
                .to_owned(),
        ),
    ]
}

fn customer_row(draw: &mut Draw, key: i64) -> TextRow {
    let nation = draw.nation();
    vec![
        ("c_custkey", key.to_string()),
        ("c_name", format!("Customer#{key:09}")),
        ("c_address", format!("address {key}")),
        ("c_nationkey", nation.to_string()),
        ("c_phone", phone(draw, nation)),
        ("c_acctbal", draw.cents(0, 999_999)),
        (
            "c_mktsegment",
            draw.word(&["BUILDING", "AUTOMOBILE", "MACHINERY"])
                .to_owned(),
        ),
        ("c_comment", "no comment".to_owned()),
    ]
}

fn part_row(draw: &mut Draw, key: i64) -> TextRow {
    let name = format!(
        "{} {} part",
        draw.word(&["forest", "green", "blush"]),
        draw.word(&["green", "red", "sky"])
    );
    let kind = draw.word(&[
        "ECONOMY ANODIZED STEEL",
        "PROMO BURNISHED BRASS",
        "LARGE PLATED BRASS",
        "MEDIUM POLISHED TIN",
    ]);
    let container = draw.word(&[
        "MED BOX", "SM CASE", "SM BOX", "MED BAG", "LG CASE", "LG BOX",
    ]);
    vec![
        ("p_partkey", key.to_string()),
        ("p_name", name),
        ("p_mfgr", "Manufacturer#1".to_owned()),
        (
            "p_brand",
            draw.word(&["Brand#12", "Brand#23", "Brand#34"]).to_owned(),
        ),
        ("p_type", kind.to_owned()),
        (
            "p_size",
            draw.word(&[
                "49", "14", "23", "45", "19", "3", "36", "9", "15", "15", "15", "1", "5",
            ])
            .to_owned(),
        ),
        ("p_container", container.to_owned()),
        ("p_retailprice", draw.cents(90_000, 190_000)),
        ("p_comment", String::new()),
    ]
}

fn partsupp_row(draw: &mut Draw, part: i64, supplier: i64) -> TextRow {
    vec![
        ("ps_partkey", part.to_string()),
        ("ps_suppkey", supplier.to_string()),
        ("ps_availqty", draw.number(1, 9999).to_string()),
        ("ps_supplycost", draw.cents(100, 100_000)),
        ("ps_comment", String::new()),
    ]
}

fn order_row(draw: &mut Draw, key: i64, customer: i64, day: i64) -> TextRow {
    vec![
        ("o_orderkey", key.to_string()),
        ("o_custkey", customer.to_string()),
        ("o_orderstatus", draw.word(&["F", "F", "O", "P"]).to_owned()),
        ("o_totalprice", draw.cents(100_000, 50_000_000)),
        ("o_orderdate", date(day)),
        (
            "o_orderpriority",
            draw.word(&["1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW"])
                .to_owned(),
        ),
        ("o_clerk", "Clerk#1".to_owned()),
        ("o_shippriority", "0".to_owned()),
        (
            "o_comment",
            draw.word(&["plain", "special packages requests", "final"])
                .to_owned(),
        ),
    ]
}

fn lineitem_row(
    draw: &mut Draw,
    order: i64,
    line: i64,
    order_day: i64,
    part: i64,
    supplier: i64,
) -> TextRow {
    let ship = order_day + draw.number(1, 121);
    let commit = order_day + draw.number(30, 90);
    let receipt = ship + draw.number(1, 30);
    vec![
        ("l_orderkey", order.to_string()),
        ("l_partkey", part.to_string()),
        ("l_suppkey", supplier.to_string()),
        ("l_linenumber", line.to_string()),
        ("l_quantity", draw.number(1, 50).to_string()),
        ("l_extendedprice", draw.cents(90_000, 9_000_000)),
        ("l_discount", format!("0.{:02}", draw.number(0, 10))),
        ("l_tax", format!("0.{:02}", draw.number(0, 8))),
        ("l_returnflag", draw.word(&["R", "A", "N"]).to_owned()),
        ("l_linestatus", draw.word(&["O", "F"]).to_owned()),
        ("l_shipdate", date(ship)),
        ("l_commitdate", date(commit)),
        ("l_receiptdate", date(receipt)),
        (
            "l_shipinstruct",
            draw.word(&["DELIVER IN PERSON", "NONE"]).to_owned(),
        ),
        (
            "l_shipmode",
            draw.word(&["AIR", "AIR REG", "MAIL", "SHIP", "TRUCK"])
                .to_owned(),
        ),
        ("l_comment", String::new()),
    ]
}

/// All rows, by table name.
fn database(draw: &mut Draw) -> Vec<(&'static str, Vec<TextRow>)> {
    let (suppliers, customers, parts, orders) = (20, 50, 60, 220);
    let supplier_rows = (1..=suppliers).map(|key| supplier_row(draw, key)).collect();
    let customer_rows = (1..=customers).map(|key| customer_row(draw, key)).collect();
    let part_rows = (1..=parts).map(|key| part_row(draw, key)).collect();
    let mut partsupp_rows = Vec::new();
    for part in 1..=parts {
        for place in 0..4 {
            partsupp_rows.push(partsupp_row(draw, part, (part + place * 5) % suppliers + 1));
        }
    }
    let (mut order_rows, mut lineitem_rows) = (Vec::new(), Vec::new());
    for order in 1..=orders {
        let day = draw.day();
        let customer = draw.number(1, customers * 2 / 3);
        order_rows.push(order_row(draw, order, customer, day));
        for line in 1..=draw.number(1, 12) {
            let part = draw.number(1, parts);
            let supplier = (part + draw.number(0, 3) * 5) % suppliers + 1;
            lineitem_rows.push(lineitem_row(draw, order, line, day, part, supplier));
        }
    }
    vec![
        ("region", region_rows()),
        ("nation", nation_rows()),
        ("supplier", supplier_rows),
        ("customer", customer_rows),
        ("part", part_rows),
        ("partsupp", partsupp_rows),
        ("orders", order_rows),
        ("lineitem", lineitem_rows),
    ]
}

/// Values in the table's column order and types.
fn typed(model: &ModelTable, row: &TextRow) -> Vec<ScalarValue> {
    let value = |field: &Arc<Field>| {
        let text = row.iter().find(|(name, _)| *name == field.name());
        let (_, text) = text.unwrap_or_else(|| panic!("no value for {}", field.name()));
        let text: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let typed = cast(&text, field.data_type()).expect("a castable value");
        ScalarValue::try_from_array(&typed, 0).expect("a value")
    };
    model.schema.fields().iter().map(value).collect()
}

/// Random chunks: all rows arrive, a part of them leaves and some of these return.
fn chunks(draw: &mut Draw, models: &[ModelTable], count: usize) -> Vec<Step> {
    let mut insertions = Vec::new();
    for (name, rows) in database(draw) {
        let table = models
            .iter()
            .position(|model| model.name == name)
            .expect("a table of the schema");
        for row in &rows {
            insertions.push(Change {
                table,
                row: typed(&models[table], row),
                is_insertion: true,
            });
        }
    }
    insertions.shuffle(&mut draw.random);
    let mut steps: Vec<Step> = vec![Vec::new(); count];
    for change in insertions {
        let arrival = draw.random.random_range(0..count);
        steps[arrival].push(change.clone());
        if draw.random.random_bool(0.2) && arrival + 1 < count {
            let departure = draw.random.random_range(arrival + 1..count);
            steps[departure].push(Change {
                is_insertion: false,
                ..change.clone()
            });
            if draw.random.random_bool(0.3) && departure + 1 < count {
                steps[count - 1].push(change);
            }
        }
    }
    steps
}

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/tpch")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn views() -> Vec<(String, String)> {
    let view = |number: usize| {
        let query = file(&format!("q{number:02}.sql"));
        (
            format!("q{number:02}"),
            query.trim().trim_end_matches(';').to_owned(),
        )
    };
    (1..=22).map(view).collect()
}

#[test]
fn tpch_queries_hold_incrementally() {
    let views = views();
    let mut sql = file("schema.sql");
    for (name, query) in &views {
        sql.push_str(&format!("\nCREATE MATERIALIZED VIEW {name} AS\n{query};\n"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut comparisons = 0;
    let mut rows_seen = vec![0; views.len()];
    for (workers, seed) in [(1, 11_u64), (2, 12), (3, 13)] {
        let hasher = RowHasher::new(seed);
        let program = compile(&sql, &CompileOptions { hasher }).unwrap_or_else(|diagnostics| {
            panic!(
                "{}",
                diagnostics
                    .iter()
                    .map(|one| one.render())
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        });
        let mut models: Vec<ModelTable> = program.tables.iter().map(model).collect();
        let mut draw = Draw {
            random: ChaCha8Rng::seed_from_u64(seed),
        };
        let steps = chunks(&mut draw, &models, 4);
        let mut subject =
            Subject::start(&sql, workers, hasher).unwrap_or_else(|error| panic!("{error}"));
        for (index, step) in steps.iter().enumerate() {
            let inputs = steps::run(&mut models, step);
            subject
                .step(inputs)
                .unwrap_or_else(|error| panic!("step {index}: {error}"));
            let expected = answers(&runtime, &models, &views)
                .unwrap_or_else(|error| panic!("DataFusion: {error}"));
            for (position, (name, _)) in views.iter().enumerate() {
                let actual = subject
                    .view_rows(name)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                compare(&expected[name], &actual).unwrap_or_else(|error| {
                    panic!("{name}, step {index}, {workers} workers, seed {seed}: {error}")
                });
                comparisons += 1;
                rows_seen[position] += actual.len();
            }
        }
    }
    let silent: Vec<&String> = views
        .iter()
        .zip(&rows_seen)
        .filter(|(_, rows)| **rows == 0)
        .map(|((name, _), _)| name)
        .collect();
    crate::report(&format!(
        "tpch: 22 queries, {comparisons} comparisons, rows seen per query {rows_seen:?}, always empty: {silent:?}"
    ));
    assert!(
        silent.is_empty(),
        "queries that never had a row, so that nothing was tested: {silent:?}"
    );
}

fn model(table: &highwater_sql::Table) -> ModelTable {
    let fields: Vec<_> = table
        .schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    ModelTable {
        name: table.relation.name.clone(),
        schema: Arc::new(Schema::new(fields)),
        primary_key: table.primary_key.clone(),
        rows: Vec::new(),
    }
}
