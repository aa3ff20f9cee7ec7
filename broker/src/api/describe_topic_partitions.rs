//! DescribeTopicPartitions (75, KIP-966).
