//! DescribeConfigs (32).
