// Model files that went through other programs' hands, and how they become such as we write ourselves: PyTorch's names
// and layout, other floating-point types, metadata that was lost on the way. docs/model-file.md has both forms.
#pragma once

#include <functional>
#include <string>

#include "layers/architecture.h"
#include "tensor/safetensors.h"

namespace stagewise {

/// Told, in a line, what of a file had to be guessed; may be empty.
using Remark = std::function<void(const std::string& line)>;

/// A model file's tensors as a PyTorch state_dict has them: filters KCRS, `running_var`, the normalisation as [C,1,1]
/// and [C,H,W], the blocks of each stage numbered from 0 in the order in which they run. The metadata stays, but for
/// the blocks' numbers, and gains `format`, which others look for.
Safetensors as_pytorch(const Safetensors& file, const Architecture& architecture);

/// The way back, where a `running_var` shows that the file is PyTorch's (its `num_batches_tracked` go, which nothing
/// here needs, and so does what torch.compile or DataParallel put before every name); and float64 becomes float32 in any
/// file. Errors: throws Error, naming `path` and the tensor, for tensors
/// of a type that no weights have.
void make_ours(Safetensors& file, const std::string& path);

/// The architecture of a file that has lost its metadata, from its tensors' names and shapes; and from architecture.json
/// beside it, if that describes a network with these tensors. Without it, blocks are taken to run in the order of their
/// numbers, as in every network that the program's own commands grow, and images without an offset to be 32x32. Errors:
/// throws Error, naming `path`, when the tensors are not of such a network.
Architecture architecture_from_tensors(const Safetensors& file, const std::string& path, const Remark& remark);

}  // namespace stagewise
