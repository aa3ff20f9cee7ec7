//! DeleteTopics, by name or by id.

use std::collections::BTreeMap;

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, TopicImage};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::records::metadata::RemoveTopicRecord;
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::controller::{Decision, TopicError};

/// Deletes topics; those that cannot be are refused one by one.
pub(crate) fn delete_topics(
    image: &MetadataImage,
    request: &DeleteTopicsRequest,
    enabled: bool,
) -> Decision<DeleteTopicsResponse> {
    if !enabled {
        let error = TopicError::new(ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.");
        return Decision::answer(refuse_all(request, &error));
    }
    let wanted = wanted(request);
    let counts = count(&wanted);
    let mut records = Vec::new();
    let mut responses = Vec::new();
    for state in &wanted {
        match resolve(image, state, &counts) {
            Ok(topic) => {
                records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord {
                    topic_id: topic.id,
                    ..Default::default()
                }));
                responses.push(DeletableTopicResult {
                    name: Some(topic.name.clone()),
                    topic_id: topic.id,
                    ..Default::default()
                });
            }
            Err(error) => responses.push(refused(state, &error)),
        }
    }
    Decision { records, response: DeleteTopicsResponse { responses, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(request: &DeleteTopicsRequest, error: &TopicError) -> DeleteTopicsResponse {
    let responses = wanted(request).iter().map(|state| refused(state, error)).collect();
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

fn count(wanted: &[DeleteTopicState]) -> BTreeMap<(Option<Str>, Uuid), usize> {
    let mut counts = BTreeMap::new();
    for state in wanted {
        *counts.entry((state.name.clone(), state.topic_id)).or_insert(0) += 1;
    }
    counts
}

fn resolve<'a>(
    image: &'a MetadataImage,
    state: &DeleteTopicState,
    counts: &BTreeMap<(Option<Str>, Uuid), usize>,
) -> Result<&'a TopicImage, TopicError> {
    let invalid = |message: &str| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    let twice = counts.get(&(state.name.clone(), state.topic_id)).is_some_and(|count| *count > 1);
    match (&state.name, state.topic_id) {
        (None, Uuid::ZERO) => invalid("Neither topic name nor id were specified."),
        (Some(_), id) if id != Uuid::ZERO => invalid("You may not specify both topic name and topic id."),
        (Some(_), _) if twice => invalid("Duplicate topic name."),
        (None, _) if twice => invalid("Duplicate topic id."),
        (Some(name), _) => image.topics.by_name(name).map(AsRef::as_ref).ok_or_else(|| {
            TopicError::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        }),
        (None, id) => {
            let named_too = image
                .topics
                .by_id(&id)
                .is_some_and(|topic| counts.contains_key(&(Some(topic.name.clone()), Uuid::ZERO)));
            if named_too {
                return invalid("The provided topic name maps to an ID that was already supplied.");
            }
            image.topics.by_id(&id).map(AsRef::as_ref).ok_or_else(|| {
                TopicError::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
            })
        }
    }
}

fn refused(state: &DeleteTopicState, error: &TopicError) -> DeletableTopicResult {
    DeletableTopicResult {
        name: state.name.clone(),
        topic_id: state.topic_id,
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}
