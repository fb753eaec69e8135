/* Kernels for 8-bit tensors; ullage_kernels.h says what each computes. */
#include "ullage_kernels.h"
#include "ullage_places.h"

#include <math.h>

/* Number i of an int8 or uint8 tensor. */
static inline int32_t load(const void *data, size_t i, int32_t is_signed) {
  return is_signed ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
}

static inline void store(void *data, size_t i, int32_t value) { ((uint8_t *)data)[i] = (uint8_t)value; }

static inline int32_t clipped(int32_t value, const ullage_result *r) {
  return value < r->low ? r->low : value > r->high ? r->high : value;
}

/* Round half to even; the range is limited first, so that the conversion cannot overflow. */
static inline int32_t rounded(float value) {
  if (value < -32768.0f) value = -32768.0f;
  if (value > 32767.0f) value = 32767.0f;
  return (int32_t)rintf(value);
}

/* A sum of products in the result's stored numbers. */
static inline int32_t requantised(int32_t sum, float scale, const ullage_result *r) {
  return clipped(rounded((float)sum * scale) + r->y.zero, r);
}

/* A real number in the result's stored numbers. */
static inline int32_t quantised(float real, const ullage_result *r) {
  return clipped(rounded(real / r->y.scale) + r->y.zero, r);
}

static inline float real_of(const void *data, size_t i, ullage_q8 q) {
  return q.scale * (float)(load(data, i, q.is_signed) - q.zero);
}

static inline int32_t zero_of(const ullage_weights *w, int32_t channel) {
  if (!w->zeros_count) return 0;
  return load(w->zeros, w->zeros_count == 1 ? 0 : (size_t)channel, w->is_signed);
}

static inline float scale_of(const ullage_weights *w, int32_t channel) {
  return w->scales[w->scales_count == 1 ? 0 : channel];
}

void ullage_q8_conv(const ullage_window *s, const void *x, ullage_q8 qx, const void *w,
                    const ullage_weights *qw, const int32_t *bias, void *y,
                    const ullage_result *result) {
  const int32_t channels = s->in_channels / s->groups;
  const int32_t makes = s->out_channels / s->groups;
  for (int32_t n = s->first[0]; n < s->last[0]; n++) {
    for (int32_t oc = s->first[1]; oc < s->last[1]; oc++) {
      const int32_t first = (oc / makes) * channels, w_zero = zero_of(qw, oc);
      const float scale = qx.scale * scale_of(qw, oc) / result->y.scale;
      for (int32_t oy = s->first[2]; oy < s->last[2]; oy++) {
        for (int32_t ox = s->first[3]; ox < s->last[3]; ox++) {
          int32_t sum = bias ? bias[oc] : 0;
          for (int32_t c = 0; c < channels; c++) {
            const size_t filter = ((size_t)oc * channels + c) * s->kernel_height;
            for (int32_t ky = 0; ky < s->kernel_height; ky++) {
              const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
              if (iy < 0 || iy >= s->in_height) continue;
              for (int32_t kx = 0; kx < s->kernel_width; kx++) {
                const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
                if (ix < 0 || ix >= s->in_width) continue;
                const int32_t a = load(x, from(s, n, first + c, iy, ix), qx.is_signed);
                const int32_t b = load(w, (filter + ky) * s->kernel_width + kx, qw->is_signed);
                sum += (a - qx.zero) * (b - w_zero);
              }
            }
          }
          store(y, to(s, n, oc, oy, ox), requantised(sum, scale, result));
        }
      }
    }
  }
}

void ullage_q8_matmul(const ullage_matmul *s, const void *a, ullage_q8 qa, const void *b,
                      const ullage_weights *qb, const int32_t *bias, void *y,
                      const ullage_result *result) {
  for (int32_t t = 0; t < s->count; t++) {
    for (int32_t i = s->first_row; i < s->last_row; i++) {
      for (int32_t j = s->first_column; j < s->last_column; j++) {
        const size_t row = (size_t)t * s->a_batch_stride + (size_t)i * s->a_row_stride;
        const size_t column = (size_t)t * s->b_batch_stride + (size_t)j * s->b_column_stride;
        const int32_t b_zero = zero_of(qb, j);
        int32_t sum = bias ? bias[j] : 0;
        for (int32_t k = 0; k < s->k; k++) {
          const int32_t u = load(a, row + (size_t)k * s->a_column_stride, qa.is_signed);
          const int32_t v = load(b, column + (size_t)k * s->b_row_stride, qb->is_signed);
          sum += (u - qa.zero) * (v - b_zero);
        }
        const float scale = qa.scale * scale_of(qb, j) / result->y.scale;
        store(y, placed(s, t, i, j), requantised(sum, scale, result));
      }
    }
  }
}

void ullage_q8_average_pool(const ullage_window *s, const void *x, ullage_q8 qx, void *y,
                            const ullage_result *result) {
  for (int32_t n = s->first[0]; n < s->last[0]; n++) {
    for (int32_t c = s->first[1]; c < s->last[1]; c++) {
      for (int32_t oy = s->first[2]; oy < s->last[2]; oy++) {
        for (int32_t ox = s->first[3]; ox < s->last[3]; ox++) {
          int32_t count = 0;
          float sum = 0.0f;
          for (int32_t ky = 0; ky < s->kernel_height; ky++) {
            const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
            if (iy < 0 || iy >= s->in_height) continue;
            for (int32_t kx = 0; kx < s->kernel_width; kx++) {
              const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
              if (ix < 0 || ix >= s->in_width) continue;
              sum += real_of(x, from(s, n, c, iy, ix), qx);
              count++;
            }
          }
          if (s->count_padding) count = s->kernel_height * s->kernel_width;
          /* onnxruntime rounds this sum with the zero point in it. */
          const float mean = sum / (float)count;
          const float stored = mean / result->y.scale + (float)result->y.zero;
          store(y, to(s, n, c, oy, ox), clipped(rounded(stored), result));
        }
      }
    }
  }
}

void ullage_q8_mean(int32_t outer, int32_t count, int32_t inner, const void *x, ullage_q8 qx,
                    void *y, const ullage_result *result) {
  const float scale = qx.scale / (result->y.scale * (float)count);
  for (int32_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < inner; i++) {
      int32_t sum = -qx.zero * count;
      for (int32_t c = 0; c < count; c++)
        sum += load(x, ((size_t)o * count + c) * inner + i, qx.is_signed);
      store(y, (size_t)o * inner + i, requantised(sum, scale, result));
    }
  }
}

void ullage_q8_binary(ullage_binary_op op, const ullage_broadcast *s, const void *a, ullage_q8 qa,
                      const void *b, ullage_q8 qb, void *y, const ullage_result *result) {
  const float a_ratio = qa.scale / result->y.scale, b_ratio = qb.scale / result->y.scale;
  const float fixed =
      (float)result->y.zero - (a_ratio * (float)qa.zero + b_ratio * (float)qb.zero);
  const float product = qa.scale * qb.scale / result->y.scale;
  int32_t digit[ULLAGE_MAX_RANK] = {0};
  int32_t i = s->a_start, j = s->b_start, out = s->y_start;
  size_t total = 1;
  for (int32_t d = 0; d < s->rank; d++) total *= (size_t)s->shape[d];
  for (size_t done = 0; done < total; done++) {
    int32_t value;
    if (op == ULLAGE_ADD) {
      /* In this order, and fused, as onnxruntime adds on processors with AVX2. */
      const float part = fmaf((float)load(b, j, qb.is_signed), b_ratio, fixed);
      value = clipped(rounded(fmaf((float)load(a, i, qa.is_signed), a_ratio, part)), result);
    } else if (op == ULLAGE_MUL) {
      const int32_t u = load(a, i, qa.is_signed) - qa.zero;
      const int32_t v = load(b, j, qb.is_signed) - qb.zero;
      value = clipped(rounded((float)(u * v) * product + (float)result->y.zero), result);
    } else {
      const float u = real_of(a, i, qa), v = real_of(b, j, qb);
      float real = u - v;
      if (op == ULLAGE_DIV) real = u / v;
      if (op == ULLAGE_MAX) real = u > v ? u : v;
      if (op == ULLAGE_MIN) real = u < v ? u : v;
      value = quantised(real, result);
    }
    store(y, out, value);
    for (int32_t d = s->rank - 1; d >= 0; d--) { /* the next index, like a counter's digits */
      i += s->a_stride[d];
      j += s->b_stride[d];
      out += s->y_stride[d];
      if (++digit[d] < s->shape[d]) break;
      i -= s->a_stride[d] * s->shape[d];
      j -= s->b_stride[d] * s->shape[d];
      out -= s->y_stride[d] * s->shape[d];
      digit[d] = 0;
    }
  }
}

void ullage_q8_table(size_t count, const void *x, const uint8_t *table, void *y) {
  for (size_t i = 0; i < count; i++) ((uint8_t *)y)[i] = table[((const uint8_t *)x)[i]];
}

void ullage_q8_softmax(int32_t outer, int32_t count, int32_t inner, const void *x, ullage_q8 qx,
                       void *y, const ullage_result *result) {
  for (int32_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < inner; i++) {
      const size_t first = (size_t)o * count * inner + i;
      int32_t most = load(x, first, qx.is_signed);
      float sum = 0.0f;
      for (int32_t c = 1; c < count; c++) {
        const int32_t value = load(x, first + (size_t)c * inner, qx.is_signed);
        if (value > most) most = value;
      }
      for (int32_t c = 0; c < count; c++)
        sum += expf(qx.scale * (float)(load(x, first + (size_t)c * inner, qx.is_signed) - most));
      for (int32_t c = 0; c < count; c++) {
        const size_t here = first + (size_t)c * inner;
        const float power = expf(qx.scale * (float)(load(x, here, qx.is_signed) - most));
        store(y, here, quantised(power / sum, result));
      }
    }
  }
}

void ullage_q8_max_pool(const ullage_window *s, const void *x, int32_t is_signed, void *y) {
  for (int32_t n = s->first[0]; n < s->last[0]; n++) {
    for (int32_t c = s->first[1]; c < s->last[1]; c++) {
      for (int32_t oy = s->first[2]; oy < s->last[2]; oy++) {
        for (int32_t ox = s->first[3]; ox < s->last[3]; ox++) {
          int32_t most = is_signed ? INT8_MIN : 0;
          for (int32_t ky = 0; ky < s->kernel_height; ky++) {
            const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
            if (iy < 0 || iy >= s->in_height) continue;
            for (int32_t kx = 0; kx < s->kernel_width; kx++) {
              const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
              if (ix < 0 || ix >= s->in_width) continue;
                            const int32_t value = load(x, from(s, n, c, iy, ix), is_signed);
              if (value > most) most = value;
            }
          }
          store(y, to(s, n, c, oy, ox), most);
        }
      }
    }
  }
}

void ullage_quantise(size_t count, const float *x, void *y, const ullage_result *result) {
  for (size_t i = 0; i < count; i++) store(y, i, quantised(x[i], result));
}

void ullage_dequantise(size_t count, const void *x, ullage_q8 qx, float *y) {
  for (size_t i = 0; i < count; i++) y[i] = real_of(x, i, qx);
}
