"""Our standard residual network in PyTorch, module for module under our names, so that a file of ours loads into it."""
import json
import re

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import nn


def conv(in_width, width, size, stride):
    return nn.Conv2d(in_width, width, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two convolutions, or a bottleneck's three, each with its batch norm."""

    def __init__(self, in_width, width, stride, bottleneck):
        super().__init__()
        sizes, strides = ((1, 3, 1), (1, stride, 1)) if bottleneck else ((3, 3), (stride, 1))
        widths = [in_width, width, width, 4 * width] if bottleneck else [in_width, width, width]
        self.count = len(sizes)
        for i in range(self.count):
            setattr(self, f"conv{i + 1}", conv(widths[i], widths[i + 1], sizes[i], strides[i]))
            setattr(self, f"batch_norm{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.projected = stride != 1 or in_width != widths[-1]
        if self.projected:
            self.projection = conv(in_width, widths[-1], 1, stride)
            self.projection_batch_norm = nn.BatchNorm2d(widths[-1])

    def forward(self, x):
        skip = self.projection_batch_norm(self.projection(x)) if self.projected else x
        for i in range(1, self.count + 1):
            x = F.relu(x) if i > 1 else x
            x = getattr(self, f"batch_norm{i}")(getattr(self, f"conv{i}")(x))
        return F.relu(x + skip)


class Stage(nn.Module):
    def __init__(self, in_width, width, stride, depth, bottleneck):
        super().__init__()
        widths = [in_width] + [4 * width if bottleneck else width] * (depth - 1)
        self.blocks = nn.Sequential(
            *(Block(w, width, stride if i == 0 else 1, bottleneck) for i, w in enumerate(widths)))

    def forward(self, x):
        return self.blocks(x)


class ResNet(nn.Module):
    """layers/architecture.h, `Variant::standard` after activation: BatchNorm2d's defaults (epsilon 1e-5, momentum 0.1) are
    ours."""

    def __init__(self, architecture):
        super().__init__()
        stages = architecture["stages"]
        bottleneck = architecture.get("block", "basic") == "bottleneck"
        self.large_stem = architecture.get("stem", "small") == "imagenet"
        width = architecture.get("stem_width", 0) or stages[0]["width"]
        self.stem = nn.ModuleDict({"conv": conv(3, width, 7, 2) if self.large_stem else conv(3, width, 3, 1),
                                   "batch_norm": nn.BatchNorm2d(width)})
        built = []
        for i, stage in enumerate(stages):
            built.append(Stage(width, stage["width"], 1 if i == 0 else 2, len(stage["blocks"]), bottleneck))
            width = stage["width"] * (4 if bottleneck else 1)
        self.stages = nn.Sequential(*built)
        self.classifier = nn.Linear(width, architecture["classes"])

    def forward(self, x):
        x = F.relu(self.stem["batch_norm"](self.stem["conv"](x)))
        x = F.max_pool2d(x, 3, 2, padding=1) if self.large_stem else x
        return self.classifier(self.stages(x).mean(dim=(2, 3)))


def architecture_of(path):
    """The network that a file of ours holds."""
    with safe_open(path, "numpy") as file:
        return json.loads((file.metadata() or {})["architecture"])


def places_of_blocks(path):
    """Blocks are numbered by their birth in our file, by their place here: `stages.0.blocks.7.` to `stages.0.blocks.2.`"""
    architecture = architecture_of(path)
    return {f"stages.{stage}.blocks.{number}.": f"stages.{stage}.blocks.{place}."
            for stage, blocks in enumerate(architecture["stages"]) for place, number in enumerate(blocks["blocks"])}


def state_dict_of(path):
    """docs/model-file.md: filters are KRSC there and KCRS here; how pixels are normalised is not the network's affair."""
    places, state = places_of_blocks(path), {}
    for name, value in load_file(path).items():
        block = re.match(r"stages\.\d+\.blocks\.\d+\.", name)
        name = places.get(block[0], block[0]) + name[block.end():] if block else name
        value = torch.from_numpy(value)
        if not name.startswith("normalisation."):
            state[name.replace("running_variance", "running_var")] = value.permute(0, 3, 1, 2) if value.dim() == 4 else value
    return state


def load_weights(network, path):
    wrong = network.load_state_dict(state_dict_of(path), strict=False)
    missing = [name for name in wrong.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or wrong.unexpected_keys:
        raise SystemExit(f"{path}: expected our network's tensors, missing {missing}, unknown {wrong.unexpected_keys}")


def load_batch(path, count):
    """Images as NCHW and labels as int64, the first `count`."""
    batch = load_file(path)
    images = torch.from_numpy(batch["images"][:count]).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(batch["labels"][:count]).long()
