//! An encrypted connection for a guest: the version of TLS, and the certificate of the peer.

use std::fmt::Write as _;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConnection, ProtocolVersion};
use x509_cert::der::Decode as _;
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::plugin::guest::bindings::gauged::plugin::types::{Certificate, TlsSession};

/// The session after the handshake; none if the peer's certificate cannot be read.
pub(crate) fn session(connection: &ClientConnection) -> Option<TlsSession> {
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "1.3",
        // There are no others.
        _ => "1.2",
    };
    let certificate = certificate(connection.peer_certificates()?.first()?)?;
    Some(TlsSession { version: version.to_owned(), certificate })
}

/// The facts about a certificate; none if it cannot be read.
fn certificate(certificate: &CertificateDer<'_>) -> Option<Certificate> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?.tbs_certificate;
    let seconds = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    Some(Certificate {
        not_before: seconds(parsed.validity.not_before)?,
        not_after: seconds(parsed.validity.not_after)?,
        subject: text(&parsed.subject)?,
        issuer: text(&parsed.issuer)?,
    })
}

/// A name in the form of RFC 4514; none if it cannot be written.
fn text(name: &Name) -> Option<String> {
    let mut text = String::new();
    write!(text, "{name}").ok().map(|()| text)
}

/// The fuzz target: what a certificate may say. Its times are from 1970 to 9999, and its channel binding is a hash.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    const END_OF_9999: i64 = 253_402_300_799;
    if let Some(Certificate { not_before, not_after, .. }) = certificate(&CertificateDer::from(bytes)) {
        for time in [not_before, not_after] {
            assert!((0..=END_OF_9999).contains(&time), "{time}");
        }
    }
    let binding = super::server_end_point::server_end_point(bytes);
    assert!(binding.is_none_or(|hash| [28, 32, 48, 64].contains(&hash.len())));
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn certificate_has_names_and_times() {
        let mut params = CertificateParams::new(vec!["db".to_owned()]).expect("a name");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Example, \"Inc\"");
        params.distinguished_name.push(DnType::CommonName, "db.internal");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let name = "CN=db.internal,O=Example\\, \\\"Inc\\\",C=DE";
        let expected = Certificate {
            not_before: 1_577_836_800,
            not_after: 4_102_444_800,
            subject: name.to_owned(),
            issuer: name.to_owned(),
        };
        let signed = params.self_signed(&key).expect("signed");
        assert_eq!(certificate(signed.der()), Some(expected));
        assert_eq!(certificate(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
