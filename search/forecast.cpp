#include "search/forecast.h"

#include "search/run/text.h"

namespace stagewise {

std::string Forecast::left(std::int64_t work) const {
  if (work_ <= 0.0 || work <= 0) return "";
  return duration(static_cast<double>(work) * seconds_ / work_) + " left";
}

}  // namespace stagewise
