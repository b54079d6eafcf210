//! The HTTP interface over real TCP, from SQL text to replies.

#[path = "main/checkpoints.rs"]
mod checkpoints;
#[path = "main/client.rs"]
mod client;
#[path = "main/egress.rs"]
mod egress;
#[path = "main/ingress.rs"]
mod ingress;
#[path = "main/interface.rs"]
mod interface;
#[path = "main/query.rs"]
mod query;
#[path = "main/tokens.rs"]
mod tokens;
