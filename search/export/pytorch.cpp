#include "search/export/pytorch.h"

#include <nlohmann/json.hpp>

#include "search/export/fill_in.h"
#include "search/export/pytorch_block.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

// The file, with @NAMES@ for what differs from network to network.
constexpr const char* kFile = R"py("""A residual network that stagewise trained.

@ABOUT@

    network = load("model.safetensors").eval()
    logits = network(images)  # [N,@CHANNELS@,@HEIGHT@,@WIDTH@], RGB from 0 to 255, as bytes or floats

It trains like any other module, and what it has learnt goes back to stagewise:
save_file(network.state_dict(), "new.safetensors"), then `stagewise evaluate new.safetensors --data ...`.
"""
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

CLASSES = @CLASSES@
WIDTHS = @WIDTHS@  # channels of each stage
DEPTHS = @DEPTHS@  # residual blocks in each stage


class Normalisation(nn.Module):
    """Pixels as the network was trained on them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(@CHANNELS@, 1, 1))
        self.register_buffer("offset", torch.zeros(@CHANNELS@, @HEIGHT@, @WIDTH@))

    def forward(self, pixels):
        return pixels * self.scale - self.offset


@BLOCK@

class Network(nn.Module):
    """A stem, stages of residual blocks at falling resolution and rising width, the mean over all pixels, a classifier."""

    def __init__(self):
        super().__init__()
        self.normalisation = Normalisation()
        self.stem = nn.ModuleDict({
            "conv": nn.Conv2d(@CHANNELS@, @STEM_WIDTH@, @STEM_FILTER@, bias=@BIAS@),@STEM_BATCH_NORM@
        })
        self.stages = nn.ModuleList()
        width_before = @STEM_WIDTH@
        for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS)):
            blocks = nn.Sequential()
            for block in range(depth):
                halves = stage > 0 and block == 0
                blocks.append(ResidualBlock(width_before, width, stride=2 if halves else 1))
                width_before = @AFTER@width
            self.stages.append(nn.ModuleDict({"blocks": blocks}))
@FINAL@        self.classifier = nn.Linear(@AFTER@WIDTHS[-1], @OUTPUTS@)

    def forward(self, images):
        x = self.normalisation(images)
        x = @STEM@
        for stage in self.stages:
            x = stage["blocks"](x)
@END@        return self.classifier(x.mean(dim=(2, 3)))


def load(path):
    network = Network()
    network.load_state_dict(load_file(path))
    return network
)py";

constexpr const char* kStandardBlock = R"py(class ResidualBlock(nn.Module):
    """relu(conv2(relu(conv1(x))) + skip(x)), each convolution with its batch norm."""

    def __init__(self, width_before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_before, width, 3, stride, padding=1, bias=False)
        self.batch_norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.batch_norm2 = nn.BatchNorm2d(width)
        self.projection = None
        if stride != 1 or width_before != width:
            self.projection = nn.Conv2d(width_before, width, 1, stride, bias=False)
            self.projection_batch_norm = nn.BatchNorm2d(width)

    def forward(self, x):
        y = F.relu(self.batch_norm1(self.conv1(x)))
        y = self.batch_norm2(self.conv2(y))
        skip = x if self.projection is None else self.projection_batch_norm(self.projection(x))
        return F.relu(y + skip)
)py";

constexpr const char* kPaperBlock = R"py(class ResidualBlock(nn.Module):
    """relu(conv2(relu(conv1(x))) + skip(x)), conv1 and conv2 with their batch norms; padded as Keras pads."""

    def __init__(self, width_before, width, stride):
        super().__init__()
        self.padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)  # left, right, above, below
        self.conv1 = nn.Conv2d(width_before, width, 3, stride)
        self.batch_norm1 = nn.BatchNorm2d(width, eps=1e-3)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.batch_norm2 = nn.BatchNorm2d(width, eps=1e-3)
        self.projection = None
        if stride != 1 or width_before != width:
            self.projection = nn.Conv2d(width_before, width, 1, stride)

    def forward(self, x):
        y = F.relu(self.batch_norm1(self.conv1(F.pad(x, self.padding))))
        y = self.batch_norm2(self.conv2(y))
        skip = x if self.projection is None else self.projection(x)
        return F.relu(y + skip)
)py";

/// JSON's numbers and strings are Python's too.
template <class T>
std::string python_list(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + nlohmann::json(value).dump();
  return "[" + text + "]";
}

/// In a docstring a backslash or a quotation mark would mean something.
std::string in_docstring(const std::string& text) { return replaced(replaced(text, "\\", "/"), "\"", "'"); }

}  // namespace

std::string pytorch_source(const Architecture& architecture, const std::vector<std::string>& classes,
                           const std::map<std::string, std::string>& about) {
  const bool paper = architecture.variant == Variant::paper, large = architecture.stem == StemKind::imagenet;
  const bool plain = architecture.block == BlockKind::basic && architecture.shortcut == Shortcut::projection;
  const bool pre_activation = is_pre_activation(architecture.block);
  const char* const stem =
      pre_activation ? R"(self.stem["conv"](x))" : R"(F.relu(self.stem["batch_norm"](self.stem["conv"](x))))";
  std::vector<std::int64_t> widths;
  for (const Architecture::StageBlocks& stage : architecture.stages) widths.push_back(stage.width);
  std::string lines;
  for (const auto& [key, value] : about) {
    if (!lines.empty()) lines += '\n';
    lines += in_docstring(concat(key, ": ", value));
  }
  return filled_in(
      kFile,
      {
          {"@BLOCK@", paper   ? kPaperBlock
                      : plain ? kStandardBlock
                              : pytorch_block(architecture)},
          {"@STEM@", large ? concat("F.max_pool2d(", stem, ", 3, stride=2, padding=1)") : stem},
          {"@STEM_BATCH_NORM@",
           pre_activation ? "" : "\n            \"batch_norm\": nn.BatchNorm2d(@STEM_WIDTH@@EPSILON@),"},
          {"@STEM_WIDTH@", architecture.stem_width > 0 ? std::to_string(architecture.stem_width) : "WIDTHS[0]"},
          {"@STEM_FILTER@", large ? "7, stride=2, padding=3" : "3, padding=1"},
          {"@FINAL@", pre_activation
                          ? "        self.final = nn.ModuleDict({\"batch_norm\": nn.BatchNorm2d(@AFTER@WIDTHS[-1])})\n"
                          : ""},
          {"@END@", pre_activation ? "        x = F.relu(self.final[\"batch_norm\"](x))\n" : ""},
          {"@AFTER@", is_bottleneck(architecture.block) ? "4 * " : ""},
          {"@CHANNELS@", std::to_string(architecture.channels)},
          {"@HEIGHT@", std::to_string(architecture.height)},
          {"@WIDTH@", std::to_string(architecture.width)},
          {"@OUTPUTS@", std::to_string(architecture.classes)},
          {"@WIDTHS@", python_list(widths)},
          {"@DEPTHS@", python_list(architecture.depths())},
          {"@BIAS@", paper ? "True" : "False"},
          {"@EPSILON@", paper ? ", eps=1e-3" : ""},
          {"@CLASSES@", python_list(classes)},  // these last: they may hold anything
          {"@ABOUT@", lines},
      });
}

}  // namespace stagewise
