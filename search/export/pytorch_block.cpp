#include "search/export/pytorch_block.h"

namespace stagewise {

namespace {

constexpr const char* kTwoConvolutions = R"py(
        after = width
        self.conv1 = nn.Conv2d(width_before, width, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False))py";
constexpr const char* kThreeConvolutions = R"py(
        after = 4 * width
        self.conv1 = nn.Conv2d(width_before, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False))py";

constexpr const char* kProjection = R"py(
        self.projection = None
        if stride != 1 or width_before != after:
            self.projection = nn.Conv2d(width_before, after, 1, stride, bias=False))py";
constexpr const char* kPadding = R"py(
        self.stride, self.zeros = stride, after - width_before)py";
constexpr const char* kPad = R"py(
        before = self.zeros // 2  # channels
        skip = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, before, self.zeros - before)))py";

std::string post_activation(bool bottleneck, bool pads) {
  std::string text = "class ResidualBlock(nn.Module):\n    \"\"\"";
  text += bottleneck ? "relu(conv3(relu(conv2(relu(conv1(x))))) + skip(x))" : "relu(conv2(relu(conv1(x))) + skip(x))";
  text += ", each convolution with its batch norm.\"\"\"\n\n    def __init__(self, width_before, width, stride):\n";
  text += "        super().__init__()";
  text += bottleneck ? kThreeConvolutions : kTwoConvolutions;
  text += "\n        self.batch_norm1 = nn.BatchNorm2d(width)\n        self.batch_norm2 = nn.BatchNorm2d(width)";
  if (bottleneck) text += "\n        self.batch_norm3 = nn.BatchNorm2d(after)";
  text += pads ? kPadding : kProjection;
  if (!pads) text += "\n            self.projection_batch_norm = nn.BatchNorm2d(after)";
  text += "\n\n    def forward(self, x):\n        y = F.relu(self.batch_norm1(self.conv1(x)))\n";
  if (bottleneck)
    text += "        y = F.relu(self.batch_norm2(self.conv2(y)))\n        y = self.batch_norm3(self.conv3(y))";
  if (!bottleneck) text += "        y = self.batch_norm2(self.conv2(y))";
  text +=
      pads ? kPad : "\n        skip = x if self.projection is None else self.projection_batch_norm(self.projection(x))";
  return text + "\n        return F.relu(y + skip)\n";
}

std::string pre_activation(bool bottleneck, bool pads) {
  std::string text =
      "class ResidualBlock(nn.Module):\n    \"\"\"Convolutions that each have their batch norm and ReLU before "
      "them, and the skip added.\"\"\"\n\n    def __init__(self, width_before, width, stride):\n";
  text += "        super().__init__()\n        self.batch_norm1 = nn.BatchNorm2d(width_before)";
  text += bottleneck ? kThreeConvolutions : kTwoConvolutions;
  text += "\n        self.batch_norm2 = nn.BatchNorm2d(width)";
  if (bottleneck) text += "\n        self.batch_norm3 = nn.BatchNorm2d(width)";
  text += pads ? kPadding : kProjection;
  text +=
      "\n\n    def forward(self, x):\n        a = F.relu(self.batch_norm1(x))\n"
      "        y = self.conv2(F.relu(self.batch_norm2(self.conv1(a))))";
  if (bottleneck) text += "\n        y = self.conv3(F.relu(self.batch_norm3(y)))";
  text += pads ? kPad : "\n        skip = x if self.projection is None else self.projection(a)";
  return text + "\n        return y + skip\n";
}

}  // namespace

std::string pytorch_block(const Architecture& architecture) {
  const bool bottleneck = is_bottleneck(architecture.block), pads = architecture.shortcut == Shortcut::padding;
  return is_pre_activation(architecture.block) ? pre_activation(bottleneck, pads) : post_activation(bottleneck, pads);
}

}  // namespace stagewise
