//! systemd's manager: its version and state, and the list of its units, in one exchange.

use gauged_plugin::select::Selection;
use gauged_plugin::{Error, Sample, kernel::Number};

use crate::dbus::Malformed;
use crate::dbus::bus::{Bus, Failure};
use crate::dbus::message::{Body, Call, ErrorReply};
use crate::dbus::reader::Value;
use crate::metrics::{SYSTEM_RUNNING, SYSTEM_STATE, VERSION, VIRTUALIZATION};
use crate::units::Units;

/// systemd's name on the bus.
pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";

/// The interface by which all objects have properties.
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The object of the manager.
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The longest text of a property that is shown.
const MAX_TEXT_BYTES: usize = 255;

/// The errors of a bus on which nobody has systemd's name.
const NO_SYSTEMD: [&str; 2] =
    ["org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.ServiceUnknown"];

/// The error of a bus whose policy refuses a call.
pub(crate) const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// Why there is no list of units.
#[derive(Debug)]
pub(crate) enum Refusal {
    Bus(Failure),
    /// The bus or systemd returned an error instead.
    Error(ErrorReply),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Bus(failure)
    }
}

impl Refusal {
    pub(crate) fn into_error(self, address: &str) -> Error {
        match self {
            Self::Bus(failure) => failure.into(),
            Self::Error(ErrorReply { name, .. }) if NO_SYSTEMD.contains(&&*name) => Error::Unavailable(format!(
                "nobody on {address} is {SYSTEMD}: systemd is starting again, or does not run this host"
            )),
            Self::Error(ErrorReply { name, text }) if name == ACCESS_DENIED => {
                Error::Failed(format!("the bus does not permit the agent's user to list units: {text}"))
            }
            Self::Error(ErrorReply { name, text }) => {
                Error::Unavailable(format!("systemd did not list its units: {name}: {text}"))
            }
        }
    }
}

/// The state of systemd itself. What it does not tell is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct System {
    version: Option<String>,
    state: Option<String>,
    virtualization: Option<String>,
}

/// The properties of the manager.
const ASKED: [&str; 3] = ["Version", "SystemState", "Virtualization"];

/// Asks for the state and the units, of which those that are selected are kept.
pub(crate) fn ask(bus: &mut Bus, selection: &Selection, most: usize) -> Result<(System, Units), Refusal> {
    let arguments = ASKED.map(|property| [MANAGER, property]);
    let list = Call { destination: SYSTEMD, path: PATH, interface: MANAGER, member: "ListUnits", arguments: &[] };
    let get = |at: usize| Call { interface: PROPERTIES, member: "Get", arguments: &arguments[at], ..list };
    let (mut system, mut units, mut refused) = (System::default(), Units::default(), None);
    bus.call_all(&[list, get(0), get(1), get(2)], |at, reply| {
        match (at, reply) {
            (0, Ok(body)) => units = Units::read(body.reader("a(ssssssouso)")?, selection, most)?,
            (0, Err(error)) => refused = Some(error),
            (1, Ok(body)) => system.version = text(&body)?,
            (2, Ok(body)) => system.state = text(&body)?,
            (_, Ok(body)) => system.virtualization = text(&body)?,
            // Older versions do not have them.
            (_, Err(_)) => {}
        }
        Ok(())
    })?;
    match refused {
        Some(error) => Err(Refusal::Error(error)),
        None => Ok((system, units)),
    }
}

/// The text of a property; none if it is another value, or too long to be shown.
fn text(body: &Body<'_>) -> Result<Option<String>, Malformed> {
    Ok(match body.reader("v")?.variant()? {
        Value::Text(text) if text.len() <= MAX_TEXT_BYTES => Some(text.to_owned()),
        _ => None,
    })
}

impl System {
    pub(crate) fn set_metrics(&self, sample: &mut Sample) {
        if let Some((text, number)) = self.version.as_deref().and_then(|text| Some((text, version_number(text)?))) {
            sample.labelled(&[("version", text)]).set(VERSION, number);
        }
        if let Some(state) = self.state.as_deref().filter(|state| !state.is_empty()) {
            sample.set(SYSTEM_STATE, state);
            sample.set(SYSTEM_RUNNING, state == "running");
        }
        if let Some(kind) = &self.virtualization {
            let kind = if kind.is_empty() { "none" } else { kind };
            sample.labelled(&[("virtualization_type", kind)]).set(VIRTUALIZATION, 1_u64);
        }
    }
}

/// The number in a version: the first one of three digits or more, with what follows a dot. `252.39-1~deb12u1` is 252.39.
fn version_number(text: &str) -> Option<f64> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| is_digit(byte)).count();
    let begins = |&at: &usize| at == 0 || !bytes.get(at - 1).is_some_and(is_digit);
    let start = (0..bytes.len()).filter(begins).find(|&at| digits(at) >= 3)?;
    let mut end = start + digits(start);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    f64::parse(text.get(start..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_a_number() {
        for (text, number) in [
            ("252.39-1~deb12u1", Some(252.39)),
            ("systemd 204", Some(204.0)),
            ("v255.4-1ubuntu8", Some(255.4)),
            ("219-78.el7", Some(219.0)),
            ("257~rc1", Some(257.0)),
            ("1234", Some(1234.0)),
            ("259.", Some(259.0)),
            ("44", None),
            ("", None),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
