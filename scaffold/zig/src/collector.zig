//! The plugin PLUGIN_NAME: the functions that the agent calls. The parser is in measure.zig, with its tests.
//!
//! What the host returns, and what the plugin returns to it, is in `plugin.call_memory`, which is taken back after the call.

const std = @import("std");
const plugin = @import("plugin");
const measure = @import("measure.zig");

const collector = plugin.collector;
const metrics = plugin.metrics;

const version = "0.1.0";
const module = "PLUGIN_MODULE";
const default_file = "/proc/stat";

// Kept from tick to tick, until the plugin fails or is replaced.
var file: []const u8 = default_file;
var fork_rate: measure.Rate = .{};

comptime {
    plugin.exportFunctions(@This());
}

/// Makes the message of a panic a line of the log. The agent counts a fault and restarts the plugin.
pub const panic = std.debug.FullPanic(struct {
    fn call(message: []const u8, _: ?usize) noreturn {
        plugin.log.log(.@"error", message);
        @trap();
    }
}.call);

const states = [_]metrics.Dimension{.{ .name = "state", .meaning = "State of the processes: running or blocked" }};

const descriptors = [_]metrics.Descriptor{
    describeMetric("forks_total", .counter, "{process}", "Processes and threads started since boot.", &.{}),
    describeMetric("forks_per_second", .gauge, "{process}/s", "Processes and threads started per second since the last tick.", &.{}),
    describeMetric("processes", .gauge, "{process}", "Processes that are runnable, or blocked by a disk or another device.", &states),
};

fn describeMetric(name: []const u8, kind: metrics.Kind, unit: []const u8, description: []const u8, labels: []const metrics.Dimension) metrics.Descriptor {
    return .{
        .module = module,
        .name = name,
        .kind = kind,
        // The kernel's counters are zero at boot.
        .counts_from = if (kind == .counter) .boot else .unknown,
        .unit = unit,
        .description = description,
        .labels = labels,
    };
}

pub fn describe() collector.About {
    return .{
        .version = version,
        .description = "Started, runnable and blocked processes.",
        .settings = &.{.{
            .key = "file",
            .value_type = "text",
            .default_value = "\"" ++ default_file ++ "\"",
            .meaning = "Path of the file to read.",
            .required = false,
            .secret = false,
        }},
        .metrics = &descriptors,
    };
}

pub fn configure(config: []const u8) plugin.Result(collector.Configured, collector.Error) {
    const settings = std.json.parseFromSliceLeaky(std.json.Value, plugin.call_memory, config, .{}) catch
        return .{ .err = invalid("", "write a JSON object") };
    if (settings != .object) return .{ .err = invalid("", "write a JSON object") };
    var entries = settings.object.iterator();
    while (entries.next()) |entry| {
        if (!std.mem.eql(u8, entry.key_ptr.*, "file"))
            return .{ .err = invalid(entry.key_ptr.*, "unknown key; remove it, or use one of file") };
        if (entry.value_ptr.* != .string or entry.value_ptr.string.len == 0)
            return .{ .err = invalid("file", "write a path") };
        file = plugin.kept_memory.dupe(u8, entry.value_ptr.string) catch @panic("out of memory");
    }
    plugin.log.log(.debug, print("reads {s}", .{file}));
    return .{ .ok = .{ .needs = one(need()), .metrics = &.{} } };
}

pub fn collect(tick: collector.Tick) plugin.Result([]const metrics.Module, collector.Error) {
    const content = switch (plugin.files.read(file)) {
        .ok => |content| content,
        .err => |failure| return .{ .err = switch (failure) {
            .denied => .{ .denied = need() },
            else => .{ .unavailable = print("{s} cannot be read: {t}", .{ file, failure }) },
        } },
    };
    const numbers = measure.parse(content) catch
        return .{ .err = .{ .failed = print("{s} has an invalid number", .{file}) } };
    var values: std.ArrayList(metrics.Metric) = .empty;
    if (numbers.forks) |forks| {
        add(&values, "forks_total", &.{}, .{ .natural = forks });
        if (fork_rate.perSecond(forks, tick.monotonic_ns)) |rate| add(&values, "forks_per_second", &.{}, .{ .number = rate });
    }
    if (numbers.running) |running| add(&values, "processes", &.{.{ .name = "state", .value = "running" }}, .{ .natural = running });
    if (numbers.blocked) |blocked| add(&values, "processes", &.{.{ .name = "state", .value = "blocked" }}, .{ .natural = blocked });
    // A file without these lines will not have them later.
    if (values.items.len == 0) return .{ .err = .{ .unsupported = print("{s} has no process counts", .{file}) } };
    return .{ .ok = one(metrics.Module{
        .name = module,
        .unix_ms = null,
        .verbatim = false,
        .metrics = values.items,
        .descriptors = &.{},
    }) };
}

fn add(values: *std.ArrayList(metrics.Metric), name: []const u8, labels: []const metrics.Label, value: metrics.Value) void {
    values.append(plugin.call_memory, .{ .name = name, .labels = labels, .value = value }) catch @panic("out of memory");
}

/// The grant that the plugin needs, with a reason.
fn need() collector.Need {
    return .{ .capability = .{ .kind = "read", .target = file }, .reason = "count processes" };
}

fn invalid(key: []const u8, message: []const u8) collector.Error {
    return .{ .invalid_config = one(collector.Invalid{ .key = key, .message = message }) };
}

/// A list of one value, in the memory of the call.
fn one(value: anytype) []const @TypeOf(value) {
    return plugin.call_memory.dupe(@TypeOf(value), &.{value}) catch @panic("out of memory");
}

/// A text in the memory of the call.
fn print(comptime format: []const u8, arguments: anytype) []const u8 {
    return std.fmt.allocPrint(plugin.call_memory, format, arguments) catch @panic("out of memory");
}
