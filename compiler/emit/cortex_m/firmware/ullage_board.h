/* What a board gives: text and files of the debugger's host, an end, guarded memory. */
#ifndef ULLAGE_BOARD_H
#define ULLAGE_BOARD_H
#include <stddef.h>
#include <stdint.h>

/* A memory region for the MPU: [begin, end), in multiples of 32 bytes. */
typedef struct {
  uintptr_t begin, end;
  int writable, executable;
} ullage_region;

/* Forbid every access outside of `count` regions (at most 8). */
void ullage_guard(const ullage_region *regions, uint32_t count);
/* Arm semihosting: QEMU and debuggers answer these; a chip alone stops at them. */
void ullage_print(const char *text);
void ullage_print_hex(uint32_t number);
void ullage_print_number(uint32_t number);
int32_t ullage_open(const char *path); /* for writing; negative where that is impossible */
void ullage_write(int32_t file, const void *data, size_t bytes);
void ullage_close(int32_t file);
void ullage_exit(int32_t code) __attribute__((noreturn));
#endif
