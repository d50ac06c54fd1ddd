//! The configuration of a plugin: the operator's table `config`, deserialised into the plugin's own type. Errors name the
//! key.

use serde::de::DeserializeOwned;

use crate::{Error, Invalid, json};

/// A type for a plugin's settings: any type that serde deserialises, or [`NoConfig`].
///
/// Deny unknown fields, so that a misspelt key is an error. Give each field a default, so that the plugin works without
/// configuration.
///
/// ```
/// use gauged_plugin::{Configuration, Error};
///
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Settings {
///     address: String,
///     database: u32,
/// }
///
/// impl Default for Settings {
///     fn default() -> Self {
///         Self { address: "127.0.0.1:6379".to_owned(), database: 0 }
///     }
/// }
///
/// let settings = Settings::from_json(r#"{"database": 3}"#)?;
/// assert_eq!((settings.address.as_str(), settings.database), ("127.0.0.1:6379", 3));
///
/// let Err(Error::InvalidConfig(errors)) = Settings::from_json(r#"{"adress": "db"}"#) else { panic!() };
/// assert_eq!(errors[0].key, "adress");
/// assert_eq!(errors[0].message, "unknown key; remove it, or use one of address, database");
/// # Ok::<(), Error>(())
/// ```
pub trait Configuration: Sized {
    /// Parses a JSON object; `{}` without configuration.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the key (dotted where nested) and the remedy.
    fn from_json(json: &str) -> Result<Self, Error>;
}

impl<T: DeserializeOwned> Configuration for T {
    fn from_json(json: &str) -> Result<Self, Error> {
        json::read(json).map_err(|error| Error::invalid(&error.key, error.message))
    }
}

/// No settings: any configured key is an error.
///
/// ```
/// use gauged_plugin::{Configuration, NoConfig};
///
/// assert!(NoConfig::from_json("{}").is_ok());
/// assert!(NoConfig::from_json(r#"{"color": "red"}"#).is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoConfig;

impl Configuration for NoConfig {
    fn from_json(json: &str) -> Result<Self, Error> {
        if json.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}") {
            Ok(Self)
        } else {
            Err(Error::invalid("", "this plugin has no configuration; remove `config`"))
        }
    }
}

impl Error {
    /// An invalid value at this key: dotted where nested, empty for the whole configuration.
    ///
    /// ```
    /// use gauged_plugin::Error;
    ///
    /// let error = Error::invalid("servers.port", "write a number from 1 to 65535");
    /// assert!(matches!(error, Error::InvalidConfig(errors) if errors[0].key == "servers.port"));
    /// ```
    #[must_use]
    pub fn invalid(key: &str, message: impl Into<String>) -> Self {
        Self::InvalidConfig(vec![Invalid { key: key.to_owned(), message: message.into() }])
    }
}
