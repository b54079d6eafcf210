//! Speed of the final aggregate: COUNT and SUM, one state row per touched group and step.
//! `cargo test --release -p highwater-circuit speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

#[test]
#[ignore = "a measurement"]
fn speed() {
    let hasher = RowHasher::new(1);
    let table = schema(&[DataType::Int64, DataType::Int64]);
    let int = DataType::Int64;
    let functions = [
        LinearFunction::Count,
        LinearFunction::Sum {
            argument: int.clone(),
            result: int,
        },
    ];
    let calls = functions.iter().map(|function| LinearCall {
        function: function.clone(),
        argument: Some(1),
    });
    let (mut first, states) = partial(&table, &[0], calls.collect(), hasher);
    let calls = functions.into_iter().enumerate();
    let calls = calls.map(|(call, function)| AggregateCall::Linear {
        input: 0,
        call,
        function,
    });
    let spec = AggregateSpec {
        group_columns: 1,
        calls: calls.collect(),
        is_global: false,
    };
    let last = node(
        OperatorSpec::Aggregate { spec },
        schema(&vec![DataType::Int64; 3]),
    );
    let mut last = Subject::new(&last, &[input(&states)], hasher);
    for (groups, rows) in [
        (100, 100),
        (100, 1),
        (100, 1000),
        (100_000, 100_000),
        (100_000, 1),
        (100_000, 1000),
    ] {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(
                (0..rows)
                    .map(|row| Some(row * 7919 % groups))
                    .collect::<Int64Array>(),
            ),
            Arc::new((0..rows).map(Some).collect::<Int64Array>()),
        ];
        let changes = Flow::Delta(vec![delta(columns, vec![1; rows as usize])]);
        let partials = Flow::Delta(first.step(&[&changes]).unwrap());
        let rounds = 300_000 / (rows + 10) + 3;
        let started = Instant::now();
        (0..rounds).for_each(|_| last.step_only(&[&partials]));
        let microseconds = started.elapsed().as_micros() as f64 / rounds as f64;
        eprintln!(
            "{} of {groups} groups: {microseconds:.1} us a step",
            partials.rows()
        );
    }
}
