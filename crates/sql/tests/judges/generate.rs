//! Random programs: tables, and views of every construct, in SQL that means the same to DataFusion
//! and to us.
//!
//! Values stay small, so that no expression overflows, and doubles are multiples of 1/4, so that
//! sums are exact in any order. What DataFusion answers wrongly (`EXCEPT ALL`, `NOT IN` outside
//! conjunctions) has tests with known answers instead (`tests/sql`).

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Types that occur in random programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BigInt,
    Integer,
    Double,
    Decimal,
    Text,
    Boolean,
    Date,
    Timestamp,
    IntegerArray,
}

impl Kind {
    pub(crate) const SCALARS: [Self; 8] = [
        Self::BigInt,
        Self::Integer,
        Self::Double,
        Self::Decimal,
        Self::Text,
        Self::Boolean,
        Self::Date,
        Self::Timestamp,
    ];

    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::BigInt => "BIGINT",
            Self::Integer => "INT",
            Self::Double => "DOUBLE",
            Self::Decimal => "DECIMAL(10, 2)",
            Self::Text => "VARCHAR",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMP",
            Self::IntegerArray => "INT ARRAY",
        }
    }

    fn is_number(self) -> bool {
        matches!(
            self,
            Self::BigInt | Self::Integer | Self::Double | Self::Decimal
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The first columns, this many, are the primary key.
    pub(crate) key_columns: usize,
}

impl Table {
    pub(crate) fn create(&self) -> String {
        let mut items: Vec<String> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let not_null = if index < self.key_columns {
                " NOT NULL"
            } else {
                ""
            };
            items.push(format!("{} {}{not_null}", column.name, column.kind.sql()));
        }
        if self.key_columns > 0 {
            let key: Vec<_> = self.columns[..self.key_columns]
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            items.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        format!(
            "CREATE TABLE {} ({}) WITH ('materialized' = 'true');",
            self.name,
            items.join(", ")
        )
    }
}

/// A program in parts, so that both judges can use it.
#[derive(Clone, Debug)]
pub(crate) struct RandomProgram {
    pub(crate) tables: Vec<Table>,
    /// `(name, query)`; later views may read earlier ones.
    pub(crate) views: Vec<(String, String)>,
}

impl RandomProgram {
    pub(crate) fn sql(&self) -> String {
        let mut lines: Vec<String> = self.tables.iter().map(Table::create).collect();
        for (index, (name, query)) in self.views.iter().enumerate() {
            let kind = if index % 3 == 2 { "" } else { "MATERIALIZED " };
            lines.push(format!("CREATE {kind}VIEW {name} AS {query};"));
        }
        lines.join("\n")
    }
}

/// Draws a program.
pub(crate) fn program(random: &mut ChaCha8Rng, views: usize) -> RandomProgram {
    let tables: Vec<Table> = (0..random.random_range(1..=3))
        .map(|index| table(random, index))
        .collect();
    let mut generator = Generator {
        random,
        relations: Vec::new(),
        aliases: 0,
        joins: Vec::new(),
    };
    for table in &tables {
        generator
            .relations
            .push((table.name.clone(), table.columns.clone()));
    }
    let mut program = RandomProgram {
        tables,
        views: Vec::new(),
    };
    for index in 0..views {
        let (query, columns) = generator.query();
        let name = format!("v{index}");
        generator.relations.push((name.clone(), columns));
        program.views.push((name, query));
    }
    program
}

fn table(random: &mut ChaCha8Rng, index: usize) -> Table {
    let key_columns = *[0, 0, 1, 1, 2].choose(random).expect("not empty");
    let mut columns = vec![
        Column {
            name: "a".to_owned(),
            kind: Kind::BigInt,
        },
        Column {
            name: "b".to_owned(),
            kind: *[Kind::BigInt, Kind::Text]
                .choose(random)
                .expect("not empty"),
        },
    ];
    for extra in 0..random.random_range(1..=4) {
        let kind = *Kind::SCALARS.choose(random).expect("not empty");
        columns.push(Column {
            name: format!("c{extra}"),
            kind,
        });
    }
    if random.random_bool(0.25) {
        columns.push(Column {
            name: "list".to_owned(),
            kind: Kind::IntegerArray,
        });
    }
    Table {
        name: format!("t{index}"),
        columns,
        key_columns,
    }
}

type Query = (String, Vec<Column>);

struct Generator<'a> {
    random: &'a mut ChaCha8Rng,
    relations: Vec<(String, Vec<Column>)>,
    aliases: usize,
    /// Joins of views so far: other views read other columns of them.
    joins: Vec<Source>,
}

/// A relation in a FROM clause: columns are `alias.name`.
#[derive(Clone, Debug)]
struct Source {
    from: String,
    columns: Vec<Column>,
}

impl Generator<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items
            .choose(self.random)
            .expect("something to pick from")
            .clone()
    }

    fn relation(&mut self) -> Source {
        let (name, columns) = self.pick(&self.relations.clone());
        let alias = self.alias();
        let columns = columns
            .into_iter()
            .map(|column| Column {
                name: format!("{alias}.{}", column.name),
                kind: column.kind,
            })
            .collect();
        Source {
            from: format!("{name} AS {alias}"),
            columns,
        }
    }

    fn query(&mut self) -> Query {
        match self.random.random_range(0..16) {
            0 | 1 => self.select(),
            2 | 3 | 14 => self.join(),
            4 | 5 => self.aggregate(),
            6 => self.grouping_sets(),
            7 => self.set_operation(),
            8 | 9 => self.subquery(),
            10 => self.top_k(),
            11 => self.window(),
            12 => self.rank_filter(),
            13 => self.with(),
            _ => self.unnest(),
        }
    }

    fn projection(&mut self, source: &Source, distinct: bool) -> (String, Vec<Column>) {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for index in 0..self.random.random_range(1..=4) {
            let kind = self.scalar_kind(source);
            let expression = self.expression(kind, source, 2);
            items.push(format!("{expression} AS x{index}"));
            columns.push(Column {
                name: format!("x{index}"),
                kind,
            });
        }
        let distinct = if distinct { "DISTINCT " } else { "" };
        (format!("SELECT {distinct}{}", items.join(", ")), columns)
    }

    fn scalar_kind(&mut self, source: &Source) -> Kind {
        let present: Vec<Kind> = source
            .columns
            .iter()
            .map(|column| column.kind)
            .filter(|kind| *kind != Kind::IntegerArray)
            .collect();
        self.pick(&present)
    }

    fn select(&mut self) -> Query {
        let source = self.relation();
        let distinct = self.random.random_bool(0.3);
        let (select, columns) = self.projection(&source, distinct);
        let filter = self.condition(&source, 2);
        (
            format!("{select} FROM {} WHERE {filter}", source.from),
            columns,
        )
    }

    fn join_source(&mut self) -> Source {
        let left = self.relation();
        let right = self.relation();
        let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "JOIN"]);
        let both = Source {
            from: String::new(),
            columns: [left.columns.clone(), right.columns.clone()].concat(),
        };
        let mut conditions = Vec::new();
        for _ in 0..self.random.random_range(1..=2) {
            if let Some(equality) = self.equality(&left, &right) {
                conditions.push(equality);
            }
        }
        // A full join without any equality is not for DataFusion's batch engine at this size.
        if conditions.is_empty() || self.random.random_bool(0.3) {
            conditions.push(self.comparison(&both, 1));
        }
        if self.random.random_bool(0.07) {
            return Source {
                from: format!("{} CROSS JOIN {}", left.from, right.from),
                columns: both.columns,
            };
        }
        let from = format!(
            "{} {kind} {} ON {}",
            left.from,
            right.from,
            conditions.join(" AND ")
        );
        Source {
            from,
            columns: both.columns,
        }
    }

    fn equality(&mut self, left: &Source, right: &Source) -> Option<String> {
        let mut pairs = Vec::new();
        for one in &left.columns {
            for other in &right.columns {
                if one.kind == other.kind && !matches!(one.kind, Kind::IntegerArray | Kind::Boolean)
                {
                    pairs.push(format!("{} = {}", one.name, other.name));
                }
            }
        }
        pairs.choose(self.random).cloned()
    }

    fn join(&mut self) -> Query {
        let source = match self.joins.is_empty() || self.random.random_bool(0.4) {
            true => self.join_source(),
            false => self.pick(&self.joins.clone()),
        };
        self.joins.push(source.clone());
        let (select, columns) = self.projection(&source, false);
        let filter = if self.random.random_bool(0.5) {
            self.condition(&source, 1)
        } else {
            "TRUE".to_owned()
        };
        (
            format!("{select} FROM {} WHERE {filter}", source.from),
            columns,
        )
    }

    fn source(&mut self) -> Source {
        if self.random.random_bool(0.3) {
            self.join_source()
        } else {
            self.relation()
        }
    }

    fn aggregate(&mut self) -> Query {
        let source = self.source();
        let groups: Vec<_> = (0..self.random.random_range(0..=2))
            .map(|_| self.group_column(&source))
            .collect();
        let (mut items, mut columns) = group_items(&groups);
        self.aggregate_calls(&source, &mut items, &mut columns);
        let mut sql = format!("SELECT {} FROM {}", items.join(", "), source.from);
        if self.random.random_bool(0.4) {
            sql.push_str(&format!(" WHERE {}", self.condition(&source, 1)));
        }
        if !groups.is_empty() {
            let keys: Vec<_> = groups.iter().map(|column| column.name.clone()).collect();
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
            if self.random.random_bool(0.3) {
                sql.push_str(&format!(
                    " HAVING COUNT(*) > {}",
                    self.random.random_range(0..3)
                ));
            }
        }
        (sql, columns)
    }

    fn group_column(&mut self, source: &Source) -> Column {
        let candidates: Vec<Column> = source
            .columns
            .iter()
            .filter(|column| column.kind != Kind::IntegerArray)
            .cloned()
            .collect();
        self.pick(&candidates)
    }

    fn aggregate_calls(
        &mut self,
        source: &Source,
        items: &mut Vec<String>,
        columns: &mut Vec<Column>,
    ) {
        for index in 0..self.random.random_range(1..=3) {
            let (call, kind) = self.aggregate_call(source);
            let filter = if self.random.random_bool(0.2) {
                format!(" FILTER (WHERE {})", self.condition(source, 1))
            } else {
                String::new()
            };
            items.push(format!(
                "CAST({call}{filter} AS {}) AS m{index}",
                kind.sql()
            ));
            columns.push(Column {
                name: format!("m{index}"),
                kind,
            });
        }
    }

    fn aggregate_call(&mut self, source: &Source) -> (String, Kind) {
        let column = self.group_column(source);
        let Column { name, kind } = column;
        let distinct = if self.random.random_bool(0.25) {
            "DISTINCT "
        } else {
            ""
        };
        match self.random.random_range(0..9) {
            0 => ("COUNT(*)".to_owned(), Kind::BigInt),
            1 | 2 => (format!("COUNT({distinct}{name})"), Kind::BigInt),
            3 | 4 if kind.is_number() => (format!("SUM({distinct}{name})"), kind_of_sum(kind)),
            5 if kind.is_number() => (format!("AVG({name})"), Kind::Double),
            6 if kind.is_number() => {
                let function = self.pick(&["STDDEV", "VAR_POP", "VAR_SAMP", "STDDEV_POP"]);
                (format!("{function}(CAST({name} AS DOUBLE))"), Kind::Double)
            }
            7 if kind == Kind::Boolean => (
                format!("{}({name})", self.pick(&["BOOL_AND", "BOOL_OR"])),
                Kind::Boolean,
            ),
            7 if kind == Kind::BigInt => (
                format!("{}({name})", self.pick(&["BIT_AND", "BIT_OR", "BIT_XOR"])),
                Kind::BigInt,
            ),
            8 if kind == Kind::Text => (
                format!("STRING_AGG({name}, ',' ORDER BY {name})"),
                Kind::Text,
            ),
            _ => {
                // DataFusion's grouped MIN and MAX pass NaN over, or not, as the rows come; here and
                // in its MAX without groups it is the largest number (tests/sql/aggregates.slt). And its
                // grouped MIN of nothing but infinity is the largest finite number.
                let argument = match kind {
                    Kind::Double => {
                        let infinity = "CAST('Infinity' AS DOUBLE)";
                        format!("NULLIF(NANVL({name}, 0e0), {infinity})")
                    }
                    _ => name,
                };
                (format!("{}({argument})", self.pick(&["MIN", "MAX"])), kind)
            }
        }
    }

    fn grouping_sets(&mut self) -> Query {
        let source = self.relation();
        let groups = [self.group_column(&source), self.group_column(&source)];
        if groups[0].name == groups[1].name {
            return self.aggregate();
        }
        let (mut items, mut columns) = group_items(&groups);
        self.aggregate_calls(&source, &mut items, &mut columns);
        let keys = format!("{}, {}", groups[0].name, groups[1].name);
        let grouping = match self.random.random_range(0..3) {
            0 => format!("ROLLUP ({keys})"),
            1 => format!("CUBE ({keys})"),
            _ => format!(
                "GROUPING SETS (({keys}), ({}), ({}))",
                groups[0].name, groups[1].name
            ),
        };
        (
            format!(
                "SELECT {} FROM {} GROUP BY {grouping}",
                items.join(", "),
                source.from
            ),
            columns,
        )
    }

    fn set_operation(&mut self) -> Query {
        let left = self.relation();
        let right = self.relation();
        let kinds: Vec<Kind> = (0..self.random.random_range(1..=2))
            .map(|_| self.scalar_kind(&left))
            .collect();
        let side = |generator: &mut Self, source: &Source| {
            let items: Vec<_> = kinds
                .iter()
                .enumerate()
                .map(|(index, kind)| {
                    format!("{} AS x{index}", generator.expression(*kind, source, 1))
                })
                .collect();
            format!("SELECT {} FROM {}", items.join(", "), source.from)
        };
        let (left, right) = (side(self, &left), side(self, &right));
        let operation = self.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
        let columns = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| Column {
                name: format!("x{index}"),
                kind: *kind,
            })
            .collect();
        (format!("{left} {operation} {right}"), columns)
    }

    fn subquery(&mut self) -> Query {
        let outer = self.relation();
        let inner = self.relation();
        let equality = self.equality(&outer, &inner);
        let (select, columns) = self.projection(&outer, false);
        let correlation = equality.clone().unwrap_or_else(|| "TRUE".to_owned());
        let inner_filter = self.condition(&inner, 1);
        let number = |source: &Source| {
            source
                .columns
                .iter()
                .find(|column| column.kind == Kind::BigInt)
                .cloned()
        };
        let key = number(&inner).map_or("1".to_owned(), |column| column.name);
        let outer_key = number(&outer).map_or("1".to_owned(), |column| column.name);
        let condition = match self.random.random_range(0..7) {
            0 => format!(
                "EXISTS (SELECT 1 FROM {} WHERE {correlation} AND {inner_filter})",
                inner.from
            ),
            1 => format!(
                "NOT EXISTS (SELECT 1 FROM {} WHERE {correlation} AND {inner_filter})",
                inner.from
            ),
            2 => format!(
                "{outer_key} IN (SELECT {key} FROM {} WHERE {inner_filter})",
                inner.from
            ),
            3 => format!(
                "{outer_key} NOT IN (SELECT {key} FROM {} WHERE {inner_filter})",
                inner.from
            ),
            4 => format!(
                "{outer_key} > (SELECT AVG({key}) FROM {} WHERE {inner_filter})",
                inner.from
            ),
            5 => format!(
                "{outer_key} >= (SELECT COUNT(*) FROM {} WHERE {correlation})",
                inner.from
            ),
            _ => format!(
                "{outer_key} = (SELECT MAX({key}) FROM {} WHERE {correlation})",
                inner.from
            ),
        };
        (
            format!("{select} FROM {} WHERE {condition}", outer.from),
            columns,
        )
    }

    fn top_k(&mut self) -> Query {
        let source = self.relation();
        let (select, columns) = self.projection(&source, false);
        let mut order: Vec<String> = Vec::new();
        for column in &columns {
            let direction = self.pick(&["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"]);
            order.push(format!("{}{direction}", column.name));
        }
        let offset = self.random.random_range(0..3);
        let limit = self.random.random_range(1..6);
        let sql = format!(
            "{select} FROM {} ORDER BY {} LIMIT {limit} OFFSET {offset}",
            source.from,
            order.join(", ")
        );
        (sql, columns)
    }

    /// A relation's rows made unique (DISTINCT), with the columns to order by for one certain order.
    fn distinct_rows(&mut self) -> (String, Vec<Column>, String) {
        let source = self.relation();
        let columns: Vec<Column> = source
            .columns
            .iter()
            .filter(|column| column.kind != Kind::IntegerArray)
            .cloned()
            .collect();
        let (items, columns) = group_items(&columns);
        let alias = self.alias();
        let from = format!(
            "(SELECT DISTINCT {} FROM {}) AS {alias}",
            items.join(", "),
            source.from
        );
        let order: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        (from, columns, order.join(", "))
    }

    fn window(&mut self) -> Query {
        let (from, columns, order) = self.distinct_rows();
        let partition = self.pick(&columns).name;
        let argument = self.pick(&columns);
        let value = argument.name.clone();
        let number = columns
            .iter()
            .find(|column| column.kind == Kind::BigInt)
            .cloned();
        let (call, kind) = match (self.random.random_range(0..9), number) {
            (0, _) => ("ROW_NUMBER()".to_owned(), Kind::BigInt),
            (1, _) => (format!("LAG({value})"), argument.kind),
            (2, _) => (format!("LEAD({value}, 2)"), argument.kind),
            (3, _) => (format!("FIRST_VALUE({value})"), argument.kind),
            (4, _) => (format!("LAST_VALUE({value})"), argument.kind),
            (5, _) => (format!("COUNT({value})"), Kind::BigInt),
            (6, Some(number)) => (format!("SUM({})", number.name), Kind::BigInt),
            (7, Some(number)) => (format!("AVG({})", number.name), Kind::Double),
            _ => (format!("MAX({value})"), argument.kind),
        };
        let is_framed =
            !(call.starts_with("ROW_NUMBER") || call.starts_with('L') && !call.starts_with("LAST"));
        let frame = if is_framed && self.random.random_bool(0.6) {
            self.pick(&[
                " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
                " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
                " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                " ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING",
            ])
        } else {
            ""
        };
        let mut result = columns.clone();
        result.push(Column {
            name: "w".to_owned(),
            kind,
        });
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        let window = format!("PARTITION BY {partition} ORDER BY {order}{frame}");
        let sql = format!(
            "SELECT {}, CAST({call} OVER ({window}) AS {}) AS w FROM {from}",
            names.join(", "),
            kind.sql()
        );
        (sql, result)
    }

    fn rank_filter(&mut self) -> Query {
        let (from, columns, order) = self.distinct_rows();
        let partition = self.pick(&columns).name;
        let by = self.pick(&columns).name;
        let (function, order) = match self.random.random_range(0..3) {
            0 => ("ROW_NUMBER", order),
            1 => ("RANK", by),
            _ => ("DENSE_RANK", by),
        };
        let direction = self.pick(&["", " DESC"]);
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        let names = names.join(", ");
        let alias = self.alias();
        let limit = self.random.random_range(1..4);
        let ranked = format!(
            "{function}() OVER (PARTITION BY {partition} ORDER BY {order}{direction}) AS place"
        );
        let sql = format!(
            "SELECT {names} FROM (SELECT {names}, {ranked} FROM {from}) AS {alias} WHERE place <= {limit}"
        );
        (sql, columns)
    }

    fn with(&mut self) -> Query {
        let source = self.relation();
        let group = self.group_column(&source);
        let call = self.aggregate_call(&source);
        let filter = self.condition(&source, 1);
        let kind = call.1;
        let body = format!(
            "SELECT {} AS g, CAST({} AS {}) AS m FROM {} WHERE {filter} GROUP BY {}",
            group.name,
            call.0,
            kind.sql(),
            source.from,
            group.name
        );
        let columns = vec![
            Column {
                name: "g".to_owned(),
                kind: group.kind,
            },
            Column {
                name: "m".to_owned(),
                kind,
            },
            Column {
                name: "n".to_owned(),
                kind,
            },
        ];
        let sql = format!(
            "WITH q AS ({body}) SELECT l.g AS g, l.m AS m, r.m AS n FROM q AS l JOIN q AS r ON l.g = r.g"
        );
        (sql, columns)
    }

    fn unnest(&mut self) -> Query {
        let with_list: Vec<(String, Vec<Column>)> = self
            .relations
            .iter()
            .filter(|(_, columns)| columns.iter().any(|column| column.name == "list"))
            .cloned()
            .collect();
        if with_list.is_empty() {
            return self.values();
        }
        let (name, columns) = self.pick(&with_list);
        let kept: Vec<Column> = columns
            .into_iter()
            .filter(|column| column.kind != Kind::IntegerArray)
            .collect();
        let names: Vec<_> = kept.iter().map(|column| column.name.clone()).collect();
        let mut result = kept.clone();
        result.push(Column {
            name: "item".to_owned(),
            kind: Kind::Integer,
        });
        (
            format!(
                "SELECT {}, UNNEST(list) AS item FROM {name}",
                names.join(", ")
            ),
            result,
        )
    }

    fn values(&mut self) -> Query {
        let source = self.relation();
        let number = source
            .columns
            .iter()
            .find(|column| column.kind == Kind::BigInt)
            .cloned();
        let Some(number) = number else {
            return self.select();
        };
        let sql = format!(
            "SELECT k AS x0, word AS x1, {0} AS x2 FROM (VALUES (1, 'one'), (2, 'two'), (3, NULL)) AS v(k, word) \
             LEFT JOIN {1} ON k = {0}",
            number.name, source.from
        );
        let columns = [
            ("x0", Kind::BigInt),
            ("x1", Kind::Text),
            ("x2", Kind::BigInt),
        ];
        (
            sql,
            columns
                .iter()
                .map(|(name, kind)| Column {
                    name: (*name).to_owned(),
                    kind: *kind,
                })
                .collect(),
        )
    }

    fn column_of(&mut self, kind: Kind, source: &Source) -> Option<String> {
        let names: Vec<String> = source
            .columns
            .iter()
            .filter(|column| column.kind == kind)
            .map(|column| column.name.clone())
            .collect();
        names.choose(self.random).cloned()
    }

    fn literal(&mut self, kind: Kind) -> String {
        let number: i32 = self.random.random_range(-3..8);
        match kind {
            Kind::BigInt => format!("CAST({number} AS BIGINT)"),
            Kind::Integer => format!("CAST({number} AS INT)"),
            Kind::Double => format!("CAST({} AS DOUBLE)", f64::from(number) / 4.0),
            Kind::Decimal => {
                format!("CAST({number}.25 AS DECIMAL(10, 2))").replace("-0.25", "0.25")
            }
            Kind::Text => self.pick(&["''", "'a'", "'B'", "'ab'", "'x y'"]).to_owned(),
            Kind::Boolean => self
                .pick(&["TRUE", "FALSE", "CAST(NULL AS BOOLEAN)"])
                .to_owned(),
            Kind::Date => format!("DATE '2024-02-{:02}'", 25 + number.rem_euclid(5)),
            Kind::Timestamp => format!(
                "TIMESTAMP '2024-02-{:02} 12:30:00'",
                25 + number.rem_euclid(5)
            ),
            Kind::IntegerArray => "NULL".to_owned(),
        }
    }

    fn leaf(&mut self, kind: Kind, source: &Source) -> String {
        if self.random.random_bool(0.8)
            && let Some(column) = self.column_of(kind, source)
        {
            return column;
        }
        self.literal(kind)
    }

    fn expression(&mut self, kind: Kind, source: &Source, depth: usize) -> String {
        if depth == 0 || self.random.random_bool(0.4) {
            return self.leaf(kind, source);
        }
        let one = self.expression(kind, source, depth - 1);
        let other = self.expression(kind, source, depth - 1);
        match self.random.random_range(0..5) {
            0 => format!("COALESCE({one}, {other})"),
            1 => format!(
                "CASE WHEN {} THEN {one} ELSE {other} END",
                self.condition(source, depth - 1)
            ),
            2 => format!("NULLIF({one}, {other})"),
            _ => self.special(kind, &one, &other, source),
        }
    }

    fn special(&mut self, kind: Kind, one: &str, other: &str, source: &Source) -> String {
        let sql = kind.sql();
        match kind {
            Kind::BigInt | Kind::Integer | Kind::Double => {
                let operator = self.pick(&["+", "-", "*"]);
                // Products of columns would leave the range in views over views.
                let other = if operator == "*" {
                    "CAST(2 AS SMALLINT)"
                } else {
                    other
                };
                let result = format!("({one} {operator} {other})");
                if self.random.random_bool(0.2) {
                    format!("CAST(ABS({result}) AS {sql})")
                } else {
                    format!("CAST({result} AS {sql})")
                }
            }
            Kind::Decimal => format!("CAST(({one} {} {other}) AS {sql})", self.pick(&["+", "-"])),
            Kind::Text => match self.random.random_range(0..4) {
                0 => format!("UPPER({one})"),
                1 => format!("SUBSTR({one} || {other}, 1, 3)"),
                2 => format!("REPLACE({one}, 'a', 'z')"),
                _ => format!("CAST({} AS VARCHAR)", self.leaf(Kind::BigInt, source)),
            },
            Kind::Boolean => format!("({one} {} {other})", self.pick(&["AND", "OR"])),
            Kind::Date => format!("CAST(DATE_TRUNC('month', {one}) AS DATE)"),
            Kind::Timestamp => format!("({one} + INTERVAL '1' DAY)"),
            Kind::IntegerArray => one.to_owned(),
        }
    }

    fn condition(&mut self, source: &Source, depth: usize) -> String {
        if depth == 0 {
            return self.comparison(source, 0);
        }
        match self.random.random_range(0..6) {
            0 => format!(
                "({} AND {})",
                self.condition(source, depth - 1),
                self.condition(source, depth - 1)
            ),
            1 => format!(
                "({} OR {})",
                self.condition(source, depth - 1),
                self.condition(source, depth - 1)
            ),
            2 => format!("NOT ({})", self.condition(source, depth - 1)),
            _ => self.comparison(source, depth - 1),
        }
    }

    fn comparison(&mut self, source: &Source, depth: usize) -> String {
        let kind = self.scalar_kind(source);
        let one = self.expression(kind, source, depth);
        let other = self.expression(kind, source, depth);
        match self.random.random_range(0..8) {
            0 => format!("{one} IS NULL"),
            1 => format!("{one} IS NOT NULL"),
            2 => format!("{one} IN ({other}, {})", self.literal(kind)),
            3 if kind != Kind::Boolean => {
                format!("{one} BETWEEN {other} AND {}", self.literal(kind))
            }
            4 if kind == Kind::Text => format!("{one} LIKE '%a%'"),
            // Parentheses, because sqlparser reads all of `b OR c` after IS DISTINCT FROM.
            5 => format!("({one} IS DISTINCT FROM {other})"),
            _ => format!(
                "{one} {} {other}",
                self.pick(&["=", "<>", "<", "<=", ">", ">="])
            ),
        }
    }
}

fn kind_of_sum(kind: Kind) -> Kind {
    match kind {
        Kind::Integer => Kind::BigInt,
        other => other,
    }
}

fn group_items(groups: &[Column]) -> (Vec<String>, Vec<Column>) {
    let items = groups
        .iter()
        .enumerate()
        .map(|(index, column)| format!("{} AS g{index}", column.name))
        .collect();
    let columns = groups
        .iter()
        .enumerate()
        .map(|(index, column)| Column {
            name: format!("g{index}"),
            kind: column.kind,
        })
        .collect();
    (items, columns)
}
