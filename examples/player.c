/* A reference player for plans emitted with `ullage compile --emit c`.
 *
 * It executes the plan as firmware would, in plain memory: space is taken and left as the
 * residencies say, DMA copies run in step order, and a dummy kernel stands for each operator. The
 * kernel checks that every byte it reads is the one last written there, then writes bytes of its
 * own. Space that nobody holds is filled with a poison value and, under AddressSanitizer, made
 * inaccessible. Replace `run_kernel` and `dma` by your own and keep the rest.
 *
 *   cc -std=c11 -Wall -Wextra -Werror -fsanitize=address,undefined -I DIR \
 *      examples/player.c DIR/ullage_plan.c -o player && ./player [--dma-last]
 *
 * Exit code 0: every kernel read what was written; 1: it did not; 2: no memory.
 */
#include "ullage_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { POISON = 0xA5, SCRIBBLE = 0x5A, LOADED = 0 };

static unsigned char *arena[ULLAGE_TIERS];     /* the memories */
static unsigned char *truth[ULLAGE_BUFFERS];   /* what each buffer holds, byte by byte */
/* Counts that may be 0, as variables: a loop up to a constant 0 is a warning. */
static const uint32_t loads = ULLAGE_LOADS, outputs = ULLAGE_OUTPUTS, carried = ULLAGE_CARRIED;
static const uint32_t changes = ULLAGE_RESIDENCIES, buffers = ULLAGE_BUFFERS;
static uint64_t bytes_copied, bytes_read, bytes_written, wrong;

static void *take(uint64_t size) {
  void *found = malloc(size ? (size_t)size : 1);
  if (!found) {
    fprintf(stderr, "no memory for %" PRIu64 " bytes\n", size);
    exit(2);
  }
  return found;
}

static unsigned char *at(uint32_t tier, uint64_t address) { return arena[tier] + address; }

/* What version `version` of a buffer holds at a byte: differs between buffers, bytes, versions. */
static unsigned char pattern(uint32_t buffer, uint64_t byte, uint32_t version) {
  uint64_t mixed = (byte + 1) * 0x9E3779B97F4A7C15u ^ (buffer + 1u) * 0xC2B2AE3D27D4EB4Fu;
  mixed ^= (version + 1u) * 0x165667B19E3779F9u;
  return (unsigned char)((mixed ^ mixed >> 29 ^ mixed >> 47) & 0xFF);
}

static void write_operand(const ullage_operand *operand, uint32_t version) {
  for (uint32_t s = 0; s < operand->spans; s++) {
    const ullage_span *span = &ullage_spans[operand->first_span + s];
    for (uint64_t i = 0; i < span->size_bytes; i++) {
      uint64_t byte = span->start_byte + i;
      truth[operand->buffer][byte] = pattern(operand->buffer, byte, version);
      at(span->tier, span->address)[i] = truth[operand->buffer][byte];
    }
    bytes_written += span->size_bytes;
  }
}

static void check_operand(const ullage_operand *operand, const char *reader) {
  for (uint32_t s = 0; s < operand->spans; s++) {
    const ullage_span *span = &ullage_spans[operand->first_span + s];
    uint64_t i = 0;
    while (i < span->size_bytes &&
           at(span->tier, span->address)[i] == truth[operand->buffer][span->start_byte + i])
      i++;
    bytes_read += i;
    if (i == span->size_bytes) continue;
    wrong++;
    fprintf(stderr, "%s reads %s: byte %" PRIu64 " at %s+%" PRIu64 " is not what was written\n",
            reader, operand->name, span->start_byte + i, ullage_tiers[span->tier].name,
            span->address + i);
  }
}

/* Space changes hands at the beginning of a step: first what ends, then what starts. */
static void change_hands(uint32_t t, uint32_t *opened, uint32_t *closed) {
  for (; *closed < changes; ++*closed) {
    const ullage_residency *r = &ullage_residencies[ullage_closing[*closed]];
    if (r->end > t) break;
    memset(at(r->tier, r->address), POISON, (size_t)r->size_bytes);
    ASAN_POISON_MEMORY_REGION(at(r->tier, r->address), (size_t)r->size_bytes);
  }
  for (; *opened < changes; ++*opened) {
    const ullage_residency *r = &ullage_residencies[ullage_opening[*opened]];
    if (r->start > t) break;
    ASAN_UNPOISON_MEMORY_REGION(at(r->tier, r->address), (size_t)r->size_bytes);
    memset(at(r->tier, r->address), POISON, (size_t)r->size_bytes);
  }
}

static void dma(const ullage_step *step) {
  for (uint32_t c = 0; c < step->copies; c++) {
    const ullage_copy *copy = &ullage_copies[step->first_copy + c];
    memcpy(at(copy->destination, copy->destination_address),
           at(copy->source, copy->source_address), (size_t)copy->size_bytes);
    bytes_copied += copy->size_bytes;
  }
}

static void run_kernel(const ullage_step *step, uint32_t t) {
  unsigned char *workspace = at(0, step->workspace_address);
  if (step->workspace_bytes) {
    ASAN_UNPOISON_MEMORY_REGION(workspace, (size_t)step->workspace_bytes);
    memset(workspace, SCRIBBLE, (size_t)step->workspace_bytes);
  }
  for (uint32_t o = 0; o < step->operands; o++) {
    const ullage_operand *operand = &ullage_operands[step->first_operand + o];
    if (operand->write)
      write_operand(operand, t + 1);
    else
      check_operand(operand, step->name);
  }
  if (step->workspace_bytes) {
    memset(workspace, SCRIBBLE, (size_t)step->workspace_bytes);
    ASAN_POISON_MEMORY_REGION(workspace, (size_t)step->workspace_bytes);
  }
}

int main(int argc, char **argv) {
  /* Within a step DMA and the operator run side by side, so either may come first. */
  int dma_last = argc > 1 && strcmp(argv[1], "--dma-last") == 0;
  uint32_t opened = 0, closed = 0, operators = 0;
  for (uint32_t m = 0; m < ULLAGE_TIERS; m++) {
    arena[m] = take(ullage_tiers[m].arena_bytes);
    memset(arena[m], POISON, (size_t)ullage_tiers[m].arena_bytes);
    ASAN_POISON_MEMORY_REGION(arena[m], (size_t)ullage_tiers[m].arena_bytes);
  }
  for (uint32_t b = 0; b < buffers; b++) truth[b] = take(ullage_buffers[b].size_bytes);
  for (uint32_t t = 0; t < ULLAGE_STEPS; t++) {
    const ullage_step *step = &ullage_steps[t];
    change_hands(t, &opened, &closed);
    for (uint32_t o = 0; t == 0 && o < loads; o++)
      write_operand(&ullage_operands[ULLAGE_FIRST_LOAD + o], LOADED);
    if (!dma_last) dma(step);
    if (step->runs) {
      run_kernel(step, t);
      operators++;
    }
    if (dma_last) dma(step);
  }
  for (uint32_t o = 0; o < outputs; o++)
    check_operand(&ullage_operands[ULLAGE_FIRST_OUTPUT + o], "the user");
  for (uint32_t o = 0; o < carried; o++)
    check_operand(&ullage_operands[ULLAGE_FIRST_CARRIED + o], "the next inference");
  if (bytes_copied != ULLAGE_DMA_BYTES) wrong++;
  printf("{\"operators\": %" PRIu32 ", \"copies\": %u, \"bytes_copied\": %" PRIu64
         ", \"bytes_read\": %" PRIu64 ", \"bytes_written\": %" PRIu64 ", \"wrong\": %" PRIu64 "}\n",
         operators, (unsigned)ULLAGE_COPIES, bytes_copied, bytes_read, bytes_written, wrong);
  for (uint32_t b = 0; b < buffers; b++) free(truth[b]);
  for (uint32_t m = 0; m < ULLAGE_TIERS; m++) {
    ASAN_UNPOISON_MEMORY_REGION(arena[m], (size_t)ullage_tiers[m].arena_bytes);
    free(arena[m]);
  }
  return wrong ? 1 : 0;
}
