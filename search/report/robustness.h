// How accurate a network stays when its images aren't quite those of the test set: noise, a part that is hidden, and
// changes made to mislead it. Pixels stay whole numbers from 0 to 255, so a file could hold every disturbed image.
#pragma once

#include <string>
#include <vector>

#include "datasets/loader.h"
#include "layers/network.h"
#include "search/report/quality.h"

namespace stagewise {

/// The images with normal noise of this deviation (of 255) in every value. The draws depend on the value's place only.
Images with_noise(Images images, double deviation);

struct Square {
  std::int64_t top = 0, left = 0, side = 0;
};
/// Where with_squares() hides a part of the image numbered `image`: anywhere within it, drawn from its number. The side
/// is `share` of the image's shorter one, rounded; a larger square covers the smaller.
Square square_in(const Images& images, std::int64_t image, double share);
/// The images with that square of each in grey (128).
Images with_squares(Images images, double share);

/// For every value of `images` 1, -1 or 0: the direction in which a small step makes the network's loss rise, which is
/// the sign of the loss's gradient.
std::vector<std::int8_t> misleading_directions(const Network& network, const Images& images,
                                               const Normalisation& normalisation, const PassCallback& callback = {});
/// Every value moved by `step` (of 255) in its direction: the fast gradient sign method (Goodfellow, Shlens and Szegedy
/// 2015, arXiv 1412.6572, section 4).
Images misled(Images images, const std::vector<std::int8_t>& directions, double step);

/// `count` of the images, evenly spread over them, or all where there are fewer.
Images some_of(const Images& images, std::int64_t count);

/// One way of disturbing images, in growing strengths from 0, which is the images as they are.
struct Disturbance {
  struct Point {
    double strength = 0.0;
    Share right;
    Images example;  // the first of the images
  };
  std::string name, unit;  // `noise`, `standard deviation, of 255`
  std::vector<Point> points;
};

/// The network's accuracy on `images` under each of the three. `callback` counts all passes over them as one. Errors:
/// throws Error where images, normalisation and network don't fit.
std::vector<Disturbance> robustness_of(const Network& network, const Images& images, const Normalisation& normalisation,
                                       DType feature_maps, const PassCallback& callback = {});

}  // namespace stagewise
