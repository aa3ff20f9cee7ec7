use super::*;

fn load(overrides: &[(&str, &str)]) -> Result<Config, String> {
    Config::from_overrides(overrides).map_err(|errors| errors.to_string())
}

fn error(overrides: &[(&str, &str)]) -> String {
    load(overrides).map(|config| format!("{config:?}")).expect_err("a wrong configuration")
}

#[test]
fn started_from_nothing_it_is_one_node_on_localhost() {
    let config = Config::default_single_node();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.roles, Roles { broker: true, controller: true });
    let text = |listeners: &[Listener]| listeners.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&config.listeners), ["PLAINTEXT://:9092", "CONTROLLER://localhost:9093"]);
    assert_eq!(text(&config.advertised_listeners), ["PLAINTEXT://localhost:9092"]);
    assert_eq!(text(&config.advertised_controller_listeners), ["CONTROLLER://localhost:9093"]);
    assert_eq!(config.log_dirs, [PathBuf::from("data")]);
    assert_eq!(config.metadata_log_dir, PathBuf::from("data"));
    assert!(config.format_if_empty);
}

#[test]
fn a_bad_key_is_named() {
    assert_eq!(error(&[("nodes.id", "1")]), "--override: unknown key nodes.id; did you mean node.id?");
}
