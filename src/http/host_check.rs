//! Whether a request is meant for this host, by its header `Host`. A web page whose name leads to the agent's address (DNS rebinding)
//! could have a browser read everything; its requests carry the page's name. Addresses are accepted, all of them: no page can have
//! another's.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a value of `Host` names this host: an address, a name of the loopback interface, the host's own name, or one of these, of
/// which `*.` before a domain is every name in it.
pub(super) fn is_own(host: &str, own_name: Option<&str>, others: &[String]) -> bool {
    let name = host_name(host);
    if let Some(inside) = name.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is = |other: &str| name.eq_ignore_ascii_case(other.strip_suffix('.').unwrap_or(other));
    let is_in = |domain: &str| {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let dot = name.len().checked_sub(domain.len() + 1).filter(|&dot| dot > 0);
        let parts = dot.and_then(|dot| name.get(dot..)?.split_at_checked(1));
        parts.is_some_and(|(dot, end)| dot == "." && end.eq_ignore_ascii_case(domain))
    };
    let is_named = |other: &str| other.strip_prefix("*.").map_or_else(|| is(other), is_in);
    // No resolver asks the network for it (RFC 6761).
    let is_local = is("localhost") || is_in("localhost");
    is_local || own_name.is_some_and(|own| !own.is_empty() && is(own)) || others.iter().any(|other| is_named(other))
}

/// The value without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn own_names_and_addresses_are_accepted() {
        let others = ["metrics.example.org".to_owned()];
        let is_accepted = |host: &str| is_own(host, Some("Web-1"), &others);
        for host in [
            "localhost",
            "LOCALHOST:9101",
            "a.localhost:1",
            "127.0.0.1:9101",
            "10.1.2.3",
            "[::1]:9101",
            "[fe80::1]",
            "web-1",
            "WEB-1:9101",
            "web-1.:9101",
            "Metrics.Example.org:443",
        ] {
            assert!(is_accepted(host), "{host}");
        }
        for host in [
            "",
            ":9101",
            "evil.example",
            "web-1.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "xlocalhost",
            "evil.example:127.0.0.1",
            "[::1",
            "[evil]:1",
            "::1",
            "2130706433",
            "example.org",
            "user@localhost",
            "é.localhost\u{e9}",
        ] {
            assert!(!is_accepted(host), "{host}");
        }
        assert!(!is_own("", Some(""), &[]) && !is_own("web-1", None, &[]));
    }

    #[test]
    fn domain_stands_for_all_its_names() {
        let is_accepted = |host: &str| is_own(host, None, &["*.example.org".to_owned()]);
        for host in ["web-1.example.org", "a.b.Example.ORG:9101", "web-1.example.org."] {
            assert!(is_accepted(host), "{host}");
        }
        for host in [
            "example.org",
            ".example.org",
            "xexample.org",
            "example.org.evil.example",
            "*.example.com",
            "\u{e9}xample.org",
        ] {
            assert!(!is_accepted(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn foreign_names_are_refused(name in "[a-z]{1,8}\\.[a-z]{2,6}(:[0-9]{1,5})?") {
            prop_assume!(!name.contains("localhost"));
            prop_assert!(!is_own(&name, Some("web-1"), &[]));
        }

        #[test]
        fn end_of_any_name_decides(host in any::<String>()) {
            let is_accepted = |host: &str| is_own(host, Some("web-1"), &["b".to_owned(), "*.c".to_owned()]);
            let foreign = format!("{host}.evil.example");
            prop_assert!(!is_accepted(&foreign));
            // A bracket begins an address.
            prop_assert_eq!(is_accepted(&format!("{host}.c")), !host.is_empty() && !host.starts_with('['));
            prop_assert_eq!(is_accepted(&host.to_ascii_uppercase()), is_accepted(&host));
        }
    }
}
