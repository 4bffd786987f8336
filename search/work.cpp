#include "search/work.h"

#include "layers/cost.h"
#include "search/run/text.h"

namespace stagewise {

std::int64_t training_work(std::int64_t macs, std::int64_t images, bool frozen) {
  const std::int64_t forward = macs * images;
  return frozen ? (forward + 2) / 3 : forward;
}

std::int64_t training_work(const Architecture& architecture, std::int64_t images, bool frozen) {
  return training_work(cost_of(architecture).total().macs, images, frozen);
}

std::int64_t evaluation_work(const Architecture& architecture, std::int64_t images) {
  return training_work(architecture, images) / 3;
}

std::string work_text(double work) { return short_number(work) + " MACs"; }

}  // namespace stagewise
