// CIFAR files, records of both kinds and names of classes: the first byte says which the others are.
#include "datasets/cifar.h"

#include "tensor/text.h"
#include "tests/fuzz/fuzzer.h"

namespace stagewise::fuzz {

void check(std::string_view bytes) {
  if (bytes.empty()) return;
  const CifarFormat& format = bytes[0] % 2 == 0 ? cifar10_format() : cifar100_format();
  const std::string_view contents = bytes.substr(1);
  if (bytes[0] / 2 % 2 == 0) {
    const auto images = read_or_refused([&] { return parse_cifar(contents, format, "FILE"); });
    if (!images) return;
    must(images->count() * (format.label_bytes + images->image_bytes()) == std::ssize(contents), "too few images");
    must(std::ssize(images->pixels) == images->count() * images->image_bytes(), "too few pixels");
    for (const std::int32_t label : images->labels) must(label >= 0 && label < format.classes, "a label of no class");
  } else {
    const auto names = read_or_refused([&] { return parse_class_names(contents, format, "FILE"); });
    if (!names) return;
    must(std::ssize(*names) == format.classes, "a class without a name");
    for (const std::string& name : *names) must(!name.empty() && is_utf8(name), "a name that can't be written");
  }
}

}  // namespace stagewise::fuzz
