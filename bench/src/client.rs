//! librdkafka, set up as our loads need it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// How many of a client's complaints are shown.
const SHOWN: u32 = 3;

/// Says what a client complains of, up to a bound: a broker that is away is complained of at every attempt.
#[derive(Debug, Default)]
pub struct Complaints {
    who: String,
    count: AtomicU32,
}

impl Complaints {
    /// Of this client.
    #[must_use]
    pub fn of(who: String) -> Self {
        Self { who, count: AtomicU32::new(0) }
    }

    /// One more.
    pub fn say(&self, complaint: &str) {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before < SHOWN {
            let more = if before + 1 == SHOWN { " (no more of these)" } else { "" };
            eprintln!("{}: {complaint}{more}", self.who);
        }
    }
}

impl ClientContext for Complaints {
    fn error(&self, error: KafkaError, reason: &str) {
        self.say(&format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Complaints {}

/// Where the cluster is, and what else every client is told (`key=value`).
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// Brokers to start from, host:port, with commas between
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// A setting of librdkafka for every client, key=value
    #[arg(long = "client", value_name = "KEY=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
}

/// `key=value` of the command line.
///
/// # Errors
///
/// Where there is no `=`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text}: must be key=value"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Target {
    /// What every client has.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        // A node that comes back is found within a second, and addresses of either family are tried as they are named.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        for (key, value) in &self.settings {
            config.set(key, value);
        }
        config
    }

    /// A consumer that reads partitions by hand, without a group.
    ///
    /// # Errors
    ///
    /// A setting that librdkafka does not know.
    pub fn reader(&self, who: &str) -> anyhow::Result<BaseConsumer<Complaints>> {
        let mut config = self.config();
        config.set("group.id", format!("{who}-unused")).set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("check.crcs", "true");
        config.set("auto.offset.reset", "error");
        BaseConsumer::from_config_and_context(&config, Complaints::of(who.to_owned())).context("consumer")
    }

    /// Makes a topic, or takes the one that is there; its number of partitions, once each has a leader.
    ///
    /// # Errors
    ///
    /// Where that takes more than a minute.
    pub fn topic(&self, topic: &Topic) -> anyhow::Result<i32> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut last = anyhow::anyhow!("no answer");
        while Instant::now() < end {
            match self.create(topic).and_then(|()| self.partitions(&topic.name)) {
                Ok(partitions) => return Ok(partitions),
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(last.context(format!("topic {}", topic.name)))
    }

    fn admin(&self) -> anyhow::Result<AdminClient<Complaints>> {
        let complaints = Complaints::of("admin".to_owned());
        AdminClient::from_config_and_context(&self.config(), complaints).context("admin client")
    }

    fn create(&self, topic: &Topic) -> anyhow::Result<()> {
        let wanted = topic.configs.iter().fold(
            NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication)),
            |wanted, (key, value)| wanted.set(key, value),
        );
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let answers = futures::executor::block_on(self.admin()?.create_topics([&wanted], &options))?;
        match answers.into_iter().next() {
            Some(Ok(_)) | Some(Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => anyhow::bail!("create: {code}"),
            None => anyhow::bail!("create: no answer"),
        }
    }

    /// Deletes a topic.
    ///
    /// # Errors
    ///
    /// What the broker says.
    pub fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let answers = futures::executor::block_on(self.admin()?.delete_topics(&[topic], &options))?;
        match answers.into_iter().next() {
            Some(Err((_, code))) => anyhow::bail!("delete {topic}: {code}"),
            _ => Ok(()),
        }
    }

    fn partitions(&self, topic: &str) -> anyhow::Result<i32> {
        let metadata = self.admin()?.inner().fetch_metadata(Some(topic), Duration::from_secs(10))?;
        let found =
            metadata.topics().iter().find(|found| found.name() == topic).context("not in the metadata")?;
        let led = found.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        anyhow::ensure!(led > 0 && led == found.partitions().len(), "partitions have no leader yet");
        Ok(i32::try_from(led)?)
    }
}

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Partitions, if it is not there yet.
    pub partitions: i32,
    /// Replicas of each.
    pub replication: i32,
    /// Its configuration.
    pub configs: Vec<(String, String)>,
}

/// First and next offset of each partition.
///
/// # Errors
///
/// Where a partition does not answer until `end`.
pub fn watermarks<C: ConsumerContext>(
    reader: &BaseConsumer<C>,
    topic: &str,
    partitions: i32,
    end: Instant,
) -> anyhow::Result<Vec<(i64, i64)>> {
    (0..partitions)
        .map(|partition| {
            loop {
                match reader.fetch_watermarks(topic, partition, Duration::from_secs(5)) {
                    Ok(marks) => return Ok(marks),
                    Err(error) if Instant::now() > end => {
                        return Err(error).with_context(|| format!("offsets of {topic}-{partition}"));
                    }
                    Err(_) => {
                        // librdkafka goes by the metadata that it has, for minutes: a partition whose leader it does not
                        // know any more stays "unknown" until somebody asks for the topic again.
                        let _ = reader.fetch_metadata(Some(topic), Duration::from_secs(5));
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
        })
        .collect()
}

/// Has a reader read these partitions from these offsets.
///
/// # Errors
///
/// What librdkafka says.
pub fn assign<C: ConsumerContext>(
    reader: &BaseConsumer<C>,
    topic: &str,
    from: impl IntoIterator<Item = (i32, i64)>,
) -> anyhow::Result<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in from {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    reader.assign(&list).context("assign")
}
