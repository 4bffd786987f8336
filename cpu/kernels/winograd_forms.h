// Winograd's algorithms in one dimension, for filters of three taps: y = At [(G g) . (Bt d)], products instead of
// multiplications of every tap with every pixel under it. Used along the rows and the columns they make an algorithm
// for 3x3. The gradient of the filter is the transposed map of the same products: dg = Gt [(Bt d) . (A dy)].
//
// Bt d and A dy may repeat themselves, where a value takes part in two products; it is then computed and stored once.
// `kInputPlane[i]` says which of the values of `input` belongs to product i, `kGradientPlane` the same for `gradient`.
#pragma once

#include "cpu/kernels/simd.h"

STAGEWISE_KERNELS_BEGIN

/// F(4,3) (Lavin, Gray 2016): four outputs at stride 1 from six inputs, by 6 multiplications instead of 12. The points
/// are 0, 1, -1, 2, -2 and infinity. By data it is the same with the filter turned.
struct Stride1 {
  static constexpr int kInputs = 6, kInputStep = 4, kOutputs = 4, kProducts = 6;
  static constexpr int kInputPlanes = 6, kInputPlane[] = {0, 1, 2, 3, 4, 5};
  static constexpr int kGradientPlanes = 6, kGradientPlane[] = {0, 1, 2, 3, 4, 5};

  /// Bt d.
  static inline void input(const Floats (&d)[6], Floats (&v)[6]) {
    const Floats even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
    const Floats even2 = d[4] - d[2], odd2 = 2.0f * (d[3] - d[1]);
    v[0] = 4.0f * d[0] + (d[4] - 5.0f * d[2]);
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = even2 + odd2;
    v[4] = even2 - odd2;
    v[5] = 4.0f * d[1] + (d[5] - 5.0f * d[3]);
  }

  /// At m.
  static inline void output(const Floats (&m)[6], Floats (&y)[4]) {
    const Floats sum1 = m[1] + m[2], difference1 = m[1] - m[2];
    const Floats sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    y[0] = m[0] + sum1 + sum2;
    y[1] = difference1 + 2.0f * difference2;
    y[2] = sum1 + 4.0f * sum2;
    y[3] = difference1 + 8.0f * difference2 + m[5];
  }

  /// A dy.
  static inline void gradient(const Floats (&y)[4], Floats (&w)[6]) {
    const Floats even1 = y[0] + y[2], odd1 = y[1] + y[3];
    const Floats even2 = y[0] + 4.0f * y[2], odd2 = 2.0f * (y[1] + 4.0f * y[3]);
    w[0] = y[0];
    w[1] = even1 + odd1;
    w[2] = even1 - odd1;
    w[3] = even2 + odd2;
    w[4] = even2 - odd2;
    w[5] = y[3];
  }

  /// G g.
  static inline void filter(const Floats (&g)[3], Floats (&u)[6]) {
    const Floats outer1 = (1.0f / 6.0f) * (g[0] + g[2]), inner1 = (1.0f / 6.0f) * g[1];
    const Floats outer2 = (1.0f / 24.0f) * g[0] + (1.0f / 6.0f) * g[2], inner2 = (1.0f / 12.0f) * g[1];
    u[0] = 0.25f * g[0];
    u[1] = -outer1 - inner1;
    u[2] = inner1 - outer1;
    u[3] = outer2 + inner2;
    u[4] = outer2 - inner2;
    u[5] = g[2];
  }

  /// Gt u.
  static inline void filter_gradient(const Floats (&u)[6], Floats (&g)[3]) {
    const Floats sum1 = u[1] + u[2], sum2 = u[3] + u[4];
    g[0] = 0.25f * u[0] - (1.0f / 6.0f) * sum1 + (1.0f / 24.0f) * sum2;
    g[1] = (1.0f / 6.0f) * (u[2] - u[1]) + (1.0f / 12.0f) * (u[3] - u[4]);
    g[2] = (1.0f / 6.0f) * (sum2 - sum1) + u[5];
  }
};

/// Two outputs at stride 2 from five inputs, by 5 multiplications instead of 6: the odd inputs meet the middle tap, and
/// the even ones the outer taps, as F(2,2). All factors are 1, so that rounding errors hardly grow.
struct Stride2 {
  static constexpr int kInputs = 5, kInputStep = 4, kOutputs = 2, kProducts = 5;
  static constexpr int kInputPlanes = 5, kInputPlane[] = {0, 1, 2, 3, 4};
  static constexpr int kGradientPlanes = 3, kGradientPlane[] = {0, 0, 1, 2, 2};

  static inline void input(const Floats (&d)[5], Floats (&v)[5]) {
    v[0] = d[1];
    v[1] = d[0] - d[2];
    v[2] = d[2];
    v[3] = d[4] - d[2];
    v[4] = d[3];
  }
  static inline void output(const Floats (&m)[5], Floats (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[2] + m[3] + m[4];
  }
  static inline void gradient(const Floats (&y)[2], Floats (&w)[3]) {
    w[0] = y[0];
    w[1] = y[0] + y[1];
    w[2] = y[1];
  }
  static inline void filter(const Floats (&g)[3], Floats (&u)[5]) {
    u[0] = g[1];
    u[1] = g[0];
    u[2] = g[0] + g[2];
    u[3] = g[2];
    u[4] = g[1];
  }
  static inline void filter_gradient(const Floats (&u)[5], Floats (&g)[3]) {
    g[0] = u[1] + u[2];
    g[1] = u[0] + u[4];
    g[2] = u[2] + u[3];
  }
};

/// By data at stride 2, with the filter turned: four pixels of dx from three of dy by 5 multiplications instead of 6.
/// The outer taps reach every other pixel of dx, as F(2,2), the middle one those between; `Before`, the padding before
/// the image, says which come first.
template <int Before>
struct Stride2Data {
  static constexpr int kInputs = 3, kInputStep = 2, kOutputs = 4, kProducts = 5;
  static constexpr int kInputPlanes = 4, kInputPlane[] = {0, 1, 1, 2, 3};

  static inline void input(const Floats (&d)[3], Floats (&v)[4]) {
    v[0] = d[0] - d[1];
    v[1] = d[1];
    v[2] = d[2] - d[1];
    v[3] = Before == 0 ? d[2] : d[0];
  }
  static inline void output(const Floats (&m)[5], Floats (&y)[4]) {
    y[Before] = m[0] + m[1];
    y[Before + 2] = m[1] + m[3];
    y[Before == 0 ? 1 : 2] = m[2];
    y[Before == 0 ? 3 : 0] = m[4];
  }
  static inline void filter(const Floats (&g)[3], Floats (&u)[5]) {
    u[0] = g[0];
    u[1] = g[0] + g[2];
    u[2] = g[1];
    u[3] = g[2];
    u[4] = g[1];
  }
};

STAGEWISE_KERNELS_END
