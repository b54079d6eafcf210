//! Window functions: DataFusion's window expressions over one partition's rows in order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::physical_expr::window::WindowExpr;
use highwater_circuit::expression::{EvaluationError, PartitionFunction};

use super::{describe, evaluation_error, of_type};

/// Window expressions that share a partitioning and an order.
#[derive(Debug)]
pub(crate) struct WindowFunctions {
    functions: Vec<Arc<dyn WindowExpr>>,
    data_types: Vec<DataType>,
    fingerprint: String,
}

impl WindowFunctions {
    /// `definitions` name the functions: DataFusion's window expressions do not show all of theirs.
    ///
    /// # Errors
    /// If a function has no result type.
    pub(crate) fn new(functions: Vec<(Arc<dyn WindowExpr>, String)>) -> Result<Self> {
        let mut data_types = Vec::new();
        let mut texts = Vec::new();
        for (function, definition) in &functions {
            data_types.push(function.field()?.data_type().clone());
            texts.push(definition_of(function.as_ref(), definition));
        }
        Ok(Self {
            functions: functions
                .into_iter()
                .map(|(function, _)| function)
                .collect(),
            data_types,
            fingerprint: texts.join("; "),
        })
    }
}

fn definition_of(function: &dyn WindowExpr, definition: &str) -> String {
    let arguments: Vec<_> = function
        .expressions()
        .iter()
        .map(|argument| describe::fingerprint(argument.as_ref()))
        .collect();
    let order: Vec<_> = function
        .order_by()
        .iter()
        .map(|sort| {
            let expr = describe::fingerprint(sort.expr.as_ref());
            format!("{expr} {:?}", sort.options)
        })
        .collect();
    format!(
        "{definition}({}) order [{}] {:?}",
        arguments.join(", "),
        order.join(", "),
        function.get_window_frame(),
    )
}

impl PartitionFunction for WindowFunctions {
    fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.functions
            .iter()
            .zip(&self.data_types)
            .map(|(function, data_type)| of_type(function.evaluate(rows)?, data_type))
            .collect::<Result<_>>()
            .map_err(evaluation_error)
    }

    fn data_types(&self) -> Vec<DataType> {
        self.data_types.clone()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
