//! Quotas of new connections by address (KIP-612, `connection_creation_rate`).

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use ottla_quorum::image::SecurityImage;
use tracing::warn;

use super::payers::Payers;
use super::rate::{Rate, Window};

/// Connections per second.
#[derive(Debug, Default)]
pub(super) struct Limits {
    default: Option<f64>,
    own: HashMap<IpAddr, f64>,
}

/// Limits, and the rates of the addresses that have one.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    limits: Limits,
    rates: Payers<IpAddr, Rate>,
}

/// The addresses of a host. Asks the name server: not on a task of the runtime.
pub fn addresses_of(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return vec![address.to_canonical()];
    }
    let found = (host, 0).to_socket_addrs().into_iter().flatten();
    found.map(|address| address.ip().to_canonical()).collect()
}

impl Limits {
    /// Those of addresses in the image. Asks the name server, as [`addresses_of`].
    pub(super) fn of(image: &SecurityImage) -> Self {
        let mut limits = Self::default();
        for (entity, values) in &image.quotas {
            let ([(kind, name)], Some(limit)) = (entity.as_slice(), values.get("connection_creation_rate"))
            else {
                continue;
            };
            match name {
                _ if &**kind != "ip" => {}
                None => limits.default = Some(*limit),
                Some(host) => {
                    let addresses = addresses_of(host);
                    if addresses.is_empty() {
                        warn!(%host, "the quota of a host without an address has no effect");
                    }
                    limits.own.extend(addresses.into_iter().map(|address| (address, *limit)));
                }
            }
        }
        limits
    }
}

impl Addresses {
    /// Puts other limits into effect.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Counts a new connection; if there are too many it is not to be served, but closed after the pause.
    pub(super) fn connect(&mut self, address: IpAddr, window: Window, now: Instant) -> Option<Duration> {
        let address = address.to_canonical();
        let limit = self.limits.own.get(&address).copied().or(self.limits.default)?;
        let rate = self.rates.of(address, |rate| rate.is_silent(window, now));
        rate.record(1.0, window, now);
        let pause = rate.throttle(limit, window, now);
        if pause.is_zero() {
            return None;
        }
        rate.take_back(1.0);
        Some(pause.min(window.sample))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_wire::Str;

    use super::*;

    #[test]
    fn an_address_has_its_own_limit_or_that_of_all() {
        let window = Window { sample: Duration::from_secs(1), samples: 11 };
        let now = Instant::now();
        let mut image = SecurityImage::default();
        let mut addresses = Addresses::default();
        let here: IpAddr = [127, 0, 0, 1].into();
        let there: IpAddr = [10, 0, 0, 1].into();
        addresses.limit(Limits::of(&image));
        assert_eq!(addresses.connect(here, window, now), None, "no limit");
        for (name, rate) in [(Some("127.0.0.1"), 0.2), (None, 0.1)] {
            let entity = vec![(Str::from("ip"), name.map(Str::from))];
            image.quotas.insert(entity, BTreeMap::from([(Str::from("connection_creation_rate"), rate)]));
        }
        addresses.limit(Limits::of(&image));
        let mut served =
            |address| (0..9).filter(|_| addresses.connect(address, window, now).is_none()).count();
        assert_eq!((served(here), served(there)), (2, 1));
        let mapped = IpAddr::V6(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(addresses.connect(mapped, window, now), Some(Duration::from_secs(1)), "the same address");
        let later = now + Duration::from_secs(11);
        assert_eq!(addresses.connect(here, window, later), None, "refused ones do not count");
    }
}
