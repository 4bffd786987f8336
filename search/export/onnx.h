// The Open Neural Network Exchange format (https://onnx.ai), which other programs' runtimes read.
#pragma once

#include <map>
#include <string>

#include "datasets/loader.h"
#include "layers/network.h"

namespace stagewise {

struct OnnxOptions {
  bool keep_batch_norms = false;             // nodes of their own, not folded into the convolutions before them
  std::map<std::string, std::string> about;  // key and value, for the model's metadata
};

/// The bytes of an ONNX file (operator set 13) of `network` as it stands, in evaluation: `images`, float32 [batch,C,H,W]
/// of pixels from 0 to 255, give `logits`, float32 [batch,classes]; any number of images. Initialisers and nodes have the
/// names of docs/model-file.md. Errors: throws Error in a build without ONNX, saying what to install.
std::string onnx_file(const Network& network, const Normalisation& normalisation, const OnnxOptions& options);

}  // namespace stagewise
