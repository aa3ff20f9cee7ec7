//! DeleteTopics, by name or by id.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, TopicImage};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::records::metadata::RemoveTopicRecord;
use ottla_wire::{ErrorCode, Str, Uuid};

use super::Charge;
use crate::controller::{Decision, TopicError};

/// Deletes topics; those that cannot be are refused one by one.
pub(crate) fn delete_topics(
    image: &MetadataImage,
    request: &DeleteTopicsRequest,
    enabled: bool,
    charge: Charge<'_>,
) -> Decision<DeleteTopicsResponse> {
    if !enabled {
        let error = TopicError::new(ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.");
        return Decision::answer(refuse_all(request, &error));
    }
    let wanted = wanted(request);
    let asked = Asked::of(image, &wanted);
    let mut records = Vec::new();
    let mut responses = Vec::new();
    let mut answered = BTreeSet::new();
    for state in &wanted {
        let resolved = asked.resolve(image, state);
        let answer = match &resolved {
            Ok(topic) | Err((Some(topic), _)) => (Some(topic.name.clone()), topic.id),
            Err((None, _)) => (state.name.clone(), state.topic_id),
        };
        if !answered.insert(answer.clone()) {
            continue;
        }
        let outcome = resolved
            .map_err(|(_, error)| error)
            .and_then(|topic| charge(topic.partitions.len()).map(|()| topic.id));
        if let Ok(topic_id) = outcome {
            let record = RemoveTopicRecord { topic_id, ..Default::default() };
            records.push(MetadataRecord::RemoveTopic(record));
        }
        responses.push(result(answer, outcome.err()));
    }
    Decision { records, response: DeleteTopicsResponse { responses, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(request: &DeleteTopicsRequest, error: &TopicError) -> DeleteTopicsResponse {
    let refused = |state: DeleteTopicState| result((state.name, state.topic_id), Some(error.clone()));
    let responses = wanted(request).into_iter().map(refused).collect();
    DeleteTopicsResponse { responses, ..Default::default() }
}

/// Older versions list names only.
fn wanted(request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    let by_name = request
        .topic_names
        .iter()
        .map(|name| DeleteTopicState { name: Some(name.clone()), ..Default::default() });
    request.topics.iter().cloned().chain(by_name).collect()
}

/// How often each topic is asked for, by what it was asked by.
struct Asked {
    by_state: BTreeMap<(Option<Str>, Uuid), usize>,
    by_topic: BTreeMap<Uuid, BTreeSet<(Option<Str>, Uuid)>>,
}

/// A refusal, and the topic that it is about where it must be told by name and id.
type Refused<'a> = (Option<&'a TopicImage>, TopicError);

impl Asked {
    fn of(image: &MetadataImage, wanted: &[DeleteTopicState]) -> Self {
        let mut asked = Self { by_state: BTreeMap::new(), by_topic: BTreeMap::new() };
        for state in wanted {
            let key = (state.name.clone(), state.topic_id);
            *asked.by_state.entry(key.clone()).or_insert(0) += 1;
            let found = match &state.name {
                Some(name) => image.topics.by_name(name),
                None => image.topics.by_id(&state.topic_id),
            };
            if let Some(topic) = found {
                asked.by_topic.entry(topic.id).or_default().insert(key);
            }
        }
        asked
    }

    fn resolve<'a>(
        &self,
        image: &'a MetadataImage,
        state: &DeleteTopicState,
    ) -> Result<&'a TopicImage, Refused<'a>> {
        let invalid = |message: &str| Err((None, TopicError::new(ErrorCode::InvalidRequest, message)));
        let key = (state.name.clone(), state.topic_id);
        let twice = self.by_state.get(&key).is_some_and(|count| *count > 1);
        let topic = match (&state.name, state.topic_id) {
            (None, Uuid::ZERO) => return invalid("Neither topic name nor id were specified."),
            (Some(_), id) if id != Uuid::ZERO => {
                return invalid("You may not specify both topic name and topic id.");
            }
            (Some(_), _) if twice => return invalid("Duplicate topic name."),
            (None, _) if twice => return invalid("Duplicate topic id."),
            (Some(name), _) => image.topics.by_name(name),
            (None, id) => image.topics.by_id(&id),
        };
        let topic = topic.ok_or_else(|| (None, unknown(state)))?;
        if self.by_topic.get(&topic.id).is_some_and(|ways| ways.len() > 1) {
            let message = "The provided topic name maps to an ID that was already supplied.";
            return Err((Some(topic), TopicError::new(ErrorCode::InvalidRequest, message)));
        }
        Ok(topic)
    }
}

fn unknown(state: &DeleteTopicState) -> TopicError {
    let (code, message) = if state.name.is_some() {
        (ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    } else {
        (ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
    };
    TopicError::new(code, message)
}

fn result((name, topic_id): (Option<Str>, Uuid), error: Option<TopicError>) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message),
        ..Default::default()
    }
}
