// The network as one C header without dependencies, for people who build it into a program or a device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "datasets/loader.h"
#include "layers/network.h"

namespace stagewise {

struct CHeaderOptions {
  std::string name;                          // what its functions begin with; capitals of it, what its constants do
  std::string file;                          // what #include calls it
  std::vector<std::string> classes;          // empty: they are called by their numbers
  std::map<std::string, std::string> about;  // key and value, for the comment at its beginning
};

struct CHeader {
  std::string text;
  std::int64_t constants = 0, scratch = 0;  // bytes of its arrays, and of what the caller lends it
};

/// `file` without folder and ending as what names in C can begin with: letters, digits and `_`, a letter first.
std::string c_name(const std::string& file);

/// The header (C99 and C++) of `network` as it stands, in evaluation, each batch norm folded into the convolution before
/// it: NAME_predict takes one image's pixels [H,W,C] from 0 to 255, as bytes or floats, and gives its logits [classes];
/// NAME_self_test compares them with what InferenceNetwork said of an image that both can make. Errors: throws Error for a
/// name that is none in C, and for folded weights that are no numbers.
CHeader c_header(const Network& network, const Normalisation& normalisation, const CHeaderOptions& options);

}  // namespace stagewise
