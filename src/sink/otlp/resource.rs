//! The attributes of the agent and its host. They are in each request once, and receivers such as `VictoriaMetrics` make labels of them
//! all: none may change from one start to the next.

use std::fmt::Write as _;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::host::HostFacts;
use super::messages::{KeyValue, Resource};
use crate::sample::Label;

/// The namespace of `service.instance.id` where it is made of another id (semantic conventions, "Service").
const NAMESPACE: [u8; 16] =
    [0x4d, 0x63, 0x00, 0x9a, 0x8d, 0x0f, 0x11, 0xee, 0xaa, 0xd7, 0x4c, 0x79, 0x6e, 0xd8, 0xe3, 0x20];

/// The attributes. A tag with the name of one of them, which only one without a dot could have, comes last.
pub(super) fn resource(facts: &HostFacts, host: &str, tags: &[Label]) -> Resource {
    let instance = facts.id.as_deref().or_else(|| Some(host).filter(|host| !host.is_empty()));
    let own = [
        ("service.name", Some("gauged".to_owned())),
        ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("service.instance.id", instance.map(|id| uuid_5(NAMESPACE, id.as_bytes()))),
        ("host.name", Some(host.to_owned()).filter(|host| !host.is_empty())),
        ("host.id", facts.id.clone()),
        ("os.type", Some(std::env::consts::OS.replace("macos", "darwin"))),
    ];
    let own = own.iter().filter_map(|(name, value)| Some(KeyValue::text(name, value.as_ref()?)));
    let tags = tags.iter().filter(|tag| !tag.value.is_empty());
    Resource { attributes: own.chain(tags.map(KeyValue::from)).collect() }
}

/// The UUID of a name in a namespace: version 5 of RFC 9562, by SHA-1.
fn uuid_5(namespace: [u8; 16], name: &[u8]) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(&namespace);
    hash.update(name);
    let digest = hash.finish();
    let mut text = String::with_capacity(36);
    for (at, byte) in digest.as_ref().iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = match at {
            6 => byte & 0x0f | 0x50,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        // A string grows.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::messages::Value;
    use super::*;

    fn attributes(resource: &Resource) -> Vec<(&str, &str)> {
        resource
            .attributes
            .iter()
            .map(|attribute| {
                let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
                let Some(Value::StringValue(value)) = value else { panic!("no text") };
                (&*attribute.key, &**value)
            })
            .collect()
    }

    #[test]
    fn uuids_are_those_of_rfc_9562() {
        // Appendix A.4, and Python's uuid.uuid5.
        let dns = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        assert_eq!(uuid_5(dns, b"www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        let id = b"0123456789abcdef0123456789abcdef";
        assert_eq!(uuid_5(NAMESPACE, id), "2f1423a8-dc20-5c0e-839d-70474f2dc393");
    }

    #[test]
    fn attributes_name_the_agent_and_host() {
        let facts = HostFacts { id: Some("0123456789abcdef0123456789abcdef".to_owned()), boot: None };
        let tags =
            [("dc", "fra1"), ("empty", "")].map(|(name, value)| Label { name: name.into(), value: value.into() });
        let resource = resource(&facts, "web-1", &tags);
        assert_eq!(
            attributes(&resource),
            [
                ("service.name", "gauged"),
                ("service.version", env!("CARGO_PKG_VERSION")),
                ("service.instance.id", "2f1423a8-dc20-5c0e-839d-70474f2dc393"),
                ("host.name", "web-1"),
                ("host.id", "0123456789abcdef0123456789abcdef"),
                ("os.type", "linux"),
                ("dc", "fra1"),
            ]
        );
    }

    #[test]
    fn instance_without_machine_id_is_the_host_name() {
        let of_name = resource(&HostFacts::default(), "web-1", &[]);
        assert_eq!(of_name.attributes[2], KeyValue::text("service.instance.id", &uuid_5(NAMESPACE, b"web-1")));
        assert!(attributes(&of_name).iter().all(|(name, _)| *name != "host.id"));
        let nameless = resource(&HostFacts::default(), "", &[]);
        assert_eq!(attributes(&nameless).len(), 3);
    }
}
