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
    def __init__(self, in_width, width, stride):
        super().__init__()
        self.conv1 = conv(in_width, width, 3, stride)
        self.batch_norm1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, 1)
        self.batch_norm2 = nn.BatchNorm2d(width)
        self.projected = stride != 1 or in_width != width
        if self.projected:
            self.projection = conv(in_width, width, 1, stride)
            self.projection_batch_norm = nn.BatchNorm2d(width)

    def forward(self, x):
        skip = self.projection_batch_norm(self.projection(x)) if self.projected else x
        y = F.relu(self.batch_norm1(self.conv1(x)))
        return F.relu(self.batch_norm2(self.conv2(y)) + skip)


class Stage(nn.Module):
    def __init__(self, in_width, width, stride, depth):
        super().__init__()
        widths = [in_width] + [width] * (depth - 1)
        self.blocks = nn.Sequential(*(Block(w, width, stride if i == 0 else 1) for i, w in enumerate(widths)))

    def forward(self, x):
        return self.blocks(x)


class ResNet(nn.Module):
    """layers/resnet.h, `Variant::standard`: BatchNorm2d's defaults (epsilon 1e-5, momentum 0.1) are ours."""

    def __init__(self, depths, classes=10):
        super().__init__()
        self.stem = nn.ModuleDict({"conv": conv(3, 16, 3, 1), "batch_norm": nn.BatchNorm2d(16)})
        widths = [16] + [16 << i for i in range(len(depths))]
        self.stages = nn.Sequential(
            *(Stage(widths[i], widths[i + 1], 1 if i == 0 else 2, depth) for i, depth in enumerate(depths)))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = F.relu(self.stem["batch_norm"](self.stem["conv"](x)))
        return self.classifier(self.stages(x).mean(dim=(2, 3)))


def places_of_blocks(path):
    """Blocks are numbered by their birth in our file, by their place here: `stages.0.blocks.7.` to `stages.0.blocks.2.`"""
    with safe_open(path, "numpy") as file:
        architecture = json.loads((file.metadata() or {}).get("architecture", '{"stages": []}'))
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
