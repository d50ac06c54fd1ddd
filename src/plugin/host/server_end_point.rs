//! The channel binding `tls-server-end-point` of RFC 5929: the hash of the server's certificate, by which a password exchange such as
//! SCRAM is bound to the TLS connection that it is in. Its hash function is that of the certificate's signature, and SHA-256 in place
//! of MD5 and SHA-1. A signature without exactly one hash function of its own, as Ed25519, has no binding.

use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, ContextSpecific, ObjectIdentifier};
use x509_cert::der::{self, Decode as _, Reader as _, TagNumber};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// RSASSA-PSS, whose parameters have the hash function (RFC 4055).
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// The signature algorithms with one hash function (RFC 4055, RFC 5758).
const SIGNATURES: [(ObjectIdentifier, Hash); 11] = [
    // RSA with MD5, SHA-1, and SHA-2.
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"), Hash::Sha224),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), Hash::Sha384),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), Hash::Sha512),
    // ECDSA with SHA-1, and SHA-2.
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1"), Hash::Sha224),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), Hash::Sha384),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), Hash::Sha512),
];

/// Hash functions by themselves, as the parameters of RSASSA-PSS have them.
const HASHES: [(ObjectIdentifier, Hash); 6] = [
    // MD5 and SHA-1.
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"), Hash::Sha224),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), Hash::Sha256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), Hash::Sha384),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), Hash::Sha512),
];

/// A hash function of the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The bytes of the binding to a server with this certificate, in DER; none if it has no binding.
pub(crate) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    signature_hash(&parsed.signature_algorithm).map(|hash| hash.digest(certificate))
}

/// The hash function for certificates with this signature.
fn signature_hash(AlgorithmIdentifierOwned { oid, parameters }: &AlgorithmIdentifierOwned) -> Option<Hash> {
    if *oid == RSA_PSS { pss_hash(parameters.as_ref()?) } else { find(&SIGNATURES, *oid) }
}

/// The hash function in the parameters of RSASSA-PSS. SHA-1, which is the default, is left out.
fn pss_hash(parameters: &Any) -> Option<Hash> {
    let hash = parameters.sequence(|reader| {
        let hash = ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(reader, TagNumber::N0)?;
        // The mask, the length of the salt, and the trailer.
        reader.read_slice(reader.remaining_len())?;
        Ok::<_, der::Error>(hash)
    });
    match hash.ok()? {
        Some(hash) => find(&HASHES, hash.value.oid),
        None => Some(Hash::Sha256),
    }
}

fn find(known: &[(ObjectIdentifier, Hash)], oid: ObjectIdentifier) -> Option<Hash> {
    known.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    const SHA1_IDENTIFIER: &str = "300906052b0e03021a0500";
    const SHA512_IDENTIFIER: &str = "300d06096086480165030402030500";

    /// An algorithm with parameters in DER, as hexadecimal digits.
    fn algorithm(oid: &str, parameters: Option<&str>) -> AlgorithmIdentifierOwned {
        let bytes = |text: &str| crate::config::script::bytes(text).expect("hexadecimal digits");
        let parameters = parameters.map(|text| Any::from_der(&bytes(text)).expect("DER"));
        AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap(oid), parameters }
    }

    #[test]
    fn hash_is_that_of_the_signature() {
        for (oid, expected) in [
            ("1.2.840.113549.1.1.4", Some(Hash::Sha256)),
            ("1.2.840.113549.1.1.5", Some(Hash::Sha256)),
            ("1.2.840.113549.1.1.11", Some(Hash::Sha256)),
            ("1.2.840.113549.1.1.13", Some(Hash::Sha512)),
            ("1.2.840.10045.4.1", Some(Hash::Sha256)),
            ("1.2.840.10045.4.3.3", Some(Hash::Sha384)),
            // Ed25519, and SHA-384 by itself, which signs nothing.
            ("1.3.101.112", None),
            ("2.16.840.1.101.3.4.2.2", None),
        ] {
            assert_eq!(signature_hash(&algorithm(oid, None)), expected, "{oid}");
        }
    }

    #[test]
    fn pss_hash_is_in_its_parameters() {
        let hash = |parameters: Option<&str>| signature_hash(&algorithm("1.2.840.113549.1.1.10", parameters));
        let with = |identifier: &str, more: &str| {
            let explicit = format!("a0{:02x}{identifier}{more}", identifier.len() / 2);
            format!("30{:02x}{explicit}", explicit.len() / 2)
        };
        // A salt of 64 bytes follows.
        assert_eq!(hash(Some(&with(SHA512_IDENTIFIER, "a203020140"))), Some(Hash::Sha512));
        assert_eq!(hash(Some(&with(SHA1_IDENTIFIER, ""))), Some(Hash::Sha256));
        assert_eq!(hash(Some("3000")), Some(Hash::Sha256), "the default");
        assert_eq!(hash(None), None);
        assert_eq!(hash(Some("0500")), None, "no sequence");
        assert_eq!(hash(Some(&with("06032b6570", ""))), None, "no identifier");
    }

    #[test]
    fn binding_hashes_the_certificate() {
        let certificate = |algorithm: &'static SignatureAlgorithm| {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            let params = CertificateParams::new(vec!["db".to_owned()]).expect("a name");
            params.self_signed(&key).expect("signed").der().to_vec()
        };
        let ecdsa = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&ecdsa), Some(Sha384::digest(&ecdsa).to_vec()));
        assert_eq!(server_end_point(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(server_end_point(&ecdsa[1..]), None);
    }

    proptest! {
        #[test]
        fn damaged_certificates_do_not_panic(at in any::<prop::sample::Index>(), bit in 0_u32..8, cut in any::<prop::sample::Index>()) {
            let key = KeyPair::generate().expect("a key");
            let certificate = CertificateParams::new(vec!["db".to_owned()]).expect("a name").self_signed(&key);
            let mut damaged = certificate.expect("signed").der().to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= 1_u8 << bit;
            // Whatever it is read as, the hash is that of the bytes as they were sent.
            let hashes = [Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512].map(|hash| hash.digest(&damaged));
            prop_assert!(server_end_point(&damaged).is_none_or(|bytes| hashes.contains(&bytes)));
            prop_assert_eq!(server_end_point(&damaged[..cut.index(damaged.len())]), None);
        }

        /// Another hash than the default one is named by the parameters, which are a sequence.
        #[test]
        fn hash_of_arbitrary_parameters_is_named(
            content in prop::collection::vec(any::<u8>(), 0..40),
            is_sequence in any::<bool>(),
        ) {
            let length = u8::try_from(content.len()).expect("short");
            let bytes = if is_sequence { [&[0x30, length], &*content].concat() } else { content };
            let parameters = Any::from_der(&bytes).ok();
            let Some(hash) = parameters.and_then(|parameters| pss_hash(&parameters)) else { return Ok(()) };
            let is_named = HASHES.iter().any(|(oid, own)| {
                *own == hash && bytes.windows(oid.as_bytes().len()).any(|part| part == oid.as_bytes())
            });
            prop_assert!(bytes[0] == 0x30 && (hash == Hash::Sha256 || is_named), "{:?}", hash);
        }
    }
}
