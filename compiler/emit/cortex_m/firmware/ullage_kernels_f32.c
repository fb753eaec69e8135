/* Kernels for float32 tensors, and copies of any type; ullage_kernels.h says what each computes. */
#include "ullage_kernels.h"
#include "ullage_places.h"

#include <math.h>
#include <string.h>

void ullage_f32_conv(const ullage_window *s, const float *x, const float *w, const float *bias,
                     const float *added, float *y) {
  const int32_t channels = s->in_channels / s->groups;
  const int32_t makes = s->out_channels / s->groups;
  for (int32_t n = s->first[0]; n < s->last[0]; n++) {
    for (int32_t oc = s->first[1]; oc < s->last[1]; oc++) {
      const int32_t first = (oc / makes) * channels;
      for (int32_t oy = s->first[2]; oy < s->last[2]; oy++) {
        for (int32_t ox = s->first[3]; ox < s->last[3]; ox++) {
          float sum = bias ? bias[oc] : 0.0f;
          for (int32_t c = 0; c < channels; c++) {
            const size_t filter = ((size_t)oc * channels + c) * s->kernel_height;
            for (int32_t ky = 0; ky < s->kernel_height; ky++) {
              const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
              if (iy < 0 || iy >= s->in_height) continue;
              for (int32_t kx = 0; kx < s->kernel_width; kx++) {
                const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
                if (ix < 0 || ix >= s->in_width) continue;
                sum += x[from(s, n, first + c, iy, ix)] *
                       w[(filter + ky) * s->kernel_width + kx];
              }
            }
          }
          const size_t out = to(s, n, oc, oy, ox);
          y[out] = added ? sum + added[out] : sum;
        }
      }
    }
  }
}

void ullage_f32_matmul(const ullage_matmul *s, const float *a, const float *b, const float *c,
                       const int32_t c_stride[3], float alpha, float beta, float *y) {
  for (int32_t t = 0; t < s->count; t++) {
    for (int32_t i = s->first_row; i < s->last_row; i++) {
      for (int32_t j = s->first_column; j < s->last_column; j++) {
        const float *row = a + (size_t)t * s->a_batch_stride + (size_t)i * s->a_row_stride;
        const float *column = b + (size_t)t * s->b_batch_stride + (size_t)j * s->b_column_stride;
        float sum = 0.0f;
        for (int32_t k = 0; k < s->k; k++)
          sum += row[(size_t)k * s->a_column_stride] * column[(size_t)k * s->b_row_stride];
        sum *= alpha;
        if (c) sum += beta * c[t * c_stride[0] + i * c_stride[1] + j * c_stride[2]];
        y[placed(s, t, i, j)] = sum;
      }
    }
  }
}

void ullage_f32_average_pool(const ullage_window *s, const float *x, float *y) {
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
              sum += x[from(s, n, c, iy, ix)];
              count++;
            }
          }
          if (s->count_padding) count = s->kernel_height * s->kernel_width;
          y[to(s, n, c, oy, ox)] = sum / (float)count;
        }
      }
    }
  }
}

void ullage_f32_max_pool(const ullage_window *s, const float *x, float *y) {
  for (int32_t n = s->first[0]; n < s->last[0]; n++) {
    for (int32_t c = s->first[1]; c < s->last[1]; c++) {
      for (int32_t oy = s->first[2]; oy < s->last[2]; oy++) {
        for (int32_t ox = s->first[3]; ox < s->last[3]; ox++) {
          float most = -INFINITY;
          for (int32_t ky = 0; ky < s->kernel_height; ky++) {
            const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
            if (iy < 0 || iy >= s->in_height) continue;
            for (int32_t kx = 0; kx < s->kernel_width; kx++) {
              const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
              if (ix < 0 || ix >= s->in_width) continue;
              const float value = x[from(s, n, c, iy, ix)];
              if (value > most) most = value;
            }
          }
          y[to(s, n, c, oy, ox)] = most;
        }
      }
    }
  }
}

static float combined(ullage_binary_op op, float u, float v) {
  switch (op) {
    case ULLAGE_ADD: return u + v;
    case ULLAGE_SUB: return u - v;
    case ULLAGE_MUL: return u * v;
    case ULLAGE_DIV: return u / v;
    case ULLAGE_MAX: return u > v ? u : v;
    case ULLAGE_MIN: return u < v ? u : v;
    case ULLAGE_POW: return powf(u, v);
  }
  return NAN;
}

void ullage_f32_binary(ullage_binary_op op, const ullage_broadcast *s, const float *a,
                       const float *b, float *y) {
  int32_t digit[ULLAGE_MAX_RANK] = {0};
  int32_t i = s->a_start, j = s->b_start, out = s->y_start;
  size_t total = 1;
  for (int32_t d = 0; d < s->rank; d++) total *= (size_t)s->shape[d];
  for (size_t done = 0; done < total; done++) {
    y[out] = combined(op, a[i], b[j]);
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

static float limited(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

static float function_of(ullage_unary_op op, float x, float a, float b) {
  switch (op) {
    case ULLAGE_CLIP: return limited(x, a, b);
    case ULLAGE_LEAKY_RELU: return x < 0.0f ? a * x : x;
    case ULLAGE_SIGMOID: return 1.0f / (1.0f + expf(-x));
    case ULLAGE_TANH: return tanhf(x);
    case ULLAGE_EXP: return expf(x);
    case ULLAGE_LOG: return logf(x);
    case ULLAGE_SQRT: return sqrtf(x);
    case ULLAGE_ABS: return fabsf(x);
    case ULLAGE_NEG: return -x;
    case ULLAGE_RECIPROCAL: return 1.0f / x;
    case ULLAGE_ERF: return erff(x);
    case ULLAGE_FLOOR: return floorf(x);
    case ULLAGE_CEIL: return ceilf(x);
    case ULLAGE_SOFTPLUS: return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case ULLAGE_ELU: return x < 0.0f ? a * expm1f(x) : x;
    case ULLAGE_HARD_SIGMOID: return limited(a * x + b, 0.0f, 1.0f);
    case ULLAGE_HARD_SWISH: return x * limited(a * x + b, 0.0f, 1.0f);
    case ULLAGE_SWISH: return x / (1.0f + expf(-x));
  }
  return NAN;
}

void ullage_f32_unary(ullage_unary_op op, size_t count, float a, float b, const float *x, float *y) {
  for (size_t i = 0; i < count; i++) y[i] = function_of(op, x[i], a, b);
}

void ullage_f32_softmax(int32_t outer, int32_t count, int32_t inner, const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < inner; i++) {
      const size_t first = (size_t)o * count * inner + i;
      float most = x[first], sum = 0.0f;
      for (int32_t c = 1; c < count; c++)
        if (x[first + (size_t)c * inner] > most) most = x[first + (size_t)c * inner];
      for (int32_t c = 0; c < count; c++) sum += expf(x[first + (size_t)c * inner] - most);
      for (int32_t c = 0; c < count; c++) {
        const size_t here = first + (size_t)c * inner;
        y[here] = expf(x[here] - most) / sum;
      }
    }
  }
}

void ullage_f32_reduce(ullage_reduce_op op, int32_t outer, int32_t count, int32_t inner,
                       const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < inner; i++) {
      float result = op == ULLAGE_REDUCE_MAX ? -INFINITY : 0.0f;
      for (int32_t c = 0; c < count; c++) {
        const float value = x[((size_t)o * count + c) * inner + i];
        if (op != ULLAGE_REDUCE_MAX) result += value;
        else if (value > result) result = value;
      }
      y[(size_t)o * inner + i] = op == ULLAGE_REDUCE_MEAN ? result / (float)count : result;
    }
  }
}

void ullage_f32_batch_norm(int32_t batch, int32_t channels, int32_t inner, float epsilon,
                           const float *x, const float *scale, const float *bias, const float *mean,
                           const float *variance, float *y) {
  size_t here = 0;
  for (int32_t n = 0; n < batch; n++) {
    for (int32_t c = 0; c < channels; c++) {
      const float factor = scale[c] / sqrtf(variance[c] + epsilon);
      for (int32_t i = 0; i < inner; i++, here++) y[here] = factor * (x[here] - mean[c]) + bias[c];
    }
  }
}

void ullage_f32_layer_norm(int32_t rows, int32_t count, float epsilon, const float *x,
                           const float *scale, const float *bias, float *y) {
  for (int32_t r = 0; r < rows; r++, x += count, y += count) {
    float mean = 0.0f, variance = 0.0f;
    for (int32_t i = 0; i < count; i++) mean += x[i];
    mean /= (float)count;
    for (int32_t i = 0; i < count; i++) variance += (x[i] - mean) * (x[i] - mean);
    const float factor = 1.0f / sqrtf(variance / (float)count + epsilon);
    for (int32_t i = 0; i < count; i++)
      y[i] = (x[i] - mean) * factor * scale[i] + (bias ? bias[i] : 0.0f);
  }
}

void ullage_gather(int32_t outer, int32_t size, size_t row_bytes, int32_t count,
                   const void *indices, int32_t index_bytes, const void *x, void *y) {
  char *to = y;
  for (int32_t o = 0; o < outer; o++) {
    for (int32_t i = 0; i < count; i++, to += row_bytes) {
      int32_t row = index_bytes == 8 ? (int32_t)((const int64_t *)indices)[i]
                                     : ((const int32_t *)indices)[i];
      if (row < 0) row += size;
      memcpy(to, (const char *)x + ((size_t)o * (size_t)size + (size_t)row) * row_bytes, row_bytes);
    }
  }
}

void ullage_copy_elements(const ullage_strided *s, const void *x, void *y) {
  int32_t digit[ULLAGE_MAX_RANK] = {0};
  int32_t i = s->in_start, j = s->out_start;
  size_t total = 1;
  for (int32_t d = 0; d < s->rank; d++) total *= (size_t)s->shape[d];
  for (size_t done = 0; done < total; done++) {
    memcpy((char *)y + (size_t)j * s->element_bytes, (const char *)x + (size_t)i * s->element_bytes,
           (size_t)s->element_bytes);
    for (int32_t d = s->rank - 1; d >= 0; d--) { /* the next index, like a counter's digits */
      i += s->in_stride[d];
      j += s->out_stride[d];
      if (++digit[d] < s->shape[d]) break;
      i -= s->in_stride[d] * s->shape[d];
      j -= s->out_stride[d] * s->shape[d];
      digit[d] = 0;
    }
  }
}

void ullage_fill(size_t count, int32_t element_bytes, const void *element, void *y) {
  for (size_t i = 0; i < count; i++)
    memcpy((char *)y + i * (size_t)element_bytes, element, (size_t)element_bytes);
}
