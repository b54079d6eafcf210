//! What the server is: `/healthz`, `/config/authentication`, `/v0/config`.

use axum::Json;
use axum::extract::State;
use highwater_types::api::{BuildInfo, Configuration, Health};
use serde_json::{Value, json};

use crate::error::ApiResult;
use crate::state::ServerState;

/// 200 while the process answers; the pipeline's own state is `/status`.
#[utoipa::path(get, path = "/healthz", tag = "Server", responses((status = 200, body = Health)))]
pub(crate) async fn healthz(State(state): State<ServerState>) -> ApiResult<Json<Health>> {
    // A pipeline that was stopped cannot answer; one that failed can, and stays to say why.
    state.pipeline.errors_total().await?;
    Ok(Json(Health {
        status: "healthy".to_owned(),
    }))
}

/// There is no authentication.
#[utoipa::path(get, path = "/config/authentication", tag = "Server", responses((status = 200, body = Object)))]
pub(crate) async fn authentication() -> Json<Value> {
    Json(json!({}))
}

/// Version and edition, as clients ask for them first.
#[utoipa::path(get, path = "/v0/config", tag = "Server", responses((status = 200, body = Configuration)))]
pub(crate) async fn configuration() -> Json<Configuration> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Configuration {
        edition: "Open source".to_owned(),
        version,
        revision: String::new(),
        runtime_revision: String::new(),
        telemetry: String::new(),
        posthog: String::new(),
        conceptualhq: String::new(),
        product_fruits: String::new(),
        changelog_url: String::new(),
        build_source: "source".to_owned(),
        build_info: BuildInfo {
            build_cpu: std::env::consts::ARCH.to_owned(),
            build_os: std::env::consts::OS.to_owned(),
            cargo_debug: cfg!(debug_assertions).to_string(),
            ..BuildInfo::default()
        },
        license_validity: None,
        update_info: None,
        unstable_features: None,
    })
}
