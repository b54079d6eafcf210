//! Steps in flight, first steps, and what a step's output says.

use highwater_zset::{Delta, RowHasher};

use super::Bag;
use super::{Follower, add, batch, insert, row, scan, schema, start};
use crate::builder::{JoinOptions, PlanBuilder};
use crate::dataflow::RelationRef;
use crate::plan::{Plan, SetOperation};

fn hasher() -> RowHasher {
    RowHasher::new(3)
}

/// Orders joined with customers, and the customers without order.
fn orders() -> Plan {
    let mut builder = PlanBuilder::new(hasher());
    let orders = builder.table("orders", &schema(3), vec![0], true, "");
    let customers = builder.table("customers", &schema(2), vec![0], false, "");
    let options = JoinOptions {
        residual: None,
        output: Some(vec![0, 2, 4]),
    };
    let joined = builder.join(orders, customers, &[(1, 0)], options);
    builder.view("joined", joined, true);
    let idle = builder.semi_join(customers, orders, &[(0, 1)], true);
    builder.view("idle", idle, false);
    builder.finish()
}

fn step(number: i64) -> Vec<(usize, crate::table_input::TableInput)> {
    let orders: Vec<_> = (0..20)
        .map(|i| row(&[number * 10 + i, i % 7, number]))
        .collect();
    let customers: Vec<_> = (0..3).map(|i| row(&[(number + i) % 9, number])).collect();
    vec![(0, insert(3, &orders)), (1, insert(2, &customers))]
}

#[test]
fn pipelined_steps_say_the_same_as_single_ones() {
    let mut expected: Option<Vec<Follower>> = None;
    for workers in 1..=3 {
        let mut single = start(orders(), workers, hasher());
        let mut pipelined = start(orders(), workers, hasher());
        let mut followed = (Follower::default(), Follower::default());
        for number in 0..30 {
            assert_eq!(pipelined.submit(step(number)).unwrap(), number as u64);
        }
        assert_eq!(pipelined.steps_in_flight(), 30);
        let mut history = Vec::new();
        for number in 0..30 {
            followed.0.follow(&single.step(step(number)).unwrap());
            let output = pipelined.receive().unwrap();
            assert_eq!(output.epoch, number as u64);
            followed.1.follow(&output);
            assert_eq!(followed.0, followed.1);
            history.push(followed.0.clone());
        }
        assert_eq!(&history, expected.get_or_insert(history.clone()));
    }
}

#[test]
fn constants_come_once_and_quiet_steps_say_nothing() {
    for workers in 1..=3 {
        let mut builder = PlanBuilder::new(hasher());
        let rows = Delta::insertions(batch(1, &[row(&[4]), row(&[5])]));
        let constant = builder.constant(rows);
        builder.view("v", constant, true);
        let mut dataflow = start(builder.finish(), workers, hasher());
        let first = dataflow.step(Vec::new()).unwrap();
        let mut found = Bag::new();
        first.changes[0]
            .1
            .iter()
            .for_each(|delta| add(&mut found, delta));
        let expected = Bag::from([(row(&[4]), 1), (row(&[5]), 1)]);
        assert_eq!(found, expected);
        assert_eq!(scan(&first.contents[0].1), expected);
        for _ in 0..3 {
            let quiet = dataflow.step(Vec::new()).unwrap();
            assert!(quiet.changes.is_empty() && quiet.contents.is_empty());
        }
        assert_eq!(scan(&dataflow.contents()[&RelationRef::View(0)]), expected);
    }
}

#[test]
fn large_inputs_without_key_are_shared_out() {
    let mut builder = PlanBuilder::new(hasher());
    let table = builder.table("t", &schema(1), Vec::new(), false, "");
    let distinct = builder.set_operation(SetOperation::Distinct, &[table]);
    builder.view("v", distinct, true);
    let mut dataflow = start(builder.finish(), 3, hasher());
    let rows: Vec<_> = (0..20_000).map(|i| row(&[i % 1000])).collect();
    dataflow.step(vec![(0, insert(1, &rows))]).unwrap();
    let contents = &dataflow.contents()[&RelationRef::View(0)];
    assert_eq!(scan(contents).len(), 1000);
    assert!(
        contents.iter().all(|part| part.rows_upper_bound() > 200),
        "each worker holds a part"
    );
    let statistics = dataflow.statistics().unwrap();
    let table = statistics
        .iter()
        .find(|one| one.label == "table for t")
        .unwrap();
    assert_eq!((table.rows_out, table.steps), (20_000, 3));
}

#[test]
fn a_dataflow_can_move_to_another_thread() {
    let mut dataflow = start(orders(), 2, hasher());
    let thread = std::thread::spawn(move || dataflow.step(step(0)).map(|output| output.epoch));
    assert_eq!(thread.join().unwrap().unwrap(), 0);
}
