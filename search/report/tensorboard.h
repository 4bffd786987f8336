// RUN/tensorboard/: a run as TensorBoard shows it, by `tensorboard --logdir RUN/tensorboard`.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "search/report/report.h"

namespace stagewise {

/// A run's event file, which is its journal in another form, times included: a run that goes on writes it anew from what
/// the journal has kept, so nothing is in it twice, lost or torn, whatever stopped the run. One process at a time may
/// write it, as with the journal.
class TensorBoard {
 public:
  /// Writes the file from the journal of the run in the folder `run`. Errors: throws Error when the journal can't be
  /// read, or the file not written.
  explicit TensorBoard(const std::string& run);

  /// Adds what the journal has got since. No training ends because its charts can't be written: what goes wrong is told
  /// on standard error, once, and nothing is added any more.
  void catch_up() noexcept;

  /// Adds the pictures of the surest mistakes, at most `count`. Errors: as catch_up().
  void add_mistakes(const Evidence& evidence, std::size_t count) noexcept;

  static std::string folder(const std::string& run) { return run + "/tensorboard"; }

 private:
  std::string new_records();
  std::string records_of(const nlohmann::json& event);
  void append(const std::string& records) const;
  template <class Work>
  void or_stop(const Work& work) noexcept;

  std::string journal_, file_;
  std::int64_t read_ = 0;                     // bytes of the journal
  double began_ = 0.0, now_ = 0.0;            // seconds since 1970
  std::map<std::string, std::int64_t> seen_;  // so many events of each name
  bool stopped_ = false;
};

}  // namespace stagewise
