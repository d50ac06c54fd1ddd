//! Rust bindings of the WIT in `wit/`.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "gauged:plugin/plugin",
    imports: { default: async },
    exports: { default: async },
    additional_derives: [PartialEq],
    with: {
        "gauged:plugin/net.connection": crate::plugin::host::connection::Connection,
        "gauged:plugin/net.datagram-socket": crate::plugin::host::datagram_socket::DatagramSocket,
    },
});
