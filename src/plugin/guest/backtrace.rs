//! Where a guest was when it failed: the calls under way, for its author. Only engines that diagnose have them.

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::escape::printable;

/// The calls under way, the innermost first, each on one line.
pub(crate) fn frames(error: &wasmtime::Error) -> Vec<String> {
    error
        .downcast_ref::<WasmBacktrace>()
        .map_or_else(Vec::new, |backtrace| backtrace.frames().iter().map(frame).collect())
}

/// The causes of an error without its backtrace.
pub(crate) fn causes(error: &wasmtime::Error) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let causes = error.chain().map(ToString::to_string).filter(|cause| Some(cause) != backtrace.as_ref());
    causes.collect::<Vec<_>>().join(": ")
}

/// A call: the function, and the instruction by its offset in the file that the compiler wrote.
fn frame(frame: &FrameInfo) -> String {
    let function = match frame.func_name() {
        // The hash at the end of a name tells an author nothing.
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("{UNNAMED}{}", frame.func_index()),
    };
    let place = frame.module_offset().map(|offset| format!(" at {offset:#x}")).unwrap_or_default();
    let module = frame.module().name().map(|name| format!(" of {name}")).unwrap_or_default();
    printable(&format!("{function}{place}{module}"))
}

/// The beginning of a function's name where the file has none.
pub(crate) const UNNAMED: &str = "function ";
