/* An inference on example inputs. Prints a line for each result, with the CRC-32 of its bytes:
 *
 *   operator STEP OPERAND 0xCRC     what an operator has written
 *   output NUMBER 0xCRC             an output of the model after the last step
 *   done
 *
 * With ULLAGE_DUMP the same bytes go to the file `results.bin` of the debugger's host, in the same
 * order. Replace this file by your own: set inputs, infer, read outputs.
 */
#include <string.h>

#include "ullage_board.h"
#include "ullage_model.h"
#include "ullage_runtime.h"

#ifndef ULLAGE_INFERENCES
#define ULLAGE_INFERENCES 1
#endif
enum { POISON = 0xA5 };

static const uint32_t loads = ULLAGE_LOADS, outputs = ULLAGE_OUTPUTS;
#ifdef ULLAGE_DUMP
static int32_t results;
#endif

/* CRC-32 as in zip files, four bits at a time. */
static uint32_t crc32(uint32_t crc, const unsigned char *data, size_t bytes) {
  static const uint32_t table[16] = {
      0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
      0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
  };
  crc = ~crc;
  for (size_t i = 0; i < bytes; i++) {
    crc ^= data[i];
    crc = (crc >> 4) ^ table[crc & 15];
    crc = (crc >> 4) ^ table[crc & 15];
  }
  return ~crc;
}

static void report(uint32_t operand) {
  uint32_t crc = 0;
  for (uint32_t s = 0; s < ullage_operands[operand].spans; s++) {
    const ullage_span *span = &ullage_spans[ullage_operands[operand].first_span + s];
    const unsigned char *at = ullage_arena[span->tier] + span->address;
    crc = crc32(crc, at, (size_t)span->size_bytes);
#ifdef ULLAGE_DUMP
    ullage_write(results, at, (size_t)span->size_bytes);
#endif
  }
  ullage_print_hex(crc);
  ullage_print("\n");
}

static void report_step(uint32_t t) {
  for (uint32_t k = 0; k < ullage_steps[t].operands; k++) {
    const uint32_t operand = ullage_steps[t].first_operand + k;
    if (!ullage_operands[operand].write) continue;
    ullage_print("operator ");
    ullage_print_number(t);
    ullage_print(" ");
    ullage_print_number(k);
    ullage_print(" ");
    report(operand);
  }
}

int main(void) {
  ullage_region regions[2 + ULLAGE_TIERS];
  ullage_regions(regions);
  ullage_guard(regions, 2 + ULLAGE_TIERS);
  for (uint32_t m = 0; m < ULLAGE_TIERS; m++)
    if (regions[2 + m].writable)
      memset(ullage_arena[m], POISON, (size_t)ullage_tiers[m].arena_bytes);
#ifdef ULLAGE_DUMP
  results = ullage_open("results.bin");
  if (results < 0) {
    ullage_print("results.bin cannot be written\n");
    return 2;
  }
#endif
  for (uint32_t inference = 0; inference < ULLAGE_INFERENCES; inference++) {
    if (inference == 0 || ULLAGE_CARRIED == 0) ullage_load_weights();
    for (uint32_t i = 0; i < loads; i++)
      if (ullage_example_inputs[i]) ullage_set_input(i, ullage_example_inputs[i]);
    ullage_infer(report_step);
    for (uint32_t o = 0; o < outputs; o++) {
      ullage_print("output ");
      ullage_print_number(o);
      ullage_print(" ");
      report(ULLAGE_FIRST_OUTPUT + o);
    }
  }
#ifdef ULLAGE_DUMP
  ullage_close(results);
#endif
  ullage_print("done\n");
  return 0;
}
