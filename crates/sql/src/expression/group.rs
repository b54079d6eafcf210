//! Aggregates without an incremental form: DataFusion's accumulator over all rows of a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use highwater_circuit::expression::{EvaluationError, GroupFunction};

use super::{describe, evaluation_error, of_type};

/// `ARRAY_AGG`, `STRING_AGG`, `BIT_AND`, `CORR`, …: a new accumulator for each evaluation.
#[derive(Debug)]
pub(crate) struct AccumulatorFunction {
    aggregate: AggregateFunctionExpr,
    fingerprint: String,
}

impl AccumulatorFunction {
    /// `aggregate`'s arguments are columns of the group's rows or literals.
    pub(crate) fn new(aggregate: AggregateFunctionExpr) -> Self {
        let arguments: Vec<_> = aggregate
            .expressions()
            .iter()
            .map(|argument| describe::fingerprint(argument.as_ref()))
            .collect();
        let order: Vec<_> = aggregate
            .order_bys()
            .iter()
            .map(|sort| {
                let expr = describe::fingerprint(sort.expr.as_ref());
                format!("{expr} {:?}", sort.options)
            })
            .collect();
        let fingerprint = format!(
            "{}({}) order [{}] ignore nulls {} as {}",
            aggregate.fun().name(),
            arguments.join(", "),
            order.join(", "),
            aggregate.ignore_nulls(),
            aggregate.field().data_type(),
        );
        Self {
            aggregate,
            fingerprint,
        }
    }

    fn accumulate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let mut accumulator = self.aggregate.create_accumulator()?;
        if rows.num_rows() > 0 {
            let order = self.aggregate.order_bys().iter();
            let inputs = self
                .aggregate
                .expressions()
                .into_iter()
                .chain(order.map(|sort| sort.expr.clone()));
            let values = inputs
                .map(|input: Arc<dyn PhysicalExpr>| {
                    input.evaluate(rows)?.into_array(rows.num_rows())
                })
                .collect::<Result<Vec<_>>>()?;
            accumulator.update_batch(&values)?;
        }
        let value = accumulator.evaluate()?.to_array()?;
        of_type(value, self.aggregate.field().data_type())
    }
}

impl GroupFunction for AccumulatorFunction {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        self.accumulate(rows).map_err(evaluation_error)
    }

    fn data_type(&self) -> DataType {
        self.aggregate.field().data_type().clone()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
