//! The contents of a materialized view as one sorted batch.
//!
//! A view is a bag: it has no order of its own (an ORDER BY without LIMIT means nothing to it). Rows
//! are sorted by their columns here, NULLs first, so that printing is deterministic.

use anyhow::{Context, Result};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use highwater_circuit::dataflow::RelationRef;
use highwater_pipeline::{Pipeline, combined};

/// A view and its rows.
pub(crate) struct ViewRows {
    pub(crate) name: String,
    pub(crate) rows: RecordBatch,
}

/// All materialized views, in the order of the program, as of one step.
pub(crate) fn materialized_views(pipeline: &Pipeline) -> Result<Vec<ViewRows>> {
    let definition = pipeline.definition();
    let contents = pipeline.contents();
    let mut views = Vec::new();
    for (index, view) in definition.views.iter().enumerate() {
        let reference = RelationRef::View(index);
        if !definition.is_materialized(reference) {
            continue;
        }
        let name = view.relation.name.clone();
        let Some(schema) = definition.schema(reference) else {
            continue;
        };
        let mut deltas = Vec::new();
        for snapshot in contents.snapshots(reference) {
            let pieces = snapshot.scan();
            deltas.extend(pieces.with_context(|| format!("cannot read view {name}"))?);
        }
        let delta = combined(&schema, &deltas);
        let delta = delta.with_context(|| format!("view {name} cannot be printed"))?;
        let rows = delta.expanded();
        let rows = rows.with_context(|| format!("view {name} cannot be printed"))?;
        let rows = sorted(&rows).with_context(|| format!("cannot sort view {name}"))?;
        views.push(ViewRows { name, rows });
    }
    Ok(views)
}

/// By all columns, NULLs first.
pub(crate) fn sorted(rows: &RecordBatch) -> Result<RecordBatch> {
    let fields = rows.schema().fields().clone();
    let fields = fields
        .iter()
        .map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let keys = converter.convert_columns(rows.columns())?;
    let mut order: Vec<u32> = (0..u32::try_from(rows.num_rows())?).collect();
    order.sort_by(|&left, &right| keys.row(left as usize).cmp(&keys.row(right as usize)));
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}
