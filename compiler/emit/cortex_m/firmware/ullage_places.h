/* Where elements of kernels' operands and results lie. */
#ifndef ULLAGE_PLACES_H
#define ULLAGE_PLACES_H

#include "ullage_kernels.h"

/* Where an element of a window's input lies: in the cell that holds it. */
static inline size_t from(const ullage_window *s, int32_t n, int32_t c, int32_t y, int32_t x) {
  const ullage_cell *cell = s->x;
  if (s->x_cells > 1)
    while (n < cell->low[0] || n >= cell->high[0] || c < cell->low[1] || c >= cell->high[1] ||
           y < cell->low[2] || y >= cell->high[2] || x < cell->low[3] || x >= cell->high[3])
      cell++;
  return (size_t)(cell->start + (n - cell->low[0]) * cell->stride[0] +
                  (c - cell->low[1]) * cell->stride[1] + (y - cell->low[2]) * cell->stride[2] +
                  (x - cell->low[3]) * cell->stride[3]);
}

/* Where an element of its result lies. */
static inline size_t to(const ullage_window *s, int32_t n, int32_t c, int32_t y, int32_t x) {
  return (size_t)(s->y_start + n * s->y_stride[0] + c * s->y_stride[1] + y * s->y_stride[2] +
                  x * s->y_stride[3]);
}

/* Where an element of a product lies. */
static inline size_t placed(const ullage_matmul *s, int32_t t, int32_t i, int32_t j) {
  return (size_t)(t * s->y_batch_stride + i * s->y_row_stride + j * s->y_column_stride);
}

#endif
