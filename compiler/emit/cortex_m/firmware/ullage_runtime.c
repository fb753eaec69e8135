/* Inference by a plan; ullage_runtime.h says what each function does. */
#include "ullage_runtime.h"

#include <string.h>

static const uint32_t loads = ULLAGE_LOADS; /* may be 0, and a loop up to a constant 0 is a warning */

size_t ullage_bytes(uint32_t operand) {
  size_t bytes = 0;
  for (uint32_t s = 0; s < ullage_operands[operand].spans; s++)
    bytes += (size_t)ullage_spans[ullage_operands[operand].first_span + s].size_bytes;
  return bytes;
}

/* Write the bytes of a buffer to all places where the plan has them; flash has them already. */
static void load(uint32_t operand, const unsigned char *data) {
  for (uint32_t s = 0; s < ullage_operands[operand].spans; s++) {
    const ullage_span *span = &ullage_spans[ullage_operands[operand].first_span + s];
    unsigned char *to = ullage_arena[span->tier] + span->address;
    if (!ullage_read_only[span->tier])
      memcpy(to, data + span->start_byte, (size_t)span->size_bytes);
  }
}

void ullage_load_weights(void) {
  for (uint32_t i = 0; i < loads; i++)
    if (ullage_initial[i]) load(ULLAGE_FIRST_LOAD + i, ullage_initial[i]);
}

void ullage_set_input(uint32_t input, const void *data) { load(ULLAGE_FIRST_LOAD + input, data); }

/* The DMA program of a step. On a chip with a DMA engine, start these copies on the queue
 * `copy->link`, run the operator, and wait for both; this core copies itself. */
static void copy_all(const ullage_step *step) {
  for (uint32_t c = 0; c < step->copies; c++) {
    const ullage_copy *copy = &ullage_copies[step->first_copy + c];
    memcpy(ullage_arena[copy->destination] + copy->destination_address,
           ullage_arena[copy->source] + copy->source_address, (size_t)copy->size_bytes);
  }
}

void ullage_infer(void (*after_step)(uint32_t step)) {
  for (uint32_t t = 0; t < ULLAGE_STEPS; t++) {
    /* Copies and operator of one step touch different bytes: their order does not matter. */
#ifndef ULLAGE_DMA_LAST
    copy_all(&ullage_steps[t]);
#endif
    if (ullage_operators[t]) ullage_operators[t]();
#ifdef ULLAGE_DMA_LAST
    copy_all(&ullage_steps[t]);
#endif
    if (after_step) after_step(t);
  }
}

const unsigned char *ullage_output(uint32_t output) { return ullage_at(ULLAGE_FIRST_OUTPUT + output); }
