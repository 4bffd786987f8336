#include "datasets/split.h"

#include <algorithm>
#include <cmath>

#include "datasets/shuffle.h"
#include "tensor/error.h"

namespace stagewise {

Split stratified_split(const std::vector<std::int32_t>& labels, std::int64_t classes, double fraction,
                       std::uint64_t seed) {
  require(fraction >= 0.0 && fraction <= 0.5, "[split] expected a fraction from 0 to 0.5, got ", fraction);
  require(!labels.empty(), "[split] there are no images to split");
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(std::max<std::int64_t>(classes, 0)));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    require(labels[i] >= 0 && labels[i] < classes, "[split] expected labels from 0 to ", classes - 1, ", got ",
            labels[i], " for image ", i);
    members[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int32_t>(i));
  }

  Split split;
  for (std::size_t label = 0; label < members.size(); ++label) {
    std::vector<std::int32_t>& images = members[label];
    shuffle(images, Random(seed, stream_of("split", label)));
    const auto count = static_cast<std::int64_t>(images.size());
    std::int64_t held_out = std::llround(fraction * static_cast<double>(count));
    if (fraction > 0.0) held_out = std::max<std::int64_t>(held_out, 1);
    held_out = std::max<std::int64_t>(std::min(held_out, count - 1), 0);
    split.validation.insert(split.validation.end(), images.begin(), images.begin() + held_out);
    split.train.insert(split.train.end(), images.begin() + held_out, images.end());
  }
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

}  // namespace stagewise
