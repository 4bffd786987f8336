// What stands in every C header that we write, with @name@ and @NAME@ for its prefix in small letters and in capitals.
#pragma once

namespace stagewise::c_text {

/// What the embedder reads and calls.
constexpr const char* kInterface = R"c(/* A residual network that stagewise trained.

@ABOUT@

In one source file of your program:

  #define @NAME@_IMPLEMENTATION
  #include "@FILE@"

and without that #define wherever else you need it. This is C99 and C++. It needs no library, allocates nothing and keeps
nothing from call to call: any number of threads may call it, each with scratch of its own.

  static float scratch[@NAME@_SCRATCH];  // @SCRATCH@ bytes; or malloc(@NAME@_SCRATCH * sizeof(float))
  float logits[@NAME@_CLASSES];

  if (@name@_self_test(scratch) > 1e-4f) puts("the network doesn't compute here what it should");
  puts(@name@_classes[@name@_predict(pixels, logits, scratch)]);

The compiler makes vectors of the loops: build it with gcc -O3 or clang -O2, and with your processor's flags, such as
-march=native. int has 32 bits. */
#ifndef @NAME@_H
#define @NAME@_H

#define @NAME@_HEIGHT @HEIGHT@
#define @NAME@_WIDTH @WIDTH@
#define @NAME@_CHANNELS @CHANNELS@
#define @NAME@_CLASSES @OUTPUTS@
#define @NAME@_SCRATCH @FLOATS@ /* floats */

#ifdef __cplusplus
extern "C" {
#endif

/* The classes' names, in UTF-8. */
extern const char* const @name@_classes[@NAME@_CLASSES];

/* The likeliest class of an image of HEIGHT rows of WIDTH pixels, the channels of each side by side (RGB), from 0 to 255;
   in logits[CLASSES], how much speaks for each. What is in scratch[SCRATCH] before doesn't matter. */
int @name@_predict(const unsigned char* pixels, float* logits, float* scratch);
int @name@_predict_floats(const float* pixels, float* logits, float* scratch);

/* How far, at most, the logits of an image of random pixels are from what stagewise computed when it wrote this file. */
float @name@_self_test(float* scratch);

#ifdef __cplusplus
}
#endif
#endif

#if defined(@NAME@_IMPLEMENTATION) && !defined(@NAME@_IMPLEMENTED)
#define @NAME@_IMPLEMENTED

#include <stddef.h>

const char* const @name@_classes[@NAME@_CLASSES] = {@LABELS@
};

)c";

/// Sixteen filters at a time, their sums in registers, four channels of the image in one go: what both gcc and clang
/// make vectors of, on any processor. So weights lie as [K/16][R][S][C][16], filters that are missing in the last being 0.
constexpr const char* kConvolution = R"c(typedef struct {
  int height, width, channels;          /* of x */
  int rows, columns, stride, before;    /* of a filter; before: rows and columns of zeros above and on the left */
  int out_height, out_width, filters;   /* of y */
  const float* weight;                  /* [filters / 16][rows][columns][channels][16] */
  const float* bias;
} @name@_convolution;

/* y = convolution(x) + bias, on top of what is in y where it adds; then ReLU, where asked for. Maps lie as
   [height][width][channels]. */
static void @name@_convolve(const @name@_convolution* of, const float* x, float* y, int adds, int relu) {
  for (int first = 0; first < of->filters; first += 16) {
    const float* const block = of->weight + (ptrdiff_t)first * of->rows * of->columns * of->channels;
    const int filters = of->filters - first < 16 ? of->filters - first : 16;
    for (int p = 0; p < of->out_height; ++p) {
      for (int q = 0; q < of->out_width; ++q) {
        float* const to = y + ((ptrdiff_t)p * of->out_width + q) * of->filters + first;
        float sum[16];
        for (int k = 0; k < 16; ++k) sum[k] = of->bias[first + k];
        for (int r = 0; r < of->rows; ++r) {
          const int row = p * of->stride + r - of->before;
          if (row < 0 || row >= of->height) continue;
          for (int s = 0; s < of->columns; ++s) {
            const int column = q * of->stride + s - of->before;
            if (column < 0 || column >= of->width) continue;
            const float* v = x + ((ptrdiff_t)row * of->width + column) * of->channels;
            const float* w = block + (ptrdiff_t)(r * of->columns + s) * of->channels * 16;
            int c = 0;
            for (; c + 4 <= of->channels; c += 4, v += 4, w += 64) {
              for (int k = 0; k < 16; ++k) sum[k] += v[0] * w[k] + v[1] * w[16 + k] + v[2] * w[32 + k] + v[3] * w[48 + k];
            }
            for (; c < of->channels; ++c, ++v, w += 16) {
              for (int k = 0; k < 16; ++k) sum[k] += v[0] * w[k];
            }
          }
        }
        for (int k = 0; k < filters; ++k) {
          const float value = adds ? sum[k] + to[k] : sum[k];
          to[k] = relu && value < 0.0f ? 0.0f : value;
        }
      }
    }
  }
}

)c";

/// The mean over all pixels.
constexpr const char* kAveragePool =
    R"c(static void @name@_average(const float* x, int pixels, int channels, float* y) {
  for (int c = 0; c < channels; ++c) y[c] = 0.0f;
  for (int i = 0; i < pixels; ++i) {
    for (int c = 0; c < channels; ++c) y[c] += x[(ptrdiff_t)i * channels + c];
  }
  for (int c = 0; c < channels; ++c) y[c] /= (float)pixels;
}

)c";

/// The batch norm before a block of pre-activation, of each channel for itself. y may be x.
constexpr const char* kScaleAndRelu =
    R"c(static void @name@_scale_and_relu(const float* x, int pixels, int channels, const float* scale, const float* shift,
    float* y) {
  for (ptrdiff_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < channels; ++c) {
      const float value = x[i * channels + c] * scale[c] + shift[c];
      y[i * channels + c] = value < 0.0f ? 0.0f : value;
    }
  }
}

)c";

/// What lies outside of x counts for nothing.
constexpr const char* kMaxPool =
    R"c(static void @name@_max_pool(const float* x, int height, int width, int channels, int window, int stride, int before,
    float* y, int out_height, int out_width) {
  for (int p = 0; p < out_height; ++p) {
    for (int q = 0; q < out_width; ++q, y += channels) {
      int any = 0;
      for (int r = 0; r < window; ++r) {
        const int row = p * stride + r - before;
        if (row < 0 || row >= height) continue;
        for (int s = 0; s < window; ++s) {
          const int column = q * stride + s - before;
          if (column < 0 || column >= width) continue;
          const float* const v = x + ((ptrdiff_t)row * width + column) * channels;
          for (int c = 0; c < channels; ++c) y[c] = any && y[c] > v[c] ? y[c] : v[c];
          any = 1;
        }
      }
    }
  }
}

)c";

/// A skip without parameters: every stride-th pixel, with channels of zeros before and behind.
constexpr const char* kPadShortcut =
    R"c(static void @name@_pad_shortcut(const float* x, int width, int channels, int stride, int zeros_before, float* y,
    int out_height, int out_width, int out_channels) {
  for (int p = 0; p < out_height; ++p) {
    for (int q = 0; q < out_width; ++q, y += out_channels) {
      const float* const v = x + ((ptrdiff_t)p * stride * width + (ptrdiff_t)q * stride) * channels;
      for (int k = 0; k < out_channels; ++k) {
        y[k] = k < zeros_before || k >= zeros_before + channels ? 0.0f : v[k - zeros_before];
      }
    }
  }
}

)c";

/// @STEPS@: a call a step, of what lies in scratch; @OFFSET@: which of the offsets is the i-th value's.
constexpr const char* kImplementation = R"c(/* Of the normalised image, which lies where scratch begins. */
static int @name@_run(float* logits, float* scratch) {
  int best = 0;
@STEPS@  for (int k = 1; k < @NAME@_CLASSES; ++k) best = logits[k] > logits[best] ? k : best;
  return best;
}

static float @name@_normalised(float pixel, int i) {
  return pixel * @name@_scale[i % @NAME@_CHANNELS] - @name@_offset[@OFFSET@];
}

int @name@_predict(const unsigned char* pixels, float* logits, float* scratch) {
  for (int i = 0; i < @NAME@_HEIGHT * @NAME@_WIDTH * @NAME@_CHANNELS; ++i) scratch[i] = @name@_normalised((float)pixels[i], i);
  return @name@_run(logits, scratch);
}

int @name@_predict_floats(const float* pixels, float* logits, float* scratch) {
  for (int i = 0; i < @NAME@_HEIGHT * @NAME@_WIDTH * @NAME@_CHANNELS; ++i) scratch[i] = @name@_normalised(pixels[i], i);
  return @name@_run(logits, scratch);
}

float @name@_self_test(float* scratch) {
  static const float expected[@NAME@_CLASSES] = {@EXPECTED@};
  unsigned long draw = 1;
  float logits[@NAME@_CLASSES], largest = 0.0f;
  for (int i = 0; i < @NAME@_HEIGHT * @NAME@_WIDTH * @NAME@_CHANNELS; ++i) {
    draw = (draw * 1664525UL + 1013904223UL) & 0xFFFFFFFFUL;
    scratch[i] = @name@_normalised((float)(draw >> 24), i);
  }
  @name@_run(logits, scratch);
  for (int k = 0; k < @NAME@_CLASSES; ++k) {
    const float difference = logits[k] > expected[k] ? logits[k] - expected[k] : expected[k] - logits[k];
    if (!(difference <= largest)) largest = difference; /* also where it is no number */
  }
  return largest;
}
#endif
)c";

}  // namespace stagewise::c_text
