//! The APIs, one file each: `pub async fn handle(&Arc<Broker>, &RequestContext, XRequest) -> XResponse`.

pub mod auto_create;
mod call;
mod context;
pub(crate) mod dispatch;

pub mod alter_client_quotas;
pub mod alter_configs;
mod altered_resource;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leader_hint;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod operations;
pub mod produce;
pub mod sync_group;
pub mod update_features;

pub use crate::config::ListenerName;
pub use call::Refusal;
pub use context::RequestContext;
pub use dispatch::SERVED;
