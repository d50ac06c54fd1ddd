// Generated from wit/gauged.wit: the types and functions of the host, and the type of the plugin. A function whose result
// may be an error throws an `Error` with the error as its `payload`; those of the plugin throw the error itself.

/**
 * The types that the capabilities share. Texts are for people: the agent may word them differently in each version, and
 * plugins decide by cases and codes.
 */
declare module "gauged:plugin/types@0.2.0-rc.4" {

  /** A capability outside the sandbox, as a grant in the agent's configuration has it. */
  export interface Capability {
    /**
     * The key of the grant. A need of a kind that the agent does not have is refused by name. Later agents may have more.
     * There are:
     *
     * - `read`: a path for all functions of `files` but `usage`; `*` stands for any text within one path segment;
     * - `usage`: a path for `files.usage`; `*` stands for any text within one path segment;
     * - `connect`: an address for `net`: `host:port`, `unix:/path`, or `udp:host:port` for datagrams;
     * - `fetch`: an origin for `http`: `scheme://host:port`; or a unix socket, `unix:/path`, for the methods `GET` and
     *   `HEAD`, or for those that follow it, each after a blank: `unix:/path GET POST`.
     */
    kind: string;
    /** The path, address or origin. */
    target: string;
  }

  /** An error of the operating system. */
  export interface OsError {
    /** The name as in errno(3), such as `EIO`; numbers differ by architecture. Empty for an error without one. */
    code: string;
    /** The cause. */
    text: string;
  }

  /** The operating system does not permit an operation to the agent's user. No grant helps. */
  export interface PermissionError {
    /** The name as in errno(3): `EACCES`, `EPERM`. */
    code: string;
    /** The cause. */
    text: string;
    /** The remedy, for the operator. */
    remedy: string;
  }

  /** The certificate of a peer. Names are in the form of RFC 4514, such as `CN=www.example.org,O=Example`. */
  export interface Certificate {
    /** When it begins to be valid, in seconds since the Unix epoch. */
    notBefore: bigint;
    /** When it expires, in seconds since the Unix epoch. */
    notAfter: bigint;
    /** The name of its owner; may be empty, since the hosts that it is for are elsewhere in it. */
    subject: string;
    /** The name of the authority that signed it. */
    issuer: string;
  }

  /** An encrypted connection to a peer. */
  export interface TlsSession {
    /** The version of TLS: `1.2`, `1.3`. */
    version: string;
    /** The peer's own certificate. It was verified unless the operator has switched that off for the plugin. */
    certificate: Certificate;
  }
}

/**
 * Messages to the operator, in the agent's log with the plugin's name. The agent escapes control characters, cuts long
 * lines and limits the rate; it counts dropped messages.
 */
declare module "gauged:plugin/log@0.2.0-rc.4" {

  /** The severity of a message. */
  export type Level =
    /** For the plugin's author: shown by `gauged plugin test`, dropped by a running agent. */
    | "debug"
    /** An event that an operator wants to know once. */
    | "info"
    /** A problem that costs no metrics. */
    | "warn"
    /** A problem that costs metrics. */
    | "error";

  /** Why a part of the measured data is left out. */
  export type SkipReason =
    /** The file, line or field is not there. Kernels and configurations differ, so this is often expected. */
    | "missing"
    /** The operating system or the configuration does not permit reading it. */
    | "not-permitted"
    /** It is not understood, or cannot be true. */
    | "malformed"
    /** It ends too early, or was not read to its end. */
    | "truncated";

  /** A part of the measured data that is left out. */
  export interface Skipped {
    /** The file, or the address of a server. */
    source: string;
    /** The line, from 1; 0 for the source as a whole. */
    line: number;
    /** The word that was not understood; may be empty. */
    word: string;
    /** The kind of the cause. */
    reason: SkipReason;
    /** The cause, as the end of a sentence that begins with the word or the source. */
    message: string;
    /** What the operator can do about it; may be empty. */
    remedy: string;
    /** The metrics that are missing because of it. */
    leftOut: string;
  }

  /** Writes one line. */
  export function log(level: Level, message: string): void;

  /**
   * Reports a part of the measured data that is left out, at each tick at which it is. The agent counts each report, and
   * writes a warning for each kind of them once: source, reason and loss. It keeps a warning back until the plugin's
   * allowance of log lines has room, and writes those of the first 100 kinds of an hour. Reports of the reason `missing` are
   * neither counted nor warnings: they are shown at the level debug.
   */
  export function skip(skipped: Skipped): void;
}

/**
 * Files of the measured host. Paths are absolute, without `.`, `..` or empty segments, and relative to the measured host's
 * root, even if the agent sees it below another directory. Most kernel-wide, non-secret files under `/proc` and `/sys` are
 * granted by default; other paths need a grant. The agent's own `/proc/<pid>` is never readable. A path may lead through
 * symbolic links, as long as what they lead to is granted, too.
 */
declare module "gauged:plugin/files@0.2.0-rc.4" {
  import type { Capability } from "gauged:plugin/types@0.2.0-rc.4";
  export type { Capability };
  import type { OsError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { OsError };
  import type { PermissionError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { PermissionError };

  /** The error of a file operation. */
  export type Error =
    /** This grant is missing. */
    | { tag: "denied"; val: Capability }
    /**
     * No grant allows it: the agent's own process, a link to what a process has open, a path out of the measured host. The
     * text has the reason.
     */
    | { tag: "forbidden"; val: string }
    /** The path does not have the form described above; the text has the reason. */
    | { tag: "invalid-path"; val: string }
    /** The file or directory does not exist. Kernels differ, so this is often expected. */
    | { tag: "not-found" }
    /** The operating system does not permit the operation to the agent's user. */
    | { tag: "not-permitted"; val: PermissionError }
    /** The kernel or file system does not support the operation, as with an accounting that is off; the text has the cause. */
    | { tag: "not-supported"; val: string }
    /** A directory instead of a file, a file instead of a directory, or neither. */
    | { tag: "wrong-type" }
    /** The content exceeds this limit, in bytes or, up to 100,000, in names. `read-at` reads it in pieces. */
    | { tag: "too-large"; val: bigint }
    /**
     * The file system did not respond in time: a dead network mount, a stuck device. Returned at once while an earlier
     * operation on the same path is pending.
     */
    | { tag: "timeout" }
    /** Any other error. */
    | { tag: "io"; val: OsError };

  /** The type of a file. */
  export type FileType =
    /** A regular file. */
    | "regular"
    /** A directory. */
    | "directory"
    /** A symbolic link. */
    | "symbolic-link"
    /** A block device. */
    | "block-device"
    /** A character device. */
    | "character-device"
    /** A named pipe. */
    | "pipe"
    /** A unix socket. */
    | "socket"
    /** None of these, or not known. */
    | "unknown";

  /** A name in a directory. */
  export interface Entry {
    /** The name. */
    name: string;
    /** The type, of a symbolic link itself. */
    kind: FileType;
  }

  /** The state of a file, of what a symbolic link leads to. */
  export interface FileStatus {
    /** The type. */
    kind: FileType;
    /** The permissions, the last twelve bits of the mode: `0o644`. */
    permissions: number;
    /** The number of its user. */
    user: number;
    /** The number of its group. */
    group: number;
    /** The size. Of `/proc/<pid>/fd`, since Linux 6.2, the number of open files. */
    size: bigint;
    /** The space that it takes, as the file system counts it. */
    allocatedBytes: bigint;
    /** When its content changed last, in nanoseconds since the Unix epoch. */
    modifiedNs: bigint;
    /** The number of the device that its file system is on. With the inode it identifies a file. */
    device: bigint;
    /** The number of its inode. */
    inode: bigint;
    /** The number of its names. */
    links: bigint;
  }

  /** Sizes of a mounted file system. */
  export interface FilesystemUsage {
    /** The size. */
    totalBytes: bigint;
    /** The free space. */
    freeBytes: bigint;
    /** The space free to unprivileged users, without the part reserved for root. */
    availableBytes: bigint;
    /** The number of inodes; zero if the file system does not count them. */
    inodes: bigint;
    /** The number of free inodes. */
    freeInodes: bigint;
    /** Whether the mount is read-only. */
    readOnly: boolean;
  }

  /**
   * Reads the whole content of a regular file, at most 4 MiB.
   * @throws Error
   */
  export function read(path: string): Uint8Array;

  /**
   * Reads a piece of a regular file: the bytes from an offset on, at most `max-bytes` and 4 MiB. A shorter piece is the last
   * one; beyond the end it is empty. The kernel generates its files anew for each piece, so a file that changes may be torn
   * between two pieces.
   * @throws Error
   */
  export function readAt(path: string, offset: bigint, maxBytes: number): Uint8Array;

  /**
   * Reads many small files at the price of one call: the whole contents, each at most `max-bytes` and 4 MiB. The results are
   * in the order of the paths. They are fewer than the paths when their contents would be more than 4 MiB together, and at
   * least one: ask for the others again.
   */
  export function readMany(paths: Array<string>, maxBytes: number): Array<{ tag: "ok"; val: Uint8Array } | { tag: "err"; val: Error }>;

  /**
   * Lists a directory, sorted by name, without `.` and `..`; at most 100,000 names, and 4 MiB of them.
   * @throws Error
   */
  export function list(path: string): Array<Entry>;

  /**
   * Returns the state of a file or directory. A grant to read or to list the path suffices.
   * @throws Error
   */
  export function stat(path: string): FileStatus;

  /**
   * Returns the path in a symbolic link, without following it. It may be relative, and may lead to what is not there or not
   * granted. For `/proc/<pid>/exe`, `/proc/<pid>/fd/<number>` and their like it is the kernel's name of what the process has
   * open.
   * @throws Error
   */
  export function readLink(path: string): string;

  /**
   * Returns the sizes of the file system mounted at a path.
   * @throws Error
   */
  export function usage(path: string): FilesystemUsage;
}

/**
 * HTTP requests to granted origins and unix sockets. A fetch returns the complete response; redirects are returned, not
 * followed. The operator decides which authorities are trusted, which certificate and proxy the agent uses, and whether
 * certificates of peers are verified.
 */
declare module "gauged:plugin/http@0.2.0-rc.4" {
  import type { Capability } from "gauged:plugin/types@0.2.0-rc.4";
  export type { Capability };
  import type { OsError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { OsError };
  import type { PermissionError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { PermissionError };
  import type { TlsSession } from "gauged:plugin/types@0.2.0-rc.4";
  export type { TlsSession };

  /** Options of a request. */
  export interface RequestOptions {
    /** A timeout shorter than the rest of the call's budget, of which nearly all is the default. */
    timeoutMs?: number;
    /** The largest body of the response, below the agent's own limit of 4 MiB. */
    maxBodyBytes?: number;
    /**
     * The path of the unix socket to connect to. The URL has the host to name and the path to ask for; its host needs no
     * grant, and is not resolved. No proxy is used.
     */
    unixSocket?: string;
  }

  /** An HTTP request. */
  export interface Request {
    /** `GET`, `HEAD`, `POST` … A grant for a unix socket is for some methods. */
    method: string;
    /** An absolute URL, `http` or `https`. The URL and the headers together have at most 16 KiB. */
    url: string;
    /** Names and values, at most 100. The agent sets `host`, `content-length` and headers of the connection. */
    headers: Array<[string, string]>;
    /** The body; may be empty. At most 1 MiB. */
    body: Uint8Array;
    /** What differs from the defaults. */
    options?: RequestOptions;
  }

  /**
   * The durations of a request's phases, in nanoseconds. Each phase begins at the end of the one before it, the first one at
   * the start of the request; what is left of the total is the time in which the response was received.
   */
  export interface Times {
    /**
     * Name resolution; none where there is nothing to resolve: for addresses, `localhost`, unix sockets and the operator's
     * proxy.
     */
    resolveNs?: bigint;
    /** Connecting: all attempts until one succeeded. With the operator's proxy, until that has made a tunnel. */
    connectNs: bigint;
    /** The handshake of TLS with the server; none without TLS. */
    tlsNs?: bigint;
    /** Sending the request and waiting for the first byte of the response, an interim one (1xx) included. */
    firstByteNs: bigint;
    /** The whole request, from its start to the last byte of the response. */
    totalNs: bigint;
  }

  /** An HTTP response. */
  export interface Response {
    /** 200, 404 … Interim responses (1xx) are left out. */
    status: number;
    /** Names in lower case, and values. */
    headers: Array<[string, string]>;
    /** The complete body. */
    body: Uint8Array;
    /** The times of the request. */
    times: Times;
    /**
     * What the agent was connected to: `address:port` of the server or the operator's proxy, an IPv6 address in brackets,
     * or `unix:/path`.
     */
    remoteAddress: string;
    /** The encryption; none without TLS, and for a certificate that cannot be read. */
    tls?: TlsSession;
  }

  /** The error of a request without a response. An HTTP status of 500 is a response. */
  export type Error =
    /** This grant is missing. */
    | { tag: "denied"; val: Capability }
    /** No grant allows it; the text has the reason. */
    | { tag: "forbidden"; val: string }
    /** The method, URL, a header or the path of the unix socket is malformed; the text has the details. */
    | { tag: "invalid-request"; val: string }
    /** The operating system does not permit the connection to the agent's user. */
    | { tag: "not-permitted"; val: PermissionError }
    /** The operating system does not support the connection; the text has the cause. */
    | { tag: "not-supported"; val: string }
    /** The name could not be resolved; the text has the cause. */
    | { tag: "resolve"; val: string }
    /** The unix socket does not exist. */
    | { tag: "not-found" }
    /** Nobody accepts connections at the address. */
    | { tag: "refused"; val: OsError }
    /** No way leads to the address. */
    | { tag: "unreachable"; val: OsError }
    /** The peer broke the connection off. */
    | { tag: "reset"; val: OsError }
    /** The operator's proxy could not be used; the text has the cause and the remedy. */
    | { tag: "proxy"; val: string }
    /** The certificate of the peer was rejected, or there is no common version of TLS; the text has the cause and the remedy. */
    | { tag: "tls"; val: string }
    /** The response exceeds this limit, in bytes: that of its body, by the request or the agent, or that of its head. */
    | { tag: "too-large"; val: bigint }
    /** The response was not complete in time. */
    | { tag: "timeout" }
    /** The response is not HTTP, or is truncated; the text has the details. */
    | { tag: "protocol"; val: string }
    /** Any other error of the connection. */
    | { tag: "io"; val: OsError };

  /**
   * Sends a request and waits for the response.
   * @throws Error
   */
  export function fetch(request: Request): Response;
}

/**
 * Byte streams over TCP, TLS or unix sockets, and datagrams over UDP, to and from granted addresses: for protocols other than
 * HTTP.
 */
declare module "gauged:plugin/net@0.2.0-rc.4" {
  import type { Capability } from "gauged:plugin/types@0.2.0-rc.4";
  export type { Capability };
  import type { OsError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { OsError };
  import type { PermissionError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { PermissionError };
  import type { TlsSession } from "gauged:plugin/types@0.2.0-rc.4";
  export type { TlsSession };

  /** The error of a connection or of a socket for datagrams. */
  export type Error =
    /** This grant is missing. */
    | { tag: "denied"; val: Capability }
    /** No grant allows it; the text has the reason. */
    | { tag: "forbidden"; val: string }
    /**
     * The address does not have the form `host:port`, `unix:/path` or `udp:host:port`, or the function is not for addresses of
     * that form; the text has the reason.
     */
    | { tag: "invalid-address"; val: string }
    /** The operating system does not permit the connection to the agent's user. */
    | { tag: "not-permitted"; val: PermissionError }
    /** The operating system does not support the operation; the text has the cause. */
    | { tag: "not-supported"; val: string }
    /** The name could not be resolved; the text has the cause. */
    | { tag: "resolve"; val: string }
    /** The unix socket does not exist. */
    | { tag: "not-found" }
    /** Nobody accepts connections or datagrams at the address. */
    | { tag: "refused"; val: OsError }
    /** No way leads to the address. */
    | { tag: "unreachable"; val: OsError }
    /** The peer broke the connection off. */
    | { tag: "reset"; val: OsError }
    /**
     * The peer's certificate was rejected, there is no common version of TLS, or the connection is in no state for TLS; the
     * text has the cause.
     */
    | { tag: "tls"; val: string }
    /** The datagram exceeds this limit, in bytes. It was not sent. */
    | { tag: "too-large"; val: number }
    /** Too many connections and sockets are open, or TLS exceeds the plugin's memory; the text has the limit. */
    | { tag: "exhausted"; val: string }
    /** The operation was not complete in time. */
    | { tag: "timeout" }
    /** Any other error of the connection. */
    | { tag: "io"; val: OsError };

  /** A connection that is encrypted from now on. */
  export interface TlsChannel {
    /** The session. */
    session: TlsSession;
    /**
     * The bytes of the channel binding `tls-server-end-point` (RFC 5929), for SCRAM: the hash of the peer's certificate. None
     * for a certificate whose signature has no such hash, as one by Ed25519: the binding is not defined then.
     */
    serverEndPoint?: Uint8Array;
  }

  /** An open connection. It may be kept from tick to tick, and is closed with its handle or plugin. */
  export class Connection {
    /**
     * Connects to `host:port` or `unix:/path`. The timeout applies to this and each later operation; the default is
     * nearly all of the rest of the call's budget.
     * @throws Error
     */
    static connect(address: string, timeoutMs?: number): Connection;
    /**
     * Writes all bytes.
     * @throws Error
     */
    write(bytes: Uint8Array): void;
    /**
     * Reads the bytes that have arrived: at least one, at most `max-bytes`; empty when the peer has closed. Over TLS a peer
     * that closes without saying so is `reset`: the data may have been cut off.
     * @throws Error
     */
    read(maxBytes: number): Uint8Array;
    /**
     * Encrypts the connection, whatever was exchanged before: the bytes of later reads and writes go over TLS. The peer's
     * certificate has to be valid for `server-name`, a host name or an address, IPv6 in brackets. The operator's
     * configuration decides which authorities are trusted, and which certificate the peer gets that asks for one.
     *
     * Before this, the plugin reads the peer's consent to its last byte, and no more. A peer that has sent more in clear
     * is not trusted: somebody on the way may have inserted it, to have it taken for a message of the peer. The agent
     * refuses TLS where such bytes wait. It never reads ahead, so that none of them can be taken as decrypted.
     *
     * An error ends the connection, except for a second call, which changes nothing, and for an invalid name.
     * @throws Error
     */
    startTls(serverName: string): TlsChannel;
    /** Gives it back. */
    [Symbol.dispose](): void;
  }

  /** A datagram that was received. */
  export interface Datagram {
    /** Its bytes; of one that is longer than `max-bytes` only the first ones. */
    bytes: Uint8Array;
    /** Its whole length. Where that is more than the bytes, it was cut off. */
    length: number;
  }

  /**
   * A socket for datagrams to and from one peer, over UDP. It may be kept from tick to tick, and is closed with its handle or
   * plugin. Datagrams may be lost, doubled and out of order, as everywhere.
   */
  export class DatagramSocket {
    /**
     * Opens a socket for the peer `udp:host:port`: of the name's addresses the first one that this host has a way to. Nothing
     * is sent. The timeout applies to this and each later operation; the default is nearly all of the rest of the call's
     * budget. There are no datagrams over unix sockets, and none to several hosts: broadcast and multicast.
     * @throws Error
     */
    static connect(address: string, timeoutMs?: number): DatagramSocket;
    /**
     * Sends one datagram, of at most 65,507 bytes. That the peer does not accept datagrams is known only later: the next
     * operation does nothing and returns `refused`.
     * @throws Error
     */
    send(bytes: Uint8Array): void;
    /**
     * Waits for a datagram of the peer; those of others are dropped.
     * @throws Error
     */
    receive(maxBytes: number): Datagram;
    /** Gives it back. */
    [Symbol.dispose](): void;
  }
}

/**
 * What the kernel of the measured host says of its sockets, its clock and its network interfaces, where files do not have it or have
 * it at a high price. Every query is bounded and changes nothing. They need no grant, but for the list of listening sockets.
 */
declare module "gauged:plugin/system@0.2.0-rc.4" {
  import type { Capability } from "gauged:plugin/types@0.2.0-rc.4";
  export type { Capability };
  import type { OsError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { OsError };
  import type { PermissionError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { PermissionError };

  /** The error of a query. */
  export type Error =
    /** This grant is missing. */
    | { tag: "denied"; val: Capability }
    /** The operating system does not permit the query to the agent's user. */
    | { tag: "not-permitted"; val: PermissionError }
    /**
     * There is no answer: the kernel, driver or sandbox does not have the query, or the agent is not in the network of the
     * measured host, or that cannot be found out; the text has the cause. Fall back to files. Also in `describe`.
     */
    | { tag: "not-supported"; val: string }
    /** There is no network interface of this name. */
    | { tag: "not-found" }
    /** The kernel did not answer in time. */
    | { tag: "timeout" }
    /** Any other error. */
    | { tag: "io"; val: OsError };

  /** A table of sockets: of a protocol, with IPv4 or IPv6. The file with the same sockets in `/proc/1/net` has the same name. */
  export type SocketTable =
    /** TCP over IPv4. */
    | "tcp"
    /** TCP over IPv6, and over IPv4 by sockets that serve both. */
    | "tcp6"
    /** UDP over IPv4. */
    | "udp"
    /** UDP over IPv6, and over IPv4 by sockets that serve both. */
    | "udp6";

  /** The number of sockets in a state. */
  export interface StateCount {
    /**
     * `established`, `syn_sent`, `syn_recv`, `fin_wait1`, `fin_wait2`, `time_wait`, `close`, `close_wait`, `last_ack`, `listen` or
     * `closing`. A UDP socket with a peer is `established`, one without is `close`. Later kernels may have more.
     */
    state: string;
    /** The number. */
    count: bigint;
  }

  /** Numbers of sockets. */
  export interface SocketCounts {
    /** The states that a socket is in. */
    states: Array<StateCount>;
    /** Whether there are more sockets: a million are counted. */
    truncated: boolean;
  }

  /** A socket that waits for peers: a TCP socket that listens, or a UDP socket without a peer. */
  export interface Listener {
    /** The IP address that it is bound to, such as `127.0.0.1`, `0.0.0.0` or `::`. */
    address: string;
    /** The port. */
    port: number;
    /** The number of the interface that it is bound to; 0 without one. */
    device: number;
    /** For TCP the connections that wait to be accepted, for UDP the bytes that wait to be read. */
    queued: number;
    /** For TCP, how many connections may wait. */
    queueLimit?: number;
    /** The number of its user. */
    user: number;
    /** Its inode, by which `/proc/<pid>/fd` has it; 0 for one that no process has. */
    inode: number;
  }

  /** Sockets that wait for peers. */
  export interface Listeners {
    /** The sockets, in no order. */
    sockets: Array<Listener>;
    /** Whether there are more: the result has 10,000. */
    truncated: boolean;
  }

  /** A leap second of the clock. */
  export type LeapSecond =
    /** There is none. */
    | "none"
    /** One will be added at the end of the day. */
    | "added"
    /** One will be removed at the end of the day. */
    | "removed"
    /** It is under way. */
    | "under-way"
    /** It was. */
    | "over";

  /** The state of the kernel's clock, which adjtimex(2) explains. */
  export interface ClockStatus {
    /** Whether it follows a source of time. Set by whatever disciplines it. */
    synchronised: boolean;
    /** The leap second of the day. */
    leap: LeapSecond;
    /** The bits of the status, as in the kernel's `timex.h`. */
    status: number;
    /** The time that is still to be corrected. */
    offsetNs: bigint;
    /** The correction of the frequency, in parts per million. */
    frequencyPpm: number;
    /** The largest correction of the frequency, in parts per million. */
    tolerancePpm: number;
    /** How far the clock is off at most. */
    maximumErrorNs: bigint;
    /** How far the clock is off, as far as its discipline can say. */
    estimatedErrorNs: bigint;
    /** The time constant of the loop that disciplines it. */
    timeConstant: bigint;
    /** The time between two of the kernel's ticks. */
    tickNs: bigint;
    /** International Atomic Time minus UTC, in seconds; 0 if nobody has set it. */
    taiOffsetS: number;
  }

  /** The directions that a link uses at a time. */
  export type Duplex =
    /** One of both. */
    | "half"
    /** Both. */
    | "full";

  /** The state of an interface's link, as its driver has it. What the driver does not say is none. */
  export interface LinkStatus {
    /** Whether there is a link. */
    up?: boolean;
    /** Its speed. */
    bitsPerSecond?: bigint;
    /** Its directions. */
    duplex?: Duplex;
    /** Whether both ends negotiate speed and duplex. */
    autonegotiation?: boolean;
  }

  /** A statistic of a driver. */
  export interface Statistic {
    /** The driver's name for it, which may have any characters. */
    name: string;
    /** Its value, mostly a counter. */
    value: bigint;
  }

  /** The driver of an interface, and its statistics. */
  export interface DriverStatus {
    /** The driver's name, such as `ixgbe`. */
    driver: string;
    /** The driver's version, on most kernels that of the kernel. */
    version: string;
    /** The version of the firmware; may be empty. */
    firmware: string;
    /** The address of the device, such as `0000:00:03.0`; may be empty. */
    bus: string;
    /** The statistics, in the driver's order; may be empty. */
    statistics: Array<Statistic>;
    /** Whether there are more: the result has 4,096. */
    truncated: boolean;
  }

  /**
   * Counts the sockets of a table by state, as `/proc/1/net/tcp` has them, without reading it.
   * @throws Error
   */
  export function countSockets(table: SocketTable): SocketCounts;

  /**
   * Lists the sockets of a table that wait for peers. Needs the grant to `read` the file with the same sockets, as
   * `/proc/1/net/tcp`.
   * @throws Error
   */
  export function listListeners(table: SocketTable): Listeners;

  /**
   * Returns the state of the clock.
   * @throws Error
   */
  export function readClock(): ClockStatus;

  /**
   * Returns the state of the link of a network interface.
   * @throws Error
   */
  export function queryLink(name: string): LinkStatus;

  /**
   * Returns the driver of a network interface, with its statistics. It may wait for the device.
   * @throws Error
   */
  export function queryDriver(name: string): DriverStatus;
}

/**
 * What a plugin keeps: one piece of bytes, which outlasts the instance. It is there after a restart of the agent, in the next
 * version of the plugin, and after a fault. It belongs to the plugin's name in the agent's configuration, and no other plugin
 * sees it, so that no grant is needed.
 *
 * Load it once, in `configure`, and save it when it has changed, as often as at each tick: the agent writes to the disk at most
 * once a minute for each plugin, when the bytes are others, and at its end. What it has not written is lost when it is killed,
 * which is at most the last minute. A new version that is tried loads and saves it, too: versions should know their bytes.
 */
declare module "gauged:plugin/state@0.2.0-rc.4" {
  import type { OsError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { OsError };
  import type { PermissionError } from "gauged:plugin/types@0.2.0-rc.4";
  export type { PermissionError };

  /** The error of a load or save. A plugin that measures without its state goes on with what it has in memory. */
  export type Error =
    /**
     * There is no place for it: the agent has no directory, may not use it, or another agent does; the text has the cause.
     * Also in `describe`, whose result must not depend on it.
     */
    | { tag: "not-supported"; val: string }
    /** The operating system does not permit it to the agent's user. */
    | { tag: "not-permitted"; val: PermissionError }
    /** The bytes exceed this limit, 64 KiB. The state is as before. */
    | { tag: "too-large"; val: bigint }
    /** The disk did not respond in time. Whether the state was saved is not known. */
    | { tag: "timeout" }
    /** Any other error of the disk, such as `ENOSPC`. The state may be lost with the agent's end, unless a later save succeeds. */
    | { tag: "io"; val: OsError };

  /**
   * Returns the bytes that were saved last; none before the first save. The agent keeps nothing with `--once` and in its
   * subcommands, which begin with none.
   * @throws Error
   */
  export function load(): Uint8Array | undefined;

  /**
   * Saves bytes in place of those before, at most 64 KiB.
   * @throws Error
   */
  export function save(bytes: Uint8Array): void;
}

/** The types of samples. */
declare module "gauged:plugin/metrics@0.2.0-rc.4" {

  /** The kind of a metric. */
  export type Kind =
    /** A value that goes up and down. */
    | "gauge"
    /** A value that only grows, until its source restarts at zero. Its name ends in `_total`. */
    | "counter"
    /** Numbers of observations by their size. Its values are `histogram`. */
    | "histogram"
    /** Quantiles of observations. Its values are `summary`. */
    | "summary";

  /**
   * The moment at which a counter was zero, and so were the observations of a histogram or summary. Some sinks send it, and
   * receivers compute rates by it.
   */
  export type Origin =
    /** Not known, as that of a service which may restart at any time. It is always right. */
    | "unknown"
    /** The boot of the host: counters of the kernel. */
    | "boot"
    /** The start of this instance of the plugin, before `configure`: the plugin's own counts. */
    | "plugin";

  /** Observations by their size. */
  export interface Histogram {
    /**
     * The upper bounds of the buckets, finite and rising; without the last one, which is infinite. Other bounds are other
     * series.
     */
    bounds: Float64Array;
    /**
     * For each bound the number of observations above the one before it, up to and including this one; then the number of
     * those above all bounds. Not cumulative.
     */
    counts: BigUint64Array;
    /** The sum of all observations, where it is known. */
    sum?: number;
  }

  /** A quantile of observations. */
  export interface Quantile {
    /** From 0 to 1: 0.5 is the median. */
    share: number;
    /** The size that this share of the observations does not exceed; none without observations. */
    value?: number;
  }

  /** Quantiles of observations. */
  export interface Summary {
    /** The quantiles, rising by their share; may be empty. */
    quantiles: Array<Quantile>;
    /** The sum of all observations, where it is known. */
    sum?: number;
    /** The number of all observations, where it is known. */
    count?: bigint;
  }

  /**
   * A measured value. Integers have their own cases, because counters exceed the 53 bits that a float holds exactly.
   * The agent drops and counts numbers that are not finite.
   */
  export type Value =
    /** An integer, zero or more. */
    | { tag: "natural"; val: bigint }
    /** An integer that may be negative. */
    | { tag: "integer"; val: bigint }
    /** A number with a fraction. */
    | { tag: "number"; val: number }
    /** True or false. */
    | { tag: "boolean"; val: boolean }
    /** An identifier, such as a version or state. Numeric sinks leave it out. */
    | { tag: "text"; val: string }
    /** The value of a histogram, which has a descriptor of that kind. */
    | { tag: "histogram"; val: Histogram }
    /** The value of a summary, which has a descriptor of that kind. */
    | { tag: "summary"; val: Summary };

  /** A dimension that distinguishes metrics of the same name, as in `free_bytes{mount="/"}`. */
  export interface Label {
    /** `[A-Za-z_][A-Za-z0-9_]*`, without two leading underscores. */
    name: string;
    /** Any text. */
    value: string;
  }

  /**
   * A metric. Names are part of every result, so plugins need no index tables: twenty metrics cost the agent about two
   * microseconds.
   */
  export interface Metric {
    /** `[A-Za-z0-9_]+`, the unit last: `free_bytes`, `requests_total`. In a verbatim module `[A-Za-z_:][A-Za-z0-9_:]*`. */
    name: string;
    /** The labels in display order. Name and labels together, in whatever order, are unique within the module. */
    labels: Array<Label>;
    /** The measured value. */
    value: Value;
  }

  /** A label of a metric, and what its values are. */
  export interface Dimension {
    /** The name of the label. */
    name: string;
    /** What its values are, such as `Mount point`, as part of a sentence. */
    meaning: string;
  }

  /**
   * Facts about a metric, matched by module and name. Sinks take kinds and units from here; a metric without a descriptor is
   * a gauge without a unit, and has neither a histogram nor a summary.
   */
  export interface Descriptor {
    /** The module of the metric. */
    module: string;
    /** The name, without labels. */
    name: string;
    /** The kind. */
    kind: Kind;
    /** From when counts are; `unknown` for a gauge. */
    countsFrom: Origin;
    /** The unit in UCUM: `By`, `s`, `%`, `1`, `{packet}`. */
    unit: string;
    /** One sentence for operators: the meaning of a rising value. */
    description: string;
    /** All labels that the metric may have. */
    labels: Array<Dimension>;
  }

  /** An entry of the sample: module → metric → value. */
  export interface Module {
    /**
     * `[A-Za-z0-9_]+`. By convention the plugin's name, or a name that starts with it. If two collectors return the
     * same module, the agent's own wins, then the plugin whose name sorts first; the other's is dropped.
     */
    name: string;
    /**
     * When its metrics were measured, where that was before the tick: such as the time of a file that another program has
     * written. In milliseconds since the Unix epoch, from one hour before the tick to the tick, and not before that of the
     * last module of this name. Otherwise the tick's time is used, and the agent counts the refused one.
     */
    unixMs?: bigint;
    /**
     * Whether the names are somebody else's: those of a scraped exporter, or of a text file in its format. No naming
     * prefixes or rewrites them, and `describe` and `configure` need not describe them.
     */
    verbatim: boolean;
    /** The metrics; may be empty. */
    metrics: Array<Metric>;
    /**
     * The descriptors of metrics of this module that became known only now, such as those of a scraped exporter. They hold
     * from this call on, as long as the instance; a later descriptor of a metric replaces an earlier one.
     */
    descriptors: Array<Descriptor>;
  }
}

/** The exports of a plugin. The three functions are called in this order, never two at a time. */
declare module "gauged:plugin/collector@0.2.0-rc.4" {
  import type { Descriptor } from "gauged:plugin/metrics@0.2.0-rc.4";
  export type { Descriptor };
  import type { Module } from "gauged:plugin/metrics@0.2.0-rc.4";
  export type { Module };
  import type { Capability } from "gauged:plugin/types@0.2.0-rc.4";
  export type { Capability };

  /**
   * A setting of the plugin: a key of the table `config` of its configuration. The agent shows it, and makes a table to
   * fill in of it; `configure` checks it.
   */
  export interface Setting {
    /**
     * The key, dotted where nested. An element of a list is `[]`, and a key that the operator chooses is `*`:
     * `servers[].address`, `groups.*.command`.
     */
    key: string;
    /**
     * The type of the value: `text`, `integer`, `number`, `boolean`, `list` or `table`, or such a word and more, for people:
     * `list of patterns`.
     */
    valueType: string;
    /** The value without the setting, in JSON; none if there is no such value. */
    defaultValue?: string;
    /** One sentence for operators. */
    meaning: string;
    /** Whether the table that it belongs to must have it. Without nesting: whether the plugin needs it. */
    required: boolean;
    /** Whether its value is a secret, which the operator should keep in a file of its own. */
    secret: boolean;
  }

  /** Static facts about a plugin. */
  export interface About {
    /** The plugin's own version, shown beside its name. */
    version: string;
    /** One sentence on the subject of the metrics. */
    description: string;
    /** All settings that `configure` accepts. */
    settings: Array<Setting>;
    /**
     * The metrics that `collect` can return with any configuration. Those that depend on it may be described by
     * `configure` instead.
     */
    metrics: Array<Descriptor>;
  }

  /** A capability that the plugin needs, with a reason for the operator. */
  export interface Need {
    /** The needed capability. */
    capability: Capability;
    /** Completes the sentence "this plugin needs it to …". */
    reason: string;
  }

  /** What a plugin needs and measures as it is configured. */
  export interface Configured {
    /** The needs. The agent reports missing grants, and the plugin runs all the same. */
    needs: Array<Need>;
    /**
     * The metrics that `about` does not have, since they depend on the configuration. For a metric in both, the
     * descriptor here holds.
     */
    metrics: Array<Descriptor>;
  }

  /** An invalid key of the configuration. */
  export interface Invalid {
    /** The key, dotted where nested; empty for the configuration as a whole. */
    key: string;
    /** The error and its remedy. */
    message: string;
  }

  /** An error of `configure` or `collect`. Each case defines the agent's next step. */
  export type Error =
    /**
     * This host does not have the measured subject and will not get it. The plugin is disabled until its file or
     * configuration changes. Not a fault.
     */
    | { tag: "unsupported"; val: string }
    /** The configuration is invalid. The plugin is disabled until its file or configuration changes. */
    | { tag: "invalid-config"; val: Array<Invalid> }
    /** A grant is missing. The plugin is disabled, and the agent reports the lines to add. */
    | { tag: "denied"; val: Need }
    /**
     * The measured subject is missing at the moment. Not a fault: the agent reports the error until it changes, counts it,
     * and calls the plugin again at its next tick, with its memory as it is.
     */
    | { tag: "unavailable"; val: string }
    /** This call failed: the data is not understood, or the plugin has a defect. As `unavailable`, with the state `failed`. */
    | { tag: "failed"; val: string };

  /** The time of a call. Rates and ages are computed with it, not with a clock of WASI: tests and scripts set it. */
  export interface Tick {
    /** The timestamp of the sample: the scheduled time, in milliseconds since the Unix epoch. */
    unixMs: bigint;
    /** A monotonic clock for rates, read just before the call. Its zero is arbitrary. */
    monotonicNs: bigint;
    /** The time limit of this call. A longer call is ended and counted as a fault. */
    budgetMs: number;
    /**
     * The plugin's interval: the scheduled time from one tick to the next. The first call, and one after a failure, may be
     * at any time.
     */
    intervalMs: bigint;
  }

  /** The plugin: `export const collector: Collector = …`. */
  export interface Collector {
    /**
     * Describes the plugin. Called once per loaded file, in a separate instance with all capabilities denied. The result
     * must not depend on the host.
     */
    describe(): About;
    /**
     * Configures the plugin with a JSON object (`{}` without configuration), once per instance, before the first
     * `collect`.
     * @throws Error
     */
    configure(config: string): Configured;
    /**
     * Measures. Memory is kept from call to call, until the plugin fails or is replaced.
     * @throws Error
     */
    collect(tick: Tick): Array<Module>;
  }
}
