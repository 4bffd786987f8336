// Stands in for the export to ONNX in a build without its library.
#include "search/export/onnx.h"
#include "tensor/error.h"

namespace stagewise {

std::string onnx_file(const Network&, const Normalisation&, const OnnxOptions&) {
  fail(
      "[export] this build can't write ONNX: its library (Debian's libonnx-dev and libprotobuf-dev) was not found when "
      "it was built. Install it and build again");
}

}  // namespace stagewise
