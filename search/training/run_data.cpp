#include "search/training/run_data.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "search/training/trainer.h"
#include "tensor/random.h"
#include "tensor/text.h"

namespace stagewise {

Architecture RunData::architecture(const std::vector<std::int64_t>& depths, Variant variant,
                                   const NetworkStyle& style) const {
  Architecture architecture = Architecture::of_depths(depths, variant, style);
  architecture.classes = static_cast<std::int64_t>(classes.size());
  architecture.height = height;
  architecture.width = width;
  architecture.channels = channels;
  architecture.check();
  return architecture;
}

std::vector<std::int32_t> evenly(const std::vector<std::int32_t>& indices, std::int64_t count) {
  const auto total = static_cast<std::int64_t>(indices.size());
  if (total <= count) return indices;
  std::vector<std::int32_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(indices[static_cast<std::size_t>(i * total / count)]);
  return chosen;
}

std::vector<std::int32_t> stratified_draw(const std::vector<std::int32_t>& labels, std::int64_t count,
                                          std::uint64_t seed) {
  const auto total = static_cast<std::int64_t>(labels.size());
  if (count == 0) return all_indices(total);
  require(count <= total, "[--train-images] there are ", total, " training images, fewer than ", count);

  const Random random(seed, stream_of("stratified draw"));
  std::map<std::int32_t, std::vector<std::pair<std::uint32_t, std::int32_t>>> shuffled;  // class: (random key, index)
  for (std::int64_t i = 0; i < total; ++i) {
    const auto index = static_cast<std::size_t>(i);
    shuffled[labels[index]].emplace_back(random.bits(index), static_cast<std::int32_t>(i));
  }
  // The image at place r of a class of n stands at (r + 1/2) / n of one common queue.
  std::vector<std::tuple<double, std::int32_t, std::int32_t>> queue;  // place, class, index
  for (auto& [label, members] : shuffled) {
    std::sort(members.begin(), members.end());
    for (std::size_t r = 0; r < members.size(); ++r) {
      queue.emplace_back((static_cast<double>(r) + 0.5) / static_cast<double>(members.size()), label,
                         members[r].second);
    }
  }
  std::sort(queue.begin(), queue.end());
  std::vector<std::int32_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(std::get<2>(queue[static_cast<std::size_t>(i)]));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

namespace {

/// Splits `chosen` by the split of their labels.
Split split_chosen(const std::vector<std::int32_t>& chosen, const std::vector<std::int32_t>& labels,
                   std::int64_t classes, double validation, std::uint64_t seed) {
  if (validation == 0.0) return {.train = chosen, .validation = {}};
  std::vector<std::int32_t> chosen_labels;
  chosen_labels.reserve(chosen.size());
  for (const std::int32_t index : chosen) chosen_labels.push_back(labels[static_cast<std::size_t>(index)]);
  Split split = stratified_split(chosen_labels, classes, validation, seed);
  for (std::vector<std::int32_t>* part : {&split.train, &split.validation}) {
    for (std::int32_t& place : *part) place = chosen[static_cast<std::size_t>(place)];
  }
  return split;
}

}  // namespace

namespace {

void tell(const DataListener& listener, const std::string& line) {
  if (listener.line) listener.line(line);
}

}  // namespace

Dataset open_announced(const DataOptions& options, const DataListener& listener) {
  Dataset dataset = open_dataset(options.data, {.image_size = options.image_size,
                                                .seed = options.seed,
                                                .synthetic_train = options.synthetic_train,
                                                .synthetic_test = options.synthetic_test,
                                                .read_train = options.read_train,
                                                .skip_unreadable = options.skip_unreadable,
                                                .threads = options.threads,
                                                .cache = options.cache,
                                                .progress = listener.counts,
                                                .remark = [line = listener.line](const std::string& remark) {
                                                  if (line) line("  " + remark);
                                                }});
  tell(listener, dataset.description);
  for (const std::string& remark : dataset.remarks) tell(listener, "  " + remark);
  return dataset;
}

Normalisation normalisation_of(Variant variant, const Images& images, std::span<const std::int32_t> indices,
                               const ProgressCallback& progress) {
  return variant == Variant::paper ? mean_image_normalisation(images, indices, progress)
                                   : channel_normalisation(images, indices, progress);
}

Split split_of(const Dataset& dataset, const DataOptions& options) {
  const Images& images = dataset.train;
  // What the data itself holds out lies at the end, and then nothing of the rest is.
  const std::int64_t to_train = images.count() - dataset.held_out;
  const std::vector<std::int32_t> labels(images.labels.begin(), images.labels.begin() + to_train);
  Split split = split_chosen(stratified_draw(labels, options.train_images, options.seed), labels,
                             static_cast<std::int64_t>(dataset.classes.size()),
                             dataset.held_out > 0 ? 0.0 : options.validation, options.seed);
  for (std::int64_t i = to_train; i < images.count(); ++i) split.validation.push_back(static_cast<std::int32_t>(i));
  require(split.train.size() >= 2, "[--data] `", options.data, "` leaves ", split.train.size(),
          " images to train on, at least 2 are needed");
  return split;
}

RunData run_data_of(Backend& backend, const Dataset& dataset, const DataOptions& options, Variant variant,
                    DType feature_maps, const DataListener& listener) {
  const Images& images = dataset.train;
  const auto classes = static_cast<std::int64_t>(dataset.classes.size());
  Split split = split_of(dataset, options);
  tell(listener, "  " + counted(std::ssize(split.train), "image") + " to train on, " +
                     with_thousands(static_cast<std::int64_t>(split.validation.size())) + " held out");
  const Normalisation normalisation = normalisation_of(variant, images, split.train, listener.counts);
  return {.source = options.data,
          .description = dataset.description,
          .classes = dataset.classes,
          .height = images.height,
          .width = images.width,
          .channels = images.channels,
          .normalisation = normalisation,
          .images = ImageStore(backend, images, classes, normalisation, feature_maps),
          .train = std::move(split.train),
          .validation = std::move(split.validation),
          .load_test = dataset.load_test,
          .fingerprint = fingerprint_of(dataset)};
}

RunData open_run_data(Backend& backend, const DataOptions& options, Variant variant, DType feature_maps,
                      const DataListener& listener) {
  return run_data_of(backend, open_announced(options, listener), options, variant, feature_maps, listener);
}

}  // namespace stagewise
