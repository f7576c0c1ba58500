//! Addresses: which hop is the client, and under which key an address is counted.
//!
//! Law: a forwarded address is believed only when the peer that says so is a configured proxy.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// The address under which a client is counted: IPv4 whole, IPv6 by its /64, because one
/// subscriber owns a whole /64. IPv4 in IPv6 clothes counts as IPv4.
#[must_use]
pub fn counted_as(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// `::ffff:1.2.3.4` as `1.2.3.4`; everything else unchanged.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The client's address: the right-most hop that is not one of ours.
///
/// `hops` are the values of `X-Forwarded-For`, left to right. They are read only when the peer
/// itself is trusted. A hop that is not an address ends the walk: what lies left of it cannot be
/// believed, so the last trusted address stands.
pub fn client_of<'a>(
    peer: IpAddr,
    hops: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = canonical(peer);
    for hop in hops.rev() {
        if !trusted.iter().any(|net| net.contains(&client)) {
            break;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = canonical(address);
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_peers() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = |peer: &str, hops: &[&str]| client_of(ip(peer), hops.iter().copied(), &trusted);
        assert_eq!(client("192.0.2.1", &["1.2.3.4"]), ip("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["1.2.3.4"]), ip("1.2.3.4"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.9.9.9"]), ip("1.2.3.4"));
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "nonsense"]), ip("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(client_of(ip("10.0.0.1"), ["1.1.1.1"].into_iter(), &[]), ip("10.0.0.1"));
    }

    #[test]
    fn one_ipv6_subscriber_is_one_key() {
        assert_eq!(counted_as(ip("2001:db8:1:2:3:4:5:6")), counted_as(ip("2001:db8:1:2::9")));
        assert_ne!(counted_as(ip("2001:db8:1:2::1")), counted_as(ip("2001:db8:1:3::1")));
        assert_eq!(counted_as(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }
}
