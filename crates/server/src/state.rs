//! What all routes share.

use std::path::Path;
use std::sync::Arc;

use highwater_pipeline::Pipeline;
use highwater_sql::Program;

use crate::routes::query::Queries;

/// A pipeline and the program that it runs. Cheap to clone.
#[derive(Clone)]
pub struct ServerState {
    pub pipeline: Pipeline,
    pub program: Arc<Program>,
    /// The name under `/v0/pipelines/`.
    pub name: Arc<str>,
    /// Where relative paths of another program would start.
    pub(crate) base: Arc<Path>,
    pub(crate) queries: Arc<Queries>,
}

impl ServerState {
    pub fn new(pipeline: Pipeline, program: Arc<Program>, name: &str) -> Self {
        Self {
            queries: Arc::new(Queries::new(&program, pipeline.definition().clone())),
            pipeline,
            program,
            name: name.into(),
            base: Path::new("").into(),
        }
    }

    /// The folder of the program's file.
    #[must_use]
    pub fn with_base(mut self, base: &Path) -> Self {
        self.base = base.into();
        self
    }
}
