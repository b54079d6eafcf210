//! Connector configurations: the elements of `'connectors' = '[…]'` of a table or view.
//!
//! This file owns the names and the defaults, and the checks that need no file, network or table:
//! shape, known transports and formats, direction, unique names. What is inside
//! `transport.config` and `format.config` is checked by the connectors crate, which knows each
//! transport and format. An option that is understood but not implemented is refused rather than
//! ignored: a connector never silently does something else than it was told.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One connector of a table or view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorConfig {
    /// Unique within its table or view; [`parse_connectors`] fills in `unnamed-{i}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub transport: TransportConfig,
    /// Needed by transports that carry bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub preprocessor: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub postprocessor: Vec<Value>,
    /// Outputs: the SQL index that gives the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Outputs: deliver the present content before the deltas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_snapshot: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_delete: Option<bool>,
    #[serde(default)]
    pub enable_output_buffer: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_buffer_time_millis: Option<u64>,
    #[serde(default = "max_output_buffer_size_records")]
    pub max_output_buffer_size_records: u64,
    /// Inputs: rows per piece that the connector hands over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_worker_batch_size: Option<u64>,
    /// Back-pressure: rows read but not yet in a step.
    #[serde(default = "max_queued_records")]
    pub max_queued_records: u64,
    /// Back-pressure: bytes read but not yet in a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued_bytes: Option<u64>,
    /// Inputs: wait for `…/connectors/{name}/start`.
    #[serde(default)]
    pub paused: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Labels of the connectors that must reach the end of their input first.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub start_after: Labels,
    /// Transport and format as they were written: a connector that reads or writes the same has the
    /// same, wherever the program's folder is and however fast it goes.
    #[serde(skip)]
    pub identity: String,
}

/// A transport's name and its own options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransportConfig {
    pub name: String,
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub config: Value,
}

/// A format's name and its own options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormatConfig {
    pub name: String,
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub config: Value,
}

/// One label or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Labels {
    One(String),
    Several(Vec<String>),
}

/// Which way a connector carries rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into a table.
    Input,
    /// Out of a table or view.
    Output,
}

/// A transport that programs can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTransport {
    pub name: &'static str,
    pub direction: Direction,
    /// False if the transport makes or drops rows, not bytes.
    pub needs_format: bool,
}

/// The transports of the connectors crate (whose tests hold the two lists together).
pub const TRANSPORTS: &[KnownTransport] = &[
    KnownTransport {
        name: "datagen",
        direction: Direction::Input,
        needs_format: false,
    },
    KnownTransport {
        name: "empty_input",
        direction: Direction::Input,
        needs_format: false,
    },
    KnownTransport {
        name: "file_input",
        direction: Direction::Input,
        needs_format: true,
    },
    KnownTransport {
        name: "url_input",
        direction: Direction::Input,
        needs_format: true,
    },
    KnownTransport {
        name: "file_output",
        direction: Direction::Output,
        needs_format: true,
    },
    KnownTransport {
        name: "null_output",
        direction: Direction::Output,
        needs_format: false,
    },
];

/// The formats that are read.
pub const INPUT_FORMATS: &[&str] = &["arrow_ipc", "csv", "json", "parquet"];

/// The formats that are written.
pub const OUTPUT_FORMATS: &[&str] = &["arrow_ipc", "csv", "json"];

/// A connector configuration that cannot be used. The message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    pub message: String,
}

impl ConfigError {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// Says which part of the configuration the message is about.
    pub fn within(self, place: impl fmt::Display) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
        }
    }
}

impl Labels {
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(label) => std::slice::from_ref(label),
            Self::Several(labels) => labels,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl ConnectorConfig {
    /// A connector with the defaults.
    pub fn new(transport: TransportConfig, format: Option<FormatConfig>) -> Self {
        Self {
            name: None,
            identity: identity(&transport, format.as_ref()),
            transport,
            format,
            preprocessor: Vec::new(),
            postprocessor: Vec::new(),
            index: None,
            send_snapshot: None,
            soft_delete: None,
            enable_output_buffer: false,
            max_output_buffer_time_millis: None,
            max_output_buffer_size_records: max_output_buffer_size_records(),
            max_batch_size: None,
            max_worker_batch_size: None,
            max_queued_records: max_queued_records(),
            max_queued_bytes: None,
            paused: false,
            labels: Vec::new(),
            start_after: Labels::default(),
        }
    }

    /// The connector's name; empty only before [`parse_connectors`] or [`Self::validate`] gave it one.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Checks everything that the configuration alone tells.
    pub fn validate(&self, direction: Direction) -> Result<(), ConfigError> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        let transport = known_transport(&self.transport.name, direction)?;
        match &self.format {
            None if transport.needs_format => {
                return Err(ConfigError::new(format!(
                    "transport `{}` needs a format: add \"format\": {{\"name\": \"json\"}} or one of {}",
                    transport.name,
                    list(formats(direction)),
                )));
            }
            Some(format) => check_format(&format.name, direction)?,
            None => {}
        }
        self.refuse_unsupported()?;
        self.check_limits()
    }

    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        let unsupported = [
            ("preprocessor", !self.preprocessor.is_empty()),
            ("postprocessor", !self.postprocessor.is_empty()),
            ("index", self.index.is_some()),
            ("soft_delete", self.soft_delete == Some(true)),
            ("enable_output_buffer", self.enable_output_buffer),
        ];
        match unsupported.iter().find(|(_, used)| *used) {
            Some((option, _)) => Err(ConfigError::new(format!(
                "option `{option}` is not supported yet; remove it"
            ))),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_queued_records", Some(self.max_queued_records)),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_batch_size", self.max_batch_size),
            ("max_worker_batch_size", self.max_worker_batch_size),
        ];
        match limits.iter().find(|(_, limit)| *limit == Some(0)) {
            Some((option, _)) => Err(ConfigError::new(format!("`{option}` must be at least 1"))),
            None => Ok(()),
        }
    }
}

/// Reads the value of a `'connectors'` property: a JSON array of connector configurations.
///
/// Connectors without a name become `unnamed-{i}`, counting all connectors from 0.
pub fn parse_connectors(
    text: &str,
    direction: Direction,
) -> Result<Vec<ConnectorConfig>, ConfigError> {
    let elements: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        ConfigError::new(format!(
            "connectors must be a JSON array of objects: {error}"
        ))
    })?;
    let mut connectors: Vec<ConnectorConfig> = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let connector = parse_connector(element, index, direction)?;
        if connectors
            .iter()
            .any(|earlier| earlier.name == connector.name)
        {
            return Err(ConfigError::new(format!(
                "two connectors are named `{}`",
                connector.name()
            )));
        }
        connectors.push(connector);
    }
    Ok(connectors)
}

fn identity(transport: &TransportConfig, format: Option<&FormatConfig>) -> String {
    serde_json::json!([transport, format]).to_string()
}

fn parse_connector(
    element: Value,
    index: usize,
    direction: Direction,
) -> Result<ConnectorConfig, ConfigError> {
    let given_name = element
        .get("name")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let name = given_name.unwrap_or_else(|| format!("unnamed-{index}"));
    let in_connector = |error: ConfigError| error.within(format_args!("connector `{name}`"));
    let mut connector: ConnectorConfig = serde_json::from_value(element)
        .map_err(|error| in_connector(ConfigError::new(error.to_string())))?;
    connector.name = Some(name.clone());
    connector.identity = identity(&connector.transport, connector.format.as_ref());
    connector.validate(direction).map_err(in_connector)?;
    Ok(connector)
}

/// Connector names stand in URLs and, behind `relation.`, in endpoint names.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "connector name `{name}` may hold only ASCII letters, digits, `_` and `-`, and must not be empty"
    )))
}

/// Finds a transport of this direction.
pub fn known_transport(
    name: &str,
    direction: Direction,
) -> Result<&'static KnownTransport, ConfigError> {
    let known: Vec<&str> = TRANSPORTS
        .iter()
        .filter(|known| known.direction == direction)
        .map(|known| known.name)
        .collect();
    match TRANSPORTS.iter().find(|known| known.name == name) {
        Some(transport) if transport.direction == direction => Ok(transport),
        Some(_) => Err(ConfigError::new(match direction {
            Direction::Input => format!(
                "transport `{name}` writes; a table's connectors read: {}",
                list(&known)
            ),
            Direction::Output => format!(
                "transport `{name}` reads; a view's connectors write: {}",
                list(&known)
            ),
        })),
        None => Err(ConfigError::new(format!(
            "unknown transport `{name}`; known are {}",
            list(&known)
        ))),
    }
}

/// The names of a direction's formats.
pub fn formats(direction: Direction) -> &'static [&'static str] {
    match direction {
        Direction::Input => INPUT_FORMATS,
        Direction::Output => OUTPUT_FORMATS,
    }
}

/// Finds out whether a format of this direction has this name.
pub fn check_format(name: &str, direction: Direction) -> Result<(), ConfigError> {
    let known = formats(direction);
    if known.contains(&name) {
        return Ok(());
    }
    let verb = if direction == Direction::Input {
        "read"
    } else {
        "written"
    };
    Err(ConfigError::new(format!(
        "unknown format `{name}`; formats that are {verb}: {}",
        list(known)
    )))
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

fn max_queued_records() -> u64 {
    1_000_000
}

fn max_output_buffer_size_records() -> u64 {
    10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_names_are_filled_in() {
        let text = r#"[{"transport": {"name": "datagen"}},
                       {"name": "c", "labels": ["l"], "start_after": "x",
                        "transport": {"name": "file_input", "config": {"path": "a.csv"}},
                        "format": {"name": "csv"}}]"#;
        let connectors = parse_connectors(text, Direction::Input).unwrap();
        assert_eq!(connectors[0].name(), "unnamed-0");
        assert_eq!(connectors[0].max_queued_records, 1_000_000);
        assert_eq!(connectors[0].transport.config, empty_object());
        assert_eq!(connectors[1].name(), "c");
        assert_eq!(connectors[1].start_after.as_slice(), ["x"]);
        let again = serde_json::to_string(&connectors).unwrap();
        assert_eq!(
            parse_connectors(&again, Direction::Input).unwrap(),
            connectors
        );
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, direction, expected: &str| {
            let message = parse_connectors(text, direction).unwrap_err().message;
            assert!(message.contains(expected), "{message}");
        };
        use Direction::{Input, Output};
        check("{}", Input, "connectors must be a JSON array");
        check(
            r#"[{"transport":{"name":"kafka"}}]"#,
            Input,
            "connector `unnamed-0`: unknown transport `kafka`",
        );
        check(
            r#"[{"transport":{"name":"kafka"}}]"#,
            Input,
            "`datagen`, `empty_input`, `file_input`, `url_input`",
        );
        check(r#"[{"transport":{"name":"file_output"}}]"#, Input, "writes");
        check(r#"[{"transport":{"name":"datagen"}}]"#, Output, "reads");
        check(
            r#"[{"transport":{"name":"file_input"}}]"#,
            Input,
            "needs a format",
        );
        let avro = r#"[{"transport":{"name":"file_input"},"format":{"name":"avro"}}]"#;
        check(
            avro,
            Input,
            "unknown format `avro`; formats that are read: `arrow_ipc`, `csv`",
        );
        check(
            r#"[{"nam":"x","transport":{"name":"datagen"}}]"#,
            Input,
            "unknown field `nam`",
        );
        check(
            r#"[{"name":"a.b","transport":{"name":"datagen"}}]"#,
            Input,
            "connector name `a.b`",
        );
        check(
            r#"[{"name":"a","transport":{"name":"datagen"}},{"name":"a","transport":{"name":"datagen"}}]"#,
            Input,
            "two connectors",
        );
        check(
            r#"[{"index":"i","transport":{"name":"null_output"}}]"#,
            Output,
            "`index` is not supported yet",
        );
        check(
            r#"[{"max_queued_records":0,"transport":{"name":"datagen"}}]"#,
            Input,
            "at least 1",
        );
    }
}
