//! Metrics under the names that the JMX exporter gives to those of Kafka.
