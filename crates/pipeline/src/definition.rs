//! What a pipeline is made of: the plan, and what clients know its relations by.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use highwater_circuit::dataflow::RelationRef;
use highwater_circuit::plan::{NodeIndex, Plan, ViewDefinition};
use highwater_connectors::table::InputTable;
use highwater_storage::Digest;
use highwater_storage::digest::checksum;
use highwater_types::connector::ConnectorConfig;
use highwater_types::record::{RecordedProgram, RecordedRelation};
use highwater_types::relation::Relation;
use highwater_zset::Delta;

/// A program, ready to run.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The circuit; its tables and views are in the order of `tables` and `views`.
    pub plan: Arc<Plan>,
    pub tables: Vec<TableSetup>,
    pub views: Vec<ViewSetup>,
}

/// A table with its input connectors.
#[derive(Clone, Debug)]
pub struct TableSetup {
    pub input: Arc<InputTable>,
    /// Refuses deletions.
    pub append_only: bool,
    pub connectors: Vec<ConnectorConfig>,
}

/// A view with its output connectors.
#[derive(Clone, Debug)]
pub struct ViewSetup {
    pub relation: Relation,
    pub connectors: Vec<ConnectorConfig>,
}

impl Definition {
    /// The relation's description.
    pub fn relation(&self, relation: RelationRef) -> Option<&Relation> {
        match relation {
            RelationRef::Table(index) => self.tables.get(index).map(|table| table.input.relation()),
            RelationRef::View(index) => self.views.get(index).map(|view| &view.relation),
        }
    }

    /// All tables, then all views.
    pub fn relations(&self) -> impl Iterator<Item = (RelationRef, &Relation)> {
        let tables = self.tables.iter().enumerate();
        let views = self.views.iter().enumerate();
        tables
            .map(|(index, table)| (RelationRef::Table(index), table.input.relation()))
            .chain(views.map(|(index, view)| (RelationRef::View(index), &view.relation)))
    }

    /// The relation's columns under the names that the program gave them, all nullable. The circuit's
    /// own schemas have the same types, but their names are only labels.
    pub fn schema(&self, relation: RelationRef) -> Option<SchemaRef> {
        let planned = match relation {
            RelationRef::Table(index) => &self.plan.tables.get(index)?.schema,
            RelationRef::View(index) => &self.plan.views.get(index)?.schema,
        };
        let names = self.relation(relation)?.fields.iter();
        let fields = planned.fields().iter().zip(names);
        let fields = fields.map(|(field, named)| field.as_ref().clone().with_name(&named.name));
        Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// True if the present contents of the relation are kept.
    pub fn is_materialized(&self, relation: RelationRef) -> bool {
        let contents = match relation {
            RelationRef::Table(index) => self.plan.tables.get(index).map(|table| table.contents),
            RelationRef::View(index) => self.plan.views.get(index).map(|view| view.contents),
        };
        contents.flatten().is_some()
    }

    /// The plan with one more view per table, so that tables can be followed like views. Their
    /// positions are behind the real views', in the order of the tables.
    pub(crate) fn plan_with_table_views(&self) -> Plan {
        let mut plan = Plan::clone(&self.plan);
        let tables = self.plan.tables.iter();
        plan.views.extend(tables.map(|table| ViewDefinition {
            name: table.name.clone(),
            schema: table.schema.clone(),
            node: table.contents.unwrap_or(table.node),
            contents: None,
        }));
        plan
    }

    /// What a checkpoint keeps of the program: enough to notice a changed one, and to find the rows of
    /// a relation again. No secrets, which properties and configurations may hold.
    pub fn recorded_program(&self) -> RecordedProgram {
        let id = |node: NodeIndex| self.plan.nodes.get(node.0).map(|node| node.id.to_string());
        let recorded = |relation: &Relation,
                        node,
                        contents: Option<NodeIndex>,
                        connectors: &[ConnectorConfig]| {
            let mut relation = relation.clone();
            relation.properties.clear();
            let connectors = connectors.iter().map(|config| {
                let name = endpoint_name(&relation.name, config);
                (name, configuration_digest(config))
            });
            let recorded = RecordedRelation {
                operator: id(node).unwrap_or_default(),
                contents: contents.and_then(id),
                connectors: connectors.collect(),
                relation: relation.clone(),
            };
            (relation.name, recorded)
        };
        let tables = self.plan.tables.iter().zip(&self.tables);
        let views = self.plan.views.iter().zip(&self.views);
        RecordedProgram {
            tables: tables
                .map(|(planned, setup)| {
                    let relation = setup.input.relation();
                    recorded(relation, planned.node, planned.contents, &setup.connectors)
                })
                .collect(),
            views: views
                .map(|(planned, setup)| {
                    recorded(
                        &setup.relation,
                        planned.node,
                        planned.contents,
                        &setup.connectors,
                    )
                })
                .collect(),
        }
    }

    /// One number for what the program's circuit computes.
    pub fn fingerprint(&self) -> u64 {
        let mut ids: Vec<u128> = self.plan.nodes.iter().map(|node| node.id.0).collect();
        ids.sort_unstable();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        checksum(&bytes)
    }

    /// Whose changes the view at this position of [`Self::plan_with_table_views`] has.
    pub(crate) fn relation_of_view(&self, view: usize) -> RelationRef {
        match view.checked_sub(self.views.len()) {
            None => RelationRef::View(view),
            Some(table) => RelationRef::Table(table),
        }
    }
}

/// `relation.connector`.
pub(crate) fn endpoint_name(relation: &str, config: &ConnectorConfig) -> String {
    format!("{relation}.{}", config.name())
}

/// Tells connectors apart that read or write something else. A digest, because a configuration may hold
/// secrets.
pub(crate) fn configuration_digest(config: &ConnectorConfig) -> String {
    Digest::of(config.identity.as_bytes()).to_string()
}

/// One delta of several, with its columns under the names of `schema`.
///
/// # Errors
/// If the columns are not those of the schema, or together too large for Arrow.
pub fn combined(schema: &SchemaRef, deltas: &[Delta]) -> Result<Delta, ArrowError> {
    let circuit_schema = deltas.first().map_or_else(|| schema.clone(), Delta::schema);
    let delta = Delta::concat(&circuit_schema, deltas)
        .map_err(|error| ArrowError::ComputeError(error.to_string()))?;
    let (rows, weights) = delta.into_parts();
    let rows = RecordBatch::try_new(schema.clone(), rows.columns().to_vec())?;
    Ok(Delta::new(rows, weights))
}
