// The part of the C library that the bindings and the plugin use. Block sizes are powers of two, and freed blocks are reused
// for the same size, so repeated ticks need no further memory.
#include "stdlib.h"
#include "string.h"

#include <stdint.h>

// The smallest block has 32 bytes, the largest 1 GiB.
enum { SMALLEST = 5, SIZES = 26 };

#define PAGE ((size_t)65536)

// The header before the memory of a block.
struct block {
  size_t size;
  struct block *next;
} __attribute__((aligned(16)));

static struct block *freed[SIZES];

// The start of unused memory.
extern unsigned char __heap_base;
static uintptr_t unused;

static struct block *grow(size_t bytes) {
  if (unused == 0) unused = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
  const size_t there = __builtin_wasm_memory_size(0) * PAGE - unused;
  if (bytes > there && __builtin_wasm_memory_grow(0, (bytes - there + PAGE - 1) / PAGE) == (size_t)-1) return NULL;
  struct block *block = (struct block *)unused;
  unused += bytes;
  return block;
}

void *malloc(size_t size) {
  size_t which = 0;
  while (which < SIZES && ((size_t)1 << (SMALLEST + which)) - sizeof(struct block) < size) which++;
  if (which == SIZES) return NULL;
  struct block *block = freed[which];
  if (block != NULL) {
    freed[which] = block->next;
  } else {
    block = grow((size_t)1 << (SMALLEST + which));
    if (block == NULL) return NULL;
    block->size = which;
  }
  return block + 1;
}

void free(void *memory) {
  if (memory == NULL) return;
  struct block *block = (struct block *)memory - 1;
  block->next = freed[block->size];
  freed[block->size] = block;
}

void *realloc(void *memory, size_t size) {
  void *larger = malloc(size);
  if (memory == NULL || larger == NULL) return larger;
  const struct block *block = (struct block *)memory - 1;
  const size_t held = ((size_t)1 << (SMALLEST + block->size)) - sizeof(struct block);
  memcpy(larger, memory, held < size ? held : size);
  free(memory);
  return larger;
}

_Noreturn void abort(void) {
  __builtin_trap();
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  // A single instruction with -mbulk-memory.
  return __builtin_memcpy(to, from, size);
}

void *memmove(void *to, const void *from, size_t size) {
  return __builtin_memmove(to, from, size);
}

void *memset(void *to, int byte, size_t size) {
  return __builtin_memset(to, byte, size);
}

int memcmp(const void *one, const void *other, size_t size) {
  const unsigned char *left = one, *right = other;
  for (; size > 0; left++, right++, size--) {
    if (*left != *right) return *left < *right ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char *text) {
  const char *end = text;
  while (*end != '\0') end++;
  return (size_t)(end - text);
}
