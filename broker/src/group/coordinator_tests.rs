//! Who is asked while partitions come and go.

use super::*;

fn coordinator() -> Coordinator {
    let config = Config::from_overrides(&[]).unwrap();
    let partitions =
        Partitions::load(Arc::new(config.clone()), Vec::new(), &MetadataImage::default(), clock::now())
            .unwrap();
    Coordinator::new(&config, partitions)
}

/// A partition of the offsets topic whose task is played by the test.
fn host(coordinator: &Coordinator, index: i32) -> (Arc<AtomicBool>, mpsc::Receiver<Message>) {
    let (messages, receiver) = mpsc::channel(1);
    let ready = Arc::new(AtomicBool::new(false));
    let hosted = Hosted {
        topic_id: Uuid::ZERO,
        leader_epoch: 0,
        ready: Arc::clone(&ready),
        messages,
        stop: CancellationToken::new(),
    };
    let mut routes = coordinator.routes.lock();
    routes.count = routes.count.max(index + 1);
    routes.hosted.insert(index, hosted);
    (ready, receiver)
}

fn describe(token: Token) -> Request {
    Request::Describe { token, group: "g".into() }
}

async fn answer(receiver: &mut mpsc::Receiver<Message>, with: ShardAnswer) {
    match receiver.recv().await {
        Some(Message::Ask(_, _, reply)) => reply.send(with).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_is_answered_before_the_log_is_replayed() {
    let coordinator = coordinator();
    assert_eq!(coordinator.ask("g", describe).await, Err(GroupError::NotCoordinator));
    assert_eq!(coordinator.list(&ListFilter::default()).await, Ok(Vec::new()));
    let (ready, mut receiver) = host(&coordinator, 0);
    assert!(!coordinator.is_loaded());
    assert_eq!(coordinator.ask("g", describe).await, Err(GroupError::LoadInProgress));
    assert_eq!(coordinator.list(&ListFilter::default()).await, Err(GroupError::LoadInProgress));

    ready.store(true, Ordering::Release);
    let (answered, ()) =
        tokio::join!(coordinator.ask("g", describe), answer(&mut receiver, ShardAnswer::Describe(None)));
    assert_eq!(answered, Ok(ShardAnswer::Describe(None)));
    drop(receiver);
    assert_eq!(coordinator.ask("g", describe).await, Err(GroupError::NotCoordinator));
}

#[tokio::test]
async fn lists_of_all_partitions_are_joined_without_those_that_are_gone() {
    let coordinator = coordinator();
    let mut receivers = Vec::new();
    for index in 0..3 {
        let (ready, receiver) = host(&coordinator, index);
        ready.store(true, Ordering::Release);
        receivers.push(receiver);
    }
    let gone = receivers.pop();
    let mut moving = receivers.pop().unwrap();
    let mut first = receivers.pop().unwrap();
    drop(gone);
    let group =
        ListedGroup { id: "g".into(), protocol_type: None, state: super::super::classic::State::Empty };
    let filter = ListFilter::default();
    let (listed, ()) = tokio::join!(coordinator.list(&filter), async {
        answer(&mut first, ShardAnswer::List(vec![group.clone()])).await;
        // Its task ends before it answers.
        drop(moving.recv().await);
    });
    assert_eq!(listed, Ok(vec![group]));
}
