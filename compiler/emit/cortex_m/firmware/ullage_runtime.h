/* Inference by a plan: memory arenas, DMA copies at their steps, operators at their addresses. */
#ifndef ULLAGE_RUNTIME_H
#define ULLAGE_RUNTIME_H
#include <stddef.h>
#include <stdint.h>

#include "ullage_plan.h"

/* What ullage_model.c defines. */
extern unsigned char *const ullage_arena[]; /* the start of each tier's memory */
extern const unsigned char ullage_read_only[]; /* 1 for each tier that nothing writes: flash */
typedef void (*ullage_operator)(void);
extern const ullage_operator ullage_operators[]; /* one for each step, NULL where DMA alone runs */
/* Initial bytes of an operand [ULLAGE_FIRST_LOAD, +ULLAGE_LOADS): NULL where the linker has put
 * them there (weights in read-only memory) or where the caller does (inputs). */
extern const unsigned char *const ullage_initial[];

/* Address of the first byte of an operand of the plan. */
static inline unsigned char *ullage_at(uint32_t operand) {
  const ullage_span *span = &ullage_spans[ullage_operands[operand].first_span];
  return ullage_arena[span->tier] + span->address;
}

/* Bytes of an operand. */
size_t ullage_bytes(uint32_t operand);
/* Copy weights to where they are before the first step; in steady state once, else for each
 * inference whose weights are not read-only. */
void ullage_load_weights(void);
/* Copy an input into its memory: number `input` of the plan's loads. */
void ullage_set_input(uint32_t input, const void *data);
/* One inference. `after_step` (NULL for none) is called when a step is over. */
void ullage_infer(void (*after_step)(uint32_t step));
/* Output `output` of the plan after the last step. */
const unsigned char *ullage_output(uint32_t output);
#endif
