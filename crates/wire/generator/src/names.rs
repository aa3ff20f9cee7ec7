//! Rust names for the schema's names.

/// `FetchableTopicResponse` → `fetchable_topic_response`, `KRaftVersion` → `kraft_version`.
pub fn snake_case(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut snake = String::new();
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && previous_lower {
            snake.push('_');
        }
        previous_lower = !c.is_ascii_uppercase();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A field's identifier.
pub fn field_name(name: &str) -> String {
    match snake_case(name) {
        keyword if matches!(keyword.as_str(), "type" | "match" | "ref" | "move" | "final") => {
            format!("r#{keyword}")
        }
        plain => plain,
    }
}
