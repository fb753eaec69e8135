/* Plain C kernels for plans by ullage: 8-bit operators (QDQ models), float32 operators, copies.
 *
 * Tensors lie in ONNX's order: N, C, H, W; rows of matrices one after the other. 8-bit tensors are
 * int8 or uint8 by their `is_signed`. Rounding is onnxruntime's: results are computed in float32
 * without fused multiply-adds (but where `fmaf` stands), and rounded half to even.
 *
 *   real number = scale * (stored number - zero)
 *
 * Kernels make a range of a result where an operator runs in parts. Addresses are those of a tensor's
 * first element, though memory may hold only the elements that the range needs.
 *
 * No kernel needs memory beyond its operands. Element-wise kernels may write over an operand of the
 * same size; all others may not.
 */
#ifndef ULLAGE_KERNELS_H
#define ULLAGE_KERNELS_H
#include <stddef.h>
#include <stdint.h>

enum { ULLAGE_MAX_RANK = 6 };

typedef struct {
  float scale;
  int32_t zero, is_signed;
} ullage_q8;

/* Elements [low, high) of an image that lie together: the first is number `start` of the tensor,
 * strides are in elements. A tensor that is made in parts may lie in several cells. */
typedef struct {
  int32_t low[4], high[4], start, stride[4];
} ullage_cell;

/* A window over an image: of a convolution or of pooling. Of the result the elements [first, last)
 * are made, which lie in one cell. Arrays are by batch, channel, row, column. */
typedef struct {
  int32_t batch, in_channels, in_height, in_width, out_channels, out_height, out_width;
  int32_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
  int32_t pad_top, pad_left, groups;
  int32_t count_padding; /* average pooling: divide by the whole window, padding included */
  int32_t first[4], last[4];
  const ullage_cell *x; /* where the input's elements lie: in one of `x_cells` */
  int32_t x_cells, y_start, y_stride[4];
} ullage_window;

/* `count` matrix products [m, k] x [k, n]; strides in elements. Of each result the rows
 * [first_row, last_row) and the columns [first_column, last_column) are made. */
typedef struct {
  int32_t count, m, k, n;
  int32_t a_batch_stride, a_row_stride, a_column_stride;
  int32_t b_batch_stride, b_row_stride, b_column_stride;
  int32_t y_batch_stride, y_row_stride, y_column_stride;
  int32_t first_row, last_row, first_column, last_column;
} ullage_matmul;

/* The result of an 8-bit operator: clipped to [low, high] in stored numbers (Relu, Clip). */
typedef struct {
  ullage_q8 y;
  int32_t low, high;
} ullage_result;

/* Weights: one scale for all of them or one per output channel; zero points likewise, or none. */
typedef struct {
  const float *scales;
  const void *zeros;
  int32_t scales_count, zeros_count, is_signed;
} ullage_weights;

/* Element-wise with broadcasting: first elements and strides, 0 along axes that are repeated. */
typedef struct {
  int32_t rank, shape[ULLAGE_MAX_RANK];
  int32_t a_start, a_stride[ULLAGE_MAX_RANK], b_start, b_stride[ULLAGE_MAX_RANK];
  int32_t y_start, y_stride[ULLAGE_MAX_RANK];
} ullage_broadcast;

typedef enum {
  ULLAGE_ADD, ULLAGE_SUB, ULLAGE_MUL, ULLAGE_DIV, ULLAGE_MAX, ULLAGE_MIN, ULLAGE_POW
} ullage_binary_op;

typedef enum {
  ULLAGE_CLIP,         /* min(max(x, a), b); Relu is [0, infinity] */
  ULLAGE_LEAKY_RELU,   /* x < 0 ? a * x : x */
  ULLAGE_SIGMOID, ULLAGE_TANH, ULLAGE_EXP, ULLAGE_LOG, ULLAGE_SQRT, ULLAGE_ABS, ULLAGE_NEG,
  ULLAGE_RECIPROCAL, ULLAGE_ERF, ULLAGE_FLOOR, ULLAGE_CEIL, ULLAGE_SOFTPLUS,
  ULLAGE_ELU,          /* x < 0 ? a * (exp(x) - 1) : x */
  ULLAGE_HARD_SIGMOID, /* a * x + b in [0, 1] */
  ULLAGE_HARD_SWISH,   /* x * (a * x + b in [0, 1]) */
  ULLAGE_SWISH         /* x / (1 + exp(-x)) */
} ullage_unary_op;

typedef enum { ULLAGE_REDUCE_MEAN, ULLAGE_REDUCE_SUM, ULLAGE_REDUCE_MAX } ullage_reduce_op;

/* Elements from one tensor to another: Transpose, Slice, Split, Concat, Expand. In elements. */
typedef struct {
  int32_t element_bytes, rank, shape[ULLAGE_MAX_RANK];
  int32_t in_start, in_stride[ULLAGE_MAX_RANK], out_start, out_stride[ULLAGE_MAX_RANK];
} ullage_strided;

/* ---- 8-bit ---- */
/* Sums of products in int32 from `bias` (int32, NULL for none) on, then times
 * x.scale * w.scale / y.scale. `w` is [out_channels, in_channels / groups, height, width]. */
void ullage_q8_conv(const ullage_window *s, const void *x, ullage_q8 qx, const void *w,
                    const ullage_weights *qw, const int32_t *bias, void *y,
                    const ullage_result *result);
void ullage_q8_matmul(const ullage_matmul *s, const void *a, ullage_q8 qa, const void *b,
                      const ullage_weights *qb, const int32_t *bias, void *y,
                      const ullage_result *result);
/* The mean of the real numbers of each window, in float32. */
void ullage_q8_average_pool(const ullage_window *s, const void *x, ullage_q8 qx, void *y,
                            const ullage_result *result);
/* Means over the middle axis of [outer, count, inner]; sums in int32. */
void ullage_q8_mean(int32_t outer, int32_t count, int32_t inner, const void *x, ullage_q8 qx,
                    void *y, const ullage_result *result);
void ullage_q8_binary(ullage_binary_op op, const ullage_broadcast *s, const void *a, ullage_q8 qa,
                      const void *b, ullage_q8 qb, void *y, const ullage_result *result);
/* y = table[x], byte by byte: any function of one 8-bit tensor. */
void ullage_q8_table(size_t count, const void *x, const uint8_t *table, void *y);
/* Softmax over the middle axis of [outer, count, inner]. */
void ullage_q8_softmax(int32_t outer, int32_t count, int32_t inner, const void *x, ullage_q8 qx,
                       void *y, const ullage_result *result);
void ullage_q8_max_pool(const ullage_window *s, const void *x, int32_t is_signed, void *y);
void ullage_quantise(size_t count, const float *x, void *y, const ullage_result *result);
/* `x` may be the last quarter of the memory of `y`. */
void ullage_dequantise(size_t count, const void *x, ullage_q8 qx, float *y);

/* ---- float32 ---- */
/* `added` (NULL for none) is as large as the result, and may be the result's memory. */
void ullage_f32_conv(const ullage_window *s, const float *x, const float *w, const float *bias,
                     const float *added, float *y);
/* alpha * A * B + beta * C; `c` (NULL for none) has strides of its own, 0 where it is repeated;
 * where it has the result's, it may be the result's memory. */
void ullage_f32_matmul(const ullage_matmul *s, const float *a, const float *b, const float *c,
                       const int32_t c_stride[3], float alpha, float beta, float *y);
void ullage_f32_average_pool(const ullage_window *s, const float *x, float *y);
void ullage_f32_max_pool(const ullage_window *s, const float *x, float *y);
void ullage_f32_binary(ullage_binary_op op, const ullage_broadcast *s, const float *a,
                       const float *b, float *y);
void ullage_f32_unary(ullage_unary_op op, size_t count, float a, float b, const float *x, float *y);
void ullage_f32_softmax(int32_t outer, int32_t count, int32_t inner, const float *x, float *y);
void ullage_f32_reduce(ullage_reduce_op op, int32_t outer, int32_t count, int32_t inner,
                       const float *x, float *y);
/* y = scale * (x - mean) / sqrt(variance + epsilon) + bias by channel of [batch, channels, inner] */
void ullage_f32_batch_norm(int32_t batch, int32_t channels, int32_t inner, float epsilon,
                           const float *x, const float *scale, const float *bias, const float *mean,
                           const float *variance, float *y);

/* Rows of `count` numbers with mean 0 and variance 1, times `scale`, plus `bias` (NULL for none). */
void ullage_f32_layer_norm(int32_t rows, int32_t count, float epsilon, const float *x,
                           const float *scale, const float *bias, float *y);

/* ---- any element type ---- */
/* Of each of `outer` tables of `size` rows the rows with these indices (of 4 or 8 bytes; negative
 * ones count from the end). */
void ullage_gather(int32_t outer, int32_t size, size_t row_bytes, int32_t count,
                   const void *indices, int32_t index_bytes, const void *x, void *y);
void ullage_copy_elements(const ullage_strided *s, const void *x, void *y);
void ullage_fill(size_t count, int32_t element_bytes, const void *element, void *y);
#endif
