//! Certificates of `[http]` as an operator has to look after them: when they expire, and whether they are of the right kind. TLS itself
//! looks at neither: a peer does, and refuses the server.

use std::time::Duration;

use humantime::format_rfc3339_seconds;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

/// How long before its end a certificate should be renewed: time enough to find out why nobody has done it.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 3600);

/// The part of its life that one has left then, if it lives for weeks only.
const RENEWAL_PART: u32 = 4;

/// The facts about one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    /// When it begins to be valid, since the Unix epoch.
    begin: Duration,
    /// When it ends to be.
    end: Duration,
    /// Whether it may sign others.
    is_authority: bool,
}

/// Something about a certificate that somebody has to look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateWarning {
    /// The key of its file.
    pub(crate) key: String,
    /// The file.
    pub(crate) file: String,
    /// The end of a sentence that begins with the file.
    pub(crate) reason: String,
    pub(crate) remedy: &'static str,
}

impl CertificateFacts {
    /// The facts about a certificate; none if it cannot be read.
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
        let validity = certificate.validity;
        let constraints = certificate.get::<BasicConstraints>().ok()?;
        Some(Self {
            begin: validity.not_before.to_unix_duration(),
            end: validity.not_after.to_unix_duration(),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
        })
    }

    /// The facts about those of a file that can be read.
    pub(super) fn all(chain: &[CertificateDer<'_>]) -> Vec<Self> {
        chain.iter().filter_map(Self::new).collect()
    }

    pub(super) fn end(&self) -> Duration {
        self.end
    }

    /// Why it is not valid, or soon will not be: the end of a sentence that begins with the file.
    fn validity(&self, now: Duration) -> Option<String> {
        let Self { begin, end, .. } = *self;
        let moment = |since_epoch| format_rfc3339_seconds(std::time::UNIX_EPOCH + since_epoch);
        let early = RENEWAL.min(end.saturating_sub(begin) / RENEWAL_PART);
        if now >= end {
            Some(format!("has a certificate that expired at {}", moment(end)))
        } else if now < begin {
            Some(format!("has a certificate that is not valid before {}", moment(begin)))
        } else {
            (now + early >= end).then(|| format!("has a certificate that expires at {}", moment(end)))
        }
    }
}

/// Warnings about the certificates of a server, the own one first.
pub(super) fn server_warnings(chain: &[CertificateFacts], file: &str, now: Duration) -> Vec<CertificateWarning> {
    let warning = |reason, remedy| CertificateWarning {
        key: "http.tls_certificate".to_owned(),
        file: file.to_owned(),
        reason,
        remedy,
    };
    let mut warnings = Vec::new();
    if chain.first().is_some_and(|own| own.is_authority) {
        let reason = "has the certificate of an authority (CA:TRUE) as the server's own".to_owned();
        warnings.push(warning(reason, "put the server's own certificate first"));
    }
    // One of them is enough for clients to refuse the server.
    if let Some(reason) = first_to_renew(chain, now) {
        warnings.push(warning(reason, "renew it, and reload the configuration"));
    }
    warnings
}

/// Warnings about authorities in a file, which a key names. `remedy` is for a certificate that is none.
pub(super) fn authority_warnings(
    authorities: &[CertificateFacts],
    key: &str,
    file: &str,
    remedy: &'static str,
    now: Duration,
) -> Vec<CertificateWarning> {
    let warning = |reason, remedy| CertificateWarning { key: key.to_owned(), file: file.to_owned(), reason, remedy };
    let mut warnings = Vec::new();
    if authorities.iter().any(|facts| !facts.is_authority) {
        let reason = "has a certificate that is no authority (CA:FALSE)".to_owned();
        warnings.push(warning(reason, remedy));
    }
    if let Some(reason) = first_to_renew(authorities, now) {
        warnings.push(warning(reason, "have the authority renewed, and reload the configuration"));
    }
    warnings
}

/// Warnings about the certificate that the agent shows as a client, with those that lead to its authority.
pub(super) fn client_warnings(
    chain: &[CertificateFacts],
    key: &str,
    file: &str,
    now: Duration,
) -> Vec<CertificateWarning> {
    let renewal = first_to_renew(chain, now).map(|reason| CertificateWarning {
        key: key.to_owned(),
        file: file.to_owned(),
        reason,
        remedy: "renew it, and reload the configuration",
    });
    renewal.into_iter().collect()
}

/// Why the certificate that ends first is not valid, or soon will not be; none if all will be valid for long.
fn first_to_renew(certificates: &[CertificateFacts], now: Duration) -> Option<String> {
    let due = certificates.iter().filter_map(|facts| Some((facts.end, facts.validity(now)?)));
    due.min().map(|(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn facts(begin: u32, end: u32, is_authority: bool) -> CertificateFacts {
        CertificateFacts { begin: DAY * begin, end: DAY * end, is_authority }
    }

    fn reasons(chain: &[CertificateFacts], day: u32) -> Vec<String> {
        let own = server_warnings(chain, "/tls.pem", DAY * day);
        own.into_iter().map(|warning| format!("{}: {}", warning.file, warning.reason)).collect()
    }

    #[test]
    fn certificates_are_reported_before_they_expire() {
        let own = facts(10, 100, false);
        assert_eq!(reasons(&[own], 85), [""; 0]);
        assert_eq!(reasons(&[own], 86), ["/tls.pem: has a certificate that expires at 1970-04-11T00:00:00Z"]);
        assert_eq!(reasons(&[own], 100), ["/tls.pem: has a certificate that expired at 1970-04-11T00:00:00Z"]);
        assert_eq!(reasons(&[own], 9), ["/tls.pem: has a certificate that is not valid before 1970-01-11T00:00:00Z"]);
        let short = facts(10, 18, false);
        assert_eq!((reasons(&[short], 15).len(), reasons(&[short], 16).len()), (0, 1), "a quarter of its life");
        assert_eq!(reasons(&[facts(0, 1000, false), own], 100).len(), 1, "another one of the chain");
    }

    #[test]
    fn certificates_of_the_wrong_kind_are_reported() {
        let [own, authority] = [false, true].map(|is_authority| facts(0, 1000, is_authority));
        assert_eq!(reasons(&[own, authority], 1), [""; 0]);
        assert_eq!(
            reasons(&[authority], 1),
            ["/tls.pem: has the certificate of an authority (CA:TRUE) as the server's own"]
        );
        assert_eq!(authority_warnings(&[authority], "http.tls_client_ca", "/ca.pem", "", DAY), []);
        let warnings = authority_warnings(&[authority, own], "http.tls_client_ca", "/ca.pem", "", DAY);
        assert_eq!(warnings[0].reason, "has a certificate that is no authority (CA:FALSE)");
    }
}
