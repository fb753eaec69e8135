/* Cortex-M55: start-up, faults, memory protection (PMSAv8), semihosting. */
#include "ullage_board.h"

#include <string.h>

extern uint32_t ullage_stack_top[], ullage_data_load[], ullage_data_begin[], ullage_data_end[];
extern uint32_t ullage_bss_begin[], ullage_bss_end[];
int main(void);
void ullage_reset(void);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SCB_SHCSR REGISTER(0xE000ED24u)
#define SCB_CFSR REGISTER(0xE000ED28u)
#define SCB_MMFAR REGISTER(0xE000ED34u)
#define SCB_BFAR REGISTER(0xE000ED38u)
#define SCB_CPACR REGISTER(0xE000ED88u)
#define MPU_TYPE REGISTER(0xE000ED90u)
#define MPU_CTRL REGISTER(0xE000ED94u)
#define MPU_RNR REGISTER(0xE000ED98u)
#define MPU_RBAR REGISTER(0xE000ED9Cu)
#define MPU_RLAR REGISTER(0xE000EDA0u)
#define MPU_MAIR0 REGISTER(0xE000EDC0u)

enum { FAULT_EXIT = 3 };

void ullage_reset(void) {
  SCB_CPACR |= 0xFu << 20; /* floating point */
  __asm volatile("dsb\n isb");
  SCB_SHCSR |= 7u << 16; /* MemManage, BusFault and UsageFault have handlers of their own */
  memcpy(ullage_data_begin, ullage_data_load,
         (size_t)((char *)ullage_data_end - (char *)ullage_data_begin));
  memset(ullage_bss_begin, 0, (size_t)((char *)ullage_bss_end - (char *)ullage_bss_begin));
  ullage_exit(main());
}

static void fault(void) {
  const uint32_t cause = SCB_CFSR;
  MPU_CTRL = 0; /* so that what follows cannot fault again */
  ullage_print("fault: cause ");
  ullage_print_hex(cause);
  if (cause & 0x80u) ullage_print(", an access that no region allows, at "), ullage_print_hex(SCB_MMFAR);
  if (cause & 0x8000u) ullage_print(", a bus error at "), ullage_print_hex(SCB_BFAR);
  ullage_print("\n");
  ullage_exit(FAULT_EXIT);
}

/* Stack pointer, then handlers: reset, NMI, hard fault, MemManage, BusFault, UsageFault ... */
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    ullage_stack_top, ullage_reset, fault, fault, fault, fault, fault, fault,
    fault,            fault, fault, fault, fault, fault, fault, fault,
};

void ullage_guard(const ullage_region *regions, uint32_t count) {
  MPU_CTRL = 0;
  MPU_MAIR0 = 0xFF; /* attribute 0: normal memory, write-back */
  const uint32_t slots = (MPU_TYPE >> 8) & 0xFF;
  if (count > slots) {
    ullage_print("this core's MPU has too few regions\n");
    ullage_exit(FAULT_EXIT);
  }
  for (uint32_t i = 0; i < slots; i++) {
    MPU_RNR = i;
    MPU_RLAR = 0;
    if (i >= count || regions[i].begin == regions[i].end) continue;
    /* Access: privileged read-write 0b00, privileged read-only 0b10; bit 0: never executed. */
    MPU_RBAR = (uint32_t)regions[i].begin | (regions[i].writable ? 0u : 2u << 1) |
               (regions[i].executable ? 0u : 1u);
    MPU_RLAR = (((uint32_t)regions[i].end - 1u) & ~31u) | 1u;
  }
  MPU_CTRL = 1; /* on, without a default map: what no region covers faults */
  __asm volatile("dsb\n isb");
}

static uint32_t semihosting(uint32_t operation, const void *arguments) {
  register uint32_t r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = arguments;
  __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void ullage_print(const char *text) { semihosting(0x04, text); }

void ullage_print_hex(uint32_t number) {
  char text[11] = "0x";
  for (int i = 0; i < 8; i++) text[2 + i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15];
  text[10] = '\0';
  ullage_print(text);
}

void ullage_print_number(uint32_t number) {
  char text[11];
  int at = 10;
  text[at] = '\0';
  do text[--at] = (char)('0' + number % 10);
  while (number /= 10);
  ullage_print(text + at);
}

int32_t ullage_open(const char *path) {
  const uint32_t arguments[3] = {(uint32_t)path, 5 /* "wb" */, (uint32_t)strlen(path)};
  return (int32_t)semihosting(0x01, arguments);
}

void ullage_write(int32_t file, const void *data, size_t bytes) {
  const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)data, (uint32_t)bytes};
  if (semihosting(0x05, arguments)) {
    ullage_print("a file could not be written\n");
    ullage_exit(FAULT_EXIT);
  }
}

void ullage_close(int32_t file) {
  const uint32_t arguments[1] = {(uint32_t)file};
  semihosting(0x02, arguments);
}

void ullage_exit(int32_t code) {
  const uint32_t arguments[2] = {0x20026 /* the application ends */, (uint32_t)code};
  semihosting(0x20, arguments);
  for (;;) {
  }
}
