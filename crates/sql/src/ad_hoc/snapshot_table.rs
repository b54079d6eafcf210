//! A relation's snapshots as a table: one partition per worker, read when the query runs.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use highwater_zset::{Delta, Snapshot};

/// The table of these snapshots.
pub(super) fn table(
    schema: &SchemaRef,
    snapshots: Vec<Snapshot>,
) -> Result<Arc<dyn TableProvider>> {
    let partition = |snapshot| {
        let partition = SnapshotPartition {
            schema: Arc::clone(schema),
            snapshot,
        };
        Arc::new(partition) as Arc<dyn PartitionStream>
    };
    let partitions = snapshots.into_iter().map(partition).collect();
    Ok(Arc::new(StreamingTable::try_new(
        Arc::clone(schema),
        partitions,
    )?))
}

#[derive(Debug)]
struct SnapshotPartition {
    schema: SchemaRef,
    snapshot: Snapshot,
}

impl PartitionStream for SnapshotPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let failed = |error: highwater_zset::Error| DataFusionError::External(Box::new(error));
        let (deltas, error) = match self.snapshot.scan() {
            Ok(deltas) => (deltas, None),
            Err(error) => (Vec::new(), Some(Err(failed(error)))),
        };
        // A row of weight n is n rows. Names may differ from the circuit's labels.
        let schema = Arc::clone(&self.schema);
        let expand = move |delta: Delta| {
            let delta = Delta::concat(&schema, &[delta]).map_err(failed)?;
            delta.expanded().map_err(failed)
        };
        let batches = deltas.into_iter().map(expand).chain(error);
        let stream = stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}
