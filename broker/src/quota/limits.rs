//! Which limit holds for a user with a client id, most special first.

use std::collections::HashMap;

use ottla_quorum::image::SecurityImage;
use ottla_wire::Str;

use super::{Payer, QuotaKind};

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    /// Everybody who has none of their own.
    Default,
    Named(Str),
}

type Key = (Option<Holder>, Option<Holder>);

/// Limits by user and client id.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<QuotaKind, HashMap<Key, f64>>);

impl Limits {
    /// Those of users and clients in the image.
    pub(super) fn of(image: &SecurityImage) -> Self {
        let mut limits = Self::default();
        for (entity, values) in &image.quotas {
            let holder = |kind: &str| {
                let (_, name) = entity.iter().find(|(found, _)| &**found == kind)?;
                Some(name.clone().map_or(Holder::Default, Holder::Named))
            };
            let key = (holder("user"), holder("client-id"));
            for kind in QuotaKind::ALL {
                if let Some(value) = values.get(kind.key()).filter(|value| value.is_finite()) {
                    limits.0.entry(kind).or_default().insert(key.clone(), *value);
                }
            }
        }
        limits
    }

    /// Whether anybody is limited in this.
    pub(super) fn any(&self, kind: QuotaKind) -> bool {
        self.0.contains_key(&kind)
    }

    /// The limit that holds, and who shares it.
    pub(super) fn find(&self, kind: QuotaKind, user: &Str, client: &str) -> Option<(Payer, f64)> {
        let limits = self.0.get(&kind)?;
        let client = Str::from(client);
        let (user_named, client_named) =
            (Some(Holder::Named(user.clone())), Some(Holder::Named(client.clone())));
        let default = Some(Holder::Default);
        let order = [
            (&user_named, &client_named),
            (&user_named, &default),
            (&user_named, &None),
            (&default, &client_named),
            (&default, &default),
            (&default, &None),
            (&None, &client_named),
            (&None, &default),
        ];
        let (key, limit) = order.into_iter().find_map(|(user, client)| {
            let key = (user.clone(), client.clone());
            limits.get(&key).map(|limit| (key, *limit))
        })?;
        let payer = Payer { user: key.0.map(|_| user.clone()), client: key.1.map(|_| client) };
        Some((payer, limit))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_most_special_limit_holds_and_is_shared_by_whom_it_names() {
        let mut image = SecurityImage::default();
        let mut set = |entity: &[(&'static str, Option<&'static str>)], rate: f64| {
            let entity =
                entity.iter().map(|(kind, name)| (Str::from(*kind), name.map(Str::from))).collect::<Vec<_>>();
            image.quotas.insert(entity, BTreeMap::from([(Str::from("producer_byte_rate"), rate)]));
        };
        set(&[("client-id", None)], 1.0);
        set(&[("client-id", Some("c"))], 2.0);
        set(&[("user", None)], 3.0);
        set(&[("client-id", Some("d")), ("user", None)], 4.0);
        set(&[("user", Some("u"))], 5.0);
        set(&[("client-id", Some("c")), ("user", Some("u"))], 6.0);
        let limits = Limits::of(&image);
        let find = |user: &'static str, client: &str| {
            let (payer, limit) = limits.find(QuotaKind::Produce, &Str::from(user), client).unwrap();
            (limit, payer.user.is_some(), payer.client.is_some())
        };
        assert_eq!(find("u", "c"), (6.0, true, true));
        assert_eq!(find("u", "x"), (5.0, true, false));
        assert_eq!(find("v", "d"), (4.0, true, true));
        assert_eq!(find("v", "c"), (3.0, true, false), "a default of users goes before a client id");
        image.quotas.retain(|entity, _| entity.len() == 1 && &*entity[0].0 == "client-id");
        let limits = Limits::of(&image);
        let find = |client: &str| limits.find(QuotaKind::Produce, &Str::from("v"), client).unwrap().1;
        assert_eq!((find("c"), find("x")), (2.0, 1.0));
        assert!(limits.find(QuotaKind::Fetch, &Str::from("v"), "c").is_none());
    }
}
