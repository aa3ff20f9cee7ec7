//! Disks that fail under a node with several log directories.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Client, PATIENCE, batch, node_on};
use crate::keys::topic::alter_topic;
use ottla_broker::broker::Node;
use ottla_log::testing::FaultyDisk;
use ottla_quorum::MetadataImage;
use ottla_wire::messages::DescribeLogDirsRequest;

const STORAGE_ERROR: i16 = 56;

/// A node on `d0` (with the metadata log) and `d1`.
struct Scene {
    dir: tempfile::TempDir,
    disk: FaultyDisk,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(dir.path()).unwrap();
        Self { dir, disk }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    async fn start(&self) -> Result<(Node, Client), String> {
        let dirs = format!("{},{}", self.path("d0"), self.path("d1"));
        let node = node_on(Arc::new(self.disk.clone()), &[("log.dirs", &dirs)]).await?;
        let client = Client::connect(node.address("PLAINTEXT").unwrap()).await;
        Ok((node, client))
    }

    fn break_disk(&self, name: &str) {
        self.disk.set_broken(Some(Path::new(&self.path(name))));
    }

    /// The two partitions of `t`: one in `d0`, one in `d1`.
    fn partitions(&self) -> (i32, i32) {
        let in_d1 = |index: &i32| self.dir.path().join(format!("d1/t-{index}")).exists();
        let second = (0..2).find(in_d1).expect("the emptiest directory takes the next");
        (1 - second, second)
    }
}

/// Waits for a state of the metadata.
async fn until(node: &Node, what: &str, holds: impl Fn(&MetadataImage) -> bool) {
    let mut changes = node.broker().controller.image_changes();
    let seen = changes.wait_for(|image| holds(image));
    tokio::time::timeout(PATIENCE, seen).await.expect(what).unwrap();
}

async fn error_of(client: &mut Client, partition: i32) -> (i16, i16) {
    let produced = client.produce("t", partition, batch(&["more"], None)).await.error_code;
    (produced, client.fetch("t", partition, 0).await.error_code)
}

async fn directory_errors(client: &mut Client) -> Vec<(String, i16)> {
    let answer = client.call(&DescribeLogDirsRequest::default(), 4).await;
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let mut errors: Vec<_> = answer.results.iter().map(|it| (name(&it.log_dir), it.error_code)).collect();
    errors.sort();
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_fails_is_out_and_the_others_go_on() {
    let scene = Scene::new();
    let (node, mut client) = scene.start().await.unwrap();
    client.create_topic("t", 2, &[]).await;
    let (good, bad) = scene.partitions();
    for partition in [good, bad] {
        assert_eq!(client.produce("t", partition, batch(&["first"], None)).await.error_code, 0);
    }
    until(&node, "the controller knows where both are", |image| {
        let places = [good, bad].map(|index| image.partition("t", index).unwrap().directory_of(1).unwrap());
        let registered = &image.broker(1).unwrap().log_dirs;
        places[0] != places[1] && places.iter().all(|place| registered.contains(place))
    })
    .await;
    scene.break_disk("d1");
    assert_eq!(client.produce("t", bad, batch(&["lost"], None)).await.error_code, STORAGE_ERROR);
    until(&node, "nobody leads what lies there", |image| {
        let leader = |index| image.partition("t", index).unwrap().leader;
        (leader(good), leader(bad), image.broker(1).unwrap().log_dirs.len()) == (1, -1, 1)
    })
    .await;
    assert_eq!(error_of(&mut client, bad).await, (STORAGE_ERROR, STORAGE_ERROR));
    assert_eq!(error_of(&mut client, good).await, (0, 0));
    assert_eq!(directory_errors(&mut client).await, [("d0".into(), 0), ("d1".into(), STORAGE_ERROR)]);
    client.create_topic("new", 2, &[]).await;
    for partition in 0..2 {
        assert_eq!(client.produce("new", partition, batch(&["x"], None)).await.error_code, 0);
    }
    scene.disk.set_broken(None);
    assert_eq!(error_of(&mut client, bad).await.0, STORAGE_ERROR, "until the next start");
    node.stop().await;

    let (node, mut client) = scene.start().await.unwrap();
    assert_eq!(client.read_all("t", bad).await, [(0, "first".to_owned())]);
    assert_eq!(client.produce("t", bad, batch(&["again"], None)).await.error_code, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_read_at_the_start_is_out_and_what_lay_there_is_not_made_anew() {
    let scene = Scene::new();
    let (node, mut client) = scene.start().await.unwrap();
    client.create_topic("t", 2, &[]).await;
    let (good, bad) = scene.partitions();
    for partition in [good, bad] {
        assert_eq!(client.produce("t", partition, batch(&["first"], None)).await.error_code, 0);
    }
    node.stop().await;
    scene.break_disk("d1");
    let (node, mut client) = scene.start().await.unwrap();
    assert_eq!(error_of(&mut client, bad).await, (STORAGE_ERROR, STORAGE_ERROR));
    assert_eq!(error_of(&mut client, good).await, (0, 0));
    assert_eq!(directory_errors(&mut client).await, [("d0".into(), 0), ("d1".into(), STORAGE_ERROR)]);
    // Changes of the topic do not bring it about either.
    alter_topic(&mut client, "t", "retention.ms", Some("-1")).await.unwrap();
    client.create_topic("new", 2, &[]).await;
    assert_eq!(client.produce("new", 1, batch(&["x"], None)).await.error_code, 0);
    node.stop().await;
    assert!(!scene.dir.path().join(format!("d0/t-{bad}")).exists());

    scene.disk.set_broken(None);
    let (node, mut client) = scene.start().await.unwrap();
    assert_eq!(client.read_all("t", bad).await, [(0, "first".to_owned())]);
    assert_eq!(client.produce("t", bad, batch(&["again"], None)).await.error_code, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_directory_of_the_metadata_a_node_ends() {
    let scene = Scene::new();
    let (node, mut client) = scene.start().await.unwrap();
    client.create_topic("t", 2, &[]).await;
    scene.break_disk("d0");
    let (first, _) = scene.partitions();
    assert_eq!(client.produce("t", first, batch(&["x"], None)).await.error_code, STORAGE_ERROR);
    tokio::time::timeout(Duration::from_secs(10), node.failed()).await.expect("it says that it cannot go on");
    node.stop().await;
    let refused = scene.start().await.err().expect("it does not start");
    assert!(refused.contains("d0"), "{refused}");
}
