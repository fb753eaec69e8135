/* Kernels for float32 tensors, and copies of any type; ullage_kernels.h says what each computes. */
#include "ullage_kernels.h"

#include <math.h>
#include <string.h>

void ullage_f32_conv(const ullage_window *s, const float *x, const float *w, const float *bias,
                     const float *added, float *y) {
  const int32_t channels = s->in_channels / s->groups;
  const int32_t makes = s->out_channels / s->groups;
  size_t out = 0;
  for (int32_t n = 0; n < s->batch; n++) {
    for (int32_t oc = 0; oc < s->out_channels; oc++) {
      const int32_t first = (oc / makes) * channels;
      for (int32_t oy = 0; oy < s->out_height; oy++) {
        for (int32_t ox = 0; ox < s->out_width; ox++, out++) {
          float sum = bias ? bias[oc] : 0.0f;
          for (int32_t c = 0; c < channels; c++) {
            const size_t plane = ((size_t)n * s->in_channels + first + c) * s->in_height;
            const size_t filter = ((size_t)oc * channels + c) * s->kernel_height;
            for (int32_t ky = 0; ky < s->kernel_height; ky++) {
              const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
              if (iy < 0 || iy >= s->in_height) continue;
              for (int32_t kx = 0; kx < s->kernel_width; kx++) {
                const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
                if (ix < 0 || ix >= s->in_width) continue;
                sum += x[(plane + iy) * s->in_width + ix] * w[(filter + ky) * s->kernel_width + kx];
              }
            }
          }
          y[out] = added ? sum + added[out] : sum;
        }
      }
    }
  }
}

void ullage_f32_matmul(const ullage_matmul *s, const float *a, const float *b, const float *c,
                       const int32_t c_stride[3], float alpha, float beta, float *y) {
  size_t out = 0;
  for (int32_t t = 0; t < s->count; t++) {
    for (int32_t i = 0; i < s->m; i++) {
      for (int32_t j = 0; j < s->n; j++, out++) {
        const float *row = a + (size_t)t * s->a_batch_stride + (size_t)i * s->a_row_stride;
        const float *column = b + (size_t)t * s->b_batch_stride + (size_t)j * s->b_column_stride;
        float sum = 0.0f;
        for (int32_t k = 0; k < s->k; k++)
          sum += row[(size_t)k * s->a_column_stride] * column[(size_t)k * s->b_row_stride];
        sum *= alpha;
        if (c) sum += beta * c[t * c_stride[0] + i * c_stride[1] + j * c_stride[2]];
        y[out] = sum;
      }
    }
  }
}

void ullage_f32_average_pool(const ullage_window *s, const float *x, float *y) {
  size_t out = 0;
  for (int32_t plane = 0; plane < s->batch * s->out_channels; plane++) {
    for (int32_t oy = 0; oy < s->out_height; oy++) {
      for (int32_t ox = 0; ox < s->out_width; ox++, out++) {
        int32_t count = 0;
        float sum = 0.0f;
        for (int32_t ky = 0; ky < s->kernel_height; ky++) {
          const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
          if (iy < 0 || iy >= s->in_height) continue;
          for (int32_t kx = 0; kx < s->kernel_width; kx++) {
            const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
            if (ix < 0 || ix >= s->in_width) continue;
            sum += x[((size_t)plane * s->in_height + iy) * s->in_width + ix];
            count++;
          }
        }
        if (s->count_padding) count = s->kernel_height * s->kernel_width;
        y[out] = sum / (float)count;
      }
    }
  }
}

void ullage_f32_max_pool(const ullage_window *s, const float *x, float *y) {
  size_t out = 0;
  for (int32_t plane = 0; plane < s->batch * s->out_channels; plane++) {
    for (int32_t oy = 0; oy < s->out_height; oy++) {
      for (int32_t ox = 0; ox < s->out_width; ox++, out++) {
        float most = -INFINITY;
        for (int32_t ky = 0; ky < s->kernel_height; ky++) {
          const int32_t iy = oy * s->stride_y - s->pad_top + ky * s->dilation_y;
          if (iy < 0 || iy >= s->in_height) continue;
          for (int32_t kx = 0; kx < s->kernel_width; kx++) {
            const int32_t ix = ox * s->stride_x - s->pad_left + kx * s->dilation_x;
            if (ix < 0 || ix >= s->in_width) continue;
            const float value = x[((size_t)plane * s->in_height + iy) * s->in_width + ix];
            if (value > most) most = value;
          }
        }
        y[out] = most;
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
  int32_t at[ULLAGE_MAX_RANK] = {0};
  size_t total = 1, i = 0, j = 0;
  for (int32_t d = 0; d < s->rank; d++) total *= (size_t)s->shape[d];
  for (size_t out = 0; out < total; out++) {
    y[out] = combined(op, a[i], b[j]);
    for (int32_t d = s->rank - 1; d >= 0; d--) { /* the next index, like a counter's digits */
      i += (size_t)s->a_stride[d];
      j += (size_t)s->b_stride[d];
      if (++at[d] < s->shape[d]) break;
      i -= (size_t)s->a_stride[d] * (size_t)s->shape[d];
      j -= (size_t)s->b_stride[d] * (size_t)s->shape[d];
      at[d] = 0;
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
        const size_t at = first + (size_t)c * inner;
        y[at] = expf(x[at] - most) / sum;
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
  size_t at = 0;
  for (int32_t n = 0; n < batch; n++) {
    for (int32_t c = 0; c < channels; c++) {
      const float factor = scale[c] / sqrtf(variance[c] + epsilon);
      for (int32_t i = 0; i < inner; i++, at++) y[at] = factor * (x[at] - mean[c]) + bias[c];
    }
  }
}

void ullage_copy_elements(const ullage_strided *s, const void *x, void *y) {
  int32_t at[ULLAGE_MAX_RANK] = {0};
  int32_t i = s->in_start, j = s->out_start;
  size_t total = 1;
  for (int32_t d = 0; d < s->rank; d++) total *= (size_t)s->shape[d];
  for (size_t done = 0; done < total; done++) {
    memcpy((char *)y + (size_t)j * s->element_bytes, (const char *)x + (size_t)i * s->element_bytes,
           (size_t)s->element_bytes);
    for (int32_t d = s->rank - 1; d >= 0; d--) { /* the next index, like a counter's digits */
      i += s->in_stride[d];
      j += s->out_stride[d];
      if (++at[d] < s->shape[d]) break;
      i -= s->in_stride[d] * s->shape[d];
      j -= s->out_stride[d] * s->shape[d];
      at[d] = 0;
    }
  }
}

void ullage_fill(size_t count, int32_t element_bytes, const void *element, void *y) {
  for (size_t i = 0; i < count; i++)
    memcpy((char *)y + i * (size_t)element_bytes, element, (size_t)element_bytes);
}
