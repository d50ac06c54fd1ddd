// Package memory has what the bindings need for the border to the host: memory that the garbage collector leaves where it is
// while the host knows its address, and handles of resources.
package memory

import (
	"runtime"
	"unsafe"
)

// What the host has put into this memory is pinned until the bindings have read it.
var received runtime.Pinner

// Unpin gives back the memory that the host has filled.
func Unpin() {
	received.Unpin()
}

// Allocate returns pinned memory. Its content may hold no pointers that only it has.
func Allocate(pinner *runtime.Pinner, size, alignment uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	if alignment > 8 {
		panic("no type of the canonical ABI is aligned to more than 8 bytes")
	}
	// Aligned to eight bytes, which suits all types.
	words := make([]uint64, (size+7)/8)
	pointer := unsafe.Pointer(unsafe.SliceData(words))
	pinner.Pin(pointer)
	return pointer
}

// The host calls it for memory in which it puts strings and lists, and never enlarges it. It first calls `_initialize`, so the
// runtime of Go is up.
//
//go:wasmexport cabi_realloc
func reallocate(old unsafe.Pointer, oldSize, alignment, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		panic("the host does not enlarge memory")
	}
	return Allocate(&received, size, alignment)
}

// Handle is a resource of the host. It is zero once it was given back.
type Handle struct {
	value int32
}

// MakeHandle returns a handle that the host has made.
func MakeHandle(value int32) *Handle {
	handle := new(Handle)
	handle.Set(value)
	return handle
}

// Use returns the number of the handle.
func (handle *Handle) Use() int32 {
	if handle.value == 0 {
		panic("the resource was dropped")
	}
	return handle.value
}

// Set sets the number of the handle.
func (handle *Handle) Set(value int32) {
	if value == 0 || handle.value != 0 {
		panic("not a new handle")
	}
	handle.value = value
}

// Take returns the number, and ends the handle.
func (handle *Handle) Take() int32 {
	value := handle.Use()
	handle.value = 0
	return value
}

// TakeOrNil is Take, and zero for a handle that has ended.
func (handle *Handle) TakeOrNil() int32 {
	value := handle.value
	handle.value = 0
	return value
}
