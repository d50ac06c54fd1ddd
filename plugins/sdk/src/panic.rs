//! Panics of a plugin: message and place are a line of its log, before the agent restarts it.

use std::panic::PanicHookInfo;

/// Logs the panics of this instance from now on.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(&text(panic))));
}

/// A panic on one line. The standard library's own text has two, and the name of a thread.
fn text(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    match panic.location() {
        Some(place) => format!("panicked at {}:{}: {message}", place.file(), place.line()),
        None => format!("panicked: {message}"),
    }
}
