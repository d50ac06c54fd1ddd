//! The configuration of a plugin: the operator's table `config`, deserialised into the plugin's own type. Errors name the
//! key.

pub(crate) mod defaults;
mod deserializer;
mod error;
mod values;

use serde_core::de::DeserializeOwned;
pub use values::{Texts, parse_setting};

use crate::{Error, Invalid};

/// A type for a plugin's settings: any type that serde deserialises, or [`NoConfig`].
///
/// Deny unknown fields, so that a misspelt key is an error. Give each setting a default where [`settings!`](crate::settings) declares
/// it, so that the plugin works without configuration: a plugin is configured with the declared defaults of what the operator leaves
/// out, at the top and in each element of a list of tables. A table that is there replaces all of its defaults.
///
/// ```
/// use gauged_plugin::{Configuration, Error};
///
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     address: String,
///     database: u32,
/// }
///
/// let settings = Settings::from_json(r#"{"address": "db:6379", "database": 3}"#)?;
/// assert_eq!((settings.address.as_str(), settings.database), ("db:6379", 3));
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
        deserializer::read(json).map_err(|error| Error::invalid(&error.key, error.message))
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
