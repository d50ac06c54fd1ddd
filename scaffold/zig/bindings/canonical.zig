//! The canonical ABI: how values of Zig types cross the border to the host. A string or list is an address and a length, a record
//! its fields, a variant a number and the payload; small values are arguments, others are in memory.

const std = @import("std");
const builtin = @import("builtin");

/// Memory that lasts until it is freed.
pub const kept_memory: std.mem.Allocator = if (builtin.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

var arena: std.heap.ArenaAllocator = .init(kept_memory);

/// Memory until the end of the call.
pub const call_memory = arena.allocator();

/// Called by the host when it has read what a call returned.
pub fn returnMemory(_: u32) callconv(.c) void {
    _ = arena.reset(.retain_capacity);
}

/// Called by the host for memory in which it puts strings and lists.
export fn cabi_realloc(old: ?[*]u8, old_size: usize, alignment: usize, size: usize) ?[*]u8 {
    if (size == 0) return @ptrFromInt(alignment);
    const memory = call_memory.rawAlloc(size, .fromByteUnits(alignment), @returnAddress()) orelse @panic("out of memory");
    if (old) |from| @memcpy(memory[0..@min(old_size, size)], from[0..@min(old_size, size)]);
    return memory;
}

/// A value or an error.
pub fn Result(comptime Ok: type, comptime Err: type) type {
    return union(enum) {
        ok: Ok,
        err: Err,
    };
}

/// The types of the fields or cases of a type, in their order.
fn parts(comptime T: type) []const type {
    return switch (@typeInfo(T)) {
        .@"struct" => |record| record.field_types,
        .@"union" => |variant| variant.field_types,
        .optional => |some| &.{ void, some.child },
        else => &.{},
    };
}

/// The number of bytes of a case's number.
fn tagSize(comptime T: type) usize {
    const count = switch (@typeInfo(T)) {
        .@"enum" => |cases| cases.field_names.len,
        else => parts(T).len,
    };
    return if (count <= 256) 1 else if (count <= 65536) 2 else 4;
}

fn isVariant(comptime T: type) bool {
    return switch (@typeInfo(T)) {
        .@"union", .optional => true,
        else => false,
    };
}

/// How a type is laid out in memory, and as arguments.
fn Layout(comptime T: type) type {
    return struct {
        const alignment: usize = switch (@typeInfo(T)) {
            .void, .bool => 1,
            .int, .float => @sizeOf(T),
            .pointer => 4,
            .@"enum" => tagSize(T),
            else => if (isVariant(T)) @max(tagSize(T), widest(parts(T))) else widest(parts(T)),
        };

        const size: usize = switch (@typeInfo(T)) {
            .void => 0,
            .bool => 1,
            .int, .float => @sizeOf(T),
            .pointer => 8,
            .@"enum" => tagSize(T),
            else => if (isVariant(T)) aligned(payload + largest(parts(T)), alignment) else aligned(end(parts(T)), alignment),
        };

        /// Where the payload of a variant is.
        const payload: usize = aligned(tagSize(T), widest(parts(T)));

        /// Where a field of a record is.
        fn field(comptime index: usize) usize {
            return aligned(end(parts(T)[0..index]), Layout(parts(T)[index]).alignment);
        }

        /// The number of core values.
        const flat: usize = switch (@typeInfo(T)) {
            .void => 0,
            .bool, .int, .float, .@"enum" => 1,
            .pointer => 2,
            else => count: {
                var count: usize = 0;
                for (parts(T)) |part| {
                    count = if (isVariant(T)) @max(count, Layout(part).flat) else count + Layout(part).flat;
                }
                break :count count + @intFromBool(isVariant(T));
            },
        };
    };
}

fn aligned(offset: usize, alignment: usize) usize {
    return (offset + alignment - 1) / alignment * alignment;
}

fn widest(comptime types: []const type) usize {
    var most: usize = 1;
    for (types) |T| most = @max(most, Layout(T).alignment);
    return most;
}

fn largest(comptime types: []const type) usize {
    var most: usize = 0;
    for (types) |T| most = @max(most, Layout(T).size);
    return most;
}

/// The end of the last of some fields.
fn end(comptime types: []const type) usize {
    var offset: usize = 0;
    for (types) |T| offset = aligned(offset, Layout(T).alignment) + Layout(T).size;
    return offset;
}

fn tag(comptime T: type, value: T) u32 {
    inline for (0.., @typeInfo(T).@"union".field_names) |at, name| {
        if (std.meta.activeTag(value) == @field(std.meta.Tag(T), name)) return at;
    }
    unreachable;
}

fn address(pointer: anytype) u32 {
    return @intCast(@intFromPtr(pointer));
}

/// Arguments and results as the core sees them, up to a number.
pub fn Flat(comptime count: usize) type {
    return struct {
        values: [count]u64 = @splat(0),
        next: usize = 0,

        /// Adds a value.
        pub fn put(self: *@This(), value: anytype) void {
            const T = @TypeOf(value);
            switch (@typeInfo(T)) {
                .void => {},
                .bool => self.push(@intFromBool(value)),
                .int => |int| self.push(if (int.bits == 64) @bitCast(value) else extended(T, value)),
                .float => |float| self.push(if (float.bits == 64) @as(u64, @bitCast(value)) else @as(u32, @bitCast(value))),
                .@"enum" => self.push(@intFromEnum(value)),
                .pointer => {
                    self.push(address(lowered(T, value)));
                    self.push(value.len);
                },
                .@"struct" => |record| inline for (record.field_names) |name| self.put(@field(value, name)),
                .optional => |some| {
                    const after = self.next + Layout(T).flat;
                    self.push(@intFromBool(value != null));
                    if (value) |payload| self.put(@as(some.child, payload));
                    self.next = after;
                },
                .@"union" => |variant| {
                    const after = self.next + Layout(T).flat;
                    const case = tag(T, value);
                    self.push(case);
                    inline for (0.., variant.field_names) |index, name| {
                        if (case == index) self.put(@field(value, name));
                    }
                    self.next = after;
                },
                else => @compileError("no value of the canonical ABI: " ++ @typeName(T)),
            }
        }

        fn push(self: *@This(), value: u64) void {
            self.values[self.next] = value;
            self.next += 1;
        }

        /// A value with a core type.
        pub fn at(self: *const @This(), comptime Core: type, index: usize) Core {
            const value = self.values[index];
            return switch (Core) {
                f64 => @bitCast(value),
                f32 => @bitCast(@as(u32, @truncate(value))),
                else => @truncate(value),
            };
        }

        /// Takes the first value, after all are put.
        pub fn take(self: *@This(), comptime T: type) T {
            if (self.next == count) self.next = 0;
            return self.taken(T);
        }

        fn taken(self: *@This(), comptime T: type) T {
            switch (@typeInfo(T)) {
                .bool, .int, .float, .@"enum" => return scalar(T, self.pop()),
                .pointer => |list| {
                    const from: usize = @intCast(self.pop());
                    return lifted(list.child, from, @intCast(self.pop()));
                },
                .@"struct" => |record| {
                    var value: T = undefined;
                    inline for (record.field_names, record.field_types) |name, Field| {
                        @field(value, name) = self.taken(Field);
                    }
                    return value;
                },
                else => @compileError("no parameter of a plugin's function: " ++ @typeName(T)),
            }
        }

        fn pop(self: *@This()) u64 {
            self.next += 1;
            return self.values[self.next - 1];
        }
    };
}

/// An integer of 32 bits or fewer as the core sees it.
fn extended(comptime T: type, value: T) u32 {
    return if (@typeInfo(T).int.signedness == .signed) @bitCast(@as(i32, value)) else value;
}

/// A number, truth value or case of its bits.
fn scalar(comptime T: type, bits: u64) T {
    return switch (@typeInfo(T)) {
        .bool => bits != 0,
        .int => |int| @bitCast(@as(@Int(.unsigned, int.bits), @truncate(bits))),
        .float => |float| @bitCast(@as(@Int(.unsigned, float.bits), @truncate(bits))),
        .@"enum" => @enumFromInt(bits),
        else => @compileError("no scalar: " ++ @typeName(T)),
    };
}

/// The result of a function of the host that fits into one core value.
pub fn returned(comptime T: type, core: anytype) T {
    return scalar(T, switch (@TypeOf(core)) {
        f64 => @bitCast(core),
        f32 => @as(u32, @bitCast(core)),
        else => core,
    });
}

/// Memory for the result of a function of the host.
pub fn Area(comptime T: type) type {
    return struct {
        bytes: [Layout(T).size]u8 align(8) = undefined,

        /// Where it is.
        pub fn address(self: *@This()) u32 {
            return @intCast(@intFromPtr(&self.bytes));
        }

        /// The result.
        pub fn load(self: *const @This()) T {
            return loaded(T, &self.bytes);
        }
    };
}

/// The memory with the result of a plugin's function.
pub fn stored(comptime T: type, value: T) u32 {
    const area = allocated(Layout(T).size, Layout(T).alignment);
    store(T, area, value);
    return address(area);
}

fn allocated(size: usize, comptime alignment: usize) [*]u8 {
    // An empty list is anywhere.
    if (size == 0) return @ptrFromInt(alignment);
    return call_memory.rawAlloc(size, .fromByteUnits(alignment), @returnAddress()) orelse @panic("out of memory");
}

/// The bytes of a list's elements. Those of a string stay where they are.
fn lowered(comptime T: type, value: T) [*]const u8 {
    const Element = @typeInfo(T).pointer.child;
    if (Element == u8) return value.ptr;
    const list = allocated(value.len * Layout(Element).size, Layout(Element).alignment);
    for (0.., value) |at, element| store(Element, list + at * Layout(Element).size, element);
    return list;
}

/// A list that the host has put into memory.
fn lifted(comptime Element: type, from: usize, length: usize) []const Element {
    if (length == 0) return &.{};
    const bytes: [*]const u8 = @ptrFromInt(from);
    if (Element == u8) return bytes[0..length];
    const list = call_memory.alloc(Element, length) catch @panic("out of memory");
    for (0.., list) |at, *element| element.* = loaded(Element, bytes + at * Layout(Element).size);
    return list;
}

fn write(comptime Int: type, to: [*]u8, value: Int) void {
    std.mem.writeInt(Int, to[0..@sizeOf(Int)], value, .little);
}

fn read(comptime Int: type, from: [*]const u8) Int {
    return std.mem.readInt(Int, from[0..@sizeOf(Int)], .little);
}

fn store(comptime T: type, to: [*]u8, value: T) void {
    switch (@typeInfo(T)) {
        .void => {},
        .bool => to[0] = @intFromBool(value),
        .int => write(T, to, value),
        .float => |float| {
            const Bits = @Int(.unsigned, float.bits);
            write(Bits, to, @as(Bits, @bitCast(value)));
        },
        .@"enum" => to[0] = @intFromEnum(value),
        .pointer => {
            write(u32, to, address(lowered(T, value)));
            write(u32, to + 4, @intCast(value.len));
        },
        .@"struct" => |record| inline for (0.., record.field_names, record.field_types) |at, name, Field| {
            store(Field, to + comptime Layout(T).field(at), @field(value, name));
        },
        .optional => |some| {
            to[0] = @intFromBool(value != null);
            if (value) |payload| store(some.child, to + Layout(T).payload, payload);
        },
        .@"union" => |variant| {
            const case = tag(T, value);
            to[0] = @intCast(case);
            inline for (0.., variant.field_names, variant.field_types) |at, name, Payload| {
                if (case == at) store(Payload, to + Layout(T).payload, @field(value, name));
            }
        },
        else => @compileError("no value of the canonical ABI: " ++ @typeName(T)),
    }
}

fn loaded(comptime T: type, from: [*]const u8) T {
    switch (@typeInfo(T)) {
        .void => return {},
        .bool => return from[0] != 0,
        .int => return read(T, from),
        .float => |float| return @bitCast(read(@Int(.unsigned, float.bits), from)),
        .@"enum" => return @enumFromInt(from[0]),
        .pointer => |list| return lifted(list.child, read(u32, from), read(u32, from + 4)),
        .@"struct" => |record| {
            var value: T = undefined;
            inline for (0.., record.field_names, record.field_types) |at, name, Field| {
                @field(value, name) = loaded(Field, from + comptime Layout(T).field(at));
            }
            return value;
        },
        .optional => |some| return if (from[0] == 0) null else loaded(some.child, from + Layout(T).payload),
        .@"union" => |variant| {
            inline for (0.., variant.field_names, variant.field_types) |at, name, Payload| {
                if (from[0] == at) return @unionInit(T, name, loaded(Payload, from + Layout(T).payload));
            }
            unreachable;
        },
        else => @compileError("no value of the canonical ABI: " ++ @typeName(T)),
    }
}

test "values have the layout of the canonical ABI" {
    const Variant = union(enum) { none, small: u8, large: u64, text: []const u8 };
    try std.testing.expectEqual(.{ 16, 8, 8, 3 }, .{
        Layout(Variant).size, Layout(Variant).alignment, Layout(Variant).payload, Layout(Variant).flat,
    });
    const Record = struct { a: u8, b: ?f64, c: []const []const u8, d: bool, e: Result(void, u16) };
    try std.testing.expectEqual(.{ 40, 8, 8 }, .{ Layout(Record).size, Layout(Record).alignment, Layout(Record).flat });
    inline for (.{ 0, 8, 24, 32, 34 }, 0..) |offset, at| {
        try std.testing.expectEqual(offset, comptime Layout(Record).field(at));
    }
}

test "arguments are flat values" {
    var flat: Flat(7) = .{};
    flat.put(@as(?u32, null));
    flat.put(@as(i32, -1));
    flat.put(@as(Result(u64, f64), .{ .err = 0.5 }));
    flat.put(true);
    flat.put(@as(f32, 1.5));
    try std.testing.expectEqual(.{ 0, 0, 0xFFFF_FFFF, 1, 0.5, 1, 1.5 }, .{
        flat.at(u32, 0), flat.at(u32, 1), flat.at(u32, 2), flat.at(u32, 3), flat.at(f64, 4), flat.at(u32, 5), flat.at(f32, 6),
    });
}
