//! Generated from wit/gauged.wit: the types and functions of the host, and the export of the plugin's own. Values that the host
//! returns are in `call_memory`: copy those that you keep longer than the call.

const canonical = @import("canonical.zig");

/// Memory until the end of the call, also for what the plugin returns.
pub const call_memory = canonical.call_memory;
/// Memory that lasts until it is freed.
pub const kept_memory = canonical.kept_memory;
/// A value or an error.
pub const Result = canonical.Result;

/// The types that the capabilities share. Texts are for people: the agent may word them differently in each version, and
/// plugins decide by cases and codes.
pub const types = struct {
    /// A capability outside the sandbox, as a grant in the agent's configuration has it.
    pub const Capability = struct {
        /// The key of the grant. A need of a kind that the agent does not have is refused by name. Later agents may have more.
        /// There are:
        ///
        /// - `read`: a path for all functions of `files` but `usage`; `*` stands for any text within one path segment;
        /// - `usage`: a path for `files.usage`; `*` stands for any text within one path segment;
        /// - `connect`: an address for `net`: `host:port`, `unix:/path`, or `udp:host:port` for datagrams;
        /// - `fetch`: an origin for `http`: `scheme://host:port`; or a unix socket, `unix:/path`, for the methods `GET` and
        ///   `HEAD`, or for those that follow it, each after a blank: `unix:/path GET POST`.
        kind: []const u8,
        /// The path, address or origin.
        target: []const u8,
    };

    /// An error of the operating system.
    pub const OsError = struct {
        /// The name as in errno(3), such as `EIO`; numbers differ by architecture. Empty for an error without one.
        code: []const u8,
        /// The cause.
        text: []const u8,
    };

    /// The operating system does not permit an operation to the agent's user. No grant helps.
    pub const PermissionError = struct {
        /// The name as in errno(3): `EACCES`, `EPERM`.
        code: []const u8,
        /// The cause.
        text: []const u8,
        /// The remedy, for the operator.
        remedy: []const u8,
    };

    /// The certificate of a peer. Names are in the form of RFC 4514, such as `CN=www.example.org,O=Example`.
    pub const Certificate = struct {
        /// When it begins to be valid, in seconds since the Unix epoch.
        not_before: i64,
        /// When it expires, in seconds since the Unix epoch.
        not_after: i64,
        /// The name of its owner; may be empty, since the hosts that it is for are elsewhere in it.
        subject: []const u8,
        /// The name of the authority that signed it.
        issuer: []const u8,
    };

    /// An encrypted connection to a peer.
    pub const TlsSession = struct {
        /// The version of TLS: `1.2`, `1.3`.
        version: []const u8,
        /// The peer's own certificate. It was verified unless the operator has switched that off for the plugin.
        certificate: Certificate,
    };
};

/// Messages to the operator, in the agent's log with the plugin's name. The agent escapes control characters, cuts long
/// lines and limits the rate; it counts dropped messages.
pub const log = struct {
    /// The severity of a message.
    pub const Level = enum {
        /// For the plugin's author: shown by `gauged plugin test`, dropped by a running agent.
        debug,
        /// An event that an operator wants to know once.
        info,
        /// A problem that costs no metrics.
        warn,
        /// A problem that costs metrics.
        @"error",
    };

    /// Why a part of the measured data is left out.
    pub const SkipReason = enum {
        /// The file, line or field is not there. Kernels and configurations differ, so this is often expected.
        missing,
        /// The operating system or the configuration does not permit reading it.
        not_permitted,
        /// It is not understood, or cannot be true.
        malformed,
        /// It ends too early, or was not read to its end.
        truncated,
    };

    /// A part of the measured data that is left out.
    pub const Skipped = struct {
        /// The file, or the address of a server.
        source: []const u8,
        /// The line, from 1; 0 for the source as a whole.
        line: u32,
        /// The word that was not understood; may be empty.
        word: []const u8,
        /// The kind of the cause.
        reason: SkipReason,
        /// The cause, as the end of a sentence that begins with the word or the source.
        message: []const u8,
        /// What the operator can do about it; may be empty.
        remedy: []const u8,
        /// The metrics that are missing because of it.
        left_out: []const u8,
    };

    /// Writes one line.
    pub fn log(level: Level, message: []const u8) void {
        var flat: canonical.Flat(3) = .{};
        flat.put(level);
        flat.put(message);
        imports.@"log"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2));
    }

    /// Reports a part of the measured data that is left out, at each tick at which it is. The agent counts each report, and
    /// writes a warning for each kind of them once: source, reason and loss. It keeps a warning back until the plugin's
    /// allowance of log lines has room, and writes those of the first 100 kinds of an hour. Reports of the reason `missing` are
    /// neither counted nor warnings: they are shown at the level debug.
    pub fn skip(skipped: Skipped) void {
        var flat: canonical.Flat(12) = .{};
        flat.put(skipped);
        imports.@"skip"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), flat.at(u32, 3), flat.at(u32, 4), flat.at(u32, 5), flat.at(u32, 6), flat.at(u32, 7), flat.at(u32, 8), flat.at(u32, 9), flat.at(u32, 10), flat.at(u32, 11));
    }

    const imports = struct {
        extern "gauged:plugin/log@0.2.0-rc.4" fn @"log"(u32, u32, u32) void;
        extern "gauged:plugin/log@0.2.0-rc.4" fn @"skip"(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32) void;
    };
};

/// Files of the measured host. Paths are absolute, without `.`, `..` or empty segments, and relative to the measured host's
/// root, even if the agent sees it below another directory. Most kernel-wide, non-secret files under `/proc` and `/sys` are
/// granted by default; other paths need a grant. The agent's own `/proc/<pid>` is never readable. A path may lead through
/// symbolic links, as long as what they lead to is granted, too.
pub const files = struct {
    pub const Capability = types.Capability;

    pub const OsError = types.OsError;

    pub const PermissionError = types.PermissionError;

    /// The error of a file operation.
    pub const Error = union(enum) {
        /// This grant is missing.
        denied: Capability,
        /// No grant allows it: the agent's own process, a link to what a process has open, a path out of the measured host. The
        /// text has the reason.
        forbidden: []const u8,
        /// The path does not have the form described above; the text has the reason.
        invalid_path: []const u8,
        /// The file or directory does not exist. Kernels differ, so this is often expected.
        not_found,
        /// The operating system does not permit the operation to the agent's user.
        not_permitted: PermissionError,
        /// The kernel or file system does not support the operation, as with an accounting that is off; the text has the cause.
        not_supported: []const u8,
        /// A directory instead of a file, a file instead of a directory, or neither.
        wrong_type,
        /// The content exceeds this limit, in bytes or, up to 100,000, in names. `read-at` reads it in pieces.
        too_large: u64,
        /// The file system did not respond in time: a dead network mount, a stuck device. Returned at once while an earlier
        /// operation on the same path is pending.
        timeout,
        /// Any other error.
        io: OsError,
    };

    /// The type of a file.
    pub const FileType = enum {
        /// A regular file.
        regular,
        /// A directory.
        directory,
        /// A symbolic link.
        symbolic_link,
        /// A block device.
        block_device,
        /// A character device.
        character_device,
        /// A named pipe.
        pipe,
        /// A unix socket.
        socket,
        /// None of these, or not known.
        unknown,
    };

    /// A name in a directory.
    pub const Entry = struct {
        /// The name.
        name: []const u8,
        /// The type, of a symbolic link itself.
        kind: FileType,
    };

    /// The state of a file, of what a symbolic link leads to.
    pub const FileStatus = struct {
        /// The type.
        kind: FileType,
        /// The permissions, the last twelve bits of the mode: `0o644`.
        permissions: u16,
        /// The number of its user.
        user: u32,
        /// The number of its group.
        group: u32,
        /// The size. Of `/proc/<pid>/fd`, since Linux 6.2, the number of open files.
        size: u64,
        /// The space that it takes, as the file system counts it.
        allocated_bytes: u64,
        /// When its content changed last, in nanoseconds since the Unix epoch.
        modified_ns: i64,
        /// The number of the device that its file system is on. With the inode it identifies a file.
        device: u64,
        /// The number of its inode.
        inode: u64,
        /// The number of its names.
        links: u64,
    };

    /// Sizes of a mounted file system.
    pub const FilesystemUsage = struct {
        /// The size.
        total_bytes: u64,
        /// The free space.
        free_bytes: u64,
        /// The space free to unprivileged users, without the part reserved for root.
        available_bytes: u64,
        /// The number of inodes; zero if the file system does not count them.
        inodes: u64,
        /// The number of free inodes.
        free_inodes: u64,
        /// Whether the mount is read-only.
        read_only: bool,
    };

    /// Reads the whole content of a regular file, at most 4 MiB.
    pub fn read(path: []const u8) Result([]const u8, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(path);
        var area: canonical.Area(Result([]const u8, Error)) = .{};
        imports.@"read"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    /// Reads a piece of a regular file: the bytes from an offset on, at most `max-bytes` and 4 MiB. A shorter piece is the last
    /// one; beyond the end it is empty. The kernel generates its files anew for each piece, so a file that changes may be torn
    /// between two pieces.
    pub fn readAt(path: []const u8, offset: u64, max_bytes: u32) Result([]const u8, Error) {
        var flat: canonical.Flat(4) = .{};
        flat.put(path);
        flat.put(offset);
        flat.put(max_bytes);
        var area: canonical.Area(Result([]const u8, Error)) = .{};
        imports.@"read-at"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u64, 2), flat.at(u32, 3), area.address());
        return area.load();
    }

    /// Reads many small files at the price of one call: the whole contents, each at most `max-bytes` and 4 MiB. The results are
    /// in the order of the paths. They are fewer than the paths when their contents would be more than 4 MiB together, and at
    /// least one: ask for the others again.
    pub fn readMany(paths: []const []const u8, max_bytes: u32) []const Result([]const u8, Error) {
        var flat: canonical.Flat(3) = .{};
        flat.put(paths);
        flat.put(max_bytes);
        var area: canonical.Area([]const Result([]const u8, Error)) = .{};
        imports.@"read-many"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), area.address());
        return area.load();
    }

    /// Lists a directory, sorted by name, without `.` and `..`; at most 100,000 names, and 4 MiB of them.
    pub fn list(path: []const u8) Result([]const Entry, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(path);
        var area: canonical.Area(Result([]const Entry, Error)) = .{};
        imports.@"list"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    /// Returns the state of a file or directory. A grant to read or to list the path suffices.
    pub fn stat(path: []const u8) Result(FileStatus, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(path);
        var area: canonical.Area(Result(FileStatus, Error)) = .{};
        imports.@"stat"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    /// Returns the path in a symbolic link, without following it. It may be relative, and may lead to what is not there or not
    /// granted. For `/proc/<pid>/exe`, `/proc/<pid>/fd/<number>` and their like it is the kernel's name of what the process has
    /// open.
    pub fn readLink(path: []const u8) Result([]const u8, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(path);
        var area: canonical.Area(Result([]const u8, Error)) = .{};
        imports.@"read-link"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    /// Returns the sizes of the file system mounted at a path.
    pub fn usage(path: []const u8) Result(FilesystemUsage, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(path);
        var area: canonical.Area(Result(FilesystemUsage, Error)) = .{};
        imports.@"usage"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    const imports = struct {
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"read"(u32, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"read-at"(u32, u32, u64, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"read-many"(u32, u32, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"list"(u32, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"stat"(u32, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"read-link"(u32, u32, u32) void;
        extern "gauged:plugin/files@0.2.0-rc.4" fn @"usage"(u32, u32, u32) void;
    };
};

/// HTTP requests to granted origins and unix sockets. A fetch returns the complete response; redirects are returned, not
/// followed. The operator decides which authorities are trusted, which certificate and proxy the agent uses, and whether
/// certificates of peers are verified.
pub const http = struct {
    pub const Capability = types.Capability;

    pub const OsError = types.OsError;

    pub const PermissionError = types.PermissionError;

    pub const TlsSession = types.TlsSession;

    /// Options of a request.
    pub const RequestOptions = struct {
        /// A timeout shorter than the rest of the call's budget, of which nearly all is the default.
        timeout_ms: ?u32,
        /// The largest body of the response, below the agent's own limit of 4 MiB.
        max_body_bytes: ?u32,
        /// The path of the unix socket to connect to. The URL has the host to name and the path to ask for; its host needs no
        /// grant, and is not resolved. No proxy is used.
        unix_socket: ?[]const u8,
    };

    /// An HTTP request.
    pub const Request = struct {
        /// `GET`, `HEAD`, `POST` … A grant for a unix socket is for some methods.
        method: []const u8,
        /// An absolute URL, `http` or `https`. The URL and the headers together have at most 16 KiB.
        url: []const u8,
        /// Names and values, at most 100. The agent sets `host`, `content-length` and headers of the connection.
        headers: []const struct { []const u8, []const u8 },
        /// The body; may be empty. At most 1 MiB.
        body: []const u8,
        /// What differs from the defaults.
        options: ?RequestOptions,
    };

    /// The durations of a request's phases, in nanoseconds. Each phase begins at the end of the one before it, the first one at
    /// the start of the request; what is left of the total is the time in which the response was received.
    pub const Times = struct {
        /// Name resolution; none where there is nothing to resolve: for addresses, `localhost`, unix sockets and the operator's
        /// proxy.
        resolve_ns: ?u64,
        /// Connecting: all attempts until one succeeded. With the operator's proxy, until that has made a tunnel.
        connect_ns: u64,
        /// The handshake of TLS with the server; none without TLS.
        tls_ns: ?u64,
        /// Sending the request and waiting for the first byte of the response, an interim one (1xx) included.
        first_byte_ns: u64,
        /// The whole request, from its start to the last byte of the response.
        total_ns: u64,
    };

    /// An HTTP response.
    pub const Response = struct {
        /// 200, 404 … Interim responses (1xx) are left out.
        status: u16,
        /// Names in lower case, and values.
        headers: []const struct { []const u8, []const u8 },
        /// The complete body.
        body: []const u8,
        /// The times of the request.
        times: Times,
        /// What the agent was connected to: `address:port` of the server or the operator's proxy, an IPv6 address in brackets,
        /// or `unix:/path`.
        remote_address: []const u8,
        /// The encryption; none without TLS, and for a certificate that cannot be read.
        tls: ?TlsSession,
    };

    /// The error of a request without a response. An HTTP status of 500 is a response.
    pub const Error = union(enum) {
        /// This grant is missing.
        denied: Capability,
        /// No grant allows it; the text has the reason.
        forbidden: []const u8,
        /// The method, URL, a header or the path of the unix socket is malformed; the text has the details.
        invalid_request: []const u8,
        /// The operating system does not permit the connection to the agent's user.
        not_permitted: PermissionError,
        /// The operating system does not support the connection; the text has the cause.
        not_supported: []const u8,
        /// The name could not be resolved; the text has the cause.
        resolve: []const u8,
        /// The unix socket does not exist.
        not_found,
        /// Nobody accepts connections at the address.
        refused: OsError,
        /// No way leads to the address.
        @"unreachable": OsError,
        /// The peer broke the connection off.
        reset: OsError,
        /// The operator's proxy could not be used; the text has the cause and the remedy.
        proxy: []const u8,
        /// The certificate of the peer was rejected, or there is no common version of TLS; the text has the cause and the remedy.
        tls: []const u8,
        /// The response exceeds this limit, in bytes: that of its body, by the request or the agent, or that of its head.
        too_large: u64,
        /// The response was not complete in time.
        timeout,
        /// The response is not HTTP, or is truncated; the text has the details.
        protocol: []const u8,
        /// Any other error of the connection.
        io: OsError,
    };

    /// Sends a request and waits for the response.
    pub fn fetch(request: Request) Result(Response, Error) {
        var flat: canonical.Flat(16) = .{};
        flat.put(request);
        var area: canonical.Area(Result(Response, Error)) = .{};
        imports.@"fetch"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), flat.at(u32, 3), flat.at(u32, 4), flat.at(u32, 5), flat.at(u32, 6), flat.at(u32, 7), flat.at(u32, 8), flat.at(u32, 9), flat.at(u32, 10), flat.at(u32, 11), flat.at(u32, 12), flat.at(u32, 13), flat.at(u32, 14), flat.at(u32, 15), area.address());
        return area.load();
    }

    const imports = struct {
        extern "gauged:plugin/http@0.2.0-rc.4" fn @"fetch"(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32) void;
    };
};

/// Byte streams over TCP, TLS or unix sockets, and datagrams over UDP, to and from granted addresses: for protocols other than
/// HTTP.
pub const net = struct {
    pub const Capability = types.Capability;

    pub const OsError = types.OsError;

    pub const PermissionError = types.PermissionError;

    pub const TlsSession = types.TlsSession;

    /// The error of a connection or of a socket for datagrams.
    pub const Error = union(enum) {
        /// This grant is missing.
        denied: Capability,
        /// No grant allows it; the text has the reason.
        forbidden: []const u8,
        /// The address does not have the form `host:port`, `unix:/path` or `udp:host:port`, or the function is not for addresses of
        /// that form; the text has the reason.
        invalid_address: []const u8,
        /// The operating system does not permit the connection to the agent's user.
        not_permitted: PermissionError,
        /// The operating system does not support the operation; the text has the cause.
        not_supported: []const u8,
        /// The name could not be resolved; the text has the cause.
        resolve: []const u8,
        /// The unix socket does not exist.
        not_found,
        /// Nobody accepts connections or datagrams at the address.
        refused: OsError,
        /// No way leads to the address.
        @"unreachable": OsError,
        /// The peer broke the connection off.
        reset: OsError,
        /// The peer's certificate was rejected, there is no common version of TLS, or the connection is in no state for TLS; the
        /// text has the cause.
        tls: []const u8,
        /// The datagram exceeds this limit, in bytes. It was not sent.
        too_large: u32,
        /// Too many connections and sockets are open, or TLS exceeds the plugin's memory; the text has the limit.
        exhausted: []const u8,
        /// The operation was not complete in time.
        timeout,
        /// Any other error of the connection.
        io: OsError,
    };

    /// A connection that is encrypted from now on.
    pub const TlsChannel = struct {
        /// The session.
        session: TlsSession,
        /// The bytes of the channel binding `tls-server-end-point` (RFC 5929), for SCRAM: the hash of the peer's certificate. None
        /// for a certificate whose signature has no such hash, as one by Ed25519: the binding is not defined then.
        server_end_point: ?[]const u8,
    };

    /// An open connection. It may be kept from tick to tick, and is closed with its handle or plugin.
    pub const Connection = struct {
        handle: u32,

        /// Connects to `host:port` or `unix:/path`. The timeout applies to this and each later operation; the default is
        /// nearly all of the rest of the call's budget.
        pub fn connect(address: []const u8, timeout_ms: ?u32) Result(Connection, Error) {
            var flat: canonical.Flat(4) = .{};
            flat.put(address);
            flat.put(timeout_ms);
            var area: canonical.Area(Result(Connection, Error)) = .{};
            imports.@"[static]connection.connect"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), flat.at(u32, 3), area.address());
            return area.load();
        }

        /// Writes all bytes.
        pub fn write(self: Connection, bytes: []const u8) Result(void, Error) {
            var flat: canonical.Flat(3) = .{};
            flat.put(self);
            flat.put(bytes);
            var area: canonical.Area(Result(void, Error)) = .{};
            imports.@"[method]connection.write"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), area.address());
            return area.load();
        }

        /// Reads the bytes that have arrived: at least one, at most `max-bytes`; empty when the peer has closed. Over TLS a peer
        /// that closes without saying so is `reset`: the data may have been cut off.
        pub fn read(self: Connection, max_bytes: u32) Result([]const u8, Error) {
            var flat: canonical.Flat(2) = .{};
            flat.put(self);
            flat.put(max_bytes);
            var area: canonical.Area(Result([]const u8, Error)) = .{};
            imports.@"[method]connection.read"(flat.at(u32, 0), flat.at(u32, 1), area.address());
            return area.load();
        }

        /// Encrypts the connection, whatever was exchanged before: the bytes of later reads and writes go over TLS. The peer's
        /// certificate has to be valid for `server-name`, a host name or an address, IPv6 in brackets. The operator's
        /// configuration decides which authorities are trusted, and which certificate the peer gets that asks for one.
        ///
        /// Before this, the plugin reads the peer's consent to its last byte, and no more. A peer that has sent more in clear
        /// is not trusted: somebody on the way may have inserted it, to have it taken for a message of the peer. The agent
        /// refuses TLS where such bytes wait. It never reads ahead, so that none of them can be taken as decrypted.
        ///
        /// An error ends the connection, except for a second call, which changes nothing, and for an invalid name.
        pub fn startTls(self: Connection, server_name: []const u8) Result(TlsChannel, Error) {
            var flat: canonical.Flat(3) = .{};
            flat.put(self);
            flat.put(server_name);
            var area: canonical.Area(Result(TlsChannel, Error)) = .{};
            imports.@"[method]connection.start-tls"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), area.address());
            return area.load();
        }

        /// Gives it back.
        pub fn close(self: @This()) void {
            imports.@"[resource-drop]connection"(self.handle);
        }
    };

    /// A datagram that was received.
    pub const Datagram = struct {
        /// Its bytes; of one that is longer than `max-bytes` only the first ones.
        bytes: []const u8,
        /// Its whole length. Where that is more than the bytes, it was cut off.
        length: u32,
    };

    /// A socket for datagrams to and from one peer, over UDP. It may be kept from tick to tick, and is closed with its handle or
    /// plugin. Datagrams may be lost, doubled and out of order, as everywhere.
    pub const DatagramSocket = struct {
        handle: u32,

        /// Opens a socket for the peer `udp:host:port`: of the name's addresses the first one that this host has a way to. Nothing
        /// is sent. The timeout applies to this and each later operation; the default is nearly all of the rest of the call's
        /// budget. There are no datagrams over unix sockets, and none to several hosts: broadcast and multicast.
        pub fn connect(address: []const u8, timeout_ms: ?u32) Result(DatagramSocket, Error) {
            var flat: canonical.Flat(4) = .{};
            flat.put(address);
            flat.put(timeout_ms);
            var area: canonical.Area(Result(DatagramSocket, Error)) = .{};
            imports.@"[static]datagram-socket.connect"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), flat.at(u32, 3), area.address());
            return area.load();
        }

        /// Sends one datagram, of at most 65,507 bytes. That the peer does not accept datagrams is known only later: the next
        /// operation does nothing and returns `refused`.
        pub fn send(self: DatagramSocket, bytes: []const u8) Result(void, Error) {
            var flat: canonical.Flat(3) = .{};
            flat.put(self);
            flat.put(bytes);
            var area: canonical.Area(Result(void, Error)) = .{};
            imports.@"[method]datagram-socket.send"(flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), area.address());
            return area.load();
        }

        /// Waits for a datagram of the peer; those of others are dropped.
        pub fn receive(self: DatagramSocket, max_bytes: u32) Result(Datagram, Error) {
            var flat: canonical.Flat(2) = .{};
            flat.put(self);
            flat.put(max_bytes);
            var area: canonical.Area(Result(Datagram, Error)) = .{};
            imports.@"[method]datagram-socket.receive"(flat.at(u32, 0), flat.at(u32, 1), area.address());
            return area.load();
        }

        /// Gives it back.
        pub fn close(self: @This()) void {
            imports.@"[resource-drop]datagram-socket"(self.handle);
        }
    };

    const imports = struct {
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[static]connection.connect"(u32, u32, u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[method]connection.write"(u32, u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[method]connection.read"(u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[method]connection.start-tls"(u32, u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[static]datagram-socket.connect"(u32, u32, u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[method]datagram-socket.send"(u32, u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[method]datagram-socket.receive"(u32, u32, u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[resource-drop]connection"(u32) void;
        extern "gauged:plugin/net@0.2.0-rc.4" fn @"[resource-drop]datagram-socket"(u32) void;
    };
};

/// What the kernel of the measured host says of its sockets, its clock and its network interfaces, where files do not have it or have
/// it at a high price. Every query is bounded and changes nothing. They need no grant, but for the list of listening sockets.
pub const system = struct {
    pub const Capability = types.Capability;

    pub const OsError = types.OsError;

    pub const PermissionError = types.PermissionError;

    /// The error of a query.
    pub const Error = union(enum) {
        /// This grant is missing.
        denied: Capability,
        /// The operating system does not permit the query to the agent's user.
        not_permitted: PermissionError,
        /// There is no answer: the kernel, driver or sandbox does not have the query, or the agent is not in the network of the
        /// measured host, or that cannot be found out; the text has the cause. Fall back to files. Also in `describe`.
        not_supported: []const u8,
        /// There is no network interface of this name.
        not_found,
        /// The kernel did not answer in time.
        timeout,
        /// Any other error.
        io: OsError,
    };

    /// A table of sockets: of a protocol, with IPv4 or IPv6. The file with the same sockets in `/proc/1/net` has the same name.
    pub const SocketTable = enum {
        /// TCP over IPv4.
        tcp,
        /// TCP over IPv6, and over IPv4 by sockets that serve both.
        tcp6,
        /// UDP over IPv4.
        udp,
        /// UDP over IPv6, and over IPv4 by sockets that serve both.
        udp6,
    };

    /// The number of sockets in a state.
    pub const StateCount = struct {
        /// `established`, `syn_sent`, `syn_recv`, `fin_wait1`, `fin_wait2`, `time_wait`, `close`, `close_wait`, `last_ack`, `listen` or
        /// `closing`. A UDP socket with a peer is `established`, one without is `close`. Later kernels may have more.
        state: []const u8,
        /// The number.
        count: u64,
    };

    /// Numbers of sockets.
    pub const SocketCounts = struct {
        /// The states that a socket is in.
        states: []const StateCount,
        /// Whether there are more sockets: a million are counted.
        truncated: bool,
    };

    /// A socket that waits for peers: a TCP socket that listens, or a UDP socket without a peer.
    pub const Listener = struct {
        /// The IP address that it is bound to, such as `127.0.0.1`, `0.0.0.0` or `::`.
        address: []const u8,
        /// The port.
        port: u16,
        /// The number of the interface that it is bound to; 0 without one.
        device: u32,
        /// For TCP the connections that wait to be accepted, for UDP the bytes that wait to be read.
        queued: u32,
        /// For TCP, how many connections may wait.
        queue_limit: ?u32,
        /// The number of its user.
        user: u32,
        /// Its inode, by which `/proc/<pid>/fd` has it; 0 for one that no process has.
        inode: u32,
    };

    /// Sockets that wait for peers.
    pub const Listeners = struct {
        /// The sockets, in no order.
        sockets: []const Listener,
        /// Whether there are more: the result has 10,000.
        truncated: bool,
    };

    /// A leap second of the clock.
    pub const LeapSecond = enum {
        /// There is none.
        none,
        /// One will be added at the end of the day.
        added,
        /// One will be removed at the end of the day.
        removed,
        /// It is under way.
        under_way,
        /// It was.
        over,
    };

    /// The state of the kernel's clock, which adjtimex(2) explains.
    pub const ClockStatus = struct {
        /// Whether it follows a source of time. Set by whatever disciplines it.
        synchronised: bool,
        /// The leap second of the day.
        leap: LeapSecond,
        /// The bits of the status, as in the kernel's `timex.h`.
        status: u32,
        /// The time that is still to be corrected.
        offset_ns: i64,
        /// The correction of the frequency, in parts per million.
        frequency_ppm: f64,
        /// The largest correction of the frequency, in parts per million.
        tolerance_ppm: f64,
        /// How far the clock is off at most.
        maximum_error_ns: u64,
        /// How far the clock is off, as far as its discipline can say.
        estimated_error_ns: u64,
        /// The time constant of the loop that disciplines it.
        time_constant: i64,
        /// The time between two of the kernel's ticks.
        tick_ns: u64,
        /// International Atomic Time minus UTC, in seconds; 0 if nobody has set it.
        tai_offset_s: i32,
    };

    /// The directions that a link uses at a time.
    pub const Duplex = enum {
        /// One of both.
        half,
        /// Both.
        full,
    };

    /// The state of an interface's link, as its driver has it. What the driver does not say is none.
    pub const LinkStatus = struct {
        /// Whether there is a link.
        up: ?bool,
        /// Its speed.
        bits_per_second: ?u64,
        /// Its directions.
        duplex: ?Duplex,
        /// Whether both ends negotiate speed and duplex.
        autonegotiation: ?bool,
    };

    /// A statistic of a driver.
    pub const Statistic = struct {
        /// The driver's name for it, which may have any characters.
        name: []const u8,
        /// Its value, mostly a counter.
        value: u64,
    };

    /// The driver of an interface, and its statistics.
    pub const DriverStatus = struct {
        /// The driver's name, such as `ixgbe`.
        driver: []const u8,
        /// The driver's version, on most kernels that of the kernel.
        version: []const u8,
        /// The version of the firmware; may be empty.
        firmware: []const u8,
        /// The address of the device, such as `0000:00:03.0`; may be empty.
        bus: []const u8,
        /// The statistics, in the driver's order; may be empty.
        statistics: []const Statistic,
        /// Whether there are more: the result has 4,096.
        truncated: bool,
    };

    /// Counts the sockets of a table by state, as `/proc/1/net/tcp` has them, without reading it.
    pub fn countSockets(table: SocketTable) Result(SocketCounts, Error) {
        var flat: canonical.Flat(1) = .{};
        flat.put(table);
        var area: canonical.Area(Result(SocketCounts, Error)) = .{};
        imports.@"count-sockets"(flat.at(u32, 0), area.address());
        return area.load();
    }

    /// Lists the sockets of a table that wait for peers. Needs the grant to `read` the file with the same sockets, as
    /// `/proc/1/net/tcp`.
    pub fn listListeners(table: SocketTable) Result(Listeners, Error) {
        var flat: canonical.Flat(1) = .{};
        flat.put(table);
        var area: canonical.Area(Result(Listeners, Error)) = .{};
        imports.@"list-listeners"(flat.at(u32, 0), area.address());
        return area.load();
    }

    /// Returns the state of the clock.
    pub fn readClock() Result(ClockStatus, Error) {
        var area: canonical.Area(Result(ClockStatus, Error)) = .{};
        imports.@"read-clock"(area.address());
        return area.load();
    }

    /// Returns the state of the link of a network interface.
    pub fn queryLink(name: []const u8) Result(LinkStatus, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(name);
        var area: canonical.Area(Result(LinkStatus, Error)) = .{};
        imports.@"query-link"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    /// Returns the driver of a network interface, with its statistics. It may wait for the device.
    pub fn queryDriver(name: []const u8) Result(DriverStatus, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(name);
        var area: canonical.Area(Result(DriverStatus, Error)) = .{};
        imports.@"query-driver"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    const imports = struct {
        extern "gauged:plugin/system@0.2.0-rc.4" fn @"count-sockets"(u32, u32) void;
        extern "gauged:plugin/system@0.2.0-rc.4" fn @"list-listeners"(u32, u32) void;
        extern "gauged:plugin/system@0.2.0-rc.4" fn @"read-clock"(u32) void;
        extern "gauged:plugin/system@0.2.0-rc.4" fn @"query-link"(u32, u32, u32) void;
        extern "gauged:plugin/system@0.2.0-rc.4" fn @"query-driver"(u32, u32, u32) void;
    };
};

/// What a plugin keeps: one piece of bytes, which outlasts the instance. It is there after a restart of the agent, in the next
/// version of the plugin, and after a fault. It belongs to the plugin's name in the agent's configuration, and no other plugin
/// sees it, so that no grant is needed.
///
/// Load it once, in `configure`, and save it when it has changed, as often as at each tick: the agent writes to the disk at most
/// once a minute for each plugin, when the bytes are others, and at its end. What it has not written is lost when it is killed,
/// which is at most the last minute. A new version that is tried loads and saves it, too: versions should know their bytes.
pub const state = struct {
    pub const OsError = types.OsError;

    pub const PermissionError = types.PermissionError;

    /// The error of a load or save. A plugin that measures without its state goes on with what it has in memory.
    pub const Error = union(enum) {
        /// There is no place for it: the agent has no directory, may not use it, or another agent does; the text has the cause.
        /// Also in `describe`, whose result must not depend on it.
        not_supported: []const u8,
        /// The operating system does not permit it to the agent's user.
        not_permitted: PermissionError,
        /// The bytes exceed this limit, 64 KiB. The state is as before.
        too_large: u64,
        /// The disk did not respond in time. Whether the state was saved is not known.
        timeout,
        /// Any other error of the disk, such as `ENOSPC`. The state may be lost with the agent's end, unless a later save succeeds.
        io: OsError,
    };

    /// Returns the bytes that were saved last; none before the first save. The agent keeps nothing with `--once` and in its
    /// subcommands, which begin with none.
    pub fn load() Result(?[]const u8, Error) {
        var area: canonical.Area(Result(?[]const u8, Error)) = .{};
        imports.@"load"(area.address());
        return area.load();
    }

    /// Saves bytes in place of those before, at most 64 KiB.
    pub fn save(bytes: []const u8) Result(void, Error) {
        var flat: canonical.Flat(2) = .{};
        flat.put(bytes);
        var area: canonical.Area(Result(void, Error)) = .{};
        imports.@"save"(flat.at(u32, 0), flat.at(u32, 1), area.address());
        return area.load();
    }

    const imports = struct {
        extern "gauged:plugin/state@0.2.0-rc.4" fn @"load"(u32) void;
        extern "gauged:plugin/state@0.2.0-rc.4" fn @"save"(u32, u32, u32) void;
    };
};

/// The types of samples.
pub const metrics = struct {
    /// The kind of a metric.
    pub const Kind = enum {
        /// A value that goes up and down.
        gauge,
        /// A value that only grows, until its source restarts at zero. Its name ends in `_total`.
        counter,
        /// Numbers of observations by their size. Its values are `histogram`.
        histogram,
        /// Quantiles of observations. Its values are `summary`.
        summary,
    };

    /// The moment at which a counter was zero, and so were the observations of a histogram or summary. Some sinks send it, and
    /// receivers compute rates by it.
    pub const Origin = enum {
        /// Not known, as that of a service which may restart at any time. It is always right.
        unknown,
        /// The boot of the host: counters of the kernel.
        boot,
        /// The start of this instance of the plugin, before `configure`: the plugin's own counts.
        plugin,
    };

    /// Observations by their size.
    pub const Histogram = struct {
        /// The upper bounds of the buckets, finite and rising; without the last one, which is infinite. Other bounds are other
        /// series.
        bounds: []const f64,
        /// For each bound the number of observations above the one before it, up to and including this one; then the number of
        /// those above all bounds. Not cumulative.
        counts: []const u64,
        /// The sum of all observations, where it is known.
        sum: ?f64,
    };

    /// A quantile of observations.
    pub const Quantile = struct {
        /// From 0 to 1: 0.5 is the median.
        share: f64,
        /// The size that this share of the observations does not exceed; none without observations.
        value: ?f64,
    };

    /// Quantiles of observations.
    pub const Summary = struct {
        /// The quantiles, rising by their share; may be empty.
        quantiles: []const Quantile,
        /// The sum of all observations, where it is known.
        sum: ?f64,
        /// The number of all observations, where it is known.
        count: ?u64,
    };

    /// A measured value. Integers have their own cases, because counters exceed the 53 bits that a float holds exactly.
    /// The agent drops and counts numbers that are not finite.
    pub const Value = union(enum) {
        /// An integer, zero or more.
        natural: u64,
        /// An integer that may be negative.
        integer: i64,
        /// A number with a fraction.
        number: f64,
        /// True or false.
        boolean: bool,
        /// An identifier, such as a version or state. Numeric sinks leave it out.
        text: []const u8,
        /// The value of a histogram, which has a descriptor of that kind.
        histogram: Histogram,
        /// The value of a summary, which has a descriptor of that kind.
        summary: Summary,
    };

    /// A dimension that distinguishes metrics of the same name, as in `free_bytes{mount="/"}`.
    pub const Label = struct {
        /// `[A-Za-z_][A-Za-z0-9_]*`, without two leading underscores.
        name: []const u8,
        /// Any text.
        value: []const u8,
    };

    /// A metric. Names are part of every result, so plugins need no index tables: twenty metrics cost the agent about two
    /// microseconds.
    pub const Metric = struct {
        /// `[A-Za-z0-9_]+`, the unit last: `free_bytes`, `requests_total`. In a verbatim module `[A-Za-z_:][A-Za-z0-9_:]*`.
        name: []const u8,
        /// The labels in display order. Name and labels together, in whatever order, are unique within the module.
        labels: []const Label,
        /// The measured value.
        value: Value,
    };

    /// A label of a metric, and what its values are.
    pub const Dimension = struct {
        /// The name of the label.
        name: []const u8,
        /// What its values are, such as `Mount point`, as part of a sentence.
        meaning: []const u8,
    };

    /// Facts about a metric, matched by module and name. Sinks take kinds and units from here; a metric without a descriptor is
    /// a gauge without a unit, and has neither a histogram nor a summary.
    pub const Descriptor = struct {
        /// The module of the metric.
        module: []const u8,
        /// The name, without labels.
        name: []const u8,
        /// The kind.
        kind: Kind,
        /// From when counts are; `unknown` for a gauge.
        counts_from: Origin,
        /// The unit in UCUM: `By`, `s`, `%`, `1`, `{packet}`.
        unit: []const u8,
        /// One sentence for operators: the meaning of a rising value.
        description: []const u8,
        /// All labels that the metric may have.
        labels: []const Dimension,
    };

    /// An entry of the sample: module → metric → value.
    pub const Module = struct {
        /// `[A-Za-z0-9_]+`. By convention the plugin's name, or a name that starts with it. If two collectors return the
        /// same module, the agent's own wins, then the plugin whose name sorts first; the other's is dropped.
        name: []const u8,
        /// When its metrics were measured, where that was before the tick: such as the time of a file that another program has
        /// written. In milliseconds since the Unix epoch, from one hour before the tick to the tick, and not before that of the
        /// last module of this name. Otherwise the tick's time is used, and the agent counts the refused one.
        unix_ms: ?u64,
        /// Whether the names are somebody else's: those of a scraped exporter, or of a text file in its format. No naming
        /// prefixes or rewrites them, and `describe` and `configure` need not describe them.
        verbatim: bool,
        /// The metrics; may be empty.
        metrics: []const Metric,
        /// The descriptors of metrics of this module that became known only now, such as those of a scraped exporter. They hold
        /// from this call on, as long as the instance; a later descriptor of a metric replaces an earlier one.
        descriptors: []const Descriptor,
    };
};

/// The exports of a plugin. The three functions are called in this order, never two at a time.
pub const collector = struct {
    pub const Descriptor = metrics.Descriptor;

    pub const Module = metrics.Module;

    pub const Capability = types.Capability;

    /// A setting of the plugin: a key of the table `config` of its configuration. The agent shows it, and makes a table to
    /// fill in of it; `configure` checks it.
    pub const Setting = struct {
        /// The key, dotted where nested. An element of a list is `[]`, and a key that the operator chooses is `*`:
        /// `servers[].address`, `groups.*.command`.
        key: []const u8,
        /// The type of the value: `text`, `integer`, `number`, `boolean`, `list` or `table`, or such a word and more, for people:
        /// `list of patterns`.
        value_type: []const u8,
        /// The value without the setting, in JSON; none if there is no such value.
        default_value: ?[]const u8,
        /// One sentence for operators.
        meaning: []const u8,
        /// Whether the table that it belongs to must have it. Without nesting: whether the plugin needs it.
        required: bool,
        /// Whether its value is a secret, which the operator should keep in a file of its own.
        secret: bool,
    };

    /// Static facts about a plugin.
    pub const About = struct {
        /// The plugin's own version, shown beside its name.
        version: []const u8,
        /// One sentence on the subject of the metrics.
        description: []const u8,
        /// All settings that `configure` accepts.
        settings: []const Setting,
        /// The metrics that `collect` can return with any configuration. Those that depend on it may be described by
        /// `configure` instead.
        metrics: []const Descriptor,
    };

    /// A capability that the plugin needs, with a reason for the operator.
    pub const Need = struct {
        /// The needed capability.
        capability: Capability,
        /// Completes the sentence "this plugin needs it to …".
        reason: []const u8,
    };

    /// What a plugin needs and measures as it is configured.
    pub const Configured = struct {
        /// The needs. The agent reports missing grants, and the plugin runs all the same.
        needs: []const Need,
        /// The metrics that `about` does not have, since they depend on the configuration. For a metric in both, the
        /// descriptor here holds.
        metrics: []const Descriptor,
    };

    /// An invalid key of the configuration.
    pub const Invalid = struct {
        /// The key, dotted where nested; empty for the configuration as a whole.
        key: []const u8,
        /// The error and its remedy.
        message: []const u8,
    };

    /// An error of `configure` or `collect`. Each case defines the agent's next step.
    pub const Error = union(enum) {
        /// This host does not have the measured subject and will not get it. The plugin is disabled until its file or
        /// configuration changes. Not a fault.
        unsupported: []const u8,
        /// The configuration is invalid. The plugin is disabled until its file or configuration changes.
        invalid_config: []const Invalid,
        /// A grant is missing. The plugin is disabled, and the agent reports the lines to add.
        denied: Need,
        /// The measured subject is missing at the moment. Not a fault: the agent reports the error until it changes, counts it,
        /// and calls the plugin again at its next tick, with its memory as it is.
        unavailable: []const u8,
        /// This call failed: the data is not understood, or the plugin has a defect. As `unavailable`, with the state `failed`.
        failed: []const u8,
    };

    /// The time of a call. Rates and ages are computed with it, not with a clock of WASI: tests and scripts set it.
    pub const Tick = struct {
        /// The timestamp of the sample: the scheduled time, in milliseconds since the Unix epoch.
        unix_ms: u64,
        /// A monotonic clock for rates, read just before the call. Its zero is arbitrary.
        monotonic_ns: u64,
        /// The time limit of this call. A longer call is ended and counted as a fault.
        budget_ms: u32,
        /// The plugin's interval: the scheduled time from one tick to the next. The first call, and one after a failure, may be
        /// at any time.
        interval_ms: u64,
    };
};

/// Exports the functions of the plugin that a type has: `comptime { plugin.exportFunctions(@This()); }`.
pub fn exportFunctions(comptime Plugin: type) void {
    const functions = struct {
        fn describe() callconv(.c) u32 {
            return canonical.stored(collector.About, Plugin.describe());
        }
        fn configure(flat0: u32, flat1: u32) callconv(.c) u32 {
            var flat: canonical.Flat(2) = .{};
            flat.put(flat0);
            flat.put(flat1);
            const config = flat.take([]const u8);
            return canonical.stored(Result(collector.Configured, collector.Error), Plugin.configure(config));
        }
        fn collect(flat0: u64, flat1: u64, flat2: u32, flat3: u64) callconv(.c) u32 {
            var flat: canonical.Flat(4) = .{};
            flat.put(flat0);
            flat.put(flat1);
            flat.put(flat2);
            flat.put(flat3);
            const tick = flat.take(collector.Tick);
            return canonical.stored(Result([]const collector.Module, collector.Error), Plugin.collect(tick));
        }
    };
    @export(&functions.describe, .{ .name = "gauged:plugin/collector@0.2.0-rc.4#describe" });
    @export(&canonical.returnMemory, .{ .name = "cabi_post_gauged:plugin/collector@0.2.0-rc.4#describe" });
    @export(&functions.configure, .{ .name = "gauged:plugin/collector@0.2.0-rc.4#configure" });
    @export(&canonical.returnMemory, .{ .name = "cabi_post_gauged:plugin/collector@0.2.0-rc.4#configure" });
    @export(&functions.collect, .{ .name = "gauged:plugin/collector@0.2.0-rc.4#collect" });
    @export(&canonical.returnMemory, .{ .name = "cabi_post_gauged:plugin/collector@0.2.0-rc.4#collect" });
}
